//! Refused requests in the log: each reason at once, and then at most one line in a while, with the number of the others.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::answer::{Problem, Reason};
use crate::escape::Escaped;

/// A client that is refused again and again must not fill the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Reason, Logged>>);

#[derive(Debug)]
struct Logged {
    at: Instant,
    since: u64,
}

const PAUSE: Duration = Duration::from_secs(10);

impl Refusals {
    /// Logs why a request was refused. All requests are counted by the metrics.
    pub(crate) fn log(&self, path: &str, key: &str, problem: &Problem) {
        let Some(others) = self.due(problem.reason, Instant::now()) else { return };
        let reason = problem.reason.name();
        let status = problem.reason.status().as_u16();
        let path = Escaped(path.as_bytes());
        let detail = Escaped(problem.detail.as_bytes());
        tracing::warn!(reason, status, %path, key, %detail, others, "refused a request");
    }

    /// Returns how many others of this reason were not logged, where one is to be logged now.
    fn due(&self, reason: Reason, now: Instant) -> Option<u64> {
        let mut logged = self.0.lock().expect("no panic while it is held");
        match logged.get_mut(&reason) {
            Some(last) if now.duration_since(last.at) < PAUSE => {
                last.since += 1;
                None
            }
            last => {
                let others = last.map_or(0, |last| last.since);
                logged.insert(reason, Logged { at: now, since: 0 });
                Some(others)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_at_once_and_then_counted() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.due(Reason::Busy, start), Some(0));
        assert_eq!(refusals.due(Reason::Busy, start), None);
        assert_eq!(refusals.due(Reason::Busy, start), None);
        assert_eq!(refusals.due(Reason::NotFound, start), Some(0));
        assert_eq!(refusals.due(Reason::Busy, start + PAUSE), Some(2));
        assert_eq!(refusals.due(Reason::Busy, start + PAUSE), None);
    }
}
