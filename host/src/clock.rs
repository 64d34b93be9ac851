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
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX).saturating_add(ahead())
    }
}

/// Microseconds by which `LAKEPORT_CLOCK_AHEAD`, in seconds, sets the clock forward: for tests of what waits for a later
/// period. In release builds there is no such thing.
#[cfg(debug_assertions)]
fn ahead() -> i64 {
    use std::sync::OnceLock;

    static AHEAD: OnceLock<i64> = OnceLock::new();
    *AHEAD.get_or_init(|| {
        let seconds = std::env::var("LAKEPORT_CLOCK_AHEAD").ok().and_then(|seconds| seconds.parse::<i64>().ok());
        seconds.unwrap_or_default().saturating_mul(1_000_000)
    })
}

#[cfg(not(debug_assertions))]
fn ahead() -> i64 {
    0
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
        Surroundings { clock: Arc::new(SystemClock), chance: Arc::new(chance) }
    }

    /// 128 random bits.
    pub fn nonce(&self) -> u128 {
        u128::from((self.chance)()) << 64 | u128::from((self.chance)())
    }
}
