//! Uploads of objects that are larger than one request carries: in parts, each of which is sent again where it fails.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload, Result};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::store::PartStore;
use super::{Lake, found};

/// What one request carries, and what is held in memory. Stores ask for at least 5 MiB and at most 10,000 parts, and some for
/// parts of one size.
pub(super) const PART: usize = 8 << 20;

/// Parts of one object on their way at once.
const IN_FLIGHT: usize = 4;

/// An object that is being uploaded in parts. One that is dropped leaves parts behind, which the store's own rules remove.
#[derive(Debug)]
pub(super) struct Upload {
    target: Arc<Target>,
    length: u64,
    begun: usize,
    sending: JoinSet<Result<(usize, PartId)>>,
    sent: Vec<(usize, PartId)>,
}

#[derive(Debug)]
struct Target {
    lake: Lake,
    store: Arc<dyn PartStore>,
    key: String,
    path: Path,
    id: String,
}

impl Upload {
    pub(super) async fn begin(lake: &Lake, key: &str, path: &Path) -> Result<Upload> {
        let no_parts = || Error::Generic { store: "lake", source: "it takes no objects in parts".into() };
        let store = lake.parts.clone().ok_or_else(no_parts)?;
        let id = lake.request("stage", key, || store.create_multipart(path)).await?;
        let target = Target { lake: lake.clone(), store, key: key.to_owned(), path: path.clone(), id };
        Ok(Upload { target: Arc::new(target), length: 0, begun: 0, sending: JoinSet::new(), sent: Vec::new() })
    }

    /// Waits until one more part may be on its way.
    pub(super) async fn room(&mut self) -> Result<OwnedSemaphorePermit> {
        while self.sending.len() >= IN_FLIGHT {
            self.one_sent().await?;
        }
        Ok(self.target.lake.budget.part().await)
    }

    /// Sends the next part: `PART` bytes, or the last ones.
    pub(super) fn send(&mut self, bytes: Vec<Bytes>, permit: OwnedSemaphorePermit) {
        self.length += bytes.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let bytes = PutPayload::from_iter(bytes);
        self.sending.spawn(self.target.clone().put(self.begun, bytes, permit));
        self.begun += 1;
    }

    async fn one_sent(&mut self) -> Result<bool> {
        match self.sending.join_next().await {
            None => Ok(false),
            Some(Ok(sent)) => {
                self.sent.push(sent?);
                Ok(true)
            }
            Some(Err(source)) => Err(Error::JoinError { source }),
        }
    }

    /// Makes the object of all parts.
    pub(super) async fn finish(mut self) -> Result<()> {
        while self.one_sent().await? {}
        self.sent.sort_unstable_by_key(|(number, _)| *number);
        let parts: Vec<_> = self.sent.into_iter().map(|(_, part)| part).collect();
        self.target.complete(parts, self.length).await
    }

    pub(super) async fn abort(mut self) -> Result<()> {
        self.sending.shutdown().await;
        let Target { lake, store, key, path, id } = &*self.target;
        found(lake.request("stop staging", key, || store.abort_multipart(path, id)).await).map(drop)
    }
}

impl Target {
    async fn put(
        self: Arc<Self>,
        number: usize,
        bytes: PutPayload,
        _permit: OwnedSemaphorePermit,
    ) -> Result<(usize, PartId)> {
        let put = || self.store.put_part(&self.path, &self.id, number, bytes.clone());
        Ok((number, self.lake.request("stage", &self.key, put).await?))
    }

    async fn complete(&self, parts: Vec<PartId>, length: u64) -> Result<()> {
        let complete = || async {
            let Err(error) = self.store.complete_multipart(&self.path, &self.id, parts.clone()).await else {
                return Ok(());
            };
            // A request whose answer was lost may have done it: then the upload is gone, and the object, which nobody
            // else writes, is there.
            match self.store.head(&self.path).await {
                Ok(meta) if meta.size == length => Ok(()),
                Ok(_) | Err(Error::NotFound { .. }) => Err(error),
                // Asked once more, where that may help.
                Err(unknown) => Err(unknown),
            }
        };
        self.lake.request("stage", &self.key, complete).await
    }
}
