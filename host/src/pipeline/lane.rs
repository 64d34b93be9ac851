//! A lane: decodes, filters, transforms, partitions and encodes chunks on a thread of its own. Pure but for the clock it is given.
//!
//! A lane owns one instance of every plugin of its export. Any lane can take any chunk; what comes out is put back in order by
//! the caller. Files are shared between the lanes of a span: one of them writes a file's beginning, all of them its segments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, UInt32Array};
use bytes::Bytes;
use tokio::runtime::Handle;

use super::bisect::bisect;
use super::columns::{ColumnTable, Layout};
use crate::commit::{File, FileTable};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::layout::{Period, Values};
use crate::plan::{ExportPlan, OnError, PluginUse, Timestamp};
use crate::plugin::{Failure, FileId, Filter, Format, Moment, Rejection, Toolbox, Transform, Transformed};
use crate::record::{Batch, ColumnRequest, DeadLetter, Selector};
use crate::source::Chunk;

/// What every chunk of one span shares.
#[derive(Debug)]
pub struct SpanContext {
    pub number: u64,
    pub moment: Moment,
    pub files: FileTable,
}

/// What became of one chunk.
#[derive(Debug, Default)]
pub struct Processed {
    pub records: u64,
    /// What files begin with, from every lane that meets one: the first in the order of chunks counts.
    pub headers: Vec<(Arc<File>, Bytes)>,
    /// Bytes of files, in order.
    pub segments: Vec<(Arc<File>, Bytes, u32)>,
    pub dead: Vec<DeadLetter>,
    /// The latest event time met. Microseconds since 1970-01-01T00:00:00Z.
    pub latest: Option<i64>,
    /// Nanoseconds, by stage.
    pub stages: Stages,
}

/// Time that lanes spent, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stages {
    pub decode: u64,
    pub filter: u64,
    pub transform: u64,
    pub partition: u64,
    pub encode: u64,
}

impl Stages {
    /// Adds `other` up.
    pub fn add(&mut self, other: Stages) {
        self.decode += other.decode;
        self.filter += other.filter;
        self.transform += other.transform;
        self.partition += other.partition;
        self.encode += other.encode;
    }
}

/// One lane.
pub struct Lane {
    plan: Arc<ExportPlan>,
    toolbox: Arc<dyn Toolbox>,
    runtime: Handle,
    layout: Layout,
    decoder: Decoder,
    /// What the columns of a batch are.
    requests: Vec<ColumnRequest>,
    filters: Vec<Stage<dyn Filter>>,
    transforms: Vec<Stage<dyn Transform>>,
    format: Stage<dyn Format>,
    extension: String,
    /// Files of the current span that this lane's format has begun.
    begun: HashMap<FileId, Arc<File>>,
    /// The current span's files by period, kind and source: what most rows need, without asking the table.
    routes: HashMap<Route, Arc<File>>,
    span: u64,
}

/// What decides a record's file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    period: Period,
    kind: Option<String>,
    source: Option<String>,
}

/// A plugin in its place: the instance, and where its columns stand in the batch.
struct Stage<P: ?Sized> {
    instance: Box<P>,
    plugin: PluginUse,
    columns: Vec<usize>,
}

impl<P: ?Sized> Stage<P> {
    fn pick(&self, batch: &Batch) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| batch.columns[*column].clone()).collect()
    }
}

impl Lane {
    /// Opens a lane: an instance of every plugin, and a decoder for what they and the layout ask for.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, naming the plugin.
    pub fn open(plan: Arc<ExportPlan>, toolbox: Arc<dyn Toolbox>, runtime: Handle, moment: Moment) -> Result<Self> {
        let mut table = ColumnTable::default();
        let layout = Layout::new(&plan, &mut table);
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
        let instance = toolbox.format(&plan.format, moment)?;
        let columns = table.add_all(instance.columns());
        let extension = instance.file_type().extension.clone();
        let format = Stage { instance, plugin: plan.format.clone(), columns };
        let requests = table.into_requests();
        let decoder = Decoder::new(&plan.source.mapping, &plan.source.name, requests.clone(), plan.max_record_size)?;
        Ok(Lane {
            plan,
            toolbox,
            runtime,
            layout,
            decoder,
            requests,
            filters,
            transforms,
            format,
            extension,
            begun: HashMap::new(),
            routes: HashMap::new(),
            span: 0,
        })
    }

    /// Whether segments of the format may be encoded by several lanes and at several times.
    pub fn appendable(&self) -> bool {
        self.format.instance.file_type().appendable
    }

    /// Runs one chunk through every stage.
    ///
    /// # Errors
    /// Of kind `Plugin` where a plugin fails and the export says stop, or fails altogether; of kind `Lake` where it cannot be
    /// found out which object a period's records go to.
    pub fn process(&mut self, chunk: &Chunk, span: &SpanContext) -> Result<Processed> {
        self.enter(span);
        let mut out = Processed::default();
        let decoded = timed(&mut out.stages.decode, || self.decoder.decode(chunk, span.moment.write_time));
        out.records = decoded.records;
        out.dead = decoded.dead;
        for batch in decoded.batches {
            let batch = self.filter(batch, span, &mut out)?;
            let batch = self.transform(batch, span, &mut out)?;
            self.write(&batch, span, &mut out)?;
        }
        Ok(out)
    }

    /// The last bytes of every file of the span: for formats that are not appendable, whose only lane this is.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub fn finish_files(&mut self) -> Result<Vec<(Arc<File>, Bytes)>> {
        let mut out = Vec::new();
        for (id, file) in std::mem::take(&mut self.begun) {
            let bytes = self.format.instance.finish(id).map_err(|failure| Error::plugin(failure.to_string()))?;
            out.push((file, bytes.into()));
        }
        self.routes.clear();
        Ok(out)
    }

    /// Leaves the files of the span before, and sets the plugins' clock.
    fn enter(&mut self, span: &SpanContext) {
        if self.span == span.number {
            return;
        }
        self.span = span.number;
        self.routes.clear();
        for (id, _) in std::mem::take(&mut self.begun) {
            // An appendable file has no last bytes; a failure here shows at the next call.
            let _ = self.format.instance.finish(id);
        }
        for filter in &mut self.filters {
            filter.instance.set_moment(span.moment);
        }
        for transform in &mut self.transforms {
            transform.instance.set_moment(span.moment);
        }
        self.format.instance.set_moment(span.moment);
    }

    fn filter(&mut self, mut batch: Batch, span: &SpanContext, out: &mut Processed) -> Result<Batch> {
        let isolate = self.plan.on_error == OnError::DeadLetter;
        let started = Instant::now();
        for stage in &mut self.filters {
            if batch.rows() == 0 {
                break;
            }
            let toolbox = &self.toolbox;
            let outcomes = bisect(
                stage,
                batch.rows(),
                &stage.pick(&batch),
                isolate,
                |stage, rows, columns| stage.instance.evaluate(rows, columns),
                |stage| {
                    stage.instance = toolbox.filter(&stage.plugin, span.moment)?;
                    Ok(())
                },
            )?;
            let mut kept = Vec::with_capacity(batch.rows());
            for outcome in outcomes {
                match outcome.answer {
                    Ok(verdict) => {
                        refuse(&batch, outcome.start, &verdict.rejected, &stage.plugin, out);
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
                    Err(failure) => out.dead.push(letter(&batch, outcome.start, failure.to_string())),
                }
            }
            if kept.len() < batch.rows() {
                batch = batch.take(&UInt32Array::from(kept));
            }
        }
        out.stages.filter += nanos(started);
        Ok(batch)
    }

    fn transform(&mut self, mut batch: Batch, span: &SpanContext, out: &mut Processed) -> Result<Batch> {
        let isolate = self.plan.on_error == OnError::DeadLetter;
        let started = Instant::now();
        for stage in &mut self.transforms {
            if batch.rows() == 0 {
                break;
            }
            let toolbox = &self.toolbox;
            let outcomes = bisect(
                stage,
                batch.rows(),
                &stage.pick(&batch),
                isolate,
                |stage, rows, columns| stage.instance.apply(rows, columns),
                |stage| {
                    stage.instance = toolbox.transform(&stage.plugin, span.moment)?;
                    Ok(())
                },
            )?;
            let mut pieces = Vec::new();
            for outcome in outcomes {
                match outcome.answer {
                    Ok(transformed) => {
                        refuse(&batch, outcome.start, &transformed.rejected, &stage.plugin, out);
                        let shaped = reshape(&mut self.decoder, &self.requests, &batch, outcome.start, transformed)
                            .map_err(|error| error.context(format!("plugin `{}`", stage.plugin.plugin.name)))?;
                        refuse(&shaped.0, 0, &shaped.1, &stage.plugin, out);
                        pieces.push(without(shaped.0, &shaped.1));
                    }
                    Err(failure) => out.dead.push(letter(&batch, outcome.start, failure.to_string())),
                }
            }
            batch = Batch::concat(&pieces).unwrap_or_else(|| batch.take(&UInt32Array::from(Vec::<u32>::new())));
        }
        out.stages.transform += nanos(started);
        Ok(batch)
    }

    /// Sorts a batch's rows by file, and encodes each file's.
    fn write(&mut self, batch: &Batch, span: &SpanContext, out: &mut Processed) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let started = Instant::now();
        let groups = self.route(batch, span, out)?;
        out.stages.partition += nanos(started);
        let started = Instant::now();
        for (file, rows) in groups {
            let whole = rows.len() == batch.rows();
            let taken;
            let part = if whole {
                batch
            } else {
                taken = batch.take(&UInt32Array::from(rows));
                &taken
            };
            self.encode(part, &file, span, out)?;
        }
        out.stages.encode += nanos(started);
        Ok(())
    }

    fn route(&mut self, batch: &Batch, span: &SpanContext, out: &mut Processed) -> Result<Vec<(Arc<File>, Vec<u32>)>> {
        let columns = self.layout.columns(batch);
        let granularity = self.plan.granularity;
        let mut groups: BTreeMap<FileId, (Arc<File>, Vec<u32>)> = BTreeMap::new();
        let mut last: Option<(Route, FileId)> = None;
        for row in 0..batch.rows() {
            let time = match self.plan.timestamp {
                Timestamp::Write => span.moment.write_time,
                Timestamp::Event { or_enqueued } => match columns.time(row, or_enqueued) {
                    Some(time) => time,
                    None => {
                        out.dead.push(letter(batch, row, self.layout.no_time(&self.plan)));
                        continue;
                    }
                },
            };
            out.latest = out.latest.max(Some(time));
            let period = Period::of(time, granularity);
            let (kind, source) = (columns.kind(row), columns.source(row));
            let same = |route: &Route| {
                route.period == period && route.kind.as_deref() == kind && route.source.as_deref() == source
            };
            if let Some((route, id)) = &last
                && same(route)
            {
                groups.get_mut(id).expect("the row before went there").1.push(u32_of(row));
                continue;
            }
            let route = Route { period, kind: kind.map(str::to_owned), source: source.map(str::to_owned) };
            let file = match self.routes.get(&route) {
                Some(file) => file.clone(),
                None => {
                    let Some(fields) = period.fields() else {
                        out.dead.push(letter(
                            batch,
                            row,
                            format!("its time is outside of the years 0000 to 9999 ({time} µs)"),
                        ));
                        continue;
                    };
                    let series = self.plan.path.series(&Values {
                        export: &self.plan.name,
                        kind: route.kind.as_deref().unwrap_or_default(),
                        source: route.source.as_deref().unwrap_or(&self.plan.source.name),
                        partition: super::PARTITION,
                        period: fields,
                        extension: &self.extension,
                    });
                    let file = self.runtime.block_on(span.files.file(&series, period.end()))?;
                    self.routes.insert(route.clone(), file.clone());
                    file
                }
            };
            groups.entry(file.id).or_insert_with(|| (file.clone(), Vec::new())).1.push(u32_of(row));
            last = Some((route, file.id));
        }
        Ok(groups.into_values().collect())
    }

    fn encode(&mut self, batch: &Batch, file: &Arc<File>, span: &SpanContext, out: &mut Processed) -> Result<()> {
        let isolate = self.plan.on_error == OnError::DeadLetter;
        if !self.begun.contains_key(&file.id) {
            let header = self
                .format
                .instance
                .begin(file.id, file.seed, file.resumed)
                .map_err(|f| Error::plugin(f.to_string()))?;
            if !file.resumed {
                out.headers.push((file.clone(), header.into()));
            }
            self.begun.insert(file.id, file.clone());
        }
        let toolbox = &self.toolbox;
        let begun = &self.begun;
        let appendable = self.format.instance.file_type().appendable;
        let columns = self.format.pick(batch);
        let outcomes = bisect(
            &mut self.format,
            batch.rows(),
            &columns,
            isolate && appendable,
            |stage, rows, columns| stage.instance.encode(file.id, rows, columns),
            |stage| {
                stage.instance = toolbox.format(&stage.plugin, span.moment)?;
                // The fresh instance goes on with every file that the failed one had begun.
                for file in begun.values() {
                    let again = stage.instance.begin(file.id, file.seed, true);
                    again.map_err(|failure: Failure| Error::plugin(failure.to_string()))?;
                }
                Ok(())
            },
        )?;
        for outcome in outcomes {
            match outcome.answer {
                Ok(segment) => {
                    refuse(batch, outcome.start, &segment.rejected, &self.format.plugin, out);
                    out.segments.push((file.clone(), segment.bytes.into(), segment.rows));
                }
                Err(failure) => out.dead.push(letter(batch, outcome.start, failure.to_string())),
            }
        }
        Ok(())
    }
}

/// The export's time column as numbers, for the layout.
pub(super) fn timestamps(column: &ArrayRef) -> &arrow_array::TimestampMicrosecondArray {
    column.as_primitive::<TimestampMicrosecondType>()
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
    if let Some(bodies) = transformed.bodies {
        let extracted = decoder.extract(&bodies, &shaped.columns);
        (shaped.columns, shaped.bodies, rejected) = (extracted.columns, bodies, extracted.rejected);
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

fn refuse(batch: &Batch, start: usize, rejected: &[Rejection], plugin: &PluginUse, out: &mut Processed) {
    for rejection in rejected {
        let reason = format!("plugin `{}`: {}", plugin.plugin.name, rejection.reason);
        out.dead.push(letter(batch, start + rejection.row as usize, reason));
    }
}

/// The dead letter for a row of a batch.
fn letter(batch: &Batch, row: usize, reason: String) -> DeadLetter {
    DeadLetter {
        reason,
        origin: batch.origin.clone(),
        offset: batch.offsets.value(row),
        raw: Bytes::copy_from_slice(batch.raw.value(row)),
    }
}

fn u32_of(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has at most 8,192 rows")
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn timed<T>(total: &mut u64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let out = work();
    *total += nanos(started);
    out
}
