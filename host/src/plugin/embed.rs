//! Compiled plugins that a program carries behind its own bytes, so that its first start compiles nothing.
//!
//! A package or an image is made once and started often, on CPUs that nobody knows when it is made: its plugins are compiled for
//! every CPU of the target. They stand behind the program in the same file:
//!
//! ```text
//! program · code of each plugin · index (JSON) · length of the index (8 bytes, little endian) · MAGIC
//! ```
//!
//! What is behind the program is trusted as the program itself is: who can change the one can change the other. Code of
//! another version of the runtime, or for another target, is left alone, and the plugin is compiled as ever.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use memchr::memmem;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::Compiler;
use super::engine::{self, Cpu};
use super::inspect::{Compiled, to_compile};
use super::sandbox::Sandbox;
use crate::error::{Error, Result};
use crate::plan::{PluginOrigin, PluginPlan};

/// The end of a file that carries compiled plugins. Programs that look for it contain it.
#[used]
static MAGIC: [u8; 32] = *b"lakeport: compiled plugins (v1)\n";
/// Bytes behind the index.
const TRAILER: u64 = 8 + MAGIC.len() as u64;
/// Bytes of an index.
const INDEX: u64 = 1 << 20;

/// One plugin's code in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// SHA-256 of the component, in hexadecimal.
    component: String,
    /// Where the code begins, from the beginning of the file.
    at: u64,
    /// Bytes of it.
    length: u64,
}

/// A program's file and the plugins behind it.
#[derive(Debug)]
struct Embedded {
    file: File,
    /// Bytes of the program itself.
    program: u64,
    entries: Vec<Entry>,
}

/// The compiled form of the component whose SHA-256 is `digest`, where the program that runs carries it and it fits this machine.
pub(super) fn load(engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
    static OWN: OnceLock<Option<Embedded>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let found = running().and_then(|path| Embedded::read(File::open(path)?));
        found.map_err(|error| tracing::warn!("the compiled plugins of this program cannot be read: {error}")).ok()?
    });
    let code = own.as_ref()?.code(digest)?;
    // SAFETY: the bytes are what `embed` put behind this program, from the very file that runs. Who could change them could change
    // the program.
    let component = engine::enter(|| unsafe { Component::deserialize(engine, &code) });
    component
        .map_err(|error| {
            tracing::warn!("a compiled plugin of this program does not fit, and is compiled anew: {error:#}")
        })
        .ok()
}

/// The file that runs, whatever lies at its path by now.
pub(super) fn running() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

impl Embedded {
    /// Reads what a file carries; `None` where that is nothing.
    fn read(file: File) -> io::Result<Option<Embedded>> {
        let length = file.metadata()?.len();
        let Some(end) = length.checked_sub(TRAILER) else { return Ok(None) };
        let mut trailer = [0; TRAILER as usize];
        file.read_exact_at(&mut trailer, end)?;
        let (size, magic) = trailer.split_at(8);
        if magic != MAGIC {
            return Ok(None);
        }
        let size = u64::from_le_bytes(size.try_into().expect("it was cut at 8"));
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {what}"));
        let index = end.checked_sub(size).filter(|_| size <= INDEX).ok_or_else(|| damaged("the index is too long"))?;
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, index)?;
        let entries: Vec<Entry> = serde_json::from_slice(&bytes)?;
        let fits = |entry: &Entry| entry.at.checked_add(entry.length).is_some_and(|end| end <= index);
        if !entries.iter().all(fits) {
            return Err(damaged("code lies outside of the file"));
        }
        let program = entries.iter().map(|entry| entry.at).min().unwrap_or(index);
        Ok(Some(Embedded { file, program, entries }))
    }

    fn code(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let digest = hex::encode(digest);
        let entry = self.entries.iter().find(|entry| entry.component == digest)?;
        let mut code = vec![0; entry.length as usize];
        let read = self.file.read_exact_at(&mut code, entry.at);
        read.map_err(|error| tracing::warn!("a compiled plugin of this program cannot be read: {error}")).ok()?;
        Some(code)
    }
}

/// Compiles the built-in plugins, those of `configured` that come from a path, and the components in `files`, for every CPU of this program's target, and puts them behind
/// `program`, in the place of those that it carried before. The file is replaced at once, or left as it was.
///
/// # Errors
/// Of kind `Config` where `program` is none of Lakeport or cannot be replaced; otherwise as for [`Sandbox::load`].
pub fn embed(
    sandbox: &Sandbox,
    program: &Path,
    files: &[PathBuf],
    configured: &[Arc<PluginPlan>],
) -> Result<Vec<Compiled>> {
    let shown = program.display();
    let cannot = |error: io::Error| Error::config(format!("cannot put plugins into `{shown}`: {error}"));
    let mut bytes = fs::read(program).map_err(cannot)?;
    if let Some(before) = File::open(program).and_then(Embedded::read).map_err(cannot)? {
        bytes.truncate(usize::try_from(before.program).unwrap_or(usize::MAX));
    }
    if memmem::find(&bytes, &MAGIC).is_none() {
        return Err(Error::config(format!("`{shown}` is no program of Lakeport that can carry compiled plugins"))
            .with_help("name the file of `lakeport`, or of another program that is built from it"));
    }
    let (mut entries, mut compiled) = (Vec::new(), Vec::new());
    for plugin in to_compile(files, configured) {
        // It is loaded as a run does it, so that what cannot run is refused here.
        let loaded = sandbox.load(&plugin)?;
        let compiler = match plugin.origin {
            PluginOrigin::BuiltIn => &Compiler::ThisProcess,
            PluginOrigin::Path(_) => sandbox.compiler(),
        };
        let code = compiler.compile(&plugin.name, &loaded.bytes, &plugin.limits, Cpu::Any)?;
        let (at, length) = (bytes.len() as u64, code.len() as u64);
        entries.push(Entry { component: loaded.digest.clone(), at, length });
        bytes.extend_from_slice(&code);
        compiled.push(Compiled {
            plugin: plugin.name.clone(),
            digest: loaded.digest.clone(),
            size: loaded.size,
            compiled_size: length,
        });
    }
    let index = serde_json::to_vec(&entries).map_err(|error| Error::internal(error.to_string()))?;
    bytes.extend_from_slice(&index);
    bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&MAGIC);
    crate::replace::replace(program, &bytes).map_err(cannot)?;
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that looks like a program, and a sandbox that keeps nothing for the user.
    fn program(folder: &Path) -> (PathBuf, Sandbox) {
        let program = folder.join("program");
        fs::write(&program, [b"\x7fELF ".as_slice(), &MAGIC, b" and more"].concat()).unwrap();
        (program, Sandbox::new(Some(folder.join("cache")), Compiler::ThisProcess).unwrap())
    }

    #[test]
    fn a_program_carries_code_that_runs_here() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sandbox) = program(folder.path());
        let before = fs::read(&path).unwrap();
        let compiled = embed(&sandbox, &path, &[test_guests::FILTER.into()], &[]).unwrap();
        let names: Vec<&str> = compiled.iter().map(|plugin| &*plugin.plugin).collect();
        assert_eq!(names, ["avro", "cdm-csv", "enrich", "ndjson", "select", test_guests::FILTER]);
        let embedded = Embedded::read(File::open(&path).unwrap()).unwrap().unwrap();
        assert_eq!((embedded.program, embedded.entries.len()), (before.len() as u64, 6));
        let engine = &engine::shared().unwrap().engine;
        for plugin in &compiled {
            let digest = hex::decode(&plugin.digest).unwrap().try_into().unwrap();
            let code = embedded.code(&digest).unwrap();
            assert_eq!(code.len() as u64, plugin.compiled_size);
            // SAFETY: the compiler of this process made it just now.
            unsafe { Component::deserialize(engine, &code) }.unwrap();
        }
        assert!(embedded.code(&[0; 32]).is_none(), "another component");
        // What it carried before is replaced.
        embed(&sandbox, &path, &[], &[]).unwrap();
        let embedded = Embedded::read(File::open(&path).unwrap()).unwrap().unwrap();
        assert_eq!((embedded.program, embedded.entries.len()), (before.len() as u64, 5));
        assert!(fs::read(&path).unwrap().starts_with(&before));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left: the program and the cache");
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sandbox) = program(folder.path());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let refused = embed(&sandbox, &path, &[], &[]).unwrap_err().to_string();
        assert!(refused.contains("is no program of Lakeport"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh\n");
        let missing = embed(&sandbox, &folder.path().join("none"), &[], &[]).unwrap_err().to_string();
        assert!(missing.contains("cannot put plugins into"), "{missing}");
    }

    #[test]
    fn a_damaged_index_is_no_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let (path, sandbox) = program(folder.path());
        embed(&sandbox, &path, &[], &[]).unwrap();
        let whole = fs::read(&path).unwrap();
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Embedded::read(File::open(&path).unwrap())
        };
        for length in [0, 7, TRAILER as usize - 1, whole.len() - 1] {
            assert!(read(&whole[..length]).unwrap().is_none(), "{length} bytes");
        }
        let mut long = whole.clone();
        let size = long.len() - TRAILER as usize;
        long[size..size + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&long).is_err());
        let outside = Entry { component: String::new(), at: 1, length: u64::MAX };
        let index = serde_json::to_vec(&[outside]).unwrap();
        let bytes = [index.as_slice(), &(index.len() as u64).to_le_bytes(), &MAGIC].concat();
        assert!(read(&bytes).is_err());
    }
}
