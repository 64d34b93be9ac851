//! Tables: the latest state per key, kept in the lake as immutable files that the commit names.
//!
//! Beside the one direction of data: an export of changes hands its changes to [`apply()`] and exports the documents that come
//! back; a lookup asks a [`Reader`]. Nothing here knows of the pipeline or of the commit protocol: a [`TableState`] goes in, another
//! comes out, and whoever commits it makes it the table. `docs/changes.md` describes the files.
//!
//! Invariants:
//! - A run is written once and never changed. An [`apply()`] that was not committed leaves the table as it was.
//! - Memory is that of a few of the [`SHARDS`] and of the changes handed in, however large the table is.
//! - Every key that changed since the last snapshot is emitted by the next one, exactly once, as it is then.
//! - A change whose version is lower than the stored one changes nothing; equal versions apply in the order in which they come, so
//!   that the same changes once more end in the same state.

mod apply;
mod cache;
mod change;
mod patch;
mod prefetch;
mod reader;
mod row;
mod row_change;
mod run;
mod shard;
mod step;
mod trace;
mod truncate;
mod twin;

use serde::{Deserialize, Serialize};

pub use apply::{Applied, Apply, Emit, RowTerms, apply, apply_and_collect};
pub use cache::Cache;
pub use change::{Change, Document, Key, Operation, Shape};
pub use patch::Patcher;
pub use reader::{Found, Reader, Wanted};
pub use row::{Gone, Head, without};
pub use run::missing;
pub use truncate::truncate;

/// Parts of a table, by a hash of the key. What is read and merged at once is one of them.
pub const SHARDS: usize = 256;

/// A table as of one commit: everything there is to know of it besides its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableState {
    /// Oldest first; of a key that several have, the last one counts.
    pub runs: Vec<Run>,
    /// Documents that are there.
    pub keys: u64,
    /// Documents that changed, and known ones that went, since the last snapshot.
    pub waiting: u64,
    /// Changes that were not newer than what was stored, in all.
    pub ignored: u64,
    /// The end of the period of the last snapshot, in microseconds since 1970-01-01T00:00:00Z. The caller's.
    pub written_until: Option<i64>,
    /// The next snapshot holds everything. The caller's.
    pub full: bool,
    /// Counts the times that something changed.
    pub change: u64,
    /// What `change` was at the last snapshot: whatever changed later is waiting.
    pub snapshot: u64,
    /// Shards in which something may be waiting.
    pub waiting_shards: ShardSet,
}

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The object in the lake.
    pub key: String,
    /// Bytes.
    pub length: u64,
    /// Of the whole object, in hexadecimal.
    pub sha256: String,
    /// Keys in it, deleted ones too.
    pub entries: u64,
    /// [`TableState::change`] when it was written: nothing in it changed later.
    pub change: u64,
}

/// A set of shards. In a commit: 64 hexadecimal digits, or nothing for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardSet([u8; SHARDS / 8]);

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: u8) {
        self.0[usize::from(shard / 8)] |= 1 << (shard % 8);
    }

    /// Whether a shard is in it.
    pub fn contains(&self, shard: u8) -> bool {
        self.0[usize::from(shard / 8)] >> (shard % 8) & 1 == 1
    }
}

impl From<ShardSet> for String {
    fn from(set: ShardSet) -> String {
        if set == ShardSet::default() { String::new() } else { hex::encode(set.0) }
    }
}

impl TryFrom<String> for ShardSet {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut set = ShardSet::default();
        if !text.is_empty() {
            hex::decode_to_slice(text, &mut set.0)?;
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests;
