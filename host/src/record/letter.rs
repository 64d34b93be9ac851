//! Dead letters: records that cannot be exported, kept with the reason.

use std::sync::Arc;

use bytes::Bytes;

/// A record that was refused, kept as the bytes that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, in one sentence that names the value and what was expected.
    pub reason: String,
    /// Where it was read: a file's path, `stdin`.
    pub origin: Arc<str>,
    /// Its offset in `origin`.
    pub offset: u64,
    /// The record as it was received, envelope included, line terminator excluded: its first [`KEPT`] bytes.
    pub raw: Bytes,
    /// The record's length. Bytes.
    pub length: u64,
}

/// The most that a dead letter keeps of its record. Bytes.
pub const KEPT: usize = 1 << 20;

impl DeadLetter {
    /// Makes a dead letter of a record, of which it keeps the first [`KEPT`] bytes.
    pub fn new(reason: String, origin: Arc<str>, offset: u64, record: Bytes) -> DeadLetter {
        let length = record.len() as u64;
        // A copy: the rest of a large record does not stay in memory.
        let raw = if record.len() > KEPT { Bytes::copy_from_slice(&record[..KEPT]) } else { record };
        DeadLetter { reason, origin, offset, raw, length }
    }
}
