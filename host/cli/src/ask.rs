//! Questions to a person at a terminal. They go to standard error: standard output is for results.

use std::io::{self, BufRead, IsTerminal, Write};

use lakeport::error::{Error, Result};

/// Whether there is somebody to ask.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and answers with the line that was typed, without spaces around it.
///
/// # Errors
/// Of kind `Config` where the input ends instead.
pub fn line(question: &str) -> Result<String> {
    answer(question, &mut io::stdin().lock(), &mut io::stderr())
}

fn answer(question: &str, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<String> {
    let mut line = String::new();
    let read = write!(out, "{question}").and_then(|()| out.flush()).and_then(|()| input.read_line(&mut line));
    match read {
        Ok(0) => Err(Error::config("there was no answer; nothing was changed")),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(Error::config(format!("cannot ask: {}", error.to_string().to_lowercase()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_and_no_line_is_no_answer() {
        let mut shown = Vec::new();
        assert_eq!(answer("really? ", &mut &b" yes \nno\n"[..], &mut shown).unwrap(), "yes");
        assert_eq!(shown, b"really? ");
        assert!(answer("really? ", &mut &b""[..], &mut shown).is_err());
    }
}
