//! A lane: decodes, filters, transforms, partitions and encodes chunks on a thread of its own. Pure but for the clock it is given.
//!
//! A lane owns one instance of every plugin of its export. Any lane can take any chunk; what comes out is put back in order by
//! the caller. Files are shared between the lanes of a span: one of them writes a file's beginning, all of them its segments.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Array, UInt32Array};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use super::bisect::bisect;
use super::changes::ChangeColumns;
use super::columns::ColumnTable;
use super::encoder::FileBytes;
use super::fan_out;
use super::lookup::{Lookups, Tables};
use super::processed::{Processed, SpanContext, nanos, timed, u32_of};
use super::row_writer::{Portion, RowWriter};
use super::rows::RowColumns;
use super::stage::Stage;
use super::writer::Writer;
use crate::dataset::TableSchema;
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::plan::{ExportPlan, Exports, OnError};
use crate::plugin::{Filter, Moment, Rejection, Toolbox, Transform, Transformed};
use crate::record::{Attribute, Batch, ColumnRequest, Selector};
use crate::source::Chunk;
use crate::telemetry::Pace;

/// One lane.
pub struct Lane {
    plan: Arc<ExportPlan>,
    toolbox: Arc<dyn Toolbox>,
    decoder: Decoder,
    /// What the columns of a batch are.
    requests: Vec<ColumnRequest>,
    lookups: Lookups,
    filters: Vec<Stage<dyn Filter>>,
    transforms: Vec<Stage<dyn Transform>>,
    end: End,
    span: u64,
    /// Of warnings about batches that a plugin failed on.
    warnings: Pace,
}

/// What becomes of records that went through every filter and transform.
enum End {
    /// They are written.
    Files(Box<Writer>),
    /// They change documents. What is written comes back from the table as change records, which `documents` decodes.
    Table { columns: ChangeColumns, documents: Box<Decoder>, writer: Box<Writer> },
    /// They change rows of tables. What is written comes back as rows, each table's to a writer of its own, by its name.
    Rows { columns: Box<RowColumns>, writers: HashMap<String, RowWriter> },
}

impl Lane {
    /// Opens a lane: an instance of every plugin, and a decoder for what they and the layout ask for.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, naming the plugin.
    pub fn open(
        plan: Arc<ExportPlan>,
        toolbox: Arc<dyn Toolbox>,
        tables: &Tables,
        runtime: Handle,
        moment: Moment,
    ) -> Result<Self> {
        let mut table = ColumnTable::default();
        let mut filters = Vec::new();
        for plugin in &plan.filters {
            let instance = toolbox.filter(plugin, moment)?;
            let columns = table.add_all(instance.columns());
            filters.push(Stage { instance, plugin: plugin.clone(), columns });
        }
        let mut transforms = Vec::new();
        for plugin in &plan.transforms {
            let instance = toolbox.transform(plugin, moment)?;
            let columns = table.add_all(instance.columns());
            transforms.push(Stage { instance, plugin: plugin.clone(), columns });
        }
        let mut end = End::open(&plan, &toolbox, moment, &mut table)?;
        let lookups = Lookups::new(&mut table, tables, runtime)?;
        let requests = table.into_requests();
        let decoder = Decoder::new(&plan.source.mapping, &plan.source.name, requests.clone(), plan.max_record_size)?;
        if let End::Table { documents, .. } = &mut end {
            **documents = Decoder::of_changes(requests.clone())?;
        }
        Ok(Lane {
            plan,
            toolbox,
            decoder,
            requests,
            lookups,
            filters,
            transforms,
            end,
            span: 0,
            warnings: Pace::default(),
        })
    }

    /// Whether segments of the format may be encoded by several lanes and at several times. Those of tables may.
    pub fn appendable(&mut self) -> bool {
        match &mut self.end {
            End::Files(writer) | End::Table { writer, .. } => writer.encoder().appendable(),
            End::Rows { .. } => true,
        }
    }

    /// Runs one chunk through every stage.
    ///
    /// # Errors
    /// Of kind `Plugin` where a plugin fails and the export says stop, or fails altogether; of kind `Lake` where it cannot be
    /// found out which object a period's records go to, or what a table holds.
    pub fn process(&mut self, chunk: &Chunk, span: &SpanContext) -> Result<Processed> {
        self.enter(span);
        let mut out = Processed::default();
        let decoded = timed(&mut out.stages.decode, || self.decoder.decode(chunk, span.moment.write_time));
        if let Some(excerpt) = &self.plan.excerpt {
            excerpt.meet(&decoded.batches, &decoded.dead);
        }
        out.records = decoded.records;
        out.dead = decoded.dead;
        let mut news = decoded.news.into_iter().peekable();
        for (mut batch, moment) in with_moments(decoded.batches, chunk, span) {
            out.begin_batch();
            timed(&mut out.stages.decode, || self.lookups.fill(&mut batch, span))?;
            let before = out.dead.len();
            let batch = self.filter(batch, moment, &mut out)?;
            let (batch, timed_by) = self.transform(batch, moment, &mut out)?;
            let ended = out.dead.len();
            match &mut self.end {
                End::Files(writer) => writer.write(&batch, timed_by.as_deref(), span, moment, &mut out)?,
                End::Table { columns, .. } => columns.take(&batch, span.replays, &mut out),
                End::Rows { columns, .. } => columns.take(&batch, &mut news, &mut out),
            }
            if !self.transforms.is_empty() {
                let (transformed, refused) = out.dead[before..].split_at_mut(ended - before);
                fan_out::mark_shares(&batch, transformed, refused);
            }
        }
        if let End::Rows { columns, .. } = &self.end {
            news.for_each(|said| columns.say(said, &mut out));
        }
        Ok(out)
    }

    /// Encodes documents of the export's table, which `chunk` holds as change records.
    ///
    /// # Errors
    /// As [`Lane::process`].
    pub fn write_documents(&mut self, chunk: &Chunk, span: &SpanContext) -> Result<Processed> {
        self.enter(span);
        let mut out = Processed::default();
        let End::Table { documents, writer, .. } = &mut self.end else {
            return Err(Error::internal("only exports of changes have documents"));
        };
        let decoded = timed(&mut out.stages.decode, || documents.decode(chunk, span.moment.write_time));
        out.dead = decoded.dead;
        for (mut batch, moment) in with_moments(decoded.batches, chunk, span) {
            out.begin_batch();
            timed(&mut out.stages.decode, || self.lookups.fill(&mut batch, span))?;
            writer.write(&batch, None, span, moment, &mut out)?;
        }
        Ok(out)
    }

    /// Encodes rows of one of the export's tables.
    ///
    /// # Errors
    /// As [`Lane::process`].
    pub fn write_rows(&mut self, portion: &Portion, span: &SpanContext) -> Result<Processed> {
        self.enter(span);
        let mut out = Processed::default();
        let End::Rows { writers, .. } = &mut self.end else {
            return Err(Error::internal("only exports of tables have rows"));
        };
        let writer = match writers.entry(portion.schema.table.clone()) {
            Entry::Occupied(entry) if entry.get().is_of(&portion.schema) => entry.into_mut(),
            entry => {
                let writer = RowWriter::open(&self.plan, self.toolbox.clone(), portion.schema.clone(), span.moment)?;
                entry.insert_entry(writer).into_mut()
            }
        };
        writer.write(portion, span, &mut out)?;
        out.is_kept = true;
        Ok(out)
    }

    /// The last bytes of every file of the span: for formats that are not appendable, whose only lane this is.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub fn finish_files(&mut self) -> Result<Vec<FileBytes>> {
        match &mut self.end {
            End::Files(writer) | End::Table { writer, .. } => writer.encoder().finish_files(),
            End::Rows { .. } => Ok(Vec::new()),
        }
    }

    /// Leaves the span before, and sets the plugins' clock.
    fn enter(&mut self, span: &SpanContext) {
        if self.span == span.number {
            return;
        }
        self.span = span.number;
        match &mut self.end {
            End::Files(writer) | End::Table { writer, .. } => writer.enter(span.moment),
            End::Rows { writers, .. } => writers.values_mut().for_each(|writer| writer.enter(span.moment)),
        }
    }

    fn filter(&mut self, mut batch: Batch, moment: Moment, out: &mut Processed) -> Result<Batch> {
        let isolate = self.plan.on_error == OnError::DeadLetter;
        let started = Instant::now();
        for (number, stage) in self.filters.iter_mut().enumerate() {
            if batch.rows() == 0 {
                break;
            }
            let moment = moment.at(&[number as u64]);
            let toolbox = &self.toolbox;
            let outcomes = bisect(
                &mut self.warnings,
                stage,
                batch.rows(),
                &stage.pick(&batch),
                isolate,
                |stage, start, rows, columns| {
                    stage.instance.set_moment(moment.at(&[start as u64]));
                    stage.instance.evaluate(rows, columns)
                },
                |stage, start| {
                    stage.instance = toolbox.filter(&stage.plugin, moment.at(&[start as u64]))?;
                    Ok(())
                },
            )?;
            let mut kept = Vec::with_capacity(batch.rows());
            for outcome in outcomes {
                match outcome.answer {
                    Ok(verdict) => {
                        out.refuse(&batch, outcome.start, &verdict.rejected, &stage.plugin);
                        // Indices straight from the bitmap; a rejected row is not kept, whatever its bit says.
                        let start = u32_of(outcome.start);
                        let mut rejected = verdict.rejected.iter().map(|rejection| rejection.row).peekable();
                        for row in verdict.keep.values().set_indices_u32() {
                            while rejected.next_if(|refused| *refused < row).is_some() {}
                            if rejected.peek() != Some(&row) {
                                kept.push(start + row);
                            }
                        }
                    }
                    Err(failure) => out.fail(&batch, outcome.start..outcome.start + outcome.rows, &failure),
                }
            }
            if kept.len() < batch.rows() {
                batch = batch.take(&UInt32Array::from(kept));
            }
        }
        out.stages.filter += nanos(started);
        Ok(batch)
    }

    /// The batch that the transforms make, and the name of the last one that set `time`.
    fn transform(&mut self, mut batch: Batch, moment: Moment, out: &mut Processed) -> Result<(Batch, Option<String>)> {
        let mut timed_by = None;
        let isolate = self.plan.on_error == OnError::DeadLetter;
        let started = Instant::now();
        let filters = self.filters.len();
        for (number, stage) in self.transforms.iter_mut().enumerate() {
            if batch.rows() == 0 {
                break;
            }
            let moment = moment.at(&[(filters + number) as u64]);
            let toolbox = &self.toolbox;
            let plan = &self.plan;
            let outcomes = bisect(
                &mut self.warnings,
                stage,
                batch.rows(),
                &stage.pick(&batch),
                isolate,
                |stage, start, rows, columns| {
                    stage.instance.set_moment(moment.at(&[start as u64]));
                    let transformed = stage.instance.apply(rows, columns)?;
                    let most = stage.plugin.plugin.limits.transfer;
                    let checked = fan_out::check_bytes(&batch, start, &transformed, most)
                        .and_then(|()| fan_out::check_files(plan, &transformed));
                    match checked {
                        Ok(()) => Ok(transformed),
                        Err(rule) => Err(stage.instance.broke(rule)),
                    }
                },
                |stage, start| {
                    stage.instance = toolbox.transform(&stage.plugin, moment.at(&[start as u64]))?;
                    Ok(())
                },
            )?;
            let mut pieces = Vec::new();
            for outcome in outcomes {
                match outcome.answer {
                    Ok(transformed) => {
                        out.refuse(&batch, outcome.start, &transformed.rejected, &stage.plugin);
                        if transformed.attributes.iter().any(|(attribute, _)| *attribute == Attribute::Time) {
                            timed_by = Some(stage.plugin.plugin.name.clone());
                        }
                        let shaped = reshape(&mut self.decoder, &self.requests, &batch, outcome.start, transformed)
                            .map_err(|error| error.context(format!("plugin `{}`", stage.plugin.plugin.name)))?;
                        out.refuse(&shaped.0, 0, &shaped.1, &stage.plugin);
                        pieces.push(without(shaped.0, &shaped.1));
                    }
                    Err(failure) => out.fail(&batch, outcome.start..outcome.start + outcome.rows, &failure),
                }
            }
            batch = Batch::concat(&pieces).unwrap_or_else(|| batch.take(&UInt32Array::from(Vec::<u32>::new())));
        }
        out.stages.transform += nanos(started);
        Ok((batch, timed_by))
    }
}

impl End {
    fn open(
        plan: &Arc<ExportPlan>,
        toolbox: &Arc<dyn Toolbox>,
        moment: Moment,
        table: &mut ColumnTable,
    ) -> Result<End> {
        let writer = |table: &mut ColumnTable| Writer::open(plan.clone(), toolbox.clone(), moment, table).map(Box::new);
        Ok(match &plan.exports {
            Exports::Events => End::Files(writer(table)?),
            Exports::Changes { shape, .. } => End::Table {
                writer: writer(table)?,
                columns: ChangeColumns::new(*shape, &plan.source, table),
                // Once it is known what else is asked for.
                documents: Box::new(Decoder::of_changes(Vec::new())?),
            },
            Exports::Tables(tables) => {
                // A format that writes no tables shows here, not at the first snapshot.
                let none = Arc::new(TableSchema { table: plan.name.clone(), ..TableSchema::default() });
                drop(RowWriter::open(plan, toolbox.clone(), none, moment)?);
                let columns = Box::new(RowColumns::new(&plan.name, tables, &plan.source, table));
                End::Rows { columns, writers: HashMap::new() }
            }
        })
    }
}

/// The batches of a chunk, each with the moment that its plugins see.
fn with_moments(batches: Vec<Batch>, chunk: &Chunk, span: &SpanContext) -> impl Iterator<Item = (Batch, Moment)> {
    let place = [xxh3_64(chunk.extent.origin.name.as_bytes()), chunk.extent.first];
    let moment = span.moment.at(&place);
    batches.into_iter().enumerate().map(move |(number, batch)| (batch, moment.at(&[number as u64])))
}

/// The batch that a transform made of rows of `batch` from `start` on, and the rows of it whose new bodies are not JSON.
fn reshape(
    decoder: &mut Decoder,
    requests: &[ColumnRequest],
    batch: &Batch,
    start: usize,
    transformed: Transformed,
) -> Result<(Batch, Vec<Rejection>)> {
    let start = u32_of(start);
    let mut shaped = batch.take(&transformed.origins.iter().map(|origin| start + origin).collect());
    for (attribute, values) in transformed.attributes {
        for (column, request) in shaped.columns.iter_mut().zip(requests) {
            if request.selector != Selector::Attribute(attribute) {
                continue;
            }
            if column.data_type() != values.data_type() {
                let (given, wanted) = (values.data_type(), column.data_type());
                return Err(Error::plugin(format!("it sets `{attribute:?}` as {given}, expected {wanted}")));
            }
            *column = values.clone();
        }
    }
    let mut rejected = Vec::new();
    if let Some(mut bodies) = transformed.bodies {
        if shaped.bodies.null_count() > 0 {
            // A transform passes on no body as an empty one.
            let pairs = bodies.iter().zip(&shaped.bodies);
            bodies = pairs.map(|(new, was)| new.filter(|new| !new.is_empty() || was.is_some())).collect();
        }
        let extracted = decoder.extract(&bodies, &shaped.columns);
        rejected = extracted.rejected;
        // What a transform passes on as it was need not be JSON.
        rejected.retain(|rejection| {
            let row = rejection.row as usize;
            shaped.bodies.slice(row, 1) != bodies.slice(row, 1)
        });
        (shaped.columns, shaped.bodies) = (extracted.columns, bodies);
    }
    Ok((shaped, rejected))
}

/// The rows of `batch` that were not rejected.
fn without(batch: Batch, rejected: &[Rejection]) -> Batch {
    if rejected.is_empty() {
        return batch;
    }
    let mut refused = rejected.iter().map(|rejection| rejection.row).peekable();
    let kept: UInt32Array = (0..u32_of(batch.rows())).filter(|row| refused.next_if_eq(row).is_none()).collect();
    batch.take(&kept)
}
