//! Publishing on the pretended lake, one store request a step as `commit/publish.rs` makes them, and the user who comes in
//! its way.

use super::{Commit, Model, Mutant, Output, Process, Publishing, State, World};
use crate::commit::protocol::{Reply, Slot};

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct File {
    pub(super) content: Vec<Output>,
    /// The slot of the commit that wrote it.
    pub(super) version: u64,
    /// A user has written it, or written to it since: it is another version, and of another length.
    pub(super) is_edited: bool,
}

/// The next request of a publishing that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Step {
    #[default]
    Begin,
    /// List what is staged and what is published, in a recovery.
    Look,
    /// Replace the base, or create the part.
    Put,
    /// See in the log whether this owner was replaced.
    ReadLog,
    /// List the parts.
    List,
    /// See in the log once more whether this owner was replaced, before this part is created.
    ReadLogAgain(u8),
    /// Create this part.
    Create(u8),
    /// Delete what was staged for what is published.
    DeleteStaged,
}

impl Model {
    /// Finds out what is to be published.
    pub(super) fn begin_publishing(&self, world: &World, process: &mut Process, slot: Slot) {
        let recovers = process.owner.recovers();
        if !recovers {
            process.known = process.waiting.take();
        }
        // A slot that is gone was cleaned by a later owner: this one will find out at its next commit.
        if let Some(mut commit) = world.log.get(&slot).and_then(|entry| entry.commit.clone()) {
            if recovers && self.mutant == Mutant::RunsPluginsAgainInRecovery {
                commit.content.iter_mut().for_each(|(_, by)| *by = process.nonce);
            }
            process.known = Some(commit);
            process.step = if recovers { Step::Look } else { Step::Put };
        }
    }

    /// Carries out the next request; an error is a published file that changed. Answers with the publishing's reply once it has ended.
    pub(super) fn publish(
        &self,
        world: &mut World,
        process: &mut Process,
        slot: Slot,
    ) -> Result<Option<Reply>, String> {
        let Some(commit) = process.known.clone() else { return Ok(Some(Reply::Done)) };
        match process.step {
            Step::Begin => return Ok(Some(Reply::Done)),
            Step::Look => {
                if !world.staged.contains(&commit.staged) {
                    self.look_after(world, process);
                    return Ok(Some(Reply::Done));
                }
                process.step = Step::Put;
                if self.mutant != Mutant::MovesOnTwice
                    && let Some(part) = self.find(world, &commit)
                {
                    self.settle(process, part);
                }
            }
            Step::Put => {
                let there = world.files.get(&commit.part);
                if there.is_some_and(|file| !file.is_edited && file.content == commit.content) {
                    process.step = Step::DeleteStaged;
                    return Ok(None);
                }
                let found = there.map(|file| (file.version, file.is_edited));
                let is_as_expected = match (self.publishing, commit.base) {
                    // S3 cannot copy if absent: what is there is overwritten, with the same bytes.
                    (Publishing::Parts, _) => true,
                    (_, None) if self.mutant == Mutant::OverwritesUnknownFiles => true,
                    (_, base) => found == base.map(|(_, version)| (version, false)),
                };
                if world.staged.contains(&commit.staged) && is_as_expected {
                    self.write(world, commit.part, &commit, commit.content.clone(), slot)?;
                    process.step = Step::DeleteStaged;
                    return Ok(None);
                }
                process.step = Step::ReadLog;
            }
            Step::ReadLog => {
                if self.is_replaced(world, process, slot) {
                    return Ok(Some(self.replaced()));
                }
                if !world.staged.contains(&commit.staged) {
                    return match process.owner.recovers() {
                        true => Ok(Some(Reply::Done)),
                        false => Err(format!("lost: what was staged for {slot} in {world:?}")),
                    };
                }
                process.step = Step::List;
            }
            Step::List => {
                if self.mutant != Mutant::MovesOnTwice
                    && let Some(part) = self.find(world, &commit)
                {
                    self.settle(process, part);
                    return Ok(None);
                }
                let last = world.files.keys().max().copied().unwrap_or(0);
                process.step = Step::ReadLogAgain(last.max(commit.part) + 1);
            }
            Step::ReadLogAgain(part) => {
                if self.mutant != Mutant::DoesNotLookAgain && self.is_replaced(world, process, slot) {
                    return Ok(Some(self.replaced()));
                }
                process.step = Step::Create(part);
            }
            Step::Create(part) => {
                let alone = self.alone(&commit);
                match world.files.get(&part) {
                    Some(file) if file.content == alone => {}
                    Some(_) => {
                        process.step = Step::List;
                        return Ok(None);
                    }
                    None => self.write(world, part, &commit, alone, slot)?,
                }
                self.settle(process, part);
            }
            Step::DeleteStaged => {
                if self.mutant != Mutant::KeepsWhatItStaged {
                    world.staged.remove(&commit.staged);
                }
                world.unsettled.remove(&slot);
                return Ok(Some(Reply::Done));
            }
        }
        Ok(None)
    }

    /// Everything that a user may do next.
    pub(super) fn interventions(&self, world: &World) -> Vec<World> {
        let mut out = Vec::new();
        if world.edits == 0 {
            return out;
        }
        let mut next = world.clone();
        next.edits -= 1;
        let free = world.files.keys().max().map_or(0, |last| last + 1);
        next.files.insert(free, File { content: Vec::new(), version: 0, is_edited: true });
        out.push(next);
        for (part, file) in &world.files {
            // Between two requests, one right after the other, what is published is still staged, and cannot be told from what is not
            // published once it is moved or edited: a crash just then would publish it again. `docs/commit-log.md` says so.
            if file.is_edited || world.unsettled.contains(&file.version) {
                continue;
            }
            let mut next = world.clone();
            next.edits -= 1;
            next.moved.extend(next.files.remove(part).map(|file| file.content));
            out.push(next);
            let mut next = world.clone();
            next.edits -= 1;
            next.files.get_mut(part).expect("it was there above").is_edited = true;
            out.push(next);
        }
        out
    }

    /// The reply of an owner that was replaced and has not published.
    fn replaced(&self) -> Reply {
        if self.mutant == Mutant::DiscardsThoughReplaced { Reply::Done } else { Reply::Replaced }
    }

    /// Whether the log says that another owner took over after the commit in `slot`.
    fn is_replaced(&self, world: &World, process: &Process, slot: Slot) -> bool {
        let newest = world.log.range(slot + 1..).next_back();
        newest.is_some_and(|(_, entry)| entry.nonce != process.nonce) && self.mutant != Mutant::MovesOnThoughReplaced
    }

    /// What is new of a commit: what the next part holds.
    fn alone(&self, commit: &Commit) -> Vec<Output> {
        let from = commit.base.map_or(0, |(length, _)| length);
        let from = if self.mutant == Mutant::RepeatsTheBase { 0 } else { from };
        commit.content[from..].to_vec()
    }

    /// The later part that holds what is new.
    fn find(&self, world: &World, commit: &Commit) -> Option<u8> {
        let alone = self.alone(commit);
        let mut later = world.files.range(commit.part + 1..);
        later.find(|(_, file)| !file.is_edited && file.content == alone).map(|(part, _)| *part)
    }

    /// Notes where the bytes are.
    fn settle(&self, process: &mut Process, part: u8) {
        process.step = Step::DeleteStaged;
        let commit = process.known.as_mut().expect("it is being published");
        let length = commit.content.len() - commit.base.map_or(0, |(length, _)| length);
        let parts = commit.state.parts.max(part + 1);
        commit.state = State { parts, tail: commit.state.tail.map(|_| (part, length)) };
    }

    /// Notes what is known where nothing is staged any more: it was published.
    fn look_after(&self, world: &World, process: &mut Process) {
        let commit = process.known.as_mut().expect("it is being published");
        let is_there = |file: &File| !file.is_edited && file.content.len() == commit.content.len();
        if !world.files.get(&commit.part).is_some_and(is_there) {
            let last = world.files.keys().max().map_or(0, |last| last + 1);
            commit.state = State { parts: commit.state.parts.max(last), tail: None };
        }
    }

    /// Writes a part; an error is a published file that changed.
    fn write(
        &self,
        world: &mut World,
        part: u8,
        commit: &Commit,
        content: Vec<Output>,
        slot: Slot,
    ) -> Result<(), String> {
        if let Some(before) = world.files.get(&part)
            && (before.is_edited || !content.starts_with(&before.content))
        {
            return Err(format!("changed: {before:?} became {content:?} in {world:?}"));
        }
        if self.publishing == Publishing::Rename {
            world.staged.remove(&commit.staged);
        } else {
            world.unsettled.insert(slot);
        }
        world.files.insert(part, File { content, version: slot, is_edited: false });
        Ok(())
    }
}
