//! Changes: one line each says what happened to one thing, and what it is now.
//!
//! `{"operation": "update", "kind": "device", "key": "d1", "version": 7, "time": …, "source": …, "body": {…}}`, Lakeport's own
//! form. An `update` or `create` has the whole document, a `patch` an RFC 7396 merge patch, a `delete` may have nothing.

use super::Outer;
use super::content::text_of;
use super::row::Row;
use crate::decode::columns::int64;
use crate::decode::fields::Slot;
use crate::decode::reason;
use crate::decode::scan::Span;
use crate::error::Result;
use crate::record::Attribute;

const OPERATIONS: [&str; 4] = ["create", "update", "patch", "delete"];
const EXPECTED: &str = "expected `create`, `update`, `patch` or `delete`";

/// Opens changes.
pub struct Change {
    outer: Outer,
    fallback: String,
    operation: Slot,
    kind: Slot,
    key: Slot,
    version: Slot,
    time: Slot,
    source: Slot,
    body: Slot,
}

impl Change {
    /// Opens changes; `source` is that of those that name none.
    pub fn new(source: &str) -> Result<Change> {
        let mut outer = Outer::default();
        let mut add = |pointer| outer.fields.add(pointer);
        let (operation, kind, key) = (add("/operation")?, add("/kind")?, add("/key")?);
        let (version, time, body) = (add("/version")?, add("/time")?, add("/body")?);
        let (source, fallback) = (add("/source")?, source.to_owned());
        Ok(Change { outer, fallback, operation, kind, key, version, time, source, body })
    }

    /// Takes a change out of a line.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let outer = &mut self.outer;
        outer.scan(data, start, end)?;
        let operation = outer.get(data, self.operation);
        let text = text_of(data, operation);
        match &text {
            None => return Err(reason::no_text("operation", data, operation, EXPECTED)),
            Some(text) if OPERATIONS.contains(&&**text) => {}
            Some(text) => return Err(format!("unknown `operation` `{text}`: {EXPECTED}")),
        }
        reason::check_text("kind", data, outer.get(data, self.kind))?;
        reason::check_text("key", data, outer.get(data, self.key))?;
        let version = outer.get(data, self.version);
        if !version.is_absent() {
            let found = String::from_utf8_lossy(version.of(data));
            if int64(&found).is_none() {
                return Err(format!("the `version` is `{found}`, expected a whole number"));
            }
        }
        row.text(Attribute::Operation, &text.unwrap_or_default());
        row.put(Attribute::Kind, data, outer.get(data, self.kind));
        row.put(Attribute::Subject, data, outer.get(data, self.key));
        row.put(Attribute::Version, data, version);
        row.put(Attribute::Time, data, outer.get(data, self.time));
        match outer.get(data, self.source) {
            Span::ABSENT => row.text(Attribute::Source, &self.fallback),
            source => row.put(Attribute::Source, data, source),
        }
        let body = outer.get(data, self.body);
        match body.is_absent() {
            true if text_of(data, operation).as_deref() == Some("delete") => {}
            true => return Err("no `body`: expected an object; only a `delete` may have none".into()),
            false if data[body.start as usize] == b'{' => row.body_json(data, body),
            false => {
                let found = reason::value_kind(data[body.start as usize]);
                return Err(format!("the `body` is {found}, expected an object"));
            }
        }
        Ok(())
    }
}
