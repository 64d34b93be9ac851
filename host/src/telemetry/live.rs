//! What an export tells of itself while it runs: counters, its state, its plugins, who owns it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Durations;
use crate::lake::Retries;
use crate::plugin::{SandboxToolbox, Usage};

/// Counters of one export that move while it runs. Written by the pipeline, a chunk or a commit at a time; read by the progress bar
/// and for metrics.
#[derive(Debug, Default)]
pub struct Live {
    /// Bytes that this run has to read, as far as it is known; 0 where it is not.
    pub bytes_total: AtomicU64,
    pub bytes: AtomicU64,
    pub records: AtomicU64,
    /// Records written to files, committed or about to be.
    pub kept: AtomicU64,
    /// Bytes of files that they became.
    pub kept_bytes: AtomicU64,
    pub dead_letters: AtomicU64,
    /// Bytes of the records that were refused.
    pub dead_letter_bytes: AtomicU64,
    pub commits: AtomicU64,
    /// Records and bytes in files of the lake, and those files.
    pub written: AtomicU64,
    pub written_bytes: AtomicU64,
    pub files: AtomicU64,
    /// How often it failed and ran again.
    pub restarts: AtomicU64,
    /// It committed something, or read its source to the end: nothing keeps it from its work.
    pub at_work: watch::Sender<bool>,
    /// Requests to the lake that are made again, and the outage that they wait for.
    pub retries: Arc<Retries>,
    /// How long commits took, by result.
    pub commit_durations: Durations,
    condition: Mutex<Condition>,
    owner: Mutex<Option<Owner>>,
    plugins: Mutex<Plugins>,
    spans: Mutex<Spans>,
}

/// How an export is, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    pub state: State,
    /// Where it is not at work.
    pub reason: Option<String>,
}

/// A state of an export in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Its plugins, lake and source are opened.
    #[default]
    Opening,
    AtWork,
    /// Another process runs it; this one takes over when that one ends.
    StandingBy,
    /// It failed for a reason that may pass, and is tried again.
    Waiting,
    /// It failed, and somebody has to change something.
    Failed,
    Ended,
}

impl State {
    /// All states.
    pub const ALL: [State; 6] =
        [State::Opening, State::AtWork, State::StandingBy, State::Waiting, State::Failed, State::Ended];

    /// The name in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            State::Opening => "opening",
            State::AtWork => "at-work",
            State::StandingBy => "standing-by",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Ended => "ended",
        }
    }
}

/// Who commits to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub export: String,
    pub partition: String,
    /// Host and process.
    pub writer: String,
    pub epoch: u64,
}

/// What was read and is not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub records: u64,
    /// Since the first of it was read.
    pub age: Duration,
}

#[derive(Default)]
struct Plugins {
    /// Of runs that have ended.
    before: BTreeMap<String, Usage>,
    now: Option<Arc<SandboxToolbox>>,
}

/// Spans that are not committed. There are two or three at a time.
#[derive(Debug, Default)]
struct Spans(VecDeque<Span>);

#[derive(Debug)]
struct Span {
    number: u64,
    records: u64,
    began: Instant,
}

impl Live {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Returns how the export is. One whose store does not answer waits for it.
    pub fn condition(&self) -> Condition {
        let condition = lock(&self.condition).clone();
        match (condition.state, self.retries.outage()) {
            (State::AtWork, Some(outage)) => Condition { state: State::Waiting, reason: Some(outage.reason) },
            _ => condition,
        }
    }

    /// Says how the export is.
    pub fn set(&self, state: State, reason: Option<String>) {
        *lock(&self.condition) = Condition { state, reason };
    }

    /// Returns who commits, once somebody of this process does.
    pub fn owner(&self) -> Option<Owner> {
        lock(&self.owner).clone()
    }

    /// Says who commits.
    pub fn set_owner(&self, owner: Owner) {
        *lock(&self.owner) = Some(owner);
    }

    /// A run begins with these plugins, and with nothing that is not committed.
    pub fn begin(&self, toolbox: Arc<SandboxToolbox>) {
        lock(&self.spans).0.clear();
        let mut plugins = lock(&self.plugins);
        if let Some(last) = plugins.now.replace(toolbox) {
            for (name, usage) in last.usage() {
                plugins.before.entry(name).or_default().add(&usage);
            }
        }
    }

    /// Returns what each plugin did, by the name that the configuration uses.
    pub fn plugins(&self) -> BTreeMap<String, Usage> {
        let plugins = lock(&self.plugins);
        let mut all = plugins.before.clone();
        for (name, usage) in plugins.now.iter().flat_map(|toolbox| toolbox.usage()) {
            all.entry(name).or_default().add(&usage);
        }
        all
    }

    /// Records of a span were read.
    pub fn read(&self, span: u64, records: u64) {
        let spans = &mut lock(&self.spans).0;
        match spans.back_mut().filter(|last| last.number == span) {
            Some(last) => last.records += records,
            None => spans.push_back(Span { number: span, records, began: Instant::now() }),
        }
    }

    /// A span, and those before it, are committed.
    pub fn committed(&self, span: u64) {
        lock(&self.spans).0.retain(|open| open.number > span);
    }

    /// Returns what was read and is not committed.
    pub fn backlog(&self) -> Backlog {
        let spans = &lock(&self.spans).0;
        Backlog {
            records: spans.iter().map(|span| span.records).sum(),
            age: spans.front().map_or(Duration::ZERO, |span| span.began.elapsed()),
        }
    }
}

/// Plugins are left out: what they did is read on demand.
impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("before", &self.before).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_what_is_read_and_not_committed() {
        let live = Live::default();
        assert_eq!(live.backlog(), Backlog::default());
        for (span, records) in [(1, 10), (1, 5), (2, 7)] {
            live.read(span, records);
        }
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(live.backlog().records, 22);
        assert!(live.backlog().age >= Duration::from_millis(2));
        live.committed(1);
        assert_eq!(live.backlog().records, 7);
        live.committed(2);
        assert_eq!(live.backlog(), Backlog::default());
    }

    #[test]
    fn an_export_says_how_it_is() {
        let live = Live::default();
        assert_eq!(live.condition().state, State::Opening);
        live.set(State::Failed, Some("no such plugin".to_owned()));
        assert_eq!(live.condition().reason.as_deref(), Some("no such plugin"));
    }
}
