//! Looking at a partition, and taking it over.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Identity, Outcome, Partition, SLACK};
use crate::commit::health::Health;
use crate::commit::log::partition_folder;
use crate::commit::presence::{Sign, at_work};
use crate::commit::protocol::{Owner, Reply, Request};
use crate::error::Result;
use crate::lake::Lake;
use crate::source::Position;

/// What a look at a partition found of other owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The process that is at work on it; `None` where there is none, as far as can be seen.
    pub at_work: Option<Sign>,
    /// Everything that was committed is published, and nothing is left to clean up: an owner with nothing to commit need not take
    /// the partition over.
    pub is_published: bool,
}

impl Partition {
    /// Looks at the partition: reads its log and writes nothing.
    ///
    /// `acknowledge` is told the position of every commit that this owner makes, once it is published.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn look(
        lake: Lake,
        export: &str,
        partition: &str,
        identity: Identity,
        acknowledge: impl Fn(&Position) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut this = Partition {
            folder: partition_folder(&lake, export, partition),
            lake,
            export: export.to_owned(),
            partition: partition.to_owned(),
            owner: Owner::new(identity.nonce, SLACK),
            identity,
            newest: None,
            last: None,
            waiting: None,
            acknowledge: Box::new(acknowledge),
            has_passed_over: AtomicBool::new(false),
        };
        let _ = this.drive().await?;
        Ok(this)
    }

    /// Looks at the partition once more.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn look_again(&mut self) -> Result<()> {
        self.owner.observe(Reply::LookAgain);
        self.drive().await.map(drop)
    }

    /// What the last look found of other owners.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn standing(&self) -> Result<Standing> {
        // Read after the log: an owner that has ended by then has written its last entry.
        let note = Health::read(&self.lake, &self.export, &self.partition).await?;
        let ended = note.as_ref().and_then(|note| note.ended).filter(|ended| ended.is_published);
        let newest = self.newest.as_ref();
        Ok(Standing {
            at_work: at_work(newest.and_then(|(_, sign)| sign.as_ref()), note.as_ref(), self.lake.now()),
            is_published: newest.is_none_or(|(owner, _)| ended.is_some_and(|ended| ended.owner == *owner)),
        })
    }

    /// Takes over what was looked at, as [`Partition::take_over`]; changes nothing where another owner has come since.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn take_over_as_seen(&mut self) -> Result<Outcome> {
        let seen = self.newest.as_ref().map(|(owner, _)| *owner);
        let last = self.last.as_ref().map(|(_, digest)| digest.clone());
        self.look_again().await?;
        if self.newest.as_ref().map(|(owner, _)| *owner) != seen {
            return Ok(Outcome::Overtaken);
        }
        let taken = self.take_over().await?;
        let is_same = self.last.as_ref().map(|(_, digest)| digest) == last.as_ref();
        Ok(if is_same { taken } else { Outcome::Overtaken })
    }

    /// How long ago a sign of life was given, by the store's clock.
    pub fn age(&self, sign: &Sign) -> Duration {
        sign.age(self.lake.now())
    }

    /// Takes the partition over: fences older owners, publishes what the last one committed, sweeps what it left.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn take_over(&mut self) -> Result<Outcome> {
        // More than once where the log moved on so far that the fence stood before its boundary.
        while self.owner.request() == Request::Decide {
            self.owner.observe(Reply::TakeOver);
            if self.drive().await? == Outcome::Overtaken {
                return Ok(Outcome::Overtaken);
            }
        }
        Ok(Outcome::Done)
    }
}
