//! The server: where it listens, who may send, what it may keep.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::section::{At, Errors, Section};
use super::sources::Source;
use super::value::suggest;
use crate::error::{Error, Result};
use crate::plan::{Input, Proof, ServerKey, ServerPlan, TlsPlan};

/// The file's `[server]`, or the defaults.
///
/// # Errors
/// Of kind `Config`.
pub fn resolve(file: &Section<'_>, sources: &BTreeMap<String, Source>, errors: &mut Errors) -> Result<ServerPlan> {
    let section = file.section("server")?;
    let named = errors.keep(section.sections("keys")).unwrap_or_default().into_iter();
    let keys = named.filter_map(|(name, key)| errors.keep(self::key(name, &key, sources))).collect();
    let count =
        |name: &str, least| Ok(section.count_within(name, least, u64::from(u32::MAX))?.unwrap_or(least) as usize);
    Ok(ServerPlan {
        listen: address(&section, "listen", section.need("listen")?)?,
        without_log: section.choice("acknowledge")? == "lake",
        log: section.cx.resolve(section.need("log")?.value),
        log_size: section.size("log-size")?,
        idempotency_window: section.duration("idempotency-window", true)?,
        idempotency_limit: count("idempotency-limit", 0)?,
        connections: count("connections", 1)?,
        max_body: section.size("max-body")?,
        max_decoded: section.size("max-decoded")?,
        stop_within: section.duration("stop-within", false)?,
        tls: tls(&section)?,
        webhook_origins: section.texts("webhook-origins")?.iter().map(|at| at.value.to_owned()).collect(),
        metrics: section.text("metrics")?.map(|at| address(&section, "metrics", at)).transpose()?,
        keys,
    })
}

fn address(section: &Section<'_>, name: &str, At { value, span }: At<&str>) -> Result<SocketAddr> {
    value.parse().map_err(|_| {
        let message = format!("`{name}` is `{value}`, expected an IP address and a port");
        section.cx.doc.fail(span, message).with_help(format!("for example `{name} = \"127.0.0.1:8080\"`"))
    })
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
    for at in section.texts("sources")? {
        let takes = |source: &&Source| source.plan.input == Input::Http;
        if sources.get(at.value).filter(takes).is_none() {
            let known = sources.iter().filter(|(_, source)| takes(source)).map(|(name, _)| name.as_str());
            let message = format!("no source `{}` takes records over HTTP", at.value);
            return Err(section.cx.doc.fail(at.span, message).with_help(suggest(at.value, known)));
        }
        named.push(at.value.to_owned());
    }
    let metrics = section.flag("metrics")?;
    Ok(ServerKey { name: name.to_owned(), proof, metrics, sources: section.has("sources").then_some(named) })
}
