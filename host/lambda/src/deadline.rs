//! The time that an invocation has.

use std::time::Duration;

use lakeport::clock::Clock;
use tokio::time::Instant;

/// The longest time that is kept for the answer.
const ANSWER: Duration = Duration::from_secs(1);
/// The longest time that is kept for what a run has read to be committed.
const COMMIT: Duration = Duration::from_secs(20);
/// The longest time that traces may be sent after an invocation.
const TRACES: Duration = Duration::from_secs(1);

/// The longest time that an invocation may have, in milliseconds, with room to spare.
const LONGEST: u64 = 24 * 3_600_000;

/// When an invocation has to end.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    time: Duration,
}

impl Deadline {
    /// The platform ends the function at `end`, in milliseconds since 1970. `cargo lambda` says how much time there is instead.
    pub fn until(end: u64, clock: &dyn Clock) -> Deadline {
        let now = u64::try_from(clock.now() / 1_000).unwrap_or(0);
        let time = if end < LONGEST { end } else { end.saturating_sub(now) };
        Deadline { begun: Instant::now(), time: Duration::from_millis(time.min(LONGEST)) }
    }

    /// When to answer: a tenth of the time before the end, at most a second.
    pub fn answer(&self) -> Instant {
        self.begun + self.time - ANSWER.min(self.time / 10)
    }

    /// How long traces may be sent, from now on: a second, and not after half of the time that is kept for the answer.
    pub fn traces(&self) -> Duration {
        let end = self.begun + self.time - ANSWER.min(self.time / 10) / 2;
        TRACES.min(end.saturating_duration_since(Instant::now()))
    }

    /// When to take no more work: a quarter of the time before the end, at most 20 seconds.
    pub fn commit(&self) -> Instant {
        self.begun + self.time - COMMIT.min(self.time / 4)
    }
}

#[cfg(test)]
mod tests {
    use lakeport::clock::SystemClock;

    use super::*;

    #[test]
    fn time_is_kept_for_the_answer_and_for_commits() {
        let left = |seconds| {
            let deadline = Deadline { begun: Instant::now(), time: Duration::from_secs(seconds) };
            let end = deadline.begun + deadline.time;
            (end - deadline.answer(), end - deadline.commit())
        };
        assert_eq!(left(2), (Duration::from_millis(200), Duration::from_millis(500)));
        assert_eq!(left(900), (Duration::from_secs(1), Duration::from_secs(20)));
        let until = |end: u64| Deadline::until(end, &SystemClock);
        let deadline = |seconds| Deadline { begun: Instant::now(), time: Duration::from_secs(seconds) };
        assert_eq!(deadline(900).traces(), TRACES);
        // Though the work has taken all of its time.
        let late = Deadline { begun: Instant::now() - Duration::from_millis(1_800), time: Duration::from_secs(2) };
        assert!(
            (Duration::from_millis(50)..=Duration::from_millis(100)).contains(&late.traces()),
            "{:?}",
            late.traces()
        );
        // One that is over at once.
        let over = until(1_700_000_000_000);
        assert_eq!(over.traces(), Duration::ZERO);
        assert!(over.answer() <= Instant::now() && over.commit() <= Instant::now());
        // Ten minutes, as `cargo lambda` says it; and a clock that is far off.
        assert_eq!(
            (until(600_000).time, until(u64::MAX).time),
            (Duration::from_secs(600), Duration::from_secs(86_400))
        );
        let now = SystemClock.now() as u64 / 1_000;
        assert!((55..=60).contains(&until(now + 60_000).time.as_secs()));
    }
}
