//! Who sends, and into which sources. The headers are checked before a byte of the body is read.

mod hmac;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::answer::{Problem, Reason};
use crate::error::{Error, Result};

pub(crate) use hmac::Pending;

/// A secret that a producer proves to have, and what it may do with it. Several keys may live at a time, so that they can be
/// rotated.
#[derive(Clone)]
pub struct Key {
    name: String,
    scheme: Scheme,
    secret: SecretString,
    sources: Sources,
    metrics: bool,
}

/// How a producer proves that it has the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// It sends it: `Authorization: Bearer`.
    Bearer,
    /// It signs the request with it: HMAC-SHA256.
    Hmac,
}

/// The sources that a key is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    All,
    Named(BTreeSet<String>),
}

impl Key {
    /// The least bytes of a secret.
    pub const LEAST_SECRET: usize = 16;

    /// A key that is sent as a bearer token; good for all sources.
    pub fn bearer(name: impl Into<String>, secret: impl Into<String>) -> Key {
        Key::new(name.into(), Scheme::Bearer, secret.into())
    }

    /// A key that signs requests; good for all sources.
    pub fn hmac(name: impl Into<String>, secret: impl Into<String>) -> Key {
        Key::new(name.into(), Scheme::Hmac, secret.into())
    }

    fn new(name: String, scheme: Scheme, secret: String) -> Key {
        Key { name, scheme, secret: secret.into(), sources: Sources::All, metrics: false }
    }

    /// Makes the key good for these sources only.
    pub fn for_sources<S: Into<String>>(mut self, sources: impl IntoIterator<Item = S>) -> Key {
        self.sources = Sources::Named(sources.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the key may read `/metrics`.
    pub fn may_read_metrics(&self) -> bool {
        self.metrics
    }

    /// Lets the key read `/metrics`, too.
    pub fn with_metrics(mut self) -> Key {
        self.metrics = true;
        self
    }

    /// Refuses secrets that can be guessed, and two keys of one name.
    pub(crate) fn check_all(keys: &[Key]) -> Result<()> {
        let mut names = BTreeSet::new();
        for Key { name, secret, .. } in keys {
            if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Error::new(format!(
                    "the key name `{}` is not 1 to 64 printable characters",
                    name.escape_debug()
                )));
            }
            if !names.insert(name) {
                return Err(
                    Error::new(format!("two keys are named `{name}`")).with_help("give each key a name of its own")
                );
            }
            let length = secret.expose_secret().len();
            if length < Key::LEAST_SECRET {
                return Err(Error::new(format!(
                    "the secret of the key `{name}` has {length} bytes, expected at least {}",
                    Key::LEAST_SECRET
                ))
                .with_help("make one with `openssl rand -hex 32`"));
            }
        }
        Ok(())
    }
}

/// Secrets are left out.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { name, scheme, sources, metrics, secret: _ } = self;
        write!(f, "Key({name:?}, {scheme:?}, {sources:?}, metrics: {metrics})")
    }
}

/// The keys that are good now. They may be replaced while requests come in.
#[derive(Debug)]
pub(crate) struct KeyRing(RwLock<Arc<[Key]>>);

/// Who sent a request, as far as its headers tell.
#[derive(Debug)]
pub(crate) struct Caller {
    /// `None` where no keys are set.
    key: Option<Key>,
    /// The signature, which is verified once the body is there.
    pub(crate) pending: Option<Pending>,
}

impl KeyRing {
    pub(crate) fn new(keys: Vec<Key>) -> KeyRing {
        KeyRing(RwLock::new(keys.into()))
    }

    pub(crate) fn replace(&self, keys: Vec<Key>) {
        *self.0.write().expect("no panic while it is held") = keys.into();
    }

    fn keys(&self) -> Arc<[Key]> {
        self.0.read().expect("no panic while it is held").clone()
    }

    /// Tells who sends from the headers. A signature is left to be verified with the body.
    pub(crate) fn identify(&self, head: &Parts, now: SystemTime) -> Result<Caller, Problem> {
        let keys = self.keys();
        if keys.is_empty() {
            return Ok(Caller::anyone());
        }
        if hmac::is_signed(head) {
            let (key, pending) = hmac::begin(&keys, head, now)?;
            return Ok(Caller { key: Some(key), pending: Some(pending) });
        }
        let token = bearer_token(head)?;
        match find_bearer(&keys, token) {
            Some(key) => Ok(Caller { key: Some(key.clone()), pending: None }),
            None => Err(refused("the bearer token is not one of the keys")),
        }
    }
}

impl Caller {
    /// Someone who needs no key.
    fn anyone() -> Caller {
        Caller { key: None, pending: None }
    }

    /// The name of the key, for logs.
    pub(crate) fn name(&self) -> &str {
        self.key.as_ref().map_or("-", |key| &key.name)
    }

    /// Refuses a source that the key is not good for, whether or not there is such a source.
    pub(crate) fn may_send_to(&self, source: &str) -> Result<(), Problem> {
        match &self.key {
            Some(Key { sources: Sources::Named(names), .. }) if !names.contains(source) => {
                Err(Problem::new(Reason::Forbidden, "the key is not good for this source"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses metrics to keys of producers. A request without a body is signed as one with an empty body.
    pub(crate) fn may_read_metrics(self) -> Result<(), Problem> {
        if let Some(pending) = self.pending {
            pending.verify(b"")?;
        }
        match &self.key {
            Some(Key { metrics: false, .. }) => Err(Problem::new(Reason::Forbidden, "the key is not good for metrics")),
            _ => Ok(()),
        }
    }
}

fn bearer_token(head: &Parts) -> Result<&[u8], Problem> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(refused("there is no `Authorization: Bearer` header and no signature"));
    };
    if values.next().is_some() {
        return Err(refused("there is more than one `Authorization` header"));
    }
    match value.as_bytes().split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(refused("the `Authorization` header has another scheme, expected `Bearer`")),
    }
}

/// Compares with every key, each in the same time wherever they differ.
fn find_bearer<'a>(keys: &'a [Key], token: &[u8]) -> Option<&'a Key> {
    let token = Sha256::digest(token);
    let mut found = None;
    for key in keys.iter().filter(|key| key.scheme == Scheme::Bearer) {
        let same: Choice = Sha256::digest(key.secret.expose_secret()).ct_eq(&token);
        if bool::from(same) {
            found = Some(key);
        }
    }
    found
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Reason::Unauthenticated, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-token-of-32-bytes-0123456789ab";

    fn identify(keys: Vec<Key>, headers: &[(&str, &str)]) -> Result<Caller, Problem> {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        KeyRing::new(keys).identify(&request.body(()).unwrap().into_parts().0, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn any_of_several_live_keys_is_good_and_nothing_else() {
        let keys = || vec![Key::bearer("old", SECRET), Key::bearer("new", "another-token-of-many-bytes")];
        let bearer = |token: &str| identify(keys(), &[("authorization", &format!("Bearer {token}"))]);
        assert_eq!(bearer(SECRET).unwrap().name(), "old");
        assert_eq!(bearer("another-token-of-many-bytes").unwrap().name(), "new");
        for wrong in ["", "a-token", &SECRET[1..], &format!("{SECRET}0")] {
            assert_eq!(bearer(wrong).unwrap_err().reason, Reason::Unauthenticated, "{wrong}");
        }
        assert!(identify(keys(), &[("authorization", "bearer another-token-of-many-bytes")]).is_ok());
        assert!(identify(keys(), &[("authorization", &format!("Basic {SECRET}"))]).is_err());
        assert!(identify(keys(), &[]).is_err());
        let twice = ("authorization", "Bearer another-token-of-many-bytes");
        assert!(identify(keys(), &[twice, twice]).is_err());
    }

    #[test]
    fn a_key_is_good_for_its_sources_only() {
        let keys = vec![Key::bearer("k", SECRET).for_sources(["a", "b"])];
        let caller = identify(keys, &[("authorization", &format!("Bearer {SECRET}"))]).unwrap();
        assert!(caller.may_send_to("a").is_ok());
        assert_eq!(caller.may_send_to("c").unwrap_err().reason, Reason::Forbidden);
        assert_eq!(caller.may_read_metrics().unwrap_err().reason, Reason::Forbidden);
    }

    #[test]
    fn weak_and_doubled_keys_are_refused_without_showing_them() {
        let weak = Key::check_all(&[Key::bearer("k", "short")]).unwrap_err();
        assert!(!weak.to_string().contains("short") && weak.message.contains("5 bytes"), "{weak}");
        assert!(Key::check_all(&[Key::bearer("k", SECRET), Key::hmac("k", SECRET)]).is_err());
        assert!(Key::check_all(&[Key::bearer("a\n", SECRET)]).is_err());
    }

    #[test]
    fn a_secret_is_not_in_the_debug_form() {
        assert_eq!(format!("{:?}", Key::bearer("k", SECRET)), r#"Key("k", Bearer, All, metrics: false)"#);
    }
}
