//! Sources: what is read, and where a record's attributes are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use super::section::{At, Errors, Section};
use super::value::{self, suggest};
use crate::error::Result;
use crate::plan::{Envelope, Input, LakePlan, Mapping, Place, SourcePlan, TimeUnit};

/// Each has a log of its own in the lake, and a run where it is at work.
const MOST_PARTITIONS: u64 = 256;

/// A source and the places in the file that errors about its use point at.
pub struct Source {
    pub plan: Arc<SourcePlan>,
    /// Where its time is said to be, or its name.
    pub time: Range<usize>,
    /// Where its enqueued time is said to be, or its name.
    pub enqueued_time: Range<usize>,
    /// Where its kind is said to be, or its name.
    pub kind: Range<usize>,
    /// Where its subject is said to be, or its name.
    pub subject: Range<usize>,
    /// Where its input is said to be.
    pub input: Range<usize>,
}

/// The file's sources; what is wrong with others goes to `errors`.
pub fn resolve(
    file: &Section<'_>,
    lakes: &BTreeMap<String, Arc<LakePlan>>,
    errors: &mut Errors,
) -> BTreeMap<String, Source> {
    let sections = errors.keep(file.sections("sources")).unwrap_or_default().into_iter();
    sections
        .filter_map(|(name, section)| Some((name.to_owned(), errors.keep(source(name, &section, lakes))?)))
        .collect()
}

fn source(name: &str, section: &Section<'_>, lakes: &BTreeMap<String, Arc<LakePlan>>) -> Result<Source> {
    let envelope = section.choice("envelope")?;
    let (_, envelope) =
        *Envelope::ALL.iter().find(|(name, _)| *name == envelope).expect("`keys` knows these envelopes");
    let time_unit = match section.choice("time-unit")? {
        "rfc3339" => TimeUnit::Rfc3339,
        "epoch-seconds" => TimeUnit::EpochSeconds,
        _ => TimeUnit::EpochMilliseconds,
    };
    if section.has("rows") && envelope != Envelope::ODataDelta {
        let error = section.cx.doc.fail(section.key_span("rows"), "`rows` is for `envelope = \"odata-delta\"`");
        return Err(error.with_help("take it out"));
    }
    let whole_rows = section.choice("rows")? == "whole";
    let stdin = section.flag("stdin")?;
    let http = section.flag("http")?;
    let input = match (section.has("files"), stdin, http) {
        (true, false, false) => Input::Files(files(section)?),
        (false, true, false) => Input::Stdin { spool: None },
        (false, false, true) => Input::Http,
        (false, false, false) => {
            let error = section.fail(format!("`sources.{name}` does not say what to read"));
            return Err(error.with_help("add `files = \"signals/*.ndjson\"`, `stdin = true` or `http = true`"));
        }
        _ => {
            let span = section.key_span(if stdin { "stdin" } else { "http" });
            let error = section.cx.doc.fail(span, format!("`sources.{name}` has more than one input"));
            return Err(error.with_help("keep one of `files`, `stdin` and `http`, or make several sources"));
        }
    };
    for key in ["lake", "partitions"] {
        if section.has(key) && !http {
            let error = section.cx.doc.fail(section.key_span(key), format!("`{key}` is for `http = true`"));
            return Err(error.with_help("take it out"));
        }
    }
    let lake = lake(section, lakes)?;
    if (stdin || http && lake.is_none()) && envelope == Envelope::Avro {
        let (key, what) = if stdin { ("stdin", "reads standard input") } else { ("http", "takes records over HTTP") };
        let message = format!("`sources.{name}` {what}, and Avro container files cannot be read from there");
        let error = section.cx.doc.fail(section.key_span(key), message);
        return Err(error.with_help("write them to a folder and set `files = \"capture/\"`"));
    }
    let place = |key: &str| place(section, envelope, key);
    let accepts_gaps = section.choice("gaps")? == "accept";
    let partitions = section.count_within("partitions", 1, MOST_PARTITIONS)?.unwrap_or(1) as u32;
    let mapping = Mapping {
        envelope,
        kind: kind(section, envelope)?,
        time: place("time")?,
        time_unit,
        whole_rows,
        subject: place("subject")?,
        id: place("id")?,
        source: place("source")?,
        enqueued_time: place("enqueued-time")?,
        operation: place("operation")?,
        version: place("version")?,
        properties: place("properties")?,
        system_properties: place("system-properties")?,
    };
    let value_span = |key: &str| section.written(key).map_or(section.span.clone(), |(_, span)| span);
    Ok(Source {
        plan: Arc::new(SourcePlan { name: name.to_owned(), input, mapping, accepts_gaps, partitions, lake }),
        time: value_span("time"),
        enqueued_time: value_span("enqueued-time"),
        kind: value_span("kind"),
        subject: value_span("subject"),
        input: section.key_span(if stdin {
            "stdin"
        } else if http {
            "http"
        } else {
            "files"
        }),
    })
}

/// The lake that announced objects are read from.
fn lake(section: &Section<'_>, lakes: &BTreeMap<String, Arc<LakePlan>>) -> Result<Option<Arc<LakePlan>>> {
    let Some(At { value, span }) = section.text("lake")? else { return Ok(None) };
    match lakes.get(value) {
        Some(lake) => Ok(Some(lake.clone())),
        None => {
            let error = section.cx.doc.fail(span, format!("no lake `{value}`"));
            Err(error.with_help(suggest(value, lakes.keys().map(String::as_str))))
        }
    }
}

/// Where the kind is: as any attribute, or anywhere in the envelope.
fn kind(section: &Section<'_>, envelope: Envelope) -> Result<Place> {
    let Some((DeValue::String(text), span)) = section.written("kind") else { return place(section, envelope, "kind") };
    let Some(pointer) = text.strip_prefix("envelope:") else { return place(section, envelope, "kind") };
    if matches!(envelope, Envelope::Plain | Envelope::Avro) {
        let error = section
            .cx
            .doc
            .fail(span, format!("`kind` points into an envelope, and there is none in `{}`", envelope.name()));
        return Err(error.with_help("write a pointer into the record: `kind = \"/name\"`"));
    }
    value::pointer(pointer).map_err(|complaint| section.cx.complain(span, "`kind`", complaint))?;
    Ok(Place::Within(pointer.to_owned()))
}

/// Where an attribute is: a pointer that was written, the envelope's place, or without an envelope the key's default.
fn place(section: &Section<'_>, envelope: Envelope, key: &str) -> Result<Place> {
    if envelope != Envelope::Plain && !section.has(key) {
        return Ok(Place::Envelope);
    }
    Ok(section.pointer(key)?.map_or(Place::Nowhere, Place::Body))
}

/// The absolute paths and patterns of `files`.
fn files(section: &Section<'_>) -> Result<Vec<String>> {
    let (value, span) = section.written("files").expect("the caller saw the key");
    let empty = |span| {
        section.cx.doc.fail(span, "`files` names no file").with_help("for example `files = \"signals/*.ndjson\"`")
    };
    let one = |value: &DeValue<'_>, span: Range<usize>| match value {
        DeValue::String(text) if text.is_empty() => Err(empty(span)),
        DeValue::String(text) => absolute(section, text, span),
        other => Err(section.wrong_type_of("files", other, span)),
    };
    match value {
        DeValue::Array(paths) if paths.is_empty() => Err(empty(span)),
        DeValue::Array(paths) => paths.iter().map(|path| one(path.get_ref(), path.span())).collect(),
        other => Ok(vec![one(other, span)?]),
    }
}

/// `path` below the file's folder. Only what the user wrote is a pattern, never the folder before it.
fn absolute(section: &Section<'_>, path: &str, span: Range<usize>) -> Result<String> {
    let is_pattern = path.contains(['*', '?', '[']);
    let fail = |message: String, help: &str| section.cx.doc.fail(span.clone(), message).with_help(help);
    if let Some((scheme, _)) = path.split_once("://")
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    {
        return Err(fail(
            format!("`{path}` is a URL, expected the path of a local file, a folder or a glob"),
            "sources read local files: mount or copy what the store holds, and name that folder",
        ));
    }
    if is_pattern && let Err(error) = glob::Pattern::new(path) {
        return Err(fail(
            format!("`{path}` is not a pattern: {}", error.msg),
            "`*`, `?`, `**` and `[a-z]` stand for names; `[*]` is a star",
        ));
    }
    let whole = section.cx.resolve(path);
    let whole = whole.to_str().ok_or_else(|| {
        fail(format!("the folder of `{path}` is not UTF-8"), "move the configuration, or write an absolute path")
    })?;
    if !is_pattern || path.starts_with('/') {
        return Ok(whole.to_owned());
    }
    let folder = section.cx.folder.to_str().expect("a part of a UTF-8 path is UTF-8");
    let below = whole.strip_prefix(folder).expect("a relative path is resolved below the folder");
    Ok(glob::Pattern::escape(folder) + below)
}
