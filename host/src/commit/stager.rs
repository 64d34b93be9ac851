//! Stages the bytes of one span while it is encoded, on a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use super::entry::{Content, Object, Publication};
use super::files::{File, Published, edited};
use super::ledger::{Closing, Fate, FatePublication, Seal, staged_key};
use crate::error::Result;
use crate::fail;
use crate::lake::{Lake, Staging, Version};
use crate::plugin::FileId;

/// Dead letters up to this size stand in the commit itself. Files never do: a file that someone moved away after it was
/// published must not come back when the commit is published again.
const INLINE: u64 = 64 << 10;
/// Objects that are finished at the same time.
const AT_ONCE: usize = 8;
/// Encoded bytes that wait in memory before they are staged.
const WAITING: usize = 16 << 20;

/// Bytes for one file, in order.
pub type Piece = (Arc<File>, Bytes);

/// The staging end of one span.
pub struct Stager {
    lake: Lake,
    folder: String,
    /// How many commits are published: a file that grows is read only when the span before is.
    published: watch::Receiver<Published>,
    /// The commit that this span will be, counted as `published` counts.
    number: u64,
    open: BTreeMap<FileId, OpenFile>,
    waiting: usize,
}

struct OpenFile {
    file: Arc<File>,
    pieces: Vec<Bytes>,
    staging: Option<Staging>,
    /// The version that is extended, once it was read.
    extends: Option<Version>,
}

/// What a span staged.
#[derive(Debug, Default)]
pub struct Objects {
    pub objects: Vec<Object>,
    /// Staged objects that are superfluous once the commit is published.
    pub obsolete: Vec<String>,
}

impl Stager {
    /// A stager for the span that becomes commit `number`, staging below `folder`.
    pub fn new(lake: Lake, folder: String, published: watch::Receiver<Published>, number: u64) -> Self {
        Stager { lake, folder, published, number, open: BTreeMap::new(), waiting: 0 }
    }

    /// Takes pieces until their sender is gone.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn take_all(mut self, mut pieces: mpsc::Receiver<Vec<Piece>>) -> Result<Self> {
        while let Some(batch) = pieces.recv().await {
            for (file, bytes) in batch {
                self.take(file, bytes);
            }
            if self.waiting > WAITING {
                self.relieve().await?;
            }
        }
        Ok(self)
    }

    fn take(&mut self, file: Arc<File>, bytes: Bytes) {
        self.waiting += bytes.len();
        let open = self.open.entry(file.id).or_insert_with(|| OpenFile {
            file,
            pieces: Vec::new(),
            staging: None,
            extends: None,
        });
        open.pieces.push(bytes);
    }

    /// Moves what waits in memory to the lake.
    async fn relieve(&mut self) -> Result<()> {
        self.wait_for_the_commit_before().await;
        for open in self.open.values_mut() {
            open.stage(&self.lake, &self.folder).await?;
        }
        self.waiting = 0;
        Ok(())
    }

    async fn wait_for_the_commit_before(&mut self) {
        let before = self.number - 1;
        // A sender that is gone belongs to a run that failed; its error is reported where it happened.
        let _ = self.published.wait_for(|published| published.number >= before).await;
    }

    /// Stages everything, as `closing` says. `letters` are the span's dead letters and their key.
    ///
    /// # Errors
    /// Of kind `Lake`, also where a file to extend was edited.
    pub async fn finish(mut self, closing: Closing, letters: Option<(String, Vec<u8>, u64)>) -> Result<Objects> {
        self.wait_for_the_commit_before().await;
        let mut done = Objects::default();
        let mut staging = Vec::new();
        for (id, mut open) in std::mem::take(&mut self.open) {
            let Some(fate) = closing.files.get(&id) else {
                if let Some(staging) = open.staging.take() {
                    staging.abort().await?;
                }
                continue;
            };
            staging.push(open.finish(&self.lake, &self.folder, fate));
        }
        fail::point("stage");
        // A few at a time: their fsyncs or requests overlap, and neither descriptors nor memory run out.
        let objects: Vec<Object> = stream::iter(staging).buffered(AT_ONCE).try_collect().await?;
        done.objects.extend(objects);
        fail::point("staged");
        for (number, seal) in closing.seals.into_iter().enumerate() {
            // A name of this attempt's own: sweeps of older epochs must not meet it.
            let staged = format!("{}/sealed-{number}", self.folder);
            put_together(&self.lake, staged, &mut done, seal).await?;
        }
        if let Some((key, bytes, count)) = letters {
            let object = if bytes.len() as u64 <= INLINE {
                inline(key, bytes, count)
            } else {
                let staged = format!("{}/dead-letters", self.folder);
                let mut staging = self.lake.stage(&staged).await?;
                staging.write(bytes.into()).await?;
                let whole = staging.finish().await?;
                Object {
                    key,
                    content: Content::Staged(staged),
                    length: whole.length,
                    sha256: whole.sha256,
                    rows: count,
                    publication: Publication::New,
                }
            };
            done.objects.push(object);
        }
        Ok(done)
    }
}

impl OpenFile {
    /// Moves waiting pieces to the staged object, which begins with the file that is extended.
    async fn stage(&mut self, lake: &Lake, folder: &str) -> Result<()> {
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => {
                let mut staging = lake.stage(&staged_key(folder, self.file.id)).await?;
                if let Some(tail) = &self.file.tail {
                    let object = lake.get(&self.file.key).await?;
                    let found = object.as_ref().map_or(0, |object| object.bytes.len() as u64);
                    let Some(object) = object.filter(|_| found == tail.length) else {
                        return Err(edited(&lake.url(&self.file.key), tail.length, found));
                    };
                    self.extends = Some(object.version);
                    staging.write(object.bytes).await?;
                }
                none.insert(staging)
            }
        };
        for piece in self.pieces.drain(..) {
            staging.write(piece).await?;
        }
        Ok(())
    }

    async fn finish(mut self, lake: &Lake, folder: &str, fate: &Fate) -> Result<Object> {
        self.stage(lake, folder).await?;
        let whole = self.staging.take().expect("staged above").finish().await?;
        let staged = staged_key(folder, self.file.id);
        let (key, publication) = match &fate.publication {
            FatePublication::New(key) => (key.clone(), Publication::New),
            FatePublication::Over => (self.file.key.clone(), Publication::Over(self.extends)),
            FatePublication::Segment => (staged.clone(), Publication::Segment),
        };
        Ok(Object {
            key,
            content: Content::Staged(staged),
            length: whole.length,
            sha256: whole.sha256,
            rows: fate.rows,
            publication,
        })
    }
}

/// Puts a sealed file together from its segments.
async fn put_together(lake: &Lake, staged: String, done: &mut Objects, seal: Seal) -> Result<()> {
    let mut staging = lake.stage(&staged).await?;
    for segment in &seal.segments {
        let bytes = lake.get(&segment.staged).await?.map(|object| object.bytes).unwrap_or_default();
        if bytes.len() as u64 != segment.length {
            return Err(edited(&lake.url(&segment.staged), segment.length, bytes.len() as u64));
        }
        staging.write(bytes).await?;
    }
    fail::point("seal");
    let whole = staging.finish().await?;
    // Segments of this span have become part of the whole: the commit need not speak of them.
    done.objects.retain(|object| !seal.segments.iter().any(|segment| segment.staged == object.key));
    done.objects.push(Object {
        key: seal.key,
        content: Content::Staged(staged),
        length: whole.length,
        sha256: whole.sha256,
        rows: seal.segments.iter().map(|segment| segment.rows).sum(),
        publication: Publication::New,
    });
    done.obsolete.extend(seal.segments.into_iter().map(|segment| segment.staged));
    Ok(())
}

fn inline(key: String, bytes: Vec<u8>, rows: u64) -> Object {
    Object {
        key,
        length: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(&bytes)),
        rows,
        content: Content::Inline(bytes.into()),
        publication: Publication::New,
    }
}
