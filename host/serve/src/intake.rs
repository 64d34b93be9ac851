//! What the server needs of the product: a place that keeps records.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

/// Keeps the records that the server takes.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Returns the source of this name, where it takes records over HTTP.
    fn source(&self, name: &str) -> Option<SourceInfo>;

    /// Keeps a batch, all of it or nothing, and returns once it is on stable storage.
    ///
    /// The server lets the call end even if the client goes away, and sets it no time limit: it has to end by itself.
    async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal>;

    /// Returns once the records up to `position` are in the lake. Called for `?wait=commit`, after [`Intake::append`]; a hint to
    /// commit now. The server stops waiting (drops the call) after [`Timeouts::commit`](crate::Timeouts::commit).
    async fn committed(&self, source: &str, position: &str) -> Result<(), Refusal>;

    /// Says whether the process works and whether it takes records.
    fn health(&self) -> Health;

    /// Returns the product's metrics; the server renders them beside its own.
    fn metrics(&self) -> Vec<Family>;
}

/// What the server needs to know of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// What the records of the source come in.
    pub envelope: Envelope,
    /// The largest record in bytes; a larger one is refused.
    pub max_record_size: usize,
}

/// What records come in, as far as the server treats it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// JSON objects without an envelope.
    Plain,
    /// CloudEvents 1.0 in structured JSON; requests may be in binary mode.
    CloudEvents,
    /// Events in Event Grid's own schema.
    EventGrid,
    /// JSON objects of any other envelope; the server does not look into them.
    Other,
}

/// Records of one request: JSON objects, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Each record's bytes as they came, in UTF-8, with line feeds and carriage returns between tokens made spaces; a line feed
    /// after each record.
    pub lines: Bytes,
    pub records: u32,
    pub identity: Identity,
}

impl Batch {
    /// Returns the records without their line feeds.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
    }
}

/// A hash of 128 bits that names a record or a request within its source; the source's name is part of it.
pub type IdempotencyKey = [u8; 16];

/// How a repetition is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It is not.
    None,
    /// By the request: `Idempotency-Key`.
    Request {
        key: IdempotencyKey,
        /// A hash of the records. The same key with another one is [`Refusal::KeyReused`].
        content: [u8; 16],
    },
    /// By the record: a key for each, in their order. Two records of one batch may have the same key: the first counts.
    Records(Vec<IdempotencyKey>),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where the records are, in a form that [`Intake::committed`] understands; producers may log it.
    pub position: String,
    /// Records of the batch, duplicates included.
    pub records: u32,
    /// Records that were there already and were not kept again.
    pub duplicates: u32,
    /// The records are in the lake already.
    pub committed: bool,
}

/// Why a batch was not kept. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More comes in than goes out: 429.
    Busy { retry_after: Duration },
    /// There is no space left: 503.
    Full { retry_after: Duration },
    /// The source is starting or stopping: 503.
    NotReady { retry_after: Duration },
    /// The records are more than are kept at once, with what is kept beside them: 413.
    TooLarge,
    /// The idempotency key was used with other records: 422.
    KeyReused,
    /// It failed: 500. The reason is logged and not sent.
    Failed(String),
}

/// Whether the process works, and whether it takes records. Empty lists mean yes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the process must be restarted: `/healthz` answers 503.
    pub not_live: Vec<String>,
    /// Why it takes no records now: `/readyz` answers 503.
    pub not_ready: Vec<String>,
    /// What somebody should look at, and which keeps no records from being taken: shown by `/readyz`.
    pub warnings: Vec<String>,
    /// How each export is; one that is not ready makes `/readyz` answer 503.
    pub exports: Vec<ExportHealth>,
}

/// How an export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportHealth {
    pub name: String,
    /// The name of a state.
    pub state: &'static str,
    /// Why, where it is not at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(rename = "ready")]
    pub is_ready: bool,
}

/// Metrics of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// A Prometheus name, by OpenTelemetry's conventions: `lakeport_records_total`.
    pub name: String,
    pub help: String,
    pub kind: FamilyKind,
    pub samples: Vec<Sample>,
}

/// What the numbers of a [`Family`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    Counter,
    Gauge,
    /// The samples' names end with `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What follows the family's name: empty, or `_bucket`, `_sum`, `_count` of a histogram.
    pub suffix: &'static str,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}
