//! Looks documents up in a table as it was committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::cache::Cache;
use super::shard::{Entry, Shard, encode_subject, shard_of};
use super::{Run, TableState, run};
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

/// What is looked for: the document of a subject, that of `source` before any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted<'a> {
    pub subject: &'a str,
    pub source: &'a str,
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub body: Bytes,
    pub version: Option<i64>,
}

/// Wanted documents of one shard, each with the beginning of its keys and its place in the answer.
type Group = Vec<(Vec<u8>, String, usize)>;

impl Reader {
    /// A reader of the table as it is in `state`. What it reads stays in `cache`, for later readers too.
    pub fn new(lake: Lake, state: &TableState, cache: Cache) -> Reader {
        let runs = state.runs.iter().rev().map(|run| (Arc::from(run.sha256.as_str()), run.clone())).collect();
        Reader { lake, cache, runs }
    }

    /// The documents of `wanted`, each `None` where there is none. `None` altogether where a file of the table is gone: then
    /// there is a newer commit, which a new reader has to be made for.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`], also where a file is damaged.
    pub async fn find(&self, wanted: &[Wanted<'_>]) -> Result<Option<Vec<Option<Found>>>> {
        let mut groups: BTreeMap<u8, Group> = BTreeMap::new();
        for (at, one) in wanted.iter().enumerate() {
            let prefix = encode_subject(one.subject);
            groups.entry(shard_of(&prefix)).or_default().push((prefix, one.source.to_owned(), at));
        }
        let found = stream::iter(groups).map(|(shard, group)| self.find_in(shard, group)).buffer_unordered(AT_ONCE);
        let found: Option<Vec<_>> = found.try_collect::<Vec<_>>().await?.into_iter().collect();
        let Some(found) = found else { return Ok(None) };
        let mut documents = vec![None; wanted.len()];
        for (at, document) in found.into_iter().flatten() {
            documents[at] = Some(document);
        }
        Ok(Some(documents))
    }

    /// The documents that one shard has; `None` where a file is gone.
    async fn find_in(&self, shard: u8, group: Group) -> Result<Option<Vec<(usize, Found)>>> {
        let mut layers = Vec::with_capacity(self.runs.len());
        for (hash, run) in self.runs.iter() {
            let Some(layer) = self.shard(hash, run, shard).await? else { return Ok(None) };
            layers.push(layer);
        }
        let mut found = Vec::new();
        for (prefix, source, at) in group {
            // Of each key the newest entry counts, which the first layer that has it holds.
            let mut newest: BTreeMap<&[u8], Entry<'_>> = BTreeMap::new();
            for entry in layers.iter().flat_map(|layer| layer.with_prefix(&prefix)) {
                newest.entry(entry.key()).or_insert(entry);
            }
            let live = || newest.values().filter(|entry| entry.facts().live);
            let of_source = live().find(|entry| entry.named().is_some_and(|key| key.source == source));
            if let Some(entry) = of_source.or_else(|| live().next()) {
                found.push((at, Found { body: entry.shared_body(), version: entry.facts().version }));
            }
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
