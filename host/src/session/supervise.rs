//! Keeps an export at work: logs why it failed, notes how it is for `lakeport status`, and, with `--follow`, runs it again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::notes::Notes;
use super::{Session, one_line};
use crate::commit::HealthState;
use crate::error::{Error, Kind};
use crate::pipeline::{HoldState, Tables, WhenOwned};
use crate::plan::{ExportPlan, Input};
use crate::telemetry::{ExportReport, Live, human};

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
        let name = export.name.clone();
        let started = Instant::now();
        let follows = self.options.follow;
        // One export's only error is shown at the end of the run.
        let logs = follows || self.plan.exports.len() > 1;
        let notes = Arc::new(Notes::new(&self, export.clone()));
        let mut whole = ExportReport { export: name.clone(), ..ExportReport::default() };
        let mut failures = 0;
        let mut begins_again = self.options.again.contains(&name);
        let mut session = self.clone();
        loop {
            live.at_work.send_replace(false);
            let mut at_work = live.at_work.subscribe();
            let mut hold = notes.hold.subscribe();
            let retries = live.retries.clone();
            let (tables, counts, stopped, notes) = (tables.clone(), live.clone(), stop.clone(), notes.clone());
            // A task of its own: an export that dies takes no other with it.
            let (attempt, again) = (session.clone(), export.clone());
            let mut attempt = match begins_again {
                true => tokio::spawn(attempt.begin_again(again, tables, counts, stopped, notes.clone())),
                false => tokio::spawn(attempt.run_one(again, settle.clone(), tables, counts, stopped, notes.clone())),
            };
            let (mut is_healthy, mut is_waiting) = (false, false);
            let mut stands_by = false;
            let mut commits = live.commits.load(Ordering::Relaxed);
            let mut renew = tokio::time::interval_at(Instant::now() + notes.half_interval(), notes.half_interval());
            renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let ended = loop {
                tokio::select! {
                    ended = &mut attempt => break ended,
                    Ok(()) = hold.changed() => {
                        let stood_by = std::mem::replace(
                            &mut stands_by,
                            matches!(hold.borrow_and_update().state, HoldState::StandingBy(_)),
                        );
                        match (stood_by, stands_by) {
                            (false, true) => notes.renew(false).await,
                            (true, false) => notes.end_standby().await,
                            _ => {}
                        }
                    }
                    _ = renew.tick() => {
                        // A commit is a sign of life as well, unless it went to the log beside.
                        let before = std::mem::replace(&mut commits, live.commits.load(Ordering::Relaxed));
                        let gave_sign = before != commits && !begins_again;
                        // What waits for its store has said so.
                        if !gave_sign && !is_waiting {
                            notes.renew(is_healthy).await;
                        }
                    }
                    Ok(_) = at_work.wait_for(|at_work| *at_work), if follows && !begins_again && !is_healthy => {
                        is_healthy = true;
                        if failures > 0 {
                            tracing::info!(export = name, "at work again after {failures} failed attempts");
                        }
                        failures = 0;
                        notes.note(HealthState::Healthy, None).await;
                    }
                    outage = retries.changed(is_waiting), if follows => {
                        is_waiting = outage.is_some();
                        match outage {
                            Some(outage) => notes.note_outage(outage.reason).await,
                            None => notes.note(HealthState::Healthy, None).await,
                        }
                    }
                }
            };
            let report = ended.unwrap_or_else(|panic| ExportReport {
                error: Some(Error::internal(format!("the export died: {panic}"))),
                ..ExportReport::default()
            });
            whole.absorb(report);
            whole.seconds = started.elapsed().as_secs_f64();
            whole.retries = retries.count();
            if stands_by {
                notes.end_standby().await;
            }
            let Some(error) = whole.error.clone() else {
                if std::mem::take(&mut begins_again) {
                    continue;
                }
                notes.note_end(None).await;
                return whole;
            };
            let stands_by = error.kind == Kind::Fenced && self.options.when_owned == WhenOwned::StandBy;
            let restarts = follows && (stands_by || may_pass(&error, &export)) && !*stop.borrow();
            if !restarts {
                if logs && error.kind != Kind::Interrupted {
                    tracing::error!(export = name, "{}", one_line(&error));
                }
                notes.note_end(Some(&error)).await;
                return whole;
            }
            // Whoever has taken it over meanwhile is not taken over in turn.
            session.options.when_owned = WhenOwned::StandBy;
            failures += 1;
            let pause = pause(failures, (self.surroundings.chance)());
            tracing::error!(
                export = name,
                "{}; trying again in {}",
                one_line(&error),
                human::seconds(pause.as_secs_f64())
            );
            notes.note(HealthState::Waiting, Some(one_line(&error))).await;
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
