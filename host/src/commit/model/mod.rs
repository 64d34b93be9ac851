//! The protocol's proof: every interleaving of two owners' store requests, with a crash and a lost reply, on a pretended lake.
//!
//! The owners are [`super::protocol::Owner`]s, the very code that runs; only the lake, the source and the plugins are made up.
//! Three records, one a span. A plugin that is not deterministic is modelled by tagging what an attempt wrote with the
//! attempt. Each [`Mutant`] breaks one rule where the driver would carry it out, and its test shows that the search then finds
//! a lost, doubled or changed record: so the search would notice if the rule were gone.
//!
//! A search may have a user too, who moves or edits a published file, or puts one where the next part would be, at any time
//! (`publishing.rs`).

mod publishing;
mod tests;
mod world;

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use self::publishing::Step;
use self::world::{Commit, Entry, Output, Process, Publishing, State, World};
use super::protocol::{Reply, Request, Seen, Slot};

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
    /// Goes to the next part without a look at whether an earlier attempt did.
    MovesOnTwice,
    /// Takes what is at a new part's key for nobody's.
    OverwritesUnknownFiles,
    /// Goes to the next part without a look at the log.
    MovesOnThoughReplaced,
    /// Looks at the log before it lists the parts, and not after.
    DoesNotLookAgain,
    /// Deletes what it staged once its whole commit is published, and not once the file is.
    KeepsWhatItStaged,
    /// Deletes what it staged though another owner has to publish it.
    DiscardsThoughReplaced,
    /// Writes the whole file once more as the next part, not only what is new.
    RepeatsTheBase,
    LeavesUnpublished,
    EndsBeforePublishing,
    TakesALostLogForANewOne,
    /// Deletes everything that it staged when it withdraws, also what the last commit names.
    SweepsItsCommits,
    /// Withdraws though no other owner is there.
    WithdrawsThoughNotReplaced,
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
    /// How often a user interferes. Replies are not lost then: the search would take hours.
    edits: u8,
}

impl Model {
    fn search(&self) -> Found {
        let mut seen = HashSet::new();
        let mut queue = vec![World::new(self.edits)];
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
            if world.processes[at].owner.request() == Request::Decide {
                let mut next = world.clone();
                let process = &mut next.processes[at];
                process.owner.observe(Reply::LookAgain);
                (process.known, process.newest) = (None, 0);
                out.push(next);
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
            if world.crashes > 0 && self.edits == 0 && world.has_staged(&world.processes[at]) {
                // It gives up, as where its store does not answer. Another one is left, and one that comes at the end.
                let mut next = world.clone();
                next.crashes -= 1;
                next.processes[at].withdraw();
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
        } else {
            out.extend(self.interventions(world));
        }
        Ok(out)
    }

    /// Whether a process has nothing more to do.
    fn idle(&self, world: &World, at: usize) -> bool {
        let process = &world.processes[at];
        process.is_gone || matches!(process.owner.request(), Request::Stop | Request::Lost { .. })
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
        let published: BTreeSet<_> = world.records().collect();
        let missing: Vec<_> = (0..RECORDS).filter(|record| !published.contains(record)).collect();
        if !missing.is_empty() {
            return Err(format!("lost: records {missing:?} of {world:?}"));
        }
        self.check_lost_log(world)
    }

    /// Somebody empties the log: where slots were deleted before, an owner must not take it for a new one.
    fn check_lost_log(&self, mut world: World) -> Result<(), String> {
        if world.boundary == 0 {
            return Ok(());
        }
        world.log.clear();
        let finds = world.fresh();
        world.processes = vec![finds];
        for _ in 0..10 {
            if self.idle(&world, 0) {
                break;
            }
            self.step(&mut world, 0, Fault::None)?;
        }
        match world.processes[0].owner.request() {
            Request::Lost { .. } => Ok(()),
            request => Err(format!("took a lost log for a new one: {request:?} in {world:?}")),
        }
    }

    /// Carries out the next request of process `at`, in one atomic step.
    fn step(&self, world: &mut World, at: usize, fault: Fault) -> Result<(), String> {
        let mut process = world.processes[at].clone();
        let request = process.owner.request();
        let is_done = |process: &Process| process.known.as_ref().is_some_and(|commit| commit.next == RECORDS);
        let reply = match request {
            Request::ReadBoundary => Reply::Boundary(world.boundary),
            Request::CheckBoundary if self.mutant == Mutant::NoBoundaryCheck => Reply::Boundary(0),
            Request::CheckBoundary => Reply::Boundary(world.boundary),
            Request::ReadNewest { after } if self.mutant == Mutant::TakesALostLogForANewOne && world.log.is_empty() => {
                Reply::Newest(Some((after, Seen { epoch: 0, nonce: 0, last_commit: 0 })))
            }
            Request::ReadNewest { after } => {
                let newest = world.log.range(after + 1..).next_back();
                process.newest = newest.map_or(0, |(_, entry)| entry.nonce);
                if let Some((_, entry)) = newest {
                    process.known = world.log.get(&entry.last_commit).and_then(|entry| entry.commit.clone());
                }
                let mut newest = newest.map(|(slot, entry)| (*slot, entry.seen()));
                if process.withdraws && self.mutant == Mutant::WithdrawsThoughNotReplaced {
                    newest = newest.map(|(slot, seen)| (slot, Seen { nonce: 0, ..seen }));
                }
                Reply::Newest(newest)
            }
            Request::Decide => {
                let is_published = world.ended == process.newest || self.mutant == Mutant::LeavesUnpublished;
                if is_done(&process) && is_published {
                    world.processes[at].leave();
                    return Ok(());
                }
                process.newest = 0;
                Reply::TakeOver
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
                if self.mutant == Mutant::EndsBeforePublishing {
                    world.ended = process.nonce;
                }
                if process.step == Step::Begin {
                    self.begin_publishing(world, &mut process, slot);
                }
                let Some(reply) = self.publish(world, &mut process, slot)? else {
                    world.processes[at] = process;
                    return self.check(world);
                };
                process.step = Step::Begin;
                reply
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
            Request::SweepOwn => {
                let named = process.known.as_ref().map(|commit| commit.staged);
                let named = named.filter(|_| self.mutant != Mutant::SweepsItsCommits);
                world.staged.retain(|name| name.1 != process.nonce || Some(*name) == named);
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
            Request::Wait if is_done(&process) => {
                world.ended = process.nonce;
                world.processes[at].leave();
                return Ok(());
            }
            Request::Wait => {
                self.stage(world, &mut process)?;
                world.processes[at] = process;
                return Ok(());
            }
            Request::Stop | Request::Lost { .. } => return Ok(()),
        };
        if reply == Reply::Unknown {
            world.lost_replies -= 1;
        }
        process.owner.observe(reply);
        if process.owner.request() == Request::Stop {
            if !process.withdraws {
                self.check_reason_to_stop(world, &process)?;
            }
            match process.withdraws || !world.has_staged(&process) {
                true => process.leave(),
                false => process.withdraw(),
            }
        }
        world.processes[at] = process;
        self.check(world)
    }

    fn check(&self, world: &World) -> Result<(), String> {
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
            let state = process.known.as_ref().map_or(State::default(), |commit| commit.state);
            process.known = Some(Commit {
                next: world.acknowledged,
                part: world.acknowledged,
                staged: (0, 0, 0),
                content: Vec::new(),
                base: None,
                state,
            });
            return Ok(());
        }
        let staged = (process.owner.epoch(), process.nonce, slot);
        let output = (first, process.nonce);
        let mut state = process.known.as_ref().map_or(State::default(), |commit| commit.state);
        // A tail that somebody moved or edited is not extended: the next part begins.
        let base = state.tail.and_then(|(part, length)| {
            world.files.get(&part).filter(|file| !file.is_edited && file.content.len() == length)
        });
        let mut content = base.map_or(Vec::new(), |file| file.content.clone());
        let part = match (base, state.tail) {
            (Some(_), Some((part, _))) => part,
            _ => state.parts,
        };
        let base = base.map(|file| (file.content.len(), file.version));
        content.push(output);
        state.parts = state.parts.max(part + 1);
        state.tail = (self.publishing != Publishing::Parts).then_some((part, content.len()));
        process.waiting = Some(Commit { next: first + 1, part, staged, content, base, state });
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
