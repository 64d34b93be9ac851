//! The same pipeline with `select` and `ndjson` linked natively: what is left out is the sandbox, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, Buffer};
use filter_select::Select;
use format_ndjson::Ndjson;
use lakeport::clock::Surroundings;
use lakeport::lake::Lake;
use lakeport::pipeline::{HoldSender, Job, Options, Tables, run};
use lakeport::plan::PluginUse;
use lakeport::plugin::{Failure, FileId, FileType, Filter, Format, Moment, Segment, Toolbox, Transform, Verdict};
use lakeport::record::{Attribute, ColumnRequest, ColumnType};
use lakeport::source::Local;
use lakeport::telemetry::ExportReport;
use lakeport_plugin::bindings::records as wit;
use lakeport_plugin::{Batch, FileContext, Filter as _, Format as _, VarBytes};
use tokio::sync::watch;

/// Runs the only export of a configuration.
pub fn export(configuration: &Path) -> lakeport::Result<ExportReport> {
    let plan = lakeport::config::load(configuration, &|name| std::env::var(name).ok())?;
    let export = Arc::new(plan.exports.into_iter().next().expect("a plan has an export"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be started");
    runtime.block_on(async {
        let (_keep, stop) = watch::channel(false);
        let job = Job {
            lake: Lake::open(&export.lake).await?,
            export,
            source: Arc::new(Local),
            tables: Tables::default(),
            settled: None,
            toolbox: Arc::new(Native),
            plugins: BTreeMap::new(),
            surroundings: Surroundings::system(),
            options: Options::new(std::thread::available_parallelism().map_or(1, usize::from), "bench".into()),
            live: Arc::default(),
            hold: HoldSender::default(),
            stop,
        };
        let report = run(job).await;
        report.error.clone().map_or(Ok(report), Err)
    })
}

/// Opens the two plugins of the benchmark as plain Rust.
struct Native;

impl Toolbox for Native {
    fn filter(&self, plugin: &PluginUse, _: Moment) -> lakeport::Result<Box<dyn Filter>> {
        let config =
            serde_json::from_value(plugin.config.clone()).map_err(|e| lakeport::Error::config(e.to_string()))?;
        let select = Select::open(config).map_err(|e| lakeport::Error::config(format!("{e:?}")))?;
        let columns = vec![ColumnRequest::attribute(Attribute::Kind, ColumnType::Text)];
        Ok(Box::new(NativeSelect { select, columns }))
    }

    fn transform(&self, plugin: &PluginUse, _: Moment) -> lakeport::Result<Box<dyn Transform>> {
        Err(lakeport::Error::config(format!("`{}` is not linked natively", plugin.plugin.name)))
    }

    fn format(&self, _: &PluginUse, _: Moment) -> lakeport::Result<Box<dyn Format>> {
        let columns = vec![ColumnRequest::attribute(Attribute::Body, ColumnType::Bytes)];
        let file_type =
            FileType { extension: "ndjson".into(), content_type: "application/x-ndjson".into(), appendable: true };
        Ok(Box::new(NativeNdjson { files: HashMap::new(), columns, file_type }))
    }
}

struct NativeSelect {
    select: Select,
    columns: Vec<ColumnRequest>,
}

// SAFETY: `Select` remembers answers in a `RefCell`, and a lane's filter is used by one thread at a time.
unsafe impl Send for NativeSelect {}

impl Filter for NativeSelect {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn evaluate(&mut self, rows: usize, columns: &[ArrayRef]) -> Result<Verdict, Failure> {
        let kinds = columns[0].as_string_view();
        let validity = kinds.nulls().map(|nulls| nulls.inner().sliced().to_vec());
        let values = wit::ColumnValues::Text(gathered(kinds.iter().map(|kind| kind.unwrap_or_default().as_bytes())));
        let batch = Batch::new(rows, vec![wit::Column { validity, values }]);
        let verdict = self.select.evaluate(&batch).map_err(|e| Failure::Refused(format!("{e:?}")))?;
        let keep = BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(verdict.keep), 0, rows), None);
        Ok(Verdict { keep, rejected: Vec::new() })
    }

    fn set_moment(&mut self, _: Moment) {}
}

struct NativeNdjson {
    files: HashMap<FileId, Ndjson>,
    columns: Vec<ColumnRequest>,
    file_type: FileType,
}

impl Format for NativeNdjson {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn file_type(&self) -> &FileType {
        &self.file_type
    }

    fn begin(&mut self, file: FileId, seed: [u8; 16], resumed: bool) -> Result<Vec<u8>, Failure> {
        let settings = serde_json::from_str("{}").map_err(|e| Failure::Refused(e.to_string()))?;
        let mut ndjson = Ndjson::open(settings).map_err(|e| Failure::Refused(format!("{e:?}")))?;
        let header = ndjson.header(&FileContext { seed: seed.to_vec(), resumed });
        self.files.insert(file, ndjson);
        header.map_err(|e| Failure::Refused(format!("{e:?}")))
    }

    fn encode(&mut self, file: FileId, rows: usize, columns: &[ArrayRef]) -> Result<Segment, Failure> {
        let bodies = columns[0].as_binary_view();
        let values = wit::ColumnValues::Bytes(gathered(bodies.iter().map(Option::unwrap_or_default)));
        let batch = Batch::new(rows, vec![wit::Column { validity: None, values }]);
        let ndjson = self.files.get_mut(&file).expect("a file is begun before it is encoded");
        let segment = ndjson.encode(&batch).map_err(|e| Failure::Refused(format!("{e:?}")))?;
        Ok(Segment { bytes: segment.bytes, rows: segment.rows, rejected: Vec::new() })
    }

    fn finish(&mut self, file: FileId) -> Result<Vec<u8>, Failure> {
        self.files.remove(&file);
        Ok(Vec::new())
    }

    fn set_moment(&mut self, _: Moment) {}
}

/// Values end to end: the same gathering as at the sandbox's crossing.
fn gathered<'a>(values: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> VarBytes {
    let mut offsets = Vec::with_capacity(values.len() + 1);
    let mut data = Vec::with_capacity(values.clone().map(<[u8]>::len).sum());
    offsets.push(0);
    for value in values {
        data.extend_from_slice(value);
        offsets.push(u32::try_from(data.len()).expect("a batch is smaller than 4 GiB"));
    }
    VarBytes { offsets, data }
}
