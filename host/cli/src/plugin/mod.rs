//! `lakeport plugin`: what plugin authors and those who trust plugins need.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{log_warnings, variable_or_stand_in, written};
use lakeport::config;
use lakeport::error::Result;
use lakeport::plan::{ExportPlan, PluginPlan};
use lakeport::plugin::{self, Sandbox};

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
    CompileInput(CompileInput),
}

/// Compile the component of standard input to standard output: how other commands compile components
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct CompileInput {
    /// Bytes of memory that it may take
    pub memory: u64,
    /// Seconds that each of its threads may take
    pub seconds: u64,
    /// Use only what every CPU of the target has
    #[arg(long)]
    pub any_cpu: bool,
}

/// The configuration whose plugins and their limits count, of commands that can do without one.
#[derive(Debug, clap::Args)]
pub struct Configured {
    /// A configuration: its plugins have the limits that it gives them. Without it, all have the usual ones
    #[arg(long, value_name = "CONFIG", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

impl Configured {
    /// Every plugin that an export of the configuration uses, once.
    fn plugins(&self) -> Result<Vec<Arc<PluginPlan>>> {
        let Some(path) = &self.config else { return Ok(Vec::new()) };
        let plan = config::load(path, &variable_or_stand_in)?;
        let used = plan.exports.iter().flat_map(ExportPlan::plugins).map(|used| (&used.plugin.name, &used.plugin));
        Ok(used.collect::<BTreeMap<_, _>>().into_values().cloned().collect())
    }
}

impl Command {
    /// Whether errors and results are JSON.
    pub fn json(&self) -> bool {
        match self {
            Command::Inspect(args) => args.json,
            Command::Compile(_) | Command::Accept(_) | Command::New(_) | Command::CompileInput(_) => false,
        }
    }
}

/// Does what was asked; results go to `out`.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let text = match command {
        Command::Inspect(args) => {
            let configured = args.configured.plugins()?;
            inspect::render(&plugin::inspect(&sandbox()?, &args.component, &configured)?, args.json)
        }
        Command::Compile(args) => {
            let configured = args.configured.plugins()?;
            compile::render(&compile::compile(&sandbox()?, args, &configured)?)
        }
        Command::Accept(args) => accept::render(&accept::accept(&sandbox()?, args)?),
        Command::New(args) => new::render(&plugin::scaffold(&args.into, &args.name, args.kind.into())?),
        Command::CompileInput(args) => {
            return plugin::compile_input(args.memory, args.seconds, args.any_cpu, &mut io::stdin().lock(), out);
        }
    };
    written(out.write_all(text.as_bytes()))
}

fn sandbox() -> Result<Sandbox> {
    log_warnings()?;
    crate::sandbox()
}
