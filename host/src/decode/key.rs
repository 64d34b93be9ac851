//! The text that a row's key is known by, out of the JSON values of its key columns.
//!
//! Equal keys have equal texts, however their strings are escaped; numbers count as they are written. Pure.

use super::envelope::write_string;
use super::fields::Fields;
use super::scan::{Span, unescape};
use super::stops::Stops;

/// The key text of valid JSON values, without white space around them: of one the characters of a string, else its JSON text; of
/// several the JSON text of an array of them, `[1,"a"]`, in their order.
pub fn key_text(values: &[&[u8]]) -> String {
    let mut text = Vec::new();
    match values {
        [value] => match characters(value) {
            Some(characters) => return characters,
            None => text.extend_from_slice(value),
        },
        _ => {
            text.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                match characters(value) {
                    Some(characters) => write_string(&mut text, &characters),
                    None => text.extend_from_slice(value),
                }
            }
            text.push(b']');
        }
    }
    String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The key text of what the JSON `object` has at `pointers`; `None` where it has nothing, or null, at one of them.
pub fn key_at(object: &[u8], pointers: &[String]) -> Option<String> {
    let mut fields = Fields::default();
    let slots = pointers.iter().map(|pointer| fields.add(pointer).ok()).collect::<Option<Vec<_>>>()?;
    let mut found = vec![Span::ABSENT; fields.slots()];
    fields.scan(object, 0, object.len(), &mut found, &mut Stops::default()).ok()?;
    let value = |slot: usize| Some(found[slot].of(object)).filter(|value| !matches!(*value, b"" | b"null"));
    let values = slots.into_iter().map(value).collect::<Option<Vec<_>>>()?;
    Some(key_text(&values))
}

/// The characters of a JSON string; `None` where it is something else, or holds half of a surrogate pair.
fn characters(value: &[u8]) -> Option<String> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inside.len());
    if !unescape(inside, &mut text) {
        return None;
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_one_column_is_its_plain_text() {
        let one = |value: &str| key_text(&[value.as_bytes()]);
        assert_eq!(one("\"d1\""), "d1");
        assert_eq!(one(r#""a\u00e9\"\n""#), "aé\"\n");
        assert_eq!(one("12345678901234567890123456789012345678"), "12345678901234567890123456789012345678");
        assert_eq!(one("true"), "true");
        assert_eq!(one(r#""\ud800""#), r#""\ud800""#);
        assert_eq!(one("\"\""), "");
    }

    #[test]
    fn a_key_of_several_columns_is_an_array_and_escapes_do_not_matter() {
        assert_eq!(key_text(&[b"1", b"\"a\""]), r#"[1,"a"]"#);
        assert_eq!(key_text(&[br#""\u0061\/\"""#, b"1.50"]), r#"["a/\"",1.50]"#);
        assert_eq!(key_text(&["\"é\"".as_bytes(), b"null"]), key_text(&[br#""\u00E9""#, b"null"]));
        assert_ne!(key_text(&[b"\"a,b\"", b"\"c\""]), key_text(&[b"\"a\"", b"\"b,c\""]));
    }

    #[test]
    fn a_key_in_an_object_has_its_numbers_as_they_are_written() {
        let at = |object: &str, pointers: &[&str]| {
            key_at(object.as_bytes(), &pointers.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let object = r#"{ "a": 1.50, "b/c": "x", "n": null, "big": 12345678901234567890123456789012345678 }"#;
        assert_eq!(at(object, &["/a"]).unwrap(), "1.50");
        assert_eq!(at(object, &["/big", "/b~1c"]).unwrap(), r#"[12345678901234567890123456789012345678,"x"]"#);
        assert_eq!((at(object, &["/a", "/n"]), at(object, &["/z"]), at("{", &["/a"])), (None, None, None));
    }
}
