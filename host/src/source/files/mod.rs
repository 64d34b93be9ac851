//! Files, folders and globs as one partition: read in the order of their paths, each from its cursor, and followed.
//!
//! The reader of `files = …`. A look lists the files and compares them with what was seen before; what is new or changed is
//! queued and read to its end, one file at a time; following is looking again. No more than [`TAILS`] files are kept open.
//!
//! Invariants:
//! - Chunks of one origin come in order and without a gap.
//! - A file that was renamed says so, with a chunk without bytes, before anything else is read: a new file under its old name
//!   can then take that name's cursor.
//! - A file that was rotated away while it was open is read to its end before the one that took its place.

mod known;
mod list;
mod open;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) use self::known::{HEAD, hash};
use self::known::{Known, Recognised, is_same};
use self::list::Stamp;
pub(super) use self::list::unreadable;
use self::open::Open;
use super::content::{Damage, Encoding};
use super::{Chunk, MAX_CURSORS, Position, Read, Reader};
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
    /// Where each inode was at the last look.
    places: HashMap<u64, PathBuf>,
    /// Chunks that say that a file was renamed.
    markers: VecDeque<Chunk>,
    warnings: Vec<String>,
    warned: HashSet<String>,
    look_at: Option<Instant>,
    /// Something was read, or nothing yet, since it was last said that everything is.
    unsaid: bool,
}

enum Task {
    /// The file that was found at a path.
    Read(PathBuf, u64),
    /// A file that is open, whether or not it has a path still.
    Resume(Open, Fate),
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
    pub fn new(inputs: Vec<String>, envelope: Envelope, from: &Position, follow: bool, live: Arc<Live>) -> Self {
        Files {
            inputs,
            envelope,
            follow,
            live,
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
            look_at: None,
            unsaid: true,
        }
    }

    /// A reader of files that nobody writes to any more: their last lines are records, terminated or not.
    pub fn of_ended(inputs: Vec<String>, from: &Position, live: Arc<Live>) -> Self {
        Files { fate: Fate::Ends, ..Files::new(inputs, Envelope::Plain, from, false, live) }
    }

    fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(marker) = self.markers.pop_front() {
                return Ok(Some(marker));
            }
            if let Some((mut open, fate)) = self.current.take() {
                let chunk = open.next().map_err(|error| unreadable(&open.path, &error))?;
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
                Some(Task::Read(path, inode)) => self.begin(path, inode)?,
                Some(Task::Resume(open, fate)) => self.resume(open, fate)?,
                None => return Ok(None),
            }
        }
    }

    /// Starts to read a file.
    fn begin(&mut self, path: PathBuf, inode: u64) -> Result<()> {
        if let Some(at) = self.tails.iter().position(|tail| tail.stamp.inode == inode && tail.path == path) {
            let open = self.tails.remove(at);
            return self.resume(open, Fate::Stays);
        }
        let name: Arc<str> = path.to_string_lossy().into();
        let mut open = match Open::at(path.clone(), name.clone(), self.envelope) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warn(format!("`{name}` vanished before it was read"));
                return Ok(());
            }
            open => open.map_err(|error| unreadable(&path, &error))?,
        };
        if open.encoding != Encoding::Plain {
            // How many bytes it stands for is not known.
            self.live.bytes_total.store(0, Ordering::Relaxed);
        }
        let elsewhere = |inode| self.places.get(&inode).is_some_and(|place| *place != path);
        let start = match self.known.recognise(&name, open.stamp.inode, open.head(), open.size(), elsewhere) {
            Recognised::New => 0,
            Recognised::At(offset) => offset,
            Recognised::Replaced(warning) => {
                self.warn(warning);
                0
            }
        };
        open.start(start, self.envelope).map_err(|error| unreadable(&path, &error))?;
        self.current = Some((open, self.fate));
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
            Fate::Stays => self.begin(open.path.clone(), open.stamp.inode),
            Fate::Ends => {
                self.warn(format!("`{}` was truncated while it was rotated away", open.name));
                Ok(())
            }
        }
    }

    /// What happens at a file's end: its last line, if that is a record without a terminator.
    fn end(&mut self, mut open: Open, fate: Fate) -> Option<Chunk> {
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
            None if open.rest().is_empty() => None,
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
            self.known.forget(&open.name);
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
            _ if open.encoding != Encoding::Plain || fate == Fate::Ends => true,
            envelope => !self.follow && is_whole(open.rest(), envelope == Envelope::EventGrid),
        }
    }

    /// Looks which files there are, and queues what is to be read.
    fn look(&mut self) -> Result<()> {
        let mut warnings = Vec::new();
        let files = list::list(&self.inputs, self.follow, &mut warnings)?;
        warnings.into_iter().for_each(|warning| self.warn(warning));
        if files.len() > MAX_CURSORS {
            // Beyond it, cursors would be forgotten and files read again.
            let message = format!(
                "`{}` are {} files, and the log remembers {MAX_CURSORS}",
                self.inputs.join("`, `"),
                files.len()
            );
            let help = "move finished files away, or split them over several sources and exports";
            return Err(Error::source(message).with_help(help));
        }
        self.places = files.iter().map(|(path, stamp)| (stamp.inode, path.clone())).collect();
        self.find_renamed(&files)?;
        self.find_rotated(&files)?;
        let mut total = 0;
        for (path, stamp) in files {
            if self.seen.get(&path) != Some(&stamp) {
                let done = self.known.cursor(&path.to_string_lossy()).map_or(0, |cursor| cursor.next);
                total += stamp.size.saturating_sub(done);
                self.queue.push_back(Task::Read(path, stamp.inode));
            }
        }
        if !self.follow {
            self.live.bytes_total.store(total, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Finds exported files that have another name now.
    fn find_renamed(&mut self, files: &BTreeMap<PathBuf, Stamp>) -> Result<()> {
        let mut renamed = Vec::new();
        for (path, stamp) in files {
            let name: Arc<str> = path.to_string_lossy().into();
            let Some(cursor) = self.known.renamed(&name, stamp.inode).cloned() else { continue };
            // With both names there, they are two links to one file.
            if fs::metadata(Path::new(&*cursor.origin.name)).is_ok_and(|old| old.ino() == stamp.inode) {
                continue;
            }
            let marker = match self.tails.iter_mut().find(|tail| tail.stamp.inode == stamp.inode) {
                Some(tail) => {
                    tail.rename(path.clone(), name);
                    self.seen.insert(path.clone(), tail.stamp);
                    tail.marker(cursor.next)
                }
                None => {
                    let mut open = match Open::at(path.clone(), name, self.envelope) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        open => open.map_err(|error| unreadable(path, &error))?,
                    };
                    // Another file may have got its inode.
                    if open.size().is_some_and(|size| size < cursor.next) || !is_same(&cursor.origin, open.head()) {
                        continue;
                    }
                    open.marker(cursor.next)
                }
            };
            renamed.push((cursor.origin.name.clone(), marker));
        }
        // `a.1` becomes `a.2` before `a` becomes `a.1`, so that none takes another's cursor.
        while !renamed.is_empty() {
            let free = |(_, marker): &(Arc<str>, Chunk)| {
                !renamed.iter().any(|(old, other)| *old == marker.extent.origin.name && other.extent != marker.extent)
            };
            let at = renamed.iter().position(free).unwrap_or(0);
            let (_, marker) = renamed.remove(at);
            self.known.advance(&marker.extent);
            self.markers.push_back(marker);
        }
        Ok(())
    }

    /// Finds open files that are not at their path any more, nor at another one of this source.
    fn find_rotated(&mut self, files: &BTreeMap<PathBuf, Stamp>) -> Result<()> {
        for tail in std::mem::take(&mut self.tails) {
            let now = files.get(&tail.path);
            if now.is_some_and(|now| now.inode == tail.stamp.inode) {
                self.tails.push(tail);
                continue;
            }
            let failed = |error| unreadable(&tail.path, &error);
            // Its writer may go on with it until there is something in the new file.
            if now.is_some_and(|now| now.size > 0) || tail.is_deleted().map_err(failed)? {
                self.queue.push_back(Task::Resume(tail, Fate::Ends));
            } else if tail.has_changed().map_err(failed)? {
                self.queue.push_back(Task::Resume(tail, Fate::Stays));
            } else {
                self.tails.push(tail);
            }
        }
        Ok(())
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
