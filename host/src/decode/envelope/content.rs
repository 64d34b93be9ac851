//! What a message's body is: JSON, text or bytes, and how it is told.
//!
//! IoT Hub and Event Grid put a message's body into JSON as it is only where the message says that it is JSON in UTF-8; any
//! other body is base64. Senders get this wrong in every way, so a string is looked at, too.

use std::borrow::Cow;

use super::Outer;
use super::row::Row;
use crate::decode::fields::Slot;
use crate::decode::scan::{Span, unescape};
use crate::error::Result;

/// Where a message's system properties say what its body is.
pub struct Content {
    outer: Outer,
    content_type: Slot,
    encoding: Slot,
}

impl Content {
    /// The members of the system properties that say so.
    pub fn new(content_type: &str, encoding: &str) -> Result<Content> {
        let mut outer = Outer::default();
        let content_type = outer.fields.add(content_type)?;
        let encoding = outer.fields.add(encoding)?;
        Ok(Content { outer, content_type, encoding })
    }

    /// Puts a message's body, of which `system` are the system properties:
    ///
    /// - an object, an array, a number or a boolean is itself; null is none;
    /// - a string is its characters where the message says that it is JSON in UTF-8, or where they are a JSON object or array;
    /// - else, where it is base64, what that stands for;
    /// - else its characters.
    #[inline]
    pub fn put_body(&mut self, data: &[u8], body: Span, system: Span, row: &mut Row<'_>) {
        if body.is_absent() {
            return;
        }
        match data[body.start as usize] {
            b'"' => self.put_string(data, body, system, row),
            b'n' => {}
            _ => row.body_json(data, body),
        }
    }

    fn put_string(&mut self, data: &[u8], body: Span, system: Span, row: &mut Row<'_>) {
        row.body_text(data, body);
        if self.says_json(data, system) {
            return;
        }
        let text = &row.buffer[row.body.start as usize..row.body.end as usize];
        if is_base64(text) {
            let base64 = text.to_vec();
            row.body_base64(&base64);
        }
    }

    fn says_json(&mut self, data: &[u8], system: Span) -> bool {
        self.outer.find(data, system);
        let (content_type, encoding) = (self.outer.found[self.content_type], self.outer.found[self.encoding]);
        let is = |span: Span, wanted: &dyn Fn(&str) -> bool| text_of(data, span).is_some_and(|text| wanted(&text));
        is(content_type, &|text| media_type(text).eq_ignore_ascii_case("application/json"))
            && is(encoding, &|text| text.trim().eq_ignore_ascii_case("utf-8"))
    }
}

/// A media type without its parameters.
fn media_type(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// Whether a media type is one of JSON.
pub fn is_json_type(text: &str) -> bool {
    let subtype = media_type(text).rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    subtype == "json" || subtype.ends_with("+json")
}

/// Whether a text may be base64: of the standard alphabet, padded, not empty. Cheaper than to decode it in vain; a JSON object
/// or array is none.
fn is_base64(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

/// The characters of a JSON string; `None` where it is something else, or no Unicode text.
pub fn text_of(data: &[u8], value: Span) -> Option<Cow<'_, str>> {
    if value.is_absent() || data[value.start as usize] != b'"' {
        return None;
    }
    if !value.escaped {
        return std::str::from_utf8(value.inside(data)).ok().map(Cow::Borrowed);
    }
    let mut text = Vec::new();
    unescape(value.inside(data), &mut text).then(|| String::from_utf8(text).ok().map(Cow::Owned)).flatten()
}
