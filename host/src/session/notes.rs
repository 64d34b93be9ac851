//! Notes in the lake of how one export is, for `lakeport status` and for other processes that might take it over.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Session;
use crate::clock::Surroundings;
use crate::commit::{Author, Ended, Health, HealthState, NewestOwner, at_work, newest_owner};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::pipeline::{Hold, HoldSender, HoldState};
use crate::plan::ExportPlan;

/// How long a note may take: the store may be what failed.
const NOTE_TIME: Duration = Duration::from_secs(5);
/// Runs that end well and have nothing to export renew their note only after this long.
const ENDED_FOR: Duration = Duration::from_secs(3_600);

/// Notes of how one export is, in its lake. Exactly-once does not depend on them: where the lake does not take one, the log has it
/// all the same.
pub(super) struct Notes {
    export: Arc<ExportPlan>,
    surroundings: Surroundings,
    writer: String,
    author: Author,
    follows: bool,
    /// How far the run that is under way has its partition.
    pub(super) hold: HoldSender,
    /// The export's own lake, once it was opened.
    pub(super) lake: OnceLock<Lake>,
}

impl Notes {
    pub(super) fn new(session: &Session, export: Arc<ExportPlan>) -> Self {
        Notes {
            author: Author::this(export.flush.every),
            export,
            surroundings: session.surroundings.clone(),
            writer: session.options.writer.clone(),
            follows: session.options.follow,
            hold: HoldSender::default(),
            lake: OnceLock::new(),
        }
    }

    /// Half of the time between two signs of life.
    pub(super) fn half_interval(&self) -> Duration {
        self.author.interval() / 2
    }

    /// Notes that the export is at work, or that it stands by.
    pub(super) async fn renew(&self, is_healthy: bool) {
        match self.hold.get().state {
            HoldState::StandingBy(sign) => {
                let reason = format!("`{}` runs it", sign.writer);
                self.try_to(self.write_standby(reason)).await;
            }
            HoldState::TakingOver | HoldState::Committing | HoldState::Published => {
                self.note(HealthState::Healthy, None).await
            }
            HoldState::Looking if is_healthy => self.note(HealthState::Healthy, None).await,
            HoldState::Looking => {}
        }
    }

    /// Notes that it stands by no longer.
    pub(super) async fn end_standby(&self) {
        self.try_to(async {
            Health::clear_standby(&self.lake().await?, &self.export.name, &self.export.partition).await
        })
        .await;
    }

    /// Notes a state, and that the run has ended where the state says so.
    pub(super) async fn note(&self, state: HealthState, reason: Option<String>) {
        self.try_to(self.write(state, reason, state == HealthState::Healthy)).await;
    }

    /// Notes that the run waits for its lake. It is at work all the same.
    pub(super) async fn note_outage(&self, reason: String) {
        self.try_to(self.write(HealthState::Waiting, Some(reason), true)).await;
    }

    /// Notes how the export ended.
    pub(super) async fn note_end(&self, error: Option<&Error>) {
        let state = self.hold.get().state;
        let held = state.is_held();
        match error {
            None if matches!(state, HoldState::StandingBy(_)) => {}
            None => self.note(HealthState::Ended, None).await,
            Some(error) if error.kind == Kind::Interrupted && held => {
                self.note(HealthState::Ended, Some(super::one_line(error))).await;
            }
            Some(error) if error.kind == Kind::Interrupted => {}
            // The new owner may have ended by now; a run that ends by itself needs no note of it.
            Some(error) if error.kind == Kind::Fenced => {
                if self.follows && held {
                    self.note(HealthState::Replaced, Some(super::one_line(error))).await;
                }
            }
            Some(error) => self.note(HealthState::Failed, Some(super::one_line(error))).await,
        }
    }

    async fn write(&self, state: HealthState, reason: Option<String>, is_at_work: bool) -> Result<()> {
        let (lake, hold) = (self.lake().await?, self.hold.get());
        let before = Health::read(&lake, &self.export.name, &self.export.partition).await?;
        let is_held = hold.state.is_held();
        let newest = newest_owner(&lake, &self.export.name, &self.export.partition).await?;
        if is_anothers(&hold, state, newest.as_ref(), before.as_ref(), lake.now()) {
            tracing::info!(export = self.export.name, "another process runs this export: what it notes stays");
            return Ok(());
        }
        let ended = (!is_at_work && is_held)
            .then_some(Ended { owner: hold.owner, is_published: hold.state == HoldState::Published });
        let same = before.as_ref().filter(|before| before.state == state && before.writer == self.writer);
        if let (HealthState::Ended, Some(before), None) = (state, &before, ended)
            && before.state == state
            && before.noted.is_some_and(|noted| (lake.now() - noted).to_std().is_ok_and(|age| age < ENDED_FOR))
        {
            return Ok(());
        }
        let health = Health {
            state,
            since: same.map_or_else(|| now(&self.surroundings), |before| before.since),
            reason,
            writer: self.writer.clone(),
            owner: Some(hold.owner),
            author: Some(self.author.clone()),
            ended: ended.or(before.and_then(|before| before.ended)),
            noted: None,
        };
        health.write(&lake, &self.export.name, &self.export.partition).await
    }

    async fn write_standby(&self, reason: String) -> Result<()> {
        let lake = self.lake().await?;
        let before = Health::read_standby(&lake, &self.export.name, &self.export.partition).await?;
        let same = before.filter(|before| before.writer == self.writer);
        let standby = Health {
            state: HealthState::Standby,
            since: same.map_or_else(|| now(&self.surroundings), |before| before.since),
            reason: Some(reason),
            writer: self.writer.clone(),
            owner: Some(self.hold.get().owner),
            author: Some(self.author.clone()),
            ended: None,
            noted: None,
        };
        standby.write_standby(&lake, &self.export.name, &self.export.partition).await
    }

    async fn lake(&self) -> Result<Lake> {
        match self.lake.get() {
            // A lake of its own: that a note has to wait is no outage of the export.
            Some(lake) => Ok(lake.for_notes()),
            None => Lake::open_for_notes(&self.export.lake).await,
        }
    }

    async fn try_to(&self, note: impl Future<Output = Result<()>>) {
        let name = &self.export.name;
        match tokio::time::timeout(NOTE_TIME, note).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(export = name, "its state cannot be noted in the lake: {error}"),
            Err(_) => {
                tracing::debug!(export = name, "its state cannot be noted in the lake: no answer in {NOTE_TIME:?}")
            }
        }
    }
}

/// Whether the note belongs to another run: to a newer owner, or to one that is at work, as its log or its own note tells.
fn is_anothers(
    hold: &Hold,
    state: HealthState,
    newest: Option<&NewestOwner>,
    before: Option<&Health>,
    now: DateTime<Utc>,
) -> bool {
    let Some(newest) = newest else { return at_work(None, before, now).is_some() };
    if newest.nonce == hold.owner {
        return false;
    }
    // Until the fence of one that takes over stands, the newest owner is the one before it.
    let is_owner = matches!(hold.state, HoldState::Committing | HoldState::Published);
    let is_overtaken = is_owner && state != HealthState::Replaced;
    is_overtaken || at_work(newest.sign.as_ref(), before, now).is_some()
}

fn now(surroundings: &Surroundings) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(surroundings.clock.now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Sign;

    const NOW: i64 = 10_000;

    /// A run of a process on another machine gave a sign of life so many seconds ago.
    fn newest(nonce: u128, ago: i64) -> NewestOwner {
        let author = Author { process: None, interval: 60 };
        let sign = Sign { owner: nonce, writer: "other:1".into(), author, time: time(NOW - ago) };
        NewestOwner { nonce, writer: "other:1".into(), sign: Some(sign) }
    }

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn note(owner: u128, ago: i64) -> Health {
        let author = Some(Author { process: None, interval: 60 });
        let noted = Some(time(NOW - ago));
        let (state, since, writer) = (HealthState::Healthy, time(0), "other:1".into());
        Health { state, since, reason: None, writer, owner: Some(owner), author, ended: None, noted }
    }

    fn yields(state: HoldState, newest: Option<NewestOwner>, before: Option<Health>) -> bool {
        let hold = Hold { owner: 1, state };
        is_anothers(&hold, HealthState::Failed, newest.as_ref(), before.as_ref(), time(NOW))
    }

    #[test]
    fn a_run_that_does_not_own_the_export_leaves_the_note_to_the_one_that_commits() {
        let standby = || HoldState::StandingBy(newest(2, 5).sign.unwrap());
        for state in [HoldState::Looking, standby()] {
            // An owner with much to commit renews no note: it has none, an old one, or one of a run before it.
            for before in [None, Some(note(2, 3_000)), Some(note(1, 5))] {
                assert!(yields(state.clone(), Some(newest(2, 5)), before));
            }
            assert!(yields(state.clone(), Some(newest(2, 3_000)), Some(note(2, 5))), "it has nothing to commit");
            assert!(!yields(state.clone(), Some(newest(2, 3_000)), Some(note(2, 3_000))), "it is silent");
            assert!(!yields(state, None, None), "there never was an owner");
        }
    }

    #[test]
    fn an_owner_notes_until_another_one_takes_over() {
        for state in [HoldState::TakingOver, HoldState::Committing, HoldState::Published] {
            assert!(!yields(state.clone(), Some(newest(1, 3_000)), Some(note(2, 5))), "of the one before it");
            assert!(yields(state.clone(), Some(newest(2, 5)), Some(note(1, 5))));
            let is_overtaken = yields(state.clone(), Some(newest(2, 3_000)), Some(note(1, 3_000)));
            assert_eq!(is_overtaken, state != HoldState::TakingOver, "the fence may not stand yet");
        }
        let hold = Hold { owner: 1, state: HoldState::Published };
        let replaced = |ago| is_anothers(&hold, HealthState::Replaced, Some(&newest(2, ago)), None, time(NOW));
        assert!(!replaced(3_000) && replaced(5), "that it was replaced is news where nobody is at work");
    }
}
