//! Stages the bytes of one span while it is encoded, on a task of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::entry::{Base, Content, Object, Publication, Series, Tail};
use super::files::{File, Published, parts_in_lake};
use super::ledger::{Closing, Ending, Fate, FatePublication, Ledger, Seal, staged_key};
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::{Lake, Staged, Staging};
use crate::layout::part_key;
use crate::plan::Files;
use crate::plugin::FileId;
use crate::wait::until;

/// Dead letters up to this size stand in the commit itself. Files never do: a file that someone moved away after it was
/// published must not come back when the commit is published again.
const INLINE: u64 = 64 << 10;
/// Objects that are finished, and series that are looked up, at the same time.
const AT_ONCE: usize = 8;
/// Encoded bytes that wait in memory before they are staged.
const WAITING: usize = 16 << 20;
/// Files that are staged while the span is encoded. In a folder, each is an open descriptor; in a store, up to one part of an
/// upload in memory. The others wait in memory until the span ends, which it does after some bytes.
const STAGED_LOCAL: usize = 256;
const STAGED_REMOTE: usize = 32;
/// How long it may take to remove the unfinished files of a span that is given up.
const GIVING_UP: Duration = Duration::from_secs(5);

/// Bytes for one file, in order.
#[derive(Debug)]
pub enum Piece {
    /// What the file begins with, where it begins an object.
    Header(Arc<File>, Bytes),
    Rows(Arc<File>, Bytes),
}

/// How a span is staged.
#[derive(Debug, Clone)]
pub struct Terms {
    pub mode: Files,
    /// [`Series::format`] of what the span writes.
    pub format: Arc<str>,
    /// A folder of this attempt's own.
    pub folder: String,
}

/// The staging end of one span.
pub struct Stager {
    lake: Lake,
    terms: Terms,
    /// What is published: a file that grows is read, and continued, only when the span before is.
    published: watch::Receiver<Published>,
    /// The commit that this span will be, counted as `published` counts.
    number: u64,
    open: BTreeMap<FileId, OpenFile>,
    /// Bytes that wait in memory, and how many may before some are staged.
    waiting: usize,
    relieved_at: usize,
}

struct OpenFile {
    file: Arc<File>,
    header: Bytes,
    pieces: Vec<Bytes>,
    staging: Option<Staging>,
    /// What is extended, once it was read.
    extends: Option<(Tail, Base)>,
}

/// A file that is staged.
struct Done {
    id: FileId,
    whole: Staged,
    extends: Option<(Tail, Base)>,
}

/// What a span staged.
#[derive(Debug, Default)]
pub struct Objects {
    pub objects: Vec<Object>,
    /// Staged objects that are superfluous once the commit is published.
    pub obsolete: Vec<String>,
    /// The state of the files after the span.
    pub series: BTreeMap<String, Series>,
    /// Rows and bytes that were encoded, and files that readers will see appear or grow.
    pub rows: u64,
    pub bytes: u64,
    pub visible: u64,
}

impl Stager {
    /// A stager for the span that becomes commit `number`.
    pub fn new(lake: Lake, terms: Terms, published: watch::Receiver<Published>, number: u64) -> Self {
        Stager { lake, terms, published, number, open: BTreeMap::new(), waiting: 0, relieved_at: WAITING }
    }

    /// Takes pieces until their sender is gone.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn take_all(mut self, mut pieces: mpsc::Receiver<Vec<Piece>>) -> Result<Self> {
        while let Some(batch) = pieces.recv().await {
            batch.into_iter().for_each(|piece| self.take(piece));
            if self.waiting > self.relieved_at {
                self.relieve().await?;
            }
        }
        Ok(self)
    }

    /// Gives up; leaves nothing of what was not finished.
    async fn abort(self) -> Result<()> {
        let staged = self.open.into_values().filter_map(|open| open.staging);
        let aborted: Vec<_> = staged.map(Staging::abort).collect();
        stream::iter(aborted).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn take(&mut self, piece: Piece) {
        let (Piece::Header(file, _) | Piece::Rows(file, _)) = &piece;
        let open = self.open.entry(file.id).or_insert_with(|| OpenFile {
            file: file.clone(),
            header: Bytes::new(),
            pieces: Vec::new(),
            staging: None,
            extends: None,
        });
        match piece {
            Piece::Header(_, bytes) => {
                self.waiting += bytes.len();
                open.header = bytes;
            }
            Piece::Rows(_, bytes) => {
                self.waiting += bytes.len();
                open.pieces.push(bytes);
            }
        }
    }

    /// Moves to the lake what waits in memory: of the files that are staged already, and of the largest others.
    async fn relieve(&mut self) -> Result<()> {
        let series = self.series_before().await;
        let most = if self.lake.is_local() { STAGED_LOCAL } else { STAGED_REMOTE };
        let mut files: Vec<_> = self.open.iter().collect();
        files.sort_by_key(|(_, open)| (open.staging.is_none(), Reverse(open.waiting())));
        let files: Vec<FileId> = files.into_iter().take(most).map(|(id, _)| *id).collect();
        for id in files {
            let open = self.open.get_mut(&id).expect("none is taken out");
            open.stage(&self.lake, &self.terms, &series).await?;
            if let Some(excess) = self.lake.excess() {
                self.put_aside(excess).await?;
            }
        }
        self.waiting = self.open.values().map(OpenFile::waiting).sum();
        self.relieved_at = self.waiting + WAITING;
        Ok(())
    }

    /// Moves `bytes` to the lake of what is staged and still in memory since it is less than a part: the largest first, of as many files
    /// as it takes.
    async fn put_aside(&mut self, bytes: u64) -> Result<()> {
        let staged = self.open.values_mut().filter_map(|open| open.staging.as_mut());
        let mut staged: Vec<_> = staged.filter(|staging| staging.in_memory() > 0).collect();
        staged.sort_unstable_by_key(|staging| Reverse(staging.in_memory()));
        let mut moved = 0;
        let largest = staged.into_iter().take_while(|staging| {
            let is_wanted = moved < bytes;
            moved += staging.in_memory();
            is_wanted
        });
        let largest: Vec<_> = largest.map(Staging::put_aside).collect();
        stream::iter(largest).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// The state of the files after the commit before, once that is published.
    async fn series_before(&mut self) -> Arc<BTreeMap<String, Series>> {
        let before = self.number - 1;
        // A sender that is gone belongs to a run that failed; its error is reported where it happened.
        let _ = until(&mut self.published, |published| published.number >= before).await;
        self.published.borrow().series.clone()
    }

    /// Stages everything that `ledger` has rows of. `letters` are objects of dead letters: their keys, their lines, and how many there are.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn finish(
        mut self,
        ledger: Ledger,
        (write_time, due): (i64, i64),
        letters: Vec<(String, Vec<u8>, u64)>,
    ) -> Result<Objects> {
        let before = self.series_before().await;
        let mut staging = Vec::new();
        for (id, mut open) in std::mem::take(&mut self.open) {
            if ledger.rows(id) > 0 {
                staging.push(open.finish(&self.lake, &self.terms, &before));
            } else if let Some(staging) = open.staging.take() {
                staging.abort().await?;
            }
        }
        fail::point("stage");
        // A few at a time: their fsyncs or requests overlap, and neither descriptors nor memory run out.
        let staged: Vec<Done> = stream::iter(staging).buffered(AT_ONCE).try_collect().await?;
        fail::point("staged");
        let Terms { mode, format, folder } = &self.terms;
        let mut series = BTreeMap::clone(&before);
        look_up(&self.lake, ledger.unknown(&before, *mode).collect(), &mut series).await?;
        let extended: HashMap<_, _> =
            staged.iter().filter_map(|done| Some((done.id, done.extends.as_ref()?.0.clone()))).collect();
        let ending = Ending { mode: *mode, format, stage_folder: folder, write_time, due };
        let Closing { mut files, seals, rows, bytes, visible } = ledger.close(&mut series, &extended, ending);
        let mut objects = Objects { series, rows, bytes, visible, ..Objects::default() };
        for done in staged {
            let fate = files.remove(&done.id).expect("a file with rows has a fate");
            objects.objects.push(done.object(folder, fate));
        }
        for (number, seal) in seals.into_iter().enumerate() {
            // A name of this attempt's own: sweeps of older epochs must not meet it.
            put_together(&self.lake, format!("{folder}/sealed-{number}"), &mut objects, seal).await?;
        }
        for (number, letters) in letters.into_iter().enumerate() {
            let staged = format!("{folder}/dead-letters-{number}");
            objects.objects.push(letters_object(&self.lake, staged, letters).await?);
        }
        Ok(objects)
    }
}

/// Ends the task of a stager whose span is not committed. Its sender of pieces is gone. A lake that does not answer is not waited for.
/// It has ended afterwards in any case, so that a sweep meets everything that it staged.
pub async fn abandon(mut stager: JoinHandle<Result<Stager>>) {
    let until = Instant::now() + GIVING_UP;
    let ended = match timeout_at(until, &mut stager).await {
        Ok(Ok(Ok(stager))) => timeout_at(until, stager.abort()).await,
        // It was reported where the span failed.
        Ok(_) => return,
        Err(elapsed) => {
            stager.abort();
            let _ = stager.await;
            Err(elapsed)
        }
    };
    let why = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the lake did not answer within {} s", GIVING_UP.as_secs()),
    };
    tracing::warn!("the unfinished files of a span that was given up stay until the next owner commits: {why}");
}

/// Looks up how many parts the lake has of each of `unknown`.
async fn look_up(lake: &Lake, unknown: BTreeSet<&str>, series: &mut BTreeMap<String, Series>) -> Result<()> {
    let found: Vec<_> = unknown.into_iter().map(|path| state_in_lake(lake, path.to_owned())).collect();
    let found: Vec<_> = stream::iter(found).buffered(AT_ONCE).try_collect().await?;
    series.extend(found);
    Ok(())
}

async fn state_in_lake(lake: &Lake, series: String) -> Result<(String, Series)> {
    let parts = parts_in_lake(lake, &series).await?;
    Ok((series, Series { parts, ..Series::default() }))
}

impl OpenFile {
    /// Bytes of it in memory that are not staged.
    fn waiting(&self) -> usize {
        let header = if self.staging.is_some() { 0 } else { self.header.len() };
        header + self.pieces.iter().map(Bytes::len).sum::<usize>()
    }

    /// Moves waiting pieces to the staged object, which begins with the file that is extended, or with the header.
    async fn stage(&mut self, lake: &Lake, terms: &Terms, before: &BTreeMap<String, Series>) -> Result<()> {
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => {
                let mut staging = lake.stage(&staged_key(&terms.folder, self.file.id)).await?;
                let state = before.get(&self.file.series);
                let tail = state.and_then(|state| state.growing(terms.mode, &terms.format));
                let _held = lake.hold(tail.map_or(0, |tail| tail.length)).await;
                if let Some(tail) = tail
                    && let Some((base, bytes)) = read_base(lake, &self.file.series, tail, &self.header).await?
                {
                    let tail = Tail { header: Some(base.header), ..tail.clone() };
                    self.extends = Some((tail, base));
                    staging.write(bytes).await?;
                } else if !state.is_some_and(|state| state.is_collecting(terms.mode, &terms.format)) {
                    staging.write(self.header.clone()).await?;
                }
                none.insert(staging)
            }
        };
        for piece in self.pieces.drain(..) {
            staging.write(piece).await?;
        }
        Ok(())
    }

    async fn finish(mut self, lake: &Lake, terms: &Terms, before: &BTreeMap<String, Series>) -> Result<Done> {
        self.stage(lake, terms, before).await?;
        let whole = self.staging.take().expect("staged above").finish().await?;
        Ok(Done { id: self.file.id, whole, extends: self.extends })
    }
}

impl Done {
    fn object(self, folder: &str, fate: Fate) -> Object {
        let staged = staged_key(folder, self.id);
        let (key, publication) = match fate.publication {
            FatePublication::New(key) => (key, Publication::New),
            FatePublication::Part(part) => (part.key(), Publication::Part(part)),
            FatePublication::Grow(part) => {
                (part.key(), Publication::Grow { part, base: self.extends.map(|(_, base)| base) })
            }
            FatePublication::Segment => (staged.clone(), Publication::Segment),
        };
        pinned(key, staged, self.whole, fate.rows, publication)
    }
}

/// Reads the part that is to be extended; `None` where somebody moved or edited it, so that the next part begins.
async fn read_base(lake: &Lake, series: &str, tail: &Tail, header: &Bytes) -> Result<Option<(Base, Bytes)>> {
    let key = part_key(series, tail.part);
    let url = lake.url(&key);
    let Some(object) = lake.get(&key).await? else {
        tracing::warn!("`{url}` was moved or deleted: its file goes on with the next part");
        return Ok(None);
    };
    let found = object.bytes.len() as u64;
    if found != tail.length {
        let expected = tail.length;
        tracing::warn!(
            "`{url}` has {found} bytes, and lakeport wrote {expected}: someone edited it, and its file goes on with the next part"
        );
        return Ok(None);
    }
    // A file of version 1 has the header that it would get today, or is left alone.
    let Some(header) = tail.header.or_else(|| object.bytes.starts_with(header).then_some(header.len() as u64)) else {
        return Ok(None);
    };
    Ok(Some((Base { version: object.version, length: found, header }, object.bytes)))
}

/// Puts a sealed file together from its segments.
async fn put_together(lake: &Lake, staged: String, done: &mut Objects, seal: Seal) -> Result<()> {
    let mut staging = lake.stage(&staged).await?;
    for segment in &seal.segments {
        let bytes = lake.get(&segment.staged).await?.map(|object| object.bytes).unwrap_or_default();
        let (found, expected) = (bytes.len() as u64, segment.length);
        if found != expected {
            let url = lake.url(&segment.staged);
            return Err(Error::lake(format!("the segment `{url}` has {found} bytes, and lakeport wrote {expected}"))
                .with_help("something else deletes or writes in the log folder: stop it, and restore the object"));
        }
        staging.write(bytes).await?;
    }
    fail::point("seal");
    let whole = staging.finish().await?;
    // Segments of this span have become part of the whole: the commit need not speak of them.
    done.objects.retain(|object| !seal.segments.iter().any(|segment| segment.staged == object.key));
    let rows = seal.segments.iter().map(|segment| segment.rows).sum();
    done.objects.push(pinned(seal.part.key(), staged, whole, rows, Publication::Part(seal.part)));
    done.obsolete.extend(seal.segments.into_iter().map(|segment| segment.staged));
    Ok(())
}

/// An object of dead letters.
async fn letters_object(lake: &Lake, staged: String, (key, bytes, rows): (String, Vec<u8>, u64)) -> Result<Object> {
    let length = bytes.len() as u64;
    if length <= INLINE {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let content = Content::Inline(bytes.into());
        return Ok(Object { key, content, length, sha256, rows, publication: Publication::New });
    }
    let mut staging = lake.stage(&staged).await?;
    staging.write(bytes.into()).await?;
    let whole = staging.finish().await?;
    Ok(pinned(key, staged, whole, rows, Publication::New))
}

fn pinned(key: String, staged: String, whole: Staged, rows: u64, publication: Publication) -> Object {
    let Staged { length, sha256 } = whole;
    Object { key, content: Content::Staged(staged), length, sha256, rows, publication }
}

#[cfg(test)]
mod tests;
