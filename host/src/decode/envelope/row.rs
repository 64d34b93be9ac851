//! One record on its way out of an envelope.
//!
//! What an opener writes to: attributes as JSON values and a body, copied to the end of the batch's buffer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::news::{News, Saying};
use crate::dataset::{Column, TableName};
use crate::decode::fields::{Fields, Slot};
use crate::decode::lines::span;
use crate::decode::requests::Wanted;
use crate::decode::scan::{Span, unescape};
use crate::decode::stops::Stops;
use crate::decode::time;
use crate::error::Result;
use crate::plan::{Envelope, Mapping, Place, TimeUnit};
use crate::record::Attribute;

/// A record that is being taken out of its envelope.
pub struct Row<'a> {
    /// The batch's buffer; never empty, so that no span in it ends at 0.
    pub buffer: &'a mut Vec<u8>,
    /// One span a slot, all absent before.
    pub found: &'a mut [Span],
    pub wanted: &'a Wanted,
    pub body: Span,
    /// What is known of the body.
    pub content: Known,
    /// Which attributes are taken from the body, once it is scanned.
    pub inherits: Inherits,
    /// The record's kind, where the configuration says where in the envelope it is.
    pub kind: Option<&'a str>,
    /// It is no row: it says something else.
    pub skipped: bool,
    pub news: &'a mut News,
}

/// What is known of a body before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A valid JSON value: a part of the envelope.
    Json,
    /// UTF-8.
    Text,
    Nothing,
}

/// Which attributes an envelope leaves to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherits {
    Nothing,
    /// A twin's `version`.
    Version,
    /// What records without an envelope have there.
    Everything,
}

/// The slots of attributes that an envelope leaves to the body, with those of where they are there.
#[derive(Debug)]
pub struct Inherited {
    version: Option<(Slot, Slot)>,
    everything: Vec<(Slot, Slot)>,
    /// Those of them that are times, and what they are written in in the body.
    times: Vec<(Attribute, Slot)>,
    unit: TimeUnit,
}

impl Inherited {
    /// What the envelope may leave to the body, as far as it is wanted.
    pub fn new(mapping: &Mapping, wanted: &Wanted, fields: &mut Fields) -> Result<Inherited> {
        let (envelope, unit) = (mapping.envelope, mapping.time_unit);
        let mut inherited = Inherited { version: None, everything: Vec::new(), times: Vec::new(), unit };
        let of_devices = [Envelope::IotHub, Envelope::CloudEvents, Envelope::EventGrid, Envelope::Avro];
        if let Some(slot) = wanted.slot(Attribute::Version)
            && of_devices.contains(&envelope)
        {
            inherited.version = Some((slot, fields.add("/version")?));
        }
        if envelope == Envelope::Avro {
            let plain = Mapping::plain();
            for attribute in [Attribute::Kind, Attribute::Time, Attribute::Subject, Attribute::EnqueuedTime] {
                if let (Some(slot), Place::Body(pointer)) = (wanted.slot(attribute), plain.place(attribute)) {
                    let pointer = fields.add(pointer)?;
                    match attribute {
                        Attribute::Time | Attribute::EnqueuedTime if unit != TimeUnit::Rfc3339 => {
                            inherited.times.push((attribute, pointer));
                        }
                        _ => inherited.everything.push((slot, pointer)),
                    }
                }
            }
        }
        Ok(inherited)
    }
}

impl Row<'_> {
    /// Copies a JSON value of `data`.
    #[inline]
    pub fn put(&mut self, attribute: Attribute, data: &[u8], value: Span) {
        if let Some(slot) = self.wanted.slot(attribute)
            && !value.is_absent()
        {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(value.of(data));
            self.found[slot] = Span { escaped: value.escaped, ..span(start, self.buffer.len()) };
        }
    }

    /// A text.
    pub fn text(&mut self, attribute: Attribute, text: &str) {
        if let Some(slot) = self.wanted.slot(attribute) {
            let start = self.buffer.len();
            write_string(self.buffer, text);
            let escaped = self.buffer.len() - start != text.len() + 2;
            self.found[slot] = Span { escaped, ..span(start, self.buffer.len()) };
        }
    }

    /// A whole number.
    pub fn number(&mut self, attribute: Attribute, number: i64) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(number.to_string().as_bytes());
        self.written(attribute, start);
    }

    /// The table that the row is of, which gives the kind.
    pub fn table(&mut self, name: &TableName) {
        self.text(Attribute::Kind, &name.kind());
        if let Some(slot) = self.wanted.table
            && self.kind.is_none()
            && *name != TableName::plain(name.table.as_str())
        {
            let start = self.buffer.len();
            serde_json::to_writer(&mut *self.buffer, name).expect("writing to memory cannot fail");
            self.found[slot] = span(start, self.buffer.len());
        }
    }

    /// Says what columns the rows of a table have.
    pub fn say(&mut self, name: &TableName, saying: Saying, columns: impl FnOnce() -> Option<Vec<Column>>) {
        match self.kind {
            Some(kind) => self.news.say(&TableName::plain(kind), saying, columns),
            None => self.news.say(name, saying, columns),
        }
    }

    /// A text among the system properties.
    pub fn property(&mut self, name: &str, text: &str) {
        let Some(slot) = self.wanted.slot(Attribute::SystemProperties) else { return };
        let (before, start) = (self.found[slot], self.buffer.len());
        if before.is_absent() {
            self.buffer.push(b'{');
        } else {
            self.buffer.extend_from_within(before.start as usize..before.end as usize - 1);
            self.buffer.push(b',');
        }
        write_string(self.buffer, name);
        self.buffer.push(b':');
        write_string(self.buffer, text);
        self.buffer.push(b'}');
        self.found[slot] = span(start, self.buffer.len());
    }

    /// JSON that the caller wrote to the buffer, from `start` on.
    pub fn written(&mut self, attribute: Attribute, start: usize) {
        if let Some(slot) = self.wanted.slot(attribute) {
            self.found[slot] = span(start, self.buffer.len());
        }
    }

    /// The body: a JSON value of `data`.
    #[inline]
    pub fn body_json(&mut self, data: &[u8], value: Span) {
        self.body_bytes(value.of(data));
        self.body.escaped = value.escaped;
        self.content = Known::Json;
    }

    /// The body: a JSON value that the caller wrote to the buffer, from `start` on.
    #[inline]
    pub fn body_written(&mut self, start: usize) {
        self.body = span(start, self.buffer.len());
        self.content = Known::Json;
    }

    /// The body: the characters of a JSON string; the string as it stands where they are no Unicode text.
    pub fn body_text(&mut self, data: &[u8], string: Span) {
        let start = self.buffer.len();
        if !unescape(string.inside(data), self.buffer) {
            self.buffer.truncate(start);
            return self.body_json(data, string);
        }
        self.body = span(start, self.buffer.len());
        self.content = Known::Text;
    }

    /// The body: bytes of any kind.
    #[inline]
    pub fn body_bytes(&mut self, bytes: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.body = span(start, self.buffer.len());
        self.content = Known::Nothing;
    }

    /// The body: what base64 stands for. False, and nothing done, where it is none.
    pub fn body_base64(&mut self, base64: &[u8]) -> bool {
        let start = self.buffer.len();
        if STANDARD.decode_vec(base64, self.buffer).is_err() {
            self.buffer.truncate(start);
            return false;
        }
        self.body = span(start, self.buffer.len());
        self.content = Known::Nothing;
        true
    }

    /// Looks for what is wanted in the body.
    #[inline]
    pub fn scan(&mut self, fields: &Fields, inherited: &Inherited, stops: &mut Stops) {
        let (start, end) = (self.body.start as usize, self.body.end as usize);
        if self.body.is_absent() || !(fields.has_pointers() || self.wanted.body_text.is_some()) {
            return;
        }
        if self.content == Known::Nothing && simdutf8::basic::from_utf8(&self.buffer[start..end]).is_err() {
            return;
        }
        if let Some(slot) = self.wanted.body_text {
            self.found[slot] = self.body;
        }
        if !fields.has_pointers() {
            return;
        }
        if self.content == Known::Json {
            fields.find(self.buffer, self.body, self.found, stops);
        } else if fields.scan(self.buffer, start, end, self.found, stops).is_err() {
            return fields.clear(self.found);
        }
        match self.inherits {
            Inherits::Nothing => {}
            Inherits::Version => inherited.version.iter().for_each(|pair| self.inherit(*pair)),
            Inherits::Everything => {
                inherited.everything.iter().for_each(|pair| self.inherit(*pair));
                inherited.times.iter().for_each(|(attribute, pointer)| {
                    self.inherit_time(*attribute, self.found[*pointer], inherited.unit);
                });
            }
        }
    }

    /// What is in an envelope's slot is RFC 3339.
    fn inherit_time(&mut self, attribute: Attribute, value: Span, unit: TimeUnit) {
        if value.is_absent() {
            return;
        }
        let text = match self.buffer[value.start as usize] {
            b'"' => value.inside(self.buffer),
            _ => value.of(self.buffer),
        };
        if let Some(instant) = time::parse(text, unit) {
            self.instant(attribute, instant);
        }
    }

    /// An instant, in microseconds since 1970; false, and nothing done, where it is out of range.
    pub fn instant(&mut self, attribute: Attribute, micros: i64) -> bool {
        let instant = chrono::DateTime::from_timestamp_micros(micros);
        let text = instant.map(|instant| instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
        text.is_some_and(|text| {
            self.text(attribute, &text);
            true
        })
    }

    fn inherit(&mut self, (attribute, pointer): (Slot, Slot)) {
        self.found[attribute] = self.found[pointer];
    }
}

/// Adds `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory cannot fail");
}
