//! The server: where it listens, who may send, what it may keep.

use std::collections::BTreeMap;

use super::section::{Errors, Section};
use super::sources::Source;
use super::value::suggest;
use crate::error::Result;
use crate::plan::{Input, Proof, ServerKey, ServerPlan};

/// The file's `[server]`, or the defaults.
///
/// # Errors
/// Of kind `Config`.
pub fn resolve(file: &Section<'_>, sources: &BTreeMap<String, Source>, errors: &mut Errors) -> Result<ServerPlan> {
    let section = file.section("server")?;
    let listen = section.need("listen")?;
    let address = listen.value.parse().map_err(|_| {
        let message = format!("`listen` is `{}`, expected an IP address and a port", listen.value);
        section.cx.doc.fail(listen.span.clone(), message).with_help("for example `listen = \"127.0.0.1:8080\"`")
    })?;
    let named = errors.keep(section.sections("keys")).unwrap_or_default().into_iter();
    let keys = named.filter_map(|(name, key)| errors.keep(self::key(name, &key, sources))).collect();
    let count =
        |name: &str, least| Ok(section.count_within(name, least, u64::from(u32::MAX))?.unwrap_or(least) as usize);
    Ok(ServerPlan {
        listen: address,
        log: section.cx.resolve(section.need("log")?.value),
        log_size: section.size("log-size")?,
        idempotency_window: section.duration("idempotency-window", true)?,
        idempotency_limit: count("idempotency-limit", 0)?,
        connections: count("connections", 1)?,
        max_body: section.size("max-body")?,
        max_decoded: section.size("max-decoded")?,
        keys,
    })
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
    Ok(ServerKey { name: name.to_owned(), proof, sources: section.has("sources").then_some(named) })
}
