//! The tables of an export, as the configuration has them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dataset::Column;

/// The tables of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablesPlan {
    /// The folder of everything, below the lake's root; no slash at either end.
    pub root: String,
    /// The URL of `root` as readers know it; ends in `/`.
    pub public_url: String,
    /// What the catalog says of it.
    pub description: String,
    /// The time between two snapshots.
    pub every: Duration,
    /// How long a file stays after a newer one has taken its place.
    pub keep: Duration,
    /// By name; those that are not linked too.
    pub tables: BTreeMap<String, TablePlan>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// Whether it is exported.
    pub linked: bool,
    /// Counts how often it was linked anew: where it has risen, the table begins again.
    pub link: u64,
    /// Its files go when it is not linked any more.
    pub remove_files: bool,
    /// The kinds that its records have; `*` in one stands for any characters but a dot.
    pub kinds: Vec<String>,
    /// Where a row has its key, JSON pointers; the record's subject is the key where there are none.
    pub key: Vec<String>,
    /// Where a row has the time of its creation, a JSON pointer; the time of its first writing counts where there is none.
    pub created: Option<String>,
    pub write: Write,
    pub partition: Partition,
    pub columns: Columns,
}

impl TablePlan {
    /// Tells whether its rows may come from several tables.
    pub fn has_several_kinds(&self) -> bool {
        self.kinds.len() > 1 || self.kinds.iter().any(|kind| kind.contains('*'))
    }

    /// Its kinds as one text: of one kind that kind.
    pub fn kinds_text(&self) -> String {
        match &*self.kinds {
            [kind] => kind.clone(),
            kinds => serde_json::json!(kinds).to_string(),
        }
    }
}

/// What becomes of a changed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is replaced, or removed.
    InPlace,
    /// Every version stays, and that it was deleted.
    AppendOnly,
}

/// What a table's rows are partitioned by: when they were created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    Year,
    Month,
}

/// Where a table's columns are known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// The configuration.
    Given(Vec<Column>),
    /// Records that say so.
    Stream,
    /// The rows themselves.
    Infer,
}
