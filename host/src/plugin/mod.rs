//! Plugins: sandboxed WebAssembly components that filter, transform and format records.
//!
//! The pipeline sees the traits of this module and a [`Toolbox`] that opens them; the sandbox (`engine.rs`, one file per
//! kind) is one implementation, and linking the same code natively, to measure what the sandbox costs, is another.
//! Everything here is pure: no clock, no disk, no network. What a plugin may know of time and chance is its [`Moment`].

mod bindings;
mod cache;
mod catalog;
mod compiler;
mod crossing;
mod embed;
mod engine;
mod filter;
mod format;
#[cfg(test)]
mod hostile;
mod inspect;
mod instance;
mod limits;
mod loaded;
pub mod lock;
mod log;
mod outline;
mod sandbox;
mod scaffold;
mod settings;
mod transform;
mod wasi;

use std::fmt;

pub use compiler::{Compiler, compile_input};
pub use embed::embed;
pub use inspect::{Compiled, InspectedFileType, Inspection, Opened, compile, inspect};
pub use loaded::Loaded;
pub use sandbox::{Sandbox, SandboxToolbox, built_in_names};
pub use scaffold::{Scaffold, check_name, scaffold};

use crate::dataset::{Described, TableSchema};
use crate::error::{Error, Result};
use crate::plan::PluginUse;
use crate::record::{Attribute, ColumnRequest};
use arrow_array::{ArrayRef, BinaryViewArray, BooleanArray};
use xxhash_rust::xxh3::Xxh3;

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    Filter,
    Transform,
    Format,
}

impl PluginKind {
    /// Every kind, in the order of the pipeline.
    pub const ALL: [PluginKind; 3] = [PluginKind::Filter, PluginKind::Transform, PluginKind::Format];
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PluginKind::Filter => "filter",
            PluginKind::Transform => "transform",
            PluginKind::Format => "format",
        })
    }
}

/// What stands in for the clock and for chance while a plugin runs, so that a run can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since 1970-01-01T00:00:00Z: the span's write time.
    pub write_time: i64,
    /// From the span's commit.
    pub seed: u64,
}

impl Moment {
    /// Returns the same time with a seed of its own, which follows from this one and `place` alone.
    ///
    /// Each call of a plugin gets one, by the record that it starts with: what it draws is unique within the span, and the same
    /// whichever lane runs the batch and however often.
    pub fn at(self, place: &[u64]) -> Moment {
        let mut hash = Xxh3::with_seed(self.seed);
        place.iter().for_each(|part| hash.update(&part.to_le_bytes()));
        Moment { seed: hash.digest(), ..self }
    }
}

/// Opens plugins: one instance for each lane of the pipeline.
pub trait Toolbox: Send + Sync {
    /// Opens a filter. Errors of kind `Config` name the setting; `Plugin` otherwise.
    fn filter(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Filter>>;
    /// Opens a transform; errors as for [`Toolbox::filter`].
    fn transform(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Transform>>;
    /// Opens a format; errors as for [`Toolbox::filter`].
    fn format(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Format>>;
    /// Opens a format for the rows of a table; errors as for [`Toolbox::filter`].
    fn table_format(&self, plugin: &PluginUse, schema: &TableSchema, moment: Moment) -> Result<Box<dyn Format>> {
        let _ = (schema, moment);
        Err(no_tables(plugin))
    }
    /// Opens what describes the tables that a format wrote; errors as for [`Toolbox::filter`].
    fn catalog(&self, plugin: &PluginUse, moment: Moment) -> Result<Box<dyn Catalog>> {
        let _ = moment;
        Err(no_tables(plugin))
    }
    /// Opens what brings one file of a table from the columns `before` to the columns `after`; errors as for
    /// [`Toolbox::filter`].
    fn widener(
        &self,
        plugin: &PluginUse,
        before: &TableSchema,
        after: &TableSchema,
        moment: Moment,
    ) -> Result<Box<dyn Widener>> {
        let _ = (before, after, moment);
        Err(no_tables(plugin))
    }
}

/// Why a call did not give a usable answer. After one, the instance is not called again: drop it and open another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It trapped: a panic, an unreachable instruction, a stack overflow. The text names plugin and trap.
    #[error("{0}")]
    Trap(String),
    /// It went over its time; the text names plugin and limit.
    #[error("{0}")]
    Timeout(String),
    /// It answered what the interface forbids; the text names plugin and rule.
    #[error("{0}")]
    BrokeRule(String),
    /// It answered with an error of its own; the text names plugin and error.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// Returns a failure of the same kind with another text.
    pub fn because(self, text: String) -> Failure {
        match self {
            Failure::Trap(_) => Failure::Trap(text),
            Failure::Timeout(_) => Failure::Timeout(text),
            Failure::BrokeRule(_) => Failure::BrokeRule(text),
            Failure::Refused(_) => Failure::Refused(text),
        }
    }
}

/// A row that a plugin refuses, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub row: u32,
    pub reason: String,
}

/// A filter's answer.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// One value a row, none null.
    pub keep: BooleanArray,
    /// Rows are distinct and rising.
    pub rejected: Vec<Rejection>,
}

/// A transform's answer.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// For each output record, the row it comes from; never decreasing.
    pub origins: Vec<u32>,
    /// New bodies; `None` keeps the origins'.
    pub bodies: Option<BinaryViewArray>,
    /// Attributes that are set anew, a value for each output record.
    pub attributes: Vec<(Attribute, ArrayRef)>,
    /// Rows are distinct and rising.
    pub rejected: Vec<Rejection>,
}

/// A format's file type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileType {
    /// Without the dot.
    pub extension: String,
    pub content_type: String,
    /// Whether segments may be added to a finished file.
    pub appendable: bool,
}

/// Bytes of a file, and the rows in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub bytes: Vec<u8>,
    pub rows: u32,
    /// Rows are distinct and rising.
    pub rejected: Vec<Rejection>,
}

/// Names one open file of a [`Format`]; chosen by the caller.
pub type FileId = u32;

/// Decides which records are kept.
///
/// `columns` are what it asked for, in its order; a call may be made for any rows, in any order of batches.
pub trait Filter: Send {
    /// The columns of every later call, in this order.
    fn columns(&self) -> &[ColumnRequest];
    /// Decides on the `rows` rows of `columns`.
    fn evaluate(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Verdict, Failure>;
    /// Sets the clock and chance of later calls.
    fn set_moment(&mut self, moment: Moment);
}

/// Rewrites records: each becomes none, one or several.
pub trait Transform: Send {
    /// The columns of every later call, in this order.
    fn columns(&self) -> &[ColumnRequest];
    /// Rewrites the `rows` rows of `columns`.
    fn apply(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Transformed, Failure>;
    /// Makes a rule that the last answer broke this instance's failure. `rule`: what it did, and what was expected.
    fn broke(&mut self, rule: String) -> Failure {
        Failure::BrokeRule(format!("the transform broke the interface in `apply`: it {rule}"))
    }
    /// Sets the clock and chance of later calls.
    fn set_moment(&mut self, moment: Moment);
}

/// Turns records into the bytes of files.
pub trait Format: Send {
    /// The columns of every later call, in this order.
    fn columns(&self) -> &[ColumnRequest];
    /// What its files are.
    fn file_type(&self) -> &FileType;
    /// Starts a file, or goes on with one (`resumed`): the bytes it begins with, none where resumed.
    ///
    /// `seed` is derived from the file's key without its part: the same for every segment of every part.
    fn begin(&mut self, file: FileId, seed: [u8; 16], resumed: bool) -> Result<Vec<u8>, Failure>;
    /// The next bytes of a file that was begun.
    fn encode(&mut self, file: FileId, rows: usize, columns: &[ArrayRef]) -> Result<Segment, Failure>;
    /// Ends a file: its last bytes, none where the format is appendable.
    fn finish(&mut self, file: FileId) -> Result<Vec<u8>, Failure>;
    /// Sets the clock and chance of later calls.
    fn set_moment(&mut self, moment: Moment);
}

/// Describes a dataset for its readers.
pub trait Catalog: Send {
    /// The files that [`Catalog::render`] makes, in the order in which they are to be written, below the dataset's root.
    fn paths(&self) -> &[String];
    /// The files. `previous`: those of them that are in the lake; what others added there is kept.
    fn render(&mut self, dataset: &Described, previous: &[CatalogFile]) -> Result<Vec<CatalogFile>, Failure>;
    /// Sets the clock and chance of later calls.
    fn set_moment(&mut self, moment: Moment);
}

/// A file that describes a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFile {
    /// Below the dataset's root.
    pub path: String,
    pub content_type: String,
    pub bytes: Vec<u8>,
}

/// Brings a finished file to a schema with more columns: the columns it lacks are null in all its rows.
pub trait Widener: Send {
    /// The file's next bytes, of any length; what can be written of it by now.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Failure>;
    /// The rest.
    fn finish(&mut self) -> Result<Vec<u8>, Failure>;
}

/// The error for a plugin that cannot write tables.
fn no_tables(plugin: &PluginUse) -> Error {
    let name = &plugin.plugin.name;
    Error::config(format!("format `{name}` does not write tables"))
        .with_help("take `format = { plugin = \"cdm-csv\" }`, or a plugin of the world `table-format-plugin`")
}

/// What a plugin did in a run, for the summary and the metrics. Added up over its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    pub calls: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    pub nanoseconds: u64,
    /// The largest linear memory of one instance. Bytes.
    pub peak_memory: u64,
    pub rejected: u64,
    /// Calls that trapped or went over their time.
    pub traps: u64,
    /// Answers that the interface forbids.
    pub broken_rules: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_broken_rule: Option<String>,
    /// Log lines cut for length or number.
    pub log_lines_cut: u64,
}

impl Usage {
    /// Adds what another instance used.
    pub fn add(&mut self, other: &Usage) {
        self.calls += other.calls;
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.nanoseconds += other.nanoseconds;
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.rejected += other.rejected;
        self.traps += other.traps;
        self.broken_rules += other.broken_rules;
        if self.first_broken_rule.is_none() {
            self.first_broken_rule.clone_from(&other.first_broken_rule);
        }
        self.log_lines_cut += other.log_lines_cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_seed_of_its_place_alone() {
        let span = Moment { write_time: 1, seed: 7 };
        assert_eq!(span.at(&[1, 2]), span.at(&[1, 2]));
        let others = [span.at(&[2, 1]), span.at(&[1]), span.at(&[1, 3]), Moment { seed: 8, ..span }.at(&[1, 2])];
        assert!(others.iter().all(|other| other.seed != span.at(&[1, 2]).seed && other.write_time == 1));
    }
}
