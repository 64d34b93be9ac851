//! Giving staged bytes their final key: idempotent, never half, never over what was not meant.
//!
//! Everything here may be run again by a recovery, at the same time by a stale owner, and after a request whose outcome
//! nobody knows. So no store's refusal is believed: the key is read, and its bytes compared with the staged ones by length
//! and hash. Only then is an outcome [`Publish::Published`] or [`Publish::Conflict`].
//!
//! A refusal that turns out to be unfounded (S3 answers 409 to two requests at once and writes neither) is tried again.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{
    CopyMode, CopyOptions, Error as StoreError, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UpdateVersion,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::local::{self, LocalLake, Named};
use super::store::Flavor;
use super::{Lake, Publish, Staged, Version, found};
use crate::{Error, Result};

/// How often an unfounded refusal is tried again.
const TRIES: usize = 8;

/// How long a copy that was accepted may take at least.
const SETTLING: Duration = Duration::from_secs(15);

/// What a key holds, compared with staged bytes.
enum Holds {
    Same(Version),
    Other(Version),
    Nothing,
}

impl Lake {
    pub(super) async fn publish_new_remote(&self, staged_key: &str, staged: &Staged, key: &str) -> Result<Publish> {
        let (from, to) = (self.path("publish", staged_key)?, self.path("publish", key)?);
        // S3 cannot copy if absent; there the read before it and the pinned bytes have to do.
        let mode = if self.flavor == Flavor::S3 { CopyMode::Overwrite } else { CopyMode::Create };
        for tried in 0..TRIES {
            pause(tried).await;
            match self.holds(key, staged).await? {
                Holds::Same(version) => return Ok(Publish::Published(version)),
                Holds::Other(_) => return Ok(Publish::Conflict),
                Holds::Nothing => {}
            }
            let copy = || self.store.copy_opts(&from, &to, CopyOptions::new().with_mode(mode));
            match self.request("publish", key, copy).await {
                Ok(()) => return self.settled(staged, key).await,
                // Published and cleaned by another, or never staged.
                Err(StoreError::NotFound { .. }) => return self.without_staged(staged, key).await,
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
                Err(e) => return Err(self.error("publish", key, e)),
            }
        }
        Err(self.undecided(key))
    }

    pub(super) async fn publish_over_remote(
        &self,
        staged_key: &str,
        staged: &Staged,
        key: &str,
        expected: Option<&Version>,
    ) -> Result<Publish> {
        let path = self.path("publish", key)?;
        let Some(object) = self.get(staged_key).await? else {
            return self.without_staged(staged, key).await;
        };
        if Staged::of(&object.bytes) != *staged {
            return Err(self.not_what_was_staged(staged_key));
        }
        for tried in 0..TRIES {
            pause(tried).await;
            let options = PutOptions { mode: self.mode(expected), ..Default::default() };
            let put = || self.store.put_opts(&path, object.bytes.clone().into(), options.clone());
            match self.request("publish", key, put).await {
                Ok(put) => return Ok(Publish::Published(self.version(put.e_tag.as_deref(), put.version.as_deref()))),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
                Err(e) => return Err(self.error("publish", key, e)),
            }
            match (self.holds(key, staged).await?, expected) {
                (Holds::Same(version), _) => return Ok(Publish::Published(version)),
                (Holds::Nothing, None) => {}
                (Holds::Other(version), Some(expected)) if version == *expected => {}
                _ => return Ok(Publish::Conflict),
            }
        }
        Err(self.undecided(key))
    }

    pub(super) async fn publish_new_local(
        &self,
        local: &Arc<LocalLake>,
        staged_key: &str,
        staged: &Staged,
        key: &str,
    ) -> Result<Publish> {
        let Some(version) = self.staged_version(staged_key, staged).await? else {
            return self.without_staged(staged, key).await;
        };
        let (from, to) = self.files(local, staged_key, key)?;
        let lake = local.clone();
        let renamed = local::blocking(move || lake.rename_new(&from, &to)).await;
        match renamed.map_err(|e| self.io_error("publish", key, e))? {
            Named::Done => Ok(Publish::Published(version)),
            Named::Exists | Named::Gone => {
                let publish = self.without_staged(staged, key).await?;
                if matches!(publish, Publish::Published(_)) {
                    self.delete(staged_key).await?;
                }
                Ok(publish)
            }
        }
    }

    /// Keeps what `key` holds under the free key `to` as well; in a local lake it is moved there.
    pub async fn set_aside(&self, key: &str, to: &str) -> Result<Publish> {
        self.check_writable("move", key)?;
        let Some(local) = self.local.clone() else {
            return match self.digest(key).await? {
                Some(theirs) => self.publish_new_remote(key, &theirs, to).await,
                None => Ok(Publish::Missing),
            };
        };
        let (from, to) = self.files(&local, key, to)?;
        let moved = local::blocking(move || local.move_aside(&from, &to)).await;
        Ok(match moved.map_err(|e| self.io_error("move", key, e))? {
            Named::Done => Publish::Published(Version::unknown()),
            Named::Exists => Publish::Conflict,
            Named::Gone => Publish::Missing,
        })
    }

    pub(super) async fn publish_over_local(
        &self,
        local: &Arc<LocalLake>,
        staged_key: &str,
        staged: &Staged,
        key: &str,
        expected: &Version,
    ) -> Result<Publish> {
        let Some(version) = self.staged_version(staged_key, staged).await? else {
            return self.without_staged(staged, key).await;
        };
        let (from, to) = self.files(local, staged_key, key)?;
        let looked_at = to.clone();
        let before = local::blocking(move || local::identity(&looked_at)).await;
        let before = before.map_err(|e| self.io_error("look at", key, e))?;
        if before.is_none() || self.head(key).await?.is_none_or(|meta| meta.version != *expected) {
            let publish = match self.holds(key, staged).await? {
                Holds::Same(version) => Publish::Published(version),
                Holds::Other(_) | Holds::Nothing => return Ok(Publish::Conflict),
            };
            self.delete(staged_key).await?;
            return Ok(publish);
        }
        let lake = local.clone();
        // People may move or edit the file at any time: the last look is right before the rename.
        let renamed = local::blocking(move || match local::identity(&to)? == before {
            true => lake.rename_over(&from, &to).map(Some),
            false => Ok(None),
        });
        match renamed.await.map_err(|e| self.io_error("publish", key, e))? {
            Some(true) => Ok(Publish::Published(version)),
            Some(false) => self.without_staged(staged, key).await,
            None => Ok(Publish::Conflict),
        }
    }

    /// The outcome where the staged object is gone, or does not matter any more.
    async fn without_staged(&self, staged: &Staged, key: &str) -> Result<Publish> {
        Ok(match self.holds(key, staged).await? {
            Holds::Same(version) => Publish::Published(version),
            Holds::Other(_) => Publish::Conflict,
            Holds::Nothing => Publish::Missing,
        })
    }

    /// The outcome of a copy that was accepted. Azure may still be at it, though within one account it hardly ever is.
    async fn settled(&self, staged: &Staged, key: &str) -> Result<Publish> {
        let began = Instant::now();
        for tried in 1.. {
            match self.head(key).await? {
                // Somebody has taken it away by now.
                None => return Ok(Publish::Published(Version::unknown())),
                // The others copy before they answer: what has another length was changed since.
                Some(meta) if meta.size == staged.length || self.flavor != Flavor::Azure => {
                    return Ok(Publish::Published(meta.version));
                }
                Some(_) if began.elapsed() > self.retry_for.max(SETTLING) => break,
                Some(_) => pause(tried.min(TRIES)).await,
            }
        }
        Err(self.undecided(key))
    }

    /// Reads `key` and compares; of a wrong length nothing is read.
    async fn holds(&self, key: &str, staged: &Staged) -> Result<Holds> {
        let path = self.path("read", key)?;
        let read = || async {
            let result = self.store.get(&path).await?;
            let version = self.version_of(&result.meta);
            let is_same = result.meta.size == staged.length && hash(result).await? == *staged;
            Ok(if is_same { Holds::Same(version) } else { Holds::Other(version) })
        };
        let holds = found(self.request("read", key, read).await).map_err(|e| self.error("read", key, e))?;
        Ok(holds.unwrap_or(Holds::Nothing))
    }

    /// What an object would be if it were staged; `None` where there is none. It is read and not held.
    pub async fn digest(&self, key: &str) -> Result<Option<Staged>> {
        let path = self.path("read", key)?;
        let read = || async { hash(self.store.get(&path).await?).await };
        found(self.request("read", key, read).await).map_err(|e| self.error("read", key, e))
    }

    /// The version that a staged file keeps when it is moved; `None` where it is gone.
    async fn staged_version(&self, staged_key: &str, staged: &Staged) -> Result<Option<Version>> {
        match self.head(staged_key).await? {
            None => Ok(None),
            Some(meta) if meta.size == staged.length => Ok(Some(meta.version)),
            Some(_) => Err(self.not_what_was_staged(staged_key)),
        }
    }

    fn files(&self, local: &LocalLake, from: &str, to: &str) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
        let file = |key: &str| local.file(&self.path("publish", key)?).map_err(|e| self.io_error("publish", key, e));
        Ok((file(from)?, file(to)?))
    }

    fn mode(&self, expected: Option<&Version>) -> PutMode {
        match expected {
            None => PutMode::Create,
            Some(Version(name)) => PutMode::Update(match self.flavor {
                Flavor::Gcs => UpdateVersion { e_tag: None, version: Some(name.clone()) },
                _ => UpdateVersion { e_tag: Some(name.clone()), version: None },
            }),
        }
    }

    fn not_what_was_staged(&self, staged_key: &str) -> Error {
        let url = self.url(staged_key);
        Error::lake(format!("the staged object `{url}` no longer holds the bytes that were staged"))
            .with_help("something else writes into the log folder: find it and stop it, then run again")
    }

    fn undecided(&self, key: &str) -> Error {
        let url = self.url(key);
        Error::lake(format!("cannot publish `{url}`: the store keeps refusing although nothing stands in the way"))
            .with_help("run again later; if it stays so, look at the store's own log")
    }
}

/// Waits before a further try.
async fn pause(tried: usize) {
    if tried > 0 {
        tokio::time::sleep(Duration::from_millis(25 << tried)).await;
    }
}

async fn hash(result: GetResult) -> object_store::Result<Staged> {
    let mut hasher = Sha256::new();
    let mut length = 0;
    let mut chunks = result.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        hasher.update(&chunk);
        length += chunk.len() as u64;
    }
    Ok(Staged { length, sha256: hex::encode(hasher.finalize()) })
}
