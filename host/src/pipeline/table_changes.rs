//! What a span says of one table, brought into the form in which it can be applied: columns first, then what all rows lose, then rows.

use super::rows::{KeyChange, RowChange};
use crate::dataset::{KeyGuids, TableEntry};
use crate::plan::{Columns, TablePlan};
use crate::table::Change;

/// So many changes of columns are told apart in a commit: the write times of two commits are at least a millisecond apart, and each
/// change takes a microsecond of it.
const MOST_DIVISIONS: u32 = 999;

/// What is left of a span's changes.
#[derive(Debug, Default)]
pub struct TableChanges {
    /// Rows that changed or moved, in order.
    pub rows: Vec<RowChange>,
    /// Rows of earlier spans that go before `rows` are applied.
    pub truncation: Option<Truncation>,
    /// Changes of rows that are gone with a truncation that came after them in the span.
    pub dropped: u64,
    /// The key turned out to hold GUIDs: rows of earlier spans may be kept under keys in upper case.
    pub folds: bool,
}

/// Rows that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truncation {
    /// Of up to a version, and those without one.
    Below(i64),
    All,
}

impl TableChanges {
    /// Takes the changes of the table `name`, in the order in which they were read, into `entry`: what they say of its columns, and
    /// up to which version its rows went. What is older than that is left out. The table may have to stop; then nothing is left.
    pub fn take(
        entry: &mut TableEntry,
        (name, plan): (&str, &TablePlan),
        changes: Vec<RowChange>,
        write_time: i64,
    ) -> TableChanges {
        let mut taken = TableChanges { rows: Vec::with_capacity(changes.len()), ..TableChanges::default() };
        let mut divisions = 0;
        for change in changes {
            match change {
                RowChange::Schema(news) => {
                    let next = (divisions + 1).min(MOST_DIVISIONS);
                    if entry.take_news(name, plan, &news, write_time.saturating_add(i64::from(next))) {
                        divisions = next;
                    }
                    if entry.stopped.is_some() {
                        return TableChanges::default();
                    }
                }
                RowChange::Origin { kind, origin } => {
                    entry.take_origin((name, plan), &kind, &origin);
                    if entry.stopped.is_some() {
                        return TableChanges::default();
                    }
                }
                RowChange::Continued(change) => {
                    entry.begin();
                    if !is_below(change.version(), entry.truncated) {
                        taken.go_on(name, change, divisions);
                    }
                }
                RowChange::Truncate(version) => {
                    entry.begin();
                    taken.truncate(entry, version);
                }
                RowChange::Row(mut row) => {
                    entry.begin();
                    if !is_below(row.version(), entry.truncated) {
                        row.set_after(divisions);
                        taken.rows.push(RowChange::Row(row));
                    }
                }
                RowChange::Moved(mut moved) => {
                    entry.begin();
                    if !is_below(moved.change.version(), entry.truncated) {
                        moved.gone.set_after(divisions);
                        moved.change.set_after(divisions);
                        taken.rows.push(RowChange::Moved(moved));
                    }
                }
            }
        }
        // Types that rows of the configuration's or the envelope's tables have are known where their keys are read.
        if plan.columns == Columns::Stream {
            taken.folds = entry.take_guids();
            taken.fold_keys(&entry.key_guids());
        }
        taken
    }

    /// Brings the GUIDs in keys to lower case.
    fn fold_keys(&mut self, guids: &KeyGuids) {
        if guids.is_empty() {
            return;
        }
        for row in &mut self.rows {
            match row {
                RowChange::Row(change) | RowChange::Continued(change) => fold_key(change, guids),
                RowChange::Moved(moved) => {
                    fold_key(&mut moved.gone, guids);
                    fold_key(&mut moved.change, guids);
                    moved.from = moved.gone.subject().to_owned();
                    if moved.from == moved.change.subject() {
                        *row = RowChange::Row(moved.change.clone());
                    }
                }
                RowChange::Truncate(_) | RowChange::Schema(_) | RowChange::Origin { .. } => {}
            }
        }
    }

    /// Adds a new row that lacks values which did not change: those of the row whose deletion came just before, with its version.
    fn go_on(&mut self, name: &str, mut change: Change, divisions: u32) {
        change.set_after(divisions);
        let is_before = |last: &mut RowChange| match last {
            RowChange::Row(gone) => gone.is_delete() && gone.version().is_some() && gone.version() == change.version(),
            _ => false,
        };
        match self.rows.pop_if(is_before) {
            Some(RowChange::Row(gone)) if gone.subject() != change.subject() => {
                let from = gone.subject().to_owned();
                self.rows.push(RowChange::Moved(Box::new(KeyChange { from, gone, change })));
            }
            gone => {
                tracing::warn!(
                    "table `{name}`: row `{}` came without values that did not change, and not directly behind the deletion of what \
                     it was before; they stay as they are, or null where the row is new",
                    change.subject()
                );
                self.rows.extend(gone);
                self.rows.push(RowChange::Row(change));
            }
        }
    }

    fn truncate(&mut self, entry: &mut TableEntry, version: Option<i64>) {
        // What an older one takes has gone already; and a table of versions has recorded the same one.
        let is_repeated = version.is_some() && version == entry.truncated;
        if is_below(version, entry.truncated) || is_repeated && entry.has_recorded_versions() {
            return;
        }
        let before = self.rows.len();
        self.rows.retain(|row| version.is_some_and(|version| version_of(row).is_some_and(|newer| newer > version)));
        self.dropped += (before - self.rows.len()) as u64;
        entry.truncated = version.max(entry.truncated);
        self.truncation = self.truncation.max(Some(version.map_or(Truncation::All, Truncation::Below)));
    }
}

fn fold_key(change: &mut Change, guids: &KeyGuids) {
    if let Some(subject) = guids.fold(change.subject()).filter(|folded| folded != change.subject()) {
        change.set_subject(subject);
    }
}

fn version_of(change: &RowChange) -> Option<i64> {
    match change {
        RowChange::Row(change) => change.version(),
        RowChange::Moved(moved) => moved.change.version(),
        _ => None,
    }
}

/// Whether a change is older than the truncation that is known.
fn is_below(version: Option<i64>, truncated: Option<i64>) -> bool {
    version.zip(truncated).is_some_and(|(version, truncated)| version < truncated)
}
