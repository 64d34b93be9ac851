//! The one error type of the crate, sorted by what the operator does about it.
//!
//! Lost races, dead letters and conflicts are values of the stages that meet them, never an [`Error`].

use std::fmt;

/// What the operator does about an [`Error`]. Each kind has its own exit code ([`Kind::exit_code`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The configuration or the command line is wrong: mend the named setting and run again.
    Config,
    /// A source cannot be read, or is no longer the one that was exported: look at the source.
    Source,
    /// The lake refused, is full, or does not keep its promises: look at the store, then run again; nothing was lost.
    Lake,
    /// A plugin trapped, broke a rule or went over a limit under `on-error = "stop"`: mend or replace the plugin.
    Plugin,
    /// Another owner of the partition is alive: stop one of the two.
    Fenced,
    /// The input is wrong altogether: most records were refused, or more than `max-dead-letters`; or a file is damaged or cut off.
    Data,
    /// Ctrl-C or SIGTERM ended a run before its sources were read to their ends: run again, it goes on.
    Interrupted,
    /// A defect of Lakeport: report it.
    Internal,
}

impl Kind {
    /// The process's exit code for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Config => 2,
            Kind::Source => 3,
            Kind::Lake => 4,
            Kind::Plugin => 5,
            Kind::Fenced => 6,
            Kind::Data => 7,
            Kind::Internal => 70,
            Kind::Interrupted => 130,
        }
    }
}

/// An error as people read it: what happened to which value, and what to do.
///
/// Messages are lower case and keep values in backticks. Secrets never enter one.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Error {
    /// What the operator does about it.
    pub kind: Kind,
    /// What happened, to which value, and what was expected.
    pub message: String,
    /// The lines of configuration it is about, with a caret; several lines.
    pub snippet: Option<String>,
    /// What to do: a sentence or a command.
    pub help: Option<String>,
    /// Others that were found with it: a configuration may have several mistakes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Error>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), snippet: None, help: None, also: Vec::new() }
    }

    /// Wrong configuration; see [`Kind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// Unreadable source; see [`Kind::Source`].
    pub fn source(message: impl Into<String>) -> Self {
        Self::new(Kind::Source, message)
    }

    /// Refusing lake; see [`Kind::Lake`].
    pub fn lake(message: impl Into<String>) -> Self {
        Self::new(Kind::Lake, message)
    }

    /// Broken plugin; see [`Kind::Plugin`].
    pub fn plugin(message: impl Into<String>) -> Self {
        Self::new(Kind::Plugin, message)
    }

    /// A defect of Lakeport; see [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The first of several errors, with the others; `None` where there are none. More than a screen of them help nobody.
    pub fn all(errors: Vec<Error>) -> Option<Self> {
        const MOST: usize = 20;
        let mut errors = errors.into_iter().flat_map(|mut error| {
            let also = std::mem::take(&mut error.also);
            std::iter::once(error).chain(also)
        });
        let mut first = errors.next()?;
        first.also = errors.take(MOST - 1).collect();
        Some(first)
    }

    /// Adds what to do.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts what was being done before the message: `{context}: {message}`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{snippet}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        self.also.iter().try_for_each(|error| write!(f, "\nerror: {error}"))
    }
}

impl std::error::Error for Error {}
