//! What [`Lake::open`] proves before anything is entrusted to a store: that create-if-absent is honoured.
//!
//! The commit log stands on it: two owners of a partition that could both write a slot would both believe themselves the
//! owner. Stores and proxies exist that take the condition and ignore it.

use bytes::Bytes;

use super::clock::StoreClock;
use super::{Created, Lake};
use crate::{Error, Result};

impl Lake {
    /// Creates one object twice, reads and lists it, and deletes it, below `{log folder}/probe/`.
    ///
    /// [`Lake::open`] does this by itself.
    ///
    /// # Errors
    ///
    /// The store does not keep a promise, which is named; or it failed.
    pub async fn probe(&self) -> Result<()> {
        self.probe_clock().await.map(drop)
    }

    /// The same; returns what the store's clock shows.
    pub(super) async fn probe_clock(&self) -> Result<StoreClock> {
        let folder = format!("{}/probe", self.log_folder());
        let nonce = nonce()?;
        let key = format!("{folder}/{nonce}");
        let kept = self.probe_with(&folder, &key, &nonce).await;
        let deleted = self.delete(&key).await;
        let clock = kept?;
        deleted.map(|()| clock)
    }

    async fn probe_with(&self, folder: &str, key: &str, nonce: &str) -> Result<StoreClock> {
        let first = Bytes::from(format!("probe {nonce}\n"));
        // `Exists` may be the retry of a create that had been applied; what counts is what can be read.
        let _ = self.create(key, first.clone()).await?;
        let clock = match self.get(key).await? {
            Some(object) if object.bytes == first => StoreClock::at(object.modified),
            _ => return Err(self.refuse("an object that was created could not be read back")),
        };
        if self.create(key, Bytes::from_static(b"second\n")).await? == Created::Created {
            return Err(self.refuse("it accepted a second create-if-absent of one object"));
        }
        match self.get(key).await? {
            Some(object) if object.bytes == first => {}
            _ => return Err(self.refuse("a create-if-absent that was answered `exists` changed the object")),
        }
        match self.list(folder).await?.iter().any(|meta| meta.key == key) {
            true => Ok(clock),
            false => Err(self.refuse("an object that was created is not listed")),
        }
    }

    /// Whether the container or bucket itself is absent, which only a list tells apart from an absent object.
    pub async fn is_container_missing(&self) -> Result<bool> {
        use futures::TryStreamExt;
        let path = object_store::path::Path::from(self.log_folder()).join("probe");
        let list = || async { self.store.list(Some(&path)).try_next().await };
        match self.request("list", "", list).await {
            Ok(_) => Ok(false),
            Err(e) if super::error::is_not_found(&e) => Ok(true),
            Err(e) => Err(self.error("list", "", e)),
        }
    }

    fn refuse(&self, why: &str) -> Error {
        Error::lake(format!("the store at `{}` cannot hold a lake: {why}", self.url(""))).with_help(
            "exactly-once needs create-if-absent (`If-None-Match: *`): use another store, or a newer version of it",
        )
    }
}

/// A name that nobody else has.
pub(super) fn nonce() -> Result<String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(format!("the system gives no random bytes: {e}")))?;
    Ok(hex::encode(bytes))
}
