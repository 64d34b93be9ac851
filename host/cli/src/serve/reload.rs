//! Reloads the configuration of a running server.
//!
//! The configuration is read again at SIGHUP, and when it, or a file that it names, has changed. It is taken whole or not at all: keys,
//! files of TLS, sources, lakes, plugins and exports. Exports are ended as at a stop and started again, all of them, if anything of
//! them has changed. Settings of `[server]` need a restart; those that have changed are named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lakeport::error::{Error, Kind, Result};
use lakeport::pipeline::Options;
use lakeport::plan::{ExportPlan, Plan, PluginOrigin, Proof, ServerPlan};
use lakeport::plugin::lock::Lock;
use lakeport::telemetry::ExportReport;
use lakeport_engine::Current;
use lakeport_serve::Handle;
use sha2::{Digest, Sha256};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::counts::Counts;
use super::exports::{Prepared, Running};
use super::settings::{keys, unusable};
use super::told_to_stop;
use crate::Config;

/// How often the configuration, and the files that it names, are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Keeps the exports at work, and everything as the configuration has it. What cannot be used leaves all as it is.
pub struct Reload {
    pub config: Config,
    pub handle: Handle,
    pub current: Arc<Current>,
    pub counts: Arc<Counts>,
    /// The configuration that the server was started with.
    pub started: Arc<Plan>,
    /// Its settings, and those of the command line.
    pub server: ServerPlan,
    pub options: Options,
    pub running: Running,
    /// Told to read it again.
    pub hangup: Signal,
}

/// A configuration, and the files that it names, as they were looked at.
type Seen = [u8; 32];

impl Reload {
    /// Reloads until the exports are to end, ends them, and returns what they did.
    pub async fn run(mut self, stop: watch::Receiver<bool>) -> Vec<ExportReport> {
        let mut seen = Some(seen(&self.started));
        // What was said last, so that nothing is said twice.
        let mut said = None;
        loop {
            let is_asked = tokio::select! {
                () = told_to_stop(stop.clone()) => return self.running.end().await,
                Some(()) = self.hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let outcome = match self.config.load() {
                Ok(plan) => {
                    // Before the files are read: what changes meanwhile is read again.
                    let now = Some(self::seen(&plan));
                    if !is_asked && now == seen {
                        continue;
                    }
                    seen = now;
                    let taken = self.take(plan, &stop).await;
                    if taken.as_ref().is_err_and(|error| matches!(error.kind, Kind::Source | Kind::Lake)) {
                        // It may pass, as a disk that is full does.
                        seen = None;
                    }
                    taken
                }
                // A file that is being written may be wrong for a moment: it is looked at again.
                Err(error) => {
                    seen = None;
                    Err(error)
                }
            };
            let is_taken = outcome.is_ok();
            let now = outcome.unwrap_or_else(|error| {
                Some(format!("the configuration cannot be used, and the old one stays: {}", one_line(&error)))
            });
            let is_news = now != said || is_asked;
            if is_taken || is_news {
                self.counts.note(is_taken);
            }
            if let (Some(now), true) = (&now, is_news) {
                tracing::error!("{now}");
            }
            self.current.set_warning(now.clone());
            said = now;
        }
    }

    /// Takes a configuration, and returns what needs a restart, in words.
    async fn take(&mut self, plan: Plan, stop: &watch::Receiver<bool>) -> Result<Option<String>> {
        let mut pending = changed_settings(&self.started.server, &plan.server);
        let named = changed_exports(self.running.plan(), &plan);
        // Exports that are fed otherwise are none to run with the old settings.
        if plan.server.without_log != self.server.without_log {
            self.take_keys(&plan)?;
            pending.extend(named.iter().map(|name| format!("exports.{name}")));
            return Ok(needs_restart(&pending));
        }
        let keys = plan.server.keys.clone();
        let next = Arc::new(Plan { server: ServerPlan { keys, ..self.server.clone() }, ..plan });
        let (prepared, options, before) = (next.clone(), self.options.clone(), self.running.before());
        let preparing = tokio::task::spawn_blocking(move || Prepared::next(prepared, &options, &before));
        let prepared = tokio::select! {
            prepared = preparing => prepared.map_err(|panic| Error::internal(format!("the check died: {panic}")))??,
            () = told_to_stop(stop.clone()) => return Ok(None),
        };
        self.take_keys(&next)?;
        if named.is_empty() && prepared.digests() == self.running.digests() {
            return Ok(needs_restart(&pending));
        }
        tracing::info!("the configuration has changed: ending the exports, to start them anew");
        self.current.set_warning(Some("the exports are ending, to be started as the configuration is now".to_owned()));
        for left in self.running.hand_over(&prepared, &self.current).await {
            tracing::warn!("{left}");
        }
        // Requests that came meanwhile are in the logs; where there are none, they are refused by what is not at work.
        if !*stop.borrow() {
            self.running = prepared.start();
            let named = if named.is_empty() { "plugins".to_owned() } else { format!("`{}`", named.join("`, `")) };
            tracing::info!("the exports are started as the configuration is now; changed: {named}");
        }
        Ok(needs_restart(&pending))
    }

    fn take_keys(&self, plan: &Plan) -> Result<()> {
        // Both or none.
        self.handle.reload(keys(&plan.server)).map_err(unusable)?;
        tracing::info!("read the keys and the files of TLS again");
        Ok(())
    }
}

fn needs_restart(names: &[String]) -> Option<String> {
    (!names.is_empty())
        .then(|| format!("these settings have changed, and are taken at the next start: `{}`", names.join("`, `")))
}

/// An error, and those that were found with it, for a line of a log.
fn one_line(error: &Error) -> String {
    let one = |error: &Error| match &error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message.clone(),
    };
    let all: Vec<_> = std::iter::once(error).chain(&error.also).map(one).collect();
    all.join("; ")
}

/// A hash of a configuration and of the files that it names.
fn seen(plan: &Plan) -> Seen {
    let mut hash = Sha256::new();
    for key in &plan.server.keys {
        let (kind, secret) = match &key.proof {
            Proof::Token(secret) => ("token", secret),
            Proof::Hmac(secret) => ("hmac", secret),
        };
        let rest = format!("{:?}", (&key.name, kind, secret.expose().len(), &key.sources, key.metrics));
        hash.update(rest);
        hash.update(secret.expose());
    }
    let tls = plan.server.tls.iter();
    for file in tls.flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_authorities.as_ref()]) {
        // One that is gone is told of when it is read.
        hash.update(file.and_then(|file| std::fs::read(file).ok()).map(Sha256::digest).unwrap_or_default());
    }
    for file in plan.exports.iter().flat_map(ExportPlan::plugins).filter_map(|used| path_of(&used.plugin.origin)) {
        hash.update(format!("{:?}", version(&file)));
    }
    hash.update(format!("{:?}", version(&Lock::path_for(&plan.path))));
    hash.update(format!("{:?}{:?}", plan.server, plan.exports));
    hash.finalize().into()
}

fn path_of(origin: &PluginOrigin) -> Option<PathBuf> {
    match origin {
        PluginOrigin::Path(path) => Some(path.clone()),
        PluginOrigin::BuiltIn => None,
    }
}

/// Size and time of a file, which tell that it has changed.
fn version(file: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// The names of settings of the server that differ and need a restart.
fn changed_settings(old: &ServerPlan, new: &ServerPlan) -> Vec<String> {
    let settings = [
        ("listen", old.listen != new.listen),
        ("stop-within", old.stop_within != new.stop_within),
        ("acknowledge", old.without_log != new.without_log),
        ("log", old.log != new.log),
        ("log-size", old.log_size != new.log_size),
        ("idempotency-window", old.idempotency_window != new.idempotency_window),
        ("idempotency-limit", old.idempotency_limit != new.idempotency_limit),
        ("connections", old.connections != new.connections),
        ("max-body", old.max_body != new.max_body),
        ("max-decoded", old.max_decoded != new.max_decoded),
        ("webhook-origins", old.webhook_origins != new.webhook_origins),
        ("metrics", (old.metrics, old.metrics_open) != (new.metrics, new.metrics_open)),
        ("certificate", old.tls != new.tls),
    ];
    settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("server.{name}")).collect()
}

/// The names of exports that differ in anything of theirs, their source or their lake, or that only one of the plans has.
fn changed_exports(old: &Plan, new: &Plan) -> Vec<String> {
    // Secrets are left out: those in files are read again by the lakes that they open.
    let find = |plan: &Plan, name: &str| {
        plan.exports.iter().find(|export| export.name == name).map(|export| format!("{export:?}"))
    };
    let names: BTreeSet<_> = old.exports.iter().chain(&new.exports).map(|export| export.name.clone()).collect();
    names.into_iter().filter(|name| find(old, name) != find(new, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parse;

    const ONE: &str = "[sources.s]\nhttp = true\n[exports.a]\nsource = \"s\"\n";

    #[test]
    fn what_has_changed_is_named() {
        let running = parse(ONE).unwrap();
        let settings = |text: &str| changed_settings(&running.server, &parse(text).unwrap().server);
        let exports = |text: &str| changed_exports(&running, &parse(text).unwrap());
        assert!(settings(ONE).is_empty() && exports(ONE).is_empty());
        assert!(settings(&format!("{ONE}[server.keys.k]\ntoken = \"env:LAKE_KEY\"\n")).is_empty());
        assert_eq!(settings(&format!("{ONE}[server]\nmax-body = \"1MiB\"\n")), ["server.max-body"]);
        assert_eq!(settings(&format!("{ONE}[server]\nacknowledge = \"lake\"\n")), ["server.acknowledge"]);
        assert_eq!(exports(&ONE.replace("http = true", "http = true\nid = \"/id\"")), ["a"]);
        assert_eq!(exports(&ONE.replace("exports.a", "exports.b")), ["a", "b"]);
    }

    #[test]
    fn a_key_of_another_secret_is_another_configuration() {
        let of = |token: &str, more: &str| {
            let text = format!("{ONE}[server.keys.k]\ntoken = \"env:TOKEN\"\n{more}");
            let environment = |_: &str| Some(token.to_owned());
            let plan = lakeport::config::parse(&text, Path::new("/etc/lakeport.toml"), &environment);
            seen(&plan.unwrap())
        };
        let first = of("a-token-of-16-bytes", "");
        assert_eq!(first, of("a-token-of-16-bytes", ""));
        assert_ne!(first, of("b-token-of-16-bytes", ""));
        assert_ne!(first, of("a-token-of-16-bytes", "sources = [\"s\"]\n"));
    }

    #[test]
    fn a_plugin_or_a_lock_file_that_was_replaced_is_another_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[plugins.p]\npath = \"p.wasm\"\n[sources.s]\nhttp = true\n[exports.a]\nsource = \"s\"\nfilters = [{ plugin = \"p\" }]\n";
        let of = || seen(&lakeport::config::parse(text, &folder.path().join("lakeport.toml"), &|_| None).unwrap());
        std::fs::write(folder.path().join("p.wasm"), "1").unwrap();
        let first = of();
        assert_eq!(first, of());
        std::fs::write(folder.path().join("p.wasm"), "22").unwrap();
        let second = of();
        assert_ne!(first, second);
        std::fs::write(folder.path().join("lakeport.lock"), "1").unwrap();
        assert_ne!(second, of());
    }
}
