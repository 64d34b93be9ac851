//! What a server is told: addresses, keys, limits, times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::auth::Key;
use crate::error::{Error, Result};
use crate::tls::Tls;

/// Returns the time. Signatures are checked against it.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The system's clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock; callers may hand in another")]
pub fn system_clock() -> Clock {
    Arc::new(SystemTime::now)
}

/// What a server is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where records are taken.
    pub listen: SocketAddr,
    /// Who may send. Empty on loopback only: everyone may.
    pub keys: Vec<Key>,
    /// Origins of CloudEvents' webhooks that may send: `eventgrid.azure.net`.
    pub webhook_origins: Vec<String>,
    /// TLS of `listen`.
    pub tls: Option<Tls>,
    /// An address of its own for metrics and health, without TLS; `listen` has no metrics then.
    pub metrics: Option<MetricsAddress>,
    pub limits: Limits,
    pub timeouts: Timeouts,
}

/// Where metrics are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsAddress {
    pub listen: SocketAddr,
    /// Everyone who reaches the address may read metrics; else a key that is good for them is needed, where keys are set.
    pub open: bool,
}

/// Limits on what a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is answered with 503 and closed.
    pub connections: usize,
    /// Bytes of a request's line and headers together: 431.
    pub header_bytes: usize,
    /// Headers of a request: 431.
    pub headers: usize,
    /// Bytes of a request's target: 414.
    pub target_bytes: usize,
    /// Bytes of a body as it is sent: 413.
    pub body_bytes: usize,
    /// Bytes of a body once it is decompressed: 413.
    pub decoded_bytes: usize,
    /// Records of a request: 413.
    pub records: usize,
    /// Bytes of bodies that the server holds at a time, over all requests: 429.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1024,
            header_bytes: 16 << 10,
            headers: 64,
            target_bytes: 1024,
            body_bytes: 16 << 20,
            decoded_bytes: 64 << 20,
            records: 65_536,
            held_bytes: 256 << 20,
        }
    }
}

/// Limits on how long a client may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request, or from the connection, to the end of the headers; also for a TLS handshake.
    pub header: Duration,
    /// Between requests of a connection, and for a client to read its answer.
    pub idle: Duration,
    /// For a whole body: 408.
    pub body: Duration,
    /// Between two reads of a body: 408.
    pub body_idle: Duration,
    /// Bytes a second that a body comes with on average, after [`Timeouts::body_idle`]: 408.
    pub body_rate: u32,
    /// For the lake to have the records of a request with `?wait=commit`. After that the answer is 202.
    pub commit: Duration,
    /// For requests to end when the server stops.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(60),
            body_idle: Duration::from_secs(10),
            body_rate: 1024,
            commit: Duration::from_secs(60),
            stop: Duration::from_secs(20),
        }
    }
}

impl Settings {
    /// Settings with the usual limits and without keys.
    pub fn new(listen: SocketAddr) -> Self {
        Settings {
            listen,
            keys: Vec::new(),
            webhook_origins: Vec::new(),
            tls: None,
            metrics: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Refuses settings that are unsafe or cannot work.
    ///
    /// # Errors
    /// Which setting, and what to do.
    pub fn check(&self) -> Result<()> {
        let by_certificate = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.keys.is_empty() && !by_certificate && !is_loopback(self.listen) {
            return Err(Error::new(format!(
                "`{}` can be reached from other machines, and no keys are set",
                self.listen
            ))
            .with_help("set keys, or client certificates, or listen on `127.0.0.1`"));
        }
        if let Some(MetricsAddress { listen, open: false }) = self.metrics
            && !self.keys.iter().any(Key::may_read_metrics)
            && !is_loopback(listen)
        {
            return Err(Error::new(format!(
                "metrics on `{listen}` can be read from other machines, and no key that may read metrics is set"
            ))
            .with_help("give a key `metrics = true`, or set `metrics-open = true`, or listen on `127.0.0.1`"));
        }
        Key::check_all(&self.keys)?;
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<()> {
        const LEAST_HEADER_BYTES: usize = 8 << 10;
        let least = [
            ("connections", self.connections, 1),
            ("header_bytes", self.header_bytes, LEAST_HEADER_BYTES),
            ("headers", self.headers, 16),
            ("target_bytes", self.target_bytes, 64),
            ("body_bytes", self.body_bytes, 1),
            ("decoded_bytes", self.decoded_bytes, 1),
            ("records", self.records, 1),
            // A body, what it becomes once it is decompressed, and its records.
            ("held_bytes", self.held_bytes, self.body_bytes + 2 * self.decoded_bytes),
        ];
        match least.iter().find(|(_, value, least)| value < least) {
            Some((name, value, least)) => {
                Err(Error::new(format!("the limit `{name}` is {value}, expected at least {least}")))
            }
            None => Ok(()),
        }
    }
}

/// Loopback, in either family, also as an IPv4 address written as IPv6.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
