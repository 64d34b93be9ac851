//! A row's values: checked against their columns, and written.
//!
//! A value comes as JSON, or as text where a change feed has no better type for it: `"12"` is a whole number, `"NaN"` a double or a decimal.
//! What does not fit refuses the row, with the column, the value and what was expected.

use std::borrow::Cow;

use lakeport_plugin::prelude::*;
use lakeport_plugin::{serde, serde_json};

use crate::dialect::{put_boolean, put_integer, put_text};
use crate::layout::{Field, Layout, Own, Source, Type, place};
use crate::number;
use crate::settings::{Config, Dates};
use crate::time::{self, Stamp};

/// Characters of a value that a reason repeats.
const SHOWN: usize = 64;

/// Writes rows.
pub struct Writer {
    dates: Dates,
    guard: bool,
}

impl Writer {
    pub fn new(config: &Config) -> Writer {
        Writer { dates: config.dates, guard: config.formula_guard }
    }

    /// Adds a row, whole, and its line feed.
    ///
    /// # Errors
    /// A value that does not fit its column, or a row without a key.
    pub fn row(&self, layout: &Layout, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let deleted = row.text(place::OPERATION) == Some("delete");
        for (at, field) in layout.fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match field.source {
                Source::Attribute(own) => self.own(own, row, deleted, out)?,
                Source::Retired => {}
                Source::Row(_) if deleted => self.of_deleted(field, row, out)?,
                Source::Row(place) => {
                    if let Some(json) = row.bytes(place) {
                        self.json(field, json, out)?;
                    }
                }
            }
        }
        out.push(b'\n');
        Ok(())
    }

    fn own(&self, own: Own, row: Row, deleted: bool, out: &mut Vec<u8>) -> Result<(), Rejection> {
        match own {
            Own::Id => {
                let subject = row.text(place::SUBJECT).ok_or("the row has no key")?;
                refuse_nul("Id", subject.as_bytes())?;
                put_text(subject.as_bytes(), self.guard, out);
            }
            Own::SinkCreatedOn => self.sink_time("SinkCreatedOn", row.timestamp(place::ENQUEUED_TIME), out)?,
            Own::SinkModifiedOn => self.sink_time("SinkModifiedOn", row.timestamp(place::TIME), out)?,
            Own::VersionNumber => row.integer(place::VERSION).into_iter().for_each(|version| put_integer(version, out)),
            Own::IsDelete => put_boolean(deleted, out),
        }
        Ok(())
    }

    /// The row went: a column that stands for one of the format's own says what that one would have, where its type can.
    fn of_deleted(&self, field: &Field, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let before = out.len();
        let said = match field.own {
            Some(Own::Id) => row.text(place::SUBJECT).map_or(Ok(()), |key| self.text(field, key.as_bytes(), out)),
            Some(Own::VersionNumber) => row.integer(place::VERSION).map_or(Ok(()), |version| {
                let mut digits = Vec::new();
                put_integer(version, &mut digits);
                self.text(field, &digits, out)
            }),
            Some(Own::IsDelete) => self.text(field, b"true", out),
            Some(Own::SinkCreatedOn | Own::SinkModifiedOn) | None => Ok(()),
        };
        if said.is_err() {
            out.truncate(before);
        }
        Ok(())
    }

    fn sink_time(&self, name: &str, micros: Option<i64>, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let Some(micros) = micros else { return Ok(()) };
        let stamp = Stamp::micros(micros).ok_or_else(|| {
            Rejection::new(format!(
                "`{name}` is {micros} microseconds after 1970, expected an instant of the years 1 to 9999"
            ))
        })?;
        out.push(b'"');
        match self.dates {
            Dates::Service => stamp.put_service_sink(out),
            Dates::Iso => stamp.put_iso(true, out),
        }
        out.push(b'"');
        Ok(())
    }

    /// Adds a value as it was received.
    fn json(&self, field: &Field, json: &[u8], out: &mut Vec<u8>) -> Result<(), Rejection> {
        match json.first() {
            Some(b'n') => Ok(()),
            Some(b'"') => {
                let text = unescape(json).ok_or_else(|| misfit(field, json, "Unicode text"))?;
                self.text(field, &text, out)
            }
            Some(b'{' | b'[') => match field.data_type {
                Type::String | Type::Json => self.quoted(field, json, out),
                _ => Err(misfit(field, json, field.data_type.expected())),
            },
            _ => match (field.data_type, json) {
                (Type::Boolean, b"0" | b"1") | (Type::String | Type::Int64 | Type::Double | Type::Decimal, _) => {
                    self.text(field, json, out)
                }
                (Type::Boolean, b"true" | b"false") => self.text(field, json, out),
                (Type::Json, _) => self.quoted(field, json, out),
                _ => Err(misfit(field, json, field.data_type.expected())),
            },
        }
    }

    /// Adds a value that came as text, or as a number or a truth value, whose text is its JSON.
    fn text(&self, field: &Field, text: &[u8], out: &mut Vec<u8>) -> Result<(), Rejection> {
        let fits = |fits: bool| match fits {
            true => Ok(()),
            false => Err(misfit(field, text, field.data_type.expected())),
        };
        match field.data_type {
            Type::String => self.quoted(field, text, out),
            Type::Json => match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
                // What a change feed has as text is the JSON itself; other text is a JSON string.
                Ok(_) => self.quoted(field, text, out),
                Err(_) => {
                    let json = serde_json::to_string(&String::from_utf8_lossy(text)).map_err(|e| e.to_string())?;
                    self.quoted(field, json.as_bytes(), out)
                }
            },
            Type::Int64 => fits(number::is_int64(text)).map(|()| out.extend_from_slice(text)),
            Type::Double => fits(is_special(text) || number::is_number(text)).map(|()| out.extend_from_slice(text)),
            Type::Decimal => match is_special(text) || number::is_decimal(text, field.precision, field.scale) {
                true => {
                    out.extend_from_slice(text);
                    Ok(())
                }
                false => Err(misfit(field, text, &decimal_of(field))),
            },
            Type::Boolean => {
                let value = match text {
                    b"true" | b"t" | b"1" => true,
                    b"false" | b"f" | b"0" => false,
                    _ => return fits(false),
                };
                put_boolean(value, out);
                Ok(())
            }
            Type::Date => fits(time::is_date(text) || time::is_infinite(text)).map(|()| put_text(text, false, out)),
            Type::Time => fits(time::is_time(text)).map(|()| put_text(text, false, out)),
            Type::DateTime | Type::DateTimeOffset { .. } if time::is_infinite(text) => {
                put_text(text, false, out);
                Ok(())
            }
            Type::DateTime | Type::DateTimeOffset { .. } => {
                let Some(stamp) = Stamp::parse(text) else { return fits(false) };
                out.push(b'"');
                match (self.dates, field.data_type) {
                    (Dates::Service, Type::DateTimeOffset { creation: true }) => stamp.put_service_creation(out),
                    (Dates::Service, _) => stamp.put_service(out),
                    (Dates::Iso, data_type) => stamp.put_iso(data_type != Type::DateTime, out),
                }
                out.push(b'"');
                Ok(())
            }
            Type::Guid => {
                let before = out.len();
                fits(put_guid(text, out)).inspect_err(|_| out.truncate(before))
            }
        }
    }

    fn quoted(&self, field: &Field, text: &[u8], out: &mut Vec<u8>) -> Result<(), Rejection> {
        refuse_nul(&field.name, text)?;
        if let Some(most) = field.max_length.map(|most| most as usize)
            && text.len() > most
        {
            let characters = text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
            if characters > most {
                let expected = format!("at most {most} characters, and it has {characters}");
                return Err(misfit(field, text, &expected));
            }
        }
        put_text(text, self.guard, out);
        Ok(())
    }
}

impl Type {
    /// What a value is to be, for the reason of a refusal.
    fn expected(self) -> &'static str {
        match self {
            Type::String => "text",
            Type::Int64 => "a whole number of 64 bits",
            Type::Double => "a number, `NaN`, `Infinity` or `-Infinity`",
            Type::Decimal => "a decimal number, `NaN`, `Infinity` or `-Infinity`",
            Type::Boolean => "`true` or `false`",
            Type::Date => "a date of the years 1 to 9999, such as `2021-06-25`",
            Type::Time => "a time of day such as `16:21:12.123`, with up to nine digits of a fraction",
            Type::DateTime | Type::DateTimeOffset { .. } => {
                "a date and time of the years 1 to 9999, such as `2021-06-25T16:21:12.123Z`"
            }
            Type::Guid => "a GUID such as `0f8fad5b-d9cb-469f-a165-70867728950e`",
            Type::Json => "JSON",
        }
    }
}

/// The text of a JSON string; `None` where it is no Unicode text.
fn unescape(json: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr(b'\\', json).is_none() {
        return Some(Cow::Borrowed(json.strip_prefix(b"\"")?.strip_suffix(b"\"")?));
    }
    serde_json::from_slice::<String>(json).ok().map(|text| Cow::Owned(text.into_bytes()))
}

/// Whether `text` is what is no number, or no finite one, of binary floating point and of PostgreSQL's `numeric`.
fn is_special(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity")
}

/// Adds a GUID in small letters, without the braces that it may have; `false` where it is none.
fn put_guid(text: &[u8], out: &mut Vec<u8>) -> bool {
    let plain = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).unwrap_or(text);
    let Ok(guid) = <&[u8; 36]>::try_from(plain) else { return false };
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    out.extend_from_slice(&guid.to_ascii_lowercase());
    guid.iter().enumerate().all(fits)
}

fn decimal_of(field: &Field) -> String {
    match (field.precision, field.scale) {
        (Some(precision), Some(scale)) => {
            format!("a decimal number of {precision} digits, {scale} of them behind the point")
        }
        (Some(precision), None) => format!("a decimal number of {precision} digits"),
        (None, Some(scale)) => format!("a decimal number with {scale} digits behind the point"),
        (None, None) => Type::Decimal.expected().to_owned(),
    }
}

/// CSV has no way to write it, and readers end text there.
fn refuse_nul(column: &str, text: &[u8]) -> Result<(), Rejection> {
    match memchr::memchr(0, text) {
        None => Ok(()),
        Some(at) => Err(Rejection::new(format!(
            "column `{column}` has the character U+0000 at byte {at}, which CSV cannot hold; expected text without it"
        ))),
    }
}

#[cold]
fn misfit(field: &Field, value: &[u8], expected: &str) -> Rejection {
    let text = String::from_utf8_lossy(value);
    let start: String = text.chars().take(SHOWN).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    Rejection::new(format!("column `{}` is `{start}{more}`, expected {expected}", field.name))
}
