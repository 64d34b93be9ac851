//! The intake that the server hands records to now: a reload of the configuration replaces it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lakeport_serve::{Accepted, Batch, Family, Health, Intake, Refusal, SourceInfo};
use tokio::time::timeout;

use crate::drain::Drain;
use crate::intake::SOON;

/// How long a request waits while the intake is replaced.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands records to the intake of the configuration that is at work, and adds metrics and warnings of the process.
pub struct Current {
    now: RwLock<Arc<dyn Drain>>,
    /// Read while records are appended; written while the intake is replaced.
    gate: tokio::sync::RwLock<()>,
    more: Box<dyn Fn() -> Vec<Family> + Send + Sync>,
    warning: Mutex<Option<String>>,
    patience: Duration,
}

/// Keeps records waiting for as long as it lives.
pub struct Closed<'a> {
    current: &'a Current,
    _gate: tokio::sync::RwLockWriteGuard<'a, ()>,
}

impl Current {
    /// Hands records to `intake`; shows the metrics `more`, too.
    pub fn new(intake: Arc<dyn Drain>, more: impl Fn() -> Vec<Family> + Send + Sync + 'static) -> Current {
        Current {
            now: RwLock::new(intake),
            gate: tokio::sync::RwLock::default(),
            more: Box::new(more),
            warning: Mutex::default(),
            patience: PATIENCE,
        }
    }

    /// Sets what `/readyz` warns of.
    pub fn set_warning(&self, warning: Option<String>) {
        *self.warning.lock().unwrap_or_else(PoisonError::into_inner) = warning;
    }

    /// Waits until no records are being appended, and lets those that come wait.
    pub async fn close(&self) -> Closed<'_> {
        Closed { current: self, _gate: self.gate.write().await }
    }

    fn now(&self) -> Arc<dyn Drain> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Closed<'_> {
    /// Hands the records that wait, and those that come, to `intake`.
    pub fn open_with(self, intake: Arc<dyn Drain>) {
        *self.current.now.write().unwrap_or_else(PoisonError::into_inner) = intake;
    }
}

#[async_trait]
impl Intake for Current {
    fn source(&self, name: &str) -> Option<SourceInfo> {
        self.now().source(name)
    }

    async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal> {
        let not_ready = Refusal::NotReady { retry_after: SOON };
        let Ok(_open) = timeout(self.patience, self.gate.read()).await else { return Err(not_ready) };
        let now = self.now();
        // The source may have gone while the body was read: there is none at the next attempt.
        if now.source(source).is_none() {
            return Err(not_ready);
        }
        now.append(source, batch).await
    }

    async fn committed(&self, source: &str, position: &str) -> Result<(), Refusal> {
        self.now().committed(source, position).await
    }

    fn health(&self) -> Health {
        let mut health = self.now().health();
        let warning = self.warning.lock().unwrap_or_else(PoisonError::into_inner).clone();
        health.warnings.splice(0..0, warning);
        health
    }

    fn metrics(&self) -> Vec<Family> {
        let mut families = self.now().metrics();
        families.extend((self.more)());
        families
    }
}

#[async_trait]
impl Drain for Current {
    async fn drain(&self) {
        self.now().drain().await;
    }

    fn left(&self) -> Vec<(String, u64)> {
        self.now().left()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use lakeport_serve::{Envelope, Identity};

    use super::*;

    /// Counts what is appended, and takes its time.
    #[derive(Default)]
    struct Slow {
        source: &'static str,
        begun: AtomicU32,
        ended: AtomicU32,
    }

    #[async_trait]
    impl Intake for Slow {
        fn source(&self, name: &str) -> Option<SourceInfo> {
            (name == self.source).then_some(SourceInfo { envelope: Envelope::Plain, max_record_size: 10 })
        }

        async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal> {
            self.begun.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.ended.fetch_add(1, Ordering::Relaxed);
            Ok(Accepted { position: source.to_owned(), records: batch.records, duplicates: 0, committed: true })
        }

        async fn committed(&self, _: &str, _: &str) -> Result<(), Refusal> {
            Ok(())
        }

        fn health(&self) -> Health {
            Health::default()
        }

        fn metrics(&self) -> Vec<Family> {
            Vec::new()
        }
    }

    impl Drain for Slow {}

    fn slow(source: &'static str) -> Arc<Slow> {
        Arc::new(Slow { source, ..Slow::default() })
    }

    fn batch() -> Batch {
        Batch { lines: "{}\n".into(), records: 1, identity: Identity::None }
    }

    #[tokio::test]
    async fn what_is_under_way_ends_first_and_what_comes_goes_to_the_next_one() {
        let (old, new) = (slow("s"), slow("s"));
        let current = Arc::new(Current::new(old.clone(), Vec::new));
        let append = |current: Arc<Current>| tokio::spawn(async move { current.append("s", batch()).await });
        let first = append(current.clone());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let closed = current.close().await;
        assert_eq!((old.begun.load(Ordering::Relaxed), old.ended.load(Ordering::Relaxed)), (1, 1));
        let second = append(current.clone());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(old.begun.load(Ordering::Relaxed) + new.begun.load(Ordering::Relaxed), 1, "it waits");
        closed.open_with(new.clone());
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        assert_eq!((old.ended.load(Ordering::Relaxed), new.ended.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_a_source_that_went_takes_nothing() {
        let current = Current { patience: Duration::from_millis(20), ..Current::new(slow("s"), Vec::new) };
        let closed = current.close().await;
        let refused = current.append("s", batch()).await;
        assert!(matches!(refused, Err(Refusal::NotReady { .. })), "{refused:?}");
        closed.open_with(slow("t"));
        let refused = current.append("s", batch()).await;
        assert!(matches!(refused, Err(Refusal::NotReady { .. })), "{refused:?}");
        assert!(current.source("s").is_none() && current.source("t").is_some());
    }
}
