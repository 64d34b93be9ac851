//! Moves a stream into the files of a spool, on a thread of its own.
//!
//! What was taken off the stream is in a file before anything else is done with it: a run that is stopped or killed loses none.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use super::folder::Folder;
use super::{ROLL, unwritable};
use crate::error::Result;
use crate::source::content::Beginning;
use crate::source::stdin::{BLOCK, unreadable};

/// A file of this run.
pub struct Written {
    pub path: PathBuf,
    pub file: File,
    /// Nothing will be added to it.
    pub ended: AtomicBool,
}

/// Bytes that were appended to a file.
pub struct Block {
    pub to: Arc<Written>,
    pub data: Vec<u8>,
    /// Bytes of a line that was too long to be kept, which came before `data` and are not in the file.
    pub dropped: u64,
}

/// See the module.
pub struct Pump {
    folder: Arc<Folder>,
    run: String,
    /// How many files this run has begun.
    files: u32,
    active: Option<Active>,
    /// Bytes of a line that are kept.
    longest: u64,
    beginning: Beginning,
}

struct Active {
    to: Arc<Written>,
    size: u64,
    /// Bytes of the line that has not ended, as they came.
    line: u64,
}

impl Pump {
    pub fn new(folder: Arc<Folder>, run: String, longest: u64) -> Self {
        Pump { folder, run, files: 0, active: None, longest, beginning: Beginning::default() }
    }

    /// Reads `stream` to its end, until it fails or nobody listens any more.
    pub fn run(mut self, mut stream: impl io::Read, blocks: &SyncSender<Result<Block>>) {
        let mut buffer = vec![0; BLOCK];
        loop {
            let read = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(unreadable(error)),
            };
            let kept = read.and_then(|read| self.keep(&buffer[..read]));
            let failed = kept.is_err();
            let sent = match kept {
                Ok(kept) => kept.into_iter().try_for_each(|block| blocks.send(Ok(block))),
                Err(error) => blocks.send(Err(error)),
            };
            if failed || sent.is_err() {
                break;
            }
        }
        if let Some(active) = self.active {
            active.to.ended.store(true, Ordering::Release);
        }
    }

    /// Appends `data` to the file, and to the next one from the first line on that begins behind [`ROLL`].
    fn keep(&mut self, data: &[u8]) -> Result<Vec<Block>> {
        let full = self.active.as_ref().is_some_and(|active| active.size >= ROLL);
        let cut = match &self.active {
            Some(active) if full && active.line > 0 => memchr::memchr(b'\n', data).map_or(data.len(), |at| at + 1),
            _ if full => 0,
            _ => data.len(),
        };
        let (old, new) = data.split_at(cut);
        let mut blocks = Vec::with_capacity(2);
        self.beginning.take(data)?;
        if !old.is_empty() {
            blocks.push(self.append(old)?);
        }
        if full && self.active.as_ref().is_some_and(|active| active.line == 0) {
            let active = self.active.take().expect("there is a full one");
            active.to.ended.store(true, Ordering::Release);
        }
        if !new.is_empty() {
            blocks.push(self.append(new)?);
        }
        Ok(blocks)
    }

    fn append(&mut self, data: &[u8]) -> Result<Block> {
        if self.active.is_none() {
            let (path, file) = self.folder.create(&self.run, &mut self.files)?;
            let to = Arc::new(Written { path, file, ended: AtomicBool::new(false) });
            self.active = Some(Active { to, size: 0, line: 0 });
        }
        let active = self.active.as_mut().expect("was just begun");
        // A line without an end must not fill the disk.
        let dropped = if active.line > self.longest { memchr::memchr(b'\n', data).unwrap_or(data.len()) } else { 0 };
        let kept = &data[dropped..];
        (&active.to.file).write_all(kept).map_err(|error| unwritable(&active.to.path, &error))?;
        active.size += kept.len() as u64;
        active.line = match memchr::memrchr(b'\n', data) {
            Some(at) => (data.len() - at - 1) as u64,
            None => active.line + data.len() as u64,
        };
        Ok(Block { to: active.to.clone(), data: kept.to_vec(), dropped: dropped as u64 })
    }
}
