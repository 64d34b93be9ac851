//! A lake that is a folder: creating, publishing and replacing files atomically and durably.
//!
//! Reading, listing and deleting go through `object_store`. What must be atomic is done here, with hard links and renames,
//! because (1) the store's own create leaves its temporary file beside the user's files when the process is killed, where
//! readers that list the folder would take it for data, and (2) publishing is a move of a staged file, not a copy.
//!
//! Temporary files are in `{log folder}/tmp/`, named so that listing hides them.
//!
//! What is below the log folder may hold raw data, and is for its owner only: files are created with mode 0600 and folders with
//! 0700. A file gets the mode that the process's umask gives to others when it is published.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::Created;
use super::folders::Folders;
use crate::{Error, Result};

/// A temporary file that is older than this, by the file system's own clock, was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The mode of files that only their owner may read.
const PRIVATE: u32 = 0o600;
/// The mode of files before the umask takes its part.
const PUBLIC: u32 = 0o666;

/// How the names of temporary files end: the store takes them for unfinished uploads and leaves them out of lists.
const TEMPORARY: &str = "#1";

/// The root folder, and the names of this process's temporary files.
#[derive(Debug)]
pub(super) struct LocalLake {
    store: LocalFileSystem,
    root: PathBuf,
    /// Everything below it is private.
    log: PathBuf,
    temporary: PathBuf,
    folders: Folders,
    /// The mode of published files, once it was asked for.
    public_mode: OnceLock<u32>,
    nonce: String,
    next: AtomicU64,
}

/// What became of giving a file another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Done,
    /// The new name is taken.
    Exists,
    /// The old name is gone.
    Gone,
}

impl LocalLake {
    /// Opens the folder, creating it and its parents.
    pub(super) async fn open(folder: &FsPath, log_folder: &str) -> Result<LocalLake> {
        let wanted = folder.to_owned();
        let made = blocking(move || Folders::default().create(&wanted, None)).await;
        made.map_err(|e| super::error::explain("create the folder", &folder.display().to_string(), &e))?;
        Self::at(folder, log_folder)
    }

    /// Opens the folder where it exists.
    pub(super) async fn open_existing(folder: &FsPath, log_folder: &str) -> Result<Option<LocalLake>> {
        match tokio::fs::metadata(folder).await {
            Ok(metadata) if metadata.is_dir() => Self::at(folder, log_folder).map(Some),
            Ok(_) => Err(Error::lake(format!("the lake `{}` is a file; expected a folder", folder.display()))
                .with_help("move the file away, or name another folder")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(super::error::explain("open", &folder.display().to_string(), &e)),
        }
    }

    fn at(folder: &FsPath, log_folder: &str) -> Result<LocalLake> {
        let shown = folder.display().to_string();
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|e| super::error::explain("open", &shown, &e))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        let root = std::fs::canonicalize(folder).map_err(|e| super::error::explain("open", &shown, &e))?;
        let log = root.join(log_folder);
        Ok(LocalLake {
            store,
            temporary: log.join("tmp"),
            root,
            log,
            folders: Folders::default(),
            public_mode: OnceLock::new(),
            nonce: super::probe::nonce()?,
            next: AtomicU64::new(0),
        })
    }

    pub(super) fn store(&self) -> &LocalFileSystem {
        &self.store
    }

    /// The folder for people, ending in `/`.
    pub(super) fn base(&self) -> String {
        format!("{}/", self.root.display().to_string().trim_end_matches('/'))
    }

    /// The file of a key.
    ///
    /// # Errors
    ///
    /// The name cannot be one, such as `x#1`, which the store keeps for itself.
    pub(super) fn file(&self, key: &Path) -> io::Result<PathBuf> {
        self.store.path_to_filesystem(key).map_err(|e| io::Error::new(ErrorKind::InvalidInput, e))
    }

    /// Creates a file with all of its bytes, or finds the name taken.
    pub(super) async fn create(self: &Arc<Self>, key: Path, bytes: Bytes) -> io::Result<Created> {
        let (file, lake) = (self.file(&key)?, self.clone());
        blocking(move || {
            let temporary = lake.new_temporary();
            let written = lake.write_synced(&temporary, &bytes);
            let outcome = written.and_then(|()| lake.link(&temporary, &file));
            let removed = std::fs::remove_file(&temporary);
            match outcome? {
                Named::Done => removed.map(|()| Created::Created),
                Named::Exists => removed.map(|()| Created::Exists),
                Named::Gone => {
                    Err(io::Error::new(ErrorKind::NotFound, "the temporary file was removed by someone else"))
                }
            }
        })
        .await
    }

    /// Writes a file with all of its bytes, in the place of what has the name.
    pub(super) async fn replace(self: &Arc<Self>, key: Path, bytes: Bytes) -> io::Result<()> {
        let (file, lake) = (self.file(&key)?, self.clone());
        blocking(move || {
            let temporary = lake.new_temporary();
            lake.write_synced(&temporary, &bytes)?;
            lake.rename_over(&temporary, &file).map(drop)
        })
        .await
    }

    /// Removes the temporary files of processes that died.
    pub(super) async fn sweep(self: &Arc<Self>) -> io::Result<()> {
        let lake = self.clone();
        blocking(move || {
            let mark = lake.new_temporary();
            // A file of now tells the file system's clock, which need not be this machine's.
            lake.with_parents(&mark, None, || File::create(&mark))?;
            let now = std::fs::metadata(&mark)?.modified()?;
            for entry in std::fs::read_dir(&lake.temporary)? {
                let entry = entry?;
                // An export may be named `tmp`: its folders are here as well.
                if !entry.file_name().to_string_lossy().ends_with(TEMPORARY) {
                    continue;
                }
                let modified = match entry.metadata().and_then(|m| m.modified()) {
                    Ok(modified) => modified,
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                };
                if now.duration_since(modified).is_ok_and(|age| age > ABANDONED) {
                    remove_if_present(&entry.path())?;
                }
            }
            remove_if_present(&mark)
        })
        .await
    }

    /// Opens a new, empty file for staging. Whatever had the name is unlinked first, never truncated: its bytes may be
    /// published under another name already.
    pub(super) fn open_staged(&self, file: &FsPath) -> io::Result<File> {
        self.with_parents(file, None, || {
            loop {
                match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(file) {
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => remove_if_present(file)?,
                    other => return other,
                }
            }
        })
    }

    /// Gives the complete, synced file `from` the new name `to` as well, durably.
    fn link(&self, from: &FsPath, to: &FsPath) -> io::Result<Named> {
        if !self.prepare(from, to)? {
            return Ok(Named::Gone);
        }
        self.name(from, to, || hard_link(from, to))
    }

    /// Renames the complete, synced file `from` to `to`, durably, where nothing has that name. Folders that are empty then are removed.
    pub(super) fn rename_new(&self, from: &FsPath, to: &FsPath) -> io::Result<Named> {
        if !self.prepare(from, to)? {
            return Ok(Named::Gone);
        }
        let named = self.move_aside(from, to)?;
        if named == Named::Done {
            self.remove_empty_folders_of(from);
        }
        Ok(named)
    }

    /// Renames a file that may be anybody's, and leaves its mode as it is.
    pub(super) fn move_aside(&self, from: &FsPath, to: &FsPath) -> io::Result<Named> {
        self.name(from, to, || rename_where_free(from, to))
    }

    /// Gives `from` a new name by `operation`, durably.
    fn name(&self, from: &FsPath, to: &FsPath, operation: impl Fn() -> io::Result<()>) -> io::Result<Named> {
        match self.with_parents(to, Some(from), operation) {
            Ok(()) => self.sync_folder_of(to).map(|()| Named::Done),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Named::Exists),
            Err(e) if e.kind() == ErrorKind::NotFound && !from.try_exists()? => Ok(Named::Gone),
            Err(e) => Err(e),
        }
    }

    /// Renames `from` over `to`, durably; `false` where `from` is gone. Folders that are empty then are removed.
    pub(super) fn rename_over(&self, from: &FsPath, to: &FsPath) -> io::Result<bool> {
        if !self.prepare(from, to)? {
            return Ok(false);
        }
        match self.with_parents(to, Some(from), || std::fs::rename(from, to)) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound && !from.try_exists()? => return Ok(false),
            Err(e) => return Err(e),
        }
        self.sync_folder_of(to)?;
        // Two names of one file: POSIX lets such a rename succeed and do nothing.
        remove_if_present(from)?;
        self.remove_empty_folders_of(from);
        Ok(true)
    }

    /// Gives a file the mode that it has at `to`; `false` where it is gone.
    fn prepare(&self, from: &FsPath, to: &FsPath) -> io::Result<bool> {
        let mode = self.mode_of(to)?;
        let set = || match std::fs::metadata(from)?.permissions().mode() & 0o777 == mode {
            true => Ok(()),
            false => std::fs::set_permissions(from, Permissions::from_mode(mode)),
        };
        match set() {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The mode of a file at `path`.
    fn mode_of(&self, path: &FsPath) -> io::Result<u32> {
        if path.starts_with(&self.log) {
            return Ok(PRIVATE);
        }
        if let Some(mode) = self.public_mode.get() {
            return Ok(*mode);
        }
        // What the umask, or an access control list, makes of it is known once there is a file.
        let file = self.new_temporary();
        let options = || OpenOptions::new().write(true).create_new(true).mode(PUBLIC).open(&file);
        let mode = self.with_parents(&file, None, options)?.metadata()?.permissions().mode() & 0o777;
        remove_if_present(&file)?;
        Ok(*self.public_mode.get_or_init(|| mode))
    }

    /// Makes the entries of `path`'s folder durable.
    pub(super) fn sync_folder_of(&self, path: &FsPath) -> io::Result<()> {
        self.folders.sync_of(path)
    }

    /// Writes a new file, which is for its owner only until it is published.
    fn write_synced(&self, path: &FsPath, bytes: &[u8]) -> io::Result<()> {
        let open = || OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
        let mut file = self.with_parents(path, None, open)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Tries `operation` on `path`, and again with the folder created where something is missing. More than once: folders that
    /// have become empty are removed, and may be so just in between. `source` is what `operation` moves: without it nothing
    /// helps.
    fn with_parents<T>(
        &self,
        path: &FsPath,
        source: Option<&FsPath>,
        operation: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        const TRIES: usize = 64;
        for _ in 1..TRIES {
            match (operation(), path.parent()) {
                (Err(e), Some(folder)) if e.kind() == ErrorKind::NotFound => {
                    if source.map(FsPath::try_exists).transpose()? == Some(false) {
                        return Err(e);
                    }
                    match self.folders.create(folder, Some(&self.log)) {
                        // `AlreadyExists` is about the folder here, which was there and is gone again; it must never pass for
                        // an answer about `path`.
                        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => return Err(e),
                        _ => {}
                    }
                }
                (other, _) => return other,
            }
        }
        operation()
    }

    /// A name for a temporary file that nothing else has.
    fn new_temporary(&self) -> PathBuf {
        self.temporary.join(format!("{}-{}{TEMPORARY}", self.nonce, self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Removes the folders that held a file below the log folder, as far as they are empty. Whoever creates a file in one of them
    /// just then makes it again.
    fn remove_empty_folders_of(&self, file: &FsPath) {
        let folders =
            file.ancestors().skip(1).take_while(|folder| *folder != self.log && folder.starts_with(&self.log));
        for folder in folders {
            if folder == self.temporary || std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// Gives a file a second name where nothing has it.
fn hard_link(from: &FsPath, to: &FsPath) -> io::Result<()> {
    std::fs::hard_link(from, to).map_err(|e| match e.raw_os_error() {
        // What file systems without hard links say to a user who has every permission.
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::EMLINK) => io::Error::new(ErrorKind::Unsupported, e),
        _ => e,
    })
}

/// Renames a file where nothing has the new name: at once, or by a link where the file system knows no such rename.
fn rename_where_free(from: &FsPath, to: &FsPath) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::CString;
        use std::os::unix::ffi::OsStrExt;

        let path = |path: &FsPath| CString::new(path.as_os_str().as_bytes());
        let (old, new) = (path(from)?, path(to)?);
        let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
        // SAFETY: both pointers are to strings that end in a null byte and outlive the call.
        if unsafe { libc::syscall(libc::SYS_renameat2, here, old.as_ptr(), here, new.as_ptr(), flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) {
            return Err(error);
        }
    }
    hard_link(from, to)?;
    remove_if_present(from)
}

/// Asks the system to bring what was written to the disk by and by, so that little is left for the sync at the end.
pub(super) fn start_writing_back(file: &File) {
    // Only a wish: whatever comes of it, the sync says what is on the disk.
    #[cfg(target_os = "linux")]
    // SAFETY: a call without pointers, on a descriptor that the borrow keeps open.
    unsafe {
        libc::sync_file_range(std::os::fd::AsRawFd::as_raw_fd(file), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// What tells a file from the one that takes its place, and from itself once it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64, SystemTime);

/// The identity of a file; `None` where there is none.
pub(super) fn identity(path: &FsPath) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(Identity(inode(&metadata), metadata.len(), metadata.modified()?))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

pub(super) fn remove_if_present(path: &FsPath) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

/// Runs file system calls where they may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(io::Error::other(e)),
    }
}
