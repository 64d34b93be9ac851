//! A part of what an export writes.

use std::collections::HashSet;

use xxhash_rust::xxh3::Xxh3;

use super::Envelope;
use crate::layout::Period;
use crate::record::{Batch, KEPT};

/// The records of one period that are no dead letters.
#[derive(Debug, Clone)]
pub struct Excerpt {
    pub period: Period,
    /// The records that are dead letters.
    pub dead_letters: HashSet<RecordKey>,
    /// What the records come in.
    pub envelope: Envelope,
}

/// Tells a record from all others of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey(u128);

impl RecordKey {
    /// The key of the record at an offset of an origin.
    pub fn new(envelope: Envelope, origin: &str, offset: u64, record: &[u8]) -> RecordKey {
        let mut hash = Xxh3::new();
        hash.update(origin.as_bytes());
        hash.update(&offset.to_le_bytes());
        // All records of a compressed block have its offset.
        if envelope == Envelope::Avro {
            hash.update(&record[..record.len().min(KEPT)]);
        }
        RecordKey(hash.digest128())
    }
}

impl Excerpt {
    /// Whether a row's record is a dead letter.
    pub fn has_refused(&self, batch: &Batch, row: usize) -> bool {
        !self.dead_letters.is_empty() && {
            let (offset, record) = (batch.offsets.value(row), batch.raw.value(row));
            self.dead_letters.contains(&RecordKey::new(self.envelope, &batch.origin, offset, record))
        }
    }
}
