//! Logs: to standard error, as text or JSON, at the level that the operator chose.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

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

/// The target of spans that are traced. Logs do not show them.
const TRACE_TARGET: &str = "otel";

/// A collector of spans beside the logs.
pub struct Traced(Box<dyn Layer<Registry> + Send + Sync>);

impl Traced {
    /// Gives `layer` the spans that are traced, up to a level.
    pub fn new(layer: impl Layer<Registry> + Send + Sync, level: LevelFilter) -> Traced {
        Traced(layer.with_filter(Targets::new().with_target(TRACE_TARGET, level)).boxed())
    }
}

/// Sends logs to standard error; once a process. `level` is what `LAKEPORT_LOG` holds: `debug`, or `warn,lakeport=trace`. Without
/// it, a run that `follows` its sources and has no terminal tells what it does.
///
/// # Errors
/// Of kind `Config` where `level` is not a level, `Internal` where logs go somewhere already.
pub fn init_logging(format: LogFormat, level: Option<&str>, follows: bool) -> Result<()> {
    init_telemetry(format, level, follows, None)
}

/// The same, and gives spans to `traced`.
///
/// # Errors
/// As [`init_logging`].
pub fn init_telemetry(format: LogFormat, level: Option<&str>, follows: bool, traced: Option<Traced>) -> Result<()> {
    let is_unattended = follows && !io::stderr().is_terminal();
    let filter = filter(level, if is_unattended { UNATTENDED_LEVEL } else { DEFAULT_LEVEL })?;
    let filter = filter.add_directive(format!("{TRACE_TARGET}=off").parse().expect("it is a directive"));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Aside(io::stderr()));
    let lines = match format {
        LogFormat::Text => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            lines.with_ansi(colour).with_target(false).with_filter(filter).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(traced.map(|traced| traced.0)).with(lines);
    subscriber.try_init().map_err(|error| Error::internal(format!("cannot start logging: {error}")))
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
