//! The keys that are remembered: which records are in the log already, and up to which offset.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Keys by age, bounded by time and number.
pub(crate) struct Keys {
    /// The offset after the frame that holds a key's record.
    ends: HashMap<u128, u64>,
    /// What keys of batches were used with; of some of `ends`.
    contents: HashMap<u128, u128>,
    /// Every key of `ends` with the time of its frame, in the order of the log.
    order: VecDeque<(u128, u64)>,
    window: u64,
    most: usize,
    /// Keys that were forgotten before their time.
    pub(crate) dropped: u64,
}

impl Keys {
    pub(crate) fn new(window: Duration, most: usize) -> Self {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Keys { ends: HashMap::new(), contents: HashMap::new(), order: VecDeque::new(), window, most, dropped: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The offset after the frame that holds `key`'s record.
    pub(crate) fn get(&self, key: u128) -> Option<u64> {
        self.ends.get(&key).copied()
    }

    /// Whether `key` was used with something else than `content`.
    pub(crate) fn differs(&self, key: u128, content: u128) -> bool {
        self.contents.get(&key).is_some_and(|known| *known != content)
    }

    /// Remembers `key`, and what it was used with, where it is not known.
    pub(crate) fn insert(&mut self, key: u128, content: Option<u128>, end: u64, time: u64) {
        if let Entry::Vacant(vacant) = self.ends.entry(key) {
            vacant.insert(end);
            self.order.push_back((key, time));
            self.contents.extend(content.map(|content| (key, content)));
        }
        while self.order.len() > self.most {
            self.pop_oldest();
            self.dropped += 1;
        }
    }

    /// Forgets what is older than the window; a time in the future is as old as it is ahead, so that a clock that was once wrong
    /// does not decide for ever.
    pub(crate) fn expire(&mut self, now: u64) {
        while self.order.front().is_some_and(|(_, time)| self.is_expired(*time, now)) {
            self.pop_oldest();
        }
    }

    /// Whether a key of `time` is outside the window at `now`.
    pub(crate) fn is_expired(&self, time: u64, now: u64) -> bool {
        now.abs_diff(time) >= self.window
    }

    /// Forgets the keys of frames that were not written: those that end after `durable`.
    pub(crate) fn revert(&mut self, durable: u64) {
        while let Some((key, _)) = self.order.back().copied() {
            if self.ends.get(&key).is_some_and(|end| *end <= durable) {
                break;
            }
            self.order.pop_back();
            self.forget(key);
        }
    }

    /// Whether a key's frame ends at or before `next`.
    pub(crate) fn any_up_to(&self, next: u64) -> bool {
        self.order.front().and_then(|(key, _)| self.ends.get(key)).is_some_and(|end| *end <= next)
    }

    /// Forgets the keys whose frames end at or before `next`, to make room on the disk.
    pub(crate) fn drop_up_to(&mut self, next: u64) {
        while self.any_up_to(next) {
            self.pop_oldest();
            self.dropped += 1;
        }
    }

    fn pop_oldest(&mut self) {
        if let Some((key, _)) = self.order.pop_front() {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: u128) {
        self.ends.remove(&key);
        self.contents.remove(&key);
    }
}
