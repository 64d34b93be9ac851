//! `lakeport plugin`: what plugin authors and those who trust plugins need.

use std::io::Write;

use super::written;
use crate::error::Result;
use crate::plugin::{self, Sandbox};

pub mod accept;
pub mod compile;
pub mod inspect;
pub mod new;

/// Inspect, compile, accept or start plugins
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Inspect(inspect::Args),
    Compile(compile::Args),
    Accept(accept::Args),
    New(new::Args),
}

impl Command {
    /// Whether errors and results are JSON.
    pub fn json(&self) -> bool {
        match self {
            Command::Inspect(args) => args.json,
            Command::Compile(_) | Command::Accept(_) | Command::New(_) => false,
        }
    }
}

/// Does what was asked; results go to `out`.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let text = match command {
        Command::Inspect(args) => inspect::render(&plugin::inspect(&sandbox()?, &args.component)?, args.json),
        Command::Compile(args) => compile::render(&plugin::compile(&sandbox()?, &args.components)?),
        Command::Accept(args) => accept::render(&accept::accept(&sandbox()?, args)?),
        Command::New(args) => new::render(&plugin::scaffold(&args.into, &args.name, args.kind.into())?),
    };
    written(out.write_all(text.as_bytes()))
}

fn sandbox() -> Result<Sandbox> {
    Sandbox::new(None)
}
