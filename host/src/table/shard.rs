//! Entries of one shard, sorted by key: how they are written, found and merged.
//!
//! An entry is a head of fixed size, the key and the document. A key begins with its subject, so that what is known by one subject
//! stands together, in one shard. The same bytes are in memory and, compressed, in a run.

use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::Key;

const HEAD: usize = 4 + 4 + 1 + 8 + 8 + 8;

const CREATED_BYTES: usize = 8;

const LIVE: u8 = 1;
const KNOWN: u8 = 2;
const VERSION: u8 = 4;
const TIME: u8 = 8;
/// The last eight bytes of the body are [`Facts::created`].
const CREATED: u8 = 16;

/// A key as it is stored.
pub fn encode_key(key: &Key) -> Vec<u8> {
    let mut out = encode_subject(&key.subject);
    out.reserve_exact(4 + key.source.len() + key.kind.len());
    out.extend_from_slice(&(key.source.len() as u32).to_le_bytes());
    out.extend_from_slice(key.source.as_bytes());
    out.extend_from_slice(key.kind.as_bytes());
    out
}

/// What every key of a subject begins with, and no other key.
pub fn encode_subject(subject: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + subject.len());
    out.extend_from_slice(&(subject.len() as u32).to_le_bytes());
    out.extend_from_slice(subject.as_bytes());
    out
}

fn decode_key(key: &[u8]) -> Option<Key> {
    let subject = 4usize.checked_add(word(key, 0)? as usize)?;
    let source = subject.checked_add(4)?;
    let kind = source.checked_add(word(key, subject)? as usize)?;
    let text = |range: Range<usize>| Some(std::str::from_utf8(key.get(range)?).ok()?.to_owned());
    Some(Key { subject: text(4..subject)?, source: text(source..kind)?, kind: text(kind..key.len())? })
}

/// The shard of a stored key, or of the beginning that all keys of its subject have.
pub fn shard_of(key: &[u8]) -> u8 {
    let subject = word(key, 0).map_or(key.len(), |length| 4 + length as usize);
    (xxh3_64(&key[..subject.min(key.len())]) >> 56) as u8
}

/// What is known of a document besides its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is there; else it was deleted.
    pub live: bool,
    /// It was there at the last snapshot before it changed.
    pub known: bool,
    /// The newest that was given.
    pub version: Option<i64>,
    pub time: Option<i64>,
    /// When the device came to be whose twin it is, or was: what has an earlier time is of a device that had its name before.
    pub created: Option<i64>,
    /// The count of the change; see [`super::TableState::change`].
    pub change: u64,
}

impl Facts {
    /// Whether the next snapshot has something to say of it. `snapshot`: [`super::TableState::snapshot`].
    pub fn is_waiting(&self, snapshot: u64) -> bool {
        self.change > snapshot && (self.live || self.known)
    }

    /// Whether it was there at the last snapshot.
    pub fn was_known(&self, snapshot: u64) -> bool {
        if self.change > snapshot { self.known } else { self.live }
    }
}

/// Adds an entry to `out`.
pub fn push_entry(out: &mut Vec<u8>, key: &[u8], facts: &Facts, body: &[u8]) {
    let flag = |flag: u8, set: bool| if set { flag } else { 0 };
    let flags = flag(LIVE, facts.live)
        | flag(KNOWN, facts.known)
        | flag(VERSION, facts.version.is_some())
        | flag(TIME, facts.time.is_some())
        | flag(CREATED, facts.created.is_some());
    let length = body.len() + facts.created.map_or(0, |_| CREATED_BYTES);
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.push(flags);
    out.extend_from_slice(&facts.version.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&facts.time.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&facts.change.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(body);
    out.extend(facts.created.iter().flat_map(|created| created.to_le_bytes()));
}

/// The entries that one run has of a shard.
#[derive(Debug, Default)]
pub struct Shard {
    bytes: Bytes,
    /// Where each entry starts.
    starts: Vec<usize>,
}

impl Shard {
    /// Finds the entries; `None` where the bytes are none.
    pub fn parse(bytes: Bytes) -> Option<Shard> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push(at);
            let (key, body) = (word(&bytes, at)?, word(&bytes, at + 4)?);
            at = at.checked_add(HEAD)?.checked_add(key as usize)?.checked_add(body as usize)?;
        }
        (at == bytes.len()).then_some(Shard { bytes, starts })
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<usize>()
    }

    /// The entries, by key.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.starts.len()).map(|at| self.entry(at))
    }

    pub fn find(&self, key: &[u8]) -> Option<Entry<'_>> {
        let at = self.first_from(key);
        (at < self.starts.len()).then(|| self.entry(at)).filter(|entry| entry.key() == key)
    }

    /// The entries whose keys begin with `prefix`, by key.
    pub fn with_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Entry<'_>> {
        let first = self.first_from(prefix);
        (first..self.starts.len()).map(|at| self.entry(at)).take_while(move |entry| entry.key().starts_with(prefix))
    }

    /// The place of the first entry whose key is not less.
    fn first_from(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle).key() < key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    fn entry(&self, at: usize) -> Entry<'_> {
        let start = self.starts[at];
        let end = self.starts.get(at + 1).copied().unwrap_or(self.bytes.len());
        Entry { shard: self, raw: &self.bytes[start..end] }
    }
}

/// One entry of a shard.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    shard: &'a Shard,
    /// The whole entry, as it is stored.
    pub raw: &'a [u8],
}

impl<'a> Entry<'a> {
    pub fn key(self) -> &'a [u8] {
        &self.raw[HEAD..self.body_start()]
    }

    /// The key in its parts; `None` where it is none.
    pub fn named(self) -> Option<Key> {
        decode_key(self.key())
    }

    pub fn body(self) -> &'a [u8] {
        &self.raw[self.body_start()..self.body_end()]
    }

    /// The body, as a part of the shard's memory.
    pub fn shared_body(self) -> Bytes {
        self.shard.bytes.slice_ref(self.body())
    }

    pub fn facts(self) -> Facts {
        let flags = self.raw[8];
        let has = |flag: u8| flags & flag != 0;
        Facts {
            live: has(LIVE),
            known: has(KNOWN),
            version: has(VERSION).then_some(self.long(9) as i64),
            time: has(TIME).then_some(self.long(17) as i64),
            created: has(CREATED).then(|| self.long(self.body_end()) as i64),
            change: self.long(25),
        }
    }

    fn body_start(self) -> usize {
        HEAD + word(self.raw, 0).expect("an entry has a head") as usize
    }

    fn body_end(self) -> usize {
        self.raw.len() - if self.raw[8] & CREATED != 0 { CREATED_BYTES } else { 0 }
    }

    fn long(self, at: usize) -> u64 {
        u64::from_le_bytes(*self.raw[at..].first_chunk().expect("an entry has a head"))
    }
}

/// Hands over every key's entry of the newest of `layers` (oldest first) that has it, by key.
pub fn merge<'a>(layers: &[&'a Shard], mut take: impl FnMut(Entry<'a>)) {
    if let [only] = layers {
        return only.entries().for_each(take);
    }
    let mut layers: Vec<_> = layers.iter().map(|layer| layer.entries().peekable()).collect();
    loop {
        let mut least: Option<Entry<'a>> = None;
        for layer in &mut layers {
            // On a tie the later one, which is newer.
            if let Some(&entry) = layer.peek()
                && least.is_none_or(|least| entry.key() <= least.key())
            {
                least = Some(entry);
            }
        }
        let Some(least) = least else { return };
        for layer in &mut layers {
            layer.next_if(|entry| entry.key() == least.key());
        }
        take(least);
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
