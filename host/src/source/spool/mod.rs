//! Standard input with a spool: what was read is in a file before it is handed on, so that a run that ends loses none of it.
//!
//! A thread appends what it reads to a file in the spool; its lines are flushed to the disk, many at once, and exported under that
//! file's name and offsets, as a file source would read them. What earlier runs left is read first. A file goes when all of it is
//! committed.

mod folder;
mod pump;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use self::folder::Folder;
use self::pump::{Block, Pump, Written};
use super::files::{Files, HEAD, hash, name_of, path_of, unreadable};
use super::lines::{CHUNK, Lines, Run};
use super::stdin::BLOCKS;
use super::{Chunk, Extent, Framing, Origin, Position, Read, ReadOptions, Reader, Tail};
use crate::error::{Error, Result};
use crate::telemetry::Live;

/// A spool file that has this many bytes is followed by the next one.
const ROLL: u64 = 64 << 20;

/// Reads standard input through a spool; see the module.
pub struct Spool {
    folder: Arc<Folder>,
    /// What earlier runs left, until it is read.
    earlier: Option<Files>,
    blocks: Receiver<Result<Block>>,
    /// A block of the file after the one whose lines are being taken.
    waiting: Option<Block>,
    lines: Lines,
    active: Option<Active>,
    ended: bool,
    /// Something was read since it was last said that everything is.
    unsaid: bool,
    warnings: Vec<String>,
}

/// The file whose lines are being taken.
struct Active {
    from: Arc<Written>,
    /// Bytes of the file that were handed on.
    offset: u64,
    /// Bytes of the current line that are not in the file.
    absent: u64,
    head: Vec<u8>,
    /// A line lost its end.
    is_cut: bool,
    last: VecDeque<u8>,
    origin: Origin,
}

impl Spool {
    /// Opens the spool in `folder`, which is made where it is missing, and reads `stream` into it on a thread of its own.
    ///
    /// # Errors
    /// Of kind `Source`, naming the folder: it holds other files, or another run uses it.
    pub fn open(
        folder: &Path,
        stream: impl io::Read + Send + 'static,
        from: &Position,
        options: ReadOptions,
    ) -> Result<Self> {
        let folder = Arc::new(Folder::open(folder)?);
        let inputs = folder.files()?.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        // Progress counts what comes from the stream, whose length nobody knows.
        let earlier = Files::of_ended(inputs, from, options.longest, Arc::new(Live::default()));
        let (sender, blocks) = sync_channel(BLOCKS);
        let pump = Pump::new(folder.clone(), options.run, options.longest as u64);
        thread::spawn(move || pump.run(stream, &sender));
        Ok(Spool {
            folder,
            earlier: Some(earlier),
            blocks,
            waiting: None,
            lines: Lines::new(0, options.longest),
            active: None,
            ended: false,
            unsaid: false,
            warnings: Vec::new(),
        })
    }

    /// The next whole lines, waiting until `deadline` for them; at the end also an unterminated one.
    fn run(&mut self, deadline: Instant) -> Result<Option<Run>> {
        loop {
            if let Some(run) = self.lines.take() {
                return Ok(Some(run));
            }
            if let Some(block) = self.waiting.take() {
                self.begin(&block.to)?;
                self.push(block);
                continue;
            }
            if self.ended {
                return Ok(self.lines.finish());
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.blocks.recv_timeout(wait) {
                Ok(block) => self.take(block?)?,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
            // What is there already makes larger chunks, and fewer flushes of the disk.
            while self.waiting.is_none()
                && self.lines.rest().len() < CHUNK
                && let Ok(block) = self.blocks.try_recv()
            {
                self.take(block?)?;
            }
        }
    }

    fn take(&mut self, block: Block) -> Result<()> {
        match &self.active {
            Some(active) if Arc::ptr_eq(&active.from, &block.to) => self.push(block),
            Some(_) => self.waiting = Some(block),
            None => {
                self.begin(&block.to)?;
                self.push(block);
            }
        }
        Ok(())
    }

    fn push(&mut self, block: Block) {
        if block.dropped > 0 {
            self.lines.skip(block.dropped);
            self.active.as_mut().expect("a block's file was begun").absent += block.dropped;
        }
        self.lines.push(&block.data);
    }

    fn begin(&mut self, from: &Arc<Written>) -> Result<()> {
        let inode = from.file.metadata().map_err(|error| unreadable(&from.path, &error))?.ino();
        let origin = Origin { name: name_of(&from.path), inode, hashed: 0, hash: String::new() };
        let (head, last) = (Vec::new(), VecDeque::new());
        self.active = Some(Active { from: from.clone(), offset: 0, absent: 0, head, is_cut: false, last, origin });
        Ok(())
    }

    /// Flushes lines to the disk, and says where they are there.
    fn keep(&mut self, run: Run) -> Result<Chunk> {
        let active = self.active.as_mut().expect("lines come from a file");
        active.from.file.sync_data().map_err(|error| unwritable(&active.from.path, &error))?;
        Ok(active.chunk(run))
    }

    /// Whether everything was read.
    fn has_ended(&self) -> bool {
        self.ended && self.waiting.is_none() && self.lines.rest().is_empty()
    }
}

impl Active {
    fn chunk(&mut self, run: Run) -> Chunk {
        let missing = HEAD - self.head.len();
        // Behind a line that lost its end, the file is not what was handed on.
        if missing > 0 && !self.is_cut {
            let len = run.data.len() - usize::from(run.dropped > 0 && run.data.ends_with(b"\n"));
            self.head.extend_from_slice(&run.data[..len.min(missing)]);
            self.origin.hashed = self.head.len() as u32;
            self.origin.hash = hash(&self.head);
        }
        self.is_cut |= run.dropped > 0;
        let first = self.offset;
        self.offset += run.next - run.first - std::mem::take(&mut self.absent);
        let tail = match run.dropped {
            0 => Tail::push(&mut self.last, &run.data),
            _ => {
                self.last.clear();
                None
            }
        };
        let extent =
            Extent { dropped: run.dropped, tail, ..Extent::new(Arc::new(self.origin.clone()), first, self.offset) };
        Chunk { data: run.data, extent, framing: Framing::Lines }
    }
}

impl Reader for Spool {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        let deadline = Instant::now() + wait;
        if let Some(earlier) = &mut self.earlier {
            match earlier.read(wait)? {
                Read::End => {
                    self.warnings.extend(earlier.warnings());
                    self.earlier = None;
                }
                read => return Ok(read),
            }
        }
        Ok(match self.run(deadline)? {
            Some(run) => {
                self.unsaid = true;
                Read::Chunk(self.keep(run)?)
            }
            None if self.has_ended() => Read::End,
            None if std::mem::take(&mut self.unsaid) => Read::Reached,
            None => Read::Idle,
        })
    }

    /// Deletes the files that are wholly committed.
    fn committed(&mut self, position: &Position) -> Result<()> {
        for cursor in &position.cursors {
            let path = &*path_of(&cursor.origin.name);
            if !self.folder.owns(path) {
                continue;
            }
            let active = self.active.as_ref().filter(|active| active.from.path == path);
            if active.is_some_and(|active| !active.from.ended.load(Ordering::Acquire)) {
                continue;
            }
            match fs::metadata(path) {
                Ok(metadata) if metadata.ino() == cursor.origin.inode && metadata.len() <= cursor.next => {
                    fs::remove_file(path).map_err(|error| unwritable(path, &error))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(self.earlier.iter_mut().flat_map(Reader::warnings));
        warnings
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::source(format!("cannot keep standard input in the spool: `{}`: {error}", path.display()))
        .with_help("make room there, allow writing to it, or name another folder")
}

#[cfg(test)]
mod tests;
