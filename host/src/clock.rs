//! The clock and chance of a run: handed in, so that tests can turn them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The machine's clock, so many seconds ahead: what waits for a later period need not be waited for.
#[derive(Debug, Clone, Copy)]
pub struct Ahead(pub i64);

impl Clock for Ahead {
    fn now(&self) -> i64 {
        SystemClock.now().saturating_add(self.0.saturating_mul(1_000_000))
    }
}

/// The clock of a process: see [`ahead`].
fn of_process() -> Arc<dyn Clock> {
    match ahead() {
        0 => Arc::new(SystemClock),
        seconds => Arc::new(Ahead(seconds)),
    }
}

/// The seconds by which `LAKEPORT_CLOCK_AHEAD` sets a process's clock forward in tests; 0 in release builds.
pub fn ahead() -> i64 {
    match std::env::var("LAKEPORT_CLOCK_AHEAD") {
        Ok(seconds) if cfg!(debug_assertions) => {
            seconds.parse().expect("the tests set `LAKEPORT_CLOCK_AHEAD` to whole seconds")
        }
        _ => 0,
    }
}

/// What a run knows of time and chance.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Surroundings {
    /// The machine's clock and random numbers.
    pub fn system() -> Self {
        let chance = || getrandom::u64().expect("the operating system has random numbers");
        Surroundings { clock: of_process(), chance: Arc::new(chance) }
    }

    /// 128 random bits.
    pub fn nonce(&self) -> u128 {
        u128::from((self.chance)()) << 64 | u128::from((self.chance)())
    }
}
