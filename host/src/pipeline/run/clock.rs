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
}

impl WriteTime {
    /// Decides, from the last commit's write time, this machine's clock and the store's, where that is another one. `trusted`: somebody
    /// said that this machine's clock is right.
    pub(super) fn after(last: i64, now: i64, store: Option<i64>, trusted: bool, exports: &Exports) -> Self {
        if last.saturating_sub(now) <= TOLERANCE {
            return WriteTime::Rises;
        }
        let is_confirmed = trusted || store.is_some_and(|store| store.abs_diff(now) <= TOLERANCE as u64);
        // The rows of tables are ordered by it.
        let may_go_back = !matches!(exports, Exports::Tables(_));
        if is_confirmed && may_go_back { WriteTime::GoesBack } else { WriteTime::IsAhead }
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
            "the last commit was made at `{last}`, and the clock shows `{now}`: until then, times in rows go on from the former. If the \
             clock was wrong then, `lakeport tables link CONFIG TABLE --again` writes a table anew"
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
        let after = |last, store, trusted| WriteTime::after(last, NOW, store, trusted, &Exports::Events);
        let ahead = NOW + TOLERANCE + 1;
        assert_eq!(after(i64::MIN, None, true), WriteTime::Rises);
        assert_eq!(after(NOW + TOLERANCE, Some(NOW), true), WriteTime::Rises);
        assert_eq!(after(ahead, None, false), WriteTime::IsAhead);
        assert_eq!(after(ahead, None, true), WriteTime::GoesBack);
        assert_eq!(after(ahead, Some(NOW + TOLERANCE), false), WriteTime::GoesBack);
        assert_eq!(after(ahead, Some(ahead), false), WriteTime::IsAhead, "this machine's clock is behind");
        assert_eq!(after(i64::MAX, Some(NOW - TOLERANCE), false), WriteTime::GoesBack);
    }
}
