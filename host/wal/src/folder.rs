//! The folder of a log: marked, locked, and with names of its own.
//!
//! Only a folder that was made by a log is used, and in it only the files that have a segment's name.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::frame::{SEGMENT_HEADER, checksum, header_bytes};
use crate::id::LogId;

/// Marks a folder as a log, holds its identity, and is locked by the process that has the log open.
const MARKER: &str = ".lakeport-wal";
const HEADING: &str = "lakeport-wal 1 ";
const EXPECTED: &str = "expected `lakeport-wal 1`, 32 hexadecimal digits and their checksum";
const NOTE: &str = "\nThis folder is a write-ahead log of Lakeport. Its files hold records that are not exported yet; Lakeport deletes them.\n";
const SUFFIX: &str = ".wal";
/// Holds the offset before which lines are no longer needed, as it was when that was last noted.
const RELEASED: &str = "released";

/// A log's folder, locked for as long as this lives.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) id: LogId,
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A child process that is being started may hold the file open a little longer.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Opens the log in `path`. A folder that is missing or empty becomes one.
    pub(crate) fn open(path: &Path) -> Result<Folder> {
        make(path)?;
        let marker = path.join(MARKER);
        if !is_file(&marker) {
            refuse_others(path)?;
        }
        let failed = |error| Error::io("open", &marker, error);
        let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&marker);
        let mut lock = options.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { folder: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &marker, error)),
        }
        let mut text = Vec::new();
        (&lock).take(4096).read_to_end(&mut text).map_err(|error| Error::io("read", &marker, error))?;
        let text = String::from_utf8_lossy(&text);
        let id = match identity(&text) {
            Some(id) => id,
            // It was being made when the machine stopped.
            None if segments(path)?.is_empty()
                && (text.is_empty() || HEADING.starts_with(&*text) || text.starts_with(HEADING)) =>
            {
                write_marker(path, &marker, &mut lock)?
            }
            None => {
                return Err(Error::damaged(&marker, 0, EXPECTED));
            }
        };
        Ok(Folder { path: path.to_path_buf(), id, lock })
    }

    /// The offsets at which the segments begin, in order.
    pub(crate) fn segments(&self) -> Result<Vec<u64>> {
        segments(&self.path)
    }

    /// The path of the segment that begins at `first`.
    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        segment(&self.path, first)
    }

    /// Notes that the lines before `up_to` are no longer needed. A power failure may lose that: then more seems to be needed.
    pub(crate) fn note_released(&self, up_to: u64) -> Result<()> {
        let path = self.path.join(RELEASED);
        let failed = |error| Error::io("write", &path, error);
        // Always as long, so that it is replaced in one write.
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        file.write_all_at(format!("{up_to:020}\n").as_bytes(), 0).map_err(failed)
    }

    /// Makes what was created and deleted in the folder durable.
    pub(crate) fn sync(&self) -> Result<()> {
        sync_folder(&self.path)
    }
}

/// The path of the segment that begins at `first`.
pub(crate) fn segment(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

fn make(path: &Path) -> Result<()> {
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Error::io("create", path, error))?;
        // The folder's name is only kept once its own folder is.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
    }
    Ok(())
}

fn write_marker(path: &Path, marker: &Path, lock: &mut File) -> Result<LogId> {
    let id = LogId::draw().map_err(|error| Error::io("draw random bits for", marker, error))?;
    let written = lock.set_len(0).and_then(|()| lock.write_all(format!("{}{NOTE}", heading(id)).as_bytes()));
    written.and_then(|()| lock.sync_all()).map_err(|error| Error::io("write", marker, error))?;
    sync_folder(path)?;
    Ok(id)
}

/// The first line of the marker.
fn heading(id: LogId) -> String {
    let sum = checksum(&[&id.0]);
    format!("{HEADING}{id} {sum:08x}")
}

fn identity(text: &str) -> Option<LogId> {
    let (line, _) = text.split_once('\n')?;
    let mut id = [0; 16];
    hex::decode_to_slice(line.strip_prefix(HEADING)?.split_once(' ')?.0, &mut id).ok()?;
    (line == heading(LogId(id))).then_some(LogId(id))
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| Error::io("flush", path, error))
}

/// Refuses a folder that holds anything: the files of a log are deleted once they are exported.
fn refuse_others(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io("list", folder, error))? {
        let name = entry.map_err(|error| Error::io("list", folder, error))?.file_name();
        // Another process may be making this log at the same time.
        if name != MARKER || !is_file(&folder.join(MARKER)) {
            return Err(Error::NotALog { folder: folder.to_path_buf(), name: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

/// The identity of the log in `folder`; nothing where there is none, or one that was never written to.
pub(crate) fn identity_of(folder: &Path) -> Result<Option<LogId>> {
    let marker = folder.join(MARKER);
    if !is_file(&marker) {
        return Ok(None);
    }
    let text = fs::read(&marker).map_err(|error| Error::io("read", &marker, error))?;
    match identity(&String::from_utf8_lossy(&text)) {
        None if !segments(folder)?.is_empty() => Err(Error::damaged(&marker, 0, EXPECTED)),
        id => Ok(id),
    }
}

/// The offset before which the lines of the log in `folder` are no longer needed, as far as that was noted.
pub(crate) fn released(folder: &Path) -> u64 {
    let noted = fs::read_to_string(folder.join(RELEASED)).ok();
    noted.and_then(|noted| noted.trim_end().parse().ok()).unwrap_or(0)
}

pub(crate) fn segments(folder: &Path) -> Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::io("list", folder, error))? {
        let path = entry.map_err(|error| Error::io("list", folder, error))?.path();
        firsts.extend(path.file_name().and_then(|name| first_of(name.to_str()?)).filter(|_| is_file(&path)));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Bytes of the frames in `folder`, which nobody needs to have open; `None` where it is no log.
pub(crate) fn bytes_in(folder: &Path) -> Option<u64> {
    let marker = folder.join(MARKER);
    if !is_file(&marker) {
        return None;
    }
    let bytes = segments(folder).ok()?.into_iter().map(|first| {
        let path = folder.join(format!("{first:020}{SUFFIX}"));
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let mut header = [0; SEGMENT_HEADER];
        let is_whole = File::open(&path).and_then(|mut file| file.read_exact(&mut header)).is_ok();
        size.saturating_sub(if is_whole { header_bytes(&header) } else { size })
    });
    Some(bytes.sum())
}

/// The offset in a segment's name: 20 digits and `.wal`.
fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_own = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_own.then(|| digits.parse().ok()).flatten()
}

/// Whether there is a regular file at `path` itself, not behind a link.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}
