//! The end of a lane: partitions batches by file, and encodes each file's records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::UInt32Array;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::bisect::bisect;
use super::columns::{ColumnTable, Layout};
use super::processed::{Processed, SpanContext, letter, nanos, u32_of};
use super::stage::Stage;
use crate::commit::File;
use crate::error::{Error, Result};
use crate::layout::{Period, Values};
use crate::plan::{ExportPlan, OnError, Timestamp};
use crate::plugin::{Failure, FileId, Format, Moment, Toolbox};
use crate::record::Batch;

/// The format's instance of a lane, and the files that it writes.
pub struct Writer {
    plan: Arc<ExportPlan>,
    toolbox: Arc<dyn Toolbox>,
    runtime: Handle,
    layout: Layout,
    format: Stage<dyn Format>,
    extension: String,
    /// Files of the current span that this lane's format has begun.
    begun: HashMap<FileId, Arc<File>>,
    /// The current span's files by period, kind and source: what most rows need, without asking the table.
    routes: HashMap<Route, Arc<File>>,
}

/// What decides a record's file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    period: Period,
    kind: Option<String>,
    source: Option<String>,
}

impl Writer {
    /// Opens the format, and asks `table` for what it and the layout need.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, naming the plugin.
    pub fn open(
        plan: Arc<ExportPlan>,
        toolbox: Arc<dyn Toolbox>,
        runtime: Handle,
        moment: Moment,
        table: &mut ColumnTable,
    ) -> Result<Self> {
        let layout = Layout::new(&plan, table);
        let instance = toolbox.format(&plan.format, moment)?;
        let columns = table.add_all(instance.columns());
        let extension = instance.file_type().extension.clone();
        let format = Stage { instance, plugin: plan.format.clone(), columns };
        Ok(Writer { plan, toolbox, runtime, layout, format, extension, begun: HashMap::new(), routes: HashMap::new() })
    }

    /// Whether segments of the format may be encoded by several lanes and at several times.
    pub fn appendable(&self) -> bool {
        self.format.instance.file_type().appendable
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

    /// Leaves the files of the span before, and sets the format's clock.
    pub fn enter(&mut self, moment: Moment) {
        self.routes.clear();
        for (id, _) in std::mem::take(&mut self.begun) {
            // An appendable file has no last bytes; a failure here shows at the next call.
            let _ = self.format.instance.finish(id);
        }
        self.format.instance.set_moment(moment);
    }

    /// Sorts a batch's rows by file, and encodes each file's.
    ///
    /// # Errors
    /// Of kind `Plugin` where the format fails and the export says stop, or fails altogether; of kind `Lake` where it cannot be
    /// found out which object a period's records go to.
    pub fn write(&mut self, batch: &Batch, span: &SpanContext, out: &mut Processed) -> Result<()> {
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
                    out.refuse(batch, outcome.start, &segment.rejected, &self.format.plugin);
                    out.segments.push((file.clone(), segment.bytes.into(), segment.rows));
                }
                Err(failure) => out.dead.push(letter(batch, outcome.start, failure.to_string())),
            }
        }
        Ok(())
    }
}
