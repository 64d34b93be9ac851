//! The text of a configuration, and errors that show its lines with a caret.
//!
//! Secrets never enter an error: what could be one is shown as `***`, wherever it stands in a line that is shown.

use std::ops::Range;
use std::path::Path;

use super::mask;
use crate::error::Error;

/// The most characters of a line that an error shows: with the line's number they fit a terminal, where a line that wraps would
/// part from its carets.
const WIDTH: usize = 72;

/// A configuration's text.
pub struct Document<'a> {
    name: String,
    text: &'a str,
    hidden: Vec<Range<usize>>,
}

impl<'a> Document<'a> {
    /// The text of the file at `path`.
    pub fn new(path: &Path, text: &'a str) -> Self {
        Document { name: path.display().to_string(), text, hidden: mask::secrets(text) }
    }

    /// The text at `span`.
    pub fn text(&self, span: Range<usize>) -> &'a str {
        &self.text[span]
    }

    /// An error about the bytes at `span`.
    pub fn fail(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        Error { snippet: Some(self.snippet(span, &self.hidden)), ..Error::config(message) }
    }

    /// An error about the bytes at `span`, which are not shown.
    pub fn fail_hidden(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        let mut hidden = self.hidden.clone();
        hidden.push(span.clone());
        Error { snippet: Some(self.snippet(span, &hidden)), ..Error::config(message) }
    }

    /// The parser's error, in the shape of all others.
    pub fn syntax_error(&self, error: &toml::de::Error) -> Error {
        let message = error.message();
        let help = if message == "duplicate key" {
            "a key or a table stands once: take one of them out, or give it another name"
        } else {
            "strings, durations and sizes stand in quotes: `granularity = \"hour\"`; https://toml.io says the rest"
        };
        let span = error.span().unwrap_or(0..0);
        let broken = mask::broken_line(self.text, self.line(span.start));
        let hidden: Vec<_> = self.hidden.iter().cloned().chain(broken).collect();
        let error = Error::config(format!("not valid TOML: {message}")).with_help(help);
        Error { snippet: Some(self.snippet(span, &hidden)), ..error }
    }

    /// The line that the byte `at` is in, without its end.
    fn line(&self, at: usize) -> Range<usize> {
        let at = floor(self.text, at);
        let first = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        first..self.text[at..].find('\n').map_or(self.text.len(), |length| at + length)
    }

    /// The first line of `span` with carets below it.
    fn snippet(&self, span: Range<usize>, hidden: &[Range<usize>]) -> String {
        let start = floor(self.text, span.start);
        let Range { start: first, end: last } = self.line(start);
        let number = self.text[..first].matches('\n').count() + 1;
        let column = self.text[first..start].chars().count() + 1;

        // The line as it is shown, and where the carets begin and end in it.
        let mut shown: Vec<char> = Vec::new();
        let (mut from, mut to) = (None, None);
        let mut masked = false;
        for (at, c) in self.text[first..last].char_indices().map(|(at, c)| (first + at, c)) {
            let hide = hidden.iter().any(|range| range.contains(&at));
            if at >= start && from.is_none() {
                from = Some(if hide && masked { shown.len().saturating_sub(3) } else { shown.len() });
            }
            if at >= span.end && to.is_none() {
                to = Some(shown.len());
            }
            match (hide, masked) {
                (true, false) => shown.extend("***".chars()),
                (true, true) => {}
                (false, _) if c.is_control() => shown.push(' '),
                (false, _) => shown.push(c),
            }
            masked = hide;
        }
        let from = from.unwrap_or(shown.len());
        let to = to.unwrap_or(shown.len()).max(from + 1);

        let (shown, from, to) = window(shown, from, to);
        let gutter = " ".repeat(number.to_string().len());
        let (space, carets) = (" ".repeat(from), "^".repeat(to - from));
        let line = format!("{number} | {shown}");
        format!("{}:{number}:{column}\n{gutter} |\n{}\n{gutter} | {space}{carets}", self.name, line.trim_end())
    }
}

/// Cuts a long line to what stands around the carets.
fn window(shown: Vec<char>, from: usize, to: usize) -> (String, usize, usize) {
    if shown.len() <= WIDTH {
        return (shown.into_iter().collect(), from, to);
    }
    let start = from.saturating_sub(WIDTH / 2).min(shown.len() - WIDTH);
    let end = start + WIDTH;
    let mut text: String = shown[start..end].iter().collect();
    let lead = usize::from(start > 0);
    if start > 0 {
        text.insert(0, '…');
    }
    if end < shown.len() {
        text.push('…');
    }
    let to = to.min(end).max(from + 1);
    (text, from - start + lead, to - start + lead)
}

/// The last boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(text: &str, span: Range<usize>) -> String {
        Document::new(Path::new("lakeport.toml"), text).fail(span, "").snippet.unwrap()
    }

    #[test]
    fn a_caret_stands_below_every_character_of_the_span() {
        let text = "a = 1\ngranulrity = \"hour\"\n";
        assert_eq!(snippet(text, 6..16), "lakeport.toml:2:1\n  |\n2 | granulrity = \"hour\"\n  | ^^^^^^^^^^");
    }

    #[test]
    fn the_end_of_the_file_has_a_caret_too() {
        assert_eq!(snippet("", 0..0), "lakeport.toml:1:1\n  |\n1 |\n  | ^");
        assert_eq!(snippet("é = \"", 6..6), "lakeport.toml:1:6\n  |\n1 | é = \"\n  |      ^");
    }

    #[test]
    fn a_span_over_lines_shows_the_first() {
        assert_eq!(snippet("a = [\n1]", 4..8), "lakeport.toml:1:5\n  |\n1 | a = [\n  |     ^");
    }

    #[test]
    fn a_long_line_is_cut_around_its_caret() {
        let text = format!("a = \"{}!{}\"", "x".repeat(500), "y".repeat(500));
        let shown = snippet(&text, 505..506);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].len() < 160 && lines[2].contains("…x") && lines[2].ends_with("y…"), "{shown}");
        let caret = lines[3].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[2].chars().nth(caret), Some('!'));
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_span_breaks_a_snippet(text in ".{0,40}(\n.{0,300}){0,3}", a in 0usize..400, b in 0usize..400) {
            let shown = snippet(&text, a.min(b)..a.max(b));
            proptest::prop_assert_eq!(shown.lines().count(), 4);
        }
    }
}
