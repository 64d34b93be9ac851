//! Files that are not part of the repository, for the tests that want them: shared by the tests of several crates, which include
//! this file.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of the folder that `LAKEPORT_SHARED_DATA` names, or of `../shared/data` seen from the repository; where it is not there,
/// `None`, and standard error says that the test was not run.
pub fn shared_data(name: &str) -> Option<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root =
        folders.find(|folder| folder.join("Cargo.lock").exists()).expect("crates are below the repository's root");
    let folder = std::env::var_os("LAKEPORT_SHARED_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let file = folder.join(name);
    if file.exists() {
        return Some(file);
    }
    // Not by a macro: what those print is not shown where a test passes.
    let told = format!("NOT RUN: `{}` is missing; LAKEPORT_SHARED_DATA may name its folder\n", file.display());
    std::io::stderr().write_all(told.as_bytes()).expect("standard error is open");
    None
}
