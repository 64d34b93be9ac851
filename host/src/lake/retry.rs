//! Retries of requests to a store, for as long as the lake's `retry-for`.
//!
//! This is the only place that retries: the clients below send each request once. A request without a response may have taken
//! effect, so every request is either idempotent or conditional. The store refuses the retry of a conditional request that took
//! effect, and the caller then reads the key and compares.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Lake;
use super::error::words;
use super::failure::Failure;
use crate::telemetry::{Durations, human};
use crate::wait::until;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The time between two log lines of one outage.
const REMINDER: Duration = Duration::from_secs(60);

/// How often one request is sent with a new credential: a key of several files may be read in the middle of its replacement.
const MAX_RENEWALS: usize = 3;

/// An outage that lasts as long is worth a note in the lake.
const LASTING: Duration = Duration::from_secs(5);

/// How long a retry may still take after the run was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A time during which requests of an export fail and are retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub began: Instant,
    /// The first request that failed, and why.
    pub reason: String,
}

/// Counts an export's requests and their retries, and tells whether it waits for the store.
#[derive(Debug, Default)]
pub struct Retries {
    /// How long each request took, by operation and result. Each try counts.
    pub durations: Durations,
    count: AtomicU64,
    waiting: watch::Sender<Waiting>,
}

/// The requests that wait for a retry.
#[derive(Debug, Default)]
struct Waiting {
    requests: usize,
    outage: Option<Outage>,
    /// The outage was logged.
    is_announced: bool,
    /// When the last line was logged.
    said: Option<Instant>,
}

impl Retries {
    /// Returns the number of retries so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the current outage.
    pub fn outage(&self) -> Option<Outage> {
        self.waiting.borrow().outage.clone()
    }

    /// Waits until an outage has lasted for some seconds, or, where `before` says that there is one, until it ends.
    pub async fn changed(&self, before: bool) -> Option<Outage> {
        let mut waiting = self.waiting.subscribe();
        loop {
            #[expect(clippy::disallowed_methods, reason = "the guard is dropped in the next statement")]
            let changed = waiting.wait_for(|waiting| waiting.outage.is_some() != before).await;
            let outage = changed.expect("`self` has the sender").outage.clone()?;
            tokio::time::sleep_until(outage.began + LASTING).await;
            if self.outage().is_some_and(|current| current.began == outage.began) {
                return Some(outage);
            }
        }
    }

    /// Counts a retry. Logs outages and every minute of them; short ones at most once a minute.
    fn wait(&self, reason: &str, left: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut began = None;
        self.waiting.send_if_modified(|waiting| {
            let begins = waiting.outage.is_none();
            if begins {
                waiting.outage = Some(Outage { began: now, reason: reason.to_owned() });
            }
            let lasts = waiting.outage.as_ref().is_some_and(|outage| now - outage.began >= LASTING);
            if waiting.said.is_none_or(|said| now - said >= REMINDER) || lasts && !waiting.is_announced {
                (waiting.said, waiting.is_announced) = (Some(now), true);
                began = waiting.outage.as_ref().map(|outage| outage.began);
            }
            begins
        });
        let Some(began) = began else { return };
        let (waited, left) = (now - began, human::seconds(left.as_secs_f64()));
        match waited.is_zero() {
            true => tracing::warn!("{reason}; waiting for the store, retrying for {left}"),
            false => {
                let waited = human::seconds(waited.as_secs_f64());
                tracing::warn!("{reason}; waiting for the store for {waited} now, retrying for {left} more");
            }
        }
    }

    /// Begins the wait of a request.
    fn begin(&self) -> WaitGuard<'_> {
        self.waiting.send_if_modified(|waiting| {
            waiting.requests += 1;
            false
        });
        WaitGuard { retries: self, answered: false }
    }

    /// Ends the wait of a request; the last one ends the outage. `answered`: the store has answered.
    fn end(&self, answered: bool) {
        let mut began = None;
        self.waiting.send_if_modified(|waiting| {
            waiting.requests -= 1;
            if waiting.requests > 0 {
                return false;
            }
            let outage = waiting.outage.take();
            began = outage.filter(|_| std::mem::take(&mut waiting.is_announced)).map(|outage| outage.began);
            true
        });
        if let Some(began) = began.filter(|_| answered) {
            tracing::warn!("the store answers again after {}", human::seconds(began.elapsed().as_secs_f64()));
        }
    }
}

/// The wait of one request. Ends it when dropped.
struct WaitGuard<'a> {
    retries: &'a Retries,
    answered: bool,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.retries.end(self.answered);
    }
}

/// The last error of a request that was retried in vain.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(super) struct RetriesExhausted {
    pub(super) tries: u32,
    pub(super) time: Duration,
    #[source]
    source: object_store::Error,
}

impl Lake {
    /// Sends a request, and retries it while it fails for a reason that may pass.
    pub(super) async fn request<T, F>(
        &self,
        operation: &'static str,
        key: &str,
        ask: impl Fn() -> F,
    ) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut failed = match self.attempt(operation, &ask).await {
            Err(error) if Failure::of(&error).may_pass() => error,
            answer => return answer,
        };
        let began = Instant::now();
        let mut stop = self.stop.clone();
        let mut wait: Option<WaitGuard<'_>> = None;
        let mut tries = 1;
        loop {
            let left = self.retry_for.saturating_sub(began.elapsed());
            let stopped = stop.as_ref().is_some_and(|stop| *stop.borrow());
            if left.is_zero() || stopped {
                return Err(exhausted(failed, tries, began.elapsed()));
            }
            let reason = format!("cannot {operation} `{}`: {}", self.url(key), words(&failed));
            let wait = wait.get_or_insert_with(|| self.retries.begin());
            self.retries.wait(&reason, left);
            tokio::select! {
                () = tokio::time::sleep(pause(tries).min(left)) => {}
                () = stopping(&mut stop) => {}
            }
            tries += 1;
            let answer = tokio::select! {
                answer = self.attempt(operation, &ask) => answer,
                () = async { stopping(&mut stop).await; tokio::time::sleep(STOP_GRACE).await } => {
                    return Err(exhausted(failed, tries, began.elapsed()));
                }
            };
            match answer {
                Err(error) if Failure::of(&error).may_pass() => failed = error,
                answer => {
                    wait.answered = true;
                    return answer;
                }
            }
        }
    }

    /// Sends a request; sends it again where the store refuses the credential and its file has another one now.
    async fn attempt<T, F>(&self, operation: &'static str, ask: &impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let Some(credential) = &self.credential else { return self.timed(operation, ask()).await };
        for _ in 0..MAX_RENEWALS {
            let used = credential.number();
            match self.timed(operation, ask()).await {
                Err(error) if Failure::of(&error).refuses_credential() && credential.is_renewed(used).await => {}
                answer => return answer,
            }
        }
        self.timed(operation, ask()).await
    }
}

fn exhausted(source: object_store::Error, tries: u32, time: Duration) -> object_store::Error {
    match tries {
        1 => source,
        _ => {
            let source: Box<dyn StdError + Send + Sync> = Box::new(RetriesExhausted { tries, time, source });
            object_store::Error::Generic { store: "lake", source }
        }
    }
}

async fn stopping(stop: &mut Option<watch::Receiver<bool>>) {
    let told = match stop {
        Some(stop) => until(stop, |stop| *stop).await.is_ok(),
        None => false,
    };
    if !told {
        // The sender is gone: nobody can stop it.
        std::future::pending().await
    }
}

/// Returns the pause after so many tries, with jitter: exports of one store do not retry together.
fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST_PAUSE);
    // Without random bytes, the longest one.
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    doubled.mul_f64(0.5 + f64::from(chance) / f64::from(u32::MAX) / 2.0)
}
