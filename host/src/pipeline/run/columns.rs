//! Columns that the format cannot write: they concern their table alone.
//!
//! Where a database says that a table has such a column, the table stops. Where columns are found out from rows, which anybody may
//! write, the member is left out.

use std::sync::Arc;

use super::catalog::blocking;
use super::dataset::Dataset;
use crate::dataset::{Column, TableEntry, TableSchema};
use crate::error::{Error, Kind, Result};
use crate::pipeline::row_writer::RowWriter;
use crate::plan::{Columns, ExportPlan};
use crate::plugin::{Moment, Toolbox};

/// So many members of one table's rows are left out. Of more, the table stops.
const MOST_LEFT_OUT: usize = 1000;

/// Asks the format of an export about columns.
pub struct Asking {
    export: Arc<ExportPlan>,
    toolbox: Arc<dyn Toolbox>,
    moment: Moment,
}

/// What the format says of columns.
pub enum Answer {
    /// It writes these; those that are left out stand with the reason.
    Accepted {
        schema: TableSchema,
        left_out: Vec<(String, String)>,
    },
    Refused(Error),
}

impl Dataset {
    /// Lets the tables whose columns have changed stop, or leave columns out, where the format cannot write them.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub(super) async fn check_columns(&mut self, moment: Moment) -> Result<()> {
        let is_new = |(name, entry): &(&String, &TableEntry)| {
            entry.stopped.is_none() && self.accepted.get(*name) != Some(&entry.schema)
        };
        let names: Vec<String> = self.state.tables.iter().filter(is_new).map(|(name, _)| name.clone()).collect();
        for name in names {
            let asking = Asking::new(&self.export, &self.toolbox, moment);
            let Some(entry) = self.state.tables.get_mut(&name) else { continue };
            let infers = self.plan.tables.get(&name).is_some_and(|plan| plan.columns == Columns::Infer);
            let known = self.accepted.get(&name).or(entry.published.as_ref()).cloned();
            let schema = entry.schema.clone();
            match blocking(move || asking.about(schema, infers, known.as_ref())).await? {
                Answer::Accepted { schema, left_out } => {
                    entry.schema = schema.clone();
                    self.accepted.insert(name.clone(), schema);
                    leave_out(entry, &name, left_out);
                }
                Answer::Refused(refusal) => stop(entry, &name, &refusal.message),
            }
        }
        Ok(())
    }
}

impl Asking {
    pub fn new(export: &Arc<ExportPlan>, toolbox: &Arc<dyn Toolbox>, moment: Moment) -> Asking {
        Asking { export: export.clone(), toolbox: toolbox.clone(), moment }
    }

    /// What the format says of a table's columns. `infers`: they were found out from rows; `known`: those that it is known to write.
    ///
    /// # Errors
    /// Of kind `Plugin`, where it fails.
    pub fn about(&self, schema: TableSchema, infers: bool, known: Option<&TableSchema>) -> Result<Answer> {
        let is_old = |column: &Column| !infers || known.is_some_and(|known| known.has(&column.name));
        let (columns, new): (Vec<_>, Vec<_>) = schema.columns.iter().cloned().partition(is_old);
        self.accepted(TableSchema { columns, ..schema }, &new)
    }

    /// Why the format cannot write such a table; `None` where it can.
    ///
    /// # Errors
    /// Of kind `Plugin`, where it fails.
    fn refusal(&self, schema: &TableSchema) -> Result<Option<Error>> {
        match RowWriter::open(&self.export, self.toolbox.clone(), Arc::new(schema.clone()), self.moment) {
            Ok(_) => Ok(None),
            Err(error) if error.kind == Kind::Config => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Which columns of `new` the format can write beside those of `base`.
    ///
    /// # Errors
    /// Of kind `Plugin`, where it fails.
    fn accepted(&self, base: TableSchema, new: &[Column]) -> Result<Answer> {
        if let Some(refusal) = self.refusal(&base)? {
            return Ok(Answer::Refused(refusal));
        }
        let (mut schema, mut left_out) = (base, Vec::new());
        // Halves of what was refused are asked for one after the other, so that the first of two that exclude each other stays.
        let mut open = vec![new];
        while let Some(columns) = open.pop().filter(|_| left_out.len() <= MOST_LEFT_OUT) {
            if columns.is_empty() {
                continue;
            }
            let more = TableSchema { columns: [&schema.columns, columns].concat(), ..schema.clone() };
            match self.refusal(&more)? {
                None => schema = more,
                Some(refusal) if columns.len() == 1 => left_out.push((columns[0].name.clone(), refusal.message)),
                Some(_) => {
                    let (first, second) = columns.split_at(columns.len() / 2);
                    open.extend([second, first]);
                }
            }
        }
        Ok(Answer::Accepted { schema, left_out })
    }
}

/// Notes the members that a table of such rows leaves out.
fn leave_out(entry: &mut TableEntry, name: &str, left_out: Vec<(String, String)>) {
    let Some((first, reason)) = left_out.first().cloned() else { return };
    let count = left_out.len();
    entry.left_out.extend(left_out.into_iter().map(|(column, _)| column));
    tracing::warn!(
        "table `{name}` leaves out {count} members of its rows, the first is `{}`: {reason}",
        first.chars().take(64).collect::<String>()
    );
    if entry.left_out.len() > MOST_LEFT_OUT {
        stop(
            entry,
            name,
            &format!("rows of table `{name}` have more than {MOST_LEFT_OUT} members that no column can be"),
        );
    }
}

/// Stops a table, whose columns stay those that its files have.
fn stop(entry: &mut TableEntry, name: &str, reason: &str) {
    let stopped =
        format!("{reason}; then read the table from the beginning: `lakeport tables link CONFIG {name} --again`");
    tracing::warn!("table `{name}` stopped: {stopped}");
    let TableSchema { table, history, .. } = entry.schema.clone();
    entry.schema = entry.published.clone().unwrap_or(TableSchema { table, history, columns: Vec::new() });
    entry.stopped = Some(stopped);
}
