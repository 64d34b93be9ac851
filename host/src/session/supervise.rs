//! Keeps an export at work: logs why it failed, notes how it is for `lakeport status`, and, with `--follow`, runs it again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::notes::Notes;
use super::{Session, one_line};
use crate::commit::HealthState;
use crate::error::{Error, Kind};
use crate::lake::Outage;
use crate::pipeline::{HoldState, Tables, WhenOwned};
use crate::plan::{ExportPlan, Input};
use crate::telemetry::{ExportReport, Live, State, human};
use crate::wait::until;

/// The wait after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
        let started = Instant::now();
        let notes = Arc::new(Notes::new(&self, export.clone()));
        let mut whole = ExportReport { export: export.name.clone(), ..ExportReport::default() };
        let mut failures = 0;
        let mut begins_again = self.options.again.contains(&export.name);
        let mut session = self.clone();
        loop {
            live.at_work.send_replace(false);
            let (attempt, export) = (session.clone(), export.clone());
            let (tables, counts, stopped, noted) = (tables.clone(), live.clone(), stop.clone(), notes.clone());
            let mut watched = Watched::new(&session, &export, (notes.clone(), live.clone()), begins_again, failures);
            // A task of its own: an export that dies takes no other with it.
            let attempt = match (begins_again, self.options.period) {
                (true, Some(period)) => {
                    let of = (export.clone(), period);
                    tokio::spawn(attempt.export_period_again(of, tables, counts, stopped, noted))
                }
                (true, None) => tokio::spawn(attempt.begin_again(export.clone(), tables, counts, stopped, noted)),
                (false, _) => {
                    tokio::spawn(attempt.run_one(export.clone(), settle.clone(), tables, counts, stopped, noted))
                }
            };
            whole.absorb(watched.until_it_ends(attempt).await);
            whole.seconds = started.elapsed().as_secs_f64();
            whole.retries = live.retries.count();
            failures = watched.failures;
            let Some(error) = whole.error.clone() else {
                // What is new since it was begun anew, a run of its own exports.
                if std::mem::take(&mut begins_again) {
                    continue;
                }
                live.set(State::Ended, None);
                notes.note_end(None).await;
                return whole;
            };
            if !self.restarts(&error, &export, begins_again) || *stop.borrow() {
                self.log_end(&export, &error);
                let state = if error.kind == Kind::Interrupted { State::Ended } else { State::Failed };
                live.set(state, Some(one_line(&error)));
                notes.note_end(Some(&error)).await;
                return whole;
            }
            // Whoever has taken it over meanwhile is not taken over in turn.
            session.options.when_owned = WhenOwned::StandBy;
            failures += 1;
            live.set(State::Waiting, Some(one_line(&error)));
            if self.wait(&notes, &export, &error, failures, &mut stop).await.is_break() {
                notes.note_end(Some(&error)).await;
                return whole;
            }
            whole.restarts += 1;
            Live::add(&live.restarts, 1);
        }
    }

    /// Whether an export that ended with `error` runs again. Exporting a period again reads what is there already: what its source
    /// lacks does not come by waiting.
    fn restarts(&self, error: &Error, export: &ExportPlan, begins_again: bool) -> bool {
        let stands_by = error.kind == Kind::Fenced && self.options.when_owned == WhenOwned::StandBy;
        let waits = !(begins_again && self.options.period.is_some()) || error.kind == Kind::Lake;
        self.options.follow && (stands_by || waits && may_pass(error, export))
    }

    /// Logs why an export ended. One export's only error is shown at the end of the run.
    fn log_end(&self, export: &ExportPlan, error: &Error) {
        let is_shown = !self.options.follow && self.plan.exports.len() == 1;
        if !is_shown && error.kind != Kind::Interrupted {
            tracing::error!(export = export.name, "{}", one_line(error));
        }
    }

    /// Says that an export is tried again, and waits until then; breaks off where the run is stopped.
    async fn wait(
        &self,
        notes: &Notes,
        export: &ExportPlan,
        error: &Error,
        failures: u32,
        stop: &mut watch::Receiver<bool>,
    ) -> ControlFlow<()> {
        let pause = pause(failures, (self.surroundings.chance)());
        let again = human::seconds(pause.as_secs_f64());
        tracing::error!(export = export.name, "{}; trying again in {again}", one_line(error));
        notes.note(HealthState::Waiting, Some(one_line(error))).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => ControlFlow::Continue(()),
            // Where nobody is left who could stop it, the pause decides.
            Ok(()) = until(stop, |stop| *stop) => ControlFlow::Break(()),
        }
    }
}

/// An attempt at an export while it is at work, and what was noted of it.
struct Watched {
    name: String,
    notes: Arc<Notes>,
    live: Arc<Live>,
    follows: bool,
    /// It begins the export anew: its commits go to the log beside.
    begins_again: bool,
    /// Failed attempts before it; none once it is at work.
    failures: u32,
    is_healthy: bool,
    /// It waits for its store, and has said so.
    is_waiting: bool,
    stands_by: bool,
    /// Commits up to the last sign of life.
    commits: u64,
}

impl Watched {
    fn new(
        session: &Session,
        export: &ExportPlan,
        (notes, live): (Arc<Notes>, Arc<Live>),
        begins_again: bool,
        failures: u32,
    ) -> Self {
        Watched {
            name: export.name.clone(),
            follows: session.options.follow,
            begins_again,
            failures,
            is_healthy: false,
            is_waiting: false,
            stands_by: false,
            commits: live.commits.load(Ordering::Relaxed),
            notes,
            live,
        }
    }

    /// Waits for the attempt to end, and notes meanwhile how it is.
    async fn until_it_ends(&mut self, mut attempt: JoinHandle<ExportReport>) -> ExportReport {
        let mut at_work = self.live.at_work.subscribe();
        let mut hold = self.notes.hold.subscribe();
        let half = self.notes.half_interval();
        let mut renew = tokio::time::interval_at(Instant::now() + half, half);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let retries = self.live.retries.clone();
        let ended = loop {
            let may_get_healthy = self.follows && !self.begins_again && !self.is_healthy;
            tokio::select! {
                ended = &mut attempt => break ended,
                Ok(()) = hold.changed() => {
                    let state = hold.borrow_and_update().state.clone();
                    if let HoldState::StandingBy(sign) = &state {
                        self.live.set(State::StandingBy, Some(format!("`{}` runs it", sign.writer)));
                    }
                    self.note_standby(matches!(state, HoldState::StandingBy(_))).await;
                }
                _ = renew.tick() => self.give_sign().await,
                Ok(()) = until(&mut at_work, |at_work| *at_work), if may_get_healthy => self.note_work().await,
                outage = retries.changed(self.is_waiting), if self.follows => self.note_outage(outage).await,
            }
        };
        if self.stands_by {
            self.notes.end_standby().await;
        }
        ended.unwrap_or_else(|panic| ExportReport {
            error: Some(Error::internal(format!("the export died: {panic}"))),
            ..ExportReport::default()
        })
    }

    async fn note_standby(&mut self, stands_by: bool) {
        match (std::mem::replace(&mut self.stands_by, stands_by), stands_by) {
            (false, true) => self.notes.renew(false).await,
            (true, false) => self.notes.end_standby().await,
            _ => {}
        }
    }

    /// Gives a sign of life, unless there was one: a commit is one, where it did not go to the log beside.
    async fn give_sign(&mut self) {
        let before = std::mem::replace(&mut self.commits, self.live.commits.load(Ordering::Relaxed));
        let has_committed = before != self.commits && !self.begins_again;
        // What waits for its store has said so.
        if !has_committed && !self.is_waiting {
            self.notes.renew(self.is_healthy).await;
        }
    }

    async fn note_work(&mut self) {
        self.is_healthy = true;
        let failures = std::mem::take(&mut self.failures);
        if failures > 0 {
            tracing::info!(export = self.name, "at work again after {failures} failed attempts");
        }
        self.notes.note(HealthState::Healthy, None).await;
    }

    async fn note_outage(&mut self, outage: Option<Outage>) {
        self.is_waiting = outage.is_some();
        match outage {
            Some(outage) => self.notes.note_outage(outage.reason).await,
            None => self.notes.note(HealthState::Healthy, None).await,
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
