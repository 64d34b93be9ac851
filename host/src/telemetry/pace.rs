//! What a run that keeps on says as it goes, at a bounded rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Live;
use super::human::{bytes, count};

/// The least time between two lines about the same.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says when the next line about something is due.
#[derive(Debug, Default)]
pub struct Pace(Option<Instant>);

impl Pace {
    /// Whether a line is due now; if so, the next one is due a while later.
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// What one commit, or several, did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    pub commits: u64,
    pub records_read: u64,
    pub records_written: u64,
    pub bytes_written: u64,
    pub files: u64,
    pub dead_letters: u64,
}

/// Logs an export's commits at level `info`: the first one, and then all of some seconds together.
#[derive(Debug)]
pub struct CommitLog {
    export: String,
    live: Arc<Live>,
    /// The export keeps on; what was refused in one that ends is said at its end.
    follows: bool,
    pace: Pace,
    held: Done,
}

impl CommitLog {
    /// A log for one export.
    pub fn new(export: String, live: Arc<Live>, follows: bool) -> Self {
        CommitLog { export, live, follows, pace: Pace::default(), held: Done::default() }
    }

    /// Takes in a commit that was published.
    pub fn committed(&mut self, done: Done) {
        self.live.at_work.send_replace(true);
        Live::add(&self.live.commits, done.commits);
        self.held.add(done);
        if self.pace.is_due() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held.commits == 0 {
            return;
        }
        let export = &self.export;
        tracing::info!(export, "{}", held.text());
        if self.follows && super::is_mostly_refused(held.records_read, held.dead_letters) {
            tracing::warn!(
                export,
                "{} of {} records were refused: see `lakeport dead-letters`",
                count(held.dead_letters),
                count(held.records_read)
            );
        }
    }
}

impl Drop for CommitLog {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Done {
    fn add(&mut self, other: Done) {
        self.commits += other.commits;
        self.records_read += other.records_read;
        self.records_written += other.records_written;
        self.bytes_written += other.bytes_written;
        self.files += other.files;
        self.dead_letters += other.dead_letters;
    }

    fn text(&self) -> String {
        let commits = if self.commits == 1 { String::new() } else { format!("{} commits: ", count(self.commits)) };
        format!(
            "{commits}committed {} records, wrote {} ({}) to {} files, {} dead letters",
            count(self.records_read),
            count(self.records_written),
            bytes(self.bytes_written),
            count(self.files),
            count(self.dead_letters)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_a_bounded_rate_and_add_up() {
        let mut pace = Pace::default();
        assert!(pace.is_due() && !pace.is_due());
        let done = Done { commits: 1, records_read: 1_000, bytes_written: 1_000, files: 2, ..Done::default() };
        assert_eq!(done.text(), "committed 1,000 records, wrote 0 (1.0 kB) to 2 files, 0 dead letters");
        let mut log = CommitLog::new("e".into(), Arc::default(), true);
        (0..3).for_each(|_| log.committed(done));
        assert_eq!((log.held.commits, log.held.records_read), (2, 2_000), "the first is told at once");
        assert!(log.held.text().starts_with("2 commits: committed 2,000 records"));
        assert!(*log.live.at_work.borrow());
    }
}
