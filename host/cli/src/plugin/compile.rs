//! `lakeport plugin compile`: compiles components ahead of the first run.

use std::path::PathBuf;
use std::sync::Arc;

use lakeport::error::Result;
use lakeport::plan::PluginPlan;
use lakeport::plugin::{self, Compiled, Sandbox};
use lakeport::telemetry::human::bytes;
use lakeport::telemetry::{Align, Table};

/// Compile the built-in plugins, and more, into the cache, so that the first run starts at once
///
/// Run it when an image is built, with the environment variable LAKEPORT_CACHE_DIR set as it will be for runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub configured: super::Configured,
    /// Components, .wasm files
    #[arg(value_name = "COMPONENT", value_hint = clap::ValueHint::FilePath)]
    pub components: Vec<PathBuf>,
    /// Put the compiled code into this program's file, for every CPU of its target, and not into the cache
    ///
    /// Packages and images then start without compiling. PROGRAM is the file of `lakeport`, or of another program that is built from it.
    #[arg(long, value_name = "PROGRAM", value_hint = clap::ValueHint::ExecutablePath)]
    pub embed_in: Option<PathBuf>,
}

/// Compiles what `args` name.
///
/// # Errors
/// As of [`plugin::compile`] and [`plugin::embed`].
pub fn compile(sandbox: &Sandbox, args: &Args, configured: &[Arc<PluginPlan>]) -> Result<Vec<Compiled>> {
    match &args.embed_in {
        Some(program) => plugin::embed(sandbox, program, &args.components, configured),
        None => plugin::compile(sandbox, &args.components, configured),
    }
}

/// The plugins as a table.
pub fn render(plugins: &[Compiled]) -> String {
    let mut table = Table::new([
        ("plugin", Align::Left),
        ("size", Align::Right),
        ("compiled", Align::Right),
        ("sha256", Align::Left),
    ]);
    for plugin in plugins {
        table.row([plugin.plugin.clone(), bytes(plugin.size), bytes(plugin.compiled_size), plugin.digest.clone()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compiled_plugin_is_a_row() {
        let select =
            Compiled { plugin: "select".into(), digest: "ab".repeat(32), size: 69_000, compiled_size: 250_000 };
        let text = render(&[select]);
        assert_eq!(text.lines().nth(1), Some(format!("select  69.0 kB  250.0 kB  {}", "ab".repeat(32)).as_str()));
    }
}
