//! Which files a source has now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::glob;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};

/// What a file looked like from outside. One that looks the same was not written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub inode: u64,
    pub size: u64,
    device: u64,
    modified: (i64, i64),
    /// When anything of it changed last; nobody can set that.
    changed: i64,
}

impl Stamp {
    /// The stamp of what `metadata` describes.
    pub fn of(metadata: &Metadata) -> Stamp {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let (inode, size, device) = (metadata.ino(), metadata.size(), metadata.dev());
        Stamp { inode, size, device, modified, changed: metadata.ctime() }
    }

    /// Whether both are of one file: inode numbers are unique in one file system only.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether it changed within the last `time`.
    pub fn is_recent(&self, time: Duration) -> bool {
        // Files have the machine's times, whatever clock a run has.
        let now = SystemClock.now() / 1_000_000;
        now.abs_diff(self.changed) < time.as_secs()
    }
}

/// Collects files.
pub struct Found<'w> {
    pub files: BTreeMap<PathBuf, Stamp>,
    /// What cannot be looked at is a warning, for it is looked at again.
    follow: bool,
    warnings: &'w mut Vec<String>,
}

/// The files of `inputs` in the order of their paths: files, every file below folders, and what globs match. A file that has
/// several paths there has one here: its own rather than that of a link, else one that is `known`, else the first.
///
/// Below a folder and for a glob, names that begin with a dot are skipped and links to files are followed. With `follow`, a file or
/// folder that is not there and a glob that matches nothing have no files yet, and what cannot be read is looked at again.
///
/// # Errors
/// Of kind `Source`, naming the path or pattern. What lies below a folder and is no file is a warning.
pub fn list(
    inputs: &[String],
    follow: bool,
    known: impl Fn(&Path) -> bool,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = Found { files: BTreeMap::new(), follow, warnings };
    for input in inputs {
        let path = Path::new(input);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => below(path, &mut found)?,
            Ok(metadata) => found.add(path, &metadata)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => found.failed(path, &error)?,
            Err(_) if is_glob(input) => {
                if glob::matching(input, &mut found)? == 0 && !follow {
                    return Err(Error::source(format!("nothing matches `{input}`"))
                        .with_help("correct `files`, or wait for files to appear with `--follow`"));
                }
            }
            Err(_) if follow => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    Ok(without_links(found.files, known))
}

/// Leaves each file one path.
fn without_links(files: BTreeMap<PathBuf, Stamp>, known: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, Stamp> {
    let mut paths: HashMap<(u64, u64), Vec<&PathBuf>> = HashMap::with_capacity(files.len());
    for (path, stamp) in &files {
        paths.entry((stamp.device, stamp.inode)).or_default().push(path);
    }
    let is_own = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|own| own == *path);
    let mut surplus = HashSet::new();
    for paths in paths.into_values().filter(|paths| paths.len() > 1) {
        let best = paths.iter().min_by_key(|path| (!is_own(path), !known(path), **path)).copied();
        surplus.extend(paths.into_iter().filter(|path| Some(*path) != best).cloned());
    }
    let mut files = files;
    files.retain(|path, _| !surplus.contains(path));
    files
}

/// An error of kind `Source` for what happened to `path`.
pub fn unreadable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    // EMFILE and ENFILE have no kind of their own.
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        return Error::source(format!("cannot read `{path}`: too many open files"))
            .with_help("raise the limit with `ulimit -n`");
    }
    match error.kind() {
        io::ErrorKind::NotFound => Error::source(format!("`{path}` does not exist"))
            .with_help("correct `files`, or wait for it to appear with `--follow`"),
        io::ErrorKind::PermissionDenied => Error::source(format!("cannot read `{path}`: permission denied"))
            .with_help("allow the user that runs Lakeport to read it"),
        _ => Error::source(format!("cannot read `{path}`: {error}")),
    }
}

fn is_glob(input: &str) -> bool {
    input.contains(['*', '?', '['])
}

fn no_file(path: &Path, file_type: FileType) -> Error {
    let what = match file_type {
        kind if kind.is_socket() => "a socket",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "no file",
    };
    Error::source(format!("`{}` is {what}, expected a file, a folder or a glob", path.display()))
        .with_help("to read a stream, send it to standard input: `stdin = true`")
}

fn below(folder: &Path, found: &mut Found<'_>) -> Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in found.entries(&folder)? {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else {
                found.add_found(&entry.path())?;
            }
        }
    }
    Ok(())
}

impl Found<'_> {
    /// What is in a folder; nothing where it vanished.
    pub fn entries(&mut self, folder: &Path) -> Result<Vec<fs::DirEntry>> {
        let mut found = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => found.push(entry),
                        Err(error) => self.failed(folder, &error)?,
                    }
                }
            }
            Err(error) => self.failed(folder, &error)?,
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        if !metadata.is_file() {
            return Err(no_file(path, metadata.file_type()));
        }
        self.files.insert(path.to_path_buf(), Stamp::of(metadata));
        Ok(())
    }

    /// Adds what was found, not named: that it vanished or is no file stops nothing.
    pub fn add_found(&mut self, path: &Path) -> Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(metadata) => {
                if let Err(error) = self.add(path, &metadata) {
                    self.warnings.push(format!("skipped: {}", error.message));
                }
                Ok(())
            }
            Err(error) => self.failed(path, &error),
        }
    }

    /// What becomes of an entry that cannot be looked at.
    fn failed(&mut self, path: &Path, error: &io::Error) -> Result<()> {
        // A link to itself is no file, now or later.
        let is_loop = error.raw_os_error() == Some(libc::ELOOP);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
            _ if self.follow || is_loop => {
                let next = if self.follow { "it is looked at again" } else { "skipped" };
                self.warnings.push(format!("{}: {next}", unreadable(path, error).message));
                Ok(())
            }
            _ => Err(unreadable(path, error)),
        }
    }
}
