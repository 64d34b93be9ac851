//! Logs: to standard error, as text or JSON, at the level that the operator chose.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::progress::aside;
use crate::error::{Error, Result};

/// The level where none is chosen.
const DEFAULT_LEVEL: &str = "warn";
/// The same for a run that keeps on where nobody looks at its progress.
const UNATTENDED_LEVEL: &str = "warn,lakeport=info,lakeport::plugin=warn";

/// What a log line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends logs to standard error; once a process. `level` is what `LAKEPORT_LOG` holds: `debug`, or `warn,lakeport=trace`. Without
/// it, a run that `follows` its sources and has no terminal tells what it does.
///
/// # Errors
/// Of kind `Config` where `level` is not a level, `Internal` where logs go somewhere already.
pub fn init_logging(format: LogFormat, level: Option<&str>, follows: bool) -> Result<()> {
    let is_unattended = follows && !io::stderr().is_terminal();
    let filter = filter(level, if is_unattended { UNATTENDED_LEVEL } else { DEFAULT_LEVEL })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Aside(io::stderr()));
    let done = match format {
        LogFormat::Text => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    done.map_err(|error| Error::internal(format!("cannot start logging: {error}")))
}

fn filter(level: Option<&str>, default: &str) -> Result<EnvFilter> {
    let level = level.filter(|level| !level.trim().is_empty()).unwrap_or(default);
    EnvFilter::try_new(level).map_err(|_| {
        Error::config(format!("`LAKEPORT_LOG` is `{level}`, which is not a level"))
            .with_help("set it to `error`, `warn`, `info`, `debug` or `trace`, or `warn,lakeport=debug`")
    })
}

/// Writes log lines above the progress bars and not across them.
struct Aside<W>(W);

impl<W: Write> Write for Aside<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        aside(|| self.0.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_default_until_it_is_chosen() {
        assert_eq!(filter(None, DEFAULT_LEVEL).unwrap().to_string(), "warn");
        assert_eq!(filter(Some(" "), DEFAULT_LEVEL).unwrap().to_string(), "warn");
        assert_eq!(filter(Some("info"), UNATTENDED_LEVEL).unwrap().to_string(), "info");
        assert!(filter(None, UNATTENDED_LEVEL).unwrap().to_string().contains("lakeport=info"));
    }

    #[test]
    fn a_wrong_level_is_refused_with_the_right_ones() {
        let error = filter(Some("lakeport=loud"), DEFAULT_LEVEL).unwrap_err();
        assert_eq!(error.kind, crate::Kind::Config);
        assert!(error.message.contains("`lakeport=loud`") && error.help.is_some());
    }
}
