//! Idempotency keys: hashes that name a record or a request within its source.

use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::answer::{Problem, Reason};
use crate::intake::{Batch, IdempotencyKey, Identity};

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;

/// Reads `Idempotency-Key`: a quoted text, as the IETF's draft has it, or the same without quotes.
pub(super) fn header(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Reason::InvalidRequest, format!("`Idempotency-Key` {detail}")));
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return invalid("is there twice");
    }
    let text = value.as_bytes();
    let key = match text {
        [b'"', inner @ .., b'"'] => inner,
        text => text,
    };
    if !key.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return invalid("has characters other than printable ASCII without spaces, quotes and backslashes");
    }
    match String::from_utf8(key.to_vec()) {
        Ok(key) if (1..=LONGEST).contains(&key.len()) => Ok(Some(key)),
        _ => invalid("is not 1 to 255 characters long"),
    }
}

/// Gives a batch the key of its request, unless its records have their own.
pub(super) fn identify_request(source: &str, key: &str, batch: &mut Batch) {
    if batch.identity == Identity::None {
        let key = hash(Domain::Request, &[source, key]);
        batch.identity = Identity::Request { key, content: cut(Sha256::digest(&batch.lines).into()) };
    }
}

/// What a key names; keys of different domains are never equal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Domain {
    Request = 1,
    CloudEvent = 2,
    GridEvent = 3,
}

/// Hashes a key. Each part has its length before it, so that parts cannot run into each other.
pub(super) fn hash(domain: Domain, parts: &[&str]) -> IdempotencyKey {
    let mut hash = Sha256::new();
    hash.update(b"lakeport-idempotency-v1");
    hash.update([domain as u8]);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    cut(hash.finalize().into())
}

/// Returns the first 128 bits.
fn cut(hash: [u8; 32]) -> [u8; 16] {
    *hash.first_chunk().expect("it has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_and_without_quotes() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            header(&headers)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"8e03978e\""]), Ok(Some("8e03978e".into())));
        assert_eq!(read(&["8e03978e"]), Ok(Some("8e03978e".into())));
        let long = "a".repeat(256);
        for wrong in [&[""][..], &["\"\""], &["a", "a"], &["a b"], &["\"a"], &["ä"], &[&long]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn keys_of_other_sources_domains_and_splits_differ() {
        let keys = [
            hash(Domain::Request, &["s", "ab"]),
            hash(Domain::Request, &["sa", "b"]),
            hash(Domain::Request, &["t", "ab"]),
            hash(Domain::CloudEvent, &["s", "ab"]),
            hash(Domain::CloudEvent, &["s", "a", "b"]),
            hash(Domain::GridEvent, &["s", "a", "b"]),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        // Kept over restarts and versions: must not change.
        assert_eq!(hex::encode(keys[0]), "d909546decde4d79a260e3cd2191d29c");
    }
}
