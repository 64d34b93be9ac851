//! The partition of a run: looked at until there is something to commit, then taken over and committed to by a task of its own.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::died;
use super::ownership::{HoldSender, HoldState};
use crate::commit::{Outcome, Partition};
use crate::error::Result;
use crate::pipeline::committer::{Commits, Ended, commit_all, overtaken};

/// Keeps the partition of a run.
pub(super) struct Keeper {
    hold: HoldSender,
    state: Option<State>,
}

enum State {
    Looking(Box<(Partition, mpsc::Receiver<Ended>, Commits)>),
    Committing(JoinHandle<Result<()>>),
}

impl Keeper {
    /// Keeps a partition that was looked at. Spans come from `ended` once there are some.
    pub(super) fn new(partition: Partition, ended: mpsc::Receiver<Ended>, commits: Commits, hold: HoldSender) -> Self {
        Keeper { hold, state: Some(State::Looking(Box::new((partition, ended, commits)))) }
    }

    /// Takes the partition over unless that was done, and starts to commit. Returns where this owner stages, the first time.
    ///
    /// # Errors
    /// Of kind `Fenced` where another owner has committed since the partition was looked at, `Lake`.
    pub(super) async fn begin(&mut self) -> Result<Option<String>> {
        let (mut partition, ended, commits) = match self.state.take() {
            Some(State::Looking(looking)) => *looking,
            state => {
                self.state = state;
                return Ok(None);
            }
        };
        if !partition.is_taken_over() {
            self.hold.set(HoldState::TakingOver);
            let seen = partition.last().map(|last| last.series.clone());
            if partition.take_over_as_seen().await? == Outcome::Overtaken {
                return Err(overtaken(None));
            }
            // Taking over finds files that somebody has moved or edited since: they go on as the next part.
            if let Some(last) = partition.last().filter(|last| Some(&last.series) != seen.as_ref()) {
                let series = Arc::new(last.series.clone());
                commits.published.send_modify(|published| published.series = series);
            }
        }
        self.hold.set(HoldState::Committing);
        let stage_root = partition.stage_root();
        self.state = Some(State::Committing(tokio::spawn(commit_all(partition, ended, commits))));
        Ok(Some(stage_root))
    }

    /// Waits for the commits of everything that was sent, whose sender is gone.
    ///
    /// # Errors
    /// Those of the commits.
    pub(super) async fn end(self) -> Result<()> {
        if let Some(State::Committing(committer)) = self.state {
            committer.await.map_err(|e| died(&e))??;
            self.hold.set(HoldState::Published);
        }
        Ok(())
    }
}
