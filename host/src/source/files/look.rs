//! A look at the files that there are: which are new, renamed, rotated away, or copies.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::copies::{Rotated, stands, stands_at};
use super::known::{is_same, name_of, path_of};
use super::list::{self, Stamp, unreadable};
use super::open::Open;
use super::{Fate, Files, Task};
use crate::error::{Error, Result};
use crate::source::content::Encoding;
use crate::source::{Chunk, Cursor, MAX_CURSORS};

/// A file that changed within this time may be a copy that is being made, or whose original is about to go.
const SETTLES: Duration = Duration::from_secs(5);

/// What a new file is beside the files that were exported.
enum Copied {
    /// Nothing of it is known.
    No,
    /// It holds what was exported up to here, and its original is gone.
    Of(Box<(Open, Cursor)>),
    /// It may be a copy under way.
    Perhaps(Arc<str>),
}

impl Files {
    /// Looks which files there are, and queues what is to be read.
    pub(super) fn look(&mut self) -> Result<()> {
        let mut warnings = Vec::new();
        let known = |path: &Path| self.known.cursor(&name_of(path)).is_some();
        let mut files = list::list(&self.inputs, self.follow, known, &mut warnings)?;
        warnings.into_iter().for_each(|warning| self.warn(warning));
        self.limit(&mut files)?;
        self.places.clear();
        for (path, stamp) in &files {
            self.places.entry(stamp.inode).or_default().push(path.clone());
        }
        self.seen.retain(|path, _| files.contains_key(path));
        self.find_renamed(&files)?;
        self.find_copies(&mut files)?;
        self.find_rotated(&files)?;
        let mut total = 0;
        for (path, stamp) in files {
            if self.seen.get(&path) != Some(&stamp) {
                let done = self.known.cursor(&name_of(&path)).map_or(0, |cursor| cursor.next);
                total += stamp.size.saturating_sub(done);
                self.queue.push_back(Task::Read(path, stamp));
            }
        }
        if !self.follow {
            self.live.bytes_total.store(total, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes no more files than the log remembers: beyond that, files would be forgotten and read again. While following, new
    /// files wait until others are gone.
    fn limit(&mut self, files: &mut BTreeMap<PathBuf, Stamp>) -> Result<()> {
        let surplus = files.len().saturating_sub(MAX_CURSORS);
        if surplus == 0 {
            self.waiting = 0;
            return Ok(());
        }
        let inputs = self.inputs.join("`, `");
        let help =
            "remove finished files or move them out of the source, or give each part of them a source and an export";
        if !self.follow {
            let message = format!("`{inputs}` are {} files, and the log remembers {MAX_CURSORS}", files.len());
            return Err(Error::source(message).with_help(help));
        }
        let is_new = |(path, stamp): &(&PathBuf, &Stamp)| {
            let name = name_of(path);
            self.known.cursor(&name).is_none() && self.known.renamed(&name, stamp.inode).next().is_none()
        };
        let new: Vec<PathBuf> = files.iter().filter(is_new).map(|(path, _)| path.clone()).collect();
        let from = new.len().saturating_sub(surplus);
        for path in &new[from..] {
            files.remove(path);
        }
        if surplus >= 2 * self.waiting {
            self.waiting = surplus.max(1);
            self.warn(format!(
                "`{inputs}` are more files than the log remembers ({MAX_CURSORS}): {surplus} new ones wait until others are \
                 gone, so {help}"
            ));
        }
        Ok(())
    }

    /// Finds exported files that have another name now.
    fn find_renamed(&mut self, files: &BTreeMap<PathBuf, Stamp>) -> Result<()> {
        let mut renamed = Vec::new();
        for (path, stamp) in files {
            let name = name_of(path);
            // The file of a cursor that is where it was has the same inode number in another file system.
            let is_there = |cursor: &Cursor| {
                let there = files.get(&path_of(&cursor.origin.name));
                there.is_some_and(|there| there.inode == cursor.origin.inode && !there.is_same_file(stamp))
            };
            let cursors = self.known.renamed(&name, stamp.inode).filter(|cursor| !is_there(cursor));
            let cursors: Vec<_> = cursors.cloned().collect();
            if !cursors.is_empty() {
                renamed.extend(self.renamed(path, stamp, &name, &cursors)?);
            }
        }
        // `a.1` becomes `a.2` before `a` becomes `a.1`, so that none takes another's cursor.
        while !renamed.is_empty() {
            let free = |(_, marker): &(Arc<str>, Chunk)| {
                !renamed.iter().any(|(old, other)| *old == marker.extent.origin.name && other.extent != marker.extent)
            };
            let at = renamed.iter().position(free).unwrap_or(0);
            let (_, marker) = renamed.remove(at);
            self.mark(marker);
        }
        Ok(())
    }

    /// The name that the file at `path` had, and the chunk that says so, if it is the file of one of `cursors`.
    fn renamed(
        &mut self,
        path: &Path,
        stamp: &Stamp,
        name: &Arc<str>,
        cursors: &[Cursor],
    ) -> Result<Option<(Arc<str>, Chunk)>> {
        // An open file keeps its inode.
        if let Some(tail) = self.tails.iter_mut().find(|tail| tail.stamp.is_same_file(stamp)) {
            let Some(cursor) = cursors.iter().find(|cursor| cursor.origin.name == tail.name) else { return Ok(None) };
            tail.rename(path.to_path_buf(), name.clone());
            self.seen.insert(path.to_path_buf(), tail.stamp);
            return Ok(Some((cursor.origin.name.clone(), tail.renamed_marker(cursor))));
        }
        let Some(open) = self.open(path, name.clone())? else { return Ok(None) };
        // Another file may have got its inode.
        let is_short = |cursor: &&Cursor| open.size().is_some_and(|size| size < cursor.next);
        let alike = cursors.iter().filter(|cursor| !is_short(cursor) && is_same(&cursor.origin, open.head()));
        for cursor in alike {
            let Some(mut open) = self.open(path, name.clone())? else { return Ok(None) };
            // A compressed one is looked at when it is read.
            if open.encoding != Encoding::Plain || self.continues(&mut open, cursor)? {
                return Ok(Some((cursor.origin.name.clone(), open.renamed_marker(cursor))));
            }
        }
        Ok(None)
    }

    /// Whether what was exported of a cursor's file is at another path of the source than `path` now.
    pub(super) fn is_at_another_path(&self, cursor: &Cursor, path: &Path) -> bool {
        let mut places = self.places.get(&cursor.origin.inode).into_iter().flatten();
        places.any(|place| place != path && stands_at(place, cursor))
    }

    /// Finds new files that hold what was exported of others, which are gone; takes those out that may be such copies under way.
    fn find_copies(&mut self, files: &mut BTreeMap<PathBuf, Stamp>) -> Result<()> {
        let mut originals = None;
        let mut copies = Vec::new();
        let mut waiting = Vec::new();
        for (path, stamp) in &*files {
            let name = name_of(path);
            // What has changed may be another file: a copy may have taken the name, and with it the inode, of an older one.
            let is_known = |cursor: &Cursor| cursor.origin.inode == stamp.inode && stands(cursor);
            if self.seen.get(path) == Some(stamp) || self.known.cursor(&name).is_some_and(is_known) {
                continue;
            }
            let originals: &HashMap<&str, Vec<&Cursor>> = originals.get_or_insert_with(|| self.known.by_base());
            let rotated = Rotated::of(&name);
            let is_taken = |cursor: &Cursor| files.contains_key(&path_of(&cursor.origin.name)) && !stands(cursor);
            let is_original = |cursor: &&Cursor| {
                cursor.origin.name != name
                    && rotated.may_be_of(&Rotated::of(&cursor.origin.name), cursor.next, || is_taken(cursor))
                    // One that has another name now is not gone.
                    && !self.is_at_another_path(cursor, &path_of(&cursor.origin.name))
            };
            let of: Vec<Cursor> =
                originals.get(rotated.base).into_iter().flatten().copied().filter(is_original).cloned().collect();
            if of.is_empty() {
                continue;
            }
            match self.copied(path, stamp, &name, of)? {
                Copied::No => {}
                Copied::Of(found) => copies.push(*found),
                Copied::Perhaps(original) => waiting.push((path.clone(), original)),
            }
        }
        for (mut open, cursor) in copies {
            // What its writer added to the deleted original is in the copy.
            self.tails.retain(|tail| tail.stamp.inode != cursor.origin.inode || tail.name != cursor.origin.name);
            self.mark(open.copy_marker(&cursor));
            // What has the original's name now, and is another file, is not a copy as well.
            let now = files.get(&path_of(&cursor.origin.name));
            let is_of_it = self.known.cursor(&cursor.origin.name) == Some(&cursor);
            if is_of_it && now.is_some_and(|stamp| stamp.inode != cursor.origin.inode) {
                self.known.forget(&cursor.origin.name);
            }
        }
        for (path, original) in waiting {
            files.remove(&path);
            // What was open there before is overwritten.
            self.tails.retain(|tail| tail.path != path);
            if !self.follow {
                self.warn(format!(
                    "`{}` may be a copy of `{original}` that is being made: it is left for a later run",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Whether the file at `path` holds what was exported of one of these, the longest first.
    fn copied(&self, path: &Path, stamp: &Stamp, name: &Arc<str>, mut of: Vec<Cursor>) -> Result<Copied> {
        let Some(open) = self.open(path, name.clone())? else { return Ok(Copied::No) };
        of.sort_by(|a, b| b.next.cmp(&a.next).then_with(|| a.origin.name.cmp(&b.origin.name)));
        of.dedup();
        let head = open.head().to_vec();
        for cursor in of {
            let is_short = head.len() < cursor.origin.hashed as usize;
            if is_short && !self.begins_as(&cursor, &head)? {
                continue;
            }
            if is_short || is_same(&cursor.origin, &head) {
                if stands(&cursor) {
                    // A copy beside its original is a file of its own, once it is older.
                    if stamp.is_recent(SETTLES) {
                        return Ok(Copied::Perhaps(cursor.origin.name.clone()));
                    }
                    continue;
                }
                if is_short || cursor.tail.is_none() && cursor.next > u64::from(cursor.origin.hashed) {
                    continue;
                }
                let Some(mut open) = self.open(path, name.clone())? else { return Ok(Copied::No) };
                if self.continues(&mut open, &cursor)? {
                    return Ok(Copied::Of(Box::new((open, cursor))));
                }
            }
        }
        Ok(Copied::No)
    }

    /// Whether the file of `cursor` is there and begins with `head`.
    fn begins_as(&self, cursor: &Cursor, head: &[u8]) -> Result<bool> {
        let original = self.open(&path_of(&cursor.origin.name), cursor.origin.name.clone())?;
        Ok(original.is_some_and(|original| original.head().starts_with(head)))
    }

    /// Whether a file that begins as that of `cursor` has the same bytes before the cursor.
    fn continues(&self, open: &mut Open, cursor: &Cursor) -> Result<bool> {
        let started = open.start(cursor.next, self.envelope, self.longest, cursor.tail.as_ref());
        match started {
            Ok(same) => Ok(same && open.damage().is_none()),
            Err(_) if self.follow => Ok(false),
            Err(error) => Err(unreadable(&open.path, &error)),
        }
    }

    /// Whether the file in the place of `gone` holds all that was exported of that, as where a file is replaced by itself and more.
    pub(super) fn goes_on(&self, gone: &Open) -> bool {
        let Some(cursor) = self.known.cursor(&gone.name) else { return false };
        let Ok(Some(mut open)) = self.open(&gone.path, gone.name.clone()) else { return false };
        let is_shorter = open.size().is_some_and(|size| size < cursor.next);
        !is_shorter && is_same(&cursor.origin, open.head()) && self.continues(&mut open, cursor).unwrap_or(false)
    }

    /// Opens a file to look at it; `None` where it cannot be opened now, which is said when it is to be read.
    fn open(&self, path: &Path, name: Arc<str>) -> Result<Option<Open>> {
        match Open::at(path.to_path_buf(), name, self.envelope) {
            Ok(open) => Ok(Some(open)),
            Err(error) if self.follow || error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Says that an origin has another name now.
    fn mark(&mut self, marker: Chunk) {
        self.known.advance(&marker.extent);
        self.markers.push_back(marker);
    }

    /// Finds open files that are not at their path any more, nor at another one of this source.
    fn find_rotated(&mut self, files: &BTreeMap<PathBuf, Stamp>) -> Result<()> {
        for tail in std::mem::take(&mut self.tails) {
            let now = files.get(&tail.path);
            if now.is_some_and(|now| now.is_same_file(&tail.stamp)) {
                self.tails.push(tail);
                continue;
            }
            let failed = |error| unreadable(&tail.path, &error);
            // Its writer may go on with it until there is something in the new file.
            if now.is_some_and(|now| now.size > 0) || tail.is_deleted().map_err(failed)? {
                self.queue.push_back(Task::Resume(Box::new(tail), Fate::Ends));
            } else if tail.has_changed().map_err(failed)? {
                self.queue.push_back(Task::Resume(Box::new(tail), Fate::Stays));
            } else {
                self.tails.push(tail);
            }
        }
        Ok(())
    }
}
