//! Object keys made from data: an allow-list encoding that is injective and safe on every store.

use std::fmt::Write;

/// The longest encoded segment, in bytes: file systems stop at 255, and stores add suffixes of their own.
const MAX_SEGMENT: usize = 180;

/// Encodes `text` as one segment of an object key.
///
/// ASCII letters, digits, `-`, `.`, `_` stay; everything else becomes `%XX` per UTF-8 byte. A leading `.` or `_` is
/// encoded too (readers skip such names, and `.` and `..` are folders), as is a trailing `.` (which some stores drop).
/// An empty text becomes `%`, which nothing else does. What would be longer than 180 bytes is cut and ends in `%~` and
/// 32 hexadecimal digits of its SHA-256. Different texts give different segments.
///
/// Tokens stand in templates beside other text, so every character that could be special there is encoded as well.
pub fn encode_segment(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let last = text.len() - 1;
    for (at, byte) in text.bytes().enumerate() {
        let plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => true,
            b'_' => at != 0,
            b'.' => at != 0 && at != last,
            _ => false,
        };
        if plain {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
    if out.len() > MAX_SEGMENT {
        use sha2::{Digest, Sha256};
        let digest = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
        out.truncate(MAX_SEGMENT - 34);
        out.push_str("%~");
        out.push_str(&digest);
    }
    out
}

/// The text that [`encode_segment`] made a segment of; `None` where it was cut, or is no segment.
pub fn decode_segment(segment: &str) -> Option<String> {
    if segment == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_can_be_read_again() {
        for text in ["", "0", "$Default", "a/b", ".x.", "_y", "ü %"] {
            assert_eq!(decode_segment(&encode_segment(text)).as_deref(), Some(text));
        }
        for segment in ["%~", "%4", "%zz", &encode_segment(&"ü".repeat(100))] {
            assert_eq!(decode_segment(segment), None, "{segment}");
        }
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(encode_segment("Brew-Started.v2_x"), "Brew-Started.v2_x");
    }

    #[test]
    fn what_a_store_or_a_reader_could_misread_is_encoded() {
        assert_eq!(encode_segment("../etc"), "%2E.%2Fetc");
        assert_eq!(encode_segment("_hidden"), "%5Fhidden");
        assert_eq!(encode_segment("."), "%2E");
        assert_eq!(encode_segment("a."), "a%2E");
        assert_eq!(encode_segment("a b=c%"), "a%20b%3Dc%25");
        assert_eq!(encode_segment(""), "%");
        assert_eq!(encode_segment("é"), "%C3%A9");
    }

    #[test]
    fn long_names_stay_apart_and_short() {
        let (a, b) = ("x".repeat(5_000), format!("{}y", "x".repeat(4_999)));
        assert!(encode_segment(&a).len() <= MAX_SEGMENT);
        assert_ne!(encode_segment(&a), encode_segment(&b));
    }
}
