//! Reads shards of a run in rising order: neighbours with one request, and the next ones while these are worked on.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::run::{self, Footer};
use super::shard::Shard;
use super::{Cache, Run, SHARDS, ShardSet};
use crate::lake::Lake;
use crate::{Error, Result};

/// What one request reads, unless a shard is larger.
const PIECE: u64 = 4 << 20;
/// What is read in vain so that one request does instead of two.
const GAP: u64 = 128 << 10;

/// A run that is read from its first shard to its last.
pub struct RunReader {
    lake: Lake,
    key: String,
    url: Arc<str>,
    footer: Arc<Footer>,
    /// The shards that will be asked for, as far as is known.
    wanted: ShardSet,
    now: Option<Piece>,
    ahead: Option<Reading>,
}

/// Shards that are on their way.
type Reading = (Range<usize>, JoinHandle<Result<Option<Bytes>>>);

struct Piece {
    shards: Range<usize>,
    bytes: Bytes,
}

/// A shard as it stands in a file.
#[derive(Clone)]
pub struct Stored {
    pub bytes: Bytes,
    pub checksum: u64,
    url: Arc<str>,
}

impl Stored {
    /// The entries, checked.
    pub fn unpack(&self) -> Result<Shard> {
        run::unpack(&self.bytes, self.checksum, &self.url)
    }
}

impl RunReader {
    pub async fn open(lake: &Lake, cache: &Cache, run: &Run, wanted: ShardSet) -> Result<RunReader> {
        let url = lake.url(&run.key);
        let footer = cache.footer(lake, run).await?.ok_or_else(|| run::missing(&url))?;
        let key = run.key.clone();
        Ok(RunReader { lake: lake.clone(), key, url: url.into(), footer, wanted, now: None, ahead: None })
    }

    /// The shard `shard`, which is after the one that was asked for before.
    pub async fn shard(&mut self, shard: u8) -> Result<Stored> {
        let at = usize::from(shard);
        let range = self.footer.range(at, at + 1);
        let (checksum, url) = (self.footer.checksum(shard), self.url.clone());
        if range.is_empty() {
            return Ok(Stored { bytes: Bytes::new(), checksum, url });
        }
        if self.now.as_ref().is_none_or(|now| !now.shards.contains(&at)) {
            self.now = Some(self.read(at).await?);
        }
        let now = self.now.as_ref().expect("read above");
        let start = length(self.footer.range(now.shards.start, at)) as usize;
        let bytes = now.bytes.slice(start..start + length(range) as usize);
        Ok(Stored { bytes, checksum, url })
    }

    /// The piece that holds shard `at`; the one after it is on its way then.
    async fn read(&mut self, at: usize) -> Result<Piece> {
        // What is read already makes room first.
        self.now = None;
        let (shards, reading) = match self.ahead.take() {
            Some((shards, reading)) if shards.contains(&at) => (shards, reading),
            _ => self.begin(at),
        };
        let failed = |e| Error::internal(format!("reading a table's file ended early: {e}"));
        let bytes = reading.await.map_err(failed)??.ok_or_else(|| run::missing(&self.url))?;
        let is_next = |&shard: &usize| self.is_wanted(shard) && !self.footer.range(shard, shard + 1).is_empty();
        if let Some(next) = (shards.end..SHARDS).find(is_next) {
            self.ahead = Some(self.begin(next));
        }
        Ok(Piece { shards, bytes })
    }

    /// Begins to read `first` and what is wanted after it.
    fn begin(&self, first: usize) -> Reading {
        let mut end = first + 1;
        for shard in first + 1..SHARDS {
            if length(self.footer.range(first, shard + 1)) > PIECE || length(self.footer.range(end, shard)) > GAP {
                break;
            }
            if self.is_wanted(shard) {
                end = shard + 1;
            }
        }
        let (lake, key, range) = (self.lake.clone(), self.key.clone(), self.footer.range(first, end));
        (first..end, tokio::spawn(async move { lake.get_range(&key, range).await }))
    }

    fn is_wanted(&self, shard: usize) -> bool {
        self.wanted.contains(shard as u8)
    }
}

fn length(range: Range<u64>) -> u64 {
    range.end - range.start
}
