//! Programs that `./dev setup` has installed, and scripts that they run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("host/cli/ lies in the workspace").to_owned()
}

/// Something of `.tools`, which `./dev setup` fills.
pub fn tool(path: &str) -> PathBuf {
    let path = root().join(".tools").join(path);
    assert!(path.exists(), "`{}` is not there; run `./dev setup`", path.display());
    path
}

/// Runs a command in a folder, and answers with what it printed.
pub fn printed(folder: &Path, mut command: Command) -> String {
    let output = command.current_dir(folder).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Runs a script of `tests/verify` in a folder, and answers with what it printed.
pub fn python<T: AsRef<OsStr>>(folder: &Path, script: &str, arguments: &[T]) -> String {
    let mut command = Command::new(tool("py/bin/python"));
    command.arg(root().join("tests/verify").join(script)).args(arguments);
    printed(folder, command)
}
