//! Which files a source has now.

use std::collections::BTreeMap;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a file looked like from outside. One that looks the same was not written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub inode: u64,
    pub size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of what `metadata` describes.
    pub fn of(metadata: &Metadata) -> Stamp {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Stamp { inode: metadata.ino(), size: metadata.size(), modified }
    }
}

/// The files of `inputs` in the order of their paths, each once: files, every file below folders, and what globs match.
///
/// Below a folder and for a glob, names that begin with a dot are skipped, links to files are followed and links to folders are
/// not. With `may_be_missing`, a file or folder that is not there and a glob that matches nothing have no files yet.
///
/// # Errors
/// Of kind `Source`, naming the path or pattern. What lies below a folder and is no file is a warning.
pub fn list(inputs: &[String], may_be_missing: bool, warnings: &mut Vec<String>) -> Result<BTreeMap<PathBuf, Stamp>> {
    let mut files = BTreeMap::new();
    for input in inputs {
        let path = Path::new(input);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => below(path, &mut files, warnings)?,
            Ok(metadata) => add(path, &metadata, &mut files)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(path, &error)),
            Err(_) if is_glob(input) => {
                if matching(input, &mut files, warnings)? == 0 && !may_be_missing {
                    return Err(Error::source(format!("nothing matches `{input}`"))
                        .with_help("mend `files`, or wait for files to appear with `--follow`"));
                }
            }
            Err(_) if may_be_missing => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    Ok(files)
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
            .with_help("mend `files`, or wait for it to appear with `--follow`"),
        io::ErrorKind::PermissionDenied => Error::source(format!("cannot read `{path}`: permission denied"))
            .with_help("allow the user that runs Lakeport to read it"),
        _ => Error::source(format!("cannot read `{path}`: {error}")),
    }
}

fn is_glob(input: &str) -> bool {
    input.contains(['*', '?', '['])
}

fn add(path: &Path, metadata: &Metadata, files: &mut BTreeMap<PathBuf, Stamp>) -> Result<()> {
    if !metadata.is_file() {
        return Err(no_file(path, metadata.file_type()));
    }
    files.insert(path.to_path_buf(), Stamp::of(metadata));
    Ok(())
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

fn below(folder: &Path, files: &mut BTreeMap<PathBuf, Stamp>, warnings: &mut Vec<String>) -> Result<()> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            // It was there a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| unreadable(&folder, &error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else {
                add_found(&path, files, warnings)?;
            }
        }
    }
    Ok(())
}

fn matching(pattern: &str, files: &mut BTreeMap<PathBuf, Stamp>, warnings: &mut Vec<String>) -> Result<usize> {
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let paths = glob::glob_with(pattern, options).map_err(|error| {
        Error::source(format!("`{pattern}` is no glob: {} at character {}", error.msg, error.pos + 1))
    })?;
    let mut matched = 0;
    for path in paths {
        let path = path.map_err(|error| unreadable(error.path(), error.error()))?;
        if !path.is_dir() {
            matched += 1;
            add_found(&path, files, warnings)?;
        }
    }
    Ok(matched)
}

/// Adds what was found, not named: that it vanished or is no file stops nothing.
fn add_found(path: &Path, files: &mut BTreeMap<PathBuf, Stamp>, warnings: &mut Vec<String>) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(metadata) => {
            if let Err(error) = add(path, &metadata, files) {
                warnings.push(format!("skipped: {}", error.message));
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(path, &error)),
    }
}
