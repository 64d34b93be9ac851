//! Whether a run takes its partition over: what it does while another process is at work on it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::interrupted;
use crate::commit::{Partition, Sign};
use crate::error::{Error, Kind, Result};
use crate::telemetry::human;
use crate::wait::until;

/// How often a run that waits looks whether the owner is still at work.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The answer to another process that is at work on an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenOwned {
    /// End with an error, and leave it alone.
    #[default]
    Refuse,
    /// Wait until it has ended or is silent.
    StandBy,
    /// Take over at once.
    TakeOver,
}

/// How far a run has its partition, for whoever supervises it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// The run's nonce; 0 before it begins.
    pub owner: u128,
    pub state: HoldState,
}

/// A state of [`Hold`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HoldState {
    /// It has written nothing.
    #[default]
    Looking,
    /// It waits for the owner that gave this sign of life.
    StandingBy(Sign),
    /// It writes its fence, and publishes what others committed.
    TakingOver,
    /// It commits and publishes.
    Committing,
    /// What it and the owners before it committed is published.
    Published,
}

impl HoldState {
    /// Whether the partition is the run's own, or about to be.
    pub fn is_held(&self) -> bool {
        matches!(self, HoldState::TakingOver | HoldState::Committing | HoldState::Published)
    }
}

/// Where a run tells how far it has its partition.
#[derive(Debug, Clone, Default)]
pub struct HoldSender(watch::Sender<Hold>);

impl HoldSender {
    /// Tells of a run that begins.
    pub fn begin(&self, owner: u128) {
        self.0.send_replace(Hold { owner, state: HoldState::Looking });
    }

    /// Tells how far it is.
    pub fn set(&self, state: HoldState) {
        self.0.send_if_modified(|hold| {
            let has_changed = hold.state != state;
            hold.state = state;
            has_changed
        });
    }

    /// How far it is.
    pub fn get(&self) -> Hold {
        self.0.borrow().clone()
    }

    /// Learns how far it is.
    pub fn subscribe(&self) -> watch::Receiver<Hold> {
        self.0.subscribe()
    }
}

/// Returns when the partition of `export` may be taken over: whether everything in it is published.
///
/// # Errors
/// Of kind `Fenced` where another process is at work on it and `when_owned` says to leave it alone then, `Interrupted` where `stop`
/// turns true while it waits, `Lake`.
pub async fn wait_for_owner(
    export: &str,
    partition: &mut Partition,
    when_owned: WhenOwned,
    hold: &HoldSender,
    mut stop: watch::Receiver<bool>,
) -> Result<bool> {
    let mut waited_for: Option<(Sign, Instant)> = None;
    loop {
        // Without a new sign for so long an owner is silent, whatever the clocks show.
        let is_silent = |sign: &Sign| {
            let (before, since) = waited_for.as_ref()?;
            (before == sign).then(|| since.elapsed() >= sign.author.patience())
        };
        let standing = partition.standing().await?;
        let Some(sign) = standing.at_work.filter(|sign| is_silent(sign) != Some(true)) else {
            if let Some((before, _)) = waited_for {
                tracing::warn!(export, "`{}` has ended or is silent: taking over", before.writer);
                hold.set(HoldState::Looking);
            }
            return Ok(standing.is_published);
        };
        let seen = format!("last seen at work {} ago", human::seconds(partition.age(&sign).as_secs_f64()));
        match when_owned {
            WhenOwned::Refuse => return Err(is_owned(&sign, &seen)),
            WhenOwned::TakeOver => {
                tracing::warn!(export, "taking over from `{}`, {seen}", sign.writer);
                return Ok(false);
            }
            WhenOwned::StandBy => {}
        }
        if waited_for.as_ref().is_none_or(|(before, _)| before.owner != sign.owner) {
            let (writer, patience) = (&sign.writer, human::seconds(sign.author.patience().as_secs_f64()));
            tracing::warn!(
                export,
                "standing by: `{writer}` runs this export, {seen}; taking over when it ends or is silent for {patience}"
            );
        }
        if waited_for.as_ref().is_none_or(|(before, _)| *before != sign) {
            hold.set(HoldState::StandingBy(sign.clone()));
            waited_for = Some((sign, Instant::now()));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Ok(()) = until(&mut stop, |stop| *stop) => return Err(interrupted()),
        }
        partition.look_again().await?;
    }
}

/// The error of a run whose export another process runs.
fn is_owned(sign: &Sign, seen: &str) -> Error {
    let patience = human::seconds(sign.author.patience().as_secs_f64());
    Error::new(Kind::Fenced, format!("`{}` (host:process) runs this export, {seen}", sign.writer)).with_help(format!(
        "leave it to that one, or stop it; `--standby` waits until it ends or is silent for {patience}, `--take-over` ends it"
    ))
}
