//! How records are taken over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// The largest [`ServerPlan::max_decoded`].
pub const MAX_DECODED: u64 = 64 << 20;
/// Bytes that a log adds to the records of a request: a line feed and a key for each, and attributes that came in headers.
const ADDED: u64 = 2 << 20;

/// What `lakeport serve` is told.
#[derive(Debug, Clone)]
pub struct ServerPlan {
    /// Where requests are taken.
    pub listen: SocketAddr,
    /// Requests are answered once their records are in the lakes; there are no write-ahead logs.
    pub without_log: bool,
    /// The folder of the write-ahead logs, one below it for each source.
    pub log: PathBuf,
    /// Bytes that the log of one source may have.
    pub log_size: u64,
    /// How long repetitions are recognised.
    pub idempotency_window: Duration,
    /// Keys of repetitions that are remembered for one source.
    pub idempotency_limit: usize,
    /// Connections at a time.
    pub connections: usize,
    /// The largest body as it is sent. Bytes.
    pub max_body: u64,
    /// The largest body once it is decompressed. Bytes.
    pub max_decoded: u64,
    /// How long the server may take to end.
    pub stop_within: Duration,
    pub tls: Option<TlsPlan>,
    /// Origins of webhooks that may send.
    pub webhook_origins: Vec<String>,
    /// Where metrics and health are read, where not at `listen`.
    pub metrics: Option<SocketAddr>,
    /// Everybody who reaches the address `metrics` may read them without a key.
    pub metrics_open: bool,
    /// Who may send. Empty: everybody who reaches `listen`.
    pub keys: Vec<ServerKey>,
}

impl ServerPlan {
    /// The least [`ServerPlan::log_size`] where bodies have up to `max_decoded` bytes.
    pub const fn least_log_size(max_decoded: u64) -> u64 {
        3 * (max_decoded + ADDED)
    }

    /// Bytes that the records of one request may have in a log. Data of an event in binary mode grows by a third: a log that is too
    /// small for that refuses it.
    pub fn largest_batch(&self) -> u64 {
        (self.max_decoded.div_ceil(3) * 4 + ADDED).min(self.log_size / 3)
    }

    /// Bytes of a file of a log: smaller ones for small logs, so that what is exported leaves room soon.
    pub fn segment_bytes(&self) -> u64 {
        (self.log_size / 8).min(64 << 20)
    }
}

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPlan {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities of clients, where they need certificates.
    pub client_authorities: Option<PathBuf>,
}

/// Somebody who may send.
#[derive(Debug, Clone)]
pub struct ServerKey {
    /// The name of its table in the configuration.
    pub name: String,
    pub proof: Proof,
    /// The sources that it may send to; `None` is all.
    pub sources: Option<Vec<String>>,
    /// It may read metrics.
    pub metrics: bool,
}

/// How a sender shows who it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By a bearer token.
    Token(Secret),
    /// By signing its requests with HMAC-SHA256.
    Hmac(Secret),
}
