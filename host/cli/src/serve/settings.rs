//! The server's settings, as the configuration says them.

use lakeport::error::Error;
use lakeport::plan::{Proof, ServerKey, ServerPlan};
use lakeport_serve::{Key, Limits, MetricsAddress, Settings, Timeouts, Tls};

/// The server's settings, as the configuration says them.
pub fn settings(plan: &ServerPlan) -> Settings {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let usual = Limits::default();
    let (body_bytes, decoded_bytes) = (bytes(plan.max_body), bytes(plan.max_decoded));
    let limits = Limits {
        connections: plan.connections,
        body_bytes,
        decoded_bytes,
        held_bytes: usual.held_bytes.max(body_bytes.saturating_add(decoded_bytes.saturating_mul(2))),
        ..usual
    };
    let tls = plan.tls.as_ref().map(|tls| Tls {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_authorities.clone(),
    });
    Settings {
        keys: keys(plan),
        limits,
        timeouts: Timeouts { stop: plan.stop_within / 2, ..Timeouts::default() },
        tls,
        webhook_origins: plan.webhook_origins.clone(),
        metrics: plan.metrics.map(|listen| MetricsAddress { listen, open: plan.metrics_open }),
        ..Settings::new(plan.listen)
    }
}

/// The keys of those who may send.
pub fn keys(plan: &ServerPlan) -> Vec<Key> {
    let key = |key: &ServerKey| {
        let made = match &key.proof {
            Proof::Token(secret) => Key::bearer(&key.name, secret.expose()),
            Proof::Hmac(secret) => Key::hmac(&key.name, secret.expose()),
        };
        let made = match &key.sources {
            Some(sources) => made.for_sources(sources.iter().cloned()),
            None => made,
        };
        if key.metrics { made.with_metrics() } else { made }
    };
    plan.keys.iter().map(key).collect()
}

/// The server's error as one of the configuration.
pub fn unusable(error: lakeport_serve::Error) -> Error {
    let shown = Error::config(error.message);
    match error.help {
        Some(help) => shown.with_help(help),
        None => shown,
    }
}
