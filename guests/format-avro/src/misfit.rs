//! A body that does not fit: which value, and what was expected there.

use lakeport_plugin::Rejection;

use crate::json::{Value, push_token};

/// As much of a value as a rejection shows.
const SHOWN: usize = 60;

/// A value that does not fit, or is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its tokens, the last one first.
    path: Vec<Vec<u8>>,
    /// As it was written.
    found: Option<String>,
    expected: String,
}

impl Misfit {
    /// `value` is not what was expected.
    pub fn new(value: Value, expected: impl Into<String>) -> Self {
        Misfit { path: Vec::new(), found: Some(shortened(value.written())), expected: expected.into() }
    }

    /// A member is not there.
    pub fn missing(name: &[u8], expected: impl Into<String>) -> Self {
        Misfit { path: vec![name.to_vec()], found: None, expected: expected.into() }
    }

    /// A member's name is no Unicode text; half a surrogate pair is not.
    pub fn name(name: Value) -> Self {
        let inner = name.written().strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        Misfit::new(name, "a name that is Unicode text").under(inner.unwrap_or(name.written()))
    }

    /// It was found in the member or element `token`.
    pub fn under(mut self, token: &[u8]) -> Self {
        self.path.push(token.to_vec());
        self
    }

    /// Where, what, and what was expected.
    pub fn reason(&self) -> String {
        let mut pointer = String::new();
        self.path.iter().rev().for_each(|token| push_token(&mut pointer, token));
        let place = if pointer.is_empty() { "the body".to_owned() } else { format!("`{pointer}`") };
        match &self.found {
            Some(found) => format!("{place} is `{found}`, expected {}", self.expected),
            None => format!("{place} is missing, expected {}", self.expected),
        }
    }
}

impl From<Misfit> for Rejection {
    fn from(misfit: Misfit) -> Self {
        Rejection(misfit.reason())
    }
}

/// A value as text, as much of it as a rejection shows.
pub fn shortened(text: &[u8]) -> String {
    // A character is four bytes at most.
    let start = String::from_utf8_lossy(&text[..text.len().min(SHOWN * 4)]);
    match start.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &start[..end]),
        None => start.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_the_path_the_value_and_what_was_expected() {
        let misfit = Misfit::new(Value::new(b"\"wet\""), "double").under(b"0").under(b"a/b");
        assert_eq!(misfit.reason(), "`/a~1b/0` is `\"wet\"`, expected double");
        assert_eq!(Misfit::missing(b"id", "string").under(b"a").reason(), "`/a/id` is missing, expected string");
        assert_eq!(Misfit::new(Value::new(b"5"), "an object").reason(), "the body is `5`, expected an object");
    }

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        let text = format!("\"{}\"", "é".repeat(500));
        let reason = Misfit::new(Value::new(text.as_bytes()), "double").reason();
        assert_eq!(reason, format!("the body is `\"{}…`, expected double", "é".repeat(SHOWN - 1)));
    }
}
