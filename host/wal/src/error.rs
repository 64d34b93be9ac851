//! What can go wrong, with the values that were found and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of an operation on a log.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a log failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict each other.
    #[error("invalid options of the write-ahead log: {0}")]
    Options(String),
    /// The folder holds files of others.
    #[error("`{}` is not a write-ahead log: it holds `{name}`; name a new or an empty folder", .folder.display())]
    NotALog { folder: PathBuf, name: String },
    /// Another process, or another [`Wal`](crate::Wal) of this one, has the log open.
    #[error("the write-ahead log `{}` is open elsewhere; close it there, or name another folder", .folder.display())]
    InUse { folder: PathBuf },
    /// What is on the disk is not what was written.
    #[error("`{}` is damaged at byte {offset}: {reason}; restore the file, or move the whole folder away to begin a new log", .path.display())]
    Damaged { path: PathBuf, offset: u64, reason: String },
    /// The operating system refused an operation.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    /// The disk, a quota or the largest size of a file is reached. Nothing was appended; the log takes more once there is room.
    #[error("no room to write `{}`: {source}; free disk space and append again", .path.display())]
    NoSpace { path: PathBuf, source: Arc<io::Error> },
    /// An earlier write or flush failed, so that it is unknown what is on the disk. Only opening the log again finds out.
    #[error("the write-ahead log takes nothing since a failure, until it is opened again: {cause}")]
    Failed { cause: Box<Error> },
    /// So many bytes wait to be written that this batch was not taken. Append it again later.
    #[error("{queued} bytes wait to be written, and {bytes} more exceed the limit of {limit}; append again later")]
    Busy { queued: u64, bytes: u64, limit: u64 },
    /// The log is full of what is not released. Append again once more of it is exported.
    #[error("the write-ahead log holds {held} bytes, and {bytes} more exceed the limit of {limit}; append again later")]
    Full { held: u64, bytes: u64, limit: u64 },
    /// The batch exceeds what one frame holds. Split it.
    #[error("a batch of {bytes} bytes exceeds the limit of {limit}; split it")]
    TooLarge { bytes: u64, limit: u64 },
    /// The batch is not whole lines, or its keys are not one for each.
    #[error("invalid batch: {0}")]
    Batch(String),
    /// The key of the batch is remembered, with other content.
    #[error("the key of the batch was used with other content; use a key of its own for each batch")]
    KeyReused,
    /// What was asked for has been released.
    #[error("the write-ahead log begins at offset {first}: what was at offset {asked} is released and deleted")]
    Released { asked: u64, first: u64 },
    /// The log ends before the offset: it is not the log that the offset is of, or it lost its end.
    #[error("the write-ahead log ends at offset {next}, before offset {asked}: it is another log, or its end was lost")]
    Beyond { asked: u64, next: u64 },
    /// No line begins at the offset.
    #[error("no line begins at offset {asked} of the write-ahead log: the offset is of another log")]
    NotALine { asked: u64 },
    /// The log was closed before the batch was written.
    #[error("the write-ahead log was closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_path_buf(), offset, reason: reason.into() }
    }

    /// Whether the same call may succeed later without anything but time, released data or disk space.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Busy { .. } | Error::Full { .. } | Error::NoSpace { .. })
    }
}
