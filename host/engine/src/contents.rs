//! What idempotency keys were used with.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use lakeport_serve::IdempotencyKey;

/// What was sent with the last idempotency keys, so that a key that is used for something else is refused.
#[derive(Default)]
pub(crate) struct Contents(Mutex<Keys>);

#[derive(Default)]
struct Keys {
    of: HashMap<IdempotencyKey, [u8; 16]>,
    order: VecDeque<IdempotencyKey>,
}

impl Contents {
    /// The most keys that are remembered here. Of those that are forgotten, a repetition is still recognised by the log.
    const MOST: usize = 100_000;

    /// Whether a key was used with something else.
    pub(crate) fn differs(&self, key: IdempotencyKey, content: [u8; 16]) -> bool {
        self.keys().of.get(&key).is_some_and(|known| *known != content)
    }

    /// Remembers what a key was used with.
    pub(crate) fn insert(&self, key: IdempotencyKey, content: [u8; 16]) {
        let mut keys = self.keys();
        if keys.of.insert(key, content).is_none() {
            keys.order.push_back(key);
        }
        if keys.order.len() > Contents::MOST
            && let Some(oldest) = keys.order.pop_front()
        {
            keys.of.remove(&oldest);
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().expect("nothing panics while it is held")
    }
}
