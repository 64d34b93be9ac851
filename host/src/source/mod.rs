//! Sources: replayable logs of records, read in order. The only stage that reads.
//!
//! A source has partitions; each is read by one [`Reader`] on a thread of its own, from the [`Position`] that the commit log
//! holds. Files, folders and globs are one partition, whose position is a cursor per file.

pub mod avro;
mod bounded;
pub mod content;
mod cutter;
mod files;
mod ids;
mod lines;
pub mod object;
mod spool;
mod stdin;

use std::collections::VecDeque;
use std::io::ErrorKind::NotFound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::{Envelope, ExportPlan, Input};
use crate::telemetry::Live;

use self::avro::Header;
pub use self::bounded::Bounded;
pub(crate) use self::cutter::Fault;
pub use self::ids::{MessageId, RecentIds};
use self::lines::LONGEST_LINE;

/// How a source is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Keep on reading what is appended or added.
    pub follow: bool,
    /// The reader sets `bytes_total`, where it can be known; counting what was read is the caller's.
    pub live: Arc<Live>,
    /// Tells one run's standard input from another's.
    pub run: String,
    /// Bytes of a line that are held; of a longer one the rest is counted. See [`longest_line`].
    pub longest: usize,
}

/// How many bytes of a line to hold, where records have up to `max_record_size`: enough to show that a record is larger.
pub fn longest_line(envelope: Envelope, max_record_size: u64) -> usize {
    match envelope {
        // Such a line may hold many records.
        Envelope::EventGrid | Envelope::ODataDelta => LONGEST_LINE,
        // A byte order mark, a carriage return and one byte more.
        _ => usize::try_from(max_record_size).unwrap_or(usize::MAX).saturating_add(16),
    }
}

/// A replayable log of records, in partitions. Sources that others feed, such as a write-ahead log that a server fills, are
/// made outside of this crate.
pub trait Source: Send + Sync {
    /// Opens a partition for `export`, to read on from `from`.
    ///
    /// # Errors
    /// Of kind `Source`: the partition cannot be opened, or does not hold what follows `from`.
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>>;

    /// Everything of `export`'s partition up to `position` is in the lake and visible. Told when a run has looked where it
    /// goes on, and after every commit that was published. Must return at once.
    fn published(&self, _export: &ExportPlan, _position: &Position) {}
}

/// The sources that a configuration alone describes: files and standard input.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl Source for Local {
    /// Files are looked at by the first [`Reader::read`].
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
        let plan = &export.source;
        Ok(match &plan.input {
            Input::Files(inputs) => Box::new(files::Files::new(inputs.clone(), plan.mapping.envelope, from, options)),
            Input::Stdin { spool: None } => {
                Box::new(stdin::Stdin::new(std::io::stdin(), &options.run, options.longest))
            }
            Input::Stdin { spool: Some(folder) } => {
                Box::new(spool::Spool::open(folder, std::io::stdin(), from, options)?)
            }
            Input::Http => {
                let message = format!("export `{}` takes its records over HTTP, and no server is at work", export.name);
                return Err(Error::config(message).with_help("start it with `lakeport serve`"));
            }
        })
    }
}

/// Reads one partition of a source in order. Calls may block.
pub trait Reader: Send {
    /// The next bytes, waiting up to `wait` for them.
    ///
    /// # Errors
    /// Of kind `Source`, naming the file and what was expected.
    fn read(&mut self, wait: Duration) -> Result<Read>;

    /// Everything up to `position` is in the lake: what was kept for replay may go.
    fn committed(&mut self, position: &Position) -> Result<()>;

    /// What the operator should know that stops nothing, since the last call: an unterminated last line, a file that vanished.
    fn warnings(&mut self) -> Vec<String>;
}

/// What a [`Reader`] found.
#[derive(Debug)]
pub enum Read<T = Chunk> {
    Chunk(T),
    /// All that was there when the reader last looked was read, or nothing more came for a while: said once, until something was
    /// read again. More may be there by now.
    Reached,
    /// Nothing now, nor in the time that was waited; there may be more later.
    Idle,
    /// What was read so far shall be committed now, whatever the flush interval: somebody waits for it.
    Commit,
    /// Nothing now or later.
    End,
}

/// Whole records of one origin, as they were read: the unit that crosses from reading to decoding.
///
/// One without bytes says that an origin has another name now; its extent belongs into the position like any other.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Whole lines with their terminators, of which only the last of an origin may lack one; or whole blocks.
    pub data: Bytes,
    pub extent: Extent,
    pub framing: Framing,
}

/// How a chunk's bytes are divided.
#[derive(Debug, Clone)]
pub enum Framing {
    Lines,
    /// Into lines that have numbers: the first one is `extent.first`, and each the number after the one before. Has where each
    /// line begins.
    Numbered(Arc<[u32]>),
    /// Into blocks of an Avro container file, after its header where the chunk is the file's first.
    Avro(Arc<Header>),
}

impl Framing {
    /// Where to cut `data`, which begins at the origin's offset `first`, so that about `limit` bytes come before; after the last
    /// record that fits, else after the first. 0 or the end where it cannot be cut.
    fn cut(&self, data: &[u8], first: u64, limit: usize) -> usize {
        match self {
            Framing::Lines => memchr::memrchr(b'\n', &data[..limit])
                .or_else(|| memchr::memchr(b'\n', &data[limit..]).map(|at| limit + at))
                .map_or(0, |at| at + 1),
            // They come in pieces already.
            Framing::Numbered(_) => 0,
            Framing::Avro(header) => {
                let mut cut = 0;
                for block in header.blocks(data, first) {
                    if block.end > limit && cut > 0 {
                        break;
                    }
                    cut = block.end;
                }
                cut
            }
        }
    }
}

impl Chunk {
    /// The origin's offset of the record that begins at byte `at` of the chunk.
    #[inline]
    pub fn offset_of(&self, at: usize) -> u64 {
        match &self.framing {
            Framing::Lines | Framing::Avro(_) => self.extent.first + at as u64,
            Framing::Numbered(starts) => {
                self.extent.first + starts.partition_point(|start| (*start as usize) <= at).saturating_sub(1) as u64
            }
        }
    }

    /// The chunk up to the origin's offset `at`, at which a record begins, and the rest.
    pub fn split_at(mut self, at: u64) -> (Chunk, Option<Chunk>) {
        let cut = at.checked_sub(self.extent.first).and_then(|cut| usize::try_from(cut).ok());
        let Some(cut) = cut.filter(|cut| (1..self.data.len()).contains(cut)) else { return (self, None) };
        let rest = Chunk {
            data: self.data.split_off(cut),
            extent: Extent { first: at, ..self.extent.clone() },
            framing: self.framing.clone(),
        };
        let tail = Tail::of(&self.data);
        (self.extent.next, self.extent.dropped, self.extent.tail) = (at, 0, tail);
        (self, Some(rest))
    }

    /// The chunk in pieces of whole lines or blocks, each of up to `limit` bytes where that is possible.
    pub fn pieces(self, limit: u64) -> impl Iterator<Item = Chunk> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let chunk = rest.take()?;
            if chunk.data.len() <= limit {
                return Some(chunk);
            }
            let cut = chunk.framing.cut(&chunk.data, chunk.extent.first, limit);
            let at = chunk.extent.first + cut as u64;
            let (piece, after) = chunk.split_at(at);
            rest = after;
            Some(piece)
        })
    }
}

/// A run of one origin's bytes: `[first, next)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Extent {
    pub origin: Arc<Origin>,
    /// Offset of the first byte; for compressed files in the decompressed bytes.
    pub first: u64,
    /// Offset after the last byte.
    pub next: u64,
    /// Bytes dropped at the end of a line that was too long to be held, before its terminator; `next` counts them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// The last bytes before `next`, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// The file that the origin is a copy of, where a rotation made it: said once, by an extent of no bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<Arc<str>>,
    /// The name of a cursor that goes: that of an origin that was read to its end and never goes on, or that the origin had until
    /// now. Another file may have the name by then: the cursor has the inode of this origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Arc<str>>,
    /// IDs by which what the run was made of is recognised; the position keeps the last ones.
    #[serde(skip)]
    pub ids: Arc<[MessageId]>,
    /// The last event before `next`, as its stream numbers it; the position keeps it.
    #[serde(skip)]
    pub mark: Option<Arc<Mark>>,
}

impl Extent {
    /// The run `[first, next)`, of which nothing was dropped and whose last bytes are not known.
    pub fn new(origin: Arc<Origin>, first: u64, next: u64) -> Extent {
        let ids = Arc::default();
        Extent { origin, first, next, dropped: 0, tail: None, copy_of: None, ends: None, ids, mark: None }
    }
}

/// The last event that was taken of a stream.
///
/// Where the stream's numbers are no count (they ascend, and what lies between two of them means nothing), offsets count the events
/// that were taken, and the mark tells where the stream goes on. Where they count the events, offsets are the numbers, and the mark
/// tells the stream from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mark {
    /// The stream's name for the whole world, such as its ARN.
    pub stream: Arc<str>,
    /// The event's number, a decimal of many digits.
    pub sequence: Arc<str>,
    /// When the stream took the event, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enqueued: Option<DateTime<Utc>>,
}

/// The last bytes before an offset of an origin: they tell a file that grew from another one that begins alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tail {
    /// How many there are: up to 1,024.
    pub hashed: u32,
    /// XXH3-64 of them, decompressed, in hexadecimal.
    pub hash: String,
}

impl Tail {
    /// Most bytes that a tail covers.
    const LONGEST: usize = 1024;

    /// The tail of what ends with `bytes`.
    pub fn of(bytes: &[u8]) -> Option<Tail> {
        let last = &bytes[bytes.len().saturating_sub(Tail::LONGEST)..];
        (!last.is_empty()).then(|| Tail { hashed: last.len() as u32, hash: files::hash(last) })
    }

    /// Adds `bytes` to the last ones so far, and returns the tail after them.
    pub fn push(last: &mut VecDeque<u8>, bytes: &[u8]) -> Option<Tail> {
        Tail::extend(last, bytes);
        Tail::of(last.make_contiguous())
    }

    /// Adds `bytes` to the last ones so far.
    pub fn extend(last: &mut VecDeque<u8>, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(Tail::LONGEST)..];
        let surplus = (last.len() + new.len()).saturating_sub(Tail::LONGEST);
        last.drain(..surplus.min(last.len()));
        last.extend(new);
    }

    /// Whether `bytes`, which end where this did, are the same.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let from = bytes.len().checked_sub(self.hashed as usize);
        from.is_some_and(|from| files::hash(&bytes[from..]) == self.hash)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What offsets count in: the bytes of one file or object as it was when it was read, of one run of standard input or of one
/// write-ahead log; the events of one partition of a stream, by their sequence numbers or, where these are no count, in the order in
/// which they were taken; or records of messages, or objects, in that order.
///
/// A file is recognised by its path and the hash of its first bytes; by its inode and that hash where it was renamed. A file
/// that was truncated or replaced has other first bytes, or fewer, and is a new origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// Absolute path, `stdin:{run}`, `wal:{source}/{log}`, `object:{URL}`; or `partition:`, `messages:` or `objects:` and
    /// `{source}/{partition}`.
    pub name: Arc<str>,
    /// 0 where there is none.
    pub inode: u64,
    /// How many first bytes `hash` covers: up to 1,024, of an Avro container file its whole header; never more than were
    /// exported.
    pub hashed: u32,
    /// XXH3-64 of them, decompressed, in hexadecimal; of an object, its version: an ETag or a generation.
    pub hash: String,
}

impl Origin {
    /// An origin that is recognised by its name alone.
    pub fn named(name: impl Into<Arc<str>>) -> Origin {
        Origin { name: name.into(), inode: 0, hashed: 0, hash: String::new() }
    }

    /// Whether it is the same file, perhaps under another name, or grown since.
    pub fn is_same(&self, other: &Origin) -> bool {
        let same_start = self.hashed == other.hashed && self.hash == other.hash;
        let same_file = self.inode != 0 && self.inode == other.inode;
        match self.name == other.name {
            // More of its beginning is known by now.
            true => same_start || same_file && self.hashed < other.hashed,
            false => same_start && same_file,
        }
    }
}

/// Where a source's partition continues: a cursor for every origin met so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub cursors: Vec<Cursor>,
}

/// How far one origin was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub origin: Arc<Origin>,
    pub next: u64,
    /// The last bytes before `next`. Cursors of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// Another file of the source is the copy of this one, and goes on in its place; this one may come back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub copied: bool,
    /// IDs of the last messages before `next`, of an origin whose messages have some.
    #[serde(default, skip_serializing_if = "RecentIds::is_empty")]
    pub ids: RecentIds,
    /// The last event before `next`, of an origin that is a stream's. Cursors of earlier versions have none where offsets are the
    /// stream's own numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Arc<Mark>>,
}

impl Cursor {
    /// The cursor behind `extent`, where `before` are the IDs before it.
    fn after(extent: &Extent, before: RecentIds) -> Cursor {
        let (origin, next, tail, mut ids) = (extent.origin.clone(), extent.next, extent.tail.clone(), before);
        ids.push(&extent.ids);
        Cursor { origin, next, tail, copied: false, ids, mark: extent.mark.clone() }
    }

    /// Whether its file is gone, and no other file of the source holds what was exported of it.
    pub fn is_lost(&self) -> bool {
        !self.copied && is_gone(&self.origin.name)
    }
}

/// Whether the file of this name is gone. What cannot be looked at is there.
pub(crate) fn is_gone(name: &str) -> bool {
    std::fs::metadata(files::path_of(name)).is_err_and(|error| error.kind() == NotFound)
}

/// The most files of a source, and the most cursors of a [`Position`] but for those of files that exist.
pub const MAX_CURSORS: usize = 10_000;
/// So many cursors of files that are gone are dropped at once.
const DROPPED: usize = MAX_CURSORS / 10;

impl Position {
    /// The cursor of the origin of this name.
    pub fn cursor(&self, name: &str) -> Option<&Cursor> {
        self.cursors.iter().find(|cursor| *cursor.origin.name == *name)
    }

    /// Moves on past `extent`. Its cursor takes the place of the one of the same name, and of the one that the origin had under
    /// another name (`extent.ends`). Cursors are ordered by when they moved. Those of files that are gone stay,
    /// for they may come back, until there are more than [`MAX_CURSORS`]: then the oldest of them go, and of files that exist none.
    pub fn advance(&mut self, extent: &Extent) {
        let origin = &extent.origin;
        // Almost always the newest: look from the end.
        let named = self.cursors.iter().rposition(|known| known.origin.name == origin.name);
        let named = named.map(|at| self.cursors.remove(at));
        for original in self.cursors.iter_mut().filter(|known| extent.copy_of.as_ref() == Some(&known.origin.name)) {
            original.copied |= original.next == extent.next && original.tail == extent.tail;
        }
        self.cursors.push(Cursor::after(extent, named.map(|known| known.ids).unwrap_or_default()));
        if let Some(ended) = &extent.ends {
            self.cursors.retain(|known| known.origin.name != *ended || known.origin.inode != origin.inode);
        }
        if self.cursors.len() > MAX_CURSORS {
            self.drop_gone();
        }
    }

    /// Drops the oldest cursors of files that are gone.
    fn drop_gone(&mut self) {
        let mut left = DROPPED;
        let mut keeps = |cursor: &Cursor| {
            // What tells deliveries apart is no file.
            let is_delivered =
                ["messages:", "objects:", "partition:"].iter().any(|of| cursor.origin.name.starts_with(of));
            let keeps = left == 0 || is_delivered || !is_gone(&cursor.origin.name);
            left -= usize::from(!keeps);
            keeps
        };
        self.cursors.retain(|cursor| keeps(cursor));
        // A configuration that names other files with every run.
        let surplus = self.cursors.len().saturating_sub(2 * MAX_CURSORS);
        self.cursors.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
