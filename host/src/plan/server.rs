//! How records are taken over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

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
    /// Who may send. Empty: everybody who reaches `listen`.
    pub keys: Vec<ServerKey>,
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
