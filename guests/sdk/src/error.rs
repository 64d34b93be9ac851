//! Why a plugin cannot be opened, cannot answer, or refuses a record.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::bindings::records;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin cannot be opened, or cannot answer for a whole batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The configuration is wrong; the text names the setting, its value and what was expected.
    InvalidConfig(String),
    /// The schema holds something this plugin cannot represent.
    UnsupportedSchema(String),
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidConfig(text) | Error::UnsupportedSchema(text) | Error::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for records::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidConfig(text) => records::Error::InvalidConfig(text),
            Error::UnsupportedSchema(text) => records::Error::UnsupportedSchema(text),
            Error::Other(text) => records::Error::Other(text),
        }
    }
}

/// Why one record is refused: it goes to the export's dead letters with this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection(pub String);

impl Rejection {
    /// A refusal for `reason`: lower case, with what was found and what was expected.
    pub fn new(reason: impl Into<String>) -> Self {
        Rejection(reason.into())
    }
}

impl From<&str> for Rejection {
    fn from(reason: &str) -> Self {
        Rejection::new(reason)
    }
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Rejection(reason)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejection {}

/// A refused row of a batch, and why.
pub use crate::bindings::records::Rejection as Rejected;

/// The configuration of a plugin that has no settings.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
