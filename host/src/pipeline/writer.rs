//! The end of a lane: partitions batches by file, and hands each file's records to the encoder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::UInt32Array;
use chrono::{DateTime, SecondsFormat};

use super::columns::{ColumnTable, Layout};
use super::encoder::Encoder;
use super::processed::{Processed, SpanContext, nanos, u32_of};
use super::times;
use crate::commit::File;
use crate::error::Result;
use crate::layout::{Period, Values};
use crate::plan::{ExportPlan, Timestamp};
use crate::plugin::{FileId, Moment, Toolbox};
use crate::record::Batch;

/// Says which file each record goes to.
pub struct Writer {
    plan: Arc<ExportPlan>,
    layout: Layout,
    encoder: Encoder,
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
        moment: Moment,
        table: &mut ColumnTable,
    ) -> Result<Self> {
        let layout = Layout::new(&plan, table);
        let format = plan.format.clone();
        let open = move |moment| toolbox.format(&format, moment);
        let encoder = Encoder::open(&plan, Box::new(open), moment, table)?;
        Ok(Writer { plan, layout, encoder, routes: HashMap::new() })
    }

    /// The format at work.
    pub fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Leaves the files of the span before, and sets the format's clock.
    pub fn enter(&mut self, moment: Moment) {
        self.routes.clear();
        self.encoder.enter(moment);
    }

    /// Sorts a batch's rows by file, and encodes each file's.
    ///
    /// # Errors
    /// Of kind `Plugin` where the format fails and the export says stop, or fails altogether.
    ///
    /// `moment` is the batch's; `timed_by` names the transform that set its times.
    pub fn write(
        &mut self,
        batch: &Batch,
        timed_by: Option<&str>,
        span: &SpanContext,
        moment: Moment,
        out: &mut Processed,
    ) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let started = Instant::now();
        let groups = self.route(batch, timed_by, span, out)?;
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
            self.encoder.encode(part, &file, moment, out)?;
        }
        out.stages.encode += nanos(started);
        Ok(())
    }

    /// Why a record of `time` is refused that is met at `now`; `None` where it is not.
    fn too_far_ahead(&self, time: i64, now: i64) -> Option<String> {
        let most = self.plan.max_ahead.filter(|_| self.plan.timestamp != Timestamp::Write)?;
        let latest = now.saturating_add(i64::try_from(most.as_micros()).unwrap_or(i64::MAX));
        (time > latest).then(|| {
            let shown = |time| {
                DateTime::from_timestamp_micros(time)
                    .map_or_else(|| format!("{time} µs"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            };
            let most = humantime::format_duration(most);
            format!(
                "its time `{}` is more than `max-ahead` ({most}) ahead of the clock, which shows `{}`",
                shown(time),
                shown(now)
            )
        })
    }

    fn route(
        &mut self,
        batch: &Batch,
        timed_by: Option<&str>,
        span: &SpanContext,
        out: &mut Processed,
    ) -> Result<Vec<(Arc<File>, Vec<u32>)>> {
        let columns = self.layout.columns(batch);
        let granularity = self.plan.granularity;
        let mut groups: BTreeMap<FileId, (Arc<File>, Vec<u32>)> = BTreeMap::new();
        let mut last: Option<(Route, FileId)> = None;
        let excerpt = self.plan.excerpt.clone();
        for row in 0..batch.rows() {
            if excerpt.as_ref().is_some_and(|excerpt| excerpt.has_refused(batch, row)) {
                continue;
            }
            let time = match self.plan.timestamp {
                Timestamp::Write => span.moment.write_time,
                Timestamp::Event { or_enqueued } => match columns.time(row, or_enqueued) {
                    Some(time) => time,
                    None => {
                        out.bury(batch, row, times::no_time(&self.plan, batch, row, timed_by));
                        continue;
                    }
                },
            };
            if excerpt.as_ref().is_some_and(|excerpt| !excerpt.period.holds(time)) {
                continue;
            }
            if let Some(reason) = self.too_far_ahead(time, span.moment.write_time) {
                out.bury(batch, row, reason);
                continue;
            }
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
            if out.seconds.is_none() && times::looks_like_seconds(&self.plan.source, time) {
                out.seconds = Some(time);
            }
            let route = Route { period, kind: kind.map(str::to_owned), source: source.map(str::to_owned) };
            let file = match self.routes.get(&route) {
                Some(file) => file.clone(),
                None => {
                    let Some(fields) = period.fields() else {
                        out.bury(batch, row, format!("its time is outside of the years 0000 to 9999 ({time} µs)"));
                        continue;
                    };
                    let series = self.plan.path.series(&Values {
                        export: &self.plan.name,
                        kind: route.kind.as_deref().unwrap_or_default(),
                        source: route.source.as_deref().unwrap_or(&self.plan.source.name),
                        partition: &self.plan.partition,
                        period: fields,
                        extension: self.encoder.extension(),
                    });
                    let file = span.files.file(&series, period.end());
                    self.routes.insert(route.clone(), file.clone());
                    file
                }
            };
            groups.entry(file.id).or_insert_with(|| (file.clone(), Vec::new())).1.push(u32_of(row));
            last = Some((route, file.id));
        }
        Ok(groups.into_values().collect())
    }
}
