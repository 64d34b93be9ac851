//! Decoding: chunks of lines become batches of columns, and what is no record becomes a dead letter.
//!
//! Between reading and plugins. Each record is validated once, in the pass that also finds every value that a plugin or the
//! layout asked for; bodies are never built anew, copied or re-serialised. Pure: no clock, no disk.
//!
//! Invariants:
//! - Every line that is not empty is a row of one batch or a dead letter, never both, in the order of the chunk.
//! - The JSON accepted is RFC 8259's, nested at most [`MAX_DEPTH`] deep. A number of any size is valid, as is half a surrogate
//!   pair in a string: such a value is kept byte for byte, and is null in a column whose type cannot hold it.
//! - Of keys that an object has twice the last counts.

mod columns;
mod fields;
pub(crate) mod reason;
pub(crate) mod scan;
pub(crate) mod stops;
pub mod time;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryViewArray, TimestampMicrosecondArray, UInt32Array, UInt64Array};
use bytes::Bytes;

use crate::error::Result;
use crate::plan::{Mapping, TimeUnit};
use crate::plugin::Rejection;
use crate::record::{Attribute, Batch, ColumnRequest, ColumnType, DeadLetter, MAX_ROWS, Selector};
use crate::source::Chunk;

use columns::Rows;
use fields::{Fields, Slot};
pub use scan::MAX_DEPTH;
use scan::Span;
use stops::Stops;

/// Decodes the records of one export's source.
pub struct Decoder {
    fields: Fields,
    columns: Vec<Column>,
    /// The record's name, which it must have.
    kind: Option<Slot>,
    max_record_size: u64,
    stops: Stops,
}

/// What a chunk held.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In order; none is empty.
    pub batches: Vec<Batch>,
    /// In order.
    pub dead: Vec<DeadLetter>,
    /// Lines that are not empty: the rows of `batches` and `dead` together.
    pub records: u64,
}

/// The columns of bodies that a transform made.
#[derive(Debug)]
pub struct Extracted {
    /// The requested columns, a value for each body.
    pub columns: Vec<ArrayRef>,
    /// Bodies that are not JSON; their rows hold nulls. Rows are distinct and rising.
    pub rejected: Vec<Rejection>,
}

/// Where a column's values come from.
struct Column {
    as_type: ColumnType,
    from: From,
}

enum From {
    /// A value in the body that a pointer was given for.
    Pointer(Slot),
    /// A value in the body that the mapping says is an attribute.
    Attribute(Slot, TimeUnit),
    Body,
    WriteTime,
    /// One row, repeated.
    Constant(ArrayRef),
    /// Records of this source have no such attribute.
    Nothing,
}

impl Decoder {
    /// A decoder that makes `columns` for every batch, in that order. `source` is what a record's `source` attribute is where
    /// the mapping has none. A record of more than `max_record_size` bytes is a dead letter.
    ///
    /// # Errors
    /// Of kind `Config`, naming a pointer that is none.
    pub fn new(mapping: &Mapping, source: &str, columns: Vec<ColumnRequest>, max_record_size: u64) -> Result<Decoder> {
        let mut fields = Fields::default();
        let kind = mapping.kind.as_deref().map(|pointer| fields.add(pointer)).transpose()?;
        let columns =
            columns.iter().map(|request| column(request, mapping, source, &mut fields)).collect::<Result<_>>()?;
        Ok(Decoder { fields, columns, kind, max_record_size, stops: Stops::default() })
    }

    /// The records of `chunk`, which holds less than 4 GiB. `write_time`: microseconds since 1970-01-01T00:00:00Z.
    pub fn decode(&mut self, chunk: &Chunk, write_time: i64) -> Decoded {
        let data = &chunk.data;
        let utf8 = simdutf8::basic::from_utf8(data).is_ok();
        let mut decoded = Decoded::default();
        let mut rows = self.rows(data.clone());
        let mut start = if chunk.extent.first == 0 && data.starts_with(BOM) { BOM.len() } else { 0 };
        while start < data.len() {
            let next = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at + 1);
            let end = line_end(data, start, next);
            if !is_blank(&data[start..end]) {
                decoded.records += 1;
                // Only a chunk's last line can have lost bytes.
                let dropped = if next == data.len() { chunk.extent.dropped } else { 0 };
                match self.scan(data, start, end, utf8, dropped, &mut rows) {
                    Ok(()) => rows.bodies.push(span(start, end)),
                    Err(reason) => {
                        rows.found.truncate(rows.bodies.len() * rows.slots);
                        decoded.dead.push(DeadLetter {
                            reason,
                            origin: chunk.extent.origin.name.clone(),
                            offset: chunk.extent.first + start as u64,
                            raw: keep(data, start, end),
                        });
                    }
                }
                if rows.bodies.len() == MAX_ROWS {
                    decoded.batches.push(self.batch(&rows, chunk, write_time));
                    rows.bodies.clear();
                    rows.found.clear();
                }
            }
            start = next;
        }
        if !rows.bodies.is_empty() {
            decoded.batches.push(self.batch(&rows, chunk, write_time));
        }
        decoded
    }

    /// The columns of `bodies` that a transform made. `inherited`: the columns of the rows they come from, in the order of the
    /// requests; attributes are taken from there, pointers and the body itself from the new bodies, which hold less than
    /// 4 GiB together.
    pub fn extract(&mut self, bodies: &BinaryViewArray, inherited: &[ArrayRef]) -> Extracted {
        let mut data = Vec::with_capacity(bodies.iter().flatten().map(<[u8]>::len).sum());
        let mut spans = Vec::with_capacity(bodies.len());
        for body in bodies {
            let start = data.len();
            data.extend_from_slice(body.unwrap_or_default());
            spans.push(span(start, data.len()));
        }
        let mut rows = self.rows(Bytes::from(data));
        let mut rejected = Vec::new();
        let utf8 = simdutf8::basic::from_utf8(&rows.data).is_ok();
        for (row, body) in spans.into_iter().enumerate() {
            let (start, end) = (body.start as usize, body.end as usize);
            let from = rows.found.len();
            rows.found.resize(from + rows.slots, Span::ABSENT);
            let found = &mut rows.found[from..];
            let scanned = reason::check_utf8(&rows.data[start..end], utf8).and_then(|()| {
                let fault = |fault| reason::fault(&rows.data, start, end, fault);
                self.fields.scan(&rows.data, start, end, found, &mut self.stops).map(drop).map_err(fault)
            });
            rows.bodies.push(match scanned {
                Ok(()) => body,
                Err(reason) => {
                    found.fill(Span::ABSENT);
                    rejected.push(Rejection { row: row as u32, reason: format!("the new body is {reason}") });
                    Span::ABSENT
                }
            });
        }
        let columns = self.columns.iter().zip(inherited);
        let columns = columns.map(|(column, inherited)| match column.from {
            From::Pointer(_) | From::Body => column.build(&rows, 0),
            _ => inherited.clone(),
        });
        Extracted { columns: columns.collect(), rejected }
    }

    fn rows(&self, data: Bytes) -> Rows {
        Rows { data, bodies: Vec::new(), found: Vec::new(), slots: self.fields.slots() }
    }

    /// Validates the record in `[start, end)` and adds what was found to `rows`; the reason where it is none.
    #[inline]
    fn scan(
        &mut self,
        data: &[u8],
        start: usize,
        end: usize,
        utf8: bool,
        dropped: u64,
        rows: &mut Rows,
    ) -> Result<(), String> {
        let size = (end - start) as u64 + dropped;
        if dropped > 0 || size > self.max_record_size {
            return Err(reason::too_large(size, self.max_record_size, dropped));
        }
        reason::check_utf8(&data[start..end], utf8)?;
        let from = rows.found.len();
        rows.found.resize(from + rows.slots, Span::ABSENT);
        let found = &mut rows.found[from..];
        let body = self
            .fields
            .scan(data, start, end, found, &mut self.stops)
            .map_err(|fault| reason::fault(data, start, end, fault))?;
        if data[body.start as usize] != b'{' {
            return Err(reason::no_object(data[body.start as usize]));
        }
        match self.kind {
            Some(kind) => reason::check_kind(data, found[kind], self.fields.pointer(kind)),
            None => Ok(()),
        }
    }

    fn batch(&self, rows: &Rows, chunk: &Chunk, write_time: i64) -> Batch {
        let bodies = rows.bodies();
        let offsets = rows.bodies.iter().map(|body| chunk.extent.first + u64::from(body.start));
        Batch {
            columns: self.columns.iter().map(|column| column.build(rows, write_time)).collect(),
            raw: bodies.clone(),
            bodies,
            offsets: UInt64Array::from_iter_values(offsets),
            origin: chunk.extent.origin.name.clone(),
        }
    }
}

impl Column {
    fn build(&self, rows: &Rows, write_time: i64) -> ArrayRef {
        let count = rows.bodies.len();
        match &self.from {
            From::Pointer(slot) => rows.column(*slot, self.as_type, TimeUnit::Rfc3339),
            From::Attribute(slot, unit) => rows.column(*slot, self.as_type, *unit),
            From::Body => match self.as_type {
                ColumnType::Text => Arc::new(rows.bodies_as_text()),
                _ => Arc::new(rows.bodies()),
            },
            From::WriteTime => Arc::new(TimestampMicrosecondArray::from_value(write_time, count)),
            From::Constant(row) => {
                let repeated = UInt32Array::from_value(0, count);
                arrow_select::take::take(row, &repeated, None).expect("row 0 is there")
            }
            From::Nothing => columns::nulls(self.as_type, count),
        }
    }
}

/// Where the column of `request` comes from.
fn column(request: &ColumnRequest, mapping: &Mapping, source: &str, fields: &mut Fields) -> Result<Column> {
    let as_type = request.as_type;
    let attribute = match &request.selector {
        Selector::Pointer(pointer) => return Ok(Column { as_type, from: From::Pointer(fields.add(pointer)?) }),
        Selector::Attribute(attribute) => attribute,
        // Filled in by the lane, which knows the tables.
        Selector::Lookup { .. } => return Ok(Column { as_type, from: From::Nothing }),
    };
    let (pointer, unit) = match attribute {
        Attribute::Id => (&mapping.id, TimeUnit::Rfc3339),
        Attribute::Source => (&mapping.source, TimeUnit::Rfc3339),
        Attribute::Kind => (&mapping.kind, TimeUnit::Rfc3339),
        Attribute::Subject => (&mapping.subject, TimeUnit::Rfc3339),
        Attribute::Time => (&mapping.time, mapping.time_unit),
        Attribute::EnqueuedTime => (&mapping.enqueued_time, mapping.time_unit),
        Attribute::WriteTime | Attribute::Operation | Attribute::Version => (&None, TimeUnit::Rfc3339),
        Attribute::Properties | Attribute::SystemProperties | Attribute::Body => (&None, TimeUnit::Rfc3339),
    };
    let from = match (pointer, attribute, as_type) {
        (Some(pointer), ..) => From::Attribute(fields.add(pointer)?, unit),
        (None, Attribute::Source, _) => From::Constant(constant(source, as_type)),
        (None, Attribute::WriteTime, ColumnType::Timestamp) => From::WriteTime,
        (None, Attribute::Body, ColumnType::Json | ColumnType::Bytes | ColumnType::Text) => From::Body,
        (None, Attribute::Body, _) => From::Pointer(fields.add("")?),
        (None, ..) => From::Nothing,
    };
    Ok(Column { as_type, from })
}

/// One row that holds `text`, as if a record had it.
fn constant(text: &str, as_type: ColumnType) -> ArrayRef {
    let data = Bytes::from(serde_json::Value::from(text).to_string());
    let mut fields = Fields::default();
    let slot = fields.add("").expect("the empty pointer is one");
    let mut found = [Span::ABSENT];
    let body = fields.scan(&data, 0, data.len(), &mut found, &mut Stops::default()).expect("serde_json writes JSON");
    Rows { data, bodies: vec![body], found: found.to_vec(), slots: 1 }.column(slot, as_type, TimeUnit::Rfc3339)
}

/// Whether `line` is one whole JSON object: a record, even if nothing ends its line.
pub fn is_json_object(line: &[u8]) -> bool {
    let line = line.strip_prefix(BOM).unwrap_or(line);
    let scanned = scan::Scanner::new(line, line.len(), &mut Stops::default()).document(0, |_, _| {});
    scanned.is_ok_and(|body| line[body.start as usize] == b'{') && simdutf8::basic::from_utf8(line).is_ok()
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where the line that `[start, next)` holds ends, its terminator (LF or CR LF) left out.
fn line_end(data: &[u8], start: usize, next: usize) -> usize {
    let line = &data[start..next];
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    start + line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Whether a line is nothing but JSON's white space.
fn is_blank(line: &[u8]) -> bool {
    line.first() != Some(&b'{') && line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// A record's bytes for a dead letter: a copy where a few bytes would keep the whole chunk in memory.
fn keep(data: &Bytes, start: usize, end: usize) -> Bytes {
    if (end - start) * 2 > data.len() { data.slice(start..end) } else { Bytes::copy_from_slice(&data[start..end]) }
}

fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32, escaped: false }
}

#[cfg(test)]
mod tests;
