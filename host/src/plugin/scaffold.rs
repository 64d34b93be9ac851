//! A new plugin's folder: the library behind `lakeport plugin new`.
//!
//! The SDK and the interface are written beside the plugin, as this binary holds them, and the plugin depends on them by path:
//! the folder builds at once, needs no registry entry or repository of Lakeport's, and fits this very host. To move to another
//! version, scaffold with that version and take its `lakeport/` folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::PluginKind;
use crate::error::{Error, Result};

/// The SDK and the interface, where they lie below the scaffold's `lakeport/`, as they lie in Lakeport's own repository.
const SDK: &[(&str, &str)] = &[
    ("guests/sdk/Cargo.toml", include_str!("../../../guests/sdk/Cargo.toml")),
    ("guests/sdk/src/batch.rs", include_str!("../../../guests/sdk/src/batch.rs")),
    ("guests/sdk/src/bindings.rs", include_str!("../../../guests/sdk/src/bindings.rs")),
    ("guests/sdk/src/columns.rs", include_str!("../../../guests/sdk/src/columns.rs")),
    ("guests/sdk/src/error.rs", include_str!("../../../guests/sdk/src/error.rs")),
    ("guests/sdk/src/filter.rs", include_str!("../../../guests/sdk/src/filter.rs")),
    ("guests/sdk/src/format.rs", include_str!("../../../guests/sdk/src/format.rs")),
    ("guests/sdk/src/glue.rs", include_str!("../../../guests/sdk/src/glue.rs")),
    ("guests/sdk/src/lib.rs", include_str!("../../../guests/sdk/src/lib.rs")),
    ("guests/sdk/src/rows.rs", include_str!("../../../guests/sdk/src/rows.rs")),
    ("guests/sdk/src/table.rs", include_str!("../../../guests/sdk/src/table.rs")),
    ("guests/sdk/src/testing_support.rs", include_str!("../../../guests/sdk/src/testing_support.rs")),
    ("guests/sdk/src/transform.rs", include_str!("../../../guests/sdk/src/transform.rs")),
    ("wit/filter.wit", include_str!("../../../wit/filter.wit")),
    ("wit/format.wit", include_str!("../../../wit/format.wit")),
    ("wit/info.wit", include_str!("../../../wit/info.wit")),
    ("wit/records.wit", include_str!("../../../wit/records.wit")),
    ("wit/transform.wit", include_str!("../../../wit/transform.wit")),
];

const MANIFEST: &str = include_str!("scaffold/Cargo.toml.txt");
const CARGO_CONFIG: &str = include_str!("scaffold/config.toml.txt");
const README: &str = include_str!("scaffold/README.md.txt");

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaffold {
    pub folder: PathBuf,
    /// Below `folder`, in the order they were written.
    pub files: Vec<PathBuf>,
    /// Where the component is after `cargo build`, below `folder`.
    pub component: PathBuf,
}

/// Names that Cargo or the compiler have another use for, beside Rust's keywords.
const RESERVED: [&str; 11] =
    ["alloc", "build", "core", "deps", "examples", "incremental", "proc-macro", "std", "test", "tests", "target"];
/// The crates that a plugin depends on.
const DEPENDENCIES: [&str; 5] = ["lakeport-plugin", "schemars", "serde", "serde-json", "wit-bindgen"];
/// Rust's keywords that a name could be.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final fn for \
                        gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super \
                        trait true try type typeof unsafe unsized use virtual where while yield";

/// Checks the name of a new plugin, which is a crate's name too.
///
/// # Errors
/// Why it cannot be one, and what can.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends_well = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.ends_with(ends_well)
        || !name.chars().all(plain)
        || name.len() > 64
    {
        return Err(
            "expected up to 64 lower-case letters, digits and `-`, first a letter, such as `too-hot`".to_owned()
        );
    }
    let instead = format!("choose another, such as `{name}-plugin`");
    if KEYWORDS.split(' ').any(|keyword| keyword == name) {
        return Err(format!("`{name}` is a keyword of Rust; {instead}"));
    }
    if RESERVED.contains(&name) {
        return Err(format!("Cargo does not take `{name}` as a crate's name; {instead}"));
    }
    if DEPENDENCIES.contains(&name) {
        return Err(format!("`{name}` is a crate that plugins depend on; {instead}"));
    }
    Ok(())
}

/// Writes a new plugin of `kind` into `parent`/`name`, which must not exist.
///
/// # Errors
/// Of kind `Config` where the name is no crate's, the folder exists, or it cannot be written.
pub fn scaffold(parent: &Path, name: &str, kind: PluginKind) -> Result<Scaffold> {
    check_name(name).map_err(|why| Error::config(format!("`{name}` is no name of a plugin: {why}")))?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(Error::config(format!("`{}` exists already, expected a new folder", folder.display())));
    }
    let logic = match kind {
        PluginKind::Filter => include_str!("scaffold/filter.rs.txt"),
        PluginKind::Transform => include_str!("scaffold/transform.rs.txt"),
        PluginKind::Format => include_str!("scaffold/format.rs.txt"),
    };
    let component = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    let fill = |text: &str| {
        text.replace("{{name}}", name).replace("{{kind}}", &kind.to_string()).replace("{{component}}", &component)
    };
    let own = [
        ("Cargo.toml", fill(MANIFEST)),
        (".cargo/config.toml", fill(CARGO_CONFIG)),
        (".gitignore", String::from("/target\n")),
        ("README.md", fill(README)),
        ("src/lib.rs", fill(logic)),
    ];
    let own = own.into_iter().map(|(path, text)| (PathBuf::from(path), text));
    let sdk = SDK.iter().map(|(path, text)| (Path::new("lakeport").join(path), (*text).to_owned()));
    let mut files = Vec::new();
    for (path, text) in own.chain(sdk) {
        write(&folder.join(&path), &text)
            .map_err(|error| Error::config(format!("cannot write `{}`: {error}", folder.join(&path).display())))?;
        files.push(path);
    }
    Ok(Scaffold { folder, files, component: component.into() })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_sdk_is_written() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for folder in ["guests/sdk/src", "wit"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy());
                assert!(SDK.iter().any(|(known, _)| *known == path), "`{path}` is missing");
            }
        }
    }

    #[test]
    fn names_that_are_no_crates_and_folders_that_exist_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        for (name, why) in [
            ("", "expected up to 64"),
            ("Hot", "expected up to 64"),
            ("1st", "expected up to 64"),
            ("../up", "expected up to 64"),
            ("a/b", "expected up to 64"),
            ("a b", "expected up to 64"),
            ("a-", "expected up to 64"),
            ("é", "expected up to 64"),
            ("match", "a keyword of Rust"),
            ("self", "a keyword of Rust"),
            ("test", "Cargo does not take `test`"),
            ("core", "Cargo does not take `core`"),
            ("lakeport-plugin", "a crate that plugins depend on; choose another, such as `lakeport-plugin-plugin`"),
            ("serde", "a crate that plugins depend on"),
        ] {
            let error = scaffold(parent.path(), name, PluginKind::Filter).unwrap_err();
            assert!(error.message.starts_with(&format!("`{name}` is no name of a plugin: ")), "{error}");
            assert!(error.message.contains(why), "{error}");
        }
        scaffold(parent.path(), "too-hot", PluginKind::Filter).unwrap();
        let error = scaffold(parent.path(), "too-hot", PluginKind::Filter).unwrap_err();
        assert!(error.message.contains("exists already"), "{error}");
    }
}
