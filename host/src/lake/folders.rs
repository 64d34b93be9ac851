//! Folders of a local lake: creating them, and making what they hold durable.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Syncs of folders. Those who want the same one at the same time share it.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<HashMap<PathBuf, Arc<Syncs>>>);

/// The syncs of one folder, numbered from 1.
#[derive(Debug, Default)]
struct Syncs {
    begun: AtomicU64,
    /// The last one, and the system's number for why it failed. Held while one is at work.
    last: Mutex<(u64, Option<i32>)>,
}

impl Syncs {
    /// Returns once a sync has ended that began after the call: it covers everything that was done in the folder before.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = lock(&self.last);
        if last.0 <= before {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            *last = (number, synced.as_ref().err().map(|error| error.raw_os_error().unwrap_or(libc::EIO)));
            return synced;
        }
        last.1.map_or(Ok(()), |number| Err(io::Error::from_raw_os_error(number)))
    }
}

impl Folders {
    /// Makes the entries of the folder of `path` durable.
    pub(super) fn sync_of(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        let syncs = lock(&self.0).entry(folder.to_owned()).or_default().clone();
        let synced = syncs.sync(folder);
        let mut all = lock(&self.0);
        // Nobody else wants it: the map and this call have it.
        if Arc::strong_count(&syncs) == 2 {
            all.remove(folder);
        }
        // While nobody else counts: the last one of several must find itself alone.
        drop(syncs);
        drop(all);
        synced
    }

    /// Creates a folder and its parents, and makes every new entry durable. Those at and below `private` are for their owner only.
    pub(super) fn create(&self, folder: &Path, private: Option<&Path>) -> io::Result<()> {
        let missing: Vec<_> = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
        let mode =
            |folder: &Path| if private.is_some_and(|private| folder.starts_with(private)) { 0o700 } else { 0o777 };
        for new in missing.iter().rev() {
            // Where another process made it, the mode is that one's.
            DirBuilder::new().recursive(true).mode(mode(new)).create(new)?;
        }
        // Refuses a file that has the name.
        DirBuilder::new().recursive(true).mode(mode(folder)).create(folder)?;
        for new in missing {
            // Another process may have removed it again as empty, or not let this one open it; then it is not ours to sync.
            match self.sync_of(new) {
                Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_began_before_the_call_is_not_taken_for_one_that_covers_it() {
        let folder = tempfile::tempdir().unwrap();
        let syncs = Syncs::default();
        syncs.sync(folder.path()).unwrap();
        syncs.sync(folder.path()).unwrap();
        assert_eq!(syncs.begun.load(Ordering::SeqCst), 2, "one after the other, each has its own");

        std::thread::scope(|scope| {
            let at_work = lock(&syncs.last);
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| syncs.sync(folder.path()))).collect();
            // All of them have come while the second one is at work.
            std::thread::sleep(std::time::Duration::from_millis(200));
            drop(at_work);
            waiting.into_iter().for_each(|waits| waits.join().unwrap().unwrap());
        });
        assert_eq!(syncs.begun.load(Ordering::SeqCst), 3, "they share the next one");
    }

    #[test]
    fn a_failure_is_that_of_all_who_share_it_and_nothing_is_kept_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let folders = Folders::default();
        assert_eq!(folders.sync_of(&gone.join("file")).unwrap_err().kind(), ErrorKind::NotFound);
        folders.create(&gone, None).unwrap();
        folders.sync_of(&gone.join("file")).unwrap();
        assert!(lock(&folders.0).is_empty());
    }

    #[test]
    fn nothing_is_kept_of_a_folder_that_several_want_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::default();
        for _ in 0..50 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| folders.sync_of(&folder.path().join("file")).unwrap());
                }
            });
            assert!(lock(&folders.0).is_empty());
        }
    }
}
