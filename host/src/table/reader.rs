//! Looks documents up in a table as it was committed.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::cache::Cache;
use super::shard::{Shard, encode_key, shard_of};
use super::{Key, Run, TableState, run};
use crate::lake::Lake;
use crate::{Error, Result};

/// Shards that are looked into at the same time: their requests overlap.
const AT_ONCE: usize = 8;

/// A table as of one commit.
#[derive(Debug, Clone)]
pub struct Reader {
    lake: Lake,
    cache: Cache,
    /// Newest first, with their hashes.
    runs: Arc<[(Arc<str>, Run)]>,
}

/// A key that is looked for, and its place in the answer.
type Wanted = (Vec<u8>, usize);

impl Reader {
    /// A reader of the table as it is in `state`. What it reads stays in `cache`, for later readers too.
    pub fn new(lake: Lake, state: &TableState, cache: Cache) -> Reader {
        let runs = state.runs.iter().rev().map(|run| (Arc::from(run.sha256.as_str()), run.clone())).collect();
        Reader { lake, cache, runs }
    }

    /// The documents of `keys`, each `None` where there is none. `None` altogether where a file of the table is gone: then there
    /// is a newer commit, which a new reader has to be made for.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`], also where a file is damaged.
    pub async fn get_many(&self, keys: &[Key]) -> Result<Option<Vec<Option<Bytes>>>> {
        let mut wanted: Vec<Vec<Wanted>> = Vec::new();
        let mut places = [usize::MAX; super::SHARDS];
        for (at, key) in keys.iter().enumerate() {
            let key = encode_key(key);
            let place = &mut places[usize::from(shard_of(&key))];
            if *place == usize::MAX {
                *place = wanted.len();
                wanted.push(Vec::new());
            }
            wanted[*place].push((key, at));
        }
        let found = stream::iter(wanted).map(|wanted| self.look_up(wanted)).buffer_unordered(AT_ONCE);
        let found: Option<Vec<_>> = found.try_collect::<Vec<_>>().await?.into_iter().collect();
        let Some(found) = found else { return Ok(None) };
        let mut documents = vec![None; keys.len()];
        for (at, document) in found.into_iter().flatten() {
            documents[at] = Some(document);
        }
        Ok(Some(documents))
    }

    /// The documents of keys that are all in one shard; `None` where a file is gone.
    async fn look_up(&self, mut wanted: Vec<Wanted>) -> Result<Option<Vec<(usize, Bytes)>>> {
        let mut found = Vec::new();
        for (hash, run) in self.runs.iter() {
            let Some((key, _)) = wanted.first() else { break };
            let Some(shard) = self.shard(hash, run, shard_of(key)).await? else { return Ok(None) };
            wanted.retain(|(key, at)| match shard.find(key) {
                Some(entry) => {
                    if entry.facts().live {
                        found.push((*at, entry.shared_body()));
                    }
                    false
                }
                None => true,
            });
        }
        Ok(Some(found))
    }

    async fn shard(&self, hash: &Arc<str>, run: &Run, shard: u8) -> Result<Option<Arc<Shard>>> {
        if let Some(shard) = self.cache.shard(hash, shard) {
            return Ok(Some(shard));
        }
        let Some(footer) = self.cache.footer(&self.lake, run).await? else { return Ok(None) };
        let at = usize::from(shard);
        let range = footer.range(at, at + 1);
        let bytes = match range.is_empty() {
            true => Bytes::new(),
            false => match self.lake.get_range(&run.key, range).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        let url = self.lake.url(&run.key);
        let checksum = footer.checksum(shard);
        let unpacked = tokio::task::spawn_blocking(move || run::unpack(&bytes, checksum, &url)).await;
        let unpacked = unpacked.map_err(|e| Error::internal(format!("work on a table ended early: {e}")))??;
        let unpacked = Arc::new(unpacked);
        self.cache.put_shard(hash, shard, unpacked.clone());
        Ok(Some(unpacked))
    }
}
