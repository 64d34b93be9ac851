//! Reads a write-ahead log as a source's partition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakeport::error::{Error, Result};
use lakeport::plan::ExportPlan;
use lakeport::source::{Chunk, Extent, Framing, Position, Read, Reader, Tail};

use crate::logs::{SourceLog, unusable};

/// Bytes of a chunk.
const CHUNK: usize = 1 << 20;
/// How often a reader looks whether somebody waits for what it has read.
const LOOK: Duration = Duration::from_millis(5);

/// Reads a log for one export.
pub(crate) struct LogReader {
    log: Arc<SourceLog>,
    source: String,
    export: String,
    lines: lakeport_wal::Reader,
    follow: bool,
    /// The commit of everything before this offset was asked for.
    asked: u64,
    /// Something was read since it was last said that everything is.
    unsaid: bool,
    warnings: Vec<String>,
}

impl LogReader {
    /// Opens the log where `from` goes on; at its first line where the export has read nothing of it.
    pub(crate) fn open(log: Arc<SourceLog>, export: &ExportPlan, from: &Position, follow: bool) -> Result<LogReader> {
        let source = export.source.name.clone();
        let cursor = from.cursors.iter().find(|cursor| cursor.origin.name == log.origin.name);
        let at = cursor.map_or(log.wal.first(), |cursor| cursor.next);
        let mut warnings = Vec::new();
        let lines = match log.wal.reader(at) {
            Err(lakeport_wal::Error::Released { first, .. }) if export.source.accepts_gaps => {
                warnings.push(format!("{}, and gaps are accepted", released(&source, &export.name, at, first)));
                log.wal.reader(first)
            }
            Err(lakeport_wal::Error::Released { first, .. }) => {
                let error = Error::config(released(&source, &export.name, at, first));
                return Err(error.with_help(format!(
                    "set `gaps = \"accept\"` in [sources.{source}] to go on without them; leave the log's folder where it is, for it \
                     holds what other exports need"
                )));
            }
            lines => lines,
        };
        let lines = lines.map_err(|error| lost(&source, &export.name, &error))?;
        if let Some(tail) = cursor.and_then(|cursor| cursor.tail.as_ref())
            && let Ok(last) = log.wal.tail(at)
            && !tail.is_of(&last)
        {
            let message = format!(
                "source `{source}`: the write-ahead log does not hold what export `{}` read before offset {at}",
                export.name
            );
            return Err(Error::source(message).with_help(RESTORED));
        }
        Ok(LogReader { log, source, export: export.name.clone(), lines, follow, asked: 0, unsaid: true, warnings })
    }

    /// Whether somebody waits for what was read, and the commit was not asked for yet.
    fn is_wanted(&mut self) -> bool {
        let at = self.lines.at();
        let is_wanted = self.log.wants_commit(&self.export, self.asked, at);
        if is_wanted {
            self.asked = at;
        }
        is_wanted
    }
}

impl Reader for LogReader {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        let until = Instant::now() + wait;
        loop {
            if self.is_wanted() {
                return Ok(Read::Commit);
            }
            let left = until.saturating_duration_since(Instant::now());
            // What was read and is not in the lake may be asked for at any moment.
            let is_open = self.lines.at() > self.log.all_exported();
            let wait = if self.unsaid {
                Duration::ZERO
            } else if is_open {
                left.min(LOOK)
            } else {
                left
            };
            let lines = self.lines.read(CHUNK, wait).map_err(|error| unusable(&self.source, &error))?;
            if let Some(lines) = lines {
                self.unsaid = true;
                let (first, next, tail) = (lines.first, lines.next(), Tail::of(&lines.data));
                let extent = Extent { tail, ..Extent::new(self.log.origin.clone(), first, next) };
                return Ok(Read::Chunk(Chunk { data: lines.data, extent, framing: Framing::Lines }));
            }
            if std::mem::take(&mut self.unsaid) {
                return Ok(Read::Reached);
            }
            if !self.follow {
                return Ok(Read::End);
            }
            if left.is_zero() {
                return Ok(Read::Idle);
            }
        }
    }

    /// The log is told by [`lakeport::source::Source::published`], for all exports that read it.
    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    /// Those of the log itself are logged by it.
    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

const RESTORED: &str = "the log's folder was replaced or restored from a copy: bring back the right one, or move it away to begin a \
                        new log";

/// What became of records that an export had not read.
fn released(source: &str, export: &str, at: u64, first: u64) -> String {
    format!(
        "source `{source}`: the records between offsets {at} and {first} of the write-ahead log were deleted before export `{export}` \
         read them: it was not configured while all other exports had them"
    )
}

/// The error of a log that does not hold what an export needs.
fn lost(source: &str, export: &str, error: &lakeport_wal::Error) -> Error {
    Error::source(format!("source `{source}`: export `{export}` cannot go on: {error}")).with_help(RESTORED)
}
