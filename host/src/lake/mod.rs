//! The lake: a place in an object store, with the few operations that the commit log is built from.
//!
//! Last stage's floor: [`crate::commit`] is the only caller that writes. Everything above speaks of keys, `/`-separated and
//! relative to the lake's root; a key's characters are stored as they are, percent signs included.
//!
//! Invariants:
//!
//! - [`Lake::create`] never replaces an object, on no store: [`Lake::open`] refuses a store that does.
//! - A key given to [`Lake::publish_new`] or [`Lake::publish_over`] only ever holds the bytes of some [`Staged`], complete.
//! - What a call reported as done is durable: in the store, or on the disk (file and folder synced).
//! - A lost race is a value ([`Created`], [`Publish`]); errors are of [`crate::Kind::Lake`] and carry no credential.

mod budget;
mod clock;
mod credentials;
mod direct;
mod error;
mod failure;
pub mod faulty;
mod folders;
mod http;
mod local;
mod metadata;
mod open;
mod pending;
mod probe;
mod provision;
mod publish;
mod retry;
mod stage;
mod store;
mod timing;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Error, Result};
use budget::Budget;
use clock::StoreClock;
use credentials::Renewable;
use direct::AzureDelete;
use local::LocalLake;
pub use retry::{Outage, Retries};
pub use stage::{Staged, Staging};
use store::Flavor;
pub use store::PartStore;

/// A place in an object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    /// The same store, where objects are uploaded in parts.
    parts: Option<Arc<dyn PartStore>>,
    /// The folder, where the lake is one.
    local: Option<Arc<LocalLake>>,
    /// Deletes where the store's own way of it is not good enough.
    azure: Option<Arc<AzureDelete>>,
    /// The credential, where it may be replaced.
    credential: Option<Arc<dyn Renewable>>,
    flavor: Flavor,
    /// What stands before a key in a URL for people: no credential, ends in `/`.
    base: Arc<str>,
    log_folder: Arc<str>,
    writable: bool,
    clock: StoreClock,
    /// Shared by everything that writes to this lake.
    budget: Arc<Budget>,
    /// How long a request that fails for a reason that may pass is made again.
    retry_for: Duration,
    retries: Arc<Retries>,
    /// Turns true when nothing is to be waited for any more.
    stop: Option<watch::Receiver<bool>>,
}

/// What became of a [`Lake::create`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is there, with these bytes, because of this call.
    Created,
    /// The store says that the key is taken. It may be by this very call (a retried request that had been applied), or by
    /// nobody (a store's answer to two requests at once): read the key and compare.
    Exists,
}

/// What became of a publishing call.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// The key holds the staged bytes; by this call or an earlier one.
    Published(Version),
    /// The key holds other bytes, or no longer what was to be replaced; nothing was changed.
    Conflict,
    /// Neither the staged object nor the key is there.
    Missing,
}

/// One state of one object, as its store names it: an ETag, a generation, or a file's identity. Only for [`Lake::publish_over`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The version of an object that is gone, or that nobody will replace.
    pub fn unknown() -> Version {
        Version(String::new())
    }

    /// The store's name for it, as it stands.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bytes: Bytes,
    pub version: Version,
    /// When it was written, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// What a store says about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// From [`Lake::list`] on Google Cloud Storage it is not the one that [`Lake::publish_over`] takes: use [`Lake::head`].
    pub version: Version,
}

impl Lake {
    /// The same lake; requests that fail are made again for `time`.
    pub fn retrying_for(self, time: Duration) -> Lake {
        Lake { retry_for: time, ..self }
    }

    /// The same lake for notes that nothing depends on: what fails is not tried again, nor counted.
    pub fn for_notes(&self) -> Lake {
        Lake { retry_for: Duration::ZERO, retries: Arc::default(), ..self.clone() }
    }

    /// The same lake for a run: its retries are counted and shown in `retries`, and it waits for nothing once `stop` is true.
    pub fn for_run(self, retries: Arc<Retries>, stop: watch::Receiver<bool>) -> Lake {
        Lake { retries, stop: Some(stop), ..self }
    }

    /// The object's address, for people: without credentials, and not meant to be parsed.
    pub fn url(&self, key: &str) -> String {
        format!("{}{key}", self.base)
    }

    /// The folder of the commit log, below the lake's root.
    pub fn log_folder(&self) -> &str {
        &self.log_folder
    }

    /// The time by the store's clock, as far as [`Lake::open`] could tell; by this machine's otherwise.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The time by the store's clock; `None` where that is this machine's, or is not known.
    pub fn store_time(&self) -> Option<DateTime<Utc>> {
        let time = (!self.is_local()).then(|| self.clock.time()).flatten()?;
        time.checked_add_signed(chrono::TimeDelta::seconds(crate::clock::ahead()))
    }

    /// Asks for the store's clock once more: a machine that slept does not know it.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`].
    pub async fn read_clock(&mut self) -> Result<()> {
        self.clock = self.probe_clock().await?;
        Ok(())
    }

    /// Whether the lake is a folder of this machine's file system.
    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Writes a new object, or changes nothing where the key is taken. See [`Created::Exists`] for what that may mean.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Created> {
        self.check_writable("create", key)?;
        if let Some(local) = &self.local {
            let created = self.timed_local("create", local.create(self.path("create", key)?, bytes));
            return created.await.map_err(|e| self.io_error("create", key, e));
        }
        let path = self.path("create", key)?;
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        let put = || self.store.put_opts(&path, bytes.clone().into(), options.clone());
        match self.request("create", key, put).await {
            Ok(_) => Ok(Created::Created),
            // Stores answer 409 or 412; which of the two depends on the store and on the moment.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(e) => Err(self.error("create", key, e)),
        }
    }

    /// Writes an object in the place of whatever is there: for notes that nothing depends on.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.check_writable("write", key)?;
        let path = self.path("write", key)?;
        if let Some(local) = &self.local {
            let replaced = self.timed_local("write", local.replace(path, bytes));
            return replaced.await.map_err(|e| self.io_error("write", key, e));
        }
        let put = || self.store.put_opts(&path, bytes.clone().into(), PutOptions::default());
        self.request("write", key, put).await.map(drop).map_err(|e| self.error("write", key, e))
    }

    /// Reads a whole object; `None` where there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Object>> {
        let path = self.path("read", key)?;
        let read = || async {
            let result = self.store.get(&path).await?;
            let (version, modified) = (self.version_of(&result.meta), result.meta.last_modified);
            Ok(Object { bytes: result.bytes().await?, version, modified })
        };
        found(self.request("read", key, read).await).map_err(|e| self.error("read", key, e))
    }

    /// Reads the bytes `range` of an object; `None` where there is no such object.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`], also where the object ends before the range does.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        if range.is_empty() {
            return Ok(self.head(key).await?.map(|_| Bytes::new()));
        }
        let path = self.path("read", key)?;
        let read = || self.store.get_range(&path, range.clone());
        let Some(bytes) = found(self.request("read", key, read).await).map_err(|e| self.error("read", key, e))? else {
            return Ok(None);
        };
        let (asked, found) = (range.end - range.start, bytes.len() as u64);
        if found != asked {
            let url = self.url(key);
            let message = format!("cannot read `{url}`: asked for {asked} bytes at {}, found {found}", range.start);
            return Err(Error::lake(message).with_help("the object was cut short: restore it from a backup"));
        }
        Ok(Some(bytes))
    }

    /// Reads the bytes `range` of the version of an object that `meta` speaks of; `None` where that is not there any more.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`].
    pub async fn get_range_of(&self, meta: &Meta, range: Range<u64>) -> Result<Option<Bytes>> {
        let key = &meta.key;
        let path = self.path("read", key)?;
        let version = meta.version.as_str().to_owned();
        let options = match self.flavor {
            Flavor::Gcs => GetOptions { version: Some(version), ..GetOptions::default() },
            _ => GetOptions { if_match: Some(version), ..GetOptions::default() },
        };
        let options = GetOptions { range: Some(range.into()), ..options };
        let read = || async { self.store.get_opts(&path, options.clone()).await?.bytes().await };
        match self.request("read", key, read).await {
            Err(object_store::Error::Precondition { .. }) => Ok(None),
            read => found(read).map_err(|e| self.error("read", key, e)),
        }
    }

    /// Size and version of an object; `None` where there is none.
    pub async fn head(&self, key: &str) -> Result<Option<Meta>> {
        let path = self.path("look at", key)?;
        let meta = self.request("look at", key, || self.store.head(&path)).await;
        Ok(found(meta).map_err(|e| self.error("look at", key, e))?.map(|meta| self.meta(meta)))
    }

    /// Every object below the folder `prefix` (`""`: the whole lake), sorted by key.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Meta>> {
        let path = self.path("list", prefix)?;
        let list = || self.store.list(Some(&path)).map_ok(|meta| self.meta(meta)).try_collect::<Vec<_>>();
        match self.request("list", prefix, list).await {
            Ok(mut metas) => {
                metas.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                Ok(metas)
            }
            // A writer made the container when it opened the lake: that it is gone now must not read as an empty log.
            Err(e) if !self.writable && error::is_not_found(&e) => Ok(Vec::new()),
            Err(e) => Err(self.error("list", prefix, e)),
        }
    }

    /// The names of the folders directly below the folder `prefix`, sorted.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let path = self.path("list", prefix)?;
        let listed = self.request("list", prefix, || self.store.list_with_delimiter(Some(&path))).await;
        match listed {
            Ok(listed) => {
                let names = listed.common_prefixes.iter().filter_map(|folder| folder.filename().map(str::to_owned));
                let mut names: Vec<_> = names.collect();
                names.sort_unstable();
                Ok(names)
            }
            Err(e) if error::is_not_found(&e) => Ok(Vec::new()),
            Err(e) => Err(self.error("list", prefix, e)),
        }
    }

    /// Deletes an object; that it is absent is fine.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.check_writable("delete", key)?;
        let path = self.path("delete", key)?;
        let delete = || async {
            match &self.azure {
                Some(azure) => azure.delete(&path).await,
                None => self.store.delete(&path).await,
            }
        };
        let deleted = found(self.request("delete", key, delete).await);
        deleted.map(drop).map_err(|e| self.error("delete", key, e))
    }

    /// Begins an object of unknown length that waits to be published. `key` must be this attempt's own: what stood there
    /// before, if anything, is replaced.
    pub async fn stage(&self, key: &str) -> Result<Staging> {
        self.check_writable("stage", key)?;
        let path = self.path("stage", key)?;
        Staging::begin(self.clone(), key.to_owned(), path).await
    }

    /// Puts the staged bytes at `key`, where nothing is yet. Idempotent: answers [`Publish::Published`] whenever `key` holds
    /// exactly `staged`, even when the staged object is long gone.
    ///
    /// For keys that only one commit ever writes. S3 has no copy-if-absent, so a request that stalls there may land later,
    /// writing these same bytes again; a file that grows goes through [`Lake::publish_over`] from its first version on.
    pub async fn publish_new(&self, staged_key: &str, staged: &Staged, key: &str) -> Result<Publish> {
        self.check_writable("publish", key)?;
        match &self.local {
            Some(local) => self.timed_local("publish", self.publish_new_local(local, staged_key, staged, key)).await,
            None => self.publish_new_remote(staged_key, staged, key).await,
        }
    }

    /// Replaces the version `expected` of `key` (`None`: absent) with the staged bytes, atomically.
    ///
    /// Idempotent as [`Lake::publish_new`]. On a local lake the comparison with `expected` and the rename are two steps, so
    /// writers of one key must exclude each other; a staged file can be renamed only once, whoever wakes late.
    pub async fn publish_over(
        &self,
        staged_key: &str,
        staged: &Staged,
        key: &str,
        expected: Option<&Version>,
    ) -> Result<Publish> {
        self.check_writable("publish", key)?;
        match (&self.local, expected) {
            (Some(local), None) => {
                self.timed_local("publish", self.publish_new_local(local, staged_key, staged, key)).await
            }
            (Some(local), Some(expected)) => {
                let published = self.publish_over_local(local, staged_key, staged, key, expected);
                self.timed_local("publish", published).await
            }
            (None, _) => self.publish_over_remote(staged_key, staged, key, expected).await,
        }
    }

    /// Removes what killed processes left of unfinished local creates.
    async fn sweep(&self) -> Result<()> {
        match &self.local {
            Some(local) => local.sweep().await.map_err(|e| self.io_error("clean", &self.log_folder, e)),
            None => Ok(()),
        }
    }

    fn path(&self, operation: &str, key: &str) -> Result<Path> {
        // `Path::from` would encode percent signs again; `parse` takes the key as it is.
        Path::parse(key).map_err(|e| Error::lake(format!("cannot {operation} `{}`: {e}", self.url(key))))
    }

    fn check_writable(&self, operation: &str, key: &str) -> Result<()> {
        match self.writable {
            true => Ok(()),
            false => {
                let url = self.url(key);
                Err(Error::internal(format!("tried to {operation} `{url}` in a lake that was opened for reading")))
            }
        }
    }

    fn meta(&self, meta: ObjectMeta) -> Meta {
        Meta { version: self.version_of(&meta), size: meta.size, key: meta.location.into() }
    }

    fn version_of(&self, meta: &ObjectMeta) -> Version {
        self.version(meta.e_tag.as_deref(), meta.version.as_deref())
    }

    /// Google Cloud Storage compares generations, everything else ETags.
    fn version(&self, e_tag: Option<&str>, generation: Option<&str>) -> Version {
        let name = match self.flavor {
            Flavor::Gcs => generation.or(e_tag),
            _ => e_tag,
        };
        Version(name.unwrap_or_default().to_owned())
    }
}

/// What was asked for; `None` where it is not there.
fn found<T>(answer: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}
