//! Changes: one line each says what happened to one thing, and what it is now.
//!
//! `{"operation": "update", "kind": "device", "key": "d1", "version": 7, "time": …, "source": …, "body": {…}}`, Lakeport's own
//! form. An `update` or `create` has the whole document, a `patch` an RFC 7396 merge patch, a `delete` may have nothing. For
//! tables, a `truncate` is about all rows of a kind, and a `schema` says what columns they have.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::Outer;
use super::content::text_of;
use super::news::Saying;
use super::row::Row;
use crate::dataset::{Column, TableName};
use crate::decode::columns::int64;
use crate::decode::fields::Slot;
use crate::decode::reason;
use crate::decode::scan::Span;
use crate::error::Result;
use crate::record::Attribute;

const OPERATIONS: [&str; 6] = ["create", "update", "patch", "delete", "truncate", "schema"];
const EXPECTED: &str = "expected `create`, `update`, `patch`, `delete`, `truncate` or `schema`";

/// Opens changes.
pub struct Change {
    outer: Outer,
    fallback: String,
    operation: Slot,
    kind: Slot,
    key: Slot,
    previous_key: Slot,
    version: Slot,
    time: Slot,
    source: Slot,
    body: Slot,
}

/// The body of a `schema`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Schema {
    columns: Vec<serde_json::Value>,
    /// A column that is not among them is gone.
    #[serde(default)]
    complete: bool,
}

impl Change {
    /// Opens changes; `fallback` is the source of those that name none.
    pub fn new(fallback: &str) -> Result<Change> {
        let mut outer = Outer::default();
        let mut add = |pointer| outer.fields.add(pointer);
        let (operation, kind, key) = (add("/operation")?, add("/kind")?, add("/key")?);
        let (version, time, body) = (add("/version")?, add("/time")?, add("/body")?);
        let (previous_key, source) = (add("/previous-key")?, add("/source")?);
        let fallback = fallback.to_owned();
        Ok(Change { outer, fallback, operation, kind, key, previous_key, version, time, source, body })
    }

    /// Takes a change out of a line.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let outer = &mut self.outer;
        outer.scan(data, start, end)?;
        let operation = outer.get(data, self.operation);
        let Some(text) = text_of(data, operation) else {
            return Err(reason::no_text("operation", data, operation, EXPECTED));
        };
        if !OPERATIONS.contains(&&*text) {
            return Err(format!("unknown `operation` `{text}`: {EXPECTED}"));
        }
        let (kind, key, body) = (outer.get(data, self.kind), outer.get(data, self.key), outer.get(data, self.body));
        reason::check_text("kind", data, kind)?;
        if text == "schema" {
            row.skipped = true;
            let kind = text_of(data, kind).ok_or("the `kind` holds half of a surrogate pair, expected Unicode text")?;
            let version = version_of(data, outer.get(data, self.version))?;
            return say_schema(data, (&kind, version), body, row);
        }
        // A table may have its key in the body.
        if !key.is_absent() {
            reason::check_text("key", data, key)?;
        }
        let version = outer.get(data, self.version);
        version_of(data, version)?;
        row.text(Attribute::Operation, &text);
        row.put(Attribute::Kind, data, kind);
        row.put(Attribute::Subject, data, key);
        row.put(Attribute::Version, data, version);
        row.put(Attribute::Time, data, outer.get(data, self.time));
        match outer.get(data, self.source) {
            Span::ABSENT => row.text(Attribute::Source, &self.fallback),
            source => row.put(Attribute::Source, data, source),
        }
        let previous = outer.get(data, self.previous_key);
        if !previous.is_absent() {
            reason::check_text("previous-key", data, previous)?;
            let start = row.buffer.len();
            row.buffer.extend_from_slice(br#"{"previousKey":"#);
            row.buffer.extend_from_slice(previous.of(data));
            row.buffer.push(b'}');
            row.written(Attribute::SystemProperties, start);
        }
        match body.is_absent() {
            true if matches!(&*text, "delete" | "truncate") => {}
            true => return Err("no `body`: expected an object; only a `delete` or a `truncate` may have none".into()),
            false if data[body.start as usize] == b'{' => row.body_json(data, body),
            false => {
                let found = reason::value_kind(data[body.start as usize]);
                return Err(format!("the `body` is {found}, expected an object"));
            }
        }
        Ok(())
    }
}

/// A whole number, where there is one.
fn version_of(data: &[u8], version: Span) -> Result<Option<i64>, String> {
    if version.is_absent() {
        return Ok(None);
    }
    let found = String::from_utf8_lossy(version.of(data));
    int64(&found).map(Some).ok_or_else(|| format!("the `version` is `{found}`, expected a whole number"))
}

/// Says the columns that a `schema` lists.
fn say_schema(data: &[u8], (kind, version): (&str, Option<i64>), body: Span, row: &mut Row<'_>) -> Result<(), String> {
    if body.is_absent() {
        return Err("no `body`: expected an object with the `columns` of the table".into());
    }
    let place = |error: serde_json::Error| {
        let text = error.to_string();
        text.split(" at line ").next().unwrap_or_default().to_owned()
    };
    let schema: Schema = serde_json::from_slice(body.of(data))
        .map_err(|error| format!("the `body` of the schema is wrong: {}", place(error)))?;
    let mut columns: Vec<Column> = Vec::with_capacity(schema.columns.len());
    for (at, column) in schema.columns.into_iter().enumerate() {
        let name = column["name"].as_str().map_or(String::new(), |name| format!(" (`{name}`)"));
        let wrong = |what: String| format!("column {}{name} of the schema is wrong: {what}", at + 1);
        let column: Column = serde_json::from_value(column).map_err(|error| wrong(place(error)))?;
        if column.name.is_empty() {
            return Err(wrong("the `name` is empty, expected text".into()));
        }
        if columns.iter().any(|other| other.name == column.name) {
            return Err(wrong("another column has the name, too; expected each once".into()));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err("the schema has no columns: expected at least one".into());
    }
    let saying = Saying { signature: xxh3_64(body.of(data)), complete: schema.complete, version };
    row.say(&TableName::plain(kind), saying, || Some(columns));
    Ok(())
}
