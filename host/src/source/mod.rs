//! Sources: replayable logs of records, read in order. The only stage that reads.
//!
//! A source has partitions; each is read by one [`Reader`] on a thread of its own, from the [`Position`] that the commit log
//! holds. Files, folders and globs are one partition, whose position is a cursor per file.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Reads one partition of a source in order. Calls may block.
pub trait Reader: Send {
    /// The next bytes, waiting up to `wait` for them.
    ///
    /// # Errors
    /// Of kind `Source`, naming the file and what was expected.
    fn read(&mut self, wait: Duration) -> Result<Read>;

    /// Everything up to `position` is in the lake: what was kept for replay may go.
    fn committed(&mut self, position: &Position) -> Result<()>;

    /// What the operator should know and what stopped nothing, since the last call.
    fn warnings(&mut self) -> Vec<String>;
}

/// What a [`Reader`] found.
#[derive(Debug)]
pub enum Read {
    Chunk(Chunk),
    /// Nothing now; there may be more later.
    Idle,
    /// Nothing now or later.
    End,
}

/// Complete lines of one origin, as they were read: the unit that crosses from reading to decoding.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Whole lines with their terminators; only the last of an origin may lack one.
    pub data: Bytes,
    pub extent: Extent,
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
    /// How many first bytes `hash` covers: up to 1,024, never more than were exported.
    pub hashed: u32,
    /// XXH3-64 of them, decompressed, in hexadecimal.
    pub hash: String,
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

impl Position {
    /// Moves on past `extent`. A cursor follows its origin by name: the newest origin of a name takes the older one's place,
    /// and an origin that was renamed (same inode, the old name's cursor at `extent.first`) takes its cursor with it.
    pub fn advance(&mut self, extent: &Extent) {
        let cursor = Cursor { origin: extent.origin.clone(), next: extent.next };
        let renamed = |known: &Cursor| {
            known.origin.inode != 0 && known.origin.inode == extent.origin.inode && known.next == extent.first
        };
        let same = |known: &Cursor| known.origin.name == extent.origin.name;
        match self.cursors.iter().position(same).or_else(|| self.cursors.iter().position(renamed)) {
            Some(at) => self.cursors[at] = cursor,
            None => self.cursors.push(cursor),
        }
    }
}
pub struct ReadOptions {
    pub follow: bool,
    pub live: Arc<crate::telemetry::Live>,
    pub run: u128,
}
struct Temp {
    files: Vec<String>,
    at: usize,
    off: u64,
    chunk: usize,
    pos: Position,
}
impl Reader for Temp {
    fn read(&mut self, _w: Duration) -> Result<Read> {
        use std::os::unix::fs::FileExt;
        loop {
            let Some(name) = self.files.get(self.at) else { return Ok(Read::End) };
            let f = std::fs::File::open(name).unwrap();
            if self.off == 0 {
                self.off = self.pos.cursors.iter().find(|c| *c.origin.name == **name).map_or(0, |c| c.next);
            }
            let mut buf = vec![0; self.chunk];
            let n = f.read_at(&mut buf, self.off).unwrap();
            if n == 0 {
                self.at += 1;
                self.off = 0;
                continue;
            }
            let end = buf[..n].iter().rposition(|b| *b == b'\n').unwrap() + 1;
            buf.truncate(end);
            let origin = Arc::new(Origin { name: name.as_str().into(), inode: 1, hashed: 0, hash: String::new() });
            let extent = Extent { origin, first: self.off, next: self.off + end as u64, dropped: 0 };
            self.off += end as u64;
            return Ok(Read::Chunk(Chunk { data: buf.into(), extent }));
        }
    }
    fn committed(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}
pub fn open(p: &crate::plan::SourcePlan, pos: &Position, _: ReadOptions) -> Result<Box<dyn Reader>> {
    let crate::plan::Input::Files(files) = &p.input else { todo!() };
    let chunk = std::env::var("CHUNK").map_or(1 << 20, |c| c.parse().unwrap());
    Ok(Box::new(Temp { files: files.clone(), at: 0, off: 0, chunk, pos: pos.clone() }))
}
