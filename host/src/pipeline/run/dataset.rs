//! The tables of an export of tables: what a span changed goes into them, and a snapshot of what is new comes out when one is due.
//!
//! A snapshot is one commit: new copies of the partitions that changed, and, as the commit's last object, the catalog that points
//! at them. Copies stay for a while after newer ones have taken their place, for readers that are still on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::gather::Gather;
use super::joining::Takes;
use super::table::{Kept, Tabled, state_object};
use crate::commit::{Content, File, Object, Publication};
use crate::dataset::{
    DatasetState, Described, DescribedPartition, DescribedTable, FileEntry, SchemaNews, Sync, TableEntry, file_key,
    partition_of, period, rfc3339,
};
use crate::error::{Error, Kind, Result};
use crate::fail;
use crate::lake::Lake;
use crate::pipeline::row_writer::Portion;
use crate::pipeline::rows::RowChange;
use crate::plan::{ExportPlan, TablesPlan};
use crate::plugin::{CatalogFile, Moment, Toolbox};
use crate::source::Position;
use crate::table::{self, Apply, Cache, Change, Document, Emit, Head, RowTerms, TableState};

/// Rows that are encoded together.
const PORTION: usize = 4096;
/// Bytes of rows that wait for others of their file.
const WAITING: usize = 32 << 20;

/// The tables of a run's export, as of the last span that ended.
pub struct Dataset {
    pub(super) plan: Arc<TablesPlan>,
    pub(super) export: Arc<ExportPlan>,
    pub(super) toolbox: Arc<dyn Toolbox>,
    pub(super) state: DatasetState,
    cache: Cache,
    /// Of the format's files.
    pub(super) extension: String,
    /// Objects that nobody needs any more once the next commit is made.
    pub(super) obsolete: Vec<String>,
    /// The state holds something that no commit does.
    pub(super) unsaved: bool,
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
    /// A name that nothing else is staged under.
    pub fn next_name(&mut self, folder: &str) -> String {
        self.staged += 1;
        format!("{folder}/table-{}", self.staged)
    }
}

impl Dataset {
    /// The tables as the last commit has them and the configuration wants them. Call it where blocking is allowed.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, where the format cannot be opened.
    pub fn open(
        plan: Arc<TablesPlan>,
        export: Arc<ExportPlan>,
        toolbox: Arc<dyn Toolbox>,
        (mut state, read): (DatasetState, Position),
        moment: Moment,
        full: bool,
    ) -> Result<Dataset> {
        let columns = crate::dataset::TableSchema { table: export.name.clone(), ..Default::default() };
        let format = toolbox.table_format(&export.format, &columns, moment)?;
        let extension = format.file_type().extension.clone();
        // A format that describes nothing shows here.
        drop(toolbox.catalog(&export.format, moment)?);
        let linked: BTreeMap<String, u64> =
            state.tables.iter().map(|(name, entry)| (name.clone(), entry.link)).collect();
        let (obsolete, changed) = state.follow(&plan, &extension, moment.write_time);
        let unsaved = changed || (full && !state.full);
        state.full |= full;
        let cache = Cache::default();
        let is_new = |(name, entry): &(&String, &TableEntry)| linked.get(*name) != Some(&entry.link);
        let new = state.tables.iter().filter(is_new).map(|(name, _)| name.clone()).collect();
        let source = export.source.clone();
        let mut dataset = Dataset { plan, export, toolbox, state, cache, extension, obsolete, unsaved };
        dataset.let_join(new, &source, &read, moment.write_time);
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

    /// When the next snapshot is due, where it will have something to write. Microseconds since 1970-01-01T00:00:00Z.
    pub fn next_snapshot(&self) -> Option<i64> {
        let every = i64::try_from(self.plan.every.as_micros()).unwrap_or(i64::MAX);
        self.state.snapshot.map(|last| last.saturating_add(every))
    }

    /// Whether a table waits for the end of its source.
    pub fn syncs(&self) -> bool {
        self.state.tables.values().any(|entry| entry.sync == Sync::InProgress)
    }

    /// Takes in what records say of columns; answers with the name of a table that has to stop.
    pub fn take_news(&mut self, news: &SchemaNews, takes: Takes) -> Option<String> {
        let table = self.plan.tables.iter().find(|(_, table)| table.linked && table.kind == news.kind);
        table.filter(|(name, _)| self.takes(name, takes))?;
        self.state.take_news(&self.plan, news)
    }

    /// The names of tables that stopped, and why.
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
        let waiting = self.state.tables.values().filter(|entry| entry.has_news());
        let (partitions, tables) = waiting.fold((0, 0), |(sum, count), entry| (sum + entry.changed.len(), count + 1));
        if tables == 0 {
            return None;
        }
        let what = format!("{partitions} changed partitions of {tables} tables wait for the next snapshot");
        let syncs = self.state.tables.values().any(|entry| entry.has_news() && entry.sync != Sync::Completed);
        Some(match self.next_snapshot() {
            _ if syncs => format!("{what}, which needs all of the source: run again"),
            Some(next) if next > now => {
                format!("{what}: run again at {} or later, or use --full {}", rfc3339(next), self.export.name)
            }
            _ => format!("{what}: run again, or use --follow"),
        })
    }

    /// Whether a table's initial sync is complete once the source was read to its end.
    fn completes(&self, name: &str, entry: &TableEntry, has_reached: bool) -> bool {
        let joins =
            self.state.joining.as_ref().is_some_and(|joining| joining.tables.contains(name) && !joining.arrived);
        entry.sync == Sync::InProgress && entry.stopped.is_none() && has_reached && !joins
    }

    /// The tables that a snapshot at `now` would write.
    fn due(&self, now: i64) -> Vec<String> {
        let scheduled = self.state.full || self.next_snapshot().is_none_or(|next| now >= next);
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
    async fn change(
        &mut self,
        lake: &Lake,
        name: &str,
        changes: Vec<RowChange>,
        (folder, write_time): (&str, i64),
        additions: &mut Additions,
    ) -> Result<()> {
        let Some(plan) = self.plan.tables.get(name) else { return Ok(()) };
        let Some(entry) = self.state.tables.get_mut(name).filter(|entry| entry.stopped.is_none()) else {
            return Ok(());
        };
        entry.begin();
        let rows = match rows_after_truncation(changes) {
            (rows, false) => rows,
            (_, true) if entry.versions.is_some() => {
                entry.stopped = Some(format!(
                    "table `{name}` was truncated, and with `write = \"append-only\"` there is no record of the rows that went; \
                     link it anew to begin again: `lakeport tables link --again {name}`"
                ));
                return Ok(());
            }
            (rows, true) => {
                additions.obsolete.extend(entry.state_objects().map(str::to_owned));
                entry.rows = TableState::default();
                entry.changed.extend(entry.partitions());
                rows
            }
        };
        let partition = partition_of(write_time, plan.partition).unwrap_or_default();
        let terms = RowTerms { write_time, partition, versions: entry.versions.is_some(), only: None };
        let request = Apply {
            changes: rows,
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

    /// What readers are told, as of a commit at `write_time`.
    fn described(&self, write_time: i64) -> Described {
        let table = |(name, entry): (&String, &TableEntry)| DescribedTable {
            schema: entry.published.clone().unwrap_or_else(|| entry.schema.clone()),
            monthly: entry.monthly,
            partitions: entry
                .files
                .iter()
                .flat_map(|(partition, files)| {
                    files.iter().enumerate().map(move |(number, file)| (*partition, number, file))
                })
                .map(|(partition, number, file)| {
                    let period = period(partition, entry.monthly);
                    let key = file_key(name, partition, entry.monthly, file.written, &self.extension);
                    DescribedPartition {
                        name: if number == 0 { period.clone() } else { format!("{period}-{}", number + 1) },
                        period,
                        // A key may hold percent signs of its own.
                        location: format!("{}{}", self.plan.public_url, key.replace('%', "%25")),
                        refreshed: rfc3339(file.written),
                        rows: file.rows,
                    }
                })
                .collect(),
            sync: entry.sync,
            synced: entry.synced.map(rfc3339),
        };
        Described {
            name: self.export.name.clone(),
            description: self.plan.description.clone(),
            modified: rfc3339(write_time),
            tables: self.state.tables.iter().map(table).collect(),
        }
    }

    /// Writes the catalog anew where it would say something else.
    async fn describe(
        &mut self,
        lake: &Lake,
        (folder, moment): (&str, Moment),
        additions: &mut Additions,
    ) -> Result<()> {
        let mut described = self.described(moment.write_time);
        let modified = std::mem::take(&mut described.modified);
        let digest = hex::encode(&Sha256::digest(format!("{} {described:?}", self.export.format.config))[..16]);
        if digest == self.state.catalog {
            return Ok(());
        }
        described.modified = modified;
        let (export, toolbox) = (self.export.clone(), self.toolbox.clone());
        let opened = blocking(move || toolbox.catalog(&export.format, moment)).await?;
        let mut previous = Vec::new();
        let mut versions = BTreeMap::new();
        for path in opened.paths().to_vec() {
            if let Some(object) = lake.get(&format!("{}/{path}", self.plan.root)).await? {
                versions.insert(path.clone(), object.version);
                let content_type = String::new();
                previous.push(CatalogFile { path, content_type, bytes: object.bytes.to_vec() });
            }
        }
        let (files, previous) = blocking(move || {
            let mut catalog = opened;
            let files = catalog.render(&described, &previous);
            Ok((files.map_err(|failure| Error::plugin(failure.to_string()))?, previous))
        })
        .await?;
        for file in files {
            if previous.iter().any(|known| known.path == file.path && known.bytes == file.bytes) {
                continue;
            }
            let staged = additions.next_name(folder);
            let mut staging = lake.stage(&staged).await?;
            staging.write(file.bytes.into()).await?;
            let whole = staging.finish().await?;
            additions.written.push(Object {
                key: format!("{}/{}", self.plan.root, file.path),
                content: Content::Staged(staged),
                length: whole.length,
                sha256: whole.sha256,
                rows: 0,
                publication: Publication::Replace(versions.remove(&file.path)),
            });
        }
        fail::point("catalog");
        self.state.catalog = digest;
        Ok(())
    }
}

/// Runs what a plugin does on a thread on which that may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let work = tokio::task::spawn_blocking(work).await;
    work.unwrap_or_else(|e| Err(Error::internal(format!("describing the tables ended early: {e}"))))
}

/// The rows' changes after the last time that all rows went, and whether they did.
fn rows_after_truncation(changes: Vec<RowChange>) -> (Vec<Change>, bool) {
    let mut rows = Vec::with_capacity(changes.len());
    let mut truncated = false;
    for change in changes {
        match change {
            RowChange::Row(row) => rows.push(row),
            RowChange::Truncate => {
                truncated = true;
                rows.clear();
            }
        }
    }
    (rows, truncated)
}

impl super::spans::Run<'_> {
    /// Applies the changes of the span under way to the tables, and encodes the snapshot that is due, if one is.
    ///
    /// # Errors
    /// Of kind `Lake` or `Plugin`.
    pub(super) async fn write_tables(&mut self) -> Result<Tabled> {
        let folder = self.stage_folder(self.number);
        let mut dataset = self.dataset.take().expect("the caller saw it");
        let span = self.span.as_mut().expect("the caller has begun one");
        let moment = span.context.moment;
        let write_time = moment.write_time;
        let mut additions = Additions { obsolete: std::mem::take(&mut dataset.obsolete), ..Additions::default() };
        for (name, changes) in std::mem::take(&mut span.rows) {
            dataset.change(&self.lake, &name, changes, (&folder, write_time), &mut additions).await?;
        }
        fail::point("tables-changed");
        let complete: Vec<String> = dataset
            .state
            .tables
            .iter()
            .filter(|(name, entry)| dataset.completes(name, entry, self.has_reached))
            .map(|(name, _)| name.clone())
            .collect();
        for name in complete {
            let entry = dataset.state.tables.get_mut(&name).expect("its name was taken from there");
            (entry.sync, entry.synced) = (Sync::Completed, Some(write_time));
        }
        let due = dataset.due(write_time);
        let scheduled = dataset.state.full || dataset.next_snapshot().is_none_or(|next| write_time >= next);
        for name in &due {
            self.snapshot_table(&mut dataset, name, &folder, &mut additions).await?;
        }
        if scheduled && !due.is_empty() {
            dataset.state.snapshot = Some(write_time);
            dataset.state.full = false;
        }
        let keep = i64::try_from(dataset.plan.keep.as_micros()).unwrap_or(i64::MAX);
        let keys = dataset.expire(write_time.saturating_sub(keep));
        additions.obsolete.extend(keys);
        dataset.describe(&self.lake, (&folder, moment), &mut additions).await?;
        dataset.unsaved = false;
        dataset.settle(&self.position);
        let state = Kept::Dataset(Box::new(dataset.state.clone()));
        self.dataset = Some(dataset);
        Ok(Tabled { state, written: additions.written, obsolete: additions.obsolete })
    }

    /// Encodes new copies of a table's partitions that changed.
    async fn snapshot_table(
        &mut self,
        dataset: &mut Dataset,
        name: &str,
        folder: &str,
        additions: &mut Additions,
    ) -> Result<()> {
        let write_time = self.span.as_ref().expect("the caller has begun one").context.moment.write_time;
        let entry = &dataset.state.tables[name];
        let schema = Arc::new(entry.schema.clone());
        let other_columns = entry.published.as_ref().filter(|published| **published != *schema).cloned();
        let (state, only) = match &entry.versions {
            Some(versions) => (versions.clone(), None),
            // What the schema changes, it changes everywhere.
            None if other_columns.is_some() || dataset.state.full => (entry.rows.clone(), None),
            None => (entry.rows.clone(), Some(Arc::new(entry.changed.clone()))),
        };
        let history = entry.versions.is_some();
        let monthly = entry.monthly;
        let key = |partition| dataset.key(name, monthly, partition, write_time);
        let files = self.write_rows(&state, &schema, only.clone(), &dataset.cache, key).await?;
        if history {
            dataset.merge_files(&self.lake, name, (write_time, other_columns), folder, additions).await?;
            additions.obsolete.extend(state.runs.into_iter().map(|run| run.key));
        }
        let span = self.span.as_ref().expect("it is under way");
        let mut new: BTreeMap<i32, FileEntry> = BTreeMap::new();
        for (partition, file) in files {
            let rows = span.ledger.rows(file.id);
            if rows > 0 {
                new.insert(partition, FileEntry { written: write_time, rows });
            }
        }
        let entry = dataset.state.tables.get_mut(name).expect("it was there at the beginning");
        if history {
            entry.versions = Some(TableState::default());
        } else {
            let replaced: BTreeSet<i32> = match &only {
                Some(only) => only.as_ref().clone(),
                None => entry.partitions(),
            };
            for partition in replaced {
                for file in entry.files.remove(&partition).unwrap_or_default() {
                    entry.retire(partition, file, write_time);
                }
            }
        }
        for (partition, file) in new {
            entry.files.entry(partition).or_default().push(file);
        }
        entry.published = Some(entry.schema.clone());
        entry.changed.clear();
        Ok(())
    }

    /// Encodes rows of a table's state, those of each partition into a file of their own, with the key that `key` says.
    async fn write_rows(
        &mut self,
        state: &TableState,
        schema: &Arc<crate::dataset::TableSchema>,
        only: Option<Arc<BTreeSet<i32>>>,
        cache: &Cache,
        key: impl Fn(i32) -> String,
    ) -> Result<BTreeMap<i32, Arc<File>>> {
        let context = self.span.as_ref().expect("the caller has begun one").context.clone();
        let rows = RowTerms { only, ..RowTerms::default() };
        let request = Apply {
            changes: Vec::new(),
            emit: Emit::Everything,
            mark_deletes: false,
            // Nothing changes, so nothing is staged.
            staged_key: String::new(),
            rows,
        };
        let (documents, mut received) = tokio::sync::mpsc::channel::<Vec<Document>>(1);
        let (lake, cache, state) = (self.lake.clone(), cache.clone(), state.clone());
        let apply = async move { table::apply(&lake, &cache, &state, request, &documents).await };
        let mut apply = std::pin::pin!(apply);
        let mut portions = Portions { schema: schema.clone(), ..Portions::default() };
        let (mut applied, mut more) = (false, true);
        while more || !applied || !self.lanes.is_empty() || portions.has_ready() {
            if self.lanes.has_room()
                && let Some(portion) = portions.next()
            {
                self.lanes.write_rows(portion, context.clone());
                continue;
            }
            tokio::select! {
                processed = self.lanes.next(), if !self.lanes.is_empty() => {
                    self.take(processed?).await?;
                    self.check_letters()?;
                }
                batch = received.recv(), if more && !portions.has_ready() => match batch {
                    Some(batch) => portions.add(batch, |partition| context.files.once(key(partition)))?,
                    None => {
                        more = false;
                        portions.finish();
                    }
                },
                done = &mut apply, if !applied => {
                    done?;
                    applied = true;
                }
            }
        }
        Ok(portions.files)
    }
}

impl Dataset {
    /// Takes out the files whose place was taken before `before`; answers with their keys.
    fn expire(&mut self, before: i64) -> Vec<String> {
        let mut keys = Vec::new();
        for (name, entry) in &mut self.state.tables {
            let monthly = entry.monthly;
            let expired = entry.expire(before).into_iter();
            keys.extend(expired.map(|(partition, written)| (name.clone(), monthly, partition, written)));
        }
        keys.iter().map(|(name, monthly, partition, written)| self.key(name, *monthly, *partition, *written)).collect()
    }

    /// Brings the files of a table of versions together, the small ones and, where the columns changed, all of a partition.
    async fn merge_files(
        &mut self,
        lake: &Lake,
        name: &str,
        (write_time, before): (i64, Option<crate::dataset::TableSchema>),
        folder: &str,
        additions: &mut Additions,
    ) -> Result<()> {
        let entry = &self.state.tables[name];
        let widened = before.as_ref().map(|before| (before.clone(), entry.schema.clone()));
        let widens = before.is_some_and(|before| before.columns.len() < entry.schema.columns.len());
        let mut merged = Vec::new();
        for (partition, files) in &entry.files {
            let count = if widens { files.len() } else { small_files(files) };
            if count == 0 {
                continue;
            }
            let from = &files[files.len() - count..];
            let keys = from.iter().map(|file| self.key(name, entry.monthly, *partition, file.written)).collect();
            // Before the file of the same commit, and after that of every other.
            let written = write_time - 1;
            let gather = Gather { keys, widened: widened.clone().filter(|_| widens), format: &self.export.format };
            let staged = additions.next_name(folder);
            let whole = gather.stage(lake, &self.toolbox, &staged, write_time).await?;
            let rows = from.iter().map(|file| file.rows).sum();
            additions.written.push(Object {
                key: self.key(name, entry.monthly, *partition, written),
                content: Content::Staged(staged),
                length: whole.length,
                sha256: whole.sha256,
                rows,
                publication: Publication::New,
            });
            merged.push((*partition, count, FileEntry { written, rows }));
        }
        let entry = self.state.tables.get_mut(name).expect("it was there at the beginning");
        for (partition, count, file) in merged {
            let files = entry.files.get_mut(&partition).expect("it was there above");
            let from = files.split_off(files.len() - count);
            files.push(file);
            from.into_iter().for_each(|file| entry.retire(partition, file, write_time));
        }
        Ok(())
    }
}

/// How many of a partition's last files are to become one: so that each has more than twice the rows of what came after it.
fn small_files(files: &[FileEntry]) -> usize {
    let mut rows = 0;
    let mut count = 0;
    for file in files.iter().rev() {
        if count > 0 && file.rows > 2 * rows {
            break;
        }
        rows += file.rows;
        count += 1;
    }
    if count > 1 { count } else { 0 }
}

/// Rows on their way to lanes, by file.
#[derive(Default)]
struct Portions {
    schema: Arc<crate::dataset::TableSchema>,
    files: BTreeMap<i32, Arc<File>>,
    waiting: BTreeMap<i32, (Vec<Document>, usize)>,
    bytes: usize,
    ready: Vec<Portion>,
}

impl Portions {
    fn add(&mut self, documents: Vec<Document>, file: impl Fn(i32) -> Arc<File>) -> Result<()> {
        for document in documents {
            let body = document.body.as_ref();
            let head = body.and_then(|body| Head::of(body));
            let head = head.ok_or_else(|| Error::internal("a table holds a row without its head"))?;
            let bytes = body.map_or(0, bytes::Bytes::len) + size_of::<Document>();
            self.files.entry(head.partition).or_insert_with(|| file(head.partition));
            let (rows, size) = self.waiting.entry(head.partition).or_default();
            rows.push(document);
            *size += bytes;
            self.bytes += bytes;
            if rows.len() == PORTION {
                self.take(head.partition);
            }
        }
        if self.bytes >= WAITING {
            self.finish();
        }
        Ok(())
    }

    /// Everything that waits is ready.
    fn finish(&mut self) {
        let partitions: Vec<i32> = self.waiting.keys().copied().collect();
        partitions.into_iter().for_each(|partition| self.take(partition));
    }

    fn take(&mut self, partition: i32) {
        if let Some((rows, bytes)) = self.waiting.remove(&partition) {
            self.bytes -= bytes;
            let (schema, file) = (self.schema.clone(), self.files[&partition].clone());
            self.ready.push(Portion { schema, file, rows });
        }
    }

    fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn next(&mut self) -> Option<Portion> {
        self.ready.pop()
    }
}
