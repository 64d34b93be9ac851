//! Programs that `./dev setup` has installed, and scripts that they run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lake_folder::Installation;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Something of `.tools`, which `./dev setup` fills.
pub fn tool(path: &str) -> PathBuf {
    let path = root().join(".tools").join(path);
    assert!(path.exists(), "`{}` is not there; run `./dev setup`", path.display());
    path
}

/// Runs a command in an installation's folder, and answers with what it printed.
pub fn printed(installation: &Installation, mut command: Command) -> String {
    let output = command.current_dir(installation.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Runs a script of `tests/verify` in an installation's folder, and answers with what it printed.
pub fn python(installation: &Installation, script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("py/bin/python"));
    command.arg(root().join("tests/verify").join(script)).args(arguments);
    printed(installation, command)
}
