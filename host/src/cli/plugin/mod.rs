//! `lakeport plugin`: what plugin authors and those who trust plugins need.

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

pub fn run(_: &Command, _: &mut dyn std::io::Write) -> crate::error::Result<()> {
    Ok(())
}
