//! The store's own clock, by which the ages of its objects are known whatever the machines' clocks show.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// What the store's clock showed, and when. The default is this machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StoreClock(Option<(DateTime<Utc>, Instant)>);

impl StoreClock {
    /// A store's clock that shows `time` now.
    pub(super) fn at(time: DateTime<Utc>) -> Self {
        StoreClock(Some((time, Instant::now())))
    }

    /// What it shows now, as far as it is known.
    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        self.0.map(|(time, seen)| time + seen.elapsed())
    }

    /// What it shows now, or what this machine's does.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.time().unwrap_or_else(|| DateTime::UNIX_EPOCH + Duration::from_micros(machine()))
    }
}

/// This machine's clock, in microseconds since 1970-01-01T00:00:00Z.
fn machine() -> u64 {
    use crate::clock::{Clock, SystemClock};
    u64::try_from(SystemClock.now()).unwrap_or_default()
}
