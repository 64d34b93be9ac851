//! Valid JSON, read where it lies: values are slices of the body, so that numbers stay exact and text is copied at most
//! once.
//!
//! The host has validated every body, so nothing is checked again; on anything else the readers end early and never
//! panic. Nothing here recurses.

use std::borrow::Cow;
use std::collections::HashMap;

/// One value, without the space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

/// Names, unescaped, and values.
pub type Members<'a> = Vec<(Cow<'a, [u8]>, Value<'a>)>;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Value<'a> {
    /// The value that `text` is.
    pub fn new(text: &'a [u8]) -> Self {
        Value(text.trim_ascii())
    }

    /// As it was written.
    pub fn written(self) -> &'a [u8] {
        self.0
    }

    /// What it is, by its first byte.
    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether it is `true`.
    pub fn is_true(self) -> bool {
        self.0 == b"true"
    }

    /// Whether it is a zero with a sign: `-0`, `-0.0`.
    pub fn is_negative_zero(self) -> bool {
        let digits = self.0.strip_prefix(b"-").unwrap_or_default();
        let digits = digits.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
        !digits.is_empty() && digits.iter().all(|byte| matches!(byte, b'0' | b'.'))
    }

    /// The text that it is, unescaped; `None` where it is another value, or no Unicode text.
    pub fn text(self) -> Option<Cow<'a, [u8]>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        unescape(inner)
    }

    /// The elements of an array, in order.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = Scanner::inside(self.0);
        std::iter::from_fn(move || rest.value())
    }

    /// The members of an object, in order, their names as they were written; a name may be there twice.
    pub fn members(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let mut rest = Scanner::inside(self.0);
        std::iter::from_fn(move || Some((rest.value()?, rest.value()?)))
    }

    /// The members of an object, each name once: of several, the last counts.
    ///
    /// # Errors
    /// A name that is no Unicode text.
    pub fn last_members(self) -> Result<Members<'a>, Value<'a>> {
        // Hashing the names of a small object costs more than comparing them.
        const SMALL: usize = 16;
        let mut members: Members<'a> = Vec::with_capacity(SMALL);
        let mut places: HashMap<Cow<'a, [u8]>, usize> = HashMap::new();
        for (name, value) in self.members() {
            let name = name.text().ok_or(name)?;
            let known = match members.len() {
                0..SMALL => members.iter().position(|(known, _)| *known == name),
                SMALL => {
                    places.extend(members.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)));
                    places.get(&name).copied()
                }
                _ => places.get(&name).copied(),
            };
            match known {
                Some(place) => members[place].1 = value,
                None => {
                    if members.len() >= SMALL {
                        places.insert(name.clone(), members.len());
                    }
                    members.push((name, value));
                }
            }
        }
        Ok(members)
    }
}

/// What is left of an array or an object.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn inside(container: &'a [u8]) -> Self {
        let end = container.len().saturating_sub(1);
        Scanner { text: container.get(1..end).unwrap_or_default(), at: 0 }
    }

    /// The next value, past space, commas and colons.
    fn value(&mut self) -> Option<Value<'a>> {
        while matches!(self.text.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':') {
            self.at += 1;
        }
        let start = self.at;
        self.at = end_of_value(self.text, start);
        Some(Value(&self.text[start..self.at]))
    }
}

/// Where the value that begins at `start` ends.
fn end_of_value(text: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_text(text, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ if depth == 0 => {
                let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                let length = text[at..].iter().position(ends).unwrap_or(text.len() - at);
                // At least a byte is taken, so that reading comes to an end whatever is read.
                return (at + length).max(start + 1);
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Where the string that begins at `start` ends, behind its quote.
fn end_of_text(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at += until_special(text.get(at..).unwrap_or_default());
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(_) => at += 2,
            None => return text.len(),
        }
    }
}

/// How many bytes come before the first quote or backslash; eight are looked at at once.
fn until_special(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // The lowest bit that is set is right: only bytes above one that is zero may be taken for zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let special = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if special != 0 {
            return place * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

fn unescape(inner: &[u8]) -> Option<Cow<'_, [u8]>> {
    // Every quote in it is escaped.
    let first = until_special(inner);
    if first == inner.len() {
        return Some(Cow::Borrowed(inner));
    }
    let mut out = Vec::with_capacity(inner.len());
    out.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else { break };
        rest = after;
        match escape {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let character = character(&mut rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            itself => out.push(itself),
        }
    }
    Some(Cow::Owned(out))
}

/// The character of a `\u` escape, or of two; half a surrogate pair is none, and has no place in Avro's UTF-8.
fn character(rest: &mut &[u8]) -> Option<char> {
    let first = four_digits(rest)?;
    if let 0xd800..0xdc00 = first {
        let mut second = *rest;
        if second.strip_prefix(b"\\u").is_some() {
            second = &second[2..];
            if let Some(low @ 0xdc00..0xe000) = four_digits(&mut second) {
                *rest = second;
                let pair = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(pair);
            }
        }
    }
    char::from_u32(first)
}

fn four_digits(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_first_chunk::<4>()?;
    let number = digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))?;
    *rest = after;
    Some(number)
}

/// Adds a token to an RFC 6901 pointer.
pub fn push_token(pointer: &mut String, token: &[u8]) {
    pointer.push('/');
    let text = String::from_utf8_lossy(token);
    match token.iter().any(|byte| matches!(byte, b'~' | b'/')) {
        true => pointer.push_str(&text.replace('~', "~0").replace('/', "~1")),
        false => pointer.push_str(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_cut_out_as_they_were_written() {
        let value = Value::new(b" {\"a\" : [1, {\"]\":\"}\\\"\"}] ,\"b\":-1.50e3,\"c\":null} ");
        let members: Vec<_> = value.members().map(|(name, value)| (name.written(), value.written())).collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"\"a\"", b"[1, {\"]\":\"}\\\"\"}]"), (b"\"b\"", b"-1.50e3"), (b"\"c\"", b"null")];
        assert_eq!(members, expected);
        assert_eq!(Value::new(b"[ ]").elements().count(), 0);
        assert_eq!(Value::new(b"{}").members().count(), 0);
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        let members = Value::new(br#"{"a":1,"b":2,"\u0061":3}"#).last_members().unwrap();
        let members: Vec<_> = members.iter().map(|(name, value)| (&name[..], value.written())).collect();
        assert_eq!(members, [(&b"a"[..], &b"3"[..]), (b"b", b"2")]);
        for count in [15, 16, 17, 40] {
            let members: String = (0..2 * count).map(|n| format!("\"{}\":{n},", n % count)).collect();
            let object = format!("{{{}}}", members.trim_end_matches(','));
            let last = Value::new(object.as_bytes()).last_members().unwrap();
            assert_eq!(last.len(), count);
            assert!(
                last.iter().enumerate().all(|(n, (_, value))| value.written() == (n + count).to_string().as_bytes())
            );
        }
    }

    #[test]
    fn escapes_are_undone() {
        let text = |json: &str| String::from_utf8(Value::new(json.as_bytes()).text().unwrap().into_owned()).unwrap();
        assert_eq!(text(r#""\"\\\/\b\f\n\r\t\u00e9""#), "\"\\/\u{8}\u{c}\n\r\té");
        assert_eq!(text(r#""\ud83d\ude00""#), "😀");
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for json in [r#""\ud800""#, r#""\ud83dx\ude00""#, r#""\ude00\ud83d""#, r#""\ud83d\n""#, r#""a\udfff""#] {
            assert_eq!(Value::new(json.as_bytes()).text(), None, "{json}");
        }
        let object = Value::new(br#"{"a":1,"\ud800":2,"b":3}"#);
        assert_eq!(object.members().count(), 3);
        assert_eq!(object.last_members(), Err(Value::new(br#""\ud800""#)));
    }

    #[test]
    fn a_token_is_escaped() {
        let mut pointer = String::from("/a");
        push_token(&mut pointer, b"b/c~d");
        assert_eq!(pointer, "/a/b~1c~0d");
    }

    proptest! {
        #[test]
        fn the_end_of_a_string_is_the_first_quote_without_a_backslash(
            text in prop::collection::vec(prop::sample::select(b"a\"\\#!\x22\x5b\x5d\xdc\xa2\x00\xff".to_vec()), 0..40)
        ) {
            let special = text.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(text.len());
            prop_assert_eq!(until_special(&text), special);
            let (mut end, mut escaped) = (text.len(), false);
            for (at, &byte) in text.iter().enumerate().skip(1) {
                if byte == b'"' && !escaped {
                    end = at + 1;
                    break;
                }
                escaped = byte == b'\\' && !escaped;
            }
            prop_assert_eq!(end_of_text(&text, 0), end);
        }

        #[test]
        fn nothing_that_is_read_panics_or_goes_on_for_ever(
            pieces in prop::collection::vec(prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "1", "n", " ", "é"]), 0..40)
        ) {
            let text = pieces.concat();
            let value = Value::new(text.as_bytes());
            let read = value.elements().count() + value.last_members().map_or(0, |members| members.len());
            prop_assert!(read <= 2 * text.len());
            let _ = value.text();
        }
    }
}
