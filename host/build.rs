//! Builds the plugins that are part of Lakeport and embeds them, so that the binary is one file.

#[path = "../guests/builder.rs"]
mod builder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// The name that configurations use, and the crate.
const BUILT_IN: [(&str, &str); 5] = [
    ("avro", "format-avro"),
    ("cdm-csv", "format-cdm-csv"),
    ("enrich", "transform-enrich"),
    ("ndjson", "format-ndjson"),
    ("select", "filter-select"),
];

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nerror: {problem}\n");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("host/ lies in the workspace");
    let crates = BUILT_IN.map(|(_, name)| name);
    builder::rerun_if_changed(root, &crates);

    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    println!("cargo::rustc-env=TARGET={target}");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    let mut table = String::from("&[\n");
    for ((name, _), component) in BUILT_IN.iter().zip(builder::build(root, &crates)?) {
        let copy = out.join(format!("{name}.wasm"));
        fs::copy(&component, &copy).map_err(|error| format!("cannot copy `{}`: {error}", component.display()))?;
        table += &format!("    ({name:?}, include_bytes!({:?})),\n", copy.display().to_string());
    }
    table += "]\n";
    fs::write(out.join("built_in.rs"), table).map_err(|error| format!("cannot write the table of plugins: {error}"))
}
