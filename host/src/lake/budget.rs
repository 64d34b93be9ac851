//! What this process may hold in memory for one lake, over all exports into it. Each lake has a budget of its own: one whose store
//! does not answer keeps what it holds, and takes nothing from the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Lake;

/// Parts of objects on their way at once, of 8 MiB each.
const PARTS: usize = 32;

/// Of objects that are read whole: 256 MiB. One that is larger is held alone.
const WHOLE_KIBIBYTES: u32 = 256 << 10;

/// Of objects that are being written and are not on their way yet.
const OPEN: u64 = 256 << 20;

/// The memory of one lake.
#[derive(Debug)]
pub(super) struct Budget {
    parts: Arc<Semaphore>,
    whole: Arc<Semaphore>,
    open: AtomicU64,
    most_open: u64,
    /// The most that `open` ever was.
    #[cfg(test)]
    peak: AtomicU64,
}

impl Budget {
    /// The budget of the lake at `base`: the same one for as long as anybody has it.
    pub(super) fn of(base: &str) -> Arc<Budget> {
        static BUDGETS: LazyLock<Mutex<HashMap<String, Weak<Budget>>>> = LazyLock::new(Mutex::default);
        let mut budgets = BUDGETS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(budget) = budgets.get(base).and_then(Weak::upgrade) {
            return budget;
        }
        let budget = Arc::new(Budget::new(OPEN));
        budgets.retain(|_, budget| budget.strong_count() > 0);
        budgets.insert(base.to_owned(), Arc::downgrade(&budget));
        budget
    }

    fn new(most_open: u64) -> Budget {
        Budget {
            parts: Arc::new(Semaphore::new(PARTS)),
            whole: Arc::new(Semaphore::new(WHOLE_KIBIBYTES as usize)),
            open: AtomicU64::new(0),
            most_open,
            #[cfg(test)]
            peak: AtomicU64::new(0),
        }
    }

    /// Waits until one more part may be on its way.
    pub(super) async fn part(&self) -> OwnedSemaphorePermit {
        self.parts.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// Bytes of one object that is being written, as its lake's budget counts them.
#[derive(Debug)]
pub(super) struct Open {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Open {
    pub(super) fn new(budget: Arc<Budget>) -> Open {
        Open { budget, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.budget.open.fetch_add(bytes as u64, Ordering::Relaxed);
        #[cfg(test)]
        self.budget.peak.fetch_max(self.budget.open.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes as u64;
        self.budget.open.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.budget.open.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Lake {
    /// Waits until `bytes` more of objects that are read whole may be held, which they may be as long as the permit lives. Whoever holds
    /// one asks for no other.
    pub async fn hold(&self, bytes: u64) -> OwnedSemaphorePermit {
        let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(WHOLE_KIBIBYTES);
        self.budget.whole.clone().acquire_many_owned(kibibytes).await.expect("it is never closed")
    }

    /// How many bytes of objects that are being written have to leave memory; `None` while all may stay. Once it is too much, half has
    /// to go, so that it does not happen with every write.
    pub fn excess(&self) -> Option<u64> {
        let (open, most) = (self.budget.open.load(Ordering::Relaxed), self.budget.most_open);
        (open > most).then(|| open - most / 2)
    }

    /// The same lake with a budget of its own for objects that are being written.
    #[cfg(test)]
    pub fn with_most_open(self, bytes: u64) -> Lake {
        Lake { budget: Arc::new(Budget::new(bytes)), ..self }
    }

    /// The most bytes of objects that were being written at once.
    #[cfg(test)]
    pub fn most_open(&self) -> u64 {
        self.budget.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;
    use tokio::time::timeout;

    use super::*;

    fn lake(name: &str) -> Lake {
        Lake::with_store(Arc::new(InMemory::new()), name, "_lakeport")
    }

    #[tokio::test]
    async fn a_large_object_is_held_alone_and_others_wait() {
        let lake = lake("held");
        let small = lake.hold(1 << 20).await;
        let large = lake.hold(u64::MAX);
        tokio::pin!(large);
        assert!(timeout(Duration::from_millis(20), &mut large).await.is_err(), "something else is held");
        drop(small);
        let large = large.await;
        assert!(timeout(Duration::from_millis(20), lake.hold(1 << 10)).await.is_err(), "nothing is free");
        drop(large);
        drop(lake.hold(1 << 10).await);
    }

    #[tokio::test]
    async fn a_lake_has_one_budget_and_another_lake_its_own() {
        let (one, same, other) = (lake("shared"), lake("shared"), lake("other"));
        let held = one.hold(u64::MAX).await;
        assert!(timeout(Duration::from_millis(20), same.hold(1 << 10)).await.is_err(), "it is the same lake");
        drop(timeout(Duration::from_secs(5), other.hold(u64::MAX)).await.expect("another lake waits for nothing"));
        drop(held);
        drop(same.hold(1 << 10).await);
    }
}
