//! Rows that the format refuses in a table's snapshot: the first of them are dead letters, the others are counted.
//!
//! A snapshot cannot be cut as a span is, and dead letters wait in memory until it is committed. The rows stay in the table's state,
//! and are written once the format takes them.

use bytes::Bytes;

use super::spans::Run;
use super::table::MAX_SNAPSHOT_LETTERS;
use crate::commit::letters::Letter;
use crate::record::DeadLetter;

/// Bytes of dead letters of one table.
const MAX_TABLE_LETTERS: usize = 8 << 20;

/// The dead letters of the table that is being encoded.
#[derive(Debug, Default)]
pub(super) struct TableLetters {
    /// Where they begin among those of the span.
    start: usize,
    /// The last one that was only counted, and how many were.
    passed_over: Option<(DeadLetter, u64)>,
}

impl TableLetters {
    /// Whether a row that was refused becomes a dead letter of its own. `written`: bytes of the span's dead letters.
    pub fn takes(&mut self, dead: &DeadLetter, written: usize) -> bool {
        let is_full = written - self.start >= MAX_TABLE_LETTERS || written >= MAX_SNAPSHOT_LETTERS;
        if is_full {
            let count = self.passed_over.as_ref().map_or(0, |(_, count)| *count) + 1;
            self.passed_over = Some((DeadLetter { raw: Bytes::new(), ..dead.clone() }, count));
        }
        !is_full
    }
}

impl Run<'_> {
    /// The rows that are refused from here on are those of another table.
    pub(super) fn begin_letters_of_table(&mut self) {
        if let Some(span) = &mut self.span {
            span.table_letters = TableLetters { start: span.letters.len(), passed_over: None };
        }
    }

    /// Adds a dead letter for the rows that were only counted.
    pub(super) fn end_letters_of_table(&mut self) {
        let Some(span) = &mut self.span else { return };
        let Some((last, count)) = span.table_letters.passed_over.take() else { return };
        let reason =
            format!("{count} more rows were refused, too many to be kept one by one; the last: {}", last.reason);
        tracing::warn!("{}: {reason}", last.origin);
        let time = chrono::DateTime::from_timestamp_micros(span.context.moment.write_time).unwrap_or_default();
        Letter::new(&DeadLetter { reason, ..last }, time).write(&mut span.letters);
        span.letter_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_so_many_dead_letters_and_the_others_are_counted() {
        let dead = DeadLetter::new("r".into(), "table t".into(), 0, "row".into());
        let mut letters = TableLetters { start: 100, passed_over: None };
        assert!(letters.takes(&dead, 100) && letters.takes(&dead, 99 + MAX_TABLE_LETTERS));
        assert!(!letters.takes(&dead, 100 + MAX_TABLE_LETTERS) && !letters.takes(&dead, 100 + MAX_TABLE_LETTERS));
        assert_eq!(letters.passed_over.unwrap().1, 2);
        let mut late = TableLetters { start: MAX_SNAPSHOT_LETTERS, passed_over: None };
        assert!(!late.takes(&dead, MAX_SNAPSHOT_LETTERS), "all tables together have a limit, too");
    }
}
