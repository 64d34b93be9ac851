//! Snapshots of tables: new copies of the partitions that changed, and the catalog that points at them, with one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clock;
use super::dataset::{Additions, Dataset, Written};
use super::gather::Gather;
use super::table::{Kept, Tabled};
use crate::commit::{Content, File, Object, Publication};
use crate::dataset::{FileEntry, Sync, TableSchema};
use crate::error::Result;
use crate::fail;
use crate::lake::Lake;
use crate::pipeline::portions::Portions;
use crate::table::{self, Apply, Cache, Document, Emit, Gone, RowTerms, TableState};

impl Dataset {
    /// When the rows of a commit at `write_time` are written, which the next commit goes on from.
    fn written(&mut self, write_time: i64, now: i64, lake: &Lake) -> Written {
        let store = lake.store_time().map(|time| time.timestamp_micros());
        let confirmed = clock::is_confirmed(now, store, self.trusts_clock);
        let filed = clock::filing_time(write_time, now, self.state.filed, confirmed);
        self.state.filed = (filed != write_time).then_some(filed);
        if self.state.filed.is_some() {
            // Files whose place was taken by a clock that was ahead stay for as long as others from now on.
            self.state.tables.values_mut().for_each(|entry| entry.retired_by(filed));
        }
        Written { at: write_time, filed }
    }

    /// [`Written::filed`] of the commit at `write_time` that is being made.
    fn filed(&self, write_time: i64) -> i64 {
        self.state.filed.unwrap_or(write_time)
    }
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
        let mut additions = Additions::new(std::mem::take(&mut dataset.obsolete));
        let written = dataset.written(write_time, self.surroundings.clock.now(), &self.lake);
        for (name, changes) in std::mem::take(&mut span.rows) {
            dataset.change(&self.lake, &name, changes, (&folder, written), &mut additions).await?;
        }
        dataset.check_columns(moment).await?;
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
        // By the clock: write times rise even where it was set back.
        let now = self.surroundings.clock.now();
        let due = dataset.due(now);
        let scheduled = dataset.is_scheduled(now);
        if !due.is_empty() {
            // Files of the span before are read where small ones are brought together.
            self.wait_for_commit(self.number - 1).await;
        }
        for name in &due {
            self.snapshot_table(&mut dataset, name, &folder, &mut additions).await?;
        }
        if scheduled && !due.is_empty() {
            dataset.state.snapshot = Some(now);
            dataset.state.full = false;
        }
        let keep = i64::try_from(dataset.plan.keep.as_micros()).unwrap_or(i64::MAX);
        let keys = dataset.expire(written.filed.saturating_sub(keep));
        additions.obsolete.extend(keys);
        if let Some(news) = dataset.catalog_news(write_time) {
            self.wait_for_commit(self.number - 1).await;
            dataset.describe(&self.lake, news, (&folder, moment), &mut additions).await?;
        }
        dataset.settle(&self.position);
        dataset.unsaved = false;
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
        let columns = (schema, entry.gone().into());
        let files = self.write_rows(&state, columns, only.clone(), &dataset.cache, key).await?;
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
        let since = dataset.filed(write_time);
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
                    entry.retire(partition, file, since);
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
        (schema, gone): (Arc<TableSchema>, Arc<[Gone]>),
        only: Option<Arc<BTreeSet<i32>>>,
        cache: &Cache,
        key: impl Fn(i32) -> String,
    ) -> Result<BTreeMap<i32, Arc<File>>> {
        self.begin_letters_of_table();
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
        let mut portions = Portions::new(schema, gone);
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
        self.end_letters_of_table();
        Ok(portions.files)
    }
}

impl Dataset {
    /// Takes out the files whose place was taken before `before`; answers with their keys.
    fn expire(&mut self, before: i64) -> Vec<String> {
        let mut keys = Vec::new();
        for (name, entry) in &mut self.state.tables {
            keys.extend(entry.expire(before).into_iter().map(|(partition, file)| (name.clone(), partition, file)));
        }
        keys.iter().map(|(name, partition, file)| self.key(name, file.monthly, *partition, file.written)).collect()
    }

    /// Brings the files of a table of versions together, the small ones and, where the columns changed, all of a partition.
    async fn merge_files(
        &mut self,
        lake: &Lake,
        name: &str,
        (write_time, before): (i64, Option<TableSchema>),
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
        let since = self.filed(write_time);
        let entry = self.state.tables.get_mut(name).expect("it was there at the beginning");
        for (partition, count, file) in merged {
            let files = entry.files.get_mut(&partition).expect("it was there above");
            let from = files.split_off(files.len() - count);
            files.push(file);
            from.into_iter().for_each(|file| entry.retire(partition, file, since));
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
