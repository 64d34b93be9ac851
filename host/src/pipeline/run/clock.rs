//! The way back after a clock was ahead once: the write times of commits rise, so one commit of the year 2100 would decide for
//! ever.
//!
//! The protocol counts slots and epochs and never looks at write times. What does are names of dead letters and of tables' files,
//! which must not come twice, and what waits for a time: unsealed files, and the next snapshot.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use crate::commit::Series;
use crate::layout::Period;
use crate::plan::{ExportPlan, Exports, Timestamp};
use crate::table::TableState;

/// Clocks that differ by less are right: they are set from time to time, and stores tell full seconds.
pub const TOLERANCE: i64 = 10 * 60 * 1_000_000;

/// What becomes of the write time of a run's commits. Times are microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteTime {
    /// It rises from the last commit's on.
    Rises,
    /// The last commit's is ahead of the clock, and nobody knows which of the two is wrong: it rises.
    IsAhead,
    /// The last commit's was wrong: it goes on with the clock's.
    GoesBack,
    /// The last commit's was wrong, and rows are ordered by it: it rises, and new rows are partitioned by the clock.
    IsWrong,
}

impl WriteTime {
    /// Decides, from the last commit's write time and this machine's clock. `confirmed`: the clock is right.
    pub(super) fn after(last: i64, now: i64, confirmed: bool, exports: &Exports) -> Self {
        match (confirmed, exports) {
            _ if last.saturating_sub(now) <= TOLERANCE => WriteTime::Rises,
            (false, _) => WriteTime::IsAhead,
            (true, Exports::Tables(_)) => WriteTime::IsWrong,
            (true, Exports::Events | Exports::Changes { .. }) => WriteTime::GoesBack,
        }
    }
}

/// Whether this machine's clock is right: the store's says so, where that is another one, or somebody did (`trusted`).
pub(super) fn is_confirmed(now: i64, store: Option<i64>, trusted: bool) -> bool {
    trusted || store.is_some_and(|store| store.abs_diff(now) <= TOLERANCE as u64)
}

/// Whether the clock goes on from the time that new rows were partitioned by last.
pub(super) fn goes_on_from(filed: Option<i64>, now: i64) -> bool {
    filed.is_some_and(|filed| filed.saturating_sub(now) <= TOLERANCE)
}

/// The time that decides the partition of new rows of a commit at `write_time`: that, but the clock's where commits were made by a
/// clock that was ahead. `filed`: likewise of the last commit, where it was not its write time.
pub(super) fn filing_time(write_time: i64, now: i64, filed: Option<i64>, confirmed: bool) -> i64 {
    match filed {
        _ if write_time.saturating_sub(now) <= TOLERANCE => write_time,
        _ if confirmed || goes_on_from(filed, now) => now,
        filed => filed.unwrap_or(write_time),
    }
}

/// Lets everything that waits for a time after `now` wait for `now`, or for the end of its period. `last`: the write time that the
/// next one must exceed.
pub(super) fn go_back(
    plan: &ExportPlan,
    (last, now): (i64, i64),
    series: &mut BTreeMap<String, Series>,
    table: Option<&mut TableState>,
) {
    for state in series.values_mut() {
        state.touched = state.touched.min(last);
        // By event time, the records decide when a period ends.
        if plan.timestamp == Timestamp::Write {
            state.ends = state.ends.min(now);
        }
    }
    if let Some(table) = table {
        // This period may have its snapshot.
        table.written_until = table.written_until.map(|until| until.min(Period::of(now, plan.granularity).end()));
    }
}

/// The warning for a last commit that is ahead of the clock.
pub(super) fn warning(state: WriteTime, last: i64, now: i64, exports: &Exports) -> Option<String> {
    let shown = |time| {
        let time = DateTime::from_timestamp_micros(time);
        time.map_or_else(|| "an impossible time".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    let (last, now) = (shown(last), shown(now));
    match (state, exports) {
        (WriteTime::Rises, _) => None,
        (WriteTime::GoesBack, _) => {
            Some(format!("the last commit was made at `{last}` by a clock that was ahead: going on at `{now}`"))
        }
        (WriteTime::IsAhead, Exports::Tables(_)) => Some(format!(
            "the last commit was made at `{last}`, and the clock shows `{now}`: times in rows go on from the former, and new rows go into \
             its partition. If the clock is right now, run once with `--trust-clock`"
        )),
        (WriteTime::IsWrong, _) => Some(format!(
            "the last commit was made at `{last}` by a clock that was ahead: until then, times in rows go on from there; new rows go into \
             the partition of `{now}`. `lakeport tables link CONFIG TABLE --again` writes a table anew"
        )),
        (WriteTime::IsAhead, _) => Some(format!(
            "the last commit was made at `{last}`, and the clock shows `{now}`: write times go on from the former. If the clock is right \
             now, run once with `--trust-clock`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    #[test]
    fn only_a_clock_that_is_known_to_be_right_lets_write_times_go_back() {
        let after =
            |last, store, trusted| WriteTime::after(last, NOW, is_confirmed(NOW, store, trusted), &Exports::Events);
        let ahead = NOW + TOLERANCE + 1;
        assert_eq!(after(i64::MIN, None, true), WriteTime::Rises);
        assert_eq!(after(NOW + TOLERANCE, Some(NOW), true), WriteTime::Rises);
        assert_eq!(after(ahead, None, false), WriteTime::IsAhead);
        assert_eq!(after(ahead, None, true), WriteTime::GoesBack);
        assert_eq!(after(ahead, Some(NOW + TOLERANCE), false), WriteTime::GoesBack);
        assert_eq!(after(ahead, Some(ahead), false), WriteTime::IsAhead, "this machine's clock is behind");
        assert_eq!(after(i64::MAX, Some(NOW - TOLERANCE), false), WriteTime::GoesBack);
    }

    #[test]
    fn new_rows_are_partitioned_by_the_clock_once_it_is_known_to_be_right() {
        let ahead = NOW + 1_000 * TOLERANCE;
        assert_eq!(filing_time(NOW + TOLERANCE, NOW, None, false), NOW + TOLERANCE, "both are right");
        assert_eq!(filing_time(ahead, NOW, None, false), ahead, "nobody knows which is right");
        assert_eq!(filing_time(ahead, NOW, None, true), NOW);
        // What was said once holds, but for a clock that is behind.
        assert_eq!(filing_time(ahead, NOW, Some(NOW + TOLERANCE), false), NOW);
        assert_eq!(filing_time(ahead, NOW, Some(NOW + TOLERANCE + 1), false), NOW + TOLERANCE + 1);
        assert_eq!(filing_time(ahead, NOW, Some(ahead), true), NOW);
        assert_eq!(filing_time(NOW, NOW, Some(0), false), NOW, "write times are right again");
    }
}
