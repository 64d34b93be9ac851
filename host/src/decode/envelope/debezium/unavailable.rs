//! Placeholders: what Debezium writes for a value that an update did not change and that is not in the database's log.
//!
//! Their form depends on the column's type and on how the connector writes it; each is told by its value, however its JSON is
//! written. Where facts come from: `UnchangedToastedPlaceholder` in Debezium's connector for PostgreSQL.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::decode::envelope::content::text_of;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;

const TEXT: &str = "__debezium_unavailable_value";
/// Of bytes, as `binary.handling.mode` has them.
const BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
const HEX: &str = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";
/// The name-based UUID of the text.
const UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
/// No placeholder has a longer JSON text than this, white space and escapes apart.
const LONGEST: usize = 1 << 12;

static TRACES: LazyLock<[Finder<'static>; 5]> =
    LazyLock::new(|| [&TEXT[2..], &BASE64[..32], HEX, UUID, r"\u00"].map(Finder::new));
static FIRST_BYTE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("95"));

/// Tells quickly whether a row may hold a placeholder.
pub fn may_be_in(row: &[u8]) -> bool {
    let begins_array = |at: usize| row[..at].trim_ascii_end().ends_with(b"[");
    TRACES.iter().any(|trace| trace.find(row).is_some()) || FIRST_BYTE.find_iter(row).any(begins_array)
}

/// Tells whether a value is a placeholder.
pub fn is(data: &[u8], value: Span) -> bool {
    let text = value.of(data);
    match text[0] {
        _ if text.len() > LONGEST => false,
        b'"' => text_of(data, value).is_some_and(|text| is_text(&text) || is_object_as_text(&text)),
        b'{' => is_object(text),
        b'[' => is_array(data, value),
        _ => false,
    }
}

fn is_text(text: &str) -> bool {
    [TEXT, BASE64, HEX, UUID].contains(&text)
}

/// An `hstore` as JSON.
fn is_object_as_text(text: &str) -> bool {
    text.trim_start().starts_with('{') && is_object(text.as_bytes())
}

/// An `hstore` as a map.
fn is_object(text: &[u8]) -> bool {
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(text);
    object.is_ok_and(|object| object.len() == 1 && object.get(TEXT).is_some_and(|value| value == TEXT))
}

/// One placeholder, or a number for each byte of the text.
fn is_array(data: &[u8], array: Span) -> bool {
    let mut count = 0;
    let (mut texts, mut bytes) = (true, true);
    let scanned =
        Scanner::new(data, array.end as usize, &mut Stops::default()).elements(array.start as usize, |element| {
            let is_text_element = || text_of(data, element).is_some_and(|text| is_text(&text));
            texts &= count == 0 && data[element.start as usize] == b'"' && is_text_element();
            let number = std::str::from_utf8(element.of(data)).ok().and_then(|number| number.parse::<u8>().ok());
            bytes &= number.is_some() && number == TEXT.as_bytes().get(count).copied();
            count += 1;
        });
    debug_assert!(scanned.is_ok(), "the value was validated");
    count == 1 && texts || count == TEXT.len() && bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_one(json: &str) -> bool {
        let row = format!("{{\"a\":{json}}}");
        let value = Span { start: 5, end: row.len() as u32 - 1, escaped: json.contains('\\') };
        let found = is(row.as_bytes(), value);
        assert!(!found || may_be_in(row.as_bytes()), "a quick look finds every placeholder: {json}");
        found
    }

    #[test]
    fn a_placeholder_is_told_in_each_form() {
        let numbers: Vec<_> = TEXT.bytes().map(|byte| byte.to_string()).collect();
        let map = format!(r#"{{"{TEXT}":"{TEXT}"}}"#);
        for json in [
            format!("\"{TEXT}\""),
            format!("\"{}\"", TEXT.replace('d', r"\u0064")),
            format!("\"{BASE64}\""),
            format!("\"{HEX}\""),
            format!("\"{UUID}\""),
            format!("[\"{TEXT}\"]"),
            format!("[ \"{BASE64}\" ]"),
            format!("[\"{UUID}\"]"),
            format!("[{}]", numbers.join(",")),
            format!("[ {} ]", numbers.join(" , ")),
            map.clone(),
            map.replace(':', " : "),
            serde_json::Value::from(map.clone()).to_string(),
            serde_json::Value::from(map.replace(':', ": ")).to_string(),
        ] {
            assert!(is_one(&json), "{json}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_a_value() {
        for json in [
            format!("\"it says {TEXT}\""),
            format!("[\"{TEXT}\",\"b\"]"),
            format!("[\"a\",\"{TEXT}\"]"),
            format!(r#"{{"{TEXT}":"{TEXT}","b":1}}"#),
            format!(r#"{{"a":"{TEXT}"}}"#),
            "[95,95,100]".into(),
            "[]".into(),
            "{}".into(),
            "95".into(),
            "\"{\"".into(),
        ] {
            assert!(!is_one(&json), "{json}");
        }
    }
}
