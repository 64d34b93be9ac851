//! Text of clients in logs and answers.

use std::fmt;

/// Shows bytes that a client chose: control characters, quotes and what is not ASCII are escaped, and the rest of a long text is
/// counted. A line feed or an escape sequence of a terminal cannot get into a log by it.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let (shown, rest) = self.0.split_at(self.0.len().min(SHOWN));
        write!(f, "{}", shown.escape_ascii())?;
        match rest.len() {
            0 => Ok(()),
            more => write!(f, "… ({more} bytes more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_client_reaches_a_terminal() {
        let shown = Escaped(b"a\x1b[31m\r\nb\"\xff\0`").to_string();
        assert_eq!(shown, r#"a\x1b[31m\r\nb\"\xff\x00`"#);
        assert_eq!(Escaped(&[b'a'; 70]).to_string(), format!("{}… (6 bytes more)", "a".repeat(64)));
    }
}
