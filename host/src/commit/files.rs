//! Which objects a span writes to: decided once for each series, on its first record, from the state that the log holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::entry::{Series, Tail};
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::layout::{part_key, part_of};
use crate::plan::Files;
use crate::plugin::FileId;

/// How many series the log remembers. Older ones are looked up in the lake when a late record needs them.
pub const REMEMBERED: usize = 1_024;

/// One object that a span writes to.
#[derive(Debug)]
pub struct File {
    /// Unique in this process.
    pub id: FileId,
    pub series: String,
    pub part: u32,
    pub key: String,
    /// When its period ends. Microseconds since 1970-01-01T00:00:00Z.
    pub ends: i64,
    /// [`Series::format`].
    pub format: Arc<str>,
    /// What a format needs at random but constant: from the export and the key.
    pub seed: [u8; 16],
    /// The part as committed, where this span extends it.
    pub tail: Option<Tail>,
    /// Something of the file was committed before: its beginning is written.
    pub resumed: bool,
    begun: AtomicBool,
}

impl File {
    /// Whether the caller is the one who writes the file's beginning: true once, and never where it is written already.
    pub fn claim_beginning(&self) -> bool {
        !self.resumed && !self.begun.swap(true, Ordering::Relaxed)
    }
}

/// The objects of one span. Shared by the lanes that encode it.
#[derive(Debug)]
pub struct FileTable {
    lake: Lake,
    export: String,
    partition: String,
    files: Files,
    /// [`Series::format`] of what this span writes.
    format: Arc<str>,
    state: Arc<BTreeMap<String, Series>>,
    /// What is published; commits may still be on their way, and what they wrote cannot be looked at yet.
    published: watch::Receiver<Published>,
    /// The commit before this span's.
    before: u64,
    known: Mutex<HashMap<String, Arc<File>>>,
}

/// How far a run's commits are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Commits of this run, counted from 1; 0 before the first.
    pub number: u64,
    /// The write time of the last one. Microseconds since 1970-01-01T00:00:00Z.
    pub write_time: i64,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

impl FileTable {
    /// A table for a span that starts from `state`.
    pub fn new(
        lake: Lake,
        (export, partition): (&str, &str),
        (files, format): (Files, Arc<str>),
        state: Arc<BTreeMap<String, Series>>,
        published: watch::Receiver<Published>,
        before: u64,
    ) -> Self {
        let known = Mutex::default();
        FileTable {
            lake,
            export: export.to_owned(),
            partition: partition.to_owned(),
            files,
            format,
            state,
            published,
            before,
            known,
        }
    }

    /// The object that records of `series` go to.
    ///
    /// # Errors
    /// Of kind `Lake`, also where the file to extend was edited.
    pub async fn file(&self, series: &str, ends: i64) -> Result<Arc<File>> {
        if let Some(file) = self.lock().get(series) {
            return Ok(file.clone());
        }
        let file = Arc::new(self.decide(series, ends).await?);
        // Two lanes may have decided at once; both decided the same, and the first one's file is the one.
        Ok(self.lock().entry(series.to_owned()).or_insert(file).clone())
    }

    /// An object that this span alone writes, and no other ever.
    pub fn once(&self, key: String) -> Arc<File> {
        Arc::new(File {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            series: key.clone(),
            part: 0,
            ends: 0,
            format: self.format.clone(),
            seed: self.seed(&key),
            tail: None,
            resumed: false,
            key,
            begun: AtomicBool::new(false),
        })
    }

    /// Every object that was asked for.
    pub fn all(&self) -> Vec<Arc<File>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<File>>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn decide(&self, series: &str, ends: i64) -> Result<File> {
        let state = match self.state.get(series) {
            Some(state) => state.clone(),
            None => {
                // The lake knows what the log forgot, once everything is published.
                let _ = self.published.clone().wait_for(|published| published.number >= self.before).await;
                Series { parts: self.parts_in_lake(series).await?, ..Series::default() }
            }
        };
        let same_format = state.format == *self.format;
        let goes_on = same_format && matches!(self.files, Files::Sealed { .. });
        let tail = match (self.files, &state.tail) {
            (Files::Growing { .. }, Some(tail))
                if same_format && self.still_there(series, tail, state.touched).await? =>
            {
                Some(tail.clone())
            }
            _ => None,
        };
        // Segments that this span cannot add to become a part of their own, before this one.
        let new = state.parts + u32::from(!state.pending.is_empty() && !goes_on);
        let part = tail.as_ref().map_or(new, |tail| tail.part);
        let key = part_key(series, part);
        Ok(File {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            series: series.to_owned(),
            part,
            ends,
            seed: self.seed(&key),
            resumed: tail.is_some() || !state.pending.is_empty() && goes_on,
            format: self.format.clone(),
            tail,
            key,
            begun: AtomicBool::new(false),
        })
    }

    /// Whether the file to extend is as it was committed. A file that someone moved away is not extended: the next part is.
    async fn still_there(&self, series: &str, tail: &Tail, touched: i64) -> Result<bool> {
        if touched > self.published.borrow().write_time {
            return Ok(true);
        }
        let key = part_key(series, tail.part);
        match self.lake.head(&key).await? {
            None => Ok(false),
            Some(meta) if meta.size == tail.length => Ok(true),
            Some(meta) => Err(edited(&self.lake.url(&key), tail.length, meta.size)),
        }
    }

    /// How many parts the lake has of a series that the log does not remember.
    async fn parts_in_lake(&self, series: &str) -> Result<u32> {
        let folder =
            series.split("{part}").next().and_then(|before| before.rsplit_once('/')).map_or("", |(folder, _)| folder);
        let objects = self.lake.list(folder).await?;
        Ok(objects.iter().filter_map(|object| part_of(series, &object.key)).max().map_or(0, |part| part + 1))
    }

    fn seed(&self, key: &str) -> [u8; 16] {
        let mut hash = Sha256::new();
        for text in [&self.export, &self.partition, key] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize()[..16].try_into().expect("a SHA-256 has 32 bytes")
    }
}

/// The error for a growing file that is not as it was committed.
pub fn edited(url: &str, expected: u64, found: u64) -> Error {
    Error::lake(format!("`{url}` has {found} bytes, and lakeport wrote {expected}: someone edited it"))
        .with_help("move that file away, then run again: the export goes on with the next part")
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
