//! `lakeport plugin accept`: takes over components that differ from the lock file.

use crate::cli::Config;

/// Accept plugins whose components differ from the lock file
///
/// The lock file, beside the configuration, pins every plugin by its SHA-256.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// This plugin only; may be given several times. Without it, all of them
    #[arg(long = "plugin", value_name = "NAME")]
    pub plugins: Vec<String>,
}

/// A plugin and its digests.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub plugin: String,
    /// SHA-256 in hexadecimal; `None` where the lock file did not have it.
    pub before: Option<String>,
    /// SHA-256 in hexadecimal.
    pub now: String,
}

/// What changed, a line a plugin.
pub fn render(plugins: &[Accepted]) -> String {
    let line = |plugin: &Accepted| match &plugin.before {
        None => format!("{}: {} is new\n", plugin.plugin, plugin.now),
        Some(before) if *before == plugin.now => format!("{}: {before} as before\n", plugin.plugin),
        Some(before) => format!("{}: {} replaces {before}\n", plugin.plugin, plugin.now),
    };
    plugins.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_new_or_replaces_one_or_is_as_before() {
        let one =
            |before: Option<&str>| Accepted { plugin: "p".into(), before: before.map(str::to_owned), now: "b".into() };
        let text = render(&[one(None), one(Some("a")), one(Some("b"))]);
        assert_eq!(text, "p: b is new\np: b replaces a\np: b as before\n");
    }
}
