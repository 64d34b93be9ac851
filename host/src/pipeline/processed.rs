//! What becomes of a chunk in a lane, and what all lanes of a span share.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::encoder::FileBytes;
use super::lookup::Tables;
use super::rows::RowChange;
use super::run::Takes;
use crate::commit::{File, FileTable};
use crate::dataset::PassedOver;
use crate::plan::PluginUse;
use crate::plugin::{Failure, Moment, Rejection};
use crate::record::{Batch, DeadLetter, KEPT};
use crate::table::Change;

/// What every chunk of one span shares.
#[derive(Debug)]
pub struct SpanContext {
    pub number: u64,
    pub moment: Moment,
    pub files: FileTable,
    pub tables: Tables,
    /// Its records are those of dead letters.
    pub replays: bool,
}

/// What the dead letters of a record keep of it, but for the first one. Bytes.
const BEGINNING: usize = 256;

/// What became of one chunk.
#[derive(Debug, Default)]
pub struct Processed {
    pub records: u64,
    /// Whose records of the chunk are taken.
    pub takes: Takes,
    /// What files begin with, from every lane that meets one: the first in the order of chunks counts.
    pub headers: Vec<FileBytes>,
    /// Bytes of files, in order.
    pub segments: Vec<(Arc<File>, Bytes, u32)>,
    pub dead: Vec<DeadLetter>,
    /// Numbers of the batch's records that a dead letter keeps.
    pub kept: HashSet<u32>,
    /// Records that are no change of a row, with their tables' names.
    pub refused: Vec<(Arc<str>, DeadLetter)>,
    /// What was written is kept in a table: the same may be refused with every snapshot.
    pub is_kept: bool,
    /// Changes of documents, in order: what an export of changes makes instead of segments.
    pub changes: Vec<Change>,
    /// What an export of tables makes instead: changes of rows and columns with their tables' names, in order.
    pub rows: Vec<(Arc<str>, RowChange)>,
    /// Records of kinds that no table has.
    pub passed_over: PassedOver,
    /// The latest event time met. Microseconds since 1970-01-01T00:00:00Z.
    pub latest: Option<i64>,
    /// An event time that looks as if its seconds were read as milliseconds. Microseconds since 1970-01-01T00:00:00Z.
    pub seconds: Option<i64>,
    /// Nanoseconds, by stage.
    pub stages: Stages,
}

/// Time that lanes spent, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stages {
    pub decode: u64,
    pub filter: u64,
    pub transform: u64,
    pub partition: u64,
    pub encode: u64,
}

impl Stages {
    /// Adds `other` up.
    pub fn add(&mut self, other: Stages) {
        self.decode += other.decode;
        self.filter += other.filter;
        self.transform += other.transform;
        self.partition += other.partition;
        self.encode += other.encode;
    }
}

impl Processed {
    /// Notes the rows of `batch` that a plugin rejected; `start` is the row that its row 0 is.
    pub fn refuse(&mut self, batch: &Batch, start: usize, rejected: &[Rejection], plugin: &PluginUse) {
        for rejection in rejected {
            let reason = format!("plugin `{}`: {}", plugin.plugin.name, rejection.reason);
            self.bury(batch, start + rejection.row as usize, reason);
        }
    }

    /// Begins with another batch of the decoder, whose records have numbers of their own.
    pub fn begin_batch(&mut self) {
        self.kept.clear();
    }

    /// Makes a row a dead letter.
    pub fn bury(&mut self, batch: &Batch, row: usize, reason: String) {
        let dead = self.letter(batch, row, reason);
        self.dead.push(dead);
    }

    /// The dead letter for a row. A transform may have made many rows of a large record: the first of its dead letters keeps the
    /// record, and the others its beginning.
    pub fn letter(&mut self, batch: &Batch, row: usize, reason: String) -> DeadLetter {
        let (origin, offset) = (batch.origin.clone(), batch.offsets.value(row));
        let (number, raw) = (batch.records.value(row), batch.raw.value(row));
        let most = if self.kept.insert(number) { KEPT } else { BEGINNING };
        let kept = Bytes::copy_from_slice(&raw[..raw.len().min(most)]);
        DeadLetter { number, length: raw.len() as u64, ..DeadLetter::new(reason, origin, offset, kept) }
    }

    /// Notes the rows of `batch` that a plugin failed on.
    pub fn fail(&mut self, batch: &Batch, rows: Range<usize>, failure: &Failure) {
        rows.for_each(|row| self.bury(batch, row, failure.to_string()));
    }
}

/// A row's number as Arrow indices have it.
pub fn u32_of(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has at most 8,192 rows")
}

/// Nanoseconds since an instant.
pub fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Does `work`, and adds its nanoseconds to `total`.
pub fn timed<T>(total: &mut u64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let out = work();
    *total += nanos(started);
    out
}
