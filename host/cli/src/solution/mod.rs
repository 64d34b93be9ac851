//! `lakeport solution`: carries a configuration, with all it needs, to another environment as one file.

use std::io::Write;

use super::written;
use lakeport::error::Result;

pub mod export;
pub mod file;
pub mod import;
mod staged;
mod values;
mod verify;

/// Carry a configuration, with its schemas and plugins, to another environment
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Export(export::Args),
    Import(import::Args),
}

/// Does what was asked; results go to `out`.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let text = match command {
        Command::Export(args) => export::run(args)?,
        Command::Import(args) => import::run(args)?,
    };
    written(out.write_all(text.as_bytes()))
}
