//! Datasets: the tables of a business system, kept in a lake as a folder that a catalog describes.
//!
//! Beside the one direction of data, as the module `table`, which keeps each table's rows. `docs/tables.md` describes what readers see.

mod evolve;
mod guids;
mod infer;
mod name;
mod passed;
mod row;
mod schema;
mod state;
mod versions;

pub use evolve::Format;
pub use guids::{KeyGuids, is_guid_column};
pub use infer::{Inference, unify};
pub use name::TableName;
pub use passed::PassedOver;
pub use row::{parse_time, text_of};
pub use schema::{Choice, Column, DataType, SchemaNews, TableSchema, TypeChanged};
pub use state::{
    DatasetState, FileEntry, Joining, Retired, TableEntry, file_key, no_columns, partition_of, period, rfc3339,
};
pub use versions::SchemaVersions;

/// A dataset as its catalog describes it: what [`crate::plugin::Catalog::render`] is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub description: String,
    /// When what is described was last written, RFC 3339.
    pub modified: String,
    /// By name.
    pub tables: Vec<DescribedTable>,
}

/// One table of a [`Described`] dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTable {
    pub schema: TableSchema,
    /// A partition is a month; else a year.
    pub monthly: bool,
    pub partitions: Vec<DescribedPartition>,
    pub sync: Sync,
    /// When the initial sync was completed, RFC 3339.
    pub synced: Option<String>,
}

/// One file of a [`DescribedTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedPartition {
    /// Unique within the table: `2020`, `2020-05`, `2020-2`.
    pub name: String,
    /// The period of its rows' creation: `2020`, `2020-05`.
    pub period: String,
    /// Full URL of the file.
    pub location: String,
    /// When the file was written, RFC 3339.
    pub refreshed: String,
    pub rows: u64,
}

/// How far a table's initial sync is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    #[default]
    NotStarted,
    InProgress,
    Completed,
}
