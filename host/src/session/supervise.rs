//! Keeps an export at work: logs why it failed, notes how it is for `lakeport status`, and, with `--follow`, runs it again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Session;
use crate::clock::Surroundings;
use crate::commit::{Health, HealthState};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::pipeline::{PARTITION, Tables};
use crate::plan::{ExportPlan, Input};
use crate::telemetry::{ExportReport, Live, human};

/// The wait after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a note may take: the store may be what failed.
const NOTE_TIME: Duration = Duration::from_secs(5);

impl Session {
    /// Runs one export to its end. One that follows its source and fails for a reason of the source or the lake runs again,
    /// after a pause, until it ends for another reason or `stop` turns true.
    pub(super) async fn supervise(
        self,
        export: Arc<ExportPlan>,
        settle: Option<watch::Sender<bool>>,
        tables: Tables,
        live: Arc<Live>,
        mut stop: watch::Receiver<bool>,
    ) -> ExportReport {
        let name = export.name.clone();
        let started = Instant::now();
        let follows = self.options.follow;
        // One export's only error is shown at the end of the run.
        let logs = follows || self.plan.exports.len() > 1;
        let notes = Arc::new(Notes::new(&self, export.clone()));
        let mut whole = ExportReport { export: name.clone(), ..ExportReport::default() };
        let mut failures = 0;
        let mut begins_again = self.options.again.contains(&name);
        loop {
            live.at_work.send_replace(false);
            let mut at_work = live.at_work.subscribe();
            let session = self.clone();
            let (tables, live, stopped) = (tables.clone(), live.clone(), stop.clone());
            // A task of its own: an export that dies takes no other with it.
            let mut attempt = match begins_again {
                true => tokio::spawn(session.begin_again(export.clone(), tables, live, stopped)),
                false => {
                    let notes = notes.clone();
                    tokio::spawn(session.run_one(export.clone(), settle.clone(), tables, live, stopped, notes))
                }
            };
            let mut is_healthy = false;
            let ended = loop {
                tokio::select! {
                    ended = &mut attempt => break ended,
                    Ok(_) = at_work.wait_for(|at_work| *at_work), if follows && !begins_again && !is_healthy => {
                        is_healthy = true;
                        if failures > 0 {
                            tracing::info!(export = name, "at work again after {failures} failed attempts");
                        }
                        failures = 0;
                        notes.note(HealthState::Healthy, None).await;
                    }
                }
            };
            let report = ended.unwrap_or_else(|panic| ExportReport {
                error: Some(Error::internal(format!("the export died: {panic}"))),
                ..ExportReport::default()
            });
            whole.absorb(report);
            whole.seconds = started.elapsed().as_secs_f64();
            let Some(error) = whole.error.clone() else {
                if std::mem::take(&mut begins_again) {
                    continue;
                }
                notes.clear().await;
                return whole;
            };
            let restarts = follows && may_pass(&error, &export) && !*stop.borrow();
            if !restarts {
                if logs && error.kind != Kind::Interrupted {
                    tracing::error!(export = name, "{}", one_line(&error));
                }
                notes.note_end(&error).await;
                return whole;
            }
            failures += 1;
            let pause = pause(failures, (self.surroundings.chance)());
            tracing::error!(
                export = name,
                "{}; trying again in {}",
                one_line(&error),
                human::seconds(pause.as_secs_f64())
            );
            if failures == 1 {
                notes.note(HealthState::Waiting, Some(one_line(&error))).await;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Where nobody is left who could stop it, the pause decides.
                Ok(_) = stop.wait_for(|stop| *stop) => return whole,
            }
            whole.restarts += 1;
        }
    }
}

/// Whether a failure may pass by itself. What came from standard input and was not committed cannot be read again.
fn may_pass(error: &Error, export: &ExportPlan) -> bool {
    matches!(error.kind, Kind::Source | Kind::Lake) && !matches!(export.source.input, Input::Stdin { .. })
}

/// The pause after so many failures in a row; `chance` takes up to half of it away, so that exports of one store do not
/// come back together.
fn pause(failures: u32, chance: u64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let taken = f64::from(u32::try_from(chance >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX) / 2.0;
    doubled.mul_f64(1.0 - taken)
}

/// An error for a line of a log: its message, and what to do.
fn one_line(error: &Error) -> String {
    match &error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message.clone(),
    }
}

/// Notes of how one export is, in its lake. Nothing depends on them: where the lake does not take one, the log has it all the same.
pub(super) struct Notes {
    export: Arc<ExportPlan>,
    surroundings: Surroundings,
    writer: String,
    began: DateTime<Utc>,
    follows: bool,
    /// The export's own lake, once it was opened.
    pub(super) lake: OnceLock<Lake>,
}

impl Notes {
    pub(super) fn new(session: &Session, export: Arc<ExportPlan>) -> Self {
        let surroundings = session.surroundings.clone();
        Notes {
            export,
            began: now(&surroundings),
            surroundings,
            writer: session.options.writer.clone(),
            follows: session.options.follow,
            lake: OnceLock::new(),
        }
    }

    async fn note(&self, state: HealthState, reason: Option<String>) {
        let health = Health { state, since: now(&self.surroundings), reason, writer: self.writer.clone() };
        self.try_to(async { health.write(&self.lake().await?, &self.export.name, PARTITION).await }).await;
    }

    async fn note_end(&self, error: &Error) {
        match error.kind {
            // The new owner may have ended by now; a run that ends by itself needs no note of it.
            Kind::Fenced if self.follows => self.note(HealthState::Replaced, Some(one_line(error))).await,
            Kind::Fenced | Kind::Interrupted => {}
            _ => self.note(HealthState::Failed, Some(one_line(error))).await,
        }
    }

    /// An export that ended well leaves no note, unless another process has made one since.
    async fn clear(&self) {
        let before = if self.follows { now(&self.surroundings) } else { self.began };
        self.try_to(async { Health::clear(&self.lake().await?, &self.export.name, PARTITION, before).await }).await;
    }

    async fn lake(&self) -> Result<Lake> {
        match self.lake.get() {
            Some(lake) => Ok(lake.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_vary() {
        let longest: Vec<_> = (1..9).map(|failures| pause(failures, 0).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX, u64::MAX), LONGEST_PAUSE / 2);
    }

    #[test]
    fn what_a_person_has_to_change_is_not_tried_again() {
        let plan = |source: &str| {
            let text = format!("[sources.s]\n{source}\n[exports.e]\nsource = \"s\"\n");
            crate::config::tests::parse(&text).unwrap().exports.remove(0)
        };
        let (files, stdin) = (plan("files = \"x\""), plan("stdin = true"));
        assert!(may_pass(&Error::lake("down"), &files) && may_pass(&Error::source("gone"), &files));
        for error in [Error::config("x"), Error::plugin("x"), Error::internal("x"), Error::new(Kind::Data, "x")] {
            assert!(!may_pass(&error, &files), "{error:?}");
        }
        assert!(!may_pass(&Error::lake("down"), &stdin), "what was read from the pipe is gone");
    }
}
