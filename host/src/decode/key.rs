//! The text that a row's key is known by, out of the JSON values of its key columns.
//!
//! Equal keys have equal texts, however their strings are escaped; numbers count as they are written. Pure.

use super::envelope::write_string;
use super::fields::Fields;
use super::scan::{Scanner, Span, unescape};
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

/// Returns the JSON values that `object` has at `pointers`, each `None` where there is nothing; `None` where `object` is not JSON.
pub fn values_at<'o>(object: &'o [u8], pointers: &[String]) -> Option<Vec<Option<&'o [u8]>>> {
    let mut fields = Fields::default();
    let slots = pointers.iter().map(|pointer| fields.add(pointer).ok()).collect::<Option<Vec<_>>>()?;
    let mut found = vec![Span::ABSENT; fields.slots()];
    fields.scan(object, 0, object.len(), &mut found, &mut Stops::default()).ok()?;
    let value = |slot: usize| (!found[slot].is_absent()).then(|| found[slot].of(object));
    Some(slots.into_iter().map(value).collect())
}

/// Returns the JSON values that `array` has; `None` where it is no JSON array.
pub fn values_in(array: &[u8]) -> Option<Vec<&[u8]>> {
    let mut stops = Stops::default();
    let span = Scanner::new(array, array.len(), &mut stops).document(0, |_, _| {}).ok()?;
    let start = span.start as usize;
    let mut values = Vec::new();
    if array[start] != b'[' {
        return None;
    }
    let element = |element: Span| values.push(element.of(array));
    Scanner::new(array, span.end as usize, &mut stops).elements(start, element).ok()?;
    Some(values)
}

/// Tells whether a text is a GUID: 32 hexadecimal digits in five groups.
pub fn is_guid(text: &str) -> bool {
    let is_right = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_right)
}

/// Returns a GUID in lower case, as keys have it; any other text as it is.
pub fn fold_guid(mut text: String) -> String {
    if is_guid(&text) {
        text.make_ascii_lowercase();
    }
    text
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
            let pointers: Vec<_> = pointers.iter().map(ToString::to_string).collect();
            let values = values_at(object.as_bytes(), &pointers)?;
            Some(
                values
                    .iter()
                    .map(|value| value.map_or("-", |v| str::from_utf8(v).unwrap()))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        let object = r#"{ "a": 1.50, "b/c": "x", "n": null, "big": 12345678901234567890123456789012345678 }"#;
        assert_eq!(at(object, &["/a"]).unwrap(), "1.50");
        assert_eq!(at(object, &["/big", "/b~1c"]).unwrap(), r#"12345678901234567890123456789012345678 "x""#);
        assert_eq!(at(object, &["/n", "/z"]).unwrap(), "null -");
        assert_eq!(at("{", &["/a"]), None);
    }

    #[test]
    fn a_guid_is_the_same_in_either_case() {
        let upper = "0C0B5F2A-0000-4000-8000-00000000000A";
        assert_eq!(fold_guid(upper.into()), "0c0b5f2a-0000-4000-8000-00000000000a");
        for other in ["0C0B5F2A00004000800000000000000A", "0C0B5F2A-0000-4000-8000-00000000000G", "ABC", ""] {
            assert_eq!(fold_guid(other.into()), other);
        }
    }
}
