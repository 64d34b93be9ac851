//! The checked form of a configuration: what the rest of the program runs on.
//!
//! Parse → resolve → run. [`crate::config`] is the only place that makes a [`Plan`], nothing later reads configuration, and
//! whatever can be found wrong without touching a lake or a record was found before a `Plan` exists.

mod excerpt;
mod lake;
mod secret;
mod server;
mod source;
mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::layout::Template;
use crate::table::Shape;

pub use excerpt::{Excerpt, RecordKey};
pub use lake::{AzureCredential, GcsCredential, LakePlan, Location, S3Credential};
pub use secret::Secret;
pub use server::{MAX_DECODED, Proof, ServerKey, ServerPlan, TlsPlan};
pub use source::{Envelope, Input, Mapping, Place, SourcePlan, TimeUnit};
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
