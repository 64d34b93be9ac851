//! Signatures: HMAC-SHA256 over all of a request that decides what becomes of it.
//!
//! What is signed, with `\n` after each line:
//!
//! ```text
//! lakeport-v1
//! POST
//! /v1/ingest/telemetry?wait=commit
//! 1764500000
//! content-encoding:gzip
//! content-type:application/x-ndjson
//! idempotency-key:7f3a
//!
//! ```
//!
//! and then the body as it is sent. Of headers, `content-encoding`, `content-type`, `idempotency-key` and all `ce-*` that the
//! request has are signed, in the order of their names.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::{Key, Scheme, refused};
use crate::answer::Problem;

const KEY: &str = "lakeport-key";
const TIMESTAMP: &str = "lakeport-timestamp";
const SIGNATURE: &str = "lakeport-signature";
/// How far a timestamp may be from the clock.
const TOLERANCE: Duration = Duration::from_secs(300);

/// A signature whose headers are plausible; the body decides.
pub(crate) struct Pending {
    mac: Hmac<Sha256>,
    signature: [u8; 32],
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Pending {
    /// Verifies the signature with the body as it was sent, in constant time.
    pub(crate) fn verify(mut self, body: &[u8]) -> Result<(), Problem> {
        self.mac.update(body);
        self.mac.verify_slice(&self.signature).map_err(|_| refused("the signature does not match the request"))
    }
}

/// Whether a request says that it is signed.
pub(super) fn is_signed(head: &Parts) -> bool {
    head.headers.contains_key(SIGNATURE)
}

/// Checks key, timestamp and form of the signature, and takes in the head.
pub(super) fn begin(keys: &[Key], head: &Parts, now: SystemTime) -> Result<(Key, Pending), Problem> {
    let name = single(head, KEY)?;
    let timestamp = single(head, TIMESTAMP)?;
    let is_fresh = timestamp.parse().is_ok_and(|seconds| {
        let sent = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        sent.is_some_and(|sent| match now.duration_since(sent) {
            Ok(age) => age <= TOLERANCE,
            Err(ahead) => ahead.duration() <= TOLERANCE,
        })
    });
    if !is_fresh {
        return Err(refused(format!(
            "`{TIMESTAMP}` is not within 300 seconds of the server's clock, expected seconds since 1970"
        )));
    }
    let mut signature = [0; 32];
    match single(head, SIGNATURE)?.strip_prefix("v1=") {
        Some(digits) if hex::decode_to_slice(digits, &mut signature).is_ok() => {}
        _ => return Err(refused(format!("`{SIGNATURE}` is not `v1=` and 64 hexadecimal digits"))),
    }
    let key = keys.iter().find(|key| key.scheme == Scheme::Hmac && key.name == name);
    let key = key.ok_or_else(|| refused(format!("`{KEY}` names no key that signs")))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.expose_secret().as_bytes()).expect("any length is a key");
    mac.update(signed_head(head, timestamp).as_slice());
    Ok((key.clone(), Pending { mac, signature }))
}

/// Returns the part of what is signed that stands before the body.
fn signed_head(head: &Parts, timestamp: &str) -> Vec<u8> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut signed = format!("lakeport-v1\n{}\n{target}\n{timestamp}\n", head.method).into_bytes();
    let is_signed =
        |name: &str| matches!(name, "content-encoding" | "content-type" | "idempotency-key") || name.starts_with("ce-");
    let mut headers: Vec<_> = head.headers.iter().filter(|(name, _)| is_signed(name.as_str())).collect();
    // Stable: several of one name stay in their order.
    headers.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"] {
            signed.extend_from_slice(part);
        }
    }
    signed.push(b'\n');
    signed
}

fn single<'a>(head: &'a Parts, name: &str) -> Result<&'a str, Problem> {
    let mut values = head.headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => Err(refused(format!("a signed request needs the header `{name}`"))),
        _ => Err(refused(format!("the header `{name}` is not one text in ASCII"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-of-32-bytes-0123456789a";
    const NOW: u64 = 1_764_500_000;

    fn sign(text: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(text);
        format!("v1={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn verify(timestamp: u64, signature: &str, idempotency: &str, body: &[u8]) -> Result<(), Problem> {
        let request = http::Request::post("/v1/ingest/s?wait=commit")
            .header("idempotency-key", idempotency)
            .header("content-type", "application/json")
            .header("x-other", "not signed")
            .header(KEY, "k")
            .header(TIMESTAMP, timestamp.to_string())
            .header(SIGNATURE, signature);
        let head = request.body(()).unwrap().into_parts().0;
        let keys = [Key::bearer("b", SECRET), Key::hmac("k", SECRET)];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        begin(&keys, &head, now)?.1.verify(body)
    }

    #[test]
    fn a_signature_covers_method_target_time_headers_and_body() {
        let text = |time: u64| {
            format!(
                "lakeport-v1\nPOST\n/v1/ingest/s?wait=commit\n{time}\ncontent-type:application/json\nidempotency-key:i\n\n{{}}"
            )
        };
        let good = sign(text(NOW).as_bytes());
        verify(NOW, &good, "i", b"{}").unwrap();
        // What the Python of docs/serve.md makes of it.
        assert_eq!(good, "v1=dd6721296687eba1ec6927d948c16b09f2086074c443f369581ef126da8138a4");
        verify(NOW, &good, "i", b"{ }").unwrap_err();
        verify(NOW, &good, "j", b"{}").unwrap_err();
        verify(NOW + 1, &good, "i", b"{}").unwrap_err();
        for other in ["GET\n/v1/ingest/s?wait=commit", "POST\n/v1/ingest/s"] {
            let text = text(NOW).replace("POST\n/v1/ingest/s?wait=commit", other);
            verify(NOW, &sign(text.as_bytes()), "i", b"{}").unwrap_err();
        }
        for (time, is_good) in
            [(NOW - 300, true), (NOW + 300, true), (NOW - 301, false), (NOW + 301, false), (u64::MAX, false)]
        {
            assert_eq!(verify(time, &sign(text(time).as_bytes()), "i", b"{}").is_ok(), is_good, "{time}");
        }
    }

    #[test]
    fn signatures_of_another_form_are_refused() {
        for wrong in ["", "v1=", "v1=00", "v2=00", &"0".repeat(64), &format!("v1={}", "g".repeat(64))] {
            verify(NOW, wrong, "i", b"{}").unwrap_err();
        }
    }
}
