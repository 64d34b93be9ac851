//! Builds the plugins that misbehave on purpose.

#[path = "../builder.rs"]
mod builder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

const GUESTS: [&str; 4] = ["test-filter", "test-transform", "test-format", "test-import"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nerror: {problem}\n");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in the workspace's guests/");
    builder::rerun_if_changed(root, &GUESTS);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    for (name, component) in GUESTS.iter().zip(builder::build(root, &GUESTS)?) {
        let copy = out.join(format!("{name}.wasm"));
        fs::copy(&component, &copy).map_err(|error| format!("cannot copy `{}`: {error}", component.display()))?;
    }
    Ok(())
}
