//! Between batches and the table: records become changes of documents, and documents become records again.

use std::io::Write;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};

use super::columns::ColumnTable;
use super::processed::Processed;
use crate::error::Result;
use crate::plan::{Envelope, Place, SourcePlan};
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType};
use crate::source::{Chunk, Extent, Framing, Origin};
use crate::table::{Change, Document, Key, Operation, Shape};

/// The kind of documents whose records have none.
const NO_KIND: &str = "document";
/// The kind of documents that twins are kept as.
const TWIN: &str = "device";

/// Where the parts of a change stand in a batch.
pub struct ChangeColumns {
    shape: Shape,
    source: usize,
    kind: usize,
    subject: usize,
    operation: usize,
    version: VersionColumn,
    time: usize,
    has_own_versions: bool,
    /// The source of documents whose records have none.
    fallback: String,
}

impl ChangeColumns {
    /// Asks `table` for them.
    pub fn new(shape: Shape, source: &SourcePlan, table: &mut ColumnTable) -> Self {
        let version = VersionColumn::new(source, table);
        let mut ask = |attribute, as_type| table.add(ColumnRequest::attribute(attribute, as_type));
        ChangeColumns {
            shape,
            source: ask(Attribute::Source, ColumnType::Text),
            kind: ask(Attribute::Kind, ColumnType::Text),
            subject: ask(Attribute::Subject, ColumnType::Text),
            operation: ask(Attribute::Operation, ColumnType::Text),
            version,
            time: ask(Attribute::Time, ColumnType::Timestamp),
            has_own_versions: has_own_versions(source),
            fallback: source.name.clone(),
        }
    }

    /// Adds the changes that the records of `batch` are to `out`; what is none is a dead letter. `replays`: they come later than others
    /// that came after them.
    pub fn take(&self, batch: &Batch, replays: bool, out: &mut Processed) {
        let text = |at: usize| batch.columns[at].as_string_view();
        let (sources, kinds, subjects) = (text(self.source), text(self.kind), text(self.subject));
        let operations = text(self.operation);
        let times = batch.columns[self.time].as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.rows() {
            let text = |column: &arrow_array::StringViewArray| {
                if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
            };
            let mut key = Key { source: text(sources), kind: text(kinds), subject: text(subjects) };
            if key.source.is_empty() {
                key.source.clone_from(&self.fallback);
            }
            match self.shape {
                // What records say of their kind is the kind of change: a device was created, its twin has changed.
                Shape::Twin => key.kind = TWIN.to_owned(),
                Shape::Document if key.kind.is_empty() => key.kind = NO_KIND.to_owned(),
                Shape::Document | Shape::Row => {}
            }
            // What does not say what it does is the document.
            let operation = match operations.is_valid(row) {
                true => operations.value(row).parse(),
                false => Ok(Operation::Update),
            };
            let version = match self.version.get(batch, row) {
                Ok(None) if replays => Err("it has no version: now it could overwrite what came after it".to_owned()),
                version => version,
            };
            let time = times.is_valid(row).then(|| times.value(row));
            let body = if batch.bodies.is_valid(row) { batch.bodies.value(row) } else { &[] };
            let change = operation.and_then(|operation| {
                let mut change = Change::new(self.shape, key, operation, version?, time, Bytes::copy_from_slice(body))?;
                change.set_own_version(self.has_own_versions);
                Ok(change)
            });
            match change {
                Ok(change) => out.changes.push(change),
                Err(reason) => out.bury(batch, row, reason),
            }
        }
    }
}

/// Whether no two changes of a row have one version: a `RowVersion` of Dataverse is of one change, a position in a database's log may
/// be that of many.
pub fn has_own_versions(source: &SourcePlan) -> bool {
    source.mapping.envelope == Envelope::Dataverse
}

/// Where the version of a change stands in a batch.
pub struct VersionColumn {
    version: usize,
    /// As the record has it, where that is in its body.
    given: Option<usize>,
}

impl VersionColumn {
    /// Asks `table` for it.
    pub fn new(source: &SourcePlan, table: &mut ColumnTable) -> Self {
        let given = match source.mapping.place(Attribute::Version) {
            Place::Body(pointer) => Some(table.add(ColumnRequest::pointer(pointer.clone(), ColumnType::Json))),
            _ => None,
        };
        VersionColumn { version: table.add(ColumnRequest::attribute(Attribute::Version, ColumnType::Int64)), given }
    }

    /// A row's version. A change without one always applies, so one whose version cannot be read must not count as such.
    pub fn get(&self, batch: &Batch, row: usize) -> Result<Option<i64>, String> {
        let versions = batch.columns[self.version].as_primitive::<Int64Type>();
        if versions.is_valid(row) {
            return Ok(Some(versions.value(row)));
        }
        let given = self.given.map(|at| batch.columns[at].as_binary_view());
        match given.and_then(|given| given.is_valid(row).then(|| given.value(row))) {
            None | Some(b"null") => Ok(None),
            Some(other) => Err(format!(
                "the version is `{}`, expected a whole number",
                String::from_utf8_lossy(other).chars().take(40).collect::<String>()
            )),
        }
    }
}

/// Documents of an export's table as change records, a line each: so that they get their columns as every record does, from
/// [`crate::decode::Decoder::of_changes`].
pub fn chunk(export: &str, documents: &[Document]) -> Chunk {
    let mut data = Vec::with_capacity(
        documents.iter().map(|document| 256 + document.body.as_ref().map_or(0, |body| body.len())).sum(),
    );
    for document in documents {
        line(document, &mut data);
    }
    let origin = Origin { name: format!("table of {export}").into(), inode: 0, hashed: 0, hash: String::new() };
    let next = data.len() as u64;
    let extent = Extent::new(Arc::new(origin), 0, next);
    Chunk { data: data.into(), extent, framing: Framing::Lines }
}

fn line(document: &Document, out: &mut Vec<u8>) {
    let Document { key, operation, version, time, body } = document;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let subject = text(&key.subject);
    let head = format!(
        "{{\"operation\":\"{}\",\"kind\":{},\"key\":{subject},\"source\":{}",
        operation.as_str(),
        text(&key.kind),
        text(&key.source),
    );
    out.extend_from_slice(head.as_bytes());
    if let Some(version) = version {
        write!(out, ",\"version\":{version}").expect("a Vec takes everything");
    }
    if let Some(time) = time.and_then(DateTime::from_timestamp_micros) {
        let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(out, ",\"time\":\"{time}\"").expect("a Vec takes everything");
    }
    out.extend_from_slice(b",\"body\":");
    match body {
        Some(body) => {
            let start = out.len();
            out.extend_from_slice(body);
            // Between tokens only: a line feed inside a string is escaped.
            out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
        None => write!(out, "{{\"id\":{subject},\"deleted\":true}}").expect("a Vec takes everything"),
    }
    out.extend_from_slice(b"}\n");
}
