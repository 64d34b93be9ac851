//! Builds guest crates to WebAssembly components: shared, by `#[path]`, between the build scripts that embed them.
//!
//! Guests are built in a target folder of their own, so that the cargo that runs the build script does not wait for itself,
//! with nothing of the host's build in the environment: no flags, no wrapper, no target. The folder lies beside the profiles'
//! and is shared by all of them, since a guest is the same whatever the host is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// Builds `crates` of the workspace at `root`; gives each one's component, in order.
///
/// # Errors
/// What to tell the person who builds: what failed and what to do.
pub fn build(root: &Path, crates: &[&str]) -> Result<Vec<PathBuf>, String> {
    check_target()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    // {target}/{profile}/build/{crate}-{hash}/out
    let shared = out.ancestors().nth(4).unwrap_or(&out).join("guests");

    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if belongs_to_the_outer_build(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root).args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]).arg(&shared);
    for name in crates {
        cargo.args(["--package", name]);
    }
    cargo.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", flags(root));
    for (setting, value) in
        [("OPT_LEVEL", "3"), ("LTO", "fat"), ("CODEGEN_UNITS", "1"), ("PANIC", "abort"), ("STRIP", "true")]
    {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    let output = cargo.output().map_err(|error| format!("cannot run cargo to build the plugins: {error}"))?;
    if !output.status.success() {
        return Err(format!("building the plugins failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let built = |name: &&str| shared.join(TARGET).join("release").join(name.replace('-', "_")).with_extension("wasm");
    Ok(crates.iter().map(built).collect())
}

/// Has cargo run the build script again when something that a guest is made of changes.
pub fn rerun_if_changed(root: &Path, crates: &[&str]) {
    for shared in ["wit", "guests/sdk", "guests/builder.rs", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(shared).display());
    }
    for name in crates {
        println!("cargo::rerun-if-changed={}", root.join("guests").join(name).display());
    }
}

fn check_target() -> Result<(), String> {
    let rustc = variable("RUSTC")?;
    let libraries = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run `{rustc}`: {error}"))?;
    let folder = String::from_utf8_lossy(&libraries.stdout);
    match Path::new(folder.trim()).is_dir() {
        true => Ok(()),
        false => Err(format!(
            "the plugins are WebAssembly components, and Rust's target {TARGET} is not installed; run\n\n    rustup target add {TARGET}\n\nand build again"
        )),
    }
}

/// simd128 is worth a factor of three where a plugin parses; folders are taken out of panic messages so that a component, and
/// with it its digest, is the same wherever it is built.
fn flags(root: &Path) -> String {
    let mut flags = String::from("-Ctarget-feature=+simd128");
    let home = env::var("CARGO_HOME").ok().or_else(|| Some(format!("{}/.cargo", env::var("HOME").ok()?)));
    for (folder, name) in [(Some(root.display().to_string()), "/lakeport"), (home, "/cargo")] {
        // Flags are split at spaces: such a folder stays in the messages.
        if let Some(folder) = folder.filter(|folder| !folder.contains(' ')) {
            flags += &format!(" --remap-path-prefix={folder}={name}");
        }
    }
    flags
}

/// Whether a variable configures the build that runs this script, and not how packages are found and fetched.
fn belongs_to_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 7] =
        ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];
    let cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
    cargo || name.starts_with("RUSTC") || name.ends_with("RUSTFLAGS") || name == "RUSTDOC"
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set `{name}`"))
}
