//! Periods: the minute, hour or day, in UTC, that a file covers.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

use super::template::Token;
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

    /// The tokens of a path that tell one such period from another, coarse to fine.
    pub fn tokens(self) -> &'static [Token] {
        &Token::TIME[..match self {
            Granularity::Day => 3,
            Granularity::Hour => 4,
            Granularity::Minute => 5,
        }]
    }

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Granularity::Minute => "minute",
            Granularity::Hour => "hour",
            Granularity::Day => "day",
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

    /// How long it is.
    pub const fn granularity(self) -> Granularity {
        self.granularity
    }

    /// Whether `time` (microseconds since 1970-01-01T00:00:00Z) is in it.
    pub const fn holds(self, time: i64) -> bool {
        self.start <= time && time < self.end()
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

impl FromStr for Period {
    type Err = String;

    /// Reads a day, hour or minute in UTC: `2026-11-30`, `2026-11-30T14`, `2026-11-30T14:05`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (granularity, rest) = match text.len() {
            10 => (Granularity::Day, "T00:00"),
            13 => (Granularity::Hour, ":00"),
            _ => (Granularity::Minute, ""),
        };
        NaiveDateTime::parse_from_str(&format!("{text}{rest}"), "%Y-%m-%dT%H:%M")
            .ok()
            .map(|start| Period::of(start.and_utc().timestamp_micros(), granularity))
            // Each period has one text.
            .filter(|period| period.to_string() == text)
            .ok_or_else(|| {
                "expected a day, an hour or a minute in UTC: `2026-11-30`, `2026-11-30T14`, `2026-11-30T14:05`".into()
            })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: DateTime<Utc> = DateTime::from_timestamp_micros(self.start).unwrap_or_default();
        let form = match self.granularity {
            Granularity::Day => "%Y-%m-%d",
            Granularity::Hour => "%Y-%m-%dT%H",
            Granularity::Minute => "%Y-%m-%dT%H:%M",
        };
        write!(f, "{}", start.format(form))
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

    #[test]
    fn a_period_is_written_and_read_as_one_text() {
        for (text, granularity) in [
            ("2026-11-30", Granularity::Day),
            ("2026-11-30T14", Granularity::Hour),
            ("2026-11-30T14:05", Granularity::Minute),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.to_string().as_str(), period.granularity()), (text, granularity));
            assert!(period.holds(period.start()) && !period.holds(period.end()) && !period.holds(period.start() - 1));
        }
        for text in [
            "",
            "2026-11",
            "2026-11-31",
            "2026-1-30",
            "2026-11-30T24",
            "2026-11-30T14Z",
            "2026-11-30T14:5",
            "2026-11-30 14:05",
        ] {
            assert!(text.parse::<Period>().unwrap_err().contains("`2026-11-30T14`"), "{text}");
        }
    }
}
