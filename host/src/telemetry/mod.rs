//! What a run tells people and machines: live counters while it goes, a report when it ends.

mod durations;
pub mod human;
mod live;
mod logging;
mod pace;
mod progress;
mod summary;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::dataset::PassedOver;
use crate::error::Error;
use crate::pipeline::{Replayed, Stages};
use crate::plugin::Usage;

pub use durations::{BOUNDS, Durations, Histogram};
pub use live::{Backlog, Condition, Live, Owner, State};
pub use logging::{LogFormat, Traced, init_logging, init_telemetry};
pub use pace::{CommitLog, Done, Pace};
pub use progress::Progress;
pub use summary::{summary, summary_json, usage_table};
pub use table::{Align, Table};

/// What one export did in a run. Counts what was committed, nothing else.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExportReport {
    pub export: String,
    /// Bytes and records read from the source.
    pub bytes_read: u64,
    pub records_read: u64,
    /// Records written to files, after filters and transforms.
    pub records_written: u64,
    pub bytes_written: u64,
    /// Files that appeared or grew, each once.
    pub files: u64,
    pub commits: u64,
    pub dead_letters: u64,
    /// What became of dead letters; of a replay only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replayed>,
    /// Records of kinds that no table has; of exports of tables only.
    #[serde(skip_serializing_if = "PassedOver::is_empty")]
    pub passed_over: PassedOver,
    /// By the name that the configuration uses.
    pub plugins: BTreeMap<String, Usage>,
    pub seconds: f64,
    /// Time that lanes spent, in nanoseconds, added up over them.
    pub stages: Stages,
    /// How often it failed and ran again.
    pub restarts: u64,
    /// Requests to the lake that had to be made again.
    pub retries: u64,
    /// Why it stopped early.
    pub error: Option<Error>,
    /// Things the operator should know that stopped nothing: an unterminated last line, a file that vanished.
    pub warnings: Vec<String>,
}

/// The most warnings of a report: a run may keep on for months.
const MAX_WARNINGS: usize = 100;

impl ExportReport {
    /// Takes in what a further attempt did, and how it ended.
    pub fn absorb(&mut self, later: ExportReport) {
        // All of them by name: a field that is added has to be added up too.
        let ExportReport {
            export: _,
            bytes_read,
            records_read,
            records_written,
            bytes_written,
            files,
            commits,
            dead_letters,
            replay,
            passed_over,
            plugins,
            seconds,
            stages,
            restarts,
            retries,
            error,
            warnings,
        } = later;
        self.bytes_read += bytes_read;
        self.records_read += records_read;
        self.records_written += records_written;
        self.bytes_written += bytes_written;
        self.files += files;
        self.commits += commits;
        self.dead_letters += dead_letters;
        if let Some(replay) = replay {
            self.replay.get_or_insert_default().add(&replay);
        }
        self.passed_over.add_all(&passed_over);
        for (name, usage) in plugins {
            self.plugins.entry(name).or_default().add(&usage);
        }
        self.seconds += seconds;
        self.stages.add(stages);
        self.restarts += restarts;
        self.retries += retries;
        self.error = error;
        self.warnings.extend(warnings);
        let surplus = self.warnings.len().saturating_sub(MAX_WARNINGS);
        self.warnings.drain(..surplus);
    }
}

/// Whether so many records were refused that the configuration is more likely to be wrong than the records: all, or more than
/// half and more than a few.
pub const fn is_mostly_refused(records: u64, dead_letters: u64) -> bool {
    const FEW: u64 = 20;
    dead_letters > 0 && (dead_letters >= records || dead_letters > records / 2 && dead_letters >= FEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_most_refused_is_told_from_some() {
        let is = is_mostly_refused;
        assert!(is(1, 1) && is(1_000, 1_000) && is(1_000, 501) && is(39, 20));
        assert!(!is(0, 0) && !is(2, 1) && !is(6, 4) && !is(1_000, 500) && !is(1_000_000, 20));
    }

    #[test]
    fn a_further_attempt_adds_up_and_its_end_counts() {
        let mut whole = ExportReport { records_read: 1, error: Some(Error::lake("down")), ..ExportReport::default() };
        let warnings = (0..150).map(|n| n.to_string()).collect();
        whole.absorb(ExportReport { records_read: 2, warnings, ..ExportReport::default() });
        assert!(whole.error.is_none() && whole.records_read == 3);
        assert_eq!((whole.warnings.len(), whole.warnings[0].as_str()), (100, "50"), "the latest stay");
    }
}
