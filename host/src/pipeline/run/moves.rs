//! Rows that got another key: what the change does not say of the row is what it had under the old one.

use std::collections::HashSet;

use crate::error::Result;
use crate::lake::Lake;
use crate::pipeline::rows::{KeyChange, RowChange};
use crate::table::{self, Cache, Change, Found, Gone, Head, Reader, TableState, Wanted};

/// Changes that can be applied together: none of the moves among them comes from a key that another of them changed.
#[derive(Default)]
pub(super) struct Together {
    pub changes: Vec<Change>,
    /// Where moved rows are in `changes`, and the keys that they had.
    moves: Vec<(usize, String)>,
}

impl Together {
    /// The changes of `changes`, in order, in as few parts as can be.
    pub fn parts(changes: Vec<RowChange>) -> Vec<Together> {
        let mut parts = vec![Together { changes: Vec::with_capacity(changes.len()), ..Together::default() }];
        // Only where there is a move does it matter what was changed.
        let mut changed = changes.iter().any(|change| matches!(change, RowChange::Moved(_))).then(HashSet::new);
        for change in changes {
            let last = parts.last_mut().expect("there is one from the beginning");
            match change {
                RowChange::Truncate(_) | RowChange::Schema(_) | RowChange::Origin { .. } => {}
                RowChange::Row(change) | RowChange::Continued(change) => {
                    if let Some(changed) = &mut changed {
                        changed.insert(change.subject().to_owned());
                    }
                    last.changes.push(change);
                }
                RowChange::Moved(moved) => {
                    let KeyChange { from, gone, change } = *moved;
                    let changed = changed.get_or_insert_default();
                    let last = match changed.contains(&from) {
                        true => {
                            changed.clear();
                            parts.push(Together::default());
                            parts.last_mut().expect("pushed above")
                        }
                        false => last,
                    };
                    changed.extend([from.clone(), change.subject().to_owned()]);
                    last.moves.push((last.changes.len() + 1, from));
                    last.changes.extend([gone, change]);
                }
            }
        }
        parts
    }

    /// The changes, those of moved rows with all that the rows had but what was `gone` when they were written.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn resolve(
        mut self,
        lake: &Lake,
        cache: &Cache,
        state: &TableState,
        gone: &[Gone],
    ) -> Result<Vec<Change>> {
        if self.moves.is_empty() {
            return Ok(self.changes);
        }
        // The row under the old key of each, and the one under the new key.
        let subjects = self.moves.iter().flat_map(|(at, from)| [from.as_str(), self.changes[*at].subject()]);
        let wanted: Vec<_> = subjects.map(|subject| Wanted { subject, source: "" }).collect();
        let reader = Reader::new(lake.clone(), state, cache.clone());
        // This owner alone makes files of the table superfluous.
        let found = reader.find(&wanted).await?.ok_or_else(|| table::missing(&lake.url(lake.log_folder())))?;
        for ((at, _), found) in self.moves.iter().zip(found.chunks_exact(2)) {
            let change = &mut self.changes[*at];
            // What has the new key may be patches that came before the row that they belong to.
            let now = |found: &Option<Found>| found.as_ref().filter(|now| !Head::is_partial(&now.body))?.version;
            if let [Some(before), after] = found
                && !is_repeated(change.version(), before.version, now(after))
            {
                change.base_on(&before.body, gone)?;
            }
        }
        Ok(self.changes)
    }
}

/// Whether a move comes again, or late: what has the old key now is of a later version, and another row; or what has the new key
/// is what the move made of it, or later. Versions are those of the move and of these two rows.
fn is_repeated(version: Option<i64>, before: Option<i64>, now: Option<i64>) -> bool {
    let is = |other: Option<i64>, test: fn(&i64, &i64) -> bool| {
        version.zip(other).is_some_and(|(version, other)| test(&version, &other))
    };
    is(before, i64::lt) || is(now, i64::le)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::table::{Key, Operation, Shape};

    fn change(subject: &str, operation: Operation) -> Change {
        let key = Key { source: String::new(), kind: String::new(), subject: subject.into() };
        Change::new(Shape::Row, key, operation, None, None, Bytes::from_static(b"{}")).unwrap()
    }

    fn moved(from: &str, to: &str) -> RowChange {
        let (gone, change) = (change(from, Operation::Delete), change(to, Operation::Create));
        RowChange::Moved(Box::new(KeyChange { from: from.into(), gone, change }))
    }

    fn parts(changes: Vec<RowChange>) -> Vec<Vec<String>> {
        let subjects = |part: Together| part.changes.iter().map(|change| change.subject().to_owned()).collect();
        Together::parts(changes).into_iter().map(subjects).collect()
    }

    #[test]
    fn a_move_from_a_key_that_was_changed_waits_for_that_change() {
        let row = |subject| RowChange::Row(change(subject, Operation::Update));
        assert_eq!(parts(vec![row("a"), row("b")]), [["a", "b"]]);
        assert_eq!(parts(vec![row("a"), moved("b", "c"), row("d")]), [["a", "b", "c", "d"]]);
        assert_eq!(parts(vec![row("b"), moved("b", "c")]), [vec!["b"], vec!["b", "c"]]);
        assert_eq!(parts(vec![moved("a", "b"), moved("b", "c")]), [["a", "b"], ["b", "c"]]);
    }
}
