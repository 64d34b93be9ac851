//! What an apply does to one shard. Pure: bytes in, bytes out.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::patch::Patcher;
use super::prefetch::Stored;
use super::run;
pub use super::run::Packed;
use super::shard::{Entry, Facts, Shard, merge, push_entry};
use super::{Change, Document, Emit, Head, Key, Operation, RowTerms, Shape, twin};
use crate::decode::scan::Fault;
use crate::{Error, Result};

/// Documents that are handed over at once: this many, or bytes.
const PORTION: usize = 4096;
const PORTION_BYTES: usize = 4 << 20;

/// What holds for all shards of an apply.
pub struct Terms {
    /// The count that changes are marked with.
    pub change: u64,
    /// [`super::TableState::snapshot`] before and after.
    pub snapshot: u64,
    pub next_snapshot: u64,
    pub emit: Emit,
    pub mark_deletes: bool,
    /// The run that is written becomes the oldest one.
    pub oldest: bool,
    pub rows: RowTerms,
}

/// A change and the key that it is stored under.
pub struct Keyed {
    pub key: Vec<u8>,
    pub change: Change,
}

/// One shard's work.
pub struct Step {
    pub shard: u8,
    /// By key; those of one key in order. Where there is one, all runs are in `layers`.
    pub changes: Vec<Keyed>,
    /// What runs have of the shard, oldest first.
    pub layers: Vec<Stored>,
    /// The layers from here on may hold what is waiting.
    pub recent: usize,
    /// The layers from here on become part of the run that is written.
    pub absorbed: usize,
}

/// What became of one shard.
#[derive(Default)]
pub struct Outcome {
    pub shard: u8,
    /// What is added to the table's counts.
    pub keys: i64,
    pub waiting: i64,
    pub ignored: u64,
    pub unchanged: u64,
    pub documents: Vec<Vec<Document>>,
    /// The partitions of the rows that changed, came or went.
    pub touched: BTreeSet<i32>,
    /// The shard for the new run; none where nothing changed.
    pub written: Option<Packed>,
}

impl Step {
    pub fn run(self, terms: &Terms) -> Result<Outcome> {
        let mut outcome = Outcome { shard: self.shard, ..Outcome::default() };
        let mut layers = self.layers.iter().map(Stored::unpack).collect::<Result<Vec<Shard>>>()?;
        let delta = change_all(self.changes, &layers, terms, &mut outcome)?;
        let changed = delta.len() > 0;
        if changed {
            layers.push(delta);
        }
        let layers: Vec<&Shard> = layers.iter().collect();
        match terms.emit {
            Emit::Nothing => {}
            Emit::Waiting => emit(&layers[self.recent..], terms, &mut outcome)?,
            Emit::Everything | Emit::Kept => emit(&layers, terms, &mut outcome)?,
        }
        if changed {
            let (entries, count) = newest(&layers[self.absorbed..], terms);
            outcome.written = Some(run::pack(&entries, count)?);
        }
        Ok(outcome)
    }
}

/// The shard for the new run where nothing changed in it: what the absorbed runs have of it.
pub fn absorb(layers: &[Stored], terms: &Terms) -> Result<Packed> {
    let unpacked = layers.iter().map(Stored::unpack).collect::<Result<Vec<_>>>()?;
    let (entries, count) = newest(&unpacked.iter().collect::<Vec<_>>(), terms);
    let mut filled = unpacked.iter().zip(layers).filter(|(shard, _)| shard.len() > 0);
    if let (Some((shard, stored)), None) = (filled.next(), filled.next())
        && shard.len() as u64 == count
    {
        // All of one layer, which was checked: as it stands there.
        return Ok(Packed { bytes: stored.bytes.clone(), checksum: stored.checksum, entries: count });
    }
    run::pack(&entries, count)
}

/// The newest entries of `layers` as far as they have to be kept, and how many they are.
fn newest(layers: &[&Shard], terms: &Terms) -> (Vec<u8>, u64) {
    let mut out = Vec::with_capacity(layers.iter().map(|layer| layer.weight()).sum());
    let mut count = 0;
    merge(layers, |entry| {
        let facts = entry.facts();
        let needed = facts.live || facts.version.is_some() || facts.is_waiting(terms.next_snapshot);
        if needed || !terms.oldest {
            out.extend_from_slice(entry.raw);
            count += 1;
        }
    });
    (out, count)
}

/// Applies all changes; returns the new entries.
fn change_all(changes: Vec<Keyed>, layers: &[Shard], terms: &Terms, outcome: &mut Outcome) -> Result<Shard> {
    let mut patcher = Patcher::default();
    let mut out = Vec::new();
    let mut versions = Vec::new();
    let mut changes = changes.into_iter().peekable();
    while let Some(first) = changes.next() {
        let key = first.key;
        let stored = layers.iter().rev().find_map(|layer| layer.find(&key));
        let before = stored.map(Entry::facts);
        let mut latest = Latest {
            facts: before.unwrap_or_default(),
            body: stored.map(Entry::shared_body).unwrap_or_default(),
            is_dirty: false,
            terms,
        };
        let mut change = Some(first.change);
        while let Some(next) = change {
            let named = next.key.clone();
            let is_delete = next.operation == Operation::Delete;
            let changed = latest.apply(next, &mut patcher, outcome).map_err(|fault| broken(&named.subject, fault))?;
            if changed && terms.rows.versions {
                versions.push(latest.version(named, is_delete));
            }
            change = changes.next_if(|next| next.key == key).map(|next| next.change);
        }
        let facts = latest.facts;
        // Of a key that never was, only a version has to be remembered.
        let is_new = before.is_none() && (facts.live || facts.version.is_some());
        if is_new || before.is_some_and(|before| before != facts || latest.is_dirty) {
            let before = before.unwrap_or_default();
            outcome.keys += i64::from(facts.live) - i64::from(before.live);
            let waiting = |facts: &Facts| i64::from(facts.is_waiting(terms.snapshot));
            outcome.waiting += waiting(&facts) - waiting(&before);
            push_entry(&mut out, &key, &facts, &latest.body);
        }
    }
    if !versions.is_empty() {
        outcome.documents.push(versions);
    }
    Shard::parse(out.into()).ok_or_else(|| Error::internal("the entries of a table cannot be read back"))
}

/// A document under change.
pub(super) struct Latest<'a> {
    pub facts: Facts,
    pub body: Bytes,
    /// The body is another one, whatever the facts are.
    pub is_dirty: bool,
    pub terms: &'a Terms,
}

impl Latest<'_> {
    /// Answers whether the document has changed; of a row, whether what it is now is a version of it.
    fn apply(&mut self, change: Change, patcher: &mut Patcher, outcome: &mut Outcome) -> Result<bool, Fault> {
        if change.shape == Shape::Row {
            return self.apply_to_row(&change, patcher, outcome);
        }
        if self.is_outdated(&change) && !self.is_created_anew(&change) || self.is_of_an_earlier_device(&change) {
            outcome.ignored += 1;
            return Ok(false);
        }
        let changed = match change.operation {
            Operation::Delete => self.facts.live.then(Bytes::new),
            _ => {
                let body = self.new_body(&change, patcher)?;
                let same = self.facts.live && patcher.same(&self.body, &body)?;
                (!same).then_some(body)
            }
        };
        // A change without a version must not let older ones in.
        self.facts.version = change.version.or(self.facts.version);
        self.facts.time = change.time;
        if change.shape == Shape::Twin && change.operation == Operation::Create {
            self.facts.created = change.time.or(self.facts.created);
        }
        let has_changed = changed.is_some();
        match changed {
            Some(body) => {
                self.body = body;
                self.note_change(change.operation != Operation::Delete);
            }
            None => outcome.unchanged += 1,
        }
        Ok(has_changed)
    }

    /// Whether a change of a document is older than what is known. A twin's own changes each have a version of theirs. Deleting a
    /// device does not raise its twin's version, nor does creating it; and such events come in any order: where versions are
    /// equal, times tell which is older.
    fn is_outdated(&self, change: &Change) -> bool {
        let (Some(new), Some(old)) = (change.version, self.facts.version) else { return false };
        let is_earlier = || matches!((change.time, self.facts.time), (Some(new), Some(old)) if new < old);
        let is_repetition = || match change.shape {
            Shape::Twin => matches!(change.operation, Operation::Patch | Operation::Update) || is_earlier(),
            Shape::Document | Shape::Row => false,
        };
        new < old || (new == old && (change.repeats_at_its_version() || is_repetition()))
    }

    /// Notes that the document is another one, or is gone.
    pub fn note_change(&mut self, live: bool) {
        self.facts.known = self.facts.was_known(self.terms.snapshot);
        self.facts.live = live;
        self.facts.change = self.terms.change;
    }

    /// The row as it is now, as one of its versions; that it went, where the change was a deletion.
    fn version(&self, key: Key, deleted: bool) -> Document {
        let operation = if deleted { Operation::Delete } else { Operation::Update };
        let head = Head::of(&self.body);
        let body = head.map(|head| Head { deleted, ..head }.before(Head::row(&self.body)));
        Document { key, operation, version: self.facts.version, time: self.facts.time, body }
    }

    /// Whether the change makes a thing of its own of what was there before: versions begin again then, and times tell it from a
    /// create that comes a second time. That a device was deleted before it was created may be heard later, or never. Versions of
    /// rows go on.
    fn is_created_anew(&self, change: &Change) -> bool {
        let is_later = matches!((change.time, self.facts.time), (Some(new), Some(old)) if new > old);
        (!self.facts.live || change.shape == Shape::Twin) && change.operation == Operation::Create && is_later
    }

    /// Whether the change is of a device that had the name before this one was created, whatever its version.
    fn is_of_an_earlier_device(&self, change: &Change) -> bool {
        change.shape == Shape::Twin && matches!((change.time, self.facts.created), (Some(new), Some(old)) if new < old)
    }

    /// The document after a change that does not delete it.
    fn new_body(&self, change: &Change, patcher: &mut Patcher) -> Result<Bytes, Fault> {
        let stored = self.facts.live.then_some(&*self.body);
        let merged = match (change.shape, change.operation) {
            (Shape::Document, Operation::Patch) => patcher.merge(stored, &change.body)?,
            (Shape::Document | Shape::Row, _) => return Ok(change.body.clone()),
            (Shape::Twin, operation) => {
                let mut device = stored.map_or_else(|| twin::new_device(&change.key.subject), <[u8]>::to_vec);
                if operation != Operation::Patch {
                    device = patcher.merge(Some(&device), twin::CLEAR)?;
                }
                patcher.merge(Some(&device), &change.body)?
            }
        };
        Ok(merged.into())
    }
}

/// Adds the documents of `layers` that are to be emitted, by key.
fn emit(layers: &[&Shard], terms: &Terms, outcome: &mut Outcome) -> Result<()> {
    let mut portion = Vec::new();
    let mut bytes = 0;
    let mut nameless = false;
    merge(layers, |entry| {
        let facts = entry.facts();
        let waiting = facts.is_waiting(terms.snapshot);
        let wanted = match (terms.emit, facts.live) {
            (Emit::Kept, live) => live || facts.version.is_some(),
            (emit, true) => waiting || emit == Emit::Everything,
            (_, false) => waiting && terms.mark_deletes,
        };
        let is_elsewhere = || {
            let only = terms.rows.only.as_deref();
            only.is_some_and(|only| Head::of(entry.body()).is_none_or(|head| !only.contains(&head.partition)))
        };
        if !wanted || is_elsewhere() {
            return;
        }
        let Some(key) = entry.named() else {
            nameless = true;
            return;
        };
        let operation = match (facts.live, facts.was_known(terms.snapshot)) {
            (true, false) => Operation::Create,
            (true, true) => Operation::Update,
            (false, _) => Operation::Delete,
        };
        let body = (facts.live || terms.emit == Emit::Kept).then(|| entry.shared_body());
        bytes += entry.raw.len();
        portion.push(Document { key, operation, version: facts.version, time: facts.time, body });
        if portion.len() == PORTION || bytes >= PORTION_BYTES {
            outcome.documents.push(std::mem::take(&mut portion));
            bytes = 0;
        }
    });
    if !portion.is_empty() {
        outcome.documents.push(portion);
    }
    match nameless {
        true => Err(Error::internal("a table holds a key that is none")),
        false => Ok(()),
    }
}

fn broken(subject: &str, fault: Fault) -> Error {
    Error::internal(format!("the document of `{subject}` in a table is not valid JSON: {fault:?}"))
}
