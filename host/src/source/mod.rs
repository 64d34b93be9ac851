//! Sources: replayable logs of records, read in order. The only stage that reads.
//!
//! A source has partitions; each is read by one [`Reader`] on a thread of its own, from the [`Position`] that the commit log
//! holds. Files, folders and globs are one partition, whose position is a cursor per file.

pub mod avro;
pub(crate) mod content;
mod cutter;
mod files;
mod lines;
mod spool;
mod stdin;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::plan::{Input, SourcePlan};
use crate::telemetry::Live;

use self::avro::Header;
pub(crate) use self::cutter::Fault;

/// How a source is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Keep on reading what is appended or added.
    pub follow: bool,
    /// The reader sets `bytes_total`, where it can be known; counting what was read is the caller's.
    pub live: Arc<Live>,
    /// Tells one run's standard input from another's.
    pub run: String,
}

/// Opens a source to read on from `from`.
///
/// # Errors
/// Of kind `Source`, where a spool cannot be opened; files are looked at by the first [`Reader::read`].
pub fn open(plan: &SourcePlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
    Ok(match &plan.input {
        Input::Files(inputs) => {
            Box::new(files::Files::new(inputs.clone(), plan.mapping.envelope, from, options.follow, options.live))
        }
        Input::Stdin { spool: None } => Box::new(stdin::Stdin::new(std::io::stdin(), &options.run)),
        Input::Stdin { spool: Some(folder) } => {
            let stdin = stdin::Stdin::new(std::io::stdin(), &options.run);
            Box::new(spool::Spool::open(folder, stdin, from, options)?)
        }
    })
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
    /// The chunk up to the origin's offset `at`, at which a record begins, and the rest.
    pub fn split_at(mut self, at: u64) -> (Chunk, Option<Chunk>) {
        let cut = at.checked_sub(self.extent.first).and_then(|cut| usize::try_from(cut).ok());
        let Some(cut) = cut.filter(|cut| (1..self.data.len()).contains(cut)) else { return (self, None) };
        let rest = Chunk {
            data: self.data.split_off(cut),
            extent: Extent { first: at, ..self.extent.clone() },
            framing: self.framing.clone(),
        };
        (self.extent.next, self.extent.dropped) = (at, 0);
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
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What offsets count in: one file as it was when it was read, or one run of standard input.
///
/// A file is recognised by its path and the hash of its first bytes; by its inode and that hash where it was renamed. A file
/// that was truncated or replaced has other first bytes, or fewer, and is a new origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// Absolute path, or `stdin:{run}`.
    pub name: Arc<str>,
    /// 0 where there is none.
    pub inode: u64,
    /// How many first bytes `hash` covers: up to 1,024, of an Avro container file its whole header; never more than were
    /// exported.
    pub hashed: u32,
    /// XXH3-64 of them, decompressed, in hexadecimal.
    pub hash: String,
}

impl Origin {
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
}

/// The most cursors of a [`Position`].
pub const MAX_CURSORS: usize = 10_000;

impl Position {
    /// Moves on past `extent`. Its cursor takes the place of the one of the same name, and of the one that the origin had under
    /// another name (the same inode, at `extent.first`). Cursors are ordered by when they moved; the newest [`MAX_CURSORS`] stay,
    /// those of files that are gone among them: they may come back.
    pub fn advance(&mut self, extent: &Extent) {
        let origin = &extent.origin;
        // Almost always the newest: look from the end.
        let named = self.cursors.iter().rposition(|known| known.origin.name == origin.name);
        let in_place = named.map(|at| self.cursors.remove(at)).is_some_and(|known| known.origin.inode == origin.inode);
        if !in_place && origin.inode != 0 && extent.first > 0 {
            let renamed = |known: &Cursor| known.origin.inode == origin.inode && known.next == extent.first;
            self.cursors.iter().rposition(renamed).map(|at| self.cursors.remove(at));
        }
        self.cursors.push(Cursor { origin: origin.clone(), next: extent.next });
        let surplus = self.cursors.len().saturating_sub(MAX_CURSORS);
        self.cursors.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
