//! The write-ahead logs of an installation: a source for its exports, and where the server keeps what it accepts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lakeport::clock::Surroundings;
use lakeport::error::{Error, Result};
use lakeport::plan::{ExportPlan, Input, Plan, ServerPlan};
use lakeport::source::{Local, Origin, Position, ReadOptions, Reader, Source};
use lakeport::wait::until;
use lakeport_wal::{LogId, Options, Wal};
use tokio::sync::watch;

use crate::reader::LogReader;

/// The write-ahead logs of all sources that take records over HTTP. Other sources are read as `lakeport run` does.
pub struct Logs(BTreeMap<String, Arc<SourceLog>>);

/// The log of one source.
pub(crate) struct SourceLog {
    pub(crate) wal: Wal,
    pub(crate) origin: Arc<Origin>,
    /// What each export that reads the log has in its lake, as an offset; `None` until it has said so.
    exported: Mutex<BTreeMap<String, Option<u64>>>,
    /// The least of them.
    all_exported: watch::Sender<u64>,
    /// Somebody waits until everything up to this offset is in the lake.
    wanted: AtomicU64,
}

impl Logs {
    /// Opens the logs of the sources that the exports `run` read, below the folder that `plan` names. What another export of
    /// `plan` has not read stays in the logs.
    ///
    /// # Errors
    /// Of kind `Source`: a folder that holds other files or is used by another process, a damaged log, a full disk.
    pub fn open(plan: &Plan, run: &[ExportPlan], surroundings: &Surroundings) -> Result<Logs> {
        let mut logs: BTreeMap<String, SourceLog> = BTreeMap::new();
        for source in run.iter().map(|export| &export.source).filter(|source| source.input == Input::Http) {
            if !logs.contains_key(&source.name) {
                let folder = plan.server.log.join(&source.name);
                logs.insert(source.name.clone(), SourceLog::open(&source.name, &folder, &plan.server, surroundings)?);
            }
        }
        for export in &plan.exports {
            if let Some(log) = logs.get(&export.source.name) {
                log.exported().insert(export.name.clone(), None);
            }
        }
        Ok(Logs(logs.into_iter().map(|(name, log)| (name, Arc::new(log))).collect()))
    }

    pub(crate) fn get(&self, source: &str) -> Option<&Arc<SourceLog>> {
        self.0.get(source)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SourceLog)> {
        self.0.iter().map(|(name, log)| (name.as_str(), &**log))
    }
}

impl Source for Logs {
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
        match self.get(&export.source.name) {
            Some(log) => Ok(Box::new(LogReader::open(log.clone(), export, from, options.follow)?)),
            None => Local.open(export, from, options),
        }
    }

    fn published(&self, export: &ExportPlan, position: &Position) {
        if let Some(log) = self.get(&export.source.name) {
            log.published(&export.name, position);
        }
    }
}

impl SourceLog {
    fn open(name: &str, folder: &Path, plan: &ServerPlan, surroundings: &Surroundings) -> Result<SourceLog> {
        let clock = surroundings.clock.clone();
        let options = Options {
            max_bytes: plan.log_size,
            batch_bytes: plan.max_decoded.min(lakeport_wal::MAX_BATCH),
            key_window: plan.idempotency_window,
            max_keys: plan.idempotency_limit,
            ..Options::new(move || u64::try_from(clock.now() / 1_000).unwrap_or(0))
        };
        let wal = Wal::open(folder, options).map_err(|error| unusable(name, &error))?;
        for warning in wal.warnings() {
            tracing::warn!(source = name, "{warning}");
        }
        let origin = Arc::new(origin(name, wal.id()));
        let all_exported = watch::Sender::new(wal.first());
        Ok(SourceLog { wal, origin, exported: Mutex::default(), all_exported, wanted: AtomicU64::new(0) })
    }

    /// Notes what an export has in its lake; what all of them have may go.
    fn published(&self, export: &str, position: &Position) {
        let cursor = position.cursors.iter().find(|cursor| cursor.origin.name == self.origin.name);
        let offset = cursor.map_or(self.wal.first(), |cursor| cursor.next);
        let least = {
            let mut exported = self.exported();
            exported.insert(export.to_owned(), Some(offset));
            exported.values().copied().min().flatten()
        };
        if let Some(least) = least {
            self.wal.release(least);
            self.all_exported.send_if_modified(|all| std::mem::replace(all, least) != least);
        }
    }

    /// Waits until all exports of the source have everything before `offset` in their lakes, which is asked for at once.
    pub(crate) async fn wait_for_export(&self, offset: u64) {
        self.wanted.fetch_max(offset, Ordering::Release);
        let mut exported = self.all_exported.subscribe();
        // The sender lives as long as this.
        let _ = until(&mut exported, |exported| *exported >= offset).await;
    }

    /// Up to where somebody waits for the lake.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Up to where the log is in the lakes of all exports.
    pub(crate) fn all_exported(&self) -> u64 {
        *self.all_exported.borrow()
    }

    /// Up to where the log is in the lake of an export.
    pub(crate) fn exported_by(&self, export: &str) -> u64 {
        self.exported().get(export).copied().flatten().unwrap_or_else(|| self.wal.first())
    }

    /// What is known of each export.
    pub(crate) fn exported(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<u64>>> {
        self.exported.lock().expect("nothing panics while it is held")
    }
}

/// What the offsets of a log count in. A log that was made anew is another origin.
fn origin(source: &str, id: LogId) -> Origin {
    Origin::named(format!("wal:{source}/{id}"))
}

/// The error of a log that cannot be opened or read.
pub(crate) fn unusable(source: &str, error: &lakeport_wal::Error) -> Error {
    Error::source(format!("source `{source}`: {error}"))
}
