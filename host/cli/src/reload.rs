//! What a server takes from its configuration while it runs: keys, and the files of TLS.
//!
//! They are read again at SIGHUP, and when they have changed. All other settings need a restart; those that have changed are named.

use std::sync::Arc;
use std::time::Duration;

use lakeport::error::{Error, Result};
use lakeport::plan::{ExportPlan, Plan, Proof, ServerPlan};
use lakeport_engine::Warned;
use lakeport_serve::Handle;
use sha2::{Digest, Sha256};
use tokio::signal::unix::Signal;

use super::Config;
use super::serve::{keys, unusable};

/// How often the configuration, its secrets and the files of TLS are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Keeps a server's keys and certificates as the configuration has them. What cannot be used leaves everything as it is.
pub struct Reload {
    pub config: Config,
    pub handle: Handle,
    pub intake: Arc<dyn Warned>,
    /// The configuration that the server was started with.
    pub running: Arc<Plan>,
    /// Told to read them again.
    pub hangup: Signal,
}

impl Reload {
    /// Reloads for as long as the server runs.
    pub async fn run(mut self) {
        let mut taken = fingerprint(&self.running.server);
        // What was said last, so that nothing is said twice.
        let mut said = self.pending(&self.running);
        loop {
            let is_asked = tokio::select! {
                asked = self.hangup.recv() => asked.is_some(),
                () = tokio::time::sleep(LOOK) => false,
            };
            // A file that is being written may be wrong for a moment: it is looked at again.
            let outcome = match self.config.load() {
                Ok(plan) => {
                    // Before the files are read: what changes meanwhile is read again.
                    let seen = fingerprint(&plan.server);
                    match is_asked || seen != taken {
                        true => self.take(&plan).map(|()| {
                            taken = seen;
                            tracing::info!("read the keys and the files of TLS again");
                            self.pending(&plan)
                        }),
                        false => Ok(self.pending(&plan)),
                    }
                }
                Err(error) => Err(error),
            };
            let now = match outcome {
                Ok(pending) => pending,
                Err(error) => {
                    Some(format!("the configuration cannot be used, and the old one stays: {}", one_line(&error)))
                }
            };
            if now != said || is_asked {
                if let Some(now) = &now {
                    tracing::error!("{now}");
                }
                self.intake.set_warning(now.clone());
                said = now;
            }
        }
    }

    fn take(&self, plan: &Plan) -> Result<()> {
        // Both or none.
        self.handle.reload(keys(&plan.server)).map_err(unusable)
    }

    /// Names the settings of `plan` that need a restart.
    fn pending(&self, plan: &Plan) -> Option<String> {
        let names = changed(&self.running, plan);
        (!names.is_empty())
            .then(|| format!("these settings have changed, and are taken at the next start: `{}`", names.join("`, `")))
    }
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

/// A hash of what is taken without a restart.
fn fingerprint(plan: &ServerPlan) -> [u8; 32] {
    let mut hash = Sha256::new();
    for key in &plan.keys {
        let (kind, secret) = match &key.proof {
            Proof::Token(secret) => ("token", secret),
            Proof::Hmac(secret) => ("hmac", secret),
        };
        let rest = format!("{:?}", (&key.name, kind, secret.expose().len(), &key.sources, key.metrics));
        hash.update(rest);
        hash.update(secret.expose());
    }
    for file in
        plan.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_authorities.as_ref()])
    {
        // One that is gone is told of when it is read.
        hash.update(file.and_then(|file| std::fs::read(file).ok()).map(Sha256::digest).unwrap_or_default());
    }
    hash.finalize().into()
}

/// The names of settings that differ and need a restart.
fn changed(running: &Plan, plan: &Plan) -> Vec<String> {
    let (old, new) = (&running.server, &plan.server);
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
        ("metrics", old.metrics != new.metrics),
        ("certificate", old.tls != new.tls),
    ];
    let settings = settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("server.{name}"));
    let find = |plan: &'_ Plan, name: &str| plan.exports.iter().find(|export| export.name == name).map(shown);
    let names = running.exports.iter().chain(&plan.exports).map(|export| export.name.as_str());
    let names: std::collections::BTreeSet<_> = names.collect();
    let exports = names.into_iter().filter(|name| find(running, name) != find(plan, name));
    settings.chain(exports.map(|name| format!("exports.{name}"))).collect()
}

/// All of an export, its source and its lake; secrets are left out.
fn shown(export: &ExportPlan) -> String {
    format!("{export:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parse;

    const ONE: &str = "[sources.s]\nhttp = true\n[exports.a]\nsource = \"s\"\n";

    #[test]
    fn settings_that_need_a_restart_are_named() {
        let running = parse(ONE).unwrap();
        let changed = |text: &str| super::changed(&running, &parse(text).unwrap());
        assert!(changed(ONE).is_empty());
        assert!(changed(&format!("{ONE}[server.keys.k]\ntoken = \"env:LAKE_KEY\"\n")).is_empty());
        assert_eq!(changed(&format!("{ONE}[server]\nmax-body = \"1MiB\"\n")), ["server.max-body"]);
        assert_eq!(changed(&format!("{ONE}[server]\nacknowledge = \"lake\"\n")), ["server.acknowledge"]);
        assert_eq!(changed(&ONE.replace("http = true", "http = true\nid = \"/id\"")), ["exports.a"]);
        assert_eq!(changed(&ONE.replace("exports.a", "exports.b")), ["exports.a", "exports.b"]);
    }

    #[test]
    fn a_key_of_another_secret_is_another_configuration() {
        let of = |token: &str, more: &str| {
            let text = format!("{ONE}[server.keys.k]\ntoken = \"env:TOKEN\"\n{more}");
            let environment = |_: &str| Some(token.to_owned());
            let plan = lakeport::config::parse(&text, std::path::Path::new("/etc/lakeport.toml"), &environment);
            fingerprint(&plan.unwrap().server)
        };
        let first = of("a-token-of-16-bytes", "");
        assert_eq!(first, of("a-token-of-16-bytes", ""));
        assert_ne!(first, of("b-token-of-16-bytes", ""));
        assert_ne!(first, of("a-token-of-16-bytes", "sources = [\"s\"]\n"));
    }
}
