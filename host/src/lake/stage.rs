//! Bytes on their way into an object that waits to be published: hashed as they pass, in memory up to one part, or less where the
//! open objects of the lake have too much there.
//!
//! Remote: one PUT where everything fits into a part, else a multipart upload. Local: a file, written and hashed on a
//! blocking thread while the caller makes the next bytes.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::budget::Open;
use super::local::LocalLake;
use super::pending::Pending;
use super::upload::{PART, Upload};
use super::{Lake, local};
use crate::Result;

/// What is handed to the disk at once: large enough that the hand-over costs nothing, small enough to stay in the cache.
const LOCAL_WRITE: u64 = 1 << 20;

/// Bytes that are in the lake under their staged name, pinned by their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Bytes.
    pub length: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

impl Staged {
    /// The description of `bytes`.
    pub fn of(bytes: &[u8]) -> Staged {
        Staged { length: bytes.len() as u64, sha256: hex::encode(Sha256::digest(bytes)) }
    }
}

/// An object that is being staged. Nothing may rely on it before [`Staging::finish`] has answered.
///
/// One that is dropped may leave a part of itself under its staged name, or an upload that the store's own rules end.
#[derive(Debug)]
pub struct Staging {
    lake: Lake,
    key: String,
    path: Path,
    length: u64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// `writing`: none after a write has failed.
    Local {
        root: Arc<LocalLake>,
        file: PathBuf,
        buffer: Vec<Bytes>,
        buffered: Open,
        writing: Option<JoinHandle<io::Result<HashedFile>>>,
    },
    Remote {
        hasher: Sha256,
        pending: Box<Pending>,
        upload: Option<Upload>,
    },
}

#[derive(Debug)]
struct HashedFile {
    file: File,
    hasher: Sha256,
}

impl HashedFile {
    fn write(mut self, chunks: Vec<Bytes>) -> io::Result<Self> {
        for chunk in chunks {
            self.hasher.update(&chunk);
            self.file.write_all(&chunk)?;
        }
        local::start_writing_back(&self.file);
        Ok(self)
    }
}

impl Staging {
    pub(super) async fn begin(lake: Lake, key: String, path: Path) -> Result<Staging> {
        let sink = match &lake.local {
            None => Sink::Remote { hasher: Sha256::new(), pending: Box::new(Pending::new(&lake, &key)), upload: None },
            Some(root) => {
                let file = root.file(&path).map_err(|e| lake.io_error("stage", &key, e))?;
                let (root, opened) = (root.clone(), file.clone());
                let opening = root.clone();
                let writing = tokio::task::spawn_blocking(move || {
                    Ok(HashedFile { file: opening.open_staged(&opened)?, hasher: Sha256::new() })
                });
                let buffered = Open::new(lake.budget.clone());
                Sink::Local { root, file, buffer: Vec::new(), buffered, writing: Some(writing) }
            }
        };
        Ok(Staging { lake, key, path, length: 0, sink })
    }

    /// Appends `bytes`; waits while too much is on its way.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.length += bytes.len() as u64;
        let written = match &mut self.sink {
            Sink::Local { buffer, buffered, .. } => {
                buffered.add(bytes.len());
                buffer.push(bytes);
                match buffered.bytes() > LOCAL_WRITE {
                    true => self.flush_local().await,
                    false => Ok(()),
                }
            }
            Sink::Remote { hasher, pending, .. } => {
                hasher.update(&bytes);
                pending.push(bytes);
                self.send_parts().await
            }
        };
        written.map_err(|e| self.lake.error("stage", &self.key, e))
    }

    /// How many bytes it has in memory that are not on their way.
    pub fn in_memory(&self) -> u64 {
        match &self.sink {
            Sink::Local { buffered, .. } => buffered.bytes(),
            Sink::Remote { pending, .. } => pending.in_memory(),
        }
    }

    /// Moves what it has in memory to the lake, though it is less than a part.
    pub async fn put_aside(&mut self) -> Result<()> {
        let moved = match &mut self.sink {
            Sink::Local { .. } => self.flush_local().await,
            Sink::Remote { pending, .. } => pending.put_aside().await,
        };
        moved.map_err(|e| self.lake.error("stage", &self.key, e))
    }

    /// Hands what is buffered to the disk.
    async fn flush_local(&mut self) -> object_store::Result<()> {
        let Sink::Local { buffer, buffered, writing, .. } = &mut self.sink else { return Ok(()) };
        let file = joined(writing).await.map_err(as_store_error)?;
        let chunks = std::mem::take(buffer);
        buffered.remove(chunks.iter().map(Bytes::len).sum());
        *writing = Some(tokio::task::spawn_blocking(move || file.write(chunks)));
        Ok(())
    }

    /// Sends the parts that are complete. An object of one part is put at the end, with one request.
    async fn send_parts(&mut self) -> object_store::Result<()> {
        let Sink::Remote { pending, upload, .. } = &mut self.sink else { return Ok(()) };
        while pending.length() > PART || upload.is_some() && pending.length() == PART {
            let upload = match upload {
                Some(upload) => upload,
                None => upload.insert(Upload::begin(&self.lake, &self.key, &self.path).await?),
            };
            let room = upload.room().await?;
            upload.send(pending.take(PART).await?, room);
            pending.clean().await?;
        }
        Ok(())
    }

    /// Makes the object complete and durable under its staged name.
    pub async fn finish(mut self) -> Result<Staged> {
        match self.complete().await {
            Ok(sha256) => Ok(Staged { length: self.length, sha256 }),
            Err(e) => Err(self.lake.error("stage", &self.key, e)),
        }
    }

    async fn complete(&mut self) -> object_store::Result<String> {
        if self.lake.is_local() {
            self.flush_local().await?;
        }
        match &mut self.sink {
            Sink::Local { root, file, writing, .. } => {
                let HashedFile { file: written, hasher } = joined(writing).await.map_err(as_store_error)?;
                let (file, root) = (file.clone(), root.clone());
                let synced = local::blocking(move || {
                    written.sync_all()?;
                    root.sync_folder_of(&file)
                });
                self.lake.timed_local("stage", synced).await.map_err(as_store_error)?;
                Ok(hex::encode(hasher.finalize()))
            }
            Sink::Remote { hasher, pending, upload } => {
                match upload.take() {
                    Some(mut upload) => {
                        if pending.length() > 0 {
                            let room = upload.room().await?;
                            upload.send(pending.take(PART).await?, room);
                        }
                        upload.finish().await?;
                    }
                    None => {
                        let bytes = PutPayload::from_iter(pending.take(PART).await?);
                        let put = || self.lake.store.put(&self.path, bytes.clone());
                        self.lake.request("stage", &self.key, put).await?;
                    }
                };
                pending.clean().await?;
                Ok(hex::encode(std::mem::take(hasher).finalize()))
            }
        }
    }

    /// Gives up; leaves nothing behind.
    pub async fn abort(self) -> Result<()> {
        let aborted = match self.sink {
            Sink::Local { file, mut writing, .. } => {
                // That a write failed no longer matters.
                let _ = joined(&mut writing).await;
                local::blocking(move || local::remove_if_present(&file)).await.map_err(as_store_error)
            }
            Sink::Remote { upload, mut pending, .. } => {
                let aborted = match upload {
                    Some(upload) => upload.abort().await,
                    None => Ok(()),
                };
                aborted.and(pending.clean().await)
            }
        };
        aborted.map_err(|e| self.lake.error("stop staging", &self.key, e))
    }
}

/// The file, when what was handed to the disk before is written. Once that failed, it is not given out again.
async fn joined(writing: &mut Option<JoinHandle<io::Result<HashedFile>>>) -> io::Result<HashedFile> {
    let Some(writing) = writing.take() else {
        return Err(io::Error::other("an earlier write failed, so that the file is incomplete"));
    };
    match writing.await {
        Ok(result) => result,
        Err(e) => Err(io::Error::other(e)),
    }
}

fn as_store_error(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "local", source: error.into() }
}
