//! What the writer, the appenders and the readers of a log share.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::batch::{Appended, Batch};
use crate::error::{Error, Result};
use crate::folder::{self, Folder};
use crate::marks::Marks;
use crate::options::Options;
use crate::stats::Stats;

/// How many warnings are kept until they are taken.
const WARNINGS: usize = 64;
/// Bytes that the writer takes at once; one batch always.
const GROUP: u64 = 8 << 20;

/// A file of the log, as far as it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The offset of its first line.
    pub(crate) first: u64,
    /// The offset after its last line.
    pub(crate) next: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Bytes of them before the first frame.
    pub(crate) header_bytes: u64,
}

/// A batch that waits to be written.
pub(crate) struct Waiting {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Appended>>,
}

pub(crate) struct Shared {
    pub(crate) folder: Folder,
    pub(crate) options: Options,
    state: Mutex<State>,
    /// Up to where the folder says that lines are no longer needed.
    noted: Mutex<u64>,
    /// There is something for the writer to do.
    work: Condvar,
    /// More is durable, the queue has room, or the log failed.
    progress: Condvar,
}

pub(crate) struct State {
    pub(crate) queue: VecDeque<Waiting>,
    /// In the order of offsets; never empty.
    pub(crate) segments: VecDeque<Segment>,
    /// Up to where segments may be deleted.
    pub(crate) released: u64,
    /// The writer has not looked at `released` yet.
    unseen: bool,
    pub(crate) closing: bool,
    pub(crate) failed: Option<Error>,
    /// Of batches that are durable and not released.
    pub(crate) marks: Marks,
    pub(crate) stats: Stats,
    warnings: VecDeque<String>,
}

impl State {
    pub(crate) fn next(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.next)
    }

    pub(crate) fn first(&self) -> u64 {
        self.segments.front().map_or(0, |segment| segment.first)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes of the files that hold what is not released, and of the last.
    pub(crate) fn held(&self) -> u64 {
        let is_held = |segment: &&Segment| segment.next > self.released;
        let last = self.segments.back().filter(|last| !is_held(last)).map_or(0, |last| last.bytes);
        self.segments.iter().filter(is_held).map(|segment| segment.bytes).sum::<u64>() + last
    }

    /// Puts `batch` into the queue, which has up to `limit` bytes.
    fn submit(&mut self, batch: Batch, limit: u64) -> Result<oneshot::Receiver<Result<Appended>>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let (queued, bytes) = (self.stats.queued_bytes, batch.bytes());
        if queued > 0 && queued.saturating_add(bytes) > limit {
            self.stats.busy += 1;
            return Err(Error::Busy { queued, bytes, limit });
        }
        let (answer, receiver) = oneshot::channel();
        self.stats.queued_bytes += bytes;
        self.queue.push_back(Waiting { batch, answer });
        Ok(receiver)
    }

    /// Keeps what the operator should know until it is taken; of many, the newest.
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push_back(warning);
        }
        if self.warnings.len() > WARNINGS {
            self.warnings.pop_front();
        }
    }

    /// The segment that holds the line at `at`; the last one where `at` is the end.
    pub(crate) fn segment_of(&self, at: u64) -> Result<Segment> {
        let (first, next) = (self.first(), self.next());
        if at < first {
            return Err(Error::Released { asked: at, first });
        }
        if at > next {
            return Err(Error::Beyond { asked: at, next });
        }
        let after = self.segments.partition_point(|segment| segment.first <= at);
        Ok(self.segments[after - 1])
    }
}

impl Shared {
    pub(crate) fn new(folder: Folder, options: Options, segments: VecDeque<Segment>) -> Self {
        let released = segments.front().map_or(0, |segment| segment.first);
        let state = State {
            queue: VecDeque::new(),
            segments,
            released,
            unseen: false,
            closing: false,
            failed: None,
            marks: Marks::default(),
            stats: Stats::default(),
            warnings: VecDeque::new(),
        };
        let noted = Mutex::new(folder::released(&folder.path));
        Shared { folder, options, state: Mutex::new(state), noted, work: Condvar::new(), progress: Condvar::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `batch` into the queue.
    pub(crate) fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Appended>>> {
        let answer = self.state().submit(batch, self.options.queue_bytes);
        self.work.notify_one();
        answer
    }

    /// Puts `batches` into the queue so that the writer finds all of them.
    #[cfg(test)]
    pub(crate) fn submit_all(&self, batches: &[Batch]) -> Vec<oneshot::Receiver<Result<Appended>>> {
        let mut state = self.state();
        let submit = |batch: &Batch| state.submit(batch.clone(), self.options.queue_bytes).expect("there is room");
        let answers = batches.iter().map(submit).collect();
        self.work.notify_one();
        answers
    }

    /// What the writer does next, once there is something: the batches that wait, in order, or none where only something was
    /// released or time passed. `None` when the log is closed and all is written.
    pub(crate) fn take(&self, patience: Duration) -> Option<Vec<Waiting>> {
        let idle = |state: &mut State| state.queue.is_empty() && !state.closing && !state.unseen;
        let waited = self.work.wait_timeout_while(self.state(), patience, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.unseen = false;
        if state.queue.is_empty() && state.closing {
            return None;
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(waiting) = state.queue.front() {
            bytes += waiting.batch.bytes();
            if bytes > GROUP && !group.is_empty() {
                break;
            }
            group.extend(state.queue.pop_front());
        }
        Some(group)
    }

    pub(crate) fn release(&self, up_to: u64) {
        let mut state = self.state();
        let up_to = up_to.min(state.next());
        if up_to > state.released {
            state.released = up_to;
            state.marks.release(up_to);
            state.unseen = true;
            drop(state);
            self.note_released(up_to);
            self.work.notify_one();
            self.progressed();
        } else {
            drop(state);
            // The note is of before the log was opened, where somebody reads it now who has less.
            self.note_released(up_to);
        }
    }

    pub(crate) fn hold(&self) {
        let mut state = self.state();
        let first = state.first();
        state.released = first;
        drop(state);
        self.note_released(first);
    }

    /// Notes what is released in the folder. Where that fails, more seems to be pending than is.
    fn note_released(&self, up_to: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if up_to != *noted {
            match self.folder.note_released(up_to) {
                Ok(()) => *noted = up_to,
                Err(error) => self.state().warn(error.to_string()),
            }
        }
    }

    /// Has the writer finish what waits, and end.
    pub(crate) fn close(&self) {
        self.state().closing = true;
        self.work.notify_one();
    }

    /// Wakes who waits for more lines or for room.
    pub(crate) fn progressed(&self) {
        self.progress.notify_all();
    }

    /// Waits up to `wait` until `done`, and says whether it is.
    pub(crate) fn wait_until(&self, wait: Duration, mut done: impl FnMut(&State) -> bool) -> bool {
        // A wait that overflows the clock is one without an end.
        let until = Instant::now().checked_add(wait);
        let mut state = self.state();
        loop {
            if done(&state) {
                return true;
            }
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        self.state().warnings.drain(..).collect()
    }
}
