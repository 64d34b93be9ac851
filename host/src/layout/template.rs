//! Path templates: `signals/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}`.

use std::fmt;
use std::fmt::Write;
use std::ops::Range;

use super::key::encode_segment;
use super::period::{Fields, Period};

/// What a template's braces may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// The export's name.
    Export,
    /// The record's kind.
    Kind,
    /// The record's source.
    Source,
    /// The source's partition.
    Partition,
    /// The year, four digits.
    Year,
    /// The month, two digits.
    Month,
    /// The day of the month, two digits.
    Day,
    /// The hour, 00–23, two digits.
    Hour,
    /// The minute, two digits.
    Minute,
    /// The number of the part: two digits, more where needed.
    Part,
    /// The format's file extension.
    Extension,
}

impl Token {
    /// Every token with the names it goes by; the first is the one documentation uses.
    pub const ALL: [(Token, &'static [&'static str]); 11] = [
        (Token::Export, &["export"]),
        (Token::Kind, &["kind"]),
        (Token::Source, &["source", "hub"]),
        (Token::Partition, &["partition"]),
        (Token::Year, &["YYYY"]),
        (Token::Month, &["MM"]),
        (Token::Day, &["dd", "DD"]),
        (Token::Hour, &["HH", "hh"]),
        (Token::Minute, &["mm"]),
        (Token::Part, &["part"]),
        (Token::Extension, &["ext"]),
    ];

    /// The tokens of time, coarse to fine.
    pub const TIME: [Token; 5] = [Token::Year, Token::Month, Token::Day, Token::Hour, Token::Minute];

    /// The name that documentation uses.
    pub fn name(self) -> &'static str {
        let (_, names) = Self::ALL.iter().find(|(known, _)| *known == self).expect("`ALL` has every token");
        names[0]
    }

    fn parse(name: &str) -> Option<Token> {
        Self::ALL.iter().find(|(_, names)| names.contains(&name)).map(|(token, _)| *token)
    }
}

impl Token {
    /// Writes what a token of time stands for in a period that begins so.
    fn write_time(self, start: Fields, out: &mut String) {
        match self {
            Token::Year => number(out, start.year.unsigned_abs(), 4),
            Token::Month => number(out, start.month, 2),
            Token::Day => number(out, start.day, 2),
            Token::Hour => number(out, start.hour, 2),
            Token::Minute => number(out, start.minute, 2),
            _ => {}
        }
    }

    fn of_time(self, start: Fields) -> String {
        let mut text = String::new();
        self.write_time(start, &mut text);
        text
    }
}

/// A parsed path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

/// A stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Token(Token),
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// The bytes of the template it is about.
    pub span: Range<usize>,
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What fills a template's tokens, apart from the part.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    pub export: &'a str,
    pub kind: &'a str,
    pub source: &'a str,
    pub partition: &'a str,
    pub period: Fields,
    pub extension: &'a str,
}

impl Template {
    /// Parses a template: `/`-separated segments of text and `{token}`s.
    ///
    /// # Errors
    /// Names the place: an unknown or unclosed token, an empty or hidden segment, a `..`, no `{part}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let fail = |span: Range<usize>, message: String, help: Option<String>| TemplateError { span, message, help };
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some(inner) = rest.strip_prefix('{') {
                let Some(length) = inner.find('}') else {
                    return Err(fail(at..text.len(), "a `{` that no `}` closes".into(), None));
                };
                let name = &inner[..length];
                let end = at + length + 2;
                let Some(token) = Token::parse(name) else {
                    let known = Token::ALL.iter().map(|(_, names)| names[0]);
                    let near = known.clone().min_by_key(|known| strsim::damerau_levenshtein(known, name));
                    let list = known.map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ");
                    let near = near.map(|near| format!("did you mean `{{{near}}}`? known: {list}"));
                    return Err(fail(at..end, format!("unknown token `{{{name}}}`"), near));
                };
                pieces.push(Piece::Token(token));
                at = end;
            } else {
                let length = rest.find('{').unwrap_or(rest.len());
                let literal = &rest[..length];
                let strange = |c: char| !(c.is_ascii_alphanumeric() || "-._/=+".contains(c));
                if let Some((offset, c)) = literal.char_indices().find(|(_, c)| strange(*c)) {
                    let place = at + offset;
                    let help = "use letters, digits, `-`, `.`, `_`, `=`, `+` and `/`".to_owned();
                    return Err(fail(place..place + c.len_utf8(), format!("`{c}` in a path"), Some(help)));
                }
                pieces.push(Piece::Text(literal.to_owned()));
                at += length;
            }
        }
        let mut start = 0;
        for segment in text.split('/') {
            let span = start..start + segment.len();
            start = span.end + 1;
            let help = "a path is folders and a file name: `signals/{YYYY}/{part}.{ext}`";
            if segment.is_empty() {
                return Err(fail(span.clone(), "an empty segment".into(), Some(help.into())));
            }
            if segment.starts_with(['.', '_']) {
                let help = "analytics tools skip such names; start with a letter or a digit";
                return Err(fail(span, format!("segment `{segment}` starts with `.` or `_`"), Some(help.into())));
            }
        }
        check_data_tokens(text)?;
        let parts = pieces.iter().filter(|piece| **piece == Piece::Token(Token::Part)).count();
        if parts != 1 {
            let help = "late records and rolled files need a number: end the path in `{part}.{ext}`";
            let message = format!("`{{part}}` must stand once, and stands {parts} times");
            return Err(fail(0..text.len(), message, Some(help.into())));
        }
        Ok(Template { text: text.to_owned(), pieces })
    }

    /// Whether the template holds `token`.
    pub fn has(&self, token: Token) -> bool {
        self.pieces.contains(&Piece::Token(token))
    }

    /// What it is made of, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The template of the files of `period` alone: its tokens of time have become text.
    ///
    /// # Errors
    /// A token that the template lacks and that would tell the period from others.
    pub fn of_period(&self, period: Period) -> Result<Template, Token> {
        let shown = period.granularity().tokens();
        if let Some(missing) = shown.iter().find(|token| !self.has(**token)) {
            return Err(*missing);
        }
        let start = period.fields().ok_or(Token::Year)?;
        let fixed = |piece: &Piece| match piece {
            Piece::Token(token) if shown.contains(token) => Piece::Text(token.of_time(start)),
            other => other.clone(),
        };
        // Texts that are neighbours become one, so that a folder is found in it.
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in self.pieces.iter().map(fixed) {
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => pieces.push(piece),
            }
        }
        let text = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Token(token) => format!("{{{}}}", token.name()),
        });
        Ok(Template { text: text.collect(), pieces })
    }

    /// The key of one period's files, with `{part}` left in its place: what the commit log counts parts by.
    pub fn series(&self, values: &Values<'_>) -> String {
        let mut key = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            // Each data-made value is one encoded segment and cannot contain `/`, `{` or `}`.
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Token(Token::Export) => key.push_str(&encode_segment(values.export)),
                Piece::Token(Token::Kind) => key.push_str(&encode_segment(values.kind)),
                Piece::Token(Token::Source) => key.push_str(&encode_segment(values.source)),
                Piece::Token(Token::Partition) => key.push_str(&encode_segment(values.partition)),
                Piece::Token(token @ (Token::Year | Token::Month | Token::Day | Token::Hour | Token::Minute)) => {
                    token.write_time(values.period, &mut key);
                }
                Piece::Token(Token::Part) => key.push_str(PART),
                Piece::Token(Token::Extension) => key.push_str(values.extension),
            }
        }
        key
    }
}

/// One segment takes one value that data makes, and little beside it: two could not be told apart, and names of files end at 255
/// bytes.
fn check_data_tokens(text: &str) -> Result<(), TemplateError> {
    const BESIDE: usize = 64;
    let is_data = |piece: &str| matches!(Token::parse(piece), Some(Token::Kind | Token::Source | Token::Partition));
    let mut start = 0;
    for segment in text.split('/') {
        let span = start..start + segment.len();
        start = span.end + 1;
        let tokens = segment.split('{').skip(1).filter_map(|piece| piece.split_once('}'));
        let data: Vec<_> = tokens.map(|(name, _)| name).filter(|name| is_data(name)).collect();
        if let [first, second, ..] = data[..] {
            return Err(TemplateError {
                span,
                message: format!("`{{{first}}}` and `{{{second}}}` in one segment"),
                help: Some("give each a segment of its own: different values could make the same name".into()),
            });
        }
        if let [only] = data[..]
            && segment.len() - only.len() > BESIDE
        {
            return Err(TemplateError {
                span,
                message: format!("more than {BESIDE} characters beside `{{{only}}}` in one segment"),
                help: Some("make it shorter: a name has at most 255 bytes, and most of them are the value's".into()),
            });
        }
    }
    Ok(())
}

pub(super) const PART: &str = "{part}";

/// The key of part `part` of a series that [`Template::series`] made.
pub fn part_key(series: &str, part: u32) -> String {
    series.replacen(PART, &format!("{part:02}"), 1)
}

/// The part number in `key` where it is one of `series`.
pub fn part_of(series: &str, key: &str) -> Option<u32> {
    let (before, after) = series.split_once(PART)?;
    let digits = key.strip_prefix(before)?.strip_suffix(after)?;
    let part = digits.parse().ok()?;
    (part_key(series, part) == key).then_some(part)
}

fn number(out: &mut String, value: u32, width: usize) {
    write!(out, "{value:0width$}").expect("a String takes everything");
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values<'static> {
        let period = Fields { year: 2019, month: 9, day: 10, hour: 11, minute: 5 };
        Values { export: "e", kind: "Brew/Started", source: "hub", partition: "0", period, extension: "ndjson" }
    }

    #[test]
    fn a_template_becomes_a_series_and_its_parts() {
        let template = Template::parse("signals/{kind}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}").unwrap();
        let series = template.series(&values());
        assert_eq!(series, "signals/Brew%2FStarted/2019/09/10/11/{part}.ndjson");
        assert_eq!(part_key(&series, 7), "signals/Brew%2FStarted/2019/09/10/11/07.ndjson");
        assert_eq!(part_of(&series, &part_key(&series, 123)), Some(123));
        assert_eq!(part_of(&series, "signals/Brew%2FStarted/2019/09/10/11/007.ndjson"), None);
    }

    #[test]
    fn a_wrong_template_is_refused_at_its_place() {
        for (text, span, message) in [
            ("a/{YYY}/{part}", 2..7, "unknown token `{YYY}`"),
            ("a/{part", 2..7, "a `{` that no `}` closes"),
            ("a//{part}", 2..2, "an empty segment"),
            ("../{part}", 0..2, "segment `..` starts with `.` or `_`"),
            ("a/{YYYY}", 0..8, "`{part}` must stand once, and stands 0 times"),
            ("a b/{part}", 1..2, "` ` in a path"),
            ("{kind}-{source}/{part}", 0..15, "`{kind}` and `{source}` in one segment"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!((error.span, error.message.as_str()), (span, message), "{text}");
        }
    }

    #[test]
    fn a_template_of_one_period_makes_its_keys_and_no_others() {
        let template = Template::parse("signals/{kind}/{YYYY}/{MM}/{dd}T{HH}/{part}.{ext}").unwrap();
        let key = part_key(&template.series(&values()), 3);
        for (period, holds) in
            [("2019-09-10", true), ("2019-09-10T11", true), ("2019-09-10T12", false), ("2019-09-11", false)]
        {
            let of_period = template.of_period(period.parse().unwrap()).unwrap();
            assert_eq!(of_period.parts_of("e", &key), holds.then(|| (template.series(&values()), 3)), "{period}");
        }
        let of_day = Template::parse("signals/{YYYY}/{MM}/{dd}/{kind}/{part}.{ext}").unwrap();
        let period = "2019-09-10".parse().unwrap();
        assert_eq!(of_day.of_period(period).unwrap().folder(), "signals/2019/09/10");
        assert_eq!(of_day.of_period(period).unwrap().to_string(), "signals/2019/09/10/{kind}/{part}.{ext}");
        assert_eq!(of_day.of_period("2019-09-10T11".parse().unwrap()), Err(Token::Hour));
    }
}
