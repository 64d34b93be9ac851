//! Batches, and the answer to appending one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use memchr::memchr_iter;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::frame::KEY;

/// Lines to append together: they become durable together, and are one frame of the log.
///
/// ```
/// use lakeport_wal::{Batch, Keys};
///
/// let batch = Batch::new("{\"n\":1}\n{\"n\":2}\n");
/// let keyed = Batch { keys: Keys::OfRecords(vec![17, 18]), ..batch };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whole lines, each with its `\n`. A line is a record.
    pub lines: Bytes,
    /// What tells a repetition.
    pub keys: Keys,
}

/// Keys by which a repetition is recognised: 128-bit hashes that the caller makes of what identifies a batch or a record.
///
/// The log has one space of keys: let the hash cover what the identifier is of, such as the source's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Every batch is appended.
    None,
    /// One for all of it: the batch is appended as a whole or not at all. `content` is a hash of what the batch brings: the same key
    /// with another one is [`Error::KeyReused`].
    OfBatch { key: u128, content: u128 },
    /// One for each line, in order: the lines with new keys are appended. Of equal ones in a batch the first is.
    OfRecords(Vec<u128>),
}

/// Where a batch is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first line that was appended; `up_to` where none was, as all are duplicates.
    pub first: u64,
    /// The offset after the last line that was appended; `first` where none was.
    pub next: u64,
    /// All records of the batch are in the log before this offset, those that are duplicates as well: what was exported up to here
    /// contains them.
    pub up_to: u64,
    /// The places in the batch, counted from 0 and in order, of the records that were not appended as their keys are remembered.
    pub duplicates: Vec<u32>,
}

impl Batch {
    /// A batch without keys.
    pub fn new(lines: impl Into<Bytes>) -> Self {
        Batch { lines: lines.into(), keys: Keys::None }
    }

    /// Bytes of lines and keys, hashes of content among them.
    pub fn bytes(&self) -> u64 {
        let keys = match &self.keys {
            Keys::None => 0,
            Keys::OfBatch { .. } => 2,
            Keys::OfRecords(keys) => keys.len(),
        };
        (self.lines.len() + keys * KEY) as u64
    }

    /// How many lines there are.
    pub fn records(&self) -> u32 {
        // A batch is far smaller than 4 GiB.
        memchr_iter(b'\n', &self.lines).count() as u32
    }

    pub(crate) fn check(&self, limit: u64) -> Result<()> {
        let bytes = self.bytes();
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        match self.lines.last() {
            None => return Err(Error::Batch("it has no lines".to_string())),
            Some(b'\n') => {}
            Some(_) => return Err(Error::Batch("its last line does not end with a line feed".to_string())),
        }
        if let Keys::OfRecords(keys) = &self.keys
            && keys.len() != self.records() as usize
        {
            return Err(Error::Batch(format!("it has {} keys for {} lines", keys.len(), self.records())));
        }
        Ok(())
    }
}

/// The answer to a batch, once it is durable: a future, and for callers without a runtime [`Ack::wait`].
///
/// The batch is appended whether or not the answer is waited for.
#[derive(Debug)]
#[must_use = "the batch is not durable before this says so"]
pub struct Ack(pub(crate) oneshot::Receiver<Result<Appended>>);

impl Ack {
    /// Waits until the batch is durable.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::NoSpace`], [`Error::Failed`], [`Error::KeyReused`]: the batch was not appended. After [`Error::Failed`] it may still be in the
    /// log when that is opened again.
    ///
    /// # Panics
    /// In a task of an async runtime, which must not be blocked: await it there.
    pub fn wait(self) -> Result<Appended> {
        self.0.blocking_recv().unwrap_or(Err(Error::Closed))
    }
}

impl Future for Ack {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
