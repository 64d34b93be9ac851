//! Opening a lake: for writing, for looking at it, or for a note in it.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;

use super::budget::Budget;
use super::clock::StoreClock;
use super::local::LocalLake;
use super::store::{PartStore, Root};
use super::{Lake, provision};
use crate::Result;
use crate::plan::{LakePlan, Location};

/// How long a lake is tried while it is opened, or looked at, with a person waiting: a mistyped URL is reported in seconds.
const OPENING: Duration = Duration::from_secs(5);

impl Lake {
    /// Opens a lake for writing, creates what does not exist, and proves that create-if-absent is honoured.
    ///
    /// Created are a local folder, an Azure container and an S3 bucket (in the configured region). A Google Cloud Storage
    /// bucket is not: its project and its place can never be changed, so somebody has to choose them.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`]: unreachable, not permitted, or a store that does not keep the promises that exactly-once needs.
    pub async fn open(plan: &LakePlan) -> Result<Lake> {
        if let Location::Local(folder) = &plan.location {
            let local = LocalLake::open(folder, &plan.log_folder).await?;
            let lake = Lake::assemble(Root::local(local), plan, true);
            let clock = lake.probe_clock().await?;
            lake.sweep().await?;
            return Ok(Lake { clock, ..lake });
        }
        let lake = Lake::assemble(Root::open(&plan.location)?, plan, true);
        let probing = lake.clone().retrying_for(OPENING.min(plan.retry_for));
        if probing.is_container_missing().await? {
            provision::create_container(&plan.location, &probing.url("")).await?;
        }
        let clock = probing.probe_clock().await?;
        Ok(Lake { clock, ..lake })
    }

    /// Opens a lake for looking at it: creates and writes nothing, now or later. A lake that does not exist reads as empty.
    /// Somebody waits for the answer, so that requests are tried for seconds only.
    ///
    /// # Errors
    ///
    /// Of [`crate::Kind::Lake`], where the location cannot be spoken to at all.
    pub async fn open_read_only(plan: &LakePlan) -> Result<Lake> {
        Ok(Lake::open_for_lookups(plan).await?.retrying_for(OPENING.min(plan.retry_for)))
    }

    /// The same for an export that runs: requests are tried for as long as its own.
    ///
    /// # Errors
    ///
    /// As of [`Lake::open_read_only`].
    pub async fn open_for_lookups(plan: &LakePlan) -> Result<Lake> {
        let root = match &plan.location {
            Location::Local(folder) => match LocalLake::open_existing(folder, &plan.log_folder).await? {
                Some(local) => Root::local(local),
                None => Root::memory_of(Arc::new(InMemory::new())).with_base_of(&plan.location),
            },
            location => Root::open(location)?,
        };
        Ok(Lake::assemble(root, plan, false))
    }

    /// Opens a lake for a note in it: creates nothing by opening, and proves nothing.
    ///
    /// # Errors
    ///
    /// As of [`Lake::open_read_only`].
    pub async fn open_for_notes(plan: &LakePlan) -> Result<Lake> {
        Ok(Lake { writable: true, ..Lake::open_read_only(plan).await?.for_notes() })
    }

    /// A writable lake over any store, for what does not outlive the process: no probe is made, nothing is created.
    ///
    /// The store is taken for one that honours create-if-absent for puts and for copies, as [`InMemory`] does.
    pub fn with_store(store: Arc<dyn PartStore>, name: &str, log_folder: &str) -> Lake {
        let location = Location::Memory(name.to_owned());
        let root = Root::memory_of(store).with_base_of(&location);
        Lake::from_root(root, log_folder, true, Duration::ZERO)
    }

    fn assemble(root: Root, plan: &LakePlan, writable: bool) -> Lake {
        Lake::from_root(root, &plan.log_folder, writable, plan.retry_for)
    }

    fn from_root(root: Root, log_folder: &str, writable: bool, retry_for: Duration) -> Lake {
        let Root { store, parts, local, azure, credential, flavor, base } = root;
        Lake {
            store,
            parts,
            local,
            azure,
            credential,
            flavor,
            budget: Budget::of(&base),
            base: base.into(),
            log_folder: log_folder.into(),
            writable,
            clock: StoreClock::default(),
            retry_for,
            retries: Arc::default(),
            stop: None,
        }
    }
}
