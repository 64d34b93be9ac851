//! The protocol's proof: every interleaving of two owners' store requests, with a crash and a lost reply, on a pretended lake.
//!
//! The owners are [`super::protocol::Owner`]s, the very code that runs; only the lake, the source and the plugins are made up.
//! Three records, one a span. A plugin that is not deterministic is modelled by tagging what an attempt wrote with the
//! attempt. Each [`Mutant`] breaks one rule where the driver would carry it out, and its test shows that the search then finds
//! a lost, doubled or changed record: so the search would notice if the rule were gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::protocol::{Owner, Reply, Request, Seen, Slot};

const RECORDS: u8 = 3;
/// Small, so that slots are deleted within three commits.
const SLACK: u64 = 1;

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    NoFence,
    NoBoundaryCheck,
    OverwritesSlots,
    AcknowledgesBeforeCommit,
    TakesItsOwnForSomeoneElses,
    TakesSomeoneElsesForItsOwn,
    RunsPluginsAgainInRecovery,
    SweepsItsSuccessors,
}

/// How a published file comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publishing {
    /// Numbered parts by copying: each commit its own key.
    Parts,
    /// One growing file, replaced if it is still the version it extends.
    ReplaceIfMatch,
    /// One growing file, replaced by renaming the staged one.
    Rename,
}

/// What an attempt wrote for a record.
type Output = (u8, u128);
/// Epoch, owner and slot: unique to one attempt.
type StagedName = (u64, u128, Slot);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    epoch: u64,
    nonce: u128,
    last_commit: Slot,
    commit: Option<Commit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Commit {
    next: u8,
    key: u8,
    staged: StagedName,
    content: Vec<Output>,
    /// The slot whose commit wrote the version that this one extends.
    extends: Slot,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    owner: Owner,
    nonce: u128,
    /// The last commit as this process knows it.
    known: Option<Commit>,
    /// What was staged and waits for its commit.
    waiting: Option<Commit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    boundary: Slot,
    log: BTreeMap<Slot, Entry>,
    staged: BTreeSet<StagedName>,
    /// Content, and the slot whose commit wrote it.
    files: BTreeMap<u8, (Vec<Output>, Slot)>,
    /// Records that the source has forgotten.
    acknowledged: u8,
    processes: Vec<Process>,
    crashes: u8,
    lost_replies: u8,
    /// A create whose reply was lost and that has not arrived yet.
    late: Option<(Slot, Entry)>,
    nonces: u128,
}

/// What a search found.
#[derive(Debug)]
struct Found {
    states: usize,
    violation: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Carried out, the reply lost.
    ReplyLost,
    /// Arrives some time after the caller gave up on it.
    Late,
}

struct Model {
    mutant: Mutant,
    publishing: Publishing,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            boundary: 0,
            log: BTreeMap::new(),
            staged: BTreeSet::new(),
            files: BTreeMap::new(),
            acknowledged: 0,
            processes: Vec::new(),
            crashes: 1,
            lost_replies: 1,
            late: None,
            nonces: 0,
        };
        world.processes = vec![world.fresh(), world.fresh()];
        world
    }

    fn fresh(&mut self) -> Process {
        self.nonces += 1;
        Process { owner: Owner::new(self.nonces, SLACK), nonce: self.nonces, known: None, waiting: None }
    }

    /// Every record at most once, over all files.
    fn doubled(&self) -> Option<u8> {
        let mut seen = BTreeSet::new();
        self.files.values().flat_map(|(content, _)| content).map(|(record, _)| *record).find(|r| !seen.insert(*r))
    }

    fn published(&self) -> BTreeSet<u8> {
        self.files.values().flat_map(|(content, _)| content).map(|(record, _)| *record).collect()
    }
}

impl Model {
    fn search(&self) -> Found {
        let mut seen = HashSet::new();
        let mut queue = vec![World::new()];
        while let Some(world) = queue.pop() {
            if !seen.insert(fingerprint(&world)) {
                continue;
            }
            let successors = match self.successors(&world) {
                Ok(successors) => successors,
                Err(violation) => return Found { states: seen.len(), violation: Some(violation) },
            };
            queue.extend(successors);
        }
        Found { states: seen.len(), violation: None }
    }

    /// Every world that one step leads to; an error is a violated promise.
    fn successors(&self, world: &World) -> Result<Vec<World>, String> {
        let mut out = Vec::new();
        for at in 0..world.processes.len() {
            if self.idle(world, at) {
                continue;
            }
            let creates = matches!(
                world.processes[at].owner.request(),
                Request::CreateFence { .. } | Request::CreateCommit { .. }
            );
            for fault in [Fault::None, Fault::ReplyLost, Fault::Late] {
                let possible = fault == Fault::None
                    || creates && world.lost_replies > 0 && (fault != Fault::Late || world.late.is_none());
                if possible {
                    let mut next = world.clone();
                    self.step(&mut next, at, fault)?;
                    out.push(next);
                }
            }
            if world.crashes > 0 {
                let mut next = world.clone();
                next.crashes -= 1;
                next.processes[at] = next.fresh();
                out.push(next);
            }
        }
        if let Some((slot, entry)) = world.late.clone() {
            let mut next = world.clone();
            next.late = None;
            self.create(&mut next, slot, entry);
            out.push(next);
        }
        if out.is_empty() {
            self.check_completion(world)?;
        }
        Ok(out)
    }

    /// Whether a process has nothing more to do.
    fn idle(&self, world: &World, at: usize) -> bool {
        let process = &world.processes[at];
        match process.owner.request() {
            Request::Stop => true,
            Request::Wait => process.known.as_ref().is_some_and(|commit| commit.next == RECORDS),
            _ => false,
        }
    }

    /// Nobody moves any more: one more owner, alone, must be able to bring everything to its end.
    fn check_completion(&self, world: &World) -> Result<(), String> {
        let mut world = world.clone();
        let last = world.fresh();
        world.processes = vec![last];
        for _ in 0..200 {
            if self.idle(&world, 0) {
                break;
            }
            self.step(&mut world, 0, Fault::None)?;
        }
        let missing: Vec<_> = (0..RECORDS).filter(|record| !world.published().contains(record)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("lost: records {missing:?} of {world:?}")) }
    }

    /// Carries out the next request of process `at`, in one atomic step.
    fn step(&self, world: &mut World, at: usize, fault: Fault) -> Result<(), String> {
        let mut process = world.processes[at].clone();
        let request = process.owner.request();
        let reply = match request {
            Request::ReadBoundary => Reply::Boundary(world.boundary),
            Request::CheckBoundary if self.mutant == Mutant::NoBoundaryCheck => Reply::Boundary(0),
            Request::CheckBoundary => Reply::Boundary(world.boundary),
            Request::ReadNewest { after } => {
                let newest = world.log.range(after + 1..).next_back();
                if let Some((_, entry)) = newest {
                    process.known = world.log.get(&entry.last_commit).and_then(|entry| entry.commit.clone());
                }
                Reply::Newest(newest.map(|(slot, entry)| (*slot, entry.seen())))
            }
            Request::CreateFence { .. } if self.mutant == Mutant::NoFence => Reply::Created,
            Request::CreateFence { slot, epoch, last_commit } => {
                let entry = Entry { epoch, nonce: process.nonce, last_commit, commit: None };
                self.create_with(world, slot, entry, fault)
            }
            Request::CreateCommit { slot, epoch } => {
                let commit = process.waiting.clone();
                let entry = Entry { epoch, nonce: process.nonce, last_commit: slot, commit };
                self.create_with(world, slot, entry, fault)
            }
            Request::ReadSlot { slot } => {
                let mut seen = world.log.get(&slot).map(Entry::seen);
                if let Some(commit) = world.log.get(&slot).and_then(|entry| entry.commit.clone())
                    && process.waiting.is_none()
                {
                    process.known = Some(commit);
                }
                if let Some(seen) = &mut seen {
                    match self.mutant {
                        Mutant::TakesItsOwnForSomeoneElses if seen.nonce == process.nonce => seen.nonce = 0,
                        Mutant::TakesSomeoneElsesForItsOwn => seen.nonce = process.nonce,
                        _ => {}
                    }
                }
                Reply::Slot(seen)
            }
            Request::Publish { slot } => {
                let recovers = process.owner.recovers();
                if !recovers {
                    process.known = process.waiting.take();
                }
                // A slot that is gone was cleaned by a later owner: this one will find out at its next commit.
                if let Some(commit) = world.log.get(&slot).and_then(|entry| entry.commit.clone()) {
                    process.known = Some(commit.clone());
                    let commit = if recovers && self.mutant == Mutant::RunsPluginsAgainInRecovery {
                        let content = commit.content.iter().map(|(record, _)| (*record, process.nonce)).collect();
                        Commit { content, ..commit }
                    } else {
                        commit
                    };
                    self.publish(world, slot, &commit)?;
                }
                Reply::Done
            }
            Request::Acknowledge { .. } => {
                let next = process.known.as_ref().map_or(0, |commit| commit.next);
                world.acknowledged = world.acknowledged.max(next);
                Reply::Done
            }
            Request::Discard { slot } => {
                let name = (process.owner.epoch(), process.nonce, slot);
                world.staged.remove(&name);
                Reply::Done
            }
            Request::SweepOrphans { epoch } => {
                let all = self.mutant == Mutant::SweepsItsSuccessors;
                world.staged.retain(|(owner, nonce, _)| *owner >= epoch && (!all || *nonce == process.nonce));
                Reply::Done
            }
            Request::MoveBoundary { through } => {
                world.boundary = world.boundary.max(through);
                Reply::Done
            }
            Request::DeleteLog { through } => {
                world.log.retain(|slot, _| *slot > through);
                Reply::Done
            }
            Request::Wait => {
                self.stage(world, &mut process)?;
                world.processes[at] = process;
                return Ok(());
            }
            Request::Stop => return Ok(()),
        };
        if reply == Reply::Unknown {
            world.lost_replies -= 1;
        }
        process.owner.observe(reply);
        if process.owner.request() == Request::Stop {
            self.check_reason_to_stop(world, &process)?;
        }
        world.processes[at] = process;
        match world.doubled() {
            Some(record) => Err(format!("doubled: record {record} in {world:?}")),
            None => Ok(()),
        }
    }

    /// Reads the next record, runs the plugins, stages the bytes.
    fn stage(&self, world: &mut World, process: &mut Process) -> Result<(), String> {
        let (first, slot) = (process.known.as_ref().map_or(0, |commit| commit.next), process.owner.next_slot());
        if first < world.acknowledged {
            // Acknowledged and not in the log that this owner reads: a stale owner, or a loss that completion will show.
            process.known = Some(Commit {
                next: world.acknowledged,
                key: world.acknowledged,
                staged: (0, 0, 0),
                content: Vec::new(),
                extends: 0,
            });
            return Ok(());
        }
        let staged = (process.owner.epoch(), process.nonce, slot);
        let output = (first, process.nonce);
        let grows = self.publishing != Publishing::Parts;
        let before = process.known.as_ref().filter(|_| grows);
        let mut content = before.map_or(Vec::new(), |commit| commit.content.clone());
        content.push(output);
        let key = if grows { 0 } else { first };
        let extends = if grows { process.owner.last_commit() } else { 0 };
        process.waiting = Some(Commit { next: first + 1, key, staged, content, extends });
        world.staged.insert(staged);
        if self.mutant == Mutant::AcknowledgesBeforeCommit {
            world.acknowledged = world.acknowledged.max(first + 1);
        }
        process.owner.commit();
        Ok(())
    }

    fn create_with(&self, world: &mut World, slot: Slot, entry: Entry, fault: Fault) -> Reply {
        match fault {
            Fault::None => self.create(world, slot, entry),
            Fault::ReplyLost => {
                self.create(world, slot, entry);
                Reply::Unknown
            }
            Fault::Late => {
                world.late = Some((slot, entry));
                Reply::Unknown
            }
        }
    }

    fn create(&self, world: &mut World, slot: Slot, entry: Entry) -> Reply {
        if world.log.contains_key(&slot) && self.mutant != Mutant::OverwritesSlots {
            return Reply::Exists;
        }
        world.log.insert(slot, entry);
        Reply::Created
    }

    /// Makes a commit's bytes visible; an error is a published file that changed.
    fn publish(&self, world: &mut World, slot: Slot, commit: &Commit) -> Result<(), String> {
        if !world.staged.contains(&commit.staged) {
            return Ok(());
        }
        let before = world.files.get(&commit.key).cloned();
        match self.publishing {
            Publishing::Parts => {}
            Publishing::Rename => {
                world.staged.remove(&commit.staged);
            }
            Publishing::ReplaceIfMatch if before.as_ref().map_or(0, |(_, by)| *by) != commit.extends => return Ok(()),
            Publishing::ReplaceIfMatch => {}
        }
        if let Some((old, _)) = &before
            && !commit.content.starts_with(old)
        {
            return Err(format!("changed: {old:?} became {:?} in {world:?}", commit.content));
        }
        world.files.insert(commit.key, (commit.content.clone(), slot));
        Ok(())
    }

    /// An owner stops only where another one took over.
    fn check_reason_to_stop(&self, world: &World, process: &Process) -> Result<(), String> {
        let taken =
            world.log.values().any(|entry| entry.nonce != process.nonce && entry.epoch >= process.owner.epoch());
        if taken { Ok(()) } else { Err(format!("stopped for no reason: {process:?} in {world:?}")) }
    }
}

/// Sixty-four bits tell a million worlds apart with a chance of error below one in ten million.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

impl Entry {
    fn seen(&self) -> Seen {
        Seen { epoch: self.epoch, nonce: self.nonce, last_commit: self.last_commit }
    }
}

const EVERY_PUBLISHING: [Publishing; 3] = [Publishing::Parts, Publishing::ReplaceIfMatch, Publishing::Rename];

fn assert_caught(mutant: Mutant, how: &str) {
    let found: Vec<_> = EVERY_PUBLISHING
        .iter()
        .filter_map(|publishing| Model { mutant, publishing: *publishing }.search().violation)
        .collect();
    assert!(!found.is_empty(), "{mutant:?} was not caught");
    assert!(found.iter().any(|violation| violation.starts_with(how)), "{mutant:?} was caught by {}", found[0]);
}

#[test]
fn no_interleaving_loses_doubles_or_changes_a_record() {
    for publishing in EVERY_PUBLISHING {
        let found = Model { mutant: Mutant::None, publishing }.search();
        assert_eq!(found.violation, None, "{publishing:?}");
        assert!(found.states > 30_000, "the search visited {} states only", found.states);
        println!("{publishing:?}: {} states", found.states);
    }
}

#[test]
fn an_owner_without_a_fence_is_caught() {
    assert_caught(Mutant::NoFence, "changed");
}

#[test]
fn an_owner_that_does_not_check_the_boundary_is_caught() {
    assert_caught(Mutant::NoBoundaryCheck, "changed");
}

#[test]
fn overwriting_slots_instead_of_creating_them_is_caught() {
    assert_caught(Mutant::OverwritesSlots, "");
}

#[test]
fn acknowledging_before_the_commit_is_caught() {
    assert_caught(Mutant::AcknowledgesBeforeCommit, "lost");
}

#[test]
fn taking_ones_own_entry_for_someone_elses_is_caught() {
    assert_caught(Mutant::TakesItsOwnForSomeoneElses, "stopped for no reason");
}

#[test]
fn taking_someone_elses_entry_for_ones_own_is_caught() {
    assert_caught(Mutant::TakesSomeoneElsesForItsOwn, "");
}

#[test]
fn running_plugins_again_in_recovery_is_caught() {
    assert_caught(Mutant::RunsPluginsAgainInRecovery, "changed");
}

#[test]
fn sweeping_what_a_successor_staged_is_caught() {
    assert_caught(Mutant::SweepsItsSuccessors, "lost");
}
