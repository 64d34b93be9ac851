//! Figures of a log.

use std::time::Duration;

/// Upper bounds of the buckets of [`Flushes::buckets`], in microseconds; the last bucket has none.
pub const BUCKETS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// Figures of a log; counts are since it was opened. See [`Wal::stats`](crate::Wal::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of the log's files.
    pub bytes: u64,
    /// Files of the log.
    pub segments: u64,
    /// Batches that were appended, in whole or in part.
    pub batches: u64,
    /// Records that were appended.
    pub records: u64,
    /// Records that were not appended because their key is remembered.
    pub duplicates: u64,
    /// Bytes of batches that wait to be written, or are being written.
    pub queued_bytes: u64,
    /// Batches that were refused since too many bytes wait: see [`Error::Busy`](crate::Error::Busy).
    pub busy: u64,
    /// Batches that were refused since the log is full: see [`Error::Full`](crate::Error::Full).
    pub full: u64,
    /// Batches that were not written since there was no room on the disk, or since a write or a flush failed.
    pub failed: u64,
    /// Flushes of appended batches to the disk.
    pub flushes: Flushes,
    /// Keys that are remembered.
    pub keys: u64,
    /// Keys that were forgotten before their time: there were more than [`Options::max_keys`](crate::Options::max_keys), or their
    /// segment had to make room.
    pub keys_dropped: u64,
    /// Bytes that were cut off the end when the log was opened.
    pub torn_bytes: u64,
    /// Segments that were deleted.
    pub deleted_segments: u64,
}

/// How many flushes took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushes {
    /// Flushes.
    pub count: u64,
    /// The time of all together.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
    /// How many took up to each bound of [`BUCKETS`] and longer than the one before it; the last longer than all.
    pub buckets: [u64; BUCKETS.len() + 1],
}

impl Flushes {
    pub(crate) fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        self.max = self.max.max(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BUCKETS.partition_point(|bound| *bound < micros)] += 1;
    }
}
