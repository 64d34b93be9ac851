//! The checked form of a configuration: what the rest of the program runs on.
//!
//! Parse → resolve → run. [`crate::config`] is the only place that makes a [`Plan`], nothing later reads configuration, and
//! whatever can be found wrong without touching a lake or a record was found before a `Plan` exists.

mod excerpt;
mod secret;
mod server;
mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::layout::Template;
use crate::record::Attribute;
use crate::table::Shape;

pub use excerpt::{Excerpt, RecordKey};
pub use secret::Secret;
pub use server::{Proof, ServerKey, ServerPlan, TlsPlan};
pub use tables::{Columns, Partition, TablePlan, TablesPlan, Write};

/// Everything an installation runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration file.
    pub path: PathBuf,
    /// In the order of the file.
    pub exports: Vec<ExportPlan>,
    /// The lakes of all exports that keep a table, by the exports' names: what lookups may look into, whatever is run.
    pub tables: BTreeMap<String, Arc<LakePlan>>,
    /// How records are taken over HTTP.
    pub server: ServerPlan,
}

/// The partition of a source that has one: files, standard input, a write-ahead log.
pub const SOLE_PARTITION: &str = "0";

/// One configured flow.
#[derive(Debug, Clone)]
pub struct ExportPlan {
    pub name: String,
    /// The partition of the source that is exported. Each has its own log, owner, position and state.
    pub partition: Arc<str>,
    pub exports: Exports,
    pub source: Arc<SourcePlan>,
    pub lake: Arc<LakePlan>,
    pub filters: Vec<PluginUse>,
    pub transforms: Vec<PluginUse>,
    pub format: PluginUse,
    pub granularity: Granularity,
    pub timestamp: Timestamp,
    pub path: Template,
    pub files: Files,
    pub flush: Flush,
    pub on_error: OnError,
    /// A record whose event time is further ahead of the clock is a dead letter; `None` is no limit.
    pub max_ahead: Option<Duration>,
    /// A larger record is a dead letter. Bytes.
    pub max_record_size: u64,
    /// More dead letters than this in one run stop the export; `None` is no limit.
    pub max_dead_letters: Option<u64>,
    /// The records that are written; `None` is all.
    pub excerpt: Option<Arc<Excerpt>>,
    /// What the digest in every commit is made from: the export's settings, resolved, as canonical JSON without secrets.
    pub settings: serde_json::Value,
}

impl ExportPlan {
    /// The same export of another partition of its source.
    #[must_use]
    pub fn of_partition(&self, partition: &str) -> ExportPlan {
        ExportPlan { partition: partition.into(), ..self.clone() }
    }

    /// Every plugin, in the order in which records meet them.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginUse> {
        self.filters.iter().chain(&self.transforms).chain([&self.format])
    }
}

/// What an export makes of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exports {
    /// Each record as it is.
    Events,
    /// The newest document of each key that changed. `docs/changes.md` says when.
    Changes {
        shape: Shape,
        /// Whether a deleted key is written as a tombstone.
        mark_deletes: bool,
    },
    /// The rows of tables, as a folder that a catalog describes. `docs/tables.md` says how.
    Tables(Arc<TablesPlan>),
}

impl Exports {
    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Exports::Events => "events",
            Exports::Changes { .. } => "changes",
            Exports::Tables(_) => "table",
        }
    }

    /// Whether the newest document of each key is kept, for snapshots and for lookups.
    pub fn keeps_table(&self) -> bool {
        matches!(self, Exports::Changes { .. })
    }
}

impl ExportPlan {
    /// Whether the export keeps the newest document of each key.
    pub fn keeps_table(&self) -> bool {
        self.exports.keeps_table()
    }
}

/// How long a file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    Minute,
    Hour,
    Day,
}

/// Which time decides a record's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// The record's `time`. `or_enqueued`: its enqueued time where it has none.
    Event { or_enqueued: bool },
    /// The write time of the commit that holds it.
    Write,
}

/// What readers see of a period. See `docs/commit-log.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Each by one commit, under a name that no other has: those of tables.
    Once,
    /// Numbered parts, each final when it appears.
    Rolling,
    /// One file that grows up to `roll_size` bytes, then the next part.
    Growing { roll_size: u64 },
    /// One file, when the period is over and `lateness` has passed.
    Sealed { lateness: Duration },
}

/// When a span ends: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// Time since the span's first record.
    pub every: Duration,
    /// Bytes read from the source, or encoded, whichever gets there first.
    pub bytes: u64,
}

/// What happens when a plugin fails on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The offending records become dead letters; the export goes on.
    DeadLetter,
    /// The export stops; nothing of the span is committed.
    Stop,
}

/// A plugin in its place in an export.
#[derive(Debug, Clone)]
pub struct PluginUse {
    pub plugin: Arc<PluginPlan>,
    /// Its settings as JSON, not yet checked against its schema: that needs the component.
    pub config: serde_json::Value,
}

/// Where a plugin comes from.
#[derive(Debug, Clone)]
pub struct PluginPlan {
    /// The name that the configuration uses.
    pub name: String,
    pub origin: PluginOrigin,
    pub limits: Limits,
}

/// A component's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginOrigin {
    /// Embedded in the binary.
    BuiltIn,
    Path(PathBuf),
}

/// What one plugin may use. Every limit can be set in the configuration; `docs/plugins.md` says what happens on a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all memories together. Bytes.
    pub memory: u64,
    /// Time of one call.
    pub time: Duration,
    /// Bytes that one call may pass or return.
    pub transfer: u64,
    /// Size of the component. Bytes.
    pub component: u64,
    /// Time that compiling the component may take.
    pub compile_time: Duration,
    /// Memory that compiling the component may take. Bytes.
    pub compile_memory: u64,
    /// Log lines of one call; further ones are cut and counted.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 64 << 20,
            time: Duration::from_secs(5),
            transfer: 32 << 20,
            component: 32 << 20,
            compile_time: Duration::from_secs(60),
            compile_memory: 2 << 30,
            log_lines: 100,
        }
    }
}

/// Where records come from.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    pub name: String,
    pub input: Input,
    pub mapping: Mapping,
    /// Events of a partition that were never delivered are passed over, with a warning.
    pub accepts_gaps: bool,
    /// So many partitions divide what comes in no order: messages, and objects.
    pub partitions: u32,
    /// Where the objects are that are announced to the source.
    pub lake: Option<Arc<LakePlan>>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Files, folders (every file below) and globs, absolute, in the order of the configuration.
    Files(Vec<String>),
    /// Standard input. `spool`: the folder that keeps what was read until it is committed.
    Stdin { spool: Option<PathBuf> },
    /// Requests to the server of `lakeport serve`, and what starts functions.
    Http,
}

/// What records come in, and where their attributes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub envelope: Envelope,
    /// What the record is; without an envelope, a record without it is a dead letter.
    pub kind: Place,
    /// When it happened.
    pub time: Place,
    /// What `time` and `enqueued_time` are written in where they are in the body.
    pub time_unit: TimeUnit,
    /// Of OData's rows: they have all their columns, not only those that changed.
    pub whole_rows: bool,
    pub subject: Place,
    pub id: Place,
    /// Where the record came from; the source's name where it is [`Place::Nowhere`].
    pub source: Place,
    pub enqueued_time: Place,
    pub operation: Place,
    pub version: Place,
    pub properties: Place,
    pub system_properties: Place,
}

/// What a record comes in. `docs/sources.md` says what each of them gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// None: a line is the body.
    Plain,
    /// Messages as IoT Hub's routing writes them as JSON.
    IotHub,
    /// CloudEvents 1.0, structured JSON.
    CloudEvents,
    /// Event Grid's own schema.
    EventGrid,
    /// A change of one thing: the operation, the key, the document.
    Change,
    /// Avro object container files.
    Avro,
    /// Debezium's change events.
    Debezium,
    /// PostgreSQL's changes as wal2json, version 2, writes them.
    Wal2Json,
    /// Pages of an OData delta feed.
    ODataDelta,
    /// Dataverse's remote execution contexts.
    Dataverse,
}

impl Envelope {
    /// Every envelope with its name in the configuration.
    pub const ALL: [(&str, Envelope); 10] = [
        ("plain", Envelope::Plain),
        ("iot-hub", Envelope::IotHub),
        ("cloudevents", Envelope::CloudEvents),
        ("event-grid", Envelope::EventGrid),
        ("change", Envelope::Change),
        ("avro", Envelope::Avro),
        ("debezium", Envelope::Debezium),
        ("wal2json", Envelope::Wal2Json),
        ("odata-delta", Envelope::ODataDelta),
        ("dataverse", Envelope::Dataverse),
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        Envelope::ALL.iter().find(|(_, known)| *known == self).expect("`ALL` has every envelope").0
    }

    /// Whether some records in it have the attribute.
    fn may_give(self, attribute: Attribute) -> bool {
        use Attribute::{EnqueuedTime, Id, Properties};
        match self {
            Envelope::Plain => false,
            Envelope::Change | Envelope::Debezium | Envelope::Wal2Json | Envelope::ODataDelta | Envelope::Dataverse => {
                !matches!(attribute, Id | EnqueuedTime | Properties)
            }
            Envelope::IotHub | Envelope::CloudEvents | Envelope::EventGrid | Envelope::Avro => true,
        }
    }
}

/// Where an attribute is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where the envelope has it.
    Envelope,
    /// In the line of the record, envelope included: an RFC 6901 pointer.
    Within(String),
    /// In the body: an RFC 6901 pointer.
    Body(String),
    /// Records have no such attribute.
    Nowhere,
}

impl Mapping {
    /// The mapping of product signals, which come in no envelope.
    pub fn plain() -> Mapping {
        let body = |pointer: &str| Place::Body(pointer.to_owned());
        Mapping {
            envelope: Envelope::Plain,
            kind: body("/name"),
            time: body("/signalTime"),
            time_unit: TimeUnit::Rfc3339,
            whole_rows: false,
            subject: body("/deviceId"),
            id: Place::Nowhere,
            source: Place::Nowhere,
            enqueued_time: body("/serverTime"),
            operation: Place::Nowhere,
            version: Place::Nowhere,
            properties: Place::Nowhere,
            system_properties: Place::Nowhere,
        }
    }

    /// The mapping of change records, whose envelope says everything.
    pub fn of_changes() -> Mapping {
        Mapping::all(Envelope::Change, &Place::Envelope)
    }

    /// A mapping with every attribute in the same kind of place.
    pub fn all(envelope: Envelope, place: &Place) -> Mapping {
        let place = || place.clone();
        Mapping {
            envelope,
            kind: place(),
            time: place(),
            time_unit: TimeUnit::Rfc3339,
            whole_rows: false,
            subject: place(),
            id: place(),
            source: place(),
            enqueued_time: place(),
            operation: place(),
            version: place(),
            properties: place(),
            system_properties: place(),
        }
    }

    /// Where the attribute is; the body and the write time are in no place that could be chosen.
    pub fn place(&self, attribute: Attribute) -> &Place {
        match attribute {
            Attribute::Id => &self.id,
            Attribute::Source => &self.source,
            Attribute::Kind => &self.kind,
            Attribute::Subject => &self.subject,
            Attribute::Time => &self.time,
            Attribute::EnqueuedTime => &self.enqueued_time,
            Attribute::Operation => &self.operation,
            Attribute::Version => &self.version,
            Attribute::Properties => &self.properties,
            Attribute::SystemProperties => &self.system_properties,
            Attribute::WriteTime | Attribute::Body => &Place::Nowhere,
        }
    }

    /// Whether records may have the attribute.
    pub fn may_have(&self, attribute: Attribute) -> bool {
        match self.place(attribute) {
            Place::Body(_) | Place::Within(_) => true,
            Place::Envelope => self.envelope.may_give(attribute),
            Place::Nowhere => false,
        }
    }
}

/// What a record's time is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// RFC 3339 text.
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z, with or without a fraction; a number or text.
    EpochSeconds,
    /// Milliseconds since 1970-01-01T00:00:00Z; a number or text.
    EpochMilliseconds,
}

impl TimeUnit {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Rfc3339 => "rfc3339",
            TimeUnit::EpochSeconds => "epoch-seconds",
            TimeUnit::EpochMilliseconds => "epoch-milliseconds",
        }
    }
}

/// A place in an object store.
#[derive(Debug, Clone)]
pub struct LakePlan {
    pub name: String,
    pub location: Location,
    /// The folder of the commit log, below the lake's root: `_lakeport`.
    pub log_folder: String,
    /// How long a request that fails for a reason that may pass is made again.
    pub retry_for: Duration,
}

/// A lake's URL, taken apart, with its credential.
#[derive(Debug, Clone)]
pub enum Location {
    /// A folder, absolute.
    Local(PathBuf),
    /// In this process only, for tests: the name tells lakes apart.
    Memory(String),
    /// Azure Data Lake Storage Gen2 or Blob, through the Blob API. The container is the file system.
    Azure {
        account: String,
        container: String,
        prefix: String,
        endpoint: Option<String>,
        credential: AzureCredential,
    },
    S3 {
        bucket: String,
        prefix: String,
        region: String,
        endpoint: Option<String>,
        credential: S3Credential,
    },
    Gcs {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
        credential: GcsCredential,
    },
}

impl Location {
    /// Whether one of the two places is within the other.
    pub fn overlaps(&self, other: &Location) -> bool {
        let (Some(one), Some(two)) = (self.place(), other.place()) else { return false };
        one.starts_with(&two) || two.starts_with(&one)
    }

    /// The folders that lead to it, as a path; `None` where others cannot be in it.
    fn place(&self) -> Option<PathBuf> {
        Some(match self {
            Location::Local(folder) => folder.clone(),
            Location::Memory(_) => return None,
            Location::Azure { account, container, prefix, .. } => [&**account, container, prefix].iter().collect(),
            Location::S3 { bucket, prefix, .. } => ["s3", bucket, prefix].iter().collect(),
            Location::Gcs { bucket, prefix, .. } => ["gs", bucket, prefix].iter().collect(),
        })
    }

    /// The key, below this place, of the object `name` in a container or bucket; `None` where it is not in this place. A local
    /// folder is the container of its own name.
    pub fn key_of(&self, container: &str, name: &str) -> Option<String> {
        let (own, prefix) = match self {
            Location::Local(folder) => (folder.file_name()?.to_str()?, ""),
            Location::Memory(name) => (name.as_str(), ""),
            Location::Azure { container, prefix, .. } => (container.as_str(), prefix.as_str()),
            Location::S3 { bucket, prefix, .. } | Location::Gcs { bucket, prefix, .. } => {
                (bucket.as_str(), prefix.as_str())
            }
        };
        let below = match prefix {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        (own == container && !below.is_empty()).then(|| below.to_owned())
    }
}

/// How Azure is told who asks. Never the instance-metadata service unless [`AzureCredential::ManagedIdentity`] says so.
#[derive(Debug, Clone)]
pub enum AzureCredential {
    AccountKey(Secret),
    /// A shared access signature, with or without the leading `?`.
    Sas(Secret),
    ClientSecret {
        tenant: String,
        client: String,
        secret: Secret,
    },
    ManagedIdentity,
}

/// How S3 is told who asks.
#[derive(Debug, Clone)]
pub enum S3Credential {
    Keys {
        id: Secret,
        secret: Secret,
        session_token: Option<Secret>,
    },
    /// The instance's or the pod's own role, by opting in.
    InstanceRole,
}

/// How Google Cloud Storage is told who asks.
#[derive(Debug, Clone)]
pub enum GcsCredential {
    /// A service account's key, the JSON text.
    ServiceAccountKey(Secret),
    /// The instance's own service account, by opting in.
    InstanceAccount,
    /// No signature: emulators and public buckets.
    Anonymous,
}
