//! The write-ahead logs of an installation: a source for its exports, and where the server keeps what it accepts.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use lakeport::clock::Surroundings;
use lakeport::error::{Error, Result};
use lakeport::plan::{ExportPlan, Input, Plan, ServerPlan};
use lakeport::source::{Local, Origin, Position, ReadOptions, Reader, Source};
use lakeport::wait::until;
use lakeport_wal::{LogId, Options, Wal};
use tokio::sync::watch;

use crate::reader::LogReader;
use crate::waiters::Waiters;

/// The write-ahead logs of all sources that take records over HTTP. Other sources are read as `lakeport run` does.
pub struct Logs {
    of: BTreeMap<String, Arc<SourceLog>>,
    /// Logs of sources that a reload took away, for as long as somebody has them open.
    closing: BTreeMap<String, Weak<SourceLog>>,
    /// Logs that no source of the configuration has, with the bytes that they hold.
    unread: BTreeMap<String, u64>,
}

/// How long a log is waited for that is about to be closed.
const CLOSING: Duration = Duration::from_secs(2);

/// The log of one source.
pub(crate) struct SourceLog {
    pub(crate) wal: Wal,
    pub(crate) origin: Arc<Origin>,
    /// What each export that reads the log has in its lake, as an offset; `None` until it has said so.
    exported: Mutex<BTreeMap<String, Option<u64>>>,
    /// The least of them.
    all_exported: watch::Sender<u64>,
    waiters: Waiters,
}

impl Logs {
    /// Opens the logs of the sources that the exports `run` read, below the folder that `plan` names. What another export of
    /// `plan` has not read stays in the logs.
    ///
    /// # Errors
    /// Of kind `Source`: a folder that holds other files or is used by another process, a damaged log, a full disk.
    pub fn open(plan: &Plan, run: &[ExportPlan], surroundings: &Surroundings) -> Result<Logs> {
        let sources = run.iter().map(|export| &export.source).filter(|source| source.input == Input::Http);
        let mut of: BTreeMap<String, Arc<SourceLog>> = BTreeMap::new();
        for name in sources.map(|source| &source.name) {
            if !of.contains_key(name) {
                of.insert(name.clone(), watched(name, SourceLog::open(name, &plan.server, surroundings)?));
            }
        }
        let logs = Logs { unread: unread(plan), of, closing: BTreeMap::new() };
        for export in &plan.exports {
            if let Some(log) = logs.get(&export.source.name) {
                log.exported().insert(export.name.clone(), None);
            }
        }
        Ok(logs)
    }

    /// The logs of the sources of another plan: those that are open stay so, and take records all along. Blocks while a log that was
    /// just taken away is closed. The exports of `plan` read them once these [were handed over](Logs::hand_over).
    ///
    /// # Errors
    /// As of [`Logs::open`].
    pub fn reopen(&self, plan: &Plan, surroundings: &Surroundings) -> Result<Logs> {
        let mut of: BTreeMap<String, Arc<SourceLog>> = BTreeMap::new();
        let sources = plan.exports.iter().map(|export| &export.source).filter(|source| source.input == Input::Http);
        for name in sources.map(|source| &source.name) {
            let log = match self.of.get(name).cloned().or_else(|| self.closing.get(name)?.upgrade()) {
                Some(log) => log,
                None => self.open_closing(name, plan, surroundings)?,
            };
            of.insert(name.clone(), log);
        }
        let known = self.closing.iter().map(|(name, log)| (name.clone(), log.clone()));
        let open = self.of.iter().map(|(name, log)| (name.clone(), Arc::downgrade(log)));
        let closing = known.chain(open).filter(|(name, log)| !of.contains_key(name) && log.strong_count() > 0);
        Ok(Logs { closing: closing.collect(), unread: unread(plan), of })
    }

    fn open_closing(&self, name: &str, plan: &Plan, surroundings: &Surroundings) -> Result<Arc<SourceLog>> {
        let until = Instant::now() + CLOSING;
        loop {
            match SourceLog::open(name, &plan.server, surroundings) {
                Err(_) if self.closing.contains_key(name) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return opened.map(|log| watched(name, log)),
            }
        }
    }

    /// Lets the exports of `plan` read the logs `to`, in place of those that did and have ended. Returns what the latter leave
    /// behind, in words.
    pub fn hand_over(&self, to: &Logs, plan: &Plan) -> Vec<String> {
        let mut left = Vec::new();
        for (source, log) in &self.of {
            let readers = plan.exports.iter().filter(|export| export.source.name == *source);
            let readers: Vec<_> = readers.map(|export| export.name.clone()).collect();
            for (export, records) in log.hand_over(&readers) {
                left.push(match to.of.contains_key(source) {
                    true => format!(
                        "export `{export}` no longer reads source `{source}`, and {records} records of its write-ahead log are not in \
                         that export's lake: they go once the other exports have them"
                    ),
                    false => format!(
                        "source `{source}` is no longer read, and {records} records of its write-ahead log are not in the lake of \
                         export `{export}`: they stay in the log, and are exported when the source is back"
                    ),
                });
            }
        }
        for (source, log) in to.of.iter().filter(|(source, _)| !self.of.contains_key(*source)) {
            let readers = plan.exports.iter().filter(|export| export.source.name == *source);
            log.hand_over(&readers.map(|export| export.name.clone()).collect::<Vec<_>>());
        }
        left
    }

    /// Whether an export reads a log that it does not read any more by `plan`.
    pub fn loses_readers(&self, plan: &Plan) -> bool {
        let reads = |source: &str, name: &String| {
            plan.exports.iter().any(|export| export.name == *name && export.source.name == source)
        };
        self.of.iter().any(|(source, log)| log.exported().keys().any(|name| !reads(source, name)))
    }

    pub(crate) fn get(&self, source: &str) -> Option<&Arc<SourceLog>> {
        self.of.get(source)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SourceLog)> {
        self.of.iter().map(|(name, log)| (name.as_str(), &**log))
    }

    /// Logs that no source of the configuration has, with the bytes that they hold.
    pub(crate) fn unread(&self) -> &BTreeMap<String, u64> {
        &self.unread
    }
}

/// The logs in the folder of `plan` that hold something and belong to none of its sources.
fn unread(plan: &Plan) -> BTreeMap<String, u64> {
    // A folder that is not there yet has none.
    let entries = std::fs::read_dir(&plan.server.log).into_iter().flatten().flatten();
    let is_read = |name: &str| {
        let mut sources = plan.exports.iter().map(|export| &export.source);
        sources.any(|source| source.name == name && source.input == Input::Http)
    };
    let unread = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| !is_read(name))?;
        let bytes = lakeport_wal::bytes_in(&entry.path()).filter(|bytes| *bytes > 0)?;
        Some((name, bytes))
    });
    unread.collect()
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
    /// Opens the log of the source `name`.
    fn open(name: &str, plan: &ServerPlan, surroundings: &Surroundings) -> Result<SourceLog> {
        let clock = surroundings.clock.clone();
        let options = Options {
            max_bytes: plan.log_size,
            segment_bytes: plan.segment_bytes(),
            batch_bytes: plan.largest_batch(),
            key_window: plan.idempotency_window,
            max_keys: plan.idempotency_limit,
            ..Options::new(move || u64::try_from(clock.now() / 1_000).unwrap_or(0))
        };
        let wal = Wal::open(plan.log.join(name), options).map_err(|error| unusable(name, &error))?;
        let origin = Arc::new(origin(name, wal.id()));
        let all_exported = watch::Sender::new(wal.first());
        Ok(SourceLog { wal, origin, exported: Mutex::default(), all_exported, waiters: Waiters::default() })
    }

    /// Notes what an export has in its lake; what all of them have may go.
    fn published(&self, export: &str, position: &Position) {
        let cursor = position.cursors.iter().find(|cursor| cursor.origin.name == self.origin.name);
        let offset = cursor.map_or(self.wal.first(), |cursor| cursor.next);
        // Held to the end: of two that come together, the later one has the last word.
        let mut exported = self.exported();
        exported.insert(export.to_owned(), Some(offset));
        if let Some(least) = exported.values().copied().min().flatten() {
            self.wal.release(least);
            self.all_exported.send_if_modified(|all| std::mem::replace(all, least) != least);
        }
    }

    /// Lets the exports `readers` read the log, and nobody else. Until each of them has said what it has, nothing is released. Returns
    /// those that did and do so no longer, with the records that they do not have.
    fn hand_over(&self, readers: &[String]) -> Vec<(String, u64)> {
        let mut exported = self.exported();
        let before = std::mem::take(&mut *exported);
        if readers.iter().any(|reader| !before.contains_key(reader)) {
            self.wal.hold();
            self.all_exported.send_replace(self.wal.first());
        }
        exported.extend(readers.iter().map(|reader| (reader.clone(), None)));
        drop(exported);
        let gone = before.into_iter().filter(|(export, _)| !readers.contains(export));
        let left = gone.map(|(export, at)| (export, self.wal.backlog(at.unwrap_or_else(|| self.wal.first())).records));
        left.filter(|(_, records)| *records > 0).collect()
    }

    /// Waits until all exports of the source have everything before `offset` in their lakes, which is asked for at once.
    pub(crate) async fn wait_for_export(&self, offset: u64) {
        let _waiter = self.waiters.wait_for(offset);
        let mut exported = self.all_exported.subscribe();
        // The sender lives as long as this.
        let _ = until(&mut exported, |exported| *exported >= offset).await;
    }

    /// Whether `export`, which has read up to `at` and was asked for a commit up to `asked`, should commit now.
    pub(crate) fn wants_commit(&self, export: &str, asked: u64, at: u64) -> bool {
        let exported = self.exported().get(export).copied().flatten().unwrap_or(0);
        self.waiters.want_commit(asked, at, exported)
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

/// A log whose warnings are logged for as long as it is open, whether or not anybody reads it.
fn watched(name: &str, log: SourceLog) -> Arc<SourceLog> {
    const LOOK: Duration = Duration::from_secs(1);
    /// What lasts is said again after so many looks.
    const AGAIN: u32 = 60;
    let (name, log) = (name.to_owned(), Arc::new(log));
    let open = Arc::downgrade(&log);
    let look = move || {
        let mut said = HashSet::new();
        for number in 1u32.. {
            let Some(log) = open.upgrade() else { return };
            for warning in log.wal.warnings().into_iter().filter(|warning| said.insert(warning.clone())) {
                tracing::warn!(source = name, "{warning}");
            }
            drop(log);
            if number % AGAIN == 0 {
                said.clear();
            }
            std::thread::sleep(LOOK);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("wal-warnings".to_owned()).spawn(look) {
        tracing::error!("cannot start a thread that logs what a write-ahead log warns of: {error}");
    }
    log
}

/// What the offsets of a log count in. A log that was made anew is another origin.
fn origin(source: &str, id: LogId) -> Origin {
    Origin::named(format!("wal:{source}/{id}"))
}

/// The error of a log that cannot be opened or read.
pub(crate) fn unusable(source: &str, error: &lakeport_wal::Error) -> Error {
    Error::source(format!("source `{source}`: {error}"))
}

#[cfg(test)]
mod tests {
    use lakeport::plan::{MAX_DECODED, ServerPlan};
    use lakeport_serve::Limits;

    /// Whatever a request may bring, its log has room for it.
    #[test]
    fn a_log_has_room_for_the_largest_request() {
        let added = Limits::default().records as u64 * (1 + 16) + 16 + 2 * Limits::default().header_bytes as u64;
        let plan = |max_decoded, log_size| {
            let text = format!(
                "[server]\nmax-decoded = \"{max_decoded}B\"\nlog-size = \"{log_size}B\"\n[sources.s]\nhttp = true\n[exports.s]\nsource = \"s\"\n"
            );
            lakeport::config::parse(&text, std::path::Path::new("/etc/lakeport.toml"), &|_: &str| None).unwrap().server
        };
        for decoded in [1 << 10, 8 << 20, MAX_DECODED] {
            for size in [ServerPlan::least_log_size(decoded), 4 << 30] {
                let plan = plan(decoded, size);
                assert!(plan.largest_batch() >= decoded + added, "{decoded} {size}");
                assert!(plan.largest_batch() <= lakeport_wal::MAX_BATCH);
                assert!(3 * plan.segment_bytes().max(plan.largest_batch()) <= size, "a log opens with this");
            }
        }
        // Data in binary mode becomes base64.
        assert!(plan(MAX_DECODED, 4 << 30).largest_batch() >= MAX_DECODED.div_ceil(3) * 4 + added);
    }
}
