//! How a table's columns follow from what events say of them: what is new goes last, what is gone stays in its place and is null.
//!
//! What an event says has the version of the event. Events that are older than what is known change nothing, so that repetitions,
//! and files that are read in another order than they were written, leave the columns as they are. Where an event has no version,
//! the order of reading counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Column, DataType, TableSchema, TypeChanged};
use crate::table::Gone;

/// The versions of what is known of a table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SchemaVersions {
    /// Of the newest event that named all columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complete: Option<i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<String, ColumnVersions>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ColumnVersions {
    /// Of the newest event that said how the column is, or that it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<i64>,
    /// The column was not there, or had another type, in events of lower versions: it is null in their rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<i64>,
}

/// What is said of a table's columns.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub columns: &'a [Column],
    /// Those that are not among them are gone.
    pub complete: bool,
    /// Of the event that says so.
    pub version: Option<i64>,
    /// The columns that files have, where there are files: what is new stands behind all of them, and their types cannot change.
    pub published: Option<&'a TableSchema>,
    /// The write time of the rows that come next.
    pub now: i64,
}

/// What became of a table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evolved {
    /// Rows that were written before are to be told from later ones: a column came back, or has another type, and is null in them.
    pub divides: bool,
    /// Columns that are gone, each with one of its type that no file has yet: it may have been renamed.
    pub renamed: Vec<(String, String)>,
}

impl SchemaVersions {
    /// Takes over what is said of the columns of `schema`.
    ///
    /// # Errors
    /// A column with another type than files have; nothing has changed then.
    pub fn evolve(&mut self, schema: &mut TableSchema, told: &Told<'_>) -> Result<Evolved, TypeChanged> {
        self.check_types(told)?;
        let mut divides = false;
        let mut vanished = Vec::new();
        for column in told.columns {
            let is_older = self.is_older(column, told.version);
            let Some(known) = schema.columns.iter_mut().find(|known| known.name == column.name) else {
                // Named by an older event than one that named all columns: it was dropped in between.
                if !is_lower(told.version, self.complete) {
                    schema.columns.push(Column { added: told.published.is_some(), retired: false, ..column.clone() });
                    self.columns.entry(column.name.clone()).or_default().newest = told.version;
                }
                continue;
            };
            let versions = self.columns.entry(column.name.clone()).or_default();
            let differs = known.retired || !takes_all(column.data_type, known.data_type);
            if is_older {
                if !known.retired && !takes_all(known.data_type, column.data_type) {
                    versions.exclude(told.version);
                }
                continue;
            }
            let mut since = known.since;
            if differs {
                match told.version == versions.newest {
                    true => versions.below = versions.below.max(versions.newest),
                    false => versions.exclude(versions.newest.filter(|_| told.version.is_some())),
                }
                (since, divides) = (Some(told.now), true);
            }
            *known = Column { added: known.added, retired: false, since, ..column.clone() };
            versions.newest = told.version.or(versions.newest);
        }
        if told.complete {
            for known in &mut schema.columns {
                if told.columns.iter().any(|column| column.name == known.name) {
                    continue;
                }
                let versions = self.columns.entry(known.name.clone()).or_default();
                match is_lower(told.version, versions.newest) {
                    true => versions.exclude(told.version),
                    false => {
                        if !known.retired {
                            vanished.push(known.clone());
                        }
                        known.retired = true;
                        versions.newest = told.version.or(versions.newest);
                    }
                }
            }
            self.complete = told.version.max(self.complete);
        }
        Ok(Evolved { divides, renamed: renamed(vanished, schema, told.published) })
    }

    /// The columns that are null in earlier rows: those that came back or got another type, and those that are gone still.
    pub fn gone(&self, schema: &TableSchema) -> Vec<Gone> {
        let gone = |column: &Column| {
            let name = column.name.clone();
            if column.retired {
                return Some(Gone { name, since: i64::MAX, below: None });
            }
            let below = self.columns.get(&name).and_then(|versions| versions.below);
            let since = column.since.or(below.map(|_| i64::MIN))?;
            Some(Gone { name, since, below })
        };
        schema.columns.iter().filter_map(gone).collect()
    }

    fn check_types(&self, told: &Told<'_>) -> Result<(), TypeChanged> {
        for column in told.columns {
            if let Some(known) = told.published.and_then(|published| published.find(&column.name))
                && known.data_type != column.data_type
                && !self.is_older(column, told.version)
            {
                let (column, before, now) = (column.name.clone(), known.data_type, column.data_type);
                return Err(TypeChanged { column, before, now });
            }
        }
        Ok(())
    }

    fn is_older(&self, column: &Column, version: Option<i64>) -> bool {
        is_lower(version, self.columns.get(&column.name).and_then(|versions| versions.newest))
    }
}

impl ColumnVersions {
    /// Notes that rows of up to `version` have nothing in the column.
    fn exclude(&mut self, version: Option<i64>) {
        self.below = self.below.max(version.map(|version| version.saturating_add(1)));
    }
}

/// The columns that vanished from files, each with a new one that it may be called now.
fn renamed(vanished: Vec<Column>, schema: &TableSchema, published: Option<&TableSchema>) -> Vec<(String, String)> {
    let Some(published) = published else { return Vec::new() };
    let mut new: Vec<_> = schema.columns.iter().filter(|now| !now.retired && !published.has(&now.name)).collect();
    let pair = |gone: Column| {
        let at = new.iter().position(|now| now.data_type == gone.data_type)?;
        Some((gone.name, new.remove(at).name.clone()))
    };
    vanished.into_iter().filter(|gone| published.has(&gone.name)).filter_map(pair).collect()
}

/// Whether both versions are known, and the first is the lower one.
fn is_lower(version: Option<i64>, known: Option<i64>) -> bool {
    version.zip(known).is_some_and(|(version, known)| version < known)
}

/// Whether a column of the type `now` holds every value that one of the type `before` had.
fn takes_all(now: DataType, before: DataType) -> bool {
    use DataType::{DateTime, DateTimeOffset, Decimal, Double, Int64, Json, String};
    now == before
        || matches!(
            (now, before),
            (String | Json, _)
                | (Double, Int64 | Decimal)
                | (Decimal, Int64)
                | (DateTime, DateTimeOffset)
                | (DateTimeOffset, DateTime)
        )
}

#[cfg(test)]
#[path = "tests/versions.rs"]
mod tests;
