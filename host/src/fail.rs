//! Fail points: places where a test can end the process as `kill -9` would.
//!
//! `LAKEPORT_FAIL_POINT=NAME:N` kills the process when the point `NAME` is passed for the `N`th time; `NAME` may be `*`, which
//! counts every point. In release builds a point is nothing.

/// Passes the point `name`.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| {
        let plan = std::env::var("LAKEPORT_FAIL_POINT").ok()?;
        let (name, count) = plan.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = plan else { return };
    if (wanted == "*" || wanted == name) && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        // SAFETY: sends a signal to this very process; touches no memory.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// Passes the point `name`: nothing, in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}
