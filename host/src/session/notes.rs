//! Notes in the lake of how one export is, for `lakeport status` and for other processes that might take it over.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Session;
use crate::clock::Surroundings;
use crate::commit::{Author, Ended, Health, HealthState, at_work, newest_owner};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::pipeline::{HoldSender, HoldState};
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
        if before.as_ref().is_some_and(|before| before.owner != Some(hold.owner)) {
            let is_owner = is_held
                && newest_owner(&lake, &self.export.name, &self.export.partition)
                    .await?
                    .is_some_and(|(owner, _)| owner == hold.owner);
            let other = at_work(None, before.as_ref(), lake.now());
            let is_overtaken = is_held && !is_owner && state != HealthState::Replaced;
            if is_overtaken || !is_owner && other.is_some() {
                tracing::info!(export = self.export.name, "another process runs this export: what it notes stays");
                return Ok(());
            }
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

fn now(surroundings: &Surroundings) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(surroundings.clock.now()).unwrap_or_default()
}
