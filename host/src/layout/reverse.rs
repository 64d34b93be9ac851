//! The way back: which series and part of a template a key is.

use std::collections::HashMap;

use super::key::encode_segment;
use super::template::{PART, Piece, Template, Token};

impl Template {
    /// The folder that all of the template's keys are below: its segments before the first token; `""` where there is none.
    pub fn folder(&self) -> &str {
        let text = match self.pieces().first() {
            Some(Piece::Text(text)) => text,
            _ => return "",
        };
        text.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The series and the part of `key`, where an export of this name can have made it.
    pub fn parts_of(&self, export: &str, key: &str) -> Option<(String, u32)> {
        let export = encode_segment(export);
        let mut search = Search { export: &export, bound: HashMap::new() };
        let at = search.matches(self.pieces(), key, 0)?;
        let part = search.bound[&Token::Part];
        Some((format!("{}{PART}{}", &key[..at], &key[at + part.len()..]), part.parse().ok()?))
    }
}

/// A search for values of tokens that make a key.
struct Search<'a> {
    export: &'a str,
    bound: HashMap<Token, &'a str>,
}

impl<'a> Search<'a> {
    /// Matches all of `key` from `at` on; returns where the part begins.
    fn matches(&mut self, pieces: &[Piece], key: &'a str, at: usize) -> Option<usize> {
        let rest = &key[at..];
        let Some((piece, pieces)) = pieces.split_first() else { return rest.is_empty().then_some(at) };
        let token = match piece {
            Piece::Text(text) => {
                rest.strip_prefix(text.as_str())?;
                return self.matches(pieces, key, at + text.len());
            }
            Piece::Token(token) => *token,
        };
        let export = self.export;
        let end = rest.find('/').unwrap_or(rest.len());
        let fits = (1..=end).rev().filter(|length| rest.is_char_boundary(*length));
        for value in fits.map(|length| &rest[..length]).filter(|value| is_value(token, value, export)) {
            let before = self.bound.get(&token).copied();
            if before.is_some_and(|before| before != value) {
                continue;
            }
            self.bound.insert(token, value);
            if let Some(part) = self.matches(pieces, key, at + value.len()) {
                return Some(if token == Token::Part { at } else { part });
            }
            match before {
                Some(before) => self.bound.insert(token, before),
                None => self.bound.remove(&token),
            };
        }
        None
    }
}

/// Whether a token can have become `value`.
fn is_value(token: Token, value: &str, export: &str) -> bool {
    let number = |width: usize, range: std::ops::RangeInclusive<u32>| {
        let is_digits = value.len() == width && value.bytes().all(|byte| byte.is_ascii_digit());
        is_digits && value.parse().is_ok_and(|value| range.contains(&value))
    };
    match token {
        Token::Export => value == export,
        Token::Kind | Token::Source | Token::Partition => is_encoded(value),
        Token::Year => number(4, 0..=9999),
        Token::Month => number(2, 1..=12),
        Token::Day => number(2, 1..=31),
        Token::Hour => number(2, 0..=23),
        Token::Minute => number(2, 0..=59),
        Token::Part => value.parse::<u32>().is_ok_and(|part| format!("{part:02}") == value),
        Token::Extension => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'),
    }
}

/// Whether [`encode_segment`] can have made a text.
fn is_encoded(text: &str) -> bool {
    let mut rest = text;
    if rest == "%" {
        return true;
    }
    if let Some((before, digest)) = text.split_once("%~") {
        if digest.len() != 32 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return false;
        }
        // The text before it was cut, perhaps inside a code.
        rest = before.trim_end_matches(|c: char| c.is_ascii_hexdigit() || c == '%');
    }
    let codes = rest.split('%').skip(1);
    let is_code =
        |code: &str| code.get(..2).is_some_and(|code| code.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%".contains(&byte);
    rest.bytes().all(is_plain) && codes.into_iter().all(is_code) && !text.starts_with(['.', '_'])
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, Values, part_key};
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn every_key_of_a_template_is_found_again() {
        let period = Fields { year: 2019, month: 9, day: 10, hour: 11, minute: 5 };
        for text in [
            "signals/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}",
            "{export}/{source}/{YYYY}-{MM}-{dd}T{HH}{mm}/{kind}-{part}.{ext}",
            "x{part}",
            "{kind}/{part}-{YYYY}",
        ] {
            for kind in ["Brew/Started", "", "_x", ".", "a-07", "é", &"é".repeat(100), &"a".repeat(300)] {
                let template = template(text);
                let values = Values { export: "e e", kind, source: "hub", partition: "0", period, extension: "ndjson" };
                let series = template.series(&values);
                for part in [0, 7, 99, 100] {
                    let key = part_key(&series, part);
                    assert_eq!(template.parts_of("e e", &key), Some((series.clone(), part)), "{key}");
                }
            }
        }
    }

    #[test]
    fn no_other_key_is_one_of_a_template() {
        let template = template("signals/{export}/{YYYY}/{MM}/{YYYY}-{kind}/{part}.{ext}");
        assert_eq!(template.folder(), "signals");
        assert!(template.parts_of("e", "signals/e/2019/09/2019-a/00.ndjson").is_some());
        for key in [
            "signals/f/2019/09/2019-a/00.ndjson",
            "signals/e/2019/13/2019-a/00.ndjson",
            "signals/e/2019/09/2020-a/00.ndjson",
            "signals/e/2019/09/2019-a b/00.ndjson",
            "signals/e/2019/09/2019-a%2f/00.ndjson",
            "signals/e/2019/09/2019-a/0.ndjson",
            "signals/e/2019/09/2019-a/007.ndjson",
            "signals/e/2019/09/2019-a/00.ndjson.bak/x",
            "signals/e/2019/09/2019-a/mine.ndjson",
            "other/e/2019/09/2019-a/00.ndjson",
        ] {
            assert_eq!(template.parts_of("e", key), None, "{key}");
        }
    }
}
