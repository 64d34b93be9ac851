//! Begins an export of events anew: exports everything once more beside what is there, then replaces it with one commit.
//!
//! ```text
//! {log folder}/{export}/again/{number}/    a lake of its own while it lasts: the new files, and their commit log
//! ```
//!
//! The number is that of the export's last commit when it was begun, so no two attempts that were both committed share a folder:
//! a commit that is published once more never meets the files of a later attempt.
//!
//! 1. The export runs into that lake, from the beginning of its source. Readers see nothing of it; a run that ends early goes
//!    on from there the next time, and one with other settings starts over.
//! 2. One commit in the export's own log publishes the new files under part numbers that nothing else has, and makes those
//!    superfluous that the export wrote before. From here on, recovery is that of any commit.
//! 3. What is left of the folder is removed. A process that dies before that leaves a folder whose files are fewer than its log
//!    says, which the next run removes.

mod period;
mod period_files;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::Session;
use super::notes::Notes;
use crate::commit::letters;
use crate::commit::{
    AGAIN, Author, Commit, Content, Draft, Identity, Object, Outcome, Part, Partition, Publication, Series, SpanEntry,
    Totals, partition_folder, read_commits, read_last,
};
use crate::error::{Error, Kind, Result};
use crate::fail;
use crate::lake::{Lake, Meta};
use crate::layout::{encode_segment, part_key};
use crate::pipeline::{self, HoldSender, HoldState, Tables};
use crate::plan::{ExportPlan, Files, LakePlan, Location};
use crate::telemetry::{ExportReport, Live, human, is_mostly_refused};
pub use period::path_of_period;

/// Requests on their way at once.
const AT_ONCE: usize = 8;

/// What beginning anew replaces.
#[derive(Debug, Default)]
pub struct Before {
    /// Files that the export wrote, by key, with their sizes.
    pub files: BTreeMap<String, u64>,
    /// Files that it wrote and that somebody has edited since: they stay.
    pub edited: Vec<String>,
    /// Files of which the log does not tell any more what was written to them: they are replaced, edited or not.
    pub unchecked: Vec<String>,
    /// Files of the source that it has read and that are not there any more, nor copies of them: what came of them cannot be
    /// written again.
    pub gone: Vec<String>,
    /// Objects with dead letters.
    letters: Vec<String>,
    /// The next part of each series.
    parts: BTreeMap<String, u32>,
}

impl Before {
    /// Looks up what an export has written.
    ///
    /// The log names what it wrote last. Older files are those whose names the export's path can make: no other export of a
    /// configuration can make them.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn look_up(lake: &Lake, export: &ExportPlan) -> Result<Before> {
        let commits = read_commits(lake, &export.name, &export.partition).await?;
        let mut before = Before::default();
        let mut lengths: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for (series, state) in commits.iter().flat_map(|commit| &commit.series) {
            let next = before.parts.entry(series.clone()).or_default();
            *next = state.parts.max(*next);
        }
        let keys: Vec<_> =
            before.parts.iter().flat_map(|(series, parts)| (0..*parts).map(|part| part_key(series, part))).collect();
        lengths.extend(keys.iter().map(|key| (key.as_str(), None)));
        for object in commits.iter().flat_map(|commit| &commit.objects) {
            if object.publication != Publication::Segment && !object.key.starts_with(lake.log_folder()) {
                lengths.insert(&object.key, Some(object.length));
            }
        }
        let mut found = BTreeMap::new();
        for meta in lake.list(export.path.folder()).await? {
            if meta.key.starts_with(&format!("{}/", lake.log_folder())) {
                continue;
            }
            if let Some((series, part)) = export.path.parts_of(&export.name, &meta.key) {
                let next = before.parts.entry(series).or_default();
                *next = (part + 1).max(*next);
            } else if !lengths.contains_key(meta.key.as_str()) {
                continue;
            }
            found.insert(meta.key, meta.size);
        }
        // Of an earlier path.
        for key in lengths.keys().filter(|key| !key.starts_with(export.path.folder())) {
            if let Some(Meta { size, .. }) = lake.head(key).await? {
                found.insert((*key).to_owned(), size);
            }
        }
        for (key, size) in found {
            match lengths.get(key.as_str()) {
                Some(Some(length)) if *length != size => before.edited.push(key),
                _ => _ = before.files.insert(key, size),
            }
        }
        let letters = letters::folder(&partition_folder(lake, &export.name, &export.partition));
        let replayed = letters::replayed_folder(&partition_folder(lake, &export.name, &export.partition));
        for folder in [letters, replayed] {
            before.letters.extend(lake.list(&folder).await?.into_iter().map(|meta| meta.key));
        }
        if let Some(last) = commits.last() {
            let lost = last.position.cursors.iter().filter(|cursor| cursor.is_lost());
            let names: BTreeSet<_> = lost.map(|cursor| cursor.origin.name.to_string()).collect();
            before.gone = names.into_iter().collect();
        }
        Ok(before)
    }
}

impl Session {
    /// Exports everything of an export of events once more and replaces what it wrote before.
    pub(super) async fn begin_again(
        self,
        export: Arc<ExportPlan>,
        tables: Tables,
        live: Arc<Live>,
        stop: watch::Receiver<bool>,
        notes: Arc<Notes>,
    ) -> ExportReport {
        let mut whole = ExportReport { export: export.name.clone(), ..ExportReport::default() };
        let running = (live.clone(), stop.clone());
        let began = match self.run_beside(&export, &mut whole, (tables, live, stop), &notes.hold).await {
            Ok((folder, beside, last)) => {
                self.replace(&export, (&folder, &beside), last, &mut whole, (&notes.hold, running)).await
            }
            Err(error) => Err(error.context("nothing was replaced")),
        };
        whole.error = began.err();
        whole
    }

    /// Takes the export's own partition over: what its last owner committed is published afterwards.
    async fn take_over(
        &self,
        lake: &Lake,
        export: &ExportPlan,
        (hold, stop): (&HoldSender, watch::Receiver<bool>),
    ) -> Result<Partition> {
        let (nonce, writer) = (self.surroundings.nonce(), self.options.writer.clone());
        let identity = Identity { nonce, writer, author: Author::this(export.flush.every) };
        hold.begin(nonce);
        let mut partition = Partition::look(lake.clone(), &export.name, &export.partition, identity, |_| ()).await?;
        pipeline::wait_for_owner(&export.name, &mut partition, self.options.when_owned, hold, stop).await?;
        hold.set(HoldState::TakingOver);
        if partition.take_over().await? == Outcome::Overtaken {
            return Err(pipeline::overtaken(None));
        }
        hold.set(HoldState::Published);
        Ok(partition)
    }

    /// Runs the export into the lake beside its own; returns that lake's folder, the plan for it, and its last commit, which
    /// holds everything.
    async fn run_beside(
        &self,
        export: &Arc<ExportPlan>,
        whole: &mut ExportReport,
        (tables, live, stop): (Tables, Arc<Live>, watch::Receiver<bool>),
        hold: &HoldSender,
    ) -> Result<(String, Arc<ExportPlan>, Commit)> {
        let own = self.open_lake(&export.lake, iter::empty(), &live, &stop).await?;
        let partition = self.take_over(&own, export, (hold, stop.clone())).await?;
        period::remove_left(&own, export, partition.epoch()).await?;
        let mut session = self.clone();
        session.options.follow = false;
        for attempt in 0..2 {
            let folder = folder(&own, export).await?;
            let beside = &Arc::new(beside(export, &folder));
            let lake = self.open_lake(&beside.lake, iter::empty(), &live, &stop).await?;
            let notes = Arc::new(Notes::new(&session, beside.clone()));
            if let Some(last) = last(&lake, beside).await?
                && (last.configuration != pipeline::configuration_of(beside)
                    || last.plugins != self.digests(beside).await?)
            {
                remove(&lake).await?;
                self.lakes.forget(&beside.lake).await;
            }
            session.run_into(beside, whole, (tables.clone(), live.clone(), stop.clone()), &notes).await?;
            if last(&lake, beside).await?.is_some_and(|last| has_pending(&last)) {
                session.run_into(&all(beside), whole, (tables.clone(), live.clone(), stop.clone()), &notes).await?;
            }
            let Some(last) = last(&lake, beside).await? else {
                return Err(Error::source("the source has no records").with_help("look at the source, then run again"));
            };
            let Totals { records_read, dead_letters, bytes_written, .. } = last.totals;
            if is_mostly_refused(records_read, dead_letters) {
                return Err(Error::new(
                    Kind::Data,
                    format!("{} of {} records were refused", human::count(dead_letters), human::count(records_read)),
                )
                .with_help("`lakeport check` shows why: change the configuration, then run again"));
            }
            if size_of(&files(&lake).await?) == bytes_written {
                return Ok((folder, beside.clone(), last));
            }
            // Left by a process that had replaced the files, and died before it removed the rest.
            if attempt == 0 {
                remove(&lake).await?;
                self.lakes.forget(&beside.lake).await;
            }
        }
        Err(incomplete(&own))
    }

    /// Runs an export once, into the lake that it names.
    async fn run_into(
        &self,
        export: &Arc<ExportPlan>,
        whole: &mut ExportReport,
        (tables, live, stop): (Tables, Arc<Live>, watch::Receiver<bool>),
        notes: &Arc<Notes>,
    ) -> Result<()> {
        whole.absorb(self.clone().run_one(export.clone(), None, tables, live, stop, notes.clone()).await);
        whole.error.take().map_or(Ok(()), Err)
    }

    /// SHA-256 of the export's plugins, by name.
    async fn digests(&self, export: &Arc<ExportPlan>) -> Result<BTreeMap<String, String>> {
        let (session, export) = (self.clone(), export.clone());
        let plugins = tokio::task::spawn_blocking(move || session.load(&export)).await;
        let plugins = plugins.map_err(|e| Error::internal(format!("loading plugins died: {e}")))??;
        Ok(plugins.into_iter().map(|(name, plugin)| (name, plugin.digest.clone())).collect())
    }

    /// Puts the files of the lake beside into the place of what the export wrote before, with one commit.
    async fn replace(
        &self,
        export: &ExportPlan,
        (folder, beside): (&str, &ExportPlan),
        new: Commit,
        report: &mut ExportReport,
        (hold, (live, stop)): (&HoldSender, (Arc<Live>, watch::Receiver<bool>)),
    ) -> Result<()> {
        let lake = self.open_lake(&export.lake, iter::empty(), &live, &stop).await?;
        let beside_lake = self.open_lake(&beside.lake, iter::empty(), &live, &stop).await?;
        let mut partition = self.take_over(&lake, export, (hold, stop)).await?;
        let before = Before::look_up(&lake, export).await?;
        for key in &before.edited {
            report.warnings.push(format!("`{}` was edited by someone and stays as it is", lake.url(key)));
        }
        let parts = |series: &str| before.parts.get(series).copied().unwrap_or(0);
        let place = |meta: &Meta| {
            let (series, part) = export.path.parts_of(&export.name, &meta.key)?;
            let part = Part { part: parts(&series) + part, series };
            Some((meta.key.clone(), part.key(), Publication::Part(part)))
        };
        let mut moves = Vec::new();
        let made = files(&beside_lake).await?;
        if size_of(&made) != new.totals.bytes_written {
            return Err(incomplete(&lake));
        }
        for meta in made {
            let unknown = || Error::internal(format!("`{}` is none of the export's files", beside_lake.url(&meta.key)));
            moves.push(place(&meta).ok_or_else(unknown)?);
        }
        let beside_letters = letters::folder(&partition_folder(&beside_lake, &export.name, &export.partition));
        let own_letters = letters::folder(&partition_folder(&lake, &export.name, &export.partition));
        for meta in beside_lake.list(&beside_letters).await? {
            let name = meta.key.strip_prefix(&beside_letters).unwrap_or_default().to_owned();
            moves.push((meta.key, format!("{own_letters}{name}"), Publication::New));
        }
        let objects =
            stream::iter(moves).map(|(from, key, publication)| object(&beside_lake, folder, from, (key, publication)));
        let objects: Vec<_> = objects.buffered(AT_ONCE).try_collect().await?;
        let last = partition.last();
        let now = self.surroundings.clock.now();
        let earliest =
            [last, Some(&new)].into_iter().flatten().map(|commit| commit.write_time.timestamp_micros() + 1_000);
        let write_time = earliest.max().unwrap_or(now).max(now);
        let pending = last.iter().flat_map(|last| last.series.values()).flat_map(|series| &series.pending);
        let pending: Vec<_> = pending.map(|pending| pending.staged.clone()).collect();
        let series = new.series.into_iter().map(|(series, state)| {
            let parts = parts(&series) + state.parts;
            (series, Series { parts, ends: state.ends, touched: write_time, ..Series::default() })
        });
        let commits = last.map_or(0, |last| last.totals.commits) + 1;
        let draft = Draft {
            write_time: DateTime::<Utc>::from_timestamp_micros(write_time).unwrap_or_default(),
            seed: new.seed,
            configuration: new.configuration,
            plugins: new.plugins,
            span: SpanEntry { records: new.totals.records_read, bytes: new.totals.bytes_read, ..SpanEntry::default() },
            position: new.position,
            objects,
            obsolete: before.files.into_keys().chain(before.letters).chain(pending).collect(),
            series: series.collect(),
            table: None,
            dataset: None,
            totals: Totals { commits, ..new.totals },
        };
        let replaced = commit_replacement(&mut partition, draft, &beside_lake, (hold, &mut *report)).await;
        if let Err(Error { kind: Kind::Fenced, .. }) = &replaced {
            // Not removed: its folder is that of whoever goes on with the attempt, who may be at work.
            let url = beside_lake.url("");
            report.warnings.push(format!("the new files stay in `{url}`, and the next `--again` goes on with them"));
        }
        replaced
    }
}

/// Commits files of the lake `beside` into the place of those of before, and removes what is left of it. Where that fails, a warning says
/// so: the files are replaced.
async fn commit_replacement(
    partition: &mut Partition,
    draft: Draft,
    beside: &Lake,
    (hold, report): (&HoldSender, &mut ExportReport),
) -> Result<()> {
    fail::point("again-replace");
    hold.set(HoldState::Committing);
    if partition.commit(draft).await? == Outcome::Overtaken {
        return Err(pipeline::overtaken(None));
    }
    hold.set(HoldState::Published);
    fail::point("again-replaced");
    if let Err(error) = remove(beside).await {
        report.warnings.push(format!(
            "the files are replaced, and the next `--again` removes what is left of `{}`: {error}",
            beside.url("")
        ));
    }
    Ok(())
}

/// The export, into a lake in a folder below its own.
fn beside(export: &ExportPlan, folder: &str) -> ExportPlan {
    let lake = LakePlan { location: export.lake.location.below(folder), ..LakePlan::clone(&export.lake) };
    ExportPlan { lake: Arc::new(lake), ..export.clone() }
}

/// The export with files that are put together, whether or not their time is over.
fn all(export: &ExportPlan) -> Arc<ExportPlan> {
    Arc::new(ExportPlan { files: Files::Rolling, ..export.clone() })
}

/// The folder of all attempts.
fn attempts(lake: &Lake, export: &ExportPlan) -> String {
    format!("{}/{}/{AGAIN}", lake.log_folder(), encode_segment(&export.name))
}

/// The folder of the attempt that was begun last and not completed, or of a new one.
async fn folder(lake: &Lake, export: &ExportPlan) -> Result<String> {
    let folder = attempts(lake, export);
    let number = |meta: &Meta| meta.key.strip_prefix(&folder)?.trim_start_matches('/').split('/').next()?.parse().ok();
    let begun: Option<u64> = lake.list(&folder).await?.iter().filter_map(number).max();
    let number = match begun {
        Some(begun) => begun,
        None => read_last(lake, &export.name, &export.partition).await?.map_or(0, |(slot, _)| slot),
    };
    Ok(format!("{folder}/{number:020}"))
}

fn size_of(files: &[Meta]) -> u64 {
    files.iter().map(|meta| meta.size).sum()
}

fn incomplete(lake: &Lake) -> Error {
    Error::lake(format!("the new files in the log folder of `{}` are not those that were written", lake.url("")))
        .with_help("something else writes into the log folder: find it and stop it, then run again")
}

async fn last(lake: &Lake, export: &ExportPlan) -> Result<Option<Commit>> {
    Ok(read_last(lake, &export.name, &export.partition).await?.map(|(_, commit)| commit))
}

fn has_pending(commit: &Commit) -> bool {
    commit.series.values().any(|series| !series.pending.is_empty())
}

/// The files that readers of a lake would see.
async fn files(lake: &Lake) -> Result<Vec<Meta>> {
    let log = format!("{}/", lake.log_folder());
    Ok(lake.list("").await?.into_iter().filter(|meta| !meta.key.starts_with(&log)).collect())
}

/// Describes a file of the lake beside as an object that waits to be published at `key`.
async fn object(
    beside: &Lake,
    folder: &str,
    from: String,
    (key, publication): (String, Publication),
) -> Result<Object> {
    let gone = || Error::lake(format!("`{}` is gone", beside.url(&from)));
    let staged = beside.digest(&from).await?.ok_or_else(gone)?;
    Ok(Object {
        key,
        content: Content::Staged(format!("{folder}/{from}")),
        length: staged.length,
        sha256: staged.sha256,
        rows: 0,
        publication,
    })
}

/// Removes everything in a lake: its log last and in order, so that an interrupted removal leaves no log without its files.
async fn remove(lake: &Lake) -> Result<()> {
    let (log, rest): (Vec<_>, Vec<_>) = lake.list("").await?.into_iter().partition(|meta| meta.key.contains("/log/"));
    let deleted = stream::iter(rest).map(|meta| async move { lake.delete(&meta.key).await });
    deleted.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    for meta in log {
        lake.delete(&meta.key).await?;
    }
    Ok(())
}

impl Location {
    /// The place `folder` below this one.
    fn below(&self, folder: &str) -> Location {
        let mut location = self.clone();
        match &mut location {
            Location::Local(path) => path.push(folder),
            Location::Memory(name) => *name = format!("{name}/{folder}"),
            Location::Azure { prefix, .. } | Location::S3 { prefix, .. } | Location::Gcs { prefix, .. } => {
                *prefix = format!("{prefix}/{folder}").trim_start_matches('/').to_owned();
            }
        }
        location
    }
}
