//! The pretended lake, its processes and its user.

use std::collections::{BTreeMap, BTreeSet};

use super::SLACK;
use super::publishing::{File, Step};
use crate::commit::protocol::{Owner, Seen, Slot};

/// How a published file comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publishing {
    /// Numbered parts by copying: each commit its own key.
    Parts,
    /// One growing file, replaced if it is still the version it extends.
    ReplaceIfMatch,
    /// One growing file, replaced by renaming the staged one.
    Rename,
}

/// What an attempt wrote for a record.
pub(super) type Output = (u8, u128);
/// Epoch, owner and slot: unique to one attempt.
pub(super) type StagedName = (u64, u128, Slot);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) epoch: u64,
    pub(super) nonce: u128,
    pub(super) last_commit: Slot,
    pub(super) commit: Option<Commit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Commit {
    pub(super) next: u8,
    /// The part that it becomes.
    pub(super) part: u8,
    pub(super) staged: StagedName,
    pub(super) content: Vec<Output>,
    /// How much of the content is the base's, and its version; `None` where it begins a part.
    pub(super) base: Option<(usize, u64)>,
    pub(super) state: State,
}

/// What a commit says of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    /// Parts begun.
    pub(super) parts: u8,
    /// The part that may grow, and its length.
    pub(super) tail: Option<(u8, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) owner: Owner,
    pub(super) nonce: u128,
    /// The last commit as this process knows it.
    pub(super) known: Option<Commit>,
    /// What was staged and waits for its commit.
    pub(super) waiting: Option<Commit>,
    /// How far the publishing is that is under way.
    pub(super) step: Step,
    /// The owner of the newest entry, as this process found it.
    pub(super) newest: u128,
    /// It has ended, and removes what it staged where another owner is there.
    pub(super) withdraws: bool,
    /// It has ended, or found nothing to do and left.
    pub(super) is_gone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) boundary: Slot,
    pub(super) log: BTreeMap<Slot, Entry>,
    pub(super) staged: BTreeSet<StagedName>,
    /// By part.
    pub(super) files: BTreeMap<u8, File>,
    /// Commits whose file is published, and of which nothing was deleted since that was staged.
    pub(super) unsettled: BTreeSet<Slot>,
    /// What a user moved away.
    pub(super) moved: Vec<Vec<Output>>,
    /// How often the user may still interfere.
    pub(super) edits: u8,
    /// Records that the source has forgotten.
    pub(super) acknowledged: u8,
    /// The owner that noted last that it ended, with everything published.
    pub(super) ended: u128,
    pub(super) processes: Vec<Process>,
    pub(super) crashes: u8,
    pub(super) lost_replies: u8,
    /// A create whose reply was lost and that has not arrived yet.
    pub(super) late: Option<(Slot, Entry)>,
    pub(super) nonces: u128,
}

impl Process {
    fn new(nonce: u128, owner: Owner) -> Process {
        let step = Step::default();
        Process { owner, nonce, known: None, waiting: None, step, newest: 0, withdraws: false, is_gone: false }
    }

    /// Ends; what it knew does not matter any more.
    pub(super) fn leave(&mut self) {
        *self = Process { is_gone: true, ..Process::new(self.nonce, Owner::new(self.nonce, SLACK)) };
    }

    /// Ends, and has what it staged to look after.
    pub(super) fn withdraw(&mut self) {
        *self = Process { withdraws: true, ..Process::new(self.nonce, Owner::withdrawing(self.nonce)) };
    }
}

impl World {
    pub(super) fn new(edits: u8) -> Self {
        let mut world = World {
            boundary: 0,
            log: BTreeMap::new(),
            staged: BTreeSet::new(),
            files: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            acknowledged: 0,
            ended: 0,
            processes: Vec::new(),
            moved: Vec::new(),
            edits,
            crashes: 1,
            lost_replies: u8::from(edits == 0),
            late: None,
            nonces: 0,
        };
        world.processes = vec![world.fresh(), world.fresh()];
        world
    }

    pub(super) fn fresh(&mut self) -> Process {
        self.nonces += 1;
        Process::new(self.nonces, Owner::new(self.nonces, SLACK))
    }

    /// Whether a process has staged something for which it has not begun to withdraw.
    pub(super) fn has_staged(&self, process: &Process) -> bool {
        !process.withdraws && self.staged.iter().any(|(_, owner, _)| *owner == process.nonce)
    }

    /// Every record at most once, over all files.
    pub(super) fn doubled(&self) -> Option<u8> {
        let mut seen = BTreeSet::new();
        self.records().find(|record| !seen.insert(*record))
    }

    /// The records in all files, those that a user moved away included.
    pub(super) fn records(&self) -> impl Iterator<Item = u8> {
        let contents = self.files.values().map(|file| &file.content).chain(&self.moved);
        contents.flatten().map(|(record, _)| *record)
    }
}

impl Entry {
    pub(super) fn seen(&self) -> Seen {
        Seen { epoch: self.epoch, nonce: self.nonce, last_commit: self.last_commit }
    }
}
