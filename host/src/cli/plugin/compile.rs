//! `lakeport plugin compile`: compiles a configuration's plugins ahead of the first run.

use crate::cli::Config;
use crate::telemetry::human::{bytes, seconds};
use crate::telemetry::{Align, Table};

/// Compile a configuration's plugins into the cache, so that runs start at once
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
}

/// A plugin that was compiled, or was in the cache.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub plugin: String,
    /// Size of the component in bytes.
    pub size: u64,
    /// `None` where the cache had it.
    pub seconds: Option<f64>,
}

/// The plugins as a table.
pub fn render(plugins: &[Compiled]) -> String {
    let mut table = Table::new([("plugin", Align::Left), ("size", Align::Right), ("compiled in", Align::Right)]);
    for plugin in plugins {
        let time = plugin.seconds.map_or("in the cache".to_owned(), seconds);
        table.row([plugin.plugin.clone(), bytes(plugin.size), time]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_was_compiled_or_was_there() {
        let one = |plugin: &str, seconds| Compiled { plugin: plugin.into(), size: 69_000, seconds };
        assert_eq!(
            render(&[one("select", Some(0.42)), one("ndjson", None)]),
            "plugin     size   compiled in\nselect  69.0 kB        0.42 s\nndjson  69.0 kB  in the cache\n"
        );
    }
}
