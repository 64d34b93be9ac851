//! Standard input with a spool: what was read is on disk before it is handed on, so that a run that dies loses none of it.
//!
//! Lines are appended to a file in the spool and flushed to the disk, many at once; they are exported under that file's name and
//! offsets, as a file source would read them. What earlier runs left is read first. A file goes when all of it is committed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::{Files, HEAD, hash, unreadable};
use super::lines::Run;
use super::stdin::Stdin;
use super::{Chunk, Extent, Framing, Origin, Position, Read, ReadOptions, Reader};
use crate::error::{Error, Result};
use crate::telemetry::Live;

/// A spool file that has this many bytes is followed by the next one.
const ROLL: u64 = 64 << 20;

/// Reads standard input through a spool; see the module.
pub struct Spool {
    folder: PathBuf,
    run: String,
    stdin: Stdin,
    /// What earlier runs left, until it is read.
    earlier: Option<Files>,
    active: Option<Active>,
    /// How many files this run has begun.
    files: u32,
    warnings: Vec<String>,
}

/// The file that is being written.
struct Active {
    path: PathBuf,
    file: File,
    size: u64,
    head: Vec<u8>,
    origin: Origin,
}

impl Spool {
    /// Opens the spool in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// Of kind `Source`, naming the folder.
    pub fn open(folder: &Path, stdin: Stdin, from: &Position, options: ReadOptions) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        // Progress counts what comes from the stream, whose length nobody knows.
        let inputs = vec![folder.to_string_lossy().into_owned()];
        let earlier = Files::of_ended(inputs, from, Arc::new(Live::default()));
        let run = options.run;
        let folder = folder.to_path_buf();
        Ok(Spool { folder, run, stdin, earlier: Some(earlier), active: None, files: 0, warnings: Vec::new() })
    }

    /// Puts lines on the disk, and says where they are now.
    fn keep(&mut self, run: Run) -> Result<Chunk> {
        if self.active.as_ref().is_none_or(|active| active.size >= ROLL) {
            self.active = Some(self.begin()?);
        }
        let active = self.active.as_mut().expect("was just begun");
        let written = active.file.write_all(&run.data).and_then(|()| active.file.sync_data());
        written.map_err(|error| unwritable(&active.path, &error))?;
        Ok(active.chunk(run))
    }

    fn begin(&mut self) -> Result<Active> {
        // Runs must not write into each other's files, even where their IDs are the same.
        let (path, file) = loop {
            let path = self.folder.join(format!("{}-{:06}.ndjson", self.run, self.files));
            self.files += 1;
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => break (path.clone(), file.map_err(|error| unwritable(&path, &error))?),
            }
        };
        // The file's name is only kept once its folder is.
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| unwritable(&self.folder, &error))?;
        let inode = file.metadata().map_err(|error| unreadable(&path, &error))?.ino();
        let origin = Origin { name: path.to_string_lossy().into(), inode, hashed: 0, hash: String::new() };
        Ok(Active { path, file, size: 0, head: Vec::new(), origin })
    }
}

impl Active {
    /// What was just written. The file holds only what was kept of a line that was too long: that one's `next` does not count
    /// what was dropped.
    fn chunk(&mut self, run: Run) -> Chunk {
        let missing = HEAD - self.head.len();
        if missing > 0 {
            self.head.extend_from_slice(&run.data[..run.data.len().min(missing)]);
            self.origin.hashed = self.head.len() as u32;
            self.origin.hash = hash(&self.head);
        }
        let first = self.size;
        self.size += run.data.len() as u64;
        let origin = Arc::new(self.origin.clone());
        let extent = Extent { origin, first, next: self.size, dropped: run.dropped };
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
        match self.stdin.next(deadline)? {
            Read::Chunk(run) => self.keep(run).map(Read::Chunk),
            Read::Reached => Ok(Read::Reached),
            Read::Idle => Ok(Read::Idle),
            Read::End => Ok(Read::End),
        }
    }

    /// Deletes the files that are wholly committed.
    fn committed(&mut self, position: &Position) -> Result<()> {
        for cursor in &position.cursors {
            let path = Path::new(&*cursor.origin.name);
            if path.parent() != Some(&self.folder) {
                continue;
            }
            let active = self.active.as_ref().is_some_and(|active| active.path == path);
            if active && !self.stdin.has_ended() {
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
