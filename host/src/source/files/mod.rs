//! Files, folders and globs as one partition: read in the order of their paths, each from its cursor, and followed.
//!
//! The reader of `files = …`. A look lists the files and compares them with what was seen before; what is new or changed is
//! queued and read to its end, one file at a time; following is looking again. No more than [`TAILS`] files are kept open.
//!
//! Invariants:
//! - Chunks of one origin come in order and without a gap.
//! - A file that was renamed, or is a copy of what was exported, says so, with a chunk without bytes, before anything else is read: a new file under its old name
//!   can then take that name's cursor.
//! - A file that was rotated away while it was open is read to its end before the one that took its place.

mod copies;
mod glob;
mod known;
mod list;
mod look;
mod open;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) use self::known::{HEAD, hash, name_of, path_of};
use self::known::{Known, Recognised, replaced};
use self::list::Stamp;
pub(super) use self::list::unreadable;
use self::open::Open;
use super::content::{Damage, Encoding};
use super::{Chunk, Cursor, Position, Read, ReadOptions, Reader};
use crate::decode::is_whole;
use crate::error::{Error, Result};
use crate::plan::Envelope;
use crate::telemetry::Live;

/// How often a followed source is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Files kept open while following, so that a rotation loses nothing.
const TAILS: usize = 64;

/// Reads files; see the module.
pub struct Files {
    inputs: Vec<String>,
    /// Decides what whole records are.
    envelope: Envelope,
    /// Bytes of a line that are held.
    longest: usize,
    follow: bool,
    live: Arc<Live>,
    known: Known,
    /// What becomes of the files that are found.
    fate: Fate,
    queue: VecDeque<Task>,
    /// What is being read, and whether it was rotated away.
    current: Option<(Open, Fate)>,
    /// Followed files that were read to their end, the one read last at the end.
    tails: Vec<Open>,
    /// What each file looked like before it was read last.
    seen: HashMap<PathBuf, Stamp>,
    /// Where each inode was at the last look; file systems may have the same ones.
    places: HashMap<u64, Vec<PathBuf>>,
    /// Chunks that say that a file was renamed.
    markers: VecDeque<Chunk>,
    warnings: Vec<String>,
    warned: HashSet<String>,
    /// How many files had to wait when it was last said that some do: there are more than the log remembers.
    waiting: usize,
    look_at: Option<Instant>,
    /// Something was read, or nothing yet, since it was last said that everything is.
    unsaid: bool,
}

enum Task {
    /// The file that was found at a path.
    Read(PathBuf, Stamp),
    /// A file that is open, whether or not it has a path still.
    Resume(Box<Open>, Fate),
}

/// What becomes of a file after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// Nothing will be added to it: its last line is a record, terminated or not.
    Ends,
}

impl Files {
    /// A reader of `inputs` that goes on from `from`. Nothing is opened yet.
    pub fn new(inputs: Vec<String>, envelope: Envelope, from: &Position, options: ReadOptions) -> Self {
        Files {
            inputs,
            envelope,
            longest: options.longest,
            follow: options.follow,
            live: options.live,
            known: Known::new(from),
            fate: Fate::Stays,
            queue: VecDeque::new(),
            current: None,
            tails: Vec::new(),
            seen: HashMap::new(),
            places: HashMap::new(),
            markers: VecDeque::new(),
            warnings: Vec::new(),
            warned: HashSet::new(),
            waiting: 0,
            look_at: None,
            unsaid: true,
        }
    }

    /// A reader of files that nobody writes to any more: their last lines are records, terminated or not.
    pub fn of_ended(inputs: Vec<String>, from: &Position, longest: usize, live: Arc<Live>) -> Self {
        let options = ReadOptions { follow: false, live, run: String::new(), longest };
        Files { fate: Fate::Ends, ..Files::new(inputs, Envelope::Plain, from, options) }
    }

    fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(marker) = self.markers.pop_front() {
                return Ok(Some(marker));
            }
            if let Some((mut open, fate)) = self.current.take() {
                let chunk = match open.next() {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        self.passes(&open.path, &error)?;
                        continue;
                    }
                };
                if let Some(chunk) = chunk {
                    self.known.advance(&chunk.extent);
                    self.current = Some((open, fate));
                    return Ok(Some(chunk));
                }
                if let Some(last) = self.end(open, fate) {
                    return Ok(Some(last));
                }
            }
            match self.queue.pop_front() {
                Some(Task::Read(path, stamp)) => self.begin(path, &stamp)?,
                Some(Task::Resume(open, fate)) => self.resume(*open, fate)?,
                None => return Ok(None),
            }
        }
    }

    /// Starts to read a file.
    fn begin(&mut self, path: PathBuf, stamp: &Stamp) -> Result<()> {
        if let Some(at) = self.tails.iter().position(|tail| tail.stamp.is_same_file(stamp) && tail.path == path) {
            let open = self.tails.remove(at);
            return self.resume(open, Fate::Stays);
        }
        let name = name_of(&path);
        let mut open = match Open::at(path.clone(), name.clone(), self.envelope) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warn(format!("`{name}` vanished before it was read"));
                return Ok(());
            }
            Err(error) => return self.passes(&path, &error),
        };
        if let Some(what) = Encoding::foreign(open.head()) {
            return self.refuse(&open, what);
        }
        if open.encoding != Encoding::Plain {
            // How many bytes it stands for is not known.
            self.live.bytes_total.store(0, Ordering::Relaxed);
        }
        let elsewhere = |cursor: &Cursor| self.is_at_another_path(cursor, &path);
        let known = match self.known.recognise(&name, open.stamp.inode, open.head(), open.size(), elsewhere) {
            Recognised::New => None,
            Recognised::At(cursor) => Some(cursor),
            Recognised::Replaced(warning) => {
                self.warn(warning);
                None
            }
        };
        match self.start(&mut open, known) {
            Ok(()) => self.current = Some((open, self.fate)),
            Err(error) => self.passes(&path, &error)?,
        }
        Ok(())
    }

    /// Goes to where `known` says, or to the file's start where it does not hold what was exported.
    fn start(&mut self, open: &mut Open, known: Option<Cursor>) -> io::Result<()> {
        if let Some(cursor) = known {
            if open.start(cursor.next, self.envelope, self.longest, cursor.tail.as_ref())? {
                return Ok(());
            }
            self.warn(replaced(&open.name, cursor.next));
            *open = Open::at(open.path.clone(), open.name.clone(), self.envelope)?;
        }
        open.start(0, self.envelope, self.longest, None).map(drop)
    }

    /// Whether reading goes on where a file cannot be read: while following, it is looked at again.
    fn passes(&mut self, path: &Path, error: &io::Error) -> Result<()> {
        let error = unreadable(path, error);
        if !self.follow {
            return Err(error);
        }
        self.warn(format!("{}: it is looked at again", error.message));
        Ok(())
    }

    /// A file of a kind that is not read: an error where it is named, else skipped with a warning.
    fn refuse(&mut self, open: &Open, what: &str) -> Result<()> {
        let message = format!("`{}` is {what}, expected plain, gzip or zstd data", open.name);
        if !self.follow && self.inputs.iter().any(|input| **input == *open.name) {
            return Err(Error::source(message).with_help("unpack it, and name what was in it"));
        }
        self.warn(format!("skipped: {message}"));
        self.seen.insert(open.path.clone(), open.stamp);
        Ok(())
    }

    /// Goes on with a file that is open.
    fn resume(&mut self, mut open: Open, fate: Fate) -> Result<()> {
        if open.refresh().map_err(|error| unreadable(&open.path, &error))? {
            self.current = Some((open, fate));
            return Ok(());
        }
        match fate {
            // Opened again, it is recognised as replaced.
            Fate::Stays => self.begin(open.path.clone(), &open.stamp),
            Fate::Ends => {
                self.warn(format!("`{}` was truncated while it was rotated away", open.name));
                Ok(())
            }
        }
    }

    /// What happens at a file's end: its last line, if that is a record without a terminator.
    fn end(&mut self, mut open: Open, fate: Fate) -> Option<Chunk> {
        let is_gone = fate == Fate::Ends && open.is_deleted().unwrap_or(false);
        let goes_on = is_gone && self.goes_on(&open);
        // Where nothing has its place yet, it may come back.
        let keeps = goes_on || is_gone && open.rest().is_empty() && !open.path.exists();
        let last = match open.damage() {
            // It is being written.
            Some(Damage::CutOff(_)) if self.follow => None,
            Some(damage) => {
                let warning = format!(
                    "`{}`: {damage} after {} bytes were decompressed; the {} whole ones before that are exported",
                    open.name,
                    open.offset() + open.rest().len() as u64,
                    open.offset(),
                );
                self.warn(warning);
                None
            }
            None if let Some(fault) = open.fault() => {
                let warning = format!(
                    "`{}`, at byte {}: {}; what comes before that is exported, what follows is not",
                    open.name, fault.offset, fault.reason
                );
                self.warn(warning);
                None
            }
            None if open.rest().is_empty() || goes_on => None,
            None if self.finishes(&open, fate) => open.finish(),
            None if self.follow && fate == Fate::Stays || is_blank(open.rest()) => None,
            None => {
                let warning = format!(
                    "`{}` ends in the middle of a {}: the {} bytes from byte {} on are left for a later run",
                    open.name,
                    open.unit(),
                    open.rest().len(),
                    open.offset(),
                );
                self.warn(warning);
                None
            }
        };
        if let Some(last) = &last {
            self.known.advance(&last.extent);
        }
        if fate == Fate::Ends {
            if !keeps {
                self.known.forget(&open.name);
            }
        } else if self.follow {
            self.seen.insert(open.path.clone(), open.stamp);
            // Four bytes tell how it is encoded; a compressed file cannot be gone on with at its end.
            if open.encoding == Encoding::Plain && open.head().len() >= 4 && open.fault().is_none() {
                self.tails.push(open);
                if self.tails.len() > TAILS {
                    self.tails.remove(0);
                }
            }
        }
        last
    }

    /// Whether what is left of a file is its last record.
    fn finishes(&self, open: &Open, fate: Fate) -> bool {
        match self.envelope {
            // A block says itself where it ends.
            Envelope::Avro => false,
            _ if fate == Fate::Ends || open.is_cut() && !self.follow => true,
            // A whole object that ends a member is a record, whatever comes: a plain file's may be half written.
            envelope => {
                (!self.follow || open.encoding != Encoding::Plain)
                    && is_whole(open.rest(), envelope == Envelope::EventGrid)
            }
        }
    }

    fn warn(&mut self, warning: String) {
        if self.warned.insert(warning.clone()) {
            self.warnings.push(warning);
        }
    }
}

impl Reader for Files {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(chunk) = self.next()? {
                self.unsaid = true;
                return Ok(Read::Chunk(chunk));
            }
            let now = Instant::now();
            match self.look_at {
                Some(_) if !self.follow => return Ok(Read::End),
                Some(_) if std::mem::take(&mut self.unsaid) => return Ok(Read::Reached),
                Some(at) if now < at => {
                    if now >= deadline {
                        return Ok(Read::Idle);
                    }
                    std::thread::sleep(at.min(deadline) - now);
                }
                _ => {
                    self.look()?;
                    self.look_at = Some(Instant::now() + LOOK_EVERY);
                }
            }
        }
    }

    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

fn is_blank(rest: &[u8]) -> bool {
    rest.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests;
