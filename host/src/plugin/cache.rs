//! Compiled plugins, kept between runs.
//!
//! Deserialising compiled code runs whatever it says, so nothing is loaded that this user did not put there: the folder is the
//! user's alone (0700), and each file carries an HMAC under a random key that only the user can read (0600). Whatever is not
//! authentic, or belongs to another wasmtime, configuration or CPU, is compiled anew. A folder that others could write to, or a
//! key that others could read, is made private and begun anew, with a warning. Where the cache cannot be used, plugins are
//! compiled each time and a warning says why.

mod private;

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine;
use private::Found;

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
    /// Where the folder cannot be made or made private.
    pub(super) fn open(folder: &Path) -> io::Result<Cache> {
        let folder = folder.join("compiled");
        let shown = folder.display();
        match private::make_folder(&folder)? {
            Found::Private => {}
            Found::Readable => tracing::warn!("`{shown}` was open to other users; it is this user's alone now"),
            Found::Writable => {
                tracing::warn!(
                    "other users could write to `{shown}`; it is this user's alone now, and plugins are compiled anew"
                );
                clear(&folder)?;
            }
        }
        let path = folder.join("key");
        let key = match read_key(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&folder, &path)?,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!("{error}; the key is made anew, and so are compiled plugins");
                clear(&folder)?;
                make_key(&folder, &path)?
            }
            key => key?,
        };
        Ok(Cache { folder, key })
    }

    /// The compiled form of the component whose SHA-256 is `digest`, if it is here and authentic.
    pub(super) fn load(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let path = self.folder.join(name(engine, digest));
        match self.read(engine, digest, &path) {
            Ok(component) => Some(component),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("the compiled plugin `{}` cannot be used and is compiled anew: {error}", path.display());
                None
            }
        }
    }

    fn read(&self, engine: &Engine, digest: &[u8; 32], path: &Path) -> io::Result<Component> {
        let file = private::read(path)?;
        let forged = || private::invalid("it is not what was written".to_owned());
        let (mac, code) = file.split_at_checked(MAC).ok_or_else(forged)?;
        self.mac(&name(engine, digest), code).verify_slice(mac).map_err(|_| forged())?;
        // SAFETY: the bytes are what the compiler made: their HMAC was made by `store` with a key that only this user can read,
        // over these bytes and the name, and the name binds them to this component, wasmtime, configuration and CPU. They are in
        // this process's memory, so nobody changes them after the check.
        engine::enter(|| unsafe { Component::deserialize(engine, code) })
            .map_err(|error| io::Error::other(format!("{error:#}")))
    }

    /// Keeps the compiled code of a component.
    ///
    /// # Errors
    /// Where the file cannot be written; the cache is then as it was.
    pub(super) fn store(&self, engine: &Engine, digest: &[u8; 32], code: &[u8]) -> io::Result<()> {
        let name = name(engine, digest);
        let mac = self.mac(&name, code).finalize().into_bytes();
        write(&self.folder, &self.folder.join(name), &[&mac, code])
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

fn read_key(path: &Path) -> io::Result<[u8; MAC]> {
    let key = private::read(path)?;
    let length = key.len();
    key.try_into().map_err(|_| private::invalid(format!("`{}` has {length} bytes, expected {MAC}", path.display())))
}

fn make_key(folder: &Path, path: &Path) -> io::Result<[u8; MAC]> {
    let mut key = [0; MAC];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    // A link, unlike a rename, fails where another process was first; that one's key is then everybody's.
    let temporary = folder.join(format!("key.{}", std::process::id()));
    private::create(&temporary)?.write_all(&key)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_key(path),
    }
}

/// Removes the key, and what was written with it.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name == "key" || name.ends_with(".cwasm") || name.starts_with("key.") || name.starts_with("tmp.");
        if is_ours && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    const DIGEST: [u8; 32] = [1; 32];

    fn engine() -> &'static Engine {
        &engine::shared().unwrap().engine
    }

    fn filled(folder: &Path) -> (Cache, PathBuf) {
        let cache = Cache::open(folder).unwrap();
        cache.store(engine(), &DIGEST, &engine().precompile_component(EMPTY).unwrap()).unwrap();
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

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folder_and_files_are_the_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        assert_eq!((mode(&cache.folder), mode(&file), mode(&cache.folder.join("key"))), (0o700, 0o600, 0o600));
        set(&file, 0o644);
        assert!(cache.load(engine(), &DIGEST).is_none());
        set(&file, 0o600);

        set(&cache.folder, 0o755);
        let again = Cache::open(folder.path()).unwrap();
        assert_eq!(mode(&cache.folder), 0o700);
        assert!(again.load(engine(), &DIGEST).is_some(), "nobody else could change anything");
    }

    #[test]
    fn a_folder_that_others_could_write_to_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        fs::write(cache.folder.join("of another program"), "").unwrap();
        set(&cache.folder, 0o777);
        let again = Cache::open(folder.path()).unwrap();
        assert_eq!(mode(&cache.folder), 0o700);
        assert!(again.key != cache.key && !file.exists() && cache.folder.join("of another program").exists());
        let (_, file) = filled(folder.path());
        assert!(file.exists() && Cache::open(folder.path()).unwrap().key == again.key);
    }

    #[test]
    fn a_key_that_is_none_or_that_others_could_read_is_made_anew() {
        let break_it: [fn(&Path); 5] = [
            |key| set(key, 0o644),
            |key| fs::write(key, "").unwrap(),
            |key| fs::write(key, [0; MAC + 1]).unwrap(),
            |key| {
                fs::rename(key, key.with_file_name("elsewhere")).unwrap();
                symlink("elsewhere", key).unwrap();
            },
            |key| {
                fs::remove_file(key).unwrap();
                make_pipe(key);
            },
        ];
        for break_it in break_it {
            let folder = tempfile::tempdir().unwrap();
            let (cache, file) = filled(folder.path());
            break_it(&cache.folder.join("key"));
            let again = Cache::open(folder.path()).unwrap();
            assert!(again.key != cache.key && !file.exists());
            assert_eq!(mode(&cache.folder.join("key")), 0o600);
            assert!(fs::symlink_metadata(cache.folder.join("key")).unwrap().is_file());
            assert_eq!(Cache::open(folder.path()).unwrap().key, again.key);
        }
    }

    fn make_pipe(path: &Path) {
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is a string that ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    }

    #[test]
    fn what_is_no_file_is_replaced_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, file) = filled(folder.path());
        let code = engine().precompile_component(EMPTY).unwrap();
        let replace: [fn(&Path); 2] = [make_pipe, |file| symlink("/etc/passwd", file).unwrap()];
        for replace in replace {
            fs::remove_file(&file).unwrap();
            replace(&file);
            assert!(cache.load(engine(), &DIGEST).is_none());
            cache.store(engine(), &DIGEST, &code).unwrap();
            assert!(cache.load(engine(), &DIGEST).is_some());
        }
    }

    #[test]
    fn a_link_in_the_folders_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), folder.path().join("compiled")).unwrap();
        assert!(Cache::open(folder.path()).unwrap_err().to_string().contains("is not a folder"));
    }
}
