//! How long things take, counted by what was done and how it ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of a [`Histogram`]'s buckets, in seconds: from a local disk's to those of a store that hardly answers.
pub const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// How many durations are up to which bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// Not cumulative; the last is for what is above all bounds.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Seconds.
    pub sum: f64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }

    /// Adds another one up.
    pub fn add(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(count, other)| *count += other);
        self.sum += other.sum;
    }

    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Histograms of durations by operation and result. Both are names from the code, so that their number is bounded.
#[derive(Debug, Default)]
pub struct Durations(Mutex<BTreeMap<(&'static str, &'static str), Histogram>>);

impl Durations {
    /// Counts one.
    pub fn observe(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.lock().entry((operation, result)).or_default().observe(took);
    }

    /// Returns what was counted, by operation and result.
    pub fn read(&self) -> BTreeMap<(&'static str, &'static str), Histogram> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, &'static str), Histogram>> {
        // Counts are whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_below_their_bound() {
        let durations = Durations::default();
        for millis in [1, 2, 60_000, 60_001] {
            durations.observe("write", "ok", Duration::from_millis(millis));
        }
        durations.observe("write", "failed", Duration::ZERO);
        let read = durations.read();
        let ok = read[&("write", "ok")];
        assert_eq!((ok.buckets[0], ok.buckets[1], ok.buckets[13], ok.buckets[14]), (1, 1, 1, 1));
        assert!((ok.sum - 120.004).abs() < 1e-9);
        let mut both = ok;
        both.add(&read[&("write", "failed")]);
        assert_eq!((both.count(), both.buckets[0]), (5, 2));
    }
}
