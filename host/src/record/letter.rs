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
    /// The record as it was received, envelope included, line terminator excluded.
    pub raw: Bytes,
}
