//! The commit protocol's decisions, as a state machine that does no I/O.
//!
//! An [`Owner`] says which request comes next ([`Owner::request`]) and is told how it went ([`Owner::observe`]); the driver
//! (`partition.rs`) carries requests out on a lake, and the model (`model.rs`) carries them out on a pretended one, in every
//! order in which two owners can interleave, crash and lose replies. What the model proves is this code.
//!
//! The log is a row of slots, counted from 1, each created once and never changed: a fence or a commit. An owner
//!
//! 1. reads the boundary and lists the log after it, and is asked whether to take the log over (an owner that is at work, or
//!    nothing to do, are reasons not to),
//! 2. creates a fence in the next slot: from then on no older owner can commit,
//! 3. publishes the last commit again, in case its owner could not,
//! 4. sweeps away what dead attempts staged,
//! 5. then, for each span: creates the commit, checks the boundary, publishes, acknowledges, deletes what is superfluous then,
//! 6. and now and then moves the boundary on and deletes the slots up to it.
//!
//! Staged objects carry their owner's epoch, and a sweep touches older epochs only: an owner that was replaced while it swept
//! must not take away what its successor staged. What is staged is deleted only after it was published, and then at once, so an
//! object whose staged bytes are gone is one that was published.
//!
//! An owner that was replaced withdraws ([`Owner::withdrawing`]): it reads the log once more, and deletes what it staged and the
//! last commit does not name. Where its own entry is the newest, it deletes nothing: a commit of its own may still arrive.
//!
//! The boundary matters because a deleted slot can be created again: whoever creates one at or before the boundary is an owner
//! that slept through its own replacement.

/// A place in the log. The first is 1; 0 is before the log.
pub type Slot = u64;

/// How many of the newest slots are never deleted: the last commit may stand before the fence of its successor.
const KEEP: u64 = 2;

/// What the protocol looks at in a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Rises with every owner.
    pub epoch: u64,
    /// Tells owners apart.
    pub nonce: u128,
    /// For commits, the last commit in the log when this entry was made is this entry; for fences, the one it names.
    pub last_commit: Slot,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Find the boundary: [`Reply::Boundary`].
    ReadBoundary,
    /// Find and read the newest entry after `after`: [`Reply::Newest`].
    ReadNewest { after: Slot },
    /// Decide whether to take the log over: [`Reply::TakeOver`], or [`Reply::LookAgain`] after a while. Nothing was written yet, and
    /// an owner that stops here leaves nothing behind.
    Decide,
    /// Create `slot` as a fence unless it is there: [`Reply::Created`], [`Reply::Exists`] or [`Reply::Unknown`].
    CreateFence { slot: Slot, epoch: u64, last_commit: Slot },
    /// Read `slot`: [`Reply::Slot`].
    ReadSlot { slot: Slot },
    /// Find the boundary again, to see whether this owner was replaced: [`Reply::Boundary`].
    CheckBoundary,
    /// Create `slot` as the waiting span's commit unless it is there: replies as for a fence.
    CreateCommit { slot: Slot, epoch: u64 },
    /// Make the objects of the commit in `slot` visible, from their pinned bytes, and delete what was staged for each:
    /// [`Reply::Done`] or [`Reply::Replaced`].
    Publish { slot: Slot },
    /// Tell the source that the commit in `slot` is final: [`Reply::Done`].
    Acknowledge { slot: Slot },
    /// Delete what the commit in `slot` made superfluous, now that it is published: [`Reply::Done`].
    Discard { slot: Slot },
    /// Delete what owners before `epoch` staged and no commit needs any more: [`Reply::Done`].
    SweepOrphans { epoch: u64 },
    /// Delete what this owner staged and the last commit does not name: [`Reply::Done`].
    SweepOwn,
    /// Move the boundary to `through`: [`Reply::Done`].
    MoveBoundary { through: Slot },
    /// Delete the slots up to `through`: [`Reply::Done`].
    DeleteLog { through: Slot },
    /// Nothing: a span may be committed ([`Owner::commit`]).
    Wait,
    /// Nothing, ever: another owner has taken over, or this one has withdrawn.
    Stop,
    /// Nothing, ever: the log is empty behind its boundary. Only a loss can explain it, since the newest slots are never deleted.
    Lost { boundary: Slot },
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    Boundary(Slot),
    /// The newest entry; `None` where the log is empty after the boundary.
    Newest(Option<(Slot, Seen)>),
    TakeOver,
    LookAgain,
    Created,
    Exists,
    /// The request failed and may or may not have been carried out, now or later.
    Unknown,
    Slot(Option<Seen>),
    Done,
    /// Not done: another owner took over, and needs what is staged to do it.
    Replaced,
}

impl Request {
    /// The name of the request's fail point.
    pub fn name(&self) -> &'static str {
        match self {
            Request::ReadBoundary => "read-boundary",
            Request::ReadNewest { .. } => "read-newest",
            Request::Decide => "decide",
            Request::CreateFence { .. } => "create-fence",
            Request::ReadSlot { .. } => "read-slot",
            Request::CheckBoundary => "check-boundary",
            Request::CreateCommit { .. } => "create-commit",
            Request::Publish { .. } => "publish",
            Request::Acknowledge { .. } => "acknowledge",
            Request::Discard { .. } => "discard",
            Request::SweepOrphans { .. } => "sweep-orphans",
            Request::SweepOwn => "sweep-own",
            Request::MoveBoundary { .. } => "move-boundary",
            Request::DeleteLog { .. } => "delete-log",
            Request::Wait | Request::Stop | Request::Lost { .. } => "wait",
        }
    }
}

/// One owner of one partition's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    nonce: u128,
    epoch: u64,
    /// Where the log is known to end: the next entry goes here.
    next: Slot,
    last_commit: Slot,
    boundary: Slot,
    /// Slots after the boundary that may stand before they are deleted.
    slack: u64,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    ReadBoundary,
    ReadNewest,
    /// Once more, where the log was empty behind the boundary.
    ReadBoundaryAgain,
    ReadNewestAgain,
    Lost,
    Decide,
    CreateFence,
    ReadFence,
    CheckFence,
    Republish,
    SweepOrphans,
    Ready,
    CreateCommit,
    ReadCommit,
    CheckCommit,
    Publish,
    Acknowledge,
    Discard,
    MoveBoundary,
    DeleteLog,
    /// Whether another owner is there.
    ReadSuccessor,
    SweepOwn,
    Stopped,
}

impl Owner {
    /// An owner that has done nothing yet. `slack`: how many slots may stand before older ones are deleted.
    pub fn new(nonce: u128, slack: u64) -> Self {
        Owner { nonce, epoch: 0, next: 0, last_commit: 0, boundary: 0, slack, step: Step::ReadBoundary }
    }

    /// What is left to do for the owner `nonce`, which has ended and may have been replaced.
    pub fn withdrawing(nonce: u128) -> Self {
        Owner { step: Step::ReadSuccessor, ..Owner::new(nonce, 0) }
    }

    /// What to do next. The same until [`Owner::observe`] or [`Owner::commit`] is called.
    pub fn request(&self) -> Request {
        match self.step {
            Step::ReadBoundary | Step::ReadBoundaryAgain => Request::ReadBoundary,
            Step::ReadNewest | Step::ReadNewestAgain | Step::ReadSuccessor => {
                Request::ReadNewest { after: self.boundary }
            }
            Step::Lost => Request::Lost { boundary: self.boundary },
            Step::Decide => Request::Decide,
            Step::CreateFence => {
                Request::CreateFence { slot: self.next, epoch: self.epoch, last_commit: self.last_commit }
            }
            Step::ReadFence | Step::ReadCommit => Request::ReadSlot { slot: self.next },
            Step::CheckFence | Step::CheckCommit => Request::CheckBoundary,
            Step::Republish | Step::Publish => Request::Publish { slot: self.last_commit },
            Step::SweepOrphans => Request::SweepOrphans { epoch: self.epoch },
            Step::SweepOwn => Request::SweepOwn,
            Step::Discard => Request::Discard { slot: self.last_commit },
            Step::Ready => Request::Wait,
            Step::CreateCommit => Request::CreateCommit { slot: self.next, epoch: self.epoch },
            Step::Acknowledge => Request::Acknowledge { slot: self.last_commit },
            Step::MoveBoundary => Request::MoveBoundary { through: self.deletable() },
            Step::DeleteLog => Request::DeleteLog { through: self.boundary },
            Step::Stopped => Request::Stop,
        }
    }

    /// Takes in how the last request went.
    pub fn observe(&mut self, reply: Reply) {
        self.step = match (self.step, reply) {
            (Step::ReadBoundary, Reply::Boundary(boundary)) => {
                self.boundary = boundary;
                Step::ReadNewest
            }
            (Step::ReadBoundaryAgain, Reply::Boundary(boundary)) => {
                // The log may have moved on between the two requests.
                let has_moved = std::mem::replace(&mut self.boundary, boundary) != boundary;
                if has_moved { Step::ReadNewest } else { Step::ReadNewestAgain }
            }
            (Step::ReadNewest, Reply::Newest(None)) if self.boundary > 0 => Step::ReadBoundaryAgain,
            (Step::ReadNewestAgain, Reply::Newest(None)) if self.boundary > 0 => Step::Lost,
            (Step::ReadNewest | Step::ReadNewestAgain, Reply::Newest(newest)) => {
                let (slot, epoch, last) = newest.map_or((0, 0, 0), |(s, e)| (s, e.epoch, e.last_commit));
                (self.next, self.epoch, self.last_commit) = (slot + 1, epoch + 1, last);
                Step::Decide
            }
            (Step::Decide, Reply::TakeOver) => Step::CreateFence,
            (Step::Decide, Reply::LookAgain) => {
                *self = Owner::new(self.nonce, self.slack);
                Step::ReadBoundary
            }
            (Step::CreateFence, Reply::Created) => Step::CheckFence,
            // The slot may hold what was just written: only the nonce in it can tell.
            (Step::CreateFence, Reply::Exists | Reply::Unknown) => Step::ReadFence,
            (Step::ReadFence, Reply::Slot(None)) => Step::CreateFence,
            (Step::ReadFence, Reply::Slot(Some(seen))) if seen.nonce == self.nonce => Step::CheckFence,
            (Step::ReadFence, Reply::Slot(Some(seen))) if seen.epoch < self.epoch => {
                // The owner before was still at work: its commit counts, and the fence goes behind it.
                self.last_commit = seen.last_commit;
                self.next += 1;
                Step::CreateFence
            }
            (Step::ReadFence, Reply::Slot(Some(_))) => Step::Stopped,
            (Step::CheckFence, Reply::Boundary(boundary)) if boundary >= self.next => {
                // The log moved on since it was listed, and the fence stands in a deleted slot where it fences nobody.
                self.boundary = boundary;
                Step::ReadNewest
            }
            (Step::CheckFence, Reply::Boundary(_)) => {
                self.next += 1;
                if self.last_commit == 0 { Step::SweepOrphans } else { Step::Republish }
            }
            (Step::Republish | Step::Publish, Reply::Replaced) => Step::Stopped,
            (Step::Republish, Reply::Done) => Step::SweepOrphans,
            (Step::SweepOrphans, Reply::Done) => Step::Ready,
            (Step::CreateCommit, Reply::Created) => Step::CheckCommit,
            (Step::CreateCommit, Reply::Exists | Reply::Unknown) => Step::ReadCommit,
            (Step::ReadCommit, Reply::Slot(None)) => Step::CreateCommit,
            (Step::ReadCommit, Reply::Slot(Some(seen))) if seen.nonce == self.nonce => Step::CheckCommit,
            (Step::ReadCommit, Reply::Slot(Some(_))) => Step::Stopped,
            (Step::CheckCommit, Reply::Boundary(boundary)) if boundary >= self.next => Step::Stopped,
            (Step::CheckCommit, Reply::Boundary(_)) => {
                self.last_commit = self.next;
                self.next += 1;
                Step::Publish
            }
            (Step::Publish, Reply::Done) => Step::Acknowledge,
            (Step::Acknowledge, Reply::Done) => Step::Discard,
            (Step::Discard, Reply::Done) if self.deletable() >= self.boundary + self.slack => Step::MoveBoundary,
            (Step::Discard, Reply::Done) => Step::Ready,
            (Step::MoveBoundary, Reply::Done) => {
                self.boundary = self.deletable();
                Step::DeleteLog
            }
            (Step::DeleteLog, Reply::Done) => Step::Ready,
            (Step::ReadSuccessor, Reply::Newest(Some((_, seen)))) if seen.nonce != self.nonce => Step::SweepOwn,
            (Step::ReadSuccessor, Reply::Newest(_)) | (Step::SweepOwn, Reply::Done) => Step::Stopped,
            (step, reply) => unreachable!("the driver answered {step:?} with {reply:?}"),
        };
    }

    /// Starts to commit a span.
    ///
    /// # Panics
    /// Where [`Owner::request`] is not [`Request::Wait`].
    pub fn commit(&mut self) {
        assert!(self.step == Step::Ready, "a span is committed while the owner does {:?}", self.step);
        self.step = Step::CreateCommit;
    }

    /// The slot of the last commit; 0 before the first.
    pub fn last_commit(&self) -> Slot {
        self.last_commit
    }

    /// The slot that the next commit goes to.
    pub fn next_slot(&self) -> Slot {
        self.next
    }

    /// This owner's epoch, once it has listed the log.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether this owner is publishing what another one committed.
    pub fn recovers(&self) -> bool {
        self.step == Step::Republish
    }

    /// The newest slot that may be deleted: neither one of the newest nor the last commit.
    fn deletable(&self) -> Slot {
        (self.next - 1).saturating_sub(KEEP).min(self.last_commit.saturating_sub(1))
    }
}
