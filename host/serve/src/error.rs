//! The error of starting a server: something the operator changes.

use std::fmt;

/// What is wrong with the settings or the system, and what to do. Secrets never enter one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What happened, to which value, and what was expected.
    pub message: String,
    /// What to do: a sentence.
    pub help: Option<String>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), help: None }
    }

    /// Adds what to do.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
