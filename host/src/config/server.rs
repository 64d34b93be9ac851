//! The server: where it listens, who may send, what it may keep.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use toml::de::DeValue;

use super::section::{At, Errors, Section};
use super::sources::Source;
use super::value::suggest;
use crate::error::{Error, Result};
use crate::plan::{Input, MAX_DECODED, Proof, ServerKey, ServerPlan, TlsPlan};

/// The file's `[server]`, or the defaults.
///
/// # Errors
/// Of kind `Config`.
pub fn resolve(file: &Section<'_>, sources: &BTreeMap<String, Source>, errors: &mut Errors) -> Result<ServerPlan> {
    let section = file.section("server")?;
    let named = errors.keep(section.sections("keys")).unwrap_or_default().into_iter();
    let keys: Vec<_> = named.filter_map(|(name, key)| errors.keep(self::key(name, &key, sources))).collect();
    let count =
        |name: &str, least| Ok(section.count_within(name, least, u64::from(u32::MAX))?.unwrap_or(least) as usize);
    let max_decoded = section.size_up_to("max-decoded", MAX_DECODED, "64MiB")?;
    let without_log = section.choice("acknowledge")? == "lake";
    let (metrics, metrics_open) = metrics(&section, &keys)?;
    Ok(ServerPlan {
        listen: address(&section, "listen", section.need("listen")?)?,
        without_log,
        log: section.cx.resolve(section.need("log")?.value),
        log_size: log_size(&section, max_decoded, without_log)?,
        idempotency_window: section.duration("idempotency-window", true)?,
        idempotency_limit: count("idempotency-limit", 0)?,
        connections: count("connections", 1)?,
        max_body: section.size("max-body")?,
        max_decoded,
        stop_within: section.duration("stop-within", false)?,
        tls: tls(&section)?,
        webhook_origins: section.texts("webhook-origins")?.iter().map(|at| at.value.to_owned()).collect(),
        metrics,
        metrics_open,
        keys,
    })
}

fn address(section: &Section<'_>, name: &str, At { value, span }: At<&str>) -> Result<SocketAddr> {
    value.parse().map_err(|_| {
        let message = format!("`{name}` is `{value}`, expected an IP address and a port");
        section.cx.doc.fail(span, message).with_help(format!("for example `{name} = \"127.0.0.1:8080\"`"))
    })
}

/// The size of a log, which has room for three requests as large as they may be.
fn log_size(section: &Section<'_>, max_decoded: u64, without_log: bool) -> Result<u64> {
    let (size, least) = (section.size("log-size")?, ServerPlan::least_log_size(max_decoded));
    if size >= least || without_log {
        return Ok(size);
    }
    let (span, text) = match section.text("log-size")? {
        Some(At { value, span }) => (span, value),
        None => (section.span.clone(), ""),
    };
    let least = least.div_ceil(1 << 20);
    let message = format!(
        "`log-size` is `{text}`, expected at least `{least}MiB`: three requests of `max-decoded` and their keys"
    );
    Err(section
        .cx
        .doc
        .fail(span, message)
        .with_help(format!("set `log-size = \"{least}MiB\"`, or a smaller `max-decoded`")))
}

/// Where metrics are read, and whether by everybody. An address that other machines reach needs a key or the word of the operator.
fn metrics(section: &Section<'_>, keys: &[ServerKey]) -> Result<(Option<SocketAddr>, bool)> {
    let is_open = section.flag("metrics-open")?;
    let Some(At { value, span }) = section.text("metrics")? else {
        if is_open {
            let span = section.key_span("metrics-open");
            let error = section.cx.doc.fail(span, "`metrics-open` is for metrics that have an address of their own");
            return Err(error.with_help("set `metrics = \"0.0.0.0:9090\"`, or take `metrics-open` out"));
        }
        return Ok((None, false));
    };
    let address = address(section, "metrics", At { value, span: span.clone() })?;
    let is_open = is_open || address.ip().to_canonical().is_loopback();
    if !is_open && !keys.iter().any(|key| key.metrics) {
        let message = format!(
            "other machines can read metrics, and the reasons of `/readyz`, at `{value}`, and no key is needed"
        );
        let help = "give a key `metrics = true`, as in `keys.prometheus = { token = \"env:METRICS_TOKEN\", sources = [], metrics = true }`; \
                    or set `metrics-open = true`, so that everybody who reaches the address may read them";
        return Err(section.cx.doc.fail(span, message).with_help(help));
    }
    Ok((Some(address), is_open))
}

fn tls(section: &Section<'_>) -> Result<Option<TlsPlan>> {
    let path = |name: &str| Ok::<_, Error>(section.text(name)?.map(|at| section.cx.resolve(at.value)));
    match (path("certificate")?, path("private-key")?, path("client-authorities")?) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), client_authorities) => {
            Ok(Some(TlsPlan { certificate, key, client_authorities }))
        }
        _ => Err(section
            .fail("`server` has a part of what TLS needs")
            .with_help("set both `certificate` and `private-key`; `client-authorities` may stand beside them")),
    }
}

fn key(name: &str, section: &Section<'_>, sources: &BTreeMap<String, Source>) -> Result<ServerKey> {
    let proof = match (section.secret("token")?, section.secret("hmac")?) {
        (Some(token), None) => Proof::Token(token),
        (None, Some(secret)) => Proof::Hmac(secret),
        _ => {
            let error = section.fail(format!("`server.keys.{name}` needs either `token` or `hmac`"));
            return Err(error.with_help("for example `token = \"env:SENSORS_TOKEN\"`"));
        }
    };
    let mut named = Vec::new();
    let metrics = section.flag("metrics")?;
    // A key that is good for metrics only sends to no source.
    let is_none = metrics && matches!(section.written("sources"), Some((DeValue::Array(names), _)) if names.is_empty());
    for at in if is_none { Vec::new() } else { section.texts("sources")? } {
        let takes = |source: &&Source| source.plan.input == Input::Http;
        if sources.get(at.value).filter(takes).is_none() {
            let known = sources.iter().filter(|(_, source)| takes(source)).map(|(name, _)| name.as_str());
            let message = format!("no source `{}` takes records over HTTP", at.value);
            return Err(section.cx.doc.fail(at.span, message).with_help(suggest(at.value, known)));
        }
        named.push(at.value.to_owned());
    }
    Ok(ServerKey { name: name.to_owned(), proof, metrics, sources: section.has("sources").then_some(named) })
}
