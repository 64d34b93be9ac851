//! The folder of a spool: marked, locked, and with names of its own.
//!
//! Only a folder that holds nothing but spool files is ever used, and only files with a spool's names are read or deleted.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::unwritable;
use crate::error::{Error, Result};

/// Marks a folder as a spool; the process that uses the spool holds a lock on it.
const MARKER: &str = ".lakeport-spool";
const NOTE: &[u8] =
    b"This folder is a spool of Lakeport. Its files hold standard input that is not exported yet; Lakeport deletes them.\n";

/// A spool's folder, locked for as long as this lives.
pub struct Folder {
    pub path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the spool in `path`. A folder that is missing or empty becomes one, as does one that an earlier version used.
    ///
    /// # Errors
    /// Of kind `Source`: a folder of other files, one that another process uses, one that cannot be written to.
    pub fn open(path: &Path) -> Result<Folder> {
        let failed = |error: &io::Error| unwritable(path, error);
        if path.to_str().is_none() {
            let message = format!("the path of the spool `{}` is not UTF-8", path.display());
            return Err(Error::source(message).with_help("name a folder whose path is UTF-8"));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed(&error))?;
        let marker = path.join(MARKER);
        if !is_file(&marker) {
            refuse_others(path)?;
        }
        let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(&marker);
        let mut lock = lock.map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::source(format!("the spool `{}` is used by another run", path.display()))
                    .with_help("end that run, or name another folder: each run needs a spool of its own"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        if lock.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            io::Write::write_all(&mut lock, NOTE).map_err(|error| failed(&error))?;
        }
        Ok(Folder { path: path.to_path_buf(), _lock: lock })
    }

    /// The spool files that are there, in the order in which each run wrote its own.
    ///
    /// # Errors
    /// Of kind `Source`, naming the folder.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| unwritable(&self.path, &error))? {
            let path = entry.map_err(|error| unwritable(&self.path, &error))?.path();
            if is_own(&path) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Whether `path` is a spool file of this folder.
    pub fn owns(&self, path: &Path) -> bool {
        path.parent() == Some(&self.path) && is_own(path)
    }

    /// Creates the file with the first free number of `run`, from `number` on.
    ///
    /// # Errors
    /// Of kind `Source`, naming the path.
    pub fn create(&self, run: &str, number: &mut u32) -> Result<(PathBuf, File)> {
        loop {
            let path = self.path.join(format!("{run}-{number:06}.ndjson"));
            *number += 1;
            let file = match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file.map_err(|error| unwritable(&path, &error))?,
            };
            // The file's name is only kept once its folder is.
            let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
            synced.map_err(|error| unwritable(&self.path, &error))?;
            return Ok((path, file));
        }
    }
}

/// Refuses a folder that holds anything but spool files: whatever is read from a spool is deleted.
fn refuse_others(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| unwritable(folder, &error))? {
        let path = entry.map_err(|error| unwritable(folder, &error))?.path();
        // Another run may be making this spool at the same time.
        if !is_own(&path) && path.file_name() != Some(MARKER.as_ref()) {
            let name = path.file_name().unwrap_or_default().display();
            return Err(Error::source(format!("`{}` is not a spool: it holds `{name}`", folder.display())).with_help(
                "name a new or an empty folder: files in a spool are exported, and deleted once they are committed",
            ));
        }
    }
    Ok(())
}

/// Whether `path` is a regular file with the name of a spool file: `{run}-{number}.ndjson`.
fn is_own(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".ndjson"));
    let named = name.and_then(|name| name.split_once('-')).is_some_and(|(run, number)| {
        run.len() == 32
            && run.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && number.len() >= 6
            && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    named && is_file(path)
}

/// Whether there is a regular file at `path` itself, not behind a link.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}
