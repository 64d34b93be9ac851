//! Takes the documents of up to a version out of a table: all rows of a database's table went at that version.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::apply::blocking;
use super::cache::Cache;
use super::prefetch::{RunReader, Stored};
use super::run::{self, Packed, RunWriter};
use super::shard::{Shard, merge};
use super::{Head, SHARDS, ShardSet, TableState};
use crate::Result;
use crate::lake::Lake;
use crate::table::Run;

/// What a truncation left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// The table once this is committed.
    pub state: TableState,
    /// The only run, where something is left; also in `state`.
    pub written: Option<Run>,
    /// The objects of runs that are no longer part of the table once this is committed.
    pub obsolete: Vec<String>,
    /// The partitions of the rows that went.
    pub touched: BTreeSet<i32>,
    /// How many documents went.
    pub gone: u64,
}

/// One shard without what went.
struct Kept {
    packed: Packed,
    touched: BTreeSet<i32>,
    live: u64,
    gone: u64,
}

/// Removes the documents, and the marks of deleted ones, whose version is at most `version`, and those that have no version.
///
/// # Errors
/// Of [`crate::Kind::Lake`], also where a file of the table is gone or damaged; then nothing has changed.
pub async fn truncate(
    lake: &Lake,
    cache: &Cache,
    state: &TableState,
    version: i64,
    staged_key: &str,
) -> Result<Truncated> {
    let mut readers = Vec::with_capacity(state.runs.len());
    for run in &state.runs {
        let mut all = ShardSet::default();
        (0..=u8::MAX).for_each(|shard| all.insert(shard));
        readers.push(RunReader::open(lake, cache, run, all).await?);
    }
    let mut writer = RunWriter::begin(lake, staged_key).await?;
    let (mut touched, mut keys, mut gone) = (BTreeSet::new(), 0, 0);
    for shard in 0..SHARDS {
        let mut layers = Vec::with_capacity(readers.len());
        for reader in &mut readers {
            layers.push(reader.shard(shard as u8).await?);
        }
        let mut kept = blocking(move || keep_newer(&layers, version)).await?;
        touched.append(&mut kept.touched);
        (keys, gone) = (keys + kept.live, gone + kept.gone);
        writer.write(kept.packed).await?;
    }
    let change = state.change + 1;
    let written = writer.finish(change).await?;
    let obsolete = state.runs.iter().map(|run| run.key.clone()).collect();
    let state = TableState { runs: written.clone().into_iter().collect(), keys, change, ..state.clone() };
    Ok(Truncated { state, written, obsolete, touched, gone })
}

fn keep_newer(layers: &[Stored], version: i64) -> Result<Kept> {
    let unpacked = layers.iter().map(Stored::unpack).collect::<Result<Vec<Shard>>>()?;
    let (mut entries, mut count) = (Vec::new(), 0);
    let (mut touched, mut live, mut gone) = (BTreeSet::new(), 0, 0);
    merge(&unpacked.iter().collect::<Vec<_>>(), |entry| {
        let facts = entry.facts();
        match facts.version {
            Some(newer) if newer > version => {
                entries.extend_from_slice(entry.raw);
                count += 1;
                live += u64::from(facts.live);
            }
            _ if facts.live => {
                touched.extend(Head::of(entry.body()).map(|head| head.partition));
                gone += 1;
            }
            _ => {}
        }
    });
    Ok(Kept { packed: run::pack(&Bytes::from(entries), count)?, touched, live, gone })
}
