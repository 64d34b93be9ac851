//! A part of what an export writes.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use xxhash_rust::xxh3::Xxh3;

use super::Envelope;
use crate::layout::Period;
use crate::record::{Batch, DeadLetter, KEPT};

/// The records of one period that are no dead letters.
#[derive(Debug)]
pub struct Excerpt {
    pub period: Period,
    /// The records that are dead letters as a whole: they are left out.
    pub dead_letters: HashSet<RecordKey>,
    /// What the records come in.
    pub envelope: Envelope,
    /// How many records were read of each key that a dead letter has.
    pub met: Mutex<HashMap<RecordKey, u32>>,
}

/// Tells a record from all others of an export, and from those that are in its place once its file has another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey(u128);

/// So many of a record's first bytes tell it from another one of the same file name and offset: every dead letter keeps as many.
const HEAD: usize = 240;

impl RecordKey {
    /// The key of the record at an offset of an origin.
    pub fn new(envelope: Envelope, origin: &str, offset: u64, record: &[u8]) -> RecordKey {
        let mut hash = Xxh3::new();
        hash.update(origin.as_bytes());
        hash.update(&offset.to_le_bytes());
        // All records of a compressed block have its offset.
        let most = if envelope == Envelope::Avro { KEPT } else { HEAD };
        hash.update(&record[..record.len().min(most)]);
        RecordKey(hash.digest128())
    }
}

impl Excerpt {
    /// Whether a row's record is a dead letter.
    pub fn has_refused(&self, batch: &Batch, row: usize) -> bool {
        !self.dead_letters.is_empty() && self.dead_letters.contains(&self.key(batch, row))
    }

    /// Counts which of the dead letters' records were read.
    pub fn meet(&self, batches: &[Batch], refused: &[DeadLetter]) {
        let mut met = self.met.lock().expect("nothing panics while it counts");
        if met.is_empty() {
            return;
        }
        let rows = batches.iter().flat_map(|batch| (0..batch.rows()).map(|row| self.key(batch, row)));
        let refused = refused.iter().map(|dead| RecordKey::new(self.envelope, &dead.origin, dead.offset, &dead.raw));
        for key in rows.chain(refused) {
            met.entry(key).and_modify(|records| *records += 1);
        }
    }

    fn key(&self, batch: &Batch, row: usize) -> RecordKey {
        RecordKey::new(self.envelope, &batch.origin, batch.offsets.value(row), batch.raw.value(row))
    }
}
