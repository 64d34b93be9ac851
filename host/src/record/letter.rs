//! Dead letters: records that cannot be exported, kept with the reason.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A record that was refused, kept as the bytes that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, in one sentence that names the value and what was expected.
    pub reason: String,
    /// Where it was read: a file's path, `stdin`.
    pub origin: Arc<str>,
    /// Its offset in `origin`.
    pub offset: u64,
    /// The number of the record among those that were decoded together; 0 where it was not decoded.
    pub number: u32,
    /// The record as it was received, envelope included, line terminator excluded: its first [`KEPT`] bytes.
    pub raw: Bytes,
    /// The record's length. Bytes.
    pub length: u64,
    pub share: Share,
}

/// How much of its record a dead letter stands for: a transform may have made several rows of the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// Nothing of the record was exported.
    #[default]
    Whole,
    /// Other rows of the record were exported.
    Part,
    /// Nothing of the record was exported, and an earlier dead letter holds it as well.
    Repeat,
}

impl Share {
    /// Whether the letter stands for the whole record.
    pub fn is_whole(&self) -> bool {
        *self == Share::Whole
    }
}

/// The most that a dead letter keeps of its record. Bytes.
pub const KEPT: usize = 1 << 20;

impl DeadLetter {
    /// Makes a dead letter of a record, of which it keeps the first [`KEPT`] bytes.
    pub fn new(reason: String, origin: Arc<str>, offset: u64, record: Bytes) -> DeadLetter {
        let length = record.len() as u64;
        // A copy: the rest of a large record does not stay in memory.
        let raw = if record.len() > KEPT { Bytes::copy_from_slice(&record[..KEPT]) } else { record };
        DeadLetter { reason, origin, offset, number: 0, raw, length, share: Share::Whole }
    }
}
