//! Periods: the minute, hour or day, in UTC, that a file covers.

use chrono::{DateTime, Datelike, Timelike, Utc};

use crate::plan::Granularity;

const SECOND: i64 = 1_000_000;

impl Granularity {
    /// Its length in microseconds. UTC has no leap seconds in this scale: a day is 86,400 seconds.
    pub const fn micros(self) -> i64 {
        match self {
            Granularity::Minute => 60 * SECOND,
            Granularity::Hour => 3_600 * SECOND,
            Granularity::Day => 86_400 * SECOND,
        }
    }
}

/// One minute, hour or day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    /// Microseconds since 1970-01-01T00:00:00Z at which it starts.
    start: i64,
    granularity: Granularity,
}

impl PartialOrd for Granularity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Granularity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.micros().cmp(&other.micros())
    }
}

/// The calendar fields of a period's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
}

impl Period {
    /// The period that holds `time` (microseconds since 1970-01-01T00:00:00Z). Times before 1970 round down too.
    pub fn of(time: i64, granularity: Granularity) -> Self {
        Period { start: time.div_euclid(granularity.micros()).saturating_mul(granularity.micros()), granularity }
    }

    /// Microseconds since 1970-01-01T00:00:00Z at which it starts.
    pub const fn start(self) -> i64 {
        self.start
    }

    /// Microseconds since 1970-01-01T00:00:00Z at which the next one starts.
    pub const fn end(self) -> i64 {
        self.start.saturating_add(self.granularity.micros())
    }

    /// The calendar fields of its start; `None` where the year does not have four digits.
    pub fn fields(self) -> Option<Fields> {
        let start: DateTime<Utc> = DateTime::from_timestamp_micros(self.start)?;
        (0..=9999).contains(&start.year()).then(|| Fields {
            year: start.year(),
            month: start.month(),
            day: start.day(),
            hour: start.hour(),
            minute: start.minute(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_holds_its_start_and_not_its_end() {
        for granularity in [Granularity::Minute, Granularity::Hour, Granularity::Day] {
            let period = Period::of(1_568_113_200_000_001, granularity);
            assert_eq!(Period::of(period.start(), granularity), period);
            assert_eq!(Period::of(period.end() - 1, granularity), period);
            assert_eq!(Period::of(period.end(), granularity).start(), period.end());
        }
    }

    #[test]
    fn times_before_1970_belong_to_the_period_that_holds_them() {
        let period = Period::of(-1, Granularity::Day);
        let fields = period.fields().unwrap();
        assert_eq!((fields.year, fields.month, fields.day, fields.hour), (1969, 12, 31, 0));
    }
}
