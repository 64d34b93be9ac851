//! The lock file: which component each plugin of a configuration is, by SHA-256.
//!
//! It lies beside the configuration (`lakeport.toml` → `lakeport.lock`) and pins the plugins that come from a path. What runs in
//! production is then what was tested: a component that differs is refused until someone accepts it. Built-in plugins are part
//! of the binary and are not pinned.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::{PluginOrigin, PluginPlan};
use crate::replace::replace;

const HEADER: &str = "\
# The components that this configuration runs, by SHA-256. Lakeport writes this file; keep it with the configuration.
# A component that differs is refused until it is accepted: lakeport plugin accept CONFIG NAME

";

/// The lock file of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    path: PathBuf,
    configuration: PathBuf,
    /// SHA-256 in hexadecimal, by the name that the configuration uses.
    plugins: BTreeMap<String, String>,
}

/// How a plugin stands to the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Pinned {
    /// It is the one that was accepted, or built in.
    Pinned,
    /// There is no entry yet: [`Lock::accept`] makes one.
    New,
    /// It is another one than the one that was accepted.
    Differs {
        /// SHA-256 of the one that was accepted.
        accepted: String,
        /// SHA-256 of this one.
        found: String,
    },
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    plugins: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: String,
}

impl Lock {
    /// Where the lock file of a configuration lies.
    pub fn path_for(configuration: &Path) -> PathBuf {
        configuration.with_extension("lock")
    }

    /// Reads the lock file of `configuration`; an empty one where there is none.
    ///
    /// # Errors
    /// Of kind `Config` where it cannot be read or is no lock file.
    pub fn read(configuration: &Path) -> Result<Lock> {
        let path = Self::path_for(configuration);
        let wrong = |why: &dyn std::fmt::Display| {
            Error::config(format!("cannot read the lock file `{}`: {why}", path.display()))
                .with_help("restore it from version control, or delete it and accept its plugins again")
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(&error)),
        };
        let file: File = toml::from_str(&text).map_err(|error| wrong(&error))?;
        let is_digest =
            |digest: &str| digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if let Some((name, entry)) = file.plugins.iter().find(|(_, entry)| !is_digest(&entry.sha256)) {
            let digest = &entry.sha256;
            return Err(wrong(&format!(
                "plugin `{name}` has the digest `{digest}`, expected 64 lower-case hexadecimal digits"
            )));
        }
        let plugins = file.plugins.into_iter().map(|(name, entry)| (name, entry.sha256)).collect();
        Ok(Lock { path, configuration: configuration.to_owned(), plugins })
    }

    /// How a plugin whose component has the SHA-256 `digest` stands to this file.
    pub fn check(&self, plugin: &PluginPlan, digest: &str) -> Pinned {
        match (&plugin.origin, self.plugins.get(&plugin.name)) {
            (PluginOrigin::BuiltIn, _) => Pinned::Pinned,
            (PluginOrigin::Path(_), None) => Pinned::New,
            (PluginOrigin::Path(_), Some(accepted)) if accepted == digest => Pinned::Pinned,
            (PluginOrigin::Path(_), Some(accepted)) => {
                Pinned::Differs { accepted: accepted.clone(), found: digest.to_owned() }
            }
        }
    }

    /// The error for [`Pinned::Differs`]: both digests, and the command that accepts the new one.
    pub fn refusal(&self, plugin: &str, accepted: &str, found: &str) -> Error {
        Error::config(format!(
            "plugin `{plugin}` has the SHA-256 `{found}`, expected `{accepted}` as `{}` says",
            self.path.display()
        ))
        .with_help(format!(
            "if the new component is what you want, run: lakeport plugin accept {} {plugin}",
            self.configuration.display()
        ))
    }

    /// Accepts the component with the SHA-256 `digest`; [`Lock::write`] makes it last.
    pub fn accept(&mut self, plugin: &str, digest: &str) {
        self.plugins.insert(plugin.to_owned(), digest.to_owned());
    }

    /// Writes the file, whole or not at all; readers see the old one or the new one.
    ///
    /// # Errors
    /// Of kind `Config` where it cannot be written.
    pub fn write(&self) -> Result<()> {
        let plugins =
            self.plugins.iter().map(|(name, digest)| (name.clone(), Entry { sha256: digest.clone() })).collect();
        let text =
            toml::to_string(&File { plugins }).map_err(|error| Error::internal(format!("the lock file: {error}")))?;
        replace(&self.path, format!("{HEADER}{text}").as_bytes())
            .map_err(|error| Error::config(format!("cannot write the lock file `{}`: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Limits;

    const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn plan(name: &str, origin: PluginOrigin) -> PluginPlan {
        PluginPlan { name: name.into(), origin, limits: Limits::default() }
    }

    fn by_path() -> PluginPlan {
        plan("too-hot", PluginOrigin::Path("too_hot.wasm".into()))
    }

    #[test]
    fn an_accepted_plugin_is_pinned_and_another_differs() {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("lakeport.toml");
        let mut lock = Lock::read(&configuration).unwrap();
        assert_eq!(lock.check(&by_path(), OLD), Pinned::New);
        lock.accept("too-hot", OLD);
        lock.write().unwrap();

        let mut lock = Lock::read(&configuration).unwrap();
        assert_eq!(lock.check(&by_path(), OLD), Pinned::Pinned);
        let Pinned::Differs { accepted, found } = lock.check(&by_path(), NEW) else { panic!("it differs") };
        let error = lock.refusal("too-hot", &accepted, &found).to_string();
        assert!(error.contains(&format!("has the SHA-256 `{NEW}`, expected `{OLD}`")), "{error}");
        let command = format!("lakeport plugin accept {} too-hot", configuration.display());
        assert!(error.ends_with(&command), "{error}");

        lock.accept("too-hot", NEW);
        lock.write().unwrap();
        assert_eq!(Lock::read(&configuration).unwrap().check(&by_path(), NEW), Pinned::Pinned);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["lakeport.lock"], "nothing else is left behind");
    }

    #[test]
    fn built_in_plugins_are_not_pinned() {
        let mut lock = Lock::read(Path::new("/nowhere/lakeport.toml")).unwrap();
        lock.accept("select", OLD);
        assert_eq!(lock.check(&plan("select", PluginOrigin::BuiltIn), NEW), Pinned::Pinned);
    }

    #[test]
    fn a_damaged_lock_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("lakeport.toml");
        for (text, why) in [
            ("[plugins", "lakeport.lock"),
            ("[plugins.a]\nsha256 = \"12\"\n", "plugin `a` has the digest `12`"),
            ("[plugins.a]\nmd5 = \"12\"\n", "md5"),
        ] {
            fs::write(Lock::path_for(&configuration), text).unwrap();
            let error = Lock::read(&configuration).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_file_is_the_same_whatever_the_order_of_acceptance() {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("lakeport.toml");
        let mut written = Vec::new();
        for order in [["b", "a"], ["a", "b"]] {
            let mut lock = Lock::read(&configuration).unwrap();
            order.iter().for_each(|name| lock.accept(name, OLD));
            lock.write().unwrap();
            written.push(fs::read_to_string(Lock::path_for(&configuration)).unwrap());
            fs::remove_file(Lock::path_for(&configuration)).unwrap();
        }
        assert_eq!(written[0], written[1]);
        assert_eq!(written[0], format!("{HEADER}[plugins.a]\nsha256 = \"{OLD}\"\n\n[plugins.b]\nsha256 = \"{OLD}\"\n"));
    }
}
