//! The files that a span writes to, one for each series, and how they continue what earlier commits wrote.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::entry::{Series, Tail};
use crate::error::Result;
use crate::lake::Lake;
use crate::layout::{part_key, part_of};
use crate::plan::Files;
use crate::plugin::FileId;

/// How many series the log remembers. Older ones are looked up in the lake when a late record needs them.
pub const REMEMBERED: usize = 1_024;

/// One file that a span writes to. Which part of its series it becomes is decided when its bytes are staged: by then the commit
/// before is published, and what became of its files is known.
#[derive(Debug)]
pub struct File {
    /// Unique in this process.
    pub id: FileId,
    /// Its path, with `{part}` left open where it is one of several parts.
    pub series: String,
    /// When its period ends. Microseconds since 1970-01-01T00:00:00Z.
    pub ends: i64,
    /// What a format needs at random but constant: from the export and the series, so that any part can take any bytes.
    pub seed: [u8; 16],
    begun: AtomicBool,
}

impl File {
    /// Whether the caller is the one who hands in the file's header: true once.
    pub fn claim_header(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed)
    }
}

/// The files of one span. Shared by the lanes that encode it.
#[derive(Debug)]
pub struct FileTable {
    export: String,
    partition: String,
    known: Mutex<HashMap<String, Arc<File>>>,
}

/// How far a run's commits are published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Commits of this run, counted from 1; 0 before the first.
    pub number: u64,
    /// The state of the files after the last one.
    pub series: Arc<BTreeMap<String, Series>>,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

impl FileTable {
    /// An empty table.
    pub fn new(export: &str, partition: &str) -> Self {
        FileTable { export: export.to_owned(), partition: partition.to_owned(), known: Mutex::default() }
    }

    /// The file that records of `series` go to, whose period ends at `ends`.
    pub fn file(&self, series: &str, ends: i64) -> Arc<File> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match known.get(series) {
            Some(file) => file.clone(),
            None => known.entry(series.to_owned()).or_insert(self.begin(series.to_owned(), ends)).clone(),
        }
    }

    /// A file that this span alone writes, and no other ever.
    pub fn once(&self, key: String) -> Arc<File> {
        self.begin(key, 0)
    }

    fn begin(&self, series: String, ends: i64) -> Arc<File> {
        let mut hash = Sha256::new();
        for text in [&self.export, &self.partition, &part_key(&series, 0)] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        Arc::new(File {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            series,
            ends,
            seed: hash.finalize()[..16].try_into().expect("a SHA-256 has 32 bytes"),
            begun: AtomicBool::new(false),
        })
    }
}

impl Series {
    /// The part that may still grow, where `mode` lets files grow and the part is encoded with `format`.
    pub fn growing(&self, mode: Files, format: &str) -> Option<&Tail> {
        let may_grow = matches!(mode, Files::Growing { .. }) && self.format == format;
        self.tail.as_ref().filter(|_| may_grow)
    }

    /// Whether segments wait that more of `format` can be added to.
    pub fn is_collecting(&self, mode: Files, format: &str) -> bool {
        matches!(mode, Files::Sealed { .. }) && self.format == format && !self.pending.is_empty()
    }
}

/// The key that new records of `series` will most likely be at, and whether it exists and grows.
///
/// # Errors
/// Of kind `Lake`.
pub async fn expected_key(
    lake: &Lake,
    (mode, format): (Files, &str),
    state: Option<&Series>,
    series: &str,
) -> Result<(String, bool)> {
    let Some(state) = state else { return Ok((part_key(series, parts_in_lake(lake, series).await?), false)) };
    if let Some(tail) = state.growing(mode, format) {
        let key = part_key(series, tail.part);
        if lake.head(&key).await?.is_some_and(|meta| meta.size == tail.length) {
            return Ok((key, true));
        }
    }
    // Segments that cannot be added to become a part of their own, before this one.
    let is_sealed_first = !state.pending.is_empty() && !state.is_collecting(mode, format);
    Ok((part_key(series, state.parts + u32::from(is_sealed_first)), false))
}

/// The folder that all parts of a series are below.
pub(super) fn folder_of(series: &str) -> &str {
    let before = series.split("{part}").next().unwrap_or_default();
    before.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// How many parts the lake has of a series that the log does not remember.
///
/// # Errors
/// Of kind `Lake`.
pub async fn parts_in_lake(lake: &Lake, series: &str) -> Result<u32> {
    let objects = lake.list(folder_of(series)).await?;
    Ok(objects.iter().filter_map(|object| part_of(series, &object.key)).max().map_or(0, |part| part + 1))
}

/// Forgets the series that were written to longest ago, up to what the log remembers. Unsealed ones stay, and those of
/// `write_time`: the lake cannot be asked for them before they are published.
pub fn forget_old(series: &mut BTreeMap<String, Series>, write_time: i64) {
    let Some(excess) = series.len().checked_sub(REMEMBERED) else { return };
    let mut oldest: Vec<_> = series
        .iter()
        .filter(|(_, state)| state.pending.is_empty() && state.touched < write_time)
        .map(|(key, state)| (state.touched, key.clone()))
        .collect();
    oldest.sort_unstable();
    for (_, key) in oldest.into_iter().take(excess) {
        series.remove(&key);
    }
}
