//! A format at work in a lane: begins files, encodes records, and starts again where the plugin failed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow_array::Array;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::bisect::bisect;
use super::columns::ColumnTable;
use super::processed::Processed;
use super::stage::Stage;
use crate::commit::File;
use crate::decode::json_fault;
use crate::error::{Error, Result};
use crate::plan::{ExportPlan, OnError};
use crate::plugin::{Failure, FileId, Format, Moment, Rejection};
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType};
use crate::telemetry::Pace;

/// Files of an appendable format that one instance has open. One more closes the one that was opened first; it is resumed where
/// it gets further records.
const MAX_OPEN: usize = 256;

/// Bytes of a file, which go behind those that it has.
pub type FileBytes = (Arc<File>, Bytes);

/// Opens an instance of the format.
pub type Open = Box<dyn Fn(Moment) -> Result<Box<dyn Format>> + Send>;

/// The format's instance of a lane, and the files that it writes.
pub struct Encoder {
    open: Open,
    isolate: bool,
    format: Stage<dyn Format>,
    extension: String,
    /// Where the body as JSON stands in a batch, if the format asks for it.
    json_body: Option<usize>,
    /// Files of the current span that this lane's format has open.
    begun: HashMap<FileId, Arc<File>>,
    /// The same, in the order in which they were begun.
    order: VecDeque<FileId>,
    /// Those that it had open before.
    closed: HashSet<FileId>,
    /// Of warnings about batches that the format failed on.
    warnings: Pace,
}

impl Encoder {
    /// Opens the format, and asks `table` for what it needs.
    ///
    /// # Errors
    /// Of kind `Config` or `Plugin`, naming the plugin.
    pub fn open(plan: &ExportPlan, open: Open, moment: Moment, table: &mut ColumnTable) -> Result<Self> {
        let instance = open(moment)?;
        let columns = table.add_all(instance.columns());
        let wanted = ColumnRequest::attribute(Attribute::Body, ColumnType::Json);
        let json_body = instance.columns().iter().position(|request| *request == wanted).map(|at| columns[at]);
        let extension = instance.file_type().extension.clone();
        let format = Stage { instance, plugin: plan.format.clone(), columns };
        let isolate = plan.on_error == OnError::DeadLetter;
        Ok(Encoder {
            open,
            isolate,
            format,
            extension,
            json_body,
            begun: HashMap::new(),
            order: VecDeque::new(),
            closed: HashSet::new(),
            warnings: Pace::default(),
        })
    }

    /// Of its files, without the dot.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// Whether segments of the format may be encoded by several lanes and at several times.
    pub fn appendable(&self) -> bool {
        self.format.instance.file_type().appendable
    }

    /// The last bytes of every file of the span: for formats that are not appendable, whose only lane this is.
    ///
    /// # Errors
    /// Of kind `Plugin`.
    pub fn finish_files(&mut self) -> Result<Vec<FileBytes>> {
        let mut out = Vec::new();
        self.order.clear();
        for (id, file) in std::mem::take(&mut self.begun) {
            let bytes = self.format.instance.finish(id).map_err(|failure| Error::plugin(failure.to_string()))?;
            out.push((file, bytes.into()));
        }
        Ok(out)
    }

    /// Leaves the files of the span before, and sets the format's clock.
    pub fn enter(&mut self, moment: Moment) {
        for (id, _) in std::mem::take(&mut self.begun) {
            // An appendable file has no last bytes; a failure here shows at the next call.
            let _ = self.format.instance.finish(id);
        }
        self.order.clear();
        self.closed.clear();
        self.format.instance.set_moment(moment);
    }

    /// Has the format begin a file, or resume one that it had open before.
    fn begin(&mut self, file: &Arc<File>, out: &mut Processed) -> Result<()> {
        let failed = |failure: Failure| Error::plugin(failure.to_string());
        if self.begun.len() >= MAX_OPEN
            && self.appendable()
            && let Some(first) = self.order.pop_front()
        {
            self.format.instance.finish(first).map_err(failed)?;
            self.begun.remove(&first);
            self.closed.insert(first);
        }
        let resumed = self.closed.contains(&file.id);
        let header = self.format.instance.begin(file.id, file.seed, resumed).map_err(failed)?;
        if !resumed {
            out.headers.push((file.clone(), header.into()));
        }
        self.begun.insert(file.id, file.clone());
        self.order.push_back(file.id);
        Ok(())
    }

    /// Encodes rows of one file.
    ///
    /// # Errors
    /// Of kind `Plugin` where the format fails and the export says stop, or fails altogether.
    ///
    /// `moment` is the batch's.
    pub fn encode(&mut self, batch: &Batch, file: &Arc<File>, moment: Moment, out: &mut Processed) -> Result<()> {
        let moment = moment.at(&[xxh3_64(file.series.as_bytes())]);
        self.format.instance.set_moment(moment);
        if !self.begun.contains_key(&file.id) {
            self.begin(file, out)?;
        }
        let (open, begun, isolate) = (&self.open, &self.begun, self.isolate);
        let appendable = self.format.instance.file_type().appendable;
        let columns = self.format.pick(batch);
        let outcomes = bisect(
            &mut self.warnings,
            &mut self.format,
            batch.rows(),
            &columns,
            isolate && appendable,
            |stage, start, rows, columns| {
                stage.instance.set_moment(moment.at(&[start as u64]));
                stage.instance.encode(file.id, rows, columns)
            },
            |stage, start| {
                stage.instance = open(moment.at(&[start as u64]))?;
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
                    let rejected = self.explained(segment.rejected, batch, outcome.start);
                    out.refuse(batch, outcome.start, &rejected, &self.format.plugin);
                    out.segments.push((file.clone(), segment.bytes.into(), segment.rows));
                }
                Err(failure) => out.fail(batch, outcome.start..outcome.start + outcome.rows, &failure),
            }
        }
        Ok(())
    }

    /// Adds what the format cannot know: a body that is not JSON is absent to a format that asks for JSON.
    fn explained(&self, mut rejected: Vec<Rejection>, batch: &Batch, start: usize) -> Vec<Rejection> {
        let Some(json) = self.json_body else { return rejected };
        for rejection in &mut rejected {
            let row = start + rejection.row as usize;
            if batch.columns[json].is_null(row)
                && batch.bodies.is_valid(row)
                && let Some(fault) = json_fault(batch.bodies.value(row))
            {
                rejection.reason = format!("{}: its body is {fault}", rejection.reason);
            }
        }
        rejected
    }
}
