//! Compiled plugins, kept between runs.
//!
//! Deserialising compiled code runs whatever it says, so nothing is loaded that this user did not put there: the folder is the
//! user's alone (0700), and each file carries an HMAC under a random key that only the user can read (0600). Whatever is not
//! authentic, or belongs to another wasmtime, configuration or CPU, is compiled anew. The cache is only ever a short cut: where
//! it cannot be used, plugins are compiled each time and a warning says why.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the key, and of the code before a file's contents.
const MAC: usize = 32;

/// A folder of compiled plugins.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; MAC],
}

/// `LAKEPORT_CACHE_DIR`, or the user's cache folder's `lakeport`; `None` where there is neither.
pub(super) fn default_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("LAKEPORT_CACHE_DIR") {
        return Some(folder);
    }
    let caches = match cfg!(target_os = "macos") {
        true => set("HOME").map(|home| home.join("Library/Caches")),
        // An XDG path that is not absolute is to be ignored, says its specification.
        false => set("XDG_CACHE_HOME").filter(|f| f.is_absolute()).or_else(|| set("HOME").map(|h| h.join(".cache"))),
    };
    caches.map(|folder| folder.join("lakeport"))
}

impl Cache {
    /// Opens, and where needed makes, the cache in `folder`.
    ///
    /// # Errors
    /// Where the folder cannot be made, or others than this user can write to it or read its key.
    pub(super) fn open(folder: &Path) -> io::Result<Cache> {
        let folder = folder.join("compiled");
        private::make_folder(&folder)?;
        let path = folder.join("key");
        let key = match private::read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&folder, &path)?,
            Err(error) => return Err(error),
        };
        let key =
            key.try_into().map_err(|_| io::Error::other(format!("`{}` is not a key; delete it", path.display())))?;
        Ok(Cache { folder, key })
    }

    /// The compiled form of the component whose SHA-256 is `digest`, if it is here and authentic.
    pub(super) fn load(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let name = name(engine, digest);
        let file = private::read(&self.folder.join(&name)).ok()?;
        let (mac, code) = file.split_at_checked(MAC)?;
        self.mac(&name, code).verify_slice(mac).ok()?;
        // SAFETY: the bytes are what `Component::serialize` gave: their HMAC was made by `store` with a key that only this
        // user can read, over these bytes and the name, and the name binds them to this component, wasmtime, configuration
        // and CPU. They are in this process's memory, so nobody changes them after the check.
        let component = unsafe { Component::deserialize(engine, code) };
        component.ok()
    }

    /// Keeps the compiled form of a component.
    ///
    /// # Errors
    /// Where the file cannot be written; the cache is then as it was.
    pub(super) fn store(&self, engine: &Engine, digest: &[u8; 32], component: &Component) -> io::Result<()> {
        let code = component.serialize().map_err(io::Error::other)?;
        let name = name(engine, digest);
        let mac = self.mac(&name, &code).finalize().into_bytes();
        write(&self.folder, &self.folder.join(name), &[&mac, &code])
    }

    /// How many bytes the compiled form takes here; `None` where it is not.
    pub(super) fn size(&self, engine: &Engine, digest: &[u8; 32]) -> Option<u64> {
        fs::metadata(self.folder.join(name(engine, digest))).ok().map(|file| file.len())
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(name.as_bytes());
        mac.update(code);
        mac
    }
}

/// The file's name: what decides whether compiled code fits.
fn name(engine: &Engine, digest: &[u8; 32]) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            unreachable!("only the whole digest is used")
        }
    }
    let mut sha = Sha(Sha256::new());
    sha.write(digest);
    // wasmtime's version, the configuration, the target and the CPU's features.
    engine.precompile_compatibility_hash().hash(&mut sha);
    format!("{}.cwasm", hex::encode(sha.0.finalize()))
}

fn make_key(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0; MAC];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    // A link, unlike a rename, fails where another process was first; that one's key is then everybody's.
    let temporary = folder.join(format!("key.{}", std::process::id()));
    private::create(&temporary)?.write_all(&key)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => private::read(path),
    }
}

fn write(folder: &Path, path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    let temporary = folder.join(format!("tmp.{}", hex::encode(unique)));
    let mut file = private::create(&temporary)?;
    let written = pieces.iter().try_for_each(|piece| file.write_all(piece)).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        fs::remove_file(&temporary)?;
    }
    written
}

/// Files and folders that are this user's alone.
#[cfg(unix)]
mod private {
    use std::fs::{self, DirBuilder, File, OpenOptions};
    use std::io::{self, Read as _};
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
    use std::path::Path;

    pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(folder)?;
        match found.is_dir() {
            true => check(folder, &found),
            false => Err(io::Error::other(format!("`{}` is not a folder", folder.display()))),
        }
    }

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        check(path, &file.metadata()?)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn check(path: &Path, found: &fs::Metadata) -> io::Result<()> {
        // SAFETY: geteuid has no preconditions and cannot fail.
        let user = unsafe { libc::geteuid() };
        let path = path.display();
        if found.uid() != user {
            return Err(io::Error::other(format!("`{path}` belongs to user {}, not to user {user}", found.uid())));
        }
        match found.mode() & 0o077 {
            0 => Ok(()),
            _ => Err(io::Error::other(format!(
                "`{path}` is open to other users: mode {:o}, expected no rights for group and others",
                found.mode() & 0o777
            ))),
        }
    }
}

/// Elsewhere a user's folders are private by inheritance.
#[cfg(not(unix))]
mod private {
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::path::Path;

    pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    pub(super) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::plugin::engine;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    const DIGEST: [u8; 32] = [1; 32];

    fn engine() -> &'static Engine {
        &engine::shared().unwrap().engine
    }

    fn filled(folder: &Path) -> (Cache, PathBuf) {
        let cache = Cache::open(folder).unwrap();
        cache.store(engine(), &DIGEST, &Component::from_binary(engine(), EMPTY).unwrap()).unwrap();
        let file = cache.folder.join(name(engine(), &DIGEST));
        (cache, file)
    }

    #[test]
    fn what_was_stored_is_loaded_also_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, _) = filled(folder.path());
        assert!(cache.load(engine(), &DIGEST).is_some());
        assert!(Cache::open(folder.path()).unwrap().load(engine(), &DIGEST).is_some());
        assert!(cache.load(engine(), &[2; 32]).is_none(), "another component");
    }

    #[test]
    fn a_file_that_was_changed_anywhere_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        let whole = fs::read(&file).unwrap();
        for at in [0, MAC - 1, MAC, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            assert!(cache.load(engine(), &DIGEST).is_none(), "byte {at}");
        }
        for length in [0, MAC - 1, MAC, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert!(cache.load(engine(), &DIGEST).is_none(), "{length} bytes");
        }
        fs::write(&file, whole).unwrap();
        assert!(cache.load(engine(), &DIGEST).is_some());
    }

    #[test]
    fn a_file_under_another_name_or_another_key_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        fs::copy(&file, cache.folder.join(name(engine(), &[2; 32]))).unwrap();
        assert!(cache.load(engine(), &[2; 32]).is_none());
        let other = tempfile::tempdir().unwrap();
        let stranger = Cache::open(other.path()).unwrap();
        fs::copy(&file, stranger.folder.join(name(engine(), &DIGEST))).unwrap();
        assert!(stranger.load(engine(), &DIGEST).is_none());
    }

    #[test]
    fn folder_and_files_are_the_users_alone_or_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.folder), mode(&file), mode(&cache.folder.join("key"))), (0o700, 0o600, 0o600));

        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&file, 0o644);
        assert!(cache.load(engine(), &DIGEST).is_none());
        set(&cache.folder.join("key"), 0o640);
        let error = Cache::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is open to other users: mode 640"), "{error}");
        set(&cache.folder.join("key"), 0o600);
        set(&cache.folder, 0o755);
        let error = Cache::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is open to other users: mode 755"), "{error}");
    }

    #[test]
    fn a_link_in_the_folders_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("compiled")).unwrap();
        assert!(Cache::open(folder.path()).unwrap_err().to_string().contains("is not a folder"));
    }
}
