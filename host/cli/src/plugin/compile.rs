//! `lakeport plugin compile`: compiles components ahead of the first run.

use std::path::PathBuf;

use lakeport::plugin::Compiled;
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
