//! The lakes of a session: each is opened and proven once, however many exports and runs it has.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::lake::{Created, Lake};
use crate::plan::LakePlan;
use crate::plugin::Loaded;

/// How long what was found out about a store is relied on by runs that begin: what its clock shows, and that it keeps its promises.
const FRESH: Duration = Duration::from_secs(600);

/// Lakes that are open, by their plans. A clone shares them.
#[derive(Clone, Default)]
pub struct Lakes(Arc<Mutex<Vec<Entry>>>);

type Entry = (Arc<LakePlan>, Arc<tokio::sync::Mutex<Slot>>);

/// What is known of one lake.
#[derive(Default)]
struct Slot {
    open: Option<Open>,
    /// The last attempt that failed, and when.
    failed: Option<(Instant, Error)>,
}

struct Open {
    lake: Lake,
    since: Instant,
    /// The same moment by the clock of the session, which goes on while a machine sleeps: microseconds since 1970.
    opened: i64,
    /// Digests of plugins that the lake keeps.
    plugins: HashSet<String>,
}

impl Open {
    async fn new(plan: &LakePlan, now: i64) -> Result<Open> {
        let lake = Lake::open(plan).await?;
        Ok(Open { lake, since: Instant::now(), opened: now, plugins: HashSet::new() })
    }

    fn is_fresh(&self, now: i64) -> bool {
        let passed = now.checked_sub(self.opened).and_then(|passed| u64::try_from(passed).ok());
        self.since.elapsed() < FRESH && passed.is_some_and(|passed| Duration::from_micros(passed) < FRESH)
    }

    /// Keeps every plugin that ever writes to the lake in it, by its digest.
    async fn keep(&mut self, plugins: impl Iterator<Item = &Arc<Loaded>>) -> Result<()> {
        for plugin in plugins {
            if self.plugins.contains(&plugin.digest) {
                continue;
            }
            let key = format!("{}/plugins/{}.wasm", self.lake.log_folder(), plugin.digest);
            if self.lake.head(&key).await?.is_none() {
                // Another process may be at it too: the bytes are the same.
                let (Created::Created | Created::Exists) = self.lake.create(&key, plugin.bytes.clone()).await?;
            }
            self.plugins.insert(plugin.digest.clone());
        }
        Ok(())
    }
}

impl Lakes {
    fn slot(&self, plan: &Arc<LakePlan>) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut lakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = lakes.iter().find(|(known, _)| Arc::ptr_eq(known, plan)) {
            return slot.clone();
        }
        let slot = Arc::default();
        lakes.push((plan.clone(), Arc::clone(&slot)));
        slot
    }

    /// Returns the lake of a plan, which keeps these plugins. Who asks while it is opened waits for that, and shares the result. `now` is
    /// the time in microseconds since 1970.
    ///
    /// # Errors
    /// As of [`Lake::open`].
    pub(super) async fn open<'a>(
        &self,
        plan: &Arc<LakePlan>,
        plugins: impl Iterator<Item = &'a Arc<Loaded>>,
        now: i64,
    ) -> Result<Lake> {
        let asked = Instant::now();
        let slot = self.slot(plan);
        let mut slot = slot.lock().await;
        if let Some((at, error)) = &slot.failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let open = match slot.open.take().filter(|open| open.is_fresh(now)) {
            Some(open) => Ok(open),
            None => Open::new(plan, now).await,
        };
        let kept = match open {
            Ok(mut open) => open.keep(plugins).await.map(|()| open),
            Err(error) => Err(error),
        };
        match kept {
            Ok(open) => {
                let lake = open.lake.clone();
                *slot = Slot { open: Some(open), failed: None };
                Ok(lake)
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Lets the next run open the lake anew: one failed, and what was found out may not be so any more.
    pub(super) async fn forget(&self, plan: &Arc<LakePlan>) {
        self.slot(plan).lock().await.open = None;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Location;

    fn plan(folder: &Path) -> Arc<LakePlan> {
        Arc::new(LakePlan {
            name: "main".to_owned(),
            location: Location::Local(folder.to_owned()),
            log_folder: "_lakeport".to_owned(),
            retry_for: Duration::ZERO,
        })
    }

    fn no_plugins() -> std::iter::Empty<&'static Arc<Loaded>> {
        std::iter::empty()
    }

    #[tokio::test]
    async fn a_lake_is_opened_once_until_a_run_fails() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("lake");
        let (lakes, plan) = (Lakes::default(), plan(&place));
        lakes.open(&plan, no_plugins(), 0).await.unwrap();
        std::fs::remove_dir_all(&place).unwrap();
        lakes.open(&plan, no_plugins(), 0).await.unwrap();
        assert!(!place.exists(), "it was open");
        lakes.forget(&plan).await;
        lakes.open(&plan, no_plugins(), 0).await.unwrap();
        assert!(place.exists());
    }

    #[tokio::test]
    async fn who_waits_shares_a_failure_and_who_comes_later_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("lake");
        std::fs::write(&place, "no folder").unwrap();
        let (lakes, plan) = (Lakes::default(), plan(&place));
        let (one, two) = tokio::join!(lakes.open(&plan, no_plugins(), 0), lakes.open(&plan, no_plugins(), 0));
        assert_eq!(one.unwrap_err().message, two.unwrap_err().message);
        std::fs::remove_file(&place).unwrap();
        lakes.open(&plan, no_plugins(), 0).await.unwrap();
    }

    #[tokio::test]
    async fn two_plans_are_two_lakes() {
        let folder = tempfile::tempdir().unwrap();
        let lakes = Lakes::default();
        for name in ["a", "b"] {
            lakes.open(&plan(&folder.path().join(name)), no_plugins(), 0).await.unwrap();
            assert!(folder.path().join(name).exists());
        }
    }
}
