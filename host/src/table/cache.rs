//! What was read of runs, kept in memory up to a number of bytes; what was not used for longest goes first.
//!
//! A run never changes, so what is kept never gets old: it is known by the run's hash.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Run;
use super::run::Footer;
use super::shard::Shard;
use crate::Result;
use crate::lake::Lake;

/// Bytes that are kept where nothing else is said.
const CAPACITY: usize = 128 << 20;
/// What one thing that is kept costs besides itself.
const OVERHEAD: usize = 256;

/// Footers and shards of runs. Cheap to clone: clones share what they keep.
#[derive(Clone)]
pub struct Cache(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    capacity: usize,
    weight: usize,
    /// Counts uses.
    clock: u64,
    things: HashMap<Name, Thing>,
    /// The names of `things` by their last use.
    uses: BTreeMap<u64, Name>,
}

/// The SHA-256 of a run, and a shard of it; none: the footer.
type Name = (Arc<str>, Option<u8>);

struct Thing {
    content: Content,
    weight: usize,
    used: u64,
}

#[derive(Clone)]
enum Content {
    Footer(Arc<Footer>),
    Shard(Arc<Shard>),
}

impl Cache {
    /// A cache of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Cache {
        Cache(Arc::new(Mutex::new(Kept { capacity, ..Kept::default() })))
    }

    /// The footer of `run`; `None` where the run is gone and its footer is not here.
    pub(super) async fn footer(&self, lake: &Lake, run: &Run) -> Result<Option<Arc<Footer>>> {
        let name = (Arc::from(run.sha256.as_str()), None);
        if let Some(Content::Footer(footer)) = self.kept().get(&name) {
            return Ok(Some(footer));
        }
        let Some(footer) = Footer::read(lake, run).await? else { return Ok(None) };
        let footer = Arc::new(footer);
        self.kept().put(name, Content::Footer(footer.clone()), Footer::weight());
        Ok(Some(footer))
    }

    /// A shard of the run with the hash `run`, where it is here.
    pub(super) fn shard(&self, run: &Arc<str>, shard: u8) -> Option<Arc<Shard>> {
        match self.kept().get(&(run.clone(), Some(shard))) {
            Some(Content::Shard(shard)) => Some(shard),
            _ => None,
        }
    }

    pub(super) fn put_shard(&self, run: &Arc<str>, shard: u8, content: Arc<Shard>) {
        let weight = content.weight();
        self.kept().put((run.clone(), Some(shard)), Content::Shard(content), weight);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Cache {
    fn default() -> Self {
        Cache::new(CAPACITY)
    }
}

impl Kept {
    fn get(&mut self, name: &Name) -> Option<Content> {
        let thing = self.things.get_mut(name)?;
        self.clock += 1;
        let name = self.uses.remove(&thing.used).expect("every thing has its last use");
        self.uses.insert(self.clock, name);
        thing.used = self.clock;
        Some(thing.content.clone())
    }

    fn put(&mut self, name: Name, content: Content, weight: usize) {
        let weight = weight + OVERHEAD;
        if weight > self.capacity {
            return;
        }
        self.clock += 1;
        let thing = Thing { content, weight, used: self.clock };
        self.uses.insert(self.clock, name.clone());
        self.weight += weight;
        if let Some(before) = self.things.insert(name, thing) {
            self.uses.remove(&before.used);
            self.weight -= before.weight;
        }
        while self.weight > self.capacity {
            let (_, oldest) = self.uses.pop_first().expect("what has weight was used");
            let thing = self.things.remove(&oldest).expect("every use is of a thing");
            self.weight -= thing.weight;
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        write!(f, "Cache({} of {} bytes)", kept.weight, kept.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache = Cache::new(3 * (1000 + OVERHEAD));
        let run: Arc<str> = "run".into();
        let put = |at: u8| cache.kept().put((run.clone(), Some(at)), Content::Shard(Arc::default()), 1000);
        let is_there = |at: u8| cache.shard(&run, at).is_some();
        (0..3).for_each(put);
        assert!(is_there(0) && is_there(2));
        put(3);
        assert_eq!([0, 1, 2, 3].map(is_there), [true, false, true, true]);
        // The same again changes nothing, what is too large is not kept.
        put(3);
        cache.kept().put((run.clone(), Some(9)), Content::Shard(Arc::default()), 1 << 20);
        assert_eq!([0, 1, 2, 3, 9].map(is_there), [true, false, true, true, false]);
        assert_eq!(cache.kept().weight, 3 * (1000 + OVERHEAD));
    }
}
