//! A run that writes nothing: what real records would become. Same lanes, same layout; the bytes stay in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;

use super::lane::Lane;
use super::lookup::Tables;
use super::portions::Portions;
use super::processed::{Processed, SpanContext};
use super::row_writer::Portion;
use super::rows::RowChange;
use super::run::{Answer, Asking, encoding_of};
use super::table_changes::TableChanges;
use super::{changes, times};
use crate::clock::Surroundings;
use crate::commit::{FileTable, Series, expected_key, read_last};
use crate::dataset::{DatasetState, Format, PassedOver, file_key, no_columns, partition_of};
use crate::error::Result;
use crate::lake::Lake;
use crate::plan::{Columns, ExportPlan, Exports, Files, TablesPlan};
use crate::plugin::{Moment, Toolbox};
use crate::source::{Read, Reader};
use crate::table::{self, Apply, Cache, Change, Document, Emit, RowTerms, TableState};

/// The most reasons that are told apart: some name the value that was refused.
const MAX_REASONS: usize = 1_000;
/// What records are counted under whose reasons are not told apart.
const OTHER_REASONS: &str = "other reasons";

/// What records would become.
#[derive(Debug, Default)]
pub struct Preview {
    pub records: u64,
    pub bytes: u64,
    pub files: Vec<PreviewFile>,
    /// Reasons, and how many records each refused.
    pub dead_letters: BTreeMap<String, u64>,
    /// Records of kinds that no table has.
    pub passed_over: PassedOver,
    /// What the source's reader has to say.
    pub warnings: Vec<String>,
}

/// One object that would be written.
#[derive(Debug, Default)]
pub struct PreviewFile {
    pub key: String,
    /// It exists, and would grow.
    pub grows: bool,
    pub rows: u64,
    pub bytes: u64,
}

/// What a preview reads.
pub struct Sample {
    pub reader: Box<dyn Reader>,
    /// About how many bytes.
    pub limit: u64,
}

/// Runs a sample through the export's stages. Call it where blocking is allowed.
///
/// `plugins` are the SHA-256 of the export's, by name.
/// `lake` may be opened for reading only: it is asked which parts exist.
///
/// # Errors
/// As a run's.
pub fn preview(
    plan: Arc<ExportPlan>,
    lake: &Lake,
    toolbox: Arc<dyn Toolbox>,
    plugins: &BTreeMap<String, String>,
    tables: Tables,
    mut sample: Sample,
    surroundings: &Surroundings,
) -> Result<Preview> {
    let runtime = tokio::runtime::Handle::current();
    let last = runtime.block_on(read_last(lake, &plan.name, &plan.partition))?;
    let series = last.map(|(_, commit)| commit.series).unwrap_or_default();
    let moment = Moment { write_time: surroundings.clock.now(), seed: (surroundings.chance)() };
    let files = FileTable::new(&plan.name, &plan.partition);
    let span = SpanContext { number: 1, moment, files, tables: tables.clone(), replays: false };
    let asking = Asking::new(&plan, &toolbox, moment);
    let mut lane = Lane::open(plan.clone(), toolbox, &tables, runtime.clone(), moment)?;
    let mut preview = Preview::default();
    let mut files = BTreeMap::new();
    let (mut changes, mut rows, mut seconds) = (Vec::new(), Vec::new(), None);
    while preview.bytes < sample.limit {
        let chunk = match sample.reader.read(Duration::ZERO)? {
            Read::Chunk(chunk) => chunk,
            Read::Reached | Read::Idle | Read::Commit | Read::End => break,
        };
        preview.bytes += chunk.data.len() as u64;
        preview.warnings.extend(sample.reader.warnings());
        let mut processed = lane.process(&chunk, &span)?;
        preview.records += processed.records;
        seconds = seconds.or(processed.seconds);
        changes.append(&mut processed.changes);
        rows.append(&mut processed.rows);
        preview.note(processed, &mut files);
    }
    preview.warnings.extend(sample.reader.warnings());
    preview.warnings.extend(seconds.map(|time| times::seconds_as_milliseconds(&plan.source, time)));
    if let Exports::Changes { mark_deletes, .. } = plan.exports {
        for documents in runtime.block_on(snapshot(changes, mark_deletes))? {
            preview.note(lane.write_documents(&changes::chunk(&plan.name, &documents), &span)?, &mut files);
        }
    }
    if let Exports::Tables(tables) = &plan.exports {
        let (portions, warnings) = first_snapshot((&plan.name, tables), rows, &span, (&asking, &runtime))?;
        preview.warnings.extend(warnings);
        for portion in portions {
            preview.note(lane.write_rows(&portion, &span)?, &mut files);
        }
    }
    for (file, bytes) in lane.finish_files()? {
        files.entry(file.series.clone()).or_default().add(&bytes, 0);
    }
    let format = encoding_of(&plan.format, plugins);
    let written = files.into_iter().filter(|(_, file)| file.rows > 0);
    preview.files = runtime.block_on(place(lake, (plan.files, &format), &series, written))?;
    Ok(preview)
}

impl Preview {
    fn note(&mut self, processed: Processed, files: &mut BTreeMap<String, Written>) {
        self.passed_over.add_all(&processed.passed_over);
        for dead in processed.dead {
            let is_told = self.dead_letters.len() < MAX_REASONS || self.dead_letters.contains_key(&dead.reason);
            *self.dead_letters.entry(if is_told { dead.reason } else { OTHER_REASONS.to_owned() }).or_default() += 1;
        }
        for (file, header) in processed.headers {
            if file.claim_header() {
                files.entry(file.series.clone()).or_default().header = header.len() as u64;
            }
        }
        for (file, bytes, rows) in processed.segments {
            files.entry(file.series.clone()).or_default().add(&bytes, rows);
        }
    }
}

/// The first snapshot of a table that holds nothing but what `changes` made.
async fn snapshot(changes: Vec<Change>, mark_deletes: bool) -> Result<Vec<Vec<Document>>> {
    let memory = Lake::with_store(Arc::new(InMemory::new()), "preview", "_lakeport");
    let request =
        Apply { changes, emit: Emit::Everything, mark_deletes, staged_key: "table".into(), rows: RowTerms::default() };
    let (_, documents) = table::apply_and_collect(&memory, &Cache::default(), &TableState::default(), request).await?;
    Ok(documents)
}

/// The first snapshot of tables that hold nothing but what `rows` made, and what is to be said of it.
fn first_snapshot(
    (export, tables): (&str, &TablesPlan),
    rows: Vec<(Arc<str>, RowChange)>,
    span: &SpanContext,
    (asking, runtime): (&Asking, &tokio::runtime::Handle),
) -> Result<(Vec<Portion>, Vec<String>)> {
    let memory = Lake::with_store(Arc::new(InMemory::new()), "preview", "_lakeport");
    let cache = Cache::default();
    let write_time = span.moment.write_time;
    let mut state = DatasetState::default();
    let format = Format { plugin: "", config: &serde_json::Value::Null, extension: "csv" };
    state.follow(tables, format, write_time)?;
    let mut by_table: BTreeMap<Arc<str>, Vec<RowChange>> = BTreeMap::new();
    for (table, change) in rows {
        by_table.entry(table).or_default().push(change);
    }
    let (mut portions, mut warnings) = (Vec::new(), Vec::new());
    for (name, changes) in by_table {
        let (Some(plan), Some(entry)) = (tables.tables.get(&*name), state.tables.get_mut(&*name)) else { continue };
        let taken = TableChanges::take(entry, (&name, plan), changes, write_time);
        match asking.about(entry.schema.clone(), plan.columns == Columns::Infer, None)? {
            Answer::Accepted { schema, .. } => entry.schema = schema,
            Answer::Refused(refusal) => return Err(refusal),
        }
        let mut changes = Vec::with_capacity(taken.rows.len());
        for change in taken.rows {
            match change {
                RowChange::Row(change) => changes.push(change),
                RowChange::Moved(moved) => changes.extend([moved.gone, moved.change]),
                _ => {}
            }
        }
        if entry.schema.columns.is_empty() {
            warnings.push(no_columns(export, &name));
            continue;
        }
        let partition = partition_of(write_time, plan.partition).unwrap_or_default();
        let versions = entry.versions.is_some();
        let request = Apply {
            changes,
            emit: if versions { Emit::Nothing } else { Emit::Everything },
            mark_deletes: false,
            staged_key: format!("table-{name}"),
            rows: RowTerms { write_time, partition, versions, ..RowTerms::default() },
        };
        let state = TableState::default();
        let applied = table::apply_and_collect(&memory, &cache, &state, request);
        let (_, documents) = runtime.block_on(applied)?;
        let mut ready = Portions::new(Arc::new(entry.schema.clone()), entry.gone().into());
        for documents in documents {
            let key = |partition| file_key(&name, partition, entry.monthly, write_time, "csv");
            ready.add(documents, |partition| span.files.once(format!("{}/{}", tables.root, key(partition))))?;
        }
        ready.finish();
        portions.extend(std::iter::from_fn(|| ready.next()));
    }
    Ok((portions, warnings))
}

/// What would be written to the file of a series.
#[derive(Default)]
struct Written {
    header: u64,
    rows: u64,
    bytes: u64,
}

impl Written {
    fn add(&mut self, bytes: &[u8], rows: u32) {
        self.rows += u64::from(rows);
        self.bytes += bytes.len() as u64;
    }
}

/// Says which objects would be written: one more part of each series, or its last one where that grows.
async fn place(
    lake: &Lake,
    terms: (Files, &str),
    state: &BTreeMap<String, Series>,
    written: impl Iterator<Item = (String, Written)>,
) -> Result<Vec<PreviewFile>> {
    let mut files = Vec::new();
    for (series, Written { header, rows, bytes }) in written {
        let (key, grows) = match terms.0 {
            Files::Once => (series, false),
            _ => expected_key(lake, terms, state.get(&series), &series).await?,
        };
        files.push(PreviewFile { key, grows, rows, bytes: if grows { bytes } else { header + bytes } });
    }
    Ok(files)
}
