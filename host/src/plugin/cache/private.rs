//! Files and folders that are this user's alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Rights of others than the user, to anything and to change it.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// How a folder was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The user's alone, or new.
    Private,
    /// Others could look into it. It is the user's alone now.
    Readable,
    /// Others could change what is in it. It is the user's alone now.
    Writable,
}

/// Makes a folder, or takes the rights of others from one that is there.
///
/// # Errors
/// Where it cannot be made, is no folder or belongs to another user.
pub(super) fn make_folder(folder: &Path) -> io::Result<Found> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(invalid(format!("`{}` is not a folder", folder.display())));
    }
    check_owner(folder, &found)?;
    if found.mode() & OTHERS == 0 {
        return Ok(Found::Private);
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    Ok(if found.mode() & OTHERS_WRITE == 0 { Found::Readable } else { Found::Writable })
}

/// Creates a file that is not there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a file.
///
/// # Errors
/// Of kind `InvalidData` where it is not a file, or not the user's alone.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its other end.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => invalid(format!("`{}` is a symbolic link, expected a file", path.display())),
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(invalid(format!("`{}` is not a file", path.display())));
    }
    check_owner(path, &found)?;
    if found.mode() & OTHERS != 0 {
        let mode = found.mode() & 0o777;
        let path = path.display();
        return Err(invalid(format!("`{path}` is open to other users: mode {mode:o}, expected 600")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_owner(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    match found.uid() == user {
        true => Ok(()),
        false => Err(invalid(format!("`{}` belongs to user {}, not to user {user}", path.display(), found.uid()))),
    }
}

pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
