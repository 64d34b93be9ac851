//! `lakeport plugin accept`: takes over components that differ from the lock file.

use std::collections::BTreeMap;

use crate::Config;
use lakeport::config::suggest;
use lakeport::error::{Error, Result};
use lakeport::plan::{ExportPlan, PluginOrigin};
use lakeport::plugin::Sandbox;
use lakeport::plugin::lock::{Lock, Pinned};

/// Accept plugins whose components differ from the lock file
///
/// The lock file, beside the configuration, pins every plugin by its SHA-256.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// This plugin only; may be given several times. Without it, all of them
    #[arg(value_name = "NAME")]
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

/// Accepts the components of a configuration as they are now.
///
/// # Errors
/// Of kind `Config`: a plugin that there is not, or that is built in; as for [`Sandbox::load`] otherwise.
pub fn accept(sandbox: &Sandbox, args: &Args) -> Result<Vec<Accepted>> {
    let plan = args.config.load()?;
    let mut by_path = BTreeMap::new();
    for plugin in plan.exports.iter().flat_map(ExportPlan::plugins) {
        if let PluginOrigin::Path(_) = plugin.plugin.origin {
            by_path.insert(plugin.plugin.name.clone(), plugin.plugin.clone());
        }
    }
    if let Some(unknown) = args.plugins.iter().find(|name| !by_path.contains_key(*name)) {
        let known = by_path.keys().map(String::as_str);
        return Err(Error::config(format!("no export uses a plugin `{unknown}` that is loaded by path"))
            .with_help(suggest(unknown, known)));
    }
    let mut lock = Lock::read(&plan.path)?;
    let mut accepted = Vec::new();
    for (name, plugin) in by_path {
        if args.plugins.is_empty() || args.plugins.contains(&name) {
            let now = sandbox.load(&plugin)?.digest.clone();
            let before = match lock.check(&plugin, &now) {
                Pinned::New => None,
                Pinned::Pinned => Some(now.clone()),
                Pinned::Differs { accepted, .. } => Some(accepted),
            };
            lock.accept(&name, &now);
            accepted.push(Accepted { plugin: name, before, now });
        }
    }
    lock.write()?;
    Ok(accepted)
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
