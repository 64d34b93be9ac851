//! Exports one period of an export of events again: the same records, into the same path.
//!
//! ```text
//! {log folder}/{export}/again/period-{epoch}/    a lake of its own while it lasts: the new files, and their commit log
//! ```
//!
//! 1. The export runs into that lake, from the beginning of its source up to where the last commit has read it. Of what it
//!    reads, it writes the records of the period that are no dead letters.
//! 2. One commit in the export's own log, made by the owner that was there from the beginning, puts the new files into the place
//!    of those that the period has. Position, counts, dead letters, and other periods stay as they are. From here on, recovery is
//!    that of any commit.
//! 3. What is left of the folder is removed. A process that dies before that leaves it to the next time.
//!
//! The epoch is the owner's, so no two attempts share a folder.

use std::collections::BTreeMap;
use std::iter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::period_files::{PeriodFile, PeriodFiles, Replacement, names};
use super::refused::Refused;
use super::{
    AT_ONCE, Before, all, attempts, beside, commit_replacement, files, has_pending, incomplete, last, remove, size_of,
};
use crate::commit::{Commit, Draft, Partition, SpanEntry, Totals, partition_folder, read_last};
use crate::error::{Error, Kind, Result};
use crate::lake::{Lake, Version};
use crate::layout::{Period, Template, part_key};
use crate::pipeline::{HoldSender, Tables};
use crate::plan::{Excerpt, ExportPlan, Files, Timestamp};
use crate::session::Session;
use crate::session::notes::Notes;
use crate::source::{Bounded, Position};
use crate::telemetry::{ExportReport, Live, human};

/// The path of a period's files.
///
/// # Errors
/// Of kind `Config`: the period cannot be exported again by itself.
pub fn path_of_period(export: &ExportPlan, period: Period) -> Result<Template> {
    let name = &export.name;
    if export.timestamp == Timestamp::Write {
        let message = format!(
            "export `{name}` has `timestamp = \"write\"`: which records were written in `{period}` is not in its source"
        );
        let help = format!("`lakeport run --again {name}`, without `--period`, exports everything again");
        return Err(Error::config(message).with_help(help));
    }
    let length = export.granularity;
    if period.granularity() < length {
        let whole = Period::of(period.start(), length);
        let message = format!("`--period {period}`: a file of export `{name}` covers a whole {}", length.name());
        return Err(Error::config(message).with_help(format!("`--period {whole}`")));
    }
    export.path.of_period(period).map_err(|missing| {
        let message = format!(
            "`--period {period}`: the path of export `{name}` has no `{{{}}}`, so its files do not tell that period from others",
            missing.name()
        );
        Error::config(message).with_help("name a longer period, or leave `--period` out to export everything again")
    })
}

impl Before {
    /// Looks up what exporting a period again replaces.
    ///
    /// # Errors
    /// Of kind `Lake`, `Config`, `Source` or `Data`: why the period cannot be exported again.
    pub async fn look_up_period(lake: &Lake, export: &ExportPlan, period: Period) -> Result<Before> {
        let of_period = path_of_period(export, period)?;
        let last = read_last(lake, &export.name, &export.partition).await?.map(|(_, commit)| commit);
        let last = checked(export, last.as_ref())?;
        // Whether somebody has edited some of them is asked once the partition is taken over and its last commit published.
        let found = PeriodFiles::look_up(lake, export, &of_period, last).await?;
        let unchecked = found.unchecked;
        let files = found.files.into_values().flat_map(BTreeMap::into_values);
        Ok(Before { files: files.map(|file| (file.key, file.staged.length)).collect(), unchecked, ..Before::default() })
    }
}

/// The last commit, where a period can be exported again after it.
fn checked<'a>(export: &ExportPlan, last: Option<&'a Commit>) -> Result<&'a Commit> {
    let name = &export.name;
    let again = || format!("`lakeport run --again {name}`, without `--period`, exports everything again");
    let Some(last) = last else {
        return Err(
            Error::config(format!("export `{name}` has written nothing yet")).with_help("run it without `--again`")
        );
    };
    if last.table.is_some() || last.dataset.is_some() {
        return Err(Error::config(format!("the log of export `{name}` is not that of an export of events"))
            .with_help("set its `type` back, or give it another name"));
    }
    let is_made =
        |series: &str| export.path.parts_of(name, &part_key(series, 0)).is_some_and(|(made, _)| made == series);
    if let Some(other) = last.series.keys().find(|series| !is_made(series)) {
        let message =
            format!("export `{name}` wrote `{other}`, which its path `{}` does not make any more", export.path);
        return Err(Error::config(message).with_help(again()));
    }
    // Of some that were truncated or replaced, no cursor tells any more.
    let read = |next: u64| next < last.totals.bytes_read;
    let known = last.position.cursors.iter().filter(|cursor| !cursor.copied).map(|cursor| cursor.next).sum();
    if read(known) {
        return Err(no_longer_there(known, last));
    }
    if let Some(gone) = last.position.cursors.iter().find(|cursor| cursor.is_lost() && cursor.next > 0) {
        let message = format!("`{}` is gone, and what came from it cannot be written again", gone.origin.name);
        return Err(Error::source(message).with_help("put it back, then run again"));
    }
    Ok(last)
}

/// The error for a source that holds less than was exported of it.
fn no_longer_there(found: u64, last: &Commit) -> Error {
    let (found, read) = (human::bytes(found), human::bytes(last.totals.bytes_read));
    Error::source(format!(
        "the source has {found} of the {read} that were exported: a file was truncated or replaced since"
    ))
    .with_help(
        "a period can be exported again only from all that was exported (and not with a smaller `max-record-size`)",
    )
}

/// Removes what owners of earlier epochs left. Nothing of it waits to be published once the partition is taken over.
pub(super) async fn remove_left(lake: &Lake, export: &ExportPlan, epoch: u64) -> Result<()> {
    let prefix = format!("{}/period-", attempts(lake, export));
    let epoch_of = |key: &str| key.strip_prefix(&prefix)?.split('/').next()?.parse::<u64>().ok();
    let left = lake.list(&attempts(lake, export)).await?;
    let left = left.into_iter().filter(|meta| epoch_of(&meta.key).is_some_and(|of| of < epoch));
    let deleted: Vec<_> = left.map(|meta| async move { lake.delete(&meta.key).await }).collect();
    stream::iter(deleted).buffer_unordered(AT_ONCE).try_collect().await
}

/// So many records more than before may be refused until an attempt is given up.
const MORE_LETTERS: u64 = 1_000;

const NOTHING: &str = "nothing was replaced";

/// What a run shares with all of its steps.
type Running = (Tables, Arc<Live>, watch::Receiver<bool>);

/// A period that is exported again, by the owner of its partition.
struct Attempt<'a> {
    export: &'a Arc<ExportPlan>,
    period: Period,
    /// The path of the period's files.
    path: Template,
    lake: &'a Lake,
    partition: &'a Partition,
    /// The last commit.
    before: &'a Commit,
}

impl<'a> Attempt<'a> {
    /// An attempt, where the period can be exported again by itself.
    ///
    /// # Errors
    /// Of kind `Config` or `Source`: why it cannot.
    fn new(
        (export, period): (&'a Arc<ExportPlan>, Period),
        lake: &'a Lake,
        partition: &'a Partition,
    ) -> Result<Attempt<'a>> {
        let path = path_of_period(export, period)?;
        let before = checked(export, partition.last())?;
        Ok(Attempt { export, period, path, lake, partition, before })
    }

    /// Looks up the files that the period has.
    async fn look_up(&self) -> Result<PeriodFiles> {
        let found = PeriodFiles::look_up(self.lake, self.export, &self.path, self.before).await?;
        found.check(self.lake)?;
        Ok(found)
    }
}

/// Where a period is exported beside its files.
struct Beside {
    lake: Lake,
    plan: Arc<ExportPlan>,
    folder: String,
    /// The dead letters that there were before.
    refused: Refused,
    excerpt: Arc<Excerpt>,
}

impl Session {
    /// Exports a period of an export of events again and replaces what it wrote of it before.
    pub(in crate::session) async fn export_period_again(
        self,
        (export, period): (Arc<ExportPlan>, Period),
        tables: Tables,
        live: Arc<Live>,
        stop: watch::Receiver<bool>,
        notes: Arc<Notes>,
    ) -> ExportReport {
        let mut whole = ExportReport { export: export.name.clone(), ..ExportReport::default() };
        let done = self.replace_period(&export, period, &mut whole, (tables, live, stop), &notes.hold).await;
        // The same as before: none is new.
        whole.dead_letters = 0;
        whole.error = done.err();
        whole
    }

    async fn replace_period(
        &self,
        export: &Arc<ExportPlan>,
        period: Period,
        whole: &mut ExportReport,
        running: Running,
        hold: &HoldSender,
    ) -> Result<()> {
        let lake = self.open_lake(&export.lake, iter::empty(), &running.1, &running.2).await?;
        // Held until the end: whoever commits in between is the owner then, and nothing is replaced.
        let mut partition = self.take_over(&lake, export, (hold, running.2.clone())).await?;
        remove_left(&lake, export, partition.epoch()).await?;
        let nothing = |error: Error| error.context(NOTHING);
        let attempt = Attempt::new((export, period), &lake, &partition).map_err(nothing)?;
        let made = self.beside(&attempt, &running).await.map_err(nothing)?;
        let planned = async {
            let last = self.export_beside(&attempt, whole, &made, running).await?;
            self.plan_replacement(&attempt, whole, (&made, &last)).await
        };
        let draft = match planned.await {
            Ok(Some(draft)) => draft,
            Ok(None) => {
                whole.warnings.push(format!("the files of `{period}` have the same bytes already: {NOTHING}"));
                (whole.files, whole.records_written, whole.bytes_written) = (0, 0, 0);
                return remove(&made.lake).await;
            }
            Err(error) => {
                // What cannot be removed now is removed by the next attempt.
                let _ = remove(&made.lake).await;
                return Err(nothing(error));
            }
        };
        let replaced = commit_replacement(&mut partition, draft, &made.lake, (hold, &mut *whole)).await;
        if let Err(Error { kind: Kind::Fenced, .. }) = &replaced
            && let Err(error) = partition.withdrawal().sweep_folder(&made.folder).await
        {
            whole.warnings.push(format!("the next `--again` removes what is left of `{}`: {error}", made.lake.url("")));
        }
        replaced
    }

    /// A lake for the period's new files.
    async fn beside(&self, attempt: &Attempt<'_>, (_, live, stop): &Running) -> Result<Beside> {
        let Attempt { export, period, lake, partition, before, .. } = *attempt;
        // What cannot be replaced is found before anything is exported.
        attempt.look_up().await?;
        let envelope = export.source.mapping.envelope;
        let refused = Refused::read(lake, partition.folder(), &before.position, envelope).await?;
        let folder = format!("{}/period-{:020}", attempts(lake, export), partition.epoch());
        let mut plan = beside(export, &folder);
        let excerpt =
            Arc::new(Excerpt { period, dead_letters: refused.whole(), envelope, met: Mutex::new(refused.unmet()) });
        plan.excerpt = Some(excerpt.clone());
        // They are those of before, which is looked at when all is exported, or a wrong setting makes more of them.
        plan.max_dead_letters = Some(refused.letters() + MORE_LETTERS);
        if let Files::Sealed { lateness } = &mut plan.files {
            // One file, however late its records came.
            *lateness = Duration::MAX;
        }
        let plan = Arc::new(plan);
        let lake = self.open_lake(&plan.lake, iter::empty(), live, stop).await?;
        Ok(Beside { lake, plan, folder, refused, excerpt })
    }

    /// Exports the period into the lake beside; returns the last commit there.
    async fn export_beside(
        &self,
        attempt: &Attempt<'_>,
        whole: &mut ExportReport,
        made: &Beside,
        running: Running,
    ) -> Result<Commit> {
        let Attempt { export, lake, partition, before, .. } = *attempt;
        let mut session = self.clone();
        session.options.follow = false;
        let notes = Arc::new(Notes::new(&session, made.plan.clone()));
        session.source = Arc::new(Bounded::new(self.source.clone(), before.position.clone()));
        session.run_into(&made.plan, whole, running.clone(), &notes).await?;
        if last(&made.lake, &made.plan).await?.is_some_and(|last| has_pending(&last)) {
            // Everything was read.
            session.source = Arc::new(Bounded::new(self.source.clone(), Position::default()));
            session.run_into(&all(&made.plan), whole, running, &notes).await?;
        }
        let none = || Error::source("the source has no records").with_help("look at the source, then run again");
        let last = last(&made.lake, &made.plan).await?.ok_or_else(none)?;
        if last.totals.bytes_read < before.totals.bytes_read {
            return Err(no_longer_there(last.totals.bytes_read, before));
        }
        let (folder, envelope) =
            (partition_folder(&made.lake, &export.name, &export.partition), export.source.mapping.envelope);
        let met = std::mem::take(&mut *made.excerpt.met.lock().expect("nothing panics while it counts"));
        made.refused.check_met(lake, partition.folder(), &met, envelope).await?;
        made.refused.cover(&made.lake, &folder, envelope).await?;
        Ok(last)
    }

    /// The commit that puts the new files into the place of the old ones; `None` where they are the same.
    async fn plan_replacement(
        &self,
        attempt: &Attempt<'_>,
        whole: &mut ExportReport,
        (beside, made): (&Beside, &Commit),
    ) -> Result<Option<Draft>> {
        let Attempt { export, period, lake, before, .. } = *attempt;
        let found = attempt.look_up().await?;
        let new = new_files(lake, export, (beside, made)).await?;
        if new.is_empty() {
            return Err(match found.count() + found.pending.len() {
                0 => Error::source(format!("the source has no records of `{period}`")).with_help(
                    "look at the period: it is in UTC, by the time that decides which file a record goes to",
                ),
                files => {
                    Error::new(Kind::Data, format!("no record of `{period}` is left, and {files} files hold some"))
                        .with_help("look at filters and transforms; if none is to be left, delete those files yourself")
                }
            });
        }
        for key in &found.moved {
            let url = lake.url(key);
            whole.warnings.push(format!("`{url}` was moved or deleted by someone: its records are exported again"));
        }
        if !found.unchecked.is_empty() {
            let urls: Vec<_> = found.unchecked.iter().map(|key| lake.url(key)).collect();
            whole.warnings.push(format!(
                "{} replaced whether or not someone has edited it: the log does not tell any more what was written",
                names(&urls)
            ));
        }
        let earliest = before.write_time.max(made.write_time).timestamp_micros() + 1_000;
        let write_time = earliest.max(self.surroundings.clock.now());
        let states = (&before.series, &made.series);
        let replacement = found.replace_by(new, states, (write_time, period.end(), lake.is_local()));
        if replacement.is_empty() {
            return Ok(None);
        }
        let Replacement { objects, obsolete, series } = replacement;
        Ok(Some(Draft {
            write_time: DateTime::<Utc>::from_timestamp_micros(write_time).unwrap_or_default(),
            seed: made.seed,
            configuration: made.configuration.clone(),
            plugins: made.plugins.clone(),
            span: SpanEntry::default(),
            position: before.position.clone(),
            objects,
            obsolete,
            series,
            table: None,
            dataset: None,
            totals: Totals { commits: before.totals.commits + 1, ..before.totals },
        }))
    }
}

/// The files that were made beside, by series and part, with the keys that they are to be published from.
async fn new_files(
    lake: &Lake,
    export: &ExportPlan,
    (beside, made): (&Beside, &Commit),
) -> Result<BTreeMap<String, Vec<(u32, PeriodFile)>>> {
    let metas = files(&beside.lake).await?;
    if size_of(&metas) != made.totals.bytes_written {
        return Err(incomplete(lake));
    }
    let read = stream::iter(metas).map(|meta| async move {
        let unknown = || Error::internal(format!("`{}` is none of the export's files", beside.lake.url(&meta.key)));
        let (series, part) = export.path.parts_of(&export.name, &meta.key).ok_or_else(unknown)?;
        let staged = beside.lake.digest(&meta.key).await?.ok_or_else(|| incomplete(lake))?;
        let key = format!("{}/{}", beside.folder, meta.key);
        Ok::<_, Error>((series, part, PeriodFile { key, staged, version: Version::unknown() }))
    });
    let mut new: BTreeMap<String, Vec<(u32, PeriodFile)>> = BTreeMap::new();
    for (series, part, file) in read.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        new.entry(series).or_default().push((part, file));
    }
    new.values_mut().for_each(|files| files.sort_by_key(|(part, _)| *part));
    Ok(new)
}
