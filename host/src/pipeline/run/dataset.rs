//! The tables of an export of tables: what a span changed goes into them, and a snapshot of what is new comes out when one is due.
//!
//! A snapshot is one commit: new copies of the partitions that changed, and, as the commit's last object, the catalog that points
//! at them. Copies stay for a while after newer ones have taken their place, for readers that are still on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::moves::Together;
use super::table::state_object;
use crate::commit::Object;
use crate::dataset::{
    DatasetState, Format, PassedOver, Sync, TableEntry, TableName, TableSchema, file_key, no_columns, partition_of,
    rfc3339,
};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::pipeline::kinds::{Found, Kinds};
use crate::pipeline::rows::RowChange;
use crate::pipeline::table_changes::{TableChanges, Truncation};
use crate::plan::{ExportPlan, Input, PluginUse, TablesPlan};
use crate::plugin::{Moment, Toolbox};
use crate::source::Position;
use crate::table::{self, Apply, Cache, Change, Emit, RowTerms, TableState};

/// The tables of a run's export, as of the last span that ended.
pub struct Dataset {
    pub(super) plan: Arc<TablesPlan>,
    pub(super) export: Arc<ExportPlan>,
    pub(super) toolbox: Arc<dyn Toolbox>,
    pub(super) state: DatasetState,
    pub(super) cache: Cache,
    /// The columns of each table that the format is known to write.
    pub(super) accepted: BTreeMap<String, TableSchema>,
    /// Of the format's files.
    pub(super) extension: String,
    /// Objects that nobody needs any more once the next commit is made.
    pub(super) obsolete: Vec<String>,
    /// Somebody said that this machine's clock is right.
    pub(super) trusts_clock: bool,
    /// The state holds something that no commit does.
    pub(super) unsaved: bool,
    /// What this run has passed over.
    passed_over: PassedOver,
}

/// When the rows of a span are written. Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Rises from commit to commit: rows are ordered by it.
    pub at: i64,
    /// By a clock that is right, as far as that is known: decides the partition of new rows, and how long files stay.
    pub filed: i64,
}

/// What a span adds to the lake besides its files.
#[derive(Default)]
pub(super) struct Additions {
    pub written: Vec<Object>,
    pub obsolete: Vec<String>,
    /// Staged objects so far, for their names.
    staged: usize,
}

impl Additions {
    /// Nothing yet but what is superfluous already.
    pub fn new(obsolete: Vec<String>) -> Additions {
        Additions { obsolete, ..Additions::default() }
    }

    /// A name that nothing else is staged under.
    pub fn next_name(&mut self, folder: &str) -> String {
        self.staged += 1;
        format!("{folder}/table-{}", self.staged)
    }
}

impl Dataset {
    /// The tables as the last commit has them and the configuration wants them. `full`: the next snapshot shall hold everything;
    /// `untold`: what the last commit tells readers has not reached them. Call it where blocking is allowed.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, where the format cannot be opened.
    pub fn open(
        plan: Arc<TablesPlan>,
        export: Arc<ExportPlan>,
        toolbox: Arc<dyn Toolbox>,
        (mut state, read): (DatasetState, Position),
        moment: Moment,
        (full, untold): (bool, bool),
    ) -> Result<Dataset> {
        let columns = TableSchema { table: export.name.clone(), ..TableSchema::default() };
        let format = toolbox.table_format(&export.format, &columns, moment)?;
        let extension = format.file_type().extension.clone();
        // A format that describes nothing shows here.
        drop(toolbox.catalog(&export.format, moment)?);
        let linked: BTreeMap<String, u64> =
            state.tables.iter().map(|(name, entry)| (name.clone(), entry.link)).collect();
        let PluginUse { plugin, config } = &export.format;
        let format = Format { plugin: &plugin.name, config, extension: &extension };
        let kinds = Kinds::new(&plan);
        state.passed_over.retain(|kind| kinds.find(&TableName::plain(kind)) == Found::Nothing);
        let (obsolete, changed) = state.follow(&plan, format, moment.write_time)?;
        refuse_to_reread(&export, &linked, &state, &read)?;
        let unsaved = changed || (full && !state.full);
        state.full |= full;
        let cache = Cache::default();
        let is_new = |(name, entry): &(&String, &TableEntry)| linked.get(*name) != Some(&entry.link);
        let new = state.tables.iter().filter(is_new).map(|(name, _)| name.clone()).collect();
        let source = export.source.clone();
        let accepted = BTreeMap::new();
        let mut dataset = Dataset {
            plan,
            export,
            toolbox,
            state,
            cache,
            accepted,
            extension,
            obsolete,
            trusts_clock: false,
            unsaved,
            passed_over: PassedOver::default(),
        };
        dataset.let_join(new, &source, &read, moment.write_time);
        if dataset.state.joining.is_some() && !matches!(source.input, Input::Files(_)) {
            return Err(Error::config(format!(
                "tables catch up with source `{}`, which is standard input now",
                source.name
            ))
            .with_help("let them catch up with the files that it had first, or give the export another name"));
        }
        dataset.unsaved |= untold || dataset.catalog_news(moment.write_time).is_some();
        // What an owner that died was about to tell readers may not have reached them.
        dataset.state.catalog.clear();
        Ok(dataset)
    }

    /// Whether something has to be committed at `now` though nothing was read. `has_reached`: the source was read to its end.
    pub fn is_due(&self, now: i64, has_reached: bool) -> bool {
        let completes = |(name, entry): (&String, &TableEntry)| self.completes(name, entry, has_reached);
        self.unsaved || !self.due(now).is_empty() || self.state.tables.iter().any(completes)
    }

    /// Whether something is not committed that reading would not bring.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// How long a span that begins at `now` lasts at most: until the next snapshot; where the time for one has passed, because
    /// nothing was there to be written, as long as there is between two. Microseconds.
    pub fn lasts(&self, now: i64) -> Option<u64> {
        let every = u64::try_from(self.plan.every.as_micros()).unwrap_or(u64::MAX);
        let left = |last| u64::try_from(self.after(last).saturating_sub(now)).ok().filter(|left| *left > 0);
        self.state.snapshot.map(|last| left(last).unwrap_or(every).min(every))
    }

    /// The time of the snapshot after one at `last`.
    fn after(&self, last: i64) -> i64 {
        last.saturating_add(i64::try_from(self.plan.every.as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether the time for a snapshot has come. One in the future is one of a clock that was wrong.
    pub(super) fn is_scheduled(&self, now: i64) -> bool {
        self.state.full || self.state.snapshot.is_none_or(|last| last > now || now >= self.after(last))
    }

    /// Whether a table waits for the end of its source. `first`: that is the end that was found first in this run.
    pub fn syncs(&self, first: bool) -> bool {
        let tables = || self.state.tables.iter();
        tables().any(|(name, entry)| self.completes(name, entry, true))
            || first && tables().any(|(_, entry)| entry.sync == Sync::NotStarted)
    }

    /// How many tables stopped, and why the first one did, as an error; `None` where none did.
    pub fn stopped(&self) -> Option<Error> {
        let stopped: Vec<_> = self.state.tables.values().filter_map(|entry| entry.stopped.as_deref()).collect();
        let (first, rest) = stopped.split_first()?;
        let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        let tables = self.state.tables.len();
        let message = format!("{} of {tables} tables stopped: {first}{more}", stopped.len());
        Some(Error::new(Kind::Data, message).with_help("the other tables go on; `lakeport status` shows all of them"))
    }

    /// What waits for the next snapshot at `now`, for people; `None` where nothing does.
    pub fn note(&self, now: i64) -> Option<String> {
        let is_columnless = |entry: &&TableEntry| {
            entry.sync == Sync::Completed
                && entry.stopped.is_none()
                && entry.schema.columns.is_empty()
                && entry.rows.keys > 0
        };
        if let Some(entry) = self.state.tables.values().find(is_columnless) {
            return Some(no_columns(&self.export.name, &entry.schema.table));
        }
        let waiting = self.state.tables.values().filter(|entry| entry.has_news());
        let (partitions, tables) = waiting.fold((0, 0), |(sum, count), entry| (sum + entry.changed.len(), count + 1));
        if tables == 0 {
            return None;
        }
        let what = format!("{partitions} changed partitions of {tables} tables wait for the next snapshot");
        let syncs = self.state.tables.values().any(|entry| entry.has_news() && entry.sync != Sync::Completed);
        Some(match self.state.snapshot.map(|last| self.after(last)) {
            _ if syncs => format!("{what}, which needs all of the source: run again"),
            Some(next) if next > now => {
                format!("{what}: run again at {} or later, or use --full {}", rfc3339(next), self.export.name)
            }
            _ => format!("{what}: run again, or use --follow"),
        })
    }

    /// Counts records that no table has.
    pub(super) fn pass_over(&mut self, records: &PassedOver) {
        self.passed_over.add_all(records);
        self.state.passed_over.add_all(records);
    }

    /// What this run has passed over.
    pub(super) fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    /// What this run has passed over, for people; `None` where that is nothing. A linked table that has seen no record yet may be meant.
    pub(super) fn note_passed_over(&self) -> Option<String> {
        if self.passed_over.is_empty() {
            return None;
        }
        let unseen = |name: &&String| self.state.tables.get(*name).is_some_and(|entry| entry.sync == Sync::NotStarted);
        let meant = self.plan.tables.keys().filter(unseen).find_map(|name| {
            let kinds = self.passed_over.kinds.keys().map(String::as_str);
            let nearest = kinds.max_by(|one, other| {
                let near = |kind: &str| strsim::jaro_winkler(kind.rsplit('.').next().unwrap_or(kind), name);
                near(one).total_cmp(&near(other))
            })?;
            Some(format!(
                "; table `{name}` had no record: to give it those of `{nearest}`, set `kind = \"{nearest}\"` in it"
            ))
        });
        Some(format!("passed over: {}, which no table has{}", self.passed_over, meant.unwrap_or_default()))
    }

    /// Whether a table's initial sync is complete once the source was read to its end.
    pub(super) fn completes(&self, name: &str, entry: &TableEntry, has_reached: bool) -> bool {
        let joins =
            self.state.joining.as_ref().is_some_and(|joining| joining.tables.contains(name) && !joining.arrived);
        entry.sync == Sync::InProgress && entry.stopped.is_none() && has_reached && !joins
    }

    /// The tables that a snapshot at `now` would write.
    pub(super) fn due(&self, now: i64) -> Vec<String> {
        let scheduled = self.is_scheduled(now);
        let is_due = |entry: &TableEntry| {
            let is_wanted = scheduled && (entry.has_news() || self.state.full);
            entry.is_readable() && (entry.published.is_none() || is_wanted)
        };
        self.state.tables.iter().filter(|(_, entry)| is_due(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// The key of a table's file.
    pub(super) fn key(&self, table: &str, monthly: bool, partition: i32, written: i64) -> String {
        format!("{}/{}", self.plan.root, file_key(table, partition, monthly, written, &self.extension))
    }

    /// Applies what a span changed in a table.
    pub(super) async fn change(
        &mut self,
        lake: &Lake,
        name: &str,
        changes: Vec<RowChange>,
        (folder, written): (&str, Written),
        additions: &mut Additions,
    ) -> Result<()> {
        let Some(entry) = self.state.tables.get_mut(name).filter(|entry| entry.stopped.is_none()) else {
            return Ok(());
        };
        let Some(plan) = self.plan.tables.get(name) else { return Ok(()) };
        let changes = TableChanges::take(entry, (name, plan), changes, written.at);
        if let Some(truncation) = changes.truncation
            && self.truncate(lake, name, (truncation, changes.dropped), folder, additions).await?
        {
            return Ok(());
        }
        if changes.folds {
            self.fold_keys(lake, name, (folder, written), additions).await?;
        }
        for part in Together::parts(changes.rows) {
            self.apply(lake, name, part, (folder, written), additions).await?;
        }
        Ok(())
    }

    /// Takes out the rows that went. Answers whether the table stopped: readers of every version were not told which rows went.
    async fn truncate(
        &mut self,
        lake: &Lake,
        name: &str,
        (truncation, dropped): (Truncation, u64),
        folder: &str,
        additions: &mut Additions,
    ) -> Result<bool> {
        let Some(entry) = self.state.tables.get_mut(name) else { return Ok(false) };
        let mut gone = dropped;
        let is_recorded = entry.has_recorded_versions();
        let versions = entry.versions.as_mut().filter(|_| !is_recorded);
        let states = [Some(&mut entry.rows), versions];
        for (at, state) in states.into_iter().flatten().enumerate() {
            match truncation {
                Truncation::All => {
                    additions.obsolete.extend(state.runs.iter().map(|run| run.key.clone()));
                    gone += state.keys;
                    entry.changed.extend(entry.files.keys());
                    *state = TableState::default();
                }
                Truncation::Below(_) if state.runs.is_empty() => {}
                Truncation::Below(version) => {
                    let staged = additions.next_name(folder);
                    let truncated = table::truncate(lake, &self.cache, state, version, &staged).await?;
                    additions.written.extend(truncated.written.map(state_object));
                    additions.obsolete.extend(truncated.obsolete);
                    *state = truncated.state;
                    gone += truncated.gone;
                    if at == 0 {
                        entry.changed.extend(truncated.touched);
                    }
                }
            }
        }
        if gone == 0 || !is_recorded {
            return Ok(false);
        }
        let stopped = format!(
            "table `{name}` was truncated, and with `write = \"append-only\"` there is no record of the rows that went; link it \
             anew to begin with what came after: `lakeport tables link CONFIG {name} --again`"
        );
        tracing::warn!("{stopped}");
        entry.stopped = Some(stopped);
        Ok(true)
    }

    /// Applies changes that can be applied together.
    async fn apply(
        &mut self,
        lake: &Lake,
        name: &str,
        changes: Together,
        (folder, written): (&str, Written),
        additions: &mut Additions,
    ) -> Result<()> {
        let (Some(plan), Some(entry)) = (self.plan.tables.get(name), self.state.tables.get_mut(name)) else {
            return Ok(());
        };
        let partition = partition_of(written.filed, plan.partition).unwrap_or_default();
        let gone: Arc<[_]> = entry.gone().into();
        let versions = entry.versions.is_some();
        let terms = RowTerms { write_time: written.at, partition, versions, gone: gone.clone(), only: None };
        let request = Apply {
            changes: changes.resolve(lake, &self.cache, &entry.rows, &gone).await?,
            emit: Emit::Nothing,
            mark_deletes: false,
            staged_key: additions.next_name(folder),
            rows: terms,
        };
        let (applied, versions) = table::apply_and_collect(lake, &self.cache, &entry.rows, request).await?;
        additions.written.extend(applied.written.map(state_object));
        additions.obsolete.extend(applied.obsolete);
        entry.rows = applied.state;
        entry.changed.extend(applied.touched);
        let Some(kept) = &mut entry.versions else { return Ok(()) };
        let mut next = entry.next_version;
        let mut number = |document| {
            next += 1;
            Change::of_version(document, next)
        };
        let request = Apply {
            changes: versions.into_iter().flatten().map(&mut number).collect(),
            emit: Emit::Nothing,
            mark_deletes: false,
            staged_key: additions.next_name(folder),
            rows: RowTerms::default(),
        };
        let (applied, _) = table::apply_and_collect(lake, &self.cache, kept, request).await?;
        entry.next_version = next;
        *kept = applied.state;
        additions.written.extend(applied.written.map(state_object));
        additions.obsolete.extend(applied.obsolete);
        Ok(())
    }
}

/// Refuses to begin a table again whose source cannot be read from the beginning: all that came before would be lost.
fn refuse_to_reread(
    export: &ExportPlan,
    linked: &BTreeMap<String, u64>,
    state: &DatasetState,
    read: &Position,
) -> Result<()> {
    let is_anew = |(name, entry): &(&String, &TableEntry)| linked.get(*name).is_some_and(|link| *link != entry.link);
    let anew = state.tables.iter().find(is_anew).filter(|_| !read.cursors.is_empty());
    match (&export.source.input, anew) {
        (Input::Stdin { .. } | Input::Http, Some((name, _))) => {
            let source = &export.source.name;
            let what = if export.source.input == Input::Http { "takes requests" } else { "is standard input" };
            Err(Error::config(format!(
                "table `{name}` is to be read from the beginning, and source `{source}` {what}: what came is gone"
            ))
            .with_help(format!(
                "to begin with what comes from now on, unlink `{name}`, run once, and link it again; else set `link` back"
            )))
        }
        _ => Ok(()),
    }
}
