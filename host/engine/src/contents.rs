//! What idempotency keys were used with, where no log remembers it.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use lakeport_serve::IdempotencyKey;
use tokio::time::Instant;

/// What was sent with the last idempotency keys, so that a key that is used for something else is refused.
pub(crate) struct Contents {
    /// How long a key is remembered.
    window: Duration,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    of: HashMap<IdempotencyKey, [u8; 16]>,
    order: VecDeque<(IdempotencyKey, Instant)>,
}

impl Contents {
    /// The most keys that are remembered. One that is forgotten is taken with other records, and loses none.
    const MOST: usize = 100_000;

    pub(crate) fn new(window: Duration) -> Contents {
        Contents { window, keys: Mutex::default() }
    }

    /// Remembers what a key is used with, and says whether that is what it was used with before: of requests at the same time, only
    /// those with the same records go on.
    pub(crate) fn claim(&self, key: IdempotencyKey, content: [u8; 16], now: Instant) -> bool {
        let mut keys = self.keys.lock().expect("nothing panics while it is held");
        while let Some((oldest, time)) = keys.order.front().copied()
            && (now - time >= self.window || keys.order.len() >= Contents::MOST)
        {
            keys.order.pop_front();
            keys.of.remove(&oldest);
        }
        match keys.of.get(&key) {
            Some(known) => *known == content,
            None => {
                keys.of.insert(key, content);
                keys.order.push_back((key, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_one_content_for_a_time() {
        let (contents, now) = (Contents::new(Duration::from_secs(60)), Instant::now());
        let claim = |key, content, now| contents.claim([key; 16], [content; 16], now);
        assert!(claim(1, 1, now) && claim(1, 1, now) && !claim(1, 2, now) && claim(2, 2, now));
        assert!(!claim(1, 2, now + Duration::from_secs(59)));
        let later = now + Duration::from_secs(60);
        assert!(claim(1, 2, later) && !claim(1, 1, later));
    }

    #[test]
    fn of_many_keys_the_oldest_are_forgotten() {
        let (contents, now) = (Contents::new(Duration::from_secs(3600)), Instant::now());
        for number in 0..=Contents::MOST as u128 {
            assert!(contents.claim(number.to_be_bytes(), [1; 16], now));
        }
        assert!(contents.keys.lock().unwrap().of.len() <= Contents::MOST);
        assert!(
            contents.claim(0u128.to_be_bytes(), [2; 16], now) && !contents.claim(9u128.to_be_bytes(), [2; 16], now)
        );
    }
}
