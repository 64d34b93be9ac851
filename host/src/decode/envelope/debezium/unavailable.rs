//! Placeholders: what Debezium writes for a value that an update did not change and that is not in the database's log.
//!
//! Their form depends on the column's type and on how the connector writes it; each is told by its value, however its JSON is
//! written. Where facts come from: `UnchangedToastedPlaceholder` in Debezium's connector for PostgreSQL.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::{Map, Value};

use crate::decode::envelope::content::text_of;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;

const TEXT: &str = "__debezium_unavailable_value";
/// Of bytes, as `binary.handling.mode` has them.
const BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
const HEX: &str = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";
/// The name-based UUID of the text.
const UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
/// Of a `geometry` and a `geography`, in their members `wkb`: the points (-99999999, -99999999) and (179.999999, 89.999999), of
/// which the reference system is [`SRID`].
const PLACES: [&str; 2] = ["AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==", "AQEAACDmEAAADCHn/f9/ZkAYQs77/39WQA=="];
const SRID: i64 = 4326;
/// Of a `point`, in its members `x` and `y`.
const COORDINATE: f64 = -99_999_999.0;
/// No placeholder has a longer JSON text than this, white space and escapes apart.
const LONGEST: usize = 1 << 12;

static TRACES: LazyLock<[Finder<'static>; 7]> =
    LazyLock::new(|| [&TEXT[2..], &BASE64[..32], HEX, UUID, r"\u00", "D8g9eXwQ", "ZkAYQs77"].map(Finder::new));
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
        b'{' => is_object(text, |object| is_map(object) || is_place(object)),
        b'[' => is_array(data, value),
        _ => false,
    }
}

fn is_text(text: &str) -> bool {
    [TEXT, BASE64, HEX, UUID].contains(&text)
}

/// An `hstore` as JSON.
fn is_object_as_text(text: &str) -> bool {
    text.trim_start().starts_with('{') && is_object(text.as_bytes(), is_map)
}

fn is_object(text: &[u8], is_one: impl Fn(&Map<String, Value>) -> bool) -> bool {
    serde_json::from_slice(text).is_ok_and(|object| is_one(&object))
}

/// An `hstore` as a map.
fn is_map(object: &Map<String, Value>) -> bool {
    object.len() == 1 && object.get(TEXT).is_some_and(|value| value == TEXT)
}

/// A `geometry`, a `geography` or a `point`.
fn is_place(object: &Map<String, Value>) -> bool {
    let is_coordinate = |name: &str| object.get(name).and_then(Value::as_f64) == Some(COORDINATE);
    let is_there = object.get("wkb").and_then(Value::as_str).is_some_and(|wkb| PLACES.contains(&wkb));
    is_there && object.get("srid").and_then(Value::as_i64) == Some(SRID) || is_coordinate("x") && is_coordinate("y")
}

/// One placeholder, or a number for each byte of the text.
fn is_array(data: &[u8], array: Span) -> bool {
    let mut count = 0;
    let (mut texts, mut bytes) = (true, true);
    let scanned =
        Scanner::new(data, array.end as usize, &mut Stops::default()).elements(array.start as usize, |element| {
            let is_text_element = || text_of(data, element).is_some_and(|text| is_text(&text));
            texts &= count == 0 && data[element.start as usize] == b'"' && is_text_element();
            let number = std::str::from_utf8(element.of(data)).ok().and_then(|number| number.parse::<f64>().ok());
            bytes &= number.is_some() && number == TEXT.as_bytes().get(count).map(|byte| f64::from(*byte));
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
            format!("[{}]", numbers.join(".0,") + ".0"),
            format!(r#"{{"wkb":"{}","srid":4326}}"#, PLACES[0]),
            format!(r#"{{"wkb":"{}","srid":4326,"extensions":null}}"#, PLACES[0].replace('/', r"\/")),
            format!(r#"{{ "srid" : 4326, "wkb" : "{}" }}"#, PLACES[1]),
            POINT.into(),
            POINT.replace("-9.9999999E7", "-99999999.0"),
            map.clone(),
            map.replace(':', " : "),
            serde_json::Value::from(map.clone()).to_string(),
            serde_json::Value::from(map.replace(':', ": ")).to_string(),
        ] {
            assert!(is_one(&json), "{json}");
        }
    }

    const POINT: &str = r#"{"x":-9.9999999E7,"y":-9.9999999E7,"wkb":"AQEAAAAAAAD8g9eXwQAAAPyD15fB","srid":null}"#;

    #[test]
    fn what_only_looks_like_one_is_a_value() {
        for json in [
            format!("\"it says {TEXT}\""),
            format!("[\"{TEXT}\",\"b\"]"),
            format!("[\"a\",\"{TEXT}\"]"),
            format!(r#"{{"{TEXT}":"{TEXT}","b":1}}"#),
            format!(r#"{{"a":"{TEXT}"}}"#),
            "[95,95,100]".into(),
            POINT.replacen("-9.9999999E7", "-9.9999998E7", 1),
            format!(r#"{{"wkb":"{}","srid":3857}}"#, PLACES[0]),
            format!("\"{}\"", PLACES[1]),
            r#"{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAYQA==","srid":4326}"#.into(),
            "[]".into(),
            "{}".into(),
            "95".into(),
            "\"{\"".into(),
        ] {
            assert!(!is_one(&json), "{json}");
        }
    }
}
