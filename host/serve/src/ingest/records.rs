//! From a body to records: JSON objects, one a line, each checked once.

use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::content::Content;
use super::event;
use super::identity::identify_request;
use crate::answer::{Problem, Reason, RecordErrors};
use crate::escape::Escaped;
use crate::intake::{Batch, Envelope, IdempotencyKey, Identity, SourceInfo};

/// The records of a request.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) batch: Batch,
    /// With `?partial=allow`: what was left out.
    pub(super) rejected: Option<RecordErrors>,
}

/// What decides how a body is parsed.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) source: SourceInfo,
    pub(super) content: Content,
    pub(super) idempotency: Option<String>,
    /// The most records.
    pub(super) most: usize,
    /// Keep the valid records where there are others.
    pub(super) partial: bool,
}

/// Turns a body into records. One that is invalid refuses the request, unless `partial` allows to leave it out.
pub(super) fn parse(rules: &Rules, body: &[u8]) -> Result<Parsed, Problem> {
    let mut collector = Collector::new(rules, body.len());
    // A byte order mark may stand at the start of the body, and nowhere else.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match &rules.content {
        Content::Lines => text.split(|byte| *byte == b'\n').try_for_each(|line| match is_blank(line) {
            true => Ok(()),
            false => collector.push(line),
        })?,
        Content::Json | Content::EventBatch => push_json(&mut collector, text)?,
        Content::Event => collector.push(text)?,
        // Measured before it becomes an event: base64 makes more of it.
        Content::Binary(_) if collector.is_too_large(body) => collector.push(body)?,
        Content::Binary(event) => match event.to_structured(body) {
            Ok(structured) => collector.push(&structured)?,
            Err(detail) => collector.refuse(detail)?,
        },
        Content::GridValidation | Content::GridFarewell => unreachable!("they have no records"),
    }
    let mut parsed = collector.finish()?;
    if let Some(key) = &rules.idempotency {
        identify_request(&rules.name, key, &mut parsed.batch);
    }
    Ok(parsed)
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Pushes the object, or the elements of the array, that a body is.
fn push_json(collector: &mut Collector, body: &[u8]) -> Result<(), Problem> {
    let text = std::str::from_utf8(body).map_err(|error| invalid_body(not_utf8(&error)))?;
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => {}
        Some(b'{') if collector.rules.content == Content::Json => return collector.push(body),
        None => return Ok(()),
        Some(other) => {
            let expected = match collector.rules.content {
                Content::Json => "a JSON object or an array of objects",
                _ => "a JSON array",
            };
            return Err(invalid_body(format!("the body starts with `{}`, expected {expected}", Escaped(&[*other]))));
        }
    }
    let mut problem = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_seq(Elements { collector, problem: &mut problem }).and_then(|()| json.end());
    match (problem, read) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => {
            collector.is_batch = collector.rules.content == Content::EventBatch;
            Ok(())
        }
        (None, Err(error)) => {
            let index = collector.seen;
            Err(invalid_body(format!("the array is not valid JSON, at or after its element {index}: {error}")))
        }
    }
}

/// Takes the elements of an array one by one.
struct Elements<'a, 'r> {
    collector: &'a mut Collector<'r>,
    problem: &'a mut Option<Problem>,
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if let Err(problem) = self.collector.push(element.get().as_bytes()) {
                *self.problem = Some(problem);
                return Err(serde::de::Error::custom("a problem"));
            }
        }
        Ok(())
    }
}

/// Collects the records of a request.
struct Collector<'a> {
    rules: &'a Rules,
    lines: Vec<u8>,
    keys: Vec<IdempotencyKey>,
    records: usize,
    /// Records so far, the refused ones too.
    seen: usize,
    refused: RecordErrors,
    /// Of the refused ones, those that are too large.
    too_large: usize,
    /// The body is a batch of CloudEvents, which may be empty.
    is_batch: bool,
}

impl<'a> Collector<'a> {
    fn new(rules: &'a Rules, bytes: usize) -> Self {
        let lines = Vec::with_capacity(bytes + 1);
        Collector {
            rules,
            lines,
            keys: Vec::new(),
            records: 0,
            seen: 0,
            refused: RecordErrors::default(),
            too_large: 0,
            is_batch: false,
        }
    }

    /// Takes a record, or notes why not.
    fn push(&mut self, record: &[u8]) -> Result<(), Problem> {
        if self.is_too_large(record) {
            self.too_large += 1;
            let (size, most) = (record.trim_ascii().len(), self.rules.source.max_record_size);
            return self.refuse(format!("the record has {size} bytes, expected at most {most}"));
        }
        let key = match self.check(record) {
            Ok(key) => key,
            Err(detail) => return self.refuse(detail),
        };
        self.count()?;
        self.keys.extend(key);
        self.records += 1;
        // Outside of strings, where they cannot be, these are white space.
        let in_line = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        self.lines.extend(record.trim_ascii().iter().map(in_line));
        self.lines.push(b'\n');
        Ok(())
    }

    fn is_too_large(&self, record: &[u8]) -> bool {
        record.trim_ascii().len() > self.rules.source.max_record_size
    }

    fn refuse(&mut self, detail: String) -> Result<(), Problem> {
        self.refused.push(self.seen, || detail);
        self.count()
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.seen += 1;
        match self.seen > self.rules.most {
            true => Err(Problem::new(
                Reason::TooManyRecords,
                format!("there are more than {} records: send fewer at a time", self.rules.most),
            )),
            false => Ok(()),
        }
    }

    /// Checks that a record is a JSON object with what its envelope needs, and returns its key.
    fn check(&self, record: &[u8]) -> Result<Option<IdempotencyKey>, String> {
        let text = std::str::from_utf8(record).map_err(|error| not_utf8(&error))?;
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'{') => {}
            Some(other) => return Err(format!("not a JSON object: starts with `{}`", Escaped(&[*other]))),
            None => return Err("not a JSON object: empty".to_owned()),
        }
        let name = &self.rules.name;
        match self.rules.source.envelope {
            Envelope::CloudEvents => event::cloud_event(name, text).map(Some),
            Envelope::EventGrid => event::grid_event(name, text).map(Some),
            Envelope::Plain | Envelope::Other => {
                let valid = serde_json::from_str::<IgnoredAny>(text);
                valid.map(|_| None).map_err(|error| format!("not valid JSON: {error}"))
            }
        }
    }

    fn finish(self) -> Result<Parsed, Problem> {
        let Collector { rules, lines, keys, records, seen, refused, too_large, is_batch } = self;
        if seen == 0 && !is_batch {
            return Err(invalid_body("the body has no records".to_owned()));
        }
        let failed = refused.failed;
        if failed > 0 && (!rules.partial || records == 0) {
            let reason = if too_large == failed { Reason::RecordTooLarge } else { Reason::InvalidRecords };
            let detail =
                format!("{failed} of {seen} records are refused, nothing was kept: {}", refused.errors[0].detail);
            return Err(Problem::new(reason, detail).with_records(refused));
        }
        let identity = if keys.is_empty() { Identity::None } else { Identity::Records(keys) };
        let records = u32::try_from(records).expect("their number is limited");
        let batch = Batch { lines: lines.into(), records, identity };
        Ok(Parsed { batch, rejected: rules.partial.then_some(refused) })
    }
}

fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!("not UTF-8 at byte {}", error.valid_up_to() + 1)
}

fn invalid_body(detail: String) -> Problem {
    Problem::new(Reason::InvalidBody, detail)
}
