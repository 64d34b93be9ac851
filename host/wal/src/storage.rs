//! The writes that may fail, which tests replace.

use std::fs::File;
use std::io::{self, IoSlice, Write};

/// Appends to a segment's file and makes it durable.
pub(crate) trait Storage: Send {
    /// Writes some of `parts` to the end of `file`, and returns how many bytes.
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes all that was written durable.
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The file system.
pub(crate) struct FileSystem;

impl Storage for FileSystem {
    fn write(&mut self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Whether `error` says that there is no room: the disk, a quota or the largest size of a file is reached.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}
