//! A write-ahead log of lines: appended durably by many callers at once, read in order, released once exported.
//!
//! A log is a folder of its own. It is one endless sequence of lines, addressed by offsets that count the bytes of the lines and
//! nothing else. [`Wal::append`] returns when the lines are on the disk; what many callers append at the same time goes there with one
//! flush. A [`Reader`] sees lines once they are durable, from any offset on. [`Wal::release`] says up to where lines are no longer
//! needed.
//!
//! ```
//! use std::time::Duration;
//! use lakeport_wal::{Batch, Options, Wal};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("log");
//! let wal = Wal::open(&folder, Options::new(|| 1_764_500_000_000))?;
//! let appended = wal.append(Batch::new("{\"n\":1}\n{\"n\":2}\n"))?;
//! assert_eq!((appended.first, appended.next), (0, 16));
//!
//! let mut reader = wal.reader(0)?;
//! let lines = reader.read(1 << 20, Duration::ZERO)?.expect("they are durable");
//! assert_eq!(&lines.data[..], b"{\"n\":1}\n{\"n\":2}\n");
//! wal.release(lines.next());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod block;
mod error;
mod folder;
mod frame;
mod id;
mod keys;
mod marks;
mod options;
mod pending;
mod reader;
mod recover;
mod shared;
mod stats;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;

pub use self::batch::{Ack, Appended, Batch, Keys};
pub use self::error::{Error, Result};
pub use self::id::LogId;
pub use self::marks::Backlog;
pub use self::options::{MAX_BATCH, Options};
pub use self::pending::{Pending, pending};
pub use self::reader::{Lines, Reader};
pub use self::stats::{BUCKETS, Flushes, Stats};

use self::folder::Folder;
use self::shared::Shared;
use self::storage::{FileSystem, Storage};
use self::writer::{Unwritten, Writer};

/// An open log; clones are the same log. When the last clone and the last [`Reader`] are dropped, what waits is written and the log is
/// closed.
#[derive(Clone)]
pub struct Wal(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Wal {
    /// Opens the log in `folder`, which is made, with mode 0700, where it is missing. Reads and checks all that is there.
    ///
    /// The end of a write that was cut by a crash is cut off; [`Wal::warnings`] and [`Stats::torn_bytes`] tell.
    ///
    /// # Errors
    /// [`Error::NotALog`], [`Error::InUse`], [`Error::Damaged`], [`Error::Options`], [`Error::Io`].
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Wal> {
        Wal::open_on(folder.as_ref(), options, Box::new(FileSystem))
    }

    fn open_on(folder: &Path, options: Options, storage: Box<dyn Storage>) -> Result<Wal> {
        options.check()?;
        let folder = Folder::open(folder)?;
        let mut keys = keys::Keys::new(options.key_window, options.max_keys);
        let now = (options.clock)();
        let found = recover::recover(&folder, &mut keys, now)?;
        keys.dropped = 0;
        let mut segments = found.segments;
        let (file, active) = match (found.active, segments.back().copied()) {
            (Some(file), Some(last)) => (file, last),
            _ => {
                let (file, segment) = writer::create(&folder, found.next, &[])?;
                segments.push_back(segment);
                (file, segment)
            }
        };
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let shared = Arc::new(Shared::new(folder, options, segments));
        {
            let mut state = shared.state();
            state.stats.keys = keys.len() as u64;
            state.marks = found.marks;
            if let Some((bytes, warning)) = found.torn {
                state.stats.torn_bytes = bytes;
                state.warn(warning);
            }
        }
        let writer = Writer {
            shared: shared.clone(),
            storage,
            keys,
            file,
            active,
            pending: Unwritten::default(),
            failures: 0,
            bytes,
            has_failed: false,
        };
        let thread = thread::Builder::new().name("wal".to_string()).spawn(|| writer.run());
        let thread = thread.map_err(|error| Error::io("start a thread for", &shared.folder.path, error))?;
        Ok(Wal(Arc::new(Open { shared, writer: Mutex::new(Some(thread)) })))
    }

    /// Appends `batch`, and waits until it is durable. For async callers there is [`Wal::submit`].
    ///
    /// # Errors
    /// As [`Wal::submit`] and [`Ack::wait`].
    ///
    /// # Panics
    /// As [`Ack::wait`].
    pub fn append(&self, batch: Batch) -> Result<Appended> {
        self.submit(batch)?.wait()
    }

    /// Puts `batch` into the queue, without waiting. The answer is there once it is durable: `wal.submit(batch)?.await?`.
    ///
    /// Batches are appended in the order in which they are submitted.
    ///
    /// # Errors
    /// [`Error::Busy`] where too many bytes wait, [`Error::TooLarge`], [`Error::Batch`], [`Error::Failed`].
    pub fn submit(&self, batch: Batch) -> Result<Ack> {
        batch.check(self.shared().options.batch_bytes)?;
        self.shared().submit(batch).map(Ack)
    }

    /// Waits up to `wait` until a batch of `bytes` bytes would be neither [`Error::Busy`] nor [`Error::Full`], and says whether it is so
    /// now. Others may take the room.
    pub fn wait_for_room(&self, bytes: u64, wait: Duration) -> bool {
        let options = &self.shared().options;
        let needed = bytes + frame::FRAME_HEADER as u64 + (frame::SEGMENT_HEADER + frame::TAIL) as u64;
        let mut has_room = false;
        self.shared().wait_until(wait, |state| {
            let queued = state.stats.queued_bytes;
            has_room = state.failed.is_none()
                && (queued == 0 || queued + bytes <= options.queue_bytes)
                && state.held() + queued + needed <= options.max_bytes;
            has_room || state.failed.is_some()
        });
        has_room
    }

    /// Waits up to `wait` until lines at and after the offset `at` are durable, and says whether they are.
    pub fn wait_for(&self, at: u64, wait: Duration) -> bool {
        self.shared().wait_until(wait, |state| state.next() > at)
    }

    /// A reader that begins at the offset `from`, where a line begins or the log ends.
    ///
    /// # Errors
    /// [`Error::Released`] where the line was deleted; [`Error::Beyond`] and [`Error::NotALine`] where the offset is of another log.
    pub fn reader(&self, from: u64) -> Result<Reader> {
        Reader::open(self.clone(), from)
    }

    /// Says that the lines before the offset `up_to` are no longer needed. Whole segments are deleted, soon, once their keys are
    /// older than [`Options::key_window`] or the room is needed. It is noted on the disk for [`pending()`]; a log that is
    /// opened again holds everything until this is called again.
    pub fn release(&self, up_to: u64) {
        self.shared().release(up_to);
    }

    /// Takes back what was released and is still there, for a reader that begins at [`Wal::first`].
    pub fn hold(&self) {
        self.shared().hold();
    }

    /// The offset of the first line that is there.
    pub fn first(&self) -> u64 {
        self.shared().state().first()
    }

    /// The offset after the last line that is durable.
    pub fn next(&self) -> u64 {
        self.shared().state().next()
    }

    /// What lies after the offset `at`, which is not before what was released.
    pub fn backlog(&self, at: u64) -> Backlog {
        let now = (self.shared().options.clock)();
        self.shared().state().marks.after(at, now)
    }

    /// The log's identity.
    pub fn id(&self) -> LogId {
        self.shared().folder.id
    }

    /// Up to 1,024 bytes of the lines before the offset `at`, as a witness that a position is of this log; all of them where there
    /// are fewer. They can be had for every offset from [`Wal::first`] to [`Wal::next`].
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`].
    pub fn tail(&self, at: u64) -> Result<Bytes> {
        reader::tail(self.shared(), at)
    }

    /// Figures for operators.
    pub fn stats(&self) -> Stats {
        let state = self.shared().state();
        Stats { bytes: state.bytes(), segments: state.segments.len() as u64, ..state.stats.clone() }
    }

    /// What the operator should know, since the last call: a cut end, a full disk, a segment that cannot be deleted.
    pub fn warnings(&self) -> Vec<String> {
        self.shared().take_warnings()
    }

    /// Why the log takes nothing any more, if so: see [`Error::Failed`].
    pub fn failure(&self) -> Option<Error> {
        self.shared().state().failed.clone()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

/// Returns how many bytes of lines, keys and their frames are in the log in `folder`, whoever has it open; `None` where the folder is
/// no log.
pub fn bytes_in(folder: &Path) -> Option<u64> {
    folder::bytes_in(folder)
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.close();
        let writer = self.writer.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // A panic of the writer was told to all who waited.
        let _ = writer.map(JoinHandle::join);
    }
}
