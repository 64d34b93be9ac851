//! Who waits until a log is in the lake, and up to where.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Mutex, MutexGuard};

/// The offsets up to which somebody waits.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<BTreeMap<u64, usize>>);

/// Somebody who waits, until this is dropped.
pub(crate) struct Waiter<'a> {
    of: &'a Waiters,
    offset: u64,
}

impl Waiters {
    /// Somebody waits until everything before `offset` is in the lake.
    pub(crate) fn wait_for(&self, offset: u64) -> Waiter<'_> {
        *self.offsets().entry(offset).or_default() += 1;
        Waiter { of: self, offset }
    }

    /// Whether an export that has read up to `at` should commit now. It last did so for everything before `asked`, and has everything
    /// before `exported` in its lake.
    ///
    /// An export that has read all that is waited for commits at once. While more lies ahead it commits again only once the commit
    /// before is published: those that wait come along together, and none waits for ever.
    pub(crate) fn want_commit(&self, asked: u64, at: u64, exported: u64) -> bool {
        let offsets = self.offsets();
        let is_wanted = asked < at && offsets.range((Excluded(asked), Included(at))).next().is_some();
        is_wanted && (asked <= exported || offsets.range((Excluded(at), Unbounded)).next().is_none())
    }

    fn offsets(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut offsets = self.of.offsets();
        if let Some(count) = offsets.get_mut(&self.offset) {
            *count -= 1;
            if *count == 0 {
                offsets.remove(&self.offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_wait_get_their_commit_though_there_are_always_newer_ones() {
        let waiters = Waiters::default();
        let first = waiters.wait_for(100);
        assert!(!waiters.want_commit(0, 99, 0));
        // Newer ones lie ahead of the reader all the time.
        let mut newer: Vec<_> = (1..=20).map(|number| waiters.wait_for(100 + number * 10)).collect();
        assert!(waiters.want_commit(0, 105, 0), "the first one's commit is asked for");
        // While that commit is under way the others gather.
        assert!(!waiters.want_commit(105, 115, 0));
        assert!(waiters.want_commit(105, 155, 105), "those up to there together");
        drop(first);
        newer.drain(..19).for_each(drop);
        // The last one: nobody is ahead.
        assert!(!waiters.want_commit(155, 299, 155));
        assert!(waiters.want_commit(155, 300, 105), "at once");
        assert!(!waiters.want_commit(300, 300, 155));
        drop(newer);
        assert!(!waiters.want_commit(0, 1_000, 0) && waiters.offsets().is_empty());
    }

    #[test]
    fn two_who_wait_for_the_same_are_two() {
        let waiters = Waiters::default();
        let (one, two) = (waiters.wait_for(5), waiters.wait_for(5));
        drop(one);
        assert!(waiters.want_commit(0, 5, 0));
        drop(two);
        assert!(!waiters.want_commit(0, 5, 0));
    }
}
