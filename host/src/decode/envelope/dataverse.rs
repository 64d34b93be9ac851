//! Dataverse's remote execution contexts, as service endpoints and webhooks send them as JSON: a line each.
//!
//! What happened is `MessageName`, to what `PrimaryEntityName` and `PrimaryEntityId`; the columns are the `Attributes` of the input
//! parameter `Target`. An update has those that changed, so it is a patch. Where facts come from: the documentation of
//! `RemoteExecutionContext` and `Entity` in `Microsoft.Xrm.Sdk`, and how .NET's DataContractJsonSerializer writes them.

use std::borrow::Cow;

use super::Outer;
use super::content::text_of;
use super::row::Row;
use crate::decode::fields::Slot;
use crate::decode::fold_guid;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::error::Result;
use crate::plan::TimeUnit;
use crate::record::Attribute;

const MESSAGES: &str = "expected `Create`, `Update` or `Delete`; register the step for these";

/// The system property of a change whose version is the one that the row had before it.
pub const EXPECTED_VERSION: &str = "expectedVersion";

/// Opens contexts.
pub struct Dataverse {
    outer: Outer,
    message: Slot,
    name: Slot,
    id: Slot,
    time: Slot,
    input: Slot,
    images: Slot,
    /// `Target`, or an image.
    entity: Outer,
    attributes: Slot,
    row_version: Slot,
    /// A value of a type.
    typed: Outer,
    data_type: Slot,
    value: Slot,
    value_id: Slot,
    source: String,
}

impl Dataverse {
    /// Opens contexts of a source.
    pub fn new(source: &str) -> Result<Dataverse> {
        let (mut outer, mut entity, mut typed) = (Outer::default(), Outer::default(), Outer::default());
        Ok(Dataverse {
            message: outer.fields.add("/MessageName")?,
            name: outer.fields.add("/PrimaryEntityName")?,
            id: outer.fields.add("/PrimaryEntityId")?,
            time: outer.fields.add("/OperationCreatedOn")?,
            input: outer.fields.add("/InputParameters")?,
            images: outer.fields.add("/PostEntityImages")?,
            outer,
            attributes: entity.fields.add("/Attributes")?,
            row_version: entity.fields.add("/RowVersion")?,
            entity,
            data_type: typed.fields.add("/__type")?,
            value: typed.fields.add("/Value")?,
            value_id: typed.fields.add("/Id")?,
            typed,
            source: source.to_owned(),
        })
    }

    /// Takes a change out of a line.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        self.outer.scan(data, start, end)?;
        let get = |slot| self.outer.get(data, slot);
        let message = get(self.message);
        let operation = match text_of(data, message).as_deref() {
            Some("Create") => "create",
            Some("Update") => "patch",
            Some("Delete") => "delete",
            _ => return Err(reason::no_text("MessageName", data, message, MESSAGES)),
        };
        let (name, id, time) = (get(self.name), get(self.id), get(self.time));
        let (input, images) = (get(self.input), get(self.images));
        reason::check_text("PrimaryEntityName", data, name)?;
        reason::check_text("PrimaryEntityId", data, id)?;
        row.put(Attribute::Kind, data, name);
        if let Some(id) = text_of(data, id) {
            row.text(Attribute::Subject, &fold_guid(id.into_owned()));
        }
        row.text(Attribute::Source, &self.source);
        row.text(Attribute::Operation, operation);
        match text_of(data, time) {
            None if time.is_absent() => {}
            text => match text.as_deref().and_then(instant) {
                Some(instant) => drop(row.instant(Attribute::Time, instant)),
                None => {
                    let expected = "expected a time such as `/Date(1624638072000)/`";
                    return Err(reason::no_text("OperationCreatedOn", data, time, expected));
                }
            },
        }
        let input = pairs(data, input);
        let parameter = |name| input.iter().rfind(|(key, _)| text_of(data, *key).as_deref() == Some(name));
        self.entity.find(data, parameter("Target").map_or(Span::ABSENT, |(_, target)| *target));
        let attributes = self.entity.get(data, self.attributes);
        let of_target = self.entity.get(data, self.row_version);
        if operation != "delete" {
            if attributes.is_absent() {
                return Err("no `Attributes` of a `Target` among `InputParameters`: expected those of the row".into());
            }
            self.put_attributes(data, attributes, row);
        }
        let of_image = pairs(data, images).into_iter().map(|(_, image)| {
            self.entity.find(data, image);
            self.entity.get(data, self.row_version)
        });
        // The target may have the version that the client knew; that of an image is the row's after the change.
        match of_image.into_iter().find(|version| !version.is_absent() && version.of(data) != b"\"\"") {
            Some(version) => put_version(data, version, row),
            None if of_target.is_absent() => Ok(()),
            None => {
                let behavior = parameter("ConcurrencyBehavior").map(|(_, behavior)| *behavior);
                if operation == "patch" && behavior.is_some_and(|behavior| is_checked(data, behavior)) {
                    row.property(EXPECTED_VERSION, "true");
                }
                put_version(data, of_target, row)
            }
        }
    }

    fn put_attributes(&mut self, data: &[u8], attributes: Span, row: &mut Row<'_>) {
        let start = row.buffer.len();
        row.buffer.push(b'{');
        for (key, value) in pairs(data, attributes) {
            if row.buffer.len() > start + 1 {
                row.buffer.push(b',');
            }
            row.buffer.extend_from_slice(key.of(data));
            row.buffer.push(b':');
            self.write(data, value, row.buffer);
        }
        row.buffer.push(b'}');
        row.body_written(start);
    }

    /// Adds a value as a table has it: what a choice, an amount or a reference is about, a date as text.
    fn write(&mut self, data: &[u8], value: Span, out: &mut Vec<u8>) {
        let plain = match data[value.start as usize] {
            b'{' => {
                self.typed.find(data, value);
                let data_type = text_of(data, self.typed.get(data, self.data_type)).unwrap_or_default();
                let simple = match data_type.split(':').next() {
                    Some("EntityReference") => Some(self.typed.get(data, self.value_id)),
                    Some("OptionSetValue" | "Money") => Some(self.typed.get(data, self.value)),
                    _ => None,
                };
                match simple {
                    Some(Span::ABSENT) => return out.extend_from_slice(b"null"),
                    Some(simple) => simple,
                    None => value,
                }
            }
            b'"' if value.inside(data).ends_with(b"/") => {
                if let Some(text) = text_of(data, value).as_deref().and_then(instant).and_then(rfc3339) {
                    out.push(b'"');
                    out.extend_from_slice(text.as_bytes());
                    return out.push(b'"');
                }
                value
            }
            _ => value,
        };
        out.extend_from_slice(plain.of(data));
    }
}

/// The names and values of a collection, in both forms that the serializer knows: an array of `{"key": …, "value": …}`, or an object.
fn pairs(data: &[u8], collection: Span) -> Vec<(Span, Span)> {
    let mut pairs = Vec::new();
    if collection.is_absent() {
        return pairs;
    }
    let (end, start) = (collection.end as usize, collection.start as usize);
    let (mut outer, mut inner) = (Stops::default(), Stops::default());
    let scanned = match data[start] {
        b'{' => Scanner::new(data, end, &mut outer).members(start, |key, value| {
            if key.inside(data) != b"__type" {
                pairs.push((key, value));
            }
        }),
        b'[' => Scanner::new(data, end, &mut outer).elements(start, |element| {
            if data[element.start as usize] != b'{' {
                return;
            }
            let (mut name, mut held) = (Span::ABSENT, Span::ABSENT);
            let scanned =
                Scanner::new(data, element.end as usize, &mut inner).members(element.start as usize, |key, value| {
                    match key.inside(data) {
                        b"key" | b"Key" => name = value,
                        b"value" | b"Value" => held = value,
                        _ => {}
                    }
                });
            debug_assert!(scanned.is_ok(), "the line was validated");
            if !name.is_absent() && data[name.start as usize] == b'"' && !held.is_absent() {
                pairs.push((name, held));
            }
        }),
        _ => return pairs,
    };
    debug_assert!(scanned.is_ok(), "the line was validated");
    pairs
}

/// Whether `ConcurrencyBehavior` is `IfRowVersionMatches`: an update then has the version that the row must have before.
fn is_checked(data: &[u8], behavior: Span) -> bool {
    behavior.of(data) == b"1" || text_of(data, behavior).as_deref() == Some("IfRowVersionMatches")
}

/// The instant of `/Date(1624638072000+0200)/`: milliseconds since 1970 in UTC, whatever zone is said; or of RFC 3339.
fn instant(text: &str) -> Option<i64> {
    let Some(inside) = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/")) else {
        return crate::decode::time::parse_rfc3339(text);
    };
    let zone = inside.char_indices().skip(1).find(|(_, character)| matches!(character, '+' | '-'));
    let millis = zone.map_or(inside, |(at, _)| &inside[..at]);
    crate::decode::time::parse(millis.as_bytes(), TimeUnit::EpochMilliseconds)
}

fn rfc3339(micros: i64) -> Option<String> {
    let instant = chrono::DateTime::from_timestamp_micros(micros)?;
    Some(instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// The version: a number as text.
fn put_version(data: &[u8], value: Span, row: &mut Row<'_>) -> Result<(), String> {
    let text = match data[value.start as usize] {
        b'"' => text_of(data, value),
        _ => Some(String::from_utf8_lossy(value.of(data))),
    };
    let text: Cow<'_, str> = text.unwrap_or_default();
    match text.parse() {
        Ok(version) => row.number(Attribute::Version, version),
        Err(_) if text.is_empty() && value.inside(data).is_empty() => {}
        Err(_) => {
            let shown = String::from_utf8_lossy(value.of(data));
            return Err(format!("the `RowVersion` is `{shown}`, expected a whole number, as text or not"));
        }
    }
    Ok(())
}
