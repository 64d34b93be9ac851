//! Decoding: chunks become batches of columns, and what is no record becomes a dead letter.
//!
//! Between reading and plugins. Each record is validated once, in the pass that also finds every value that a plugin or the
//! layout asked for; bodies are never built anew or re-serialised. Without an envelope they are not copied either; out of one
//! they are gathered end to end (the module `envelope`). Pure: no clock, no disk.
//!
//! Invariants:
//! - Every record (a line that is not empty, an event of an array, an Avro datum) is a row of one batch or a dead letter, never
//!   both, in the order of the chunk; or neither, where it says nothing of a row: the marks of a transaction, a table's columns.
//! - The JSON accepted is RFC 8259's, nested at most [`MAX_DEPTH`] deep. A number of any size is valid, as is half a surrogate
//!   pair in a string: such a value is kept byte for byte, and is null in a column whose type cannot hold it.
//! - Of keys that an object has twice the last counts.

mod columns;
mod envelope;
mod fields;
mod key;
mod lines;
pub(crate) mod reason;
mod requests;
pub(crate) mod scan;
pub(crate) mod stops;
mod text_map;
pub mod time;

use arrow_array::{Array, ArrayRef, BinaryViewArray, UInt64Array};
use bytes::Bytes;

use crate::dataset::SchemaNews;
use crate::error::Result;
use crate::plan::{Envelope, Mapping, Place};
use crate::plugin::Rejection;
use crate::record::{Batch, ColumnRequest, DeadLetter, MAX_ROWS, numbers};
use crate::source::Chunk;

use columns::Rows;
pub(crate) use columns::nulls;
use envelope::Opener;
pub use envelope::{EXPECTED_VERSION, datum, decompress};
use fields::{Fields, Slot};
pub use key::{fold_guid, is_guid, key_text, values_at, values_in};
pub use lines::is_whole;
use lines::{Line, keep, span};
pub use reason::json_fault;
use requests::{Column, Wanted};
pub use scan::MAX_DEPTH;
use scan::Span;
use stops::Stops;

/// Decodes the records of one export's source.
pub struct Decoder {
    fields: Fields,
    columns: Vec<Column>,
    wanted: Wanted,
    /// The name that a record without an envelope must have.
    kind: Option<Slot>,
    /// Takes records out of their envelopes, where they come in some.
    opener: Option<Opener>,
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
    /// Lines that are not empty: the rows of `batches` and `dead` together, and what is neither, since it only speaks of others:
    /// the marks of a transaction, `news`.
    pub records: u64,
    /// What records said of their tables' columns, in order, where that is not what others of the chunk said before.
    pub news: Vec<SchemaNews>,
}

/// The columns of bodies that a transform made.
#[derive(Debug)]
pub struct Extracted {
    /// The requested columns, a value for each body.
    pub columns: Vec<ArrayRef>,
    /// Bodies that are not JSON, or null: what pointers would find in them is null. Rows are distinct and rising.
    pub rejected: Vec<Rejection>,
}

impl Decoder {
    /// A decoder that makes `columns` for every batch, in that order. `source` is what a record's `source` attribute is where
    /// the mapping has none. A record of more than `max_record_size` bytes is a dead letter.
    ///
    /// # Errors
    /// Of kind `Config`, naming a pointer that is none.
    pub fn new(mapping: &Mapping, source: &str, columns: Vec<ColumnRequest>, max_record_size: u64) -> Result<Decoder> {
        let (mut fields, mut wanted) = (Fields::default(), Wanted::default());
        let columns = columns
            .iter()
            .map(|request| Column::new(request, mapping, source, &mut fields, &mut wanted))
            .collect::<Result<_>>()?;
        let opener = Opener::new(mapping, &wanted, source, &mut fields)?;
        let kind = match &mapping.kind {
            Place::Body(pointer) if opener.is_none() => Some(fields.add(pointer)?),
            _ => None,
        };
        Ok(Decoder { fields, columns, wanted, kind, opener, max_record_size, stops: Stops::default() })
    }

    /// A decoder of nothing but bodies, for [`Decoder::extract`].
    ///
    /// # Errors
    /// As of [`Decoder::new`].
    pub fn of_bodies(columns: Vec<ColumnRequest>) -> Result<Decoder> {
        Decoder::new(&Mapping::all(Envelope::Plain, &Place::Nowhere), "", columns, u64::MAX)
    }

    /// A decoder of change records, of any size.
    ///
    /// # Errors
    /// As of [`Decoder::new`].
    pub fn of_changes(columns: Vec<ColumnRequest>) -> Result<Decoder> {
        Decoder::new(&Mapping::of_changes(), "", columns, u64::MAX)
    }

    /// The records of `chunk`, which holds less than 4 GiB. `write_time`: microseconds since 1970-01-01T00:00:00Z.
    pub fn decode(&mut self, chunk: &Chunk, write_time: i64) -> Decoded {
        if let Some(mut opener) = self.opener.take() {
            let decoded = envelope::decode(self, &mut opener, chunk, write_time);
            self.opener = Some(opener);
            return decoded;
        }
        let data = &chunk.data;
        let utf8 = simdutf8::basic::from_utf8(data).is_ok();
        let mut decoded = Decoded::default();
        let mut rows = self.rows(data.clone());
        for Line { start, end, dropped } in lines::of(chunk) {
            decoded.records += 1;
            match self.scan(data, start, end, utf8, dropped, &mut rows) {
                Ok(()) => rows.bodies.push(span(start, end)),
                Err(reason) => {
                    rows.found.truncate(rows.bodies.len() * rows.slots);
                    let (origin, offset) = (chunk.extent.origin.name.clone(), chunk.offset_of(start));
                    let mut dead = DeadLetter::new(reason, origin, offset, keep(data, start, end));
                    dead.length += dropped;
                    decoded.dead.push(dead);
                }
            }
            if rows.bodies.len() == MAX_ROWS {
                decoded.batches.push(self.batch(&rows, chunk, write_time));
                rows.bodies.clear();
                rows.found.clear();
            }
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
        let mut data = Vec::with_capacity(1 + bodies.iter().flatten().map(<[u8]>::len).sum::<usize>());
        // No body ends at 0, as what is absent does.
        data.push(b' ');
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
            let is_null = bodies.is_null(row);
            let (start, end) = (body.start as usize, body.end as usize);
            let from = rows.found.len();
            rows.found.resize(from + rows.slots, Span::ABSENT);
            let found = &mut rows.found[from..];
            let text = reason::check_utf8(&rows.data[start..end], utf8);
            let is_text = text.is_ok() && !is_null;
            let scanned = text.and_then(|()| {
                let fault = |fault| reason::fault(&rows.data, start, end, fault);
                self.fields.scan(&rows.data, start, end, found, &mut self.stops).map(drop).map_err(fault)
            });
            if let Err(reason) = scanned {
                found.fill(Span::ABSENT);
                rejected.push(Rejection { row: row as u32, reason: format!("the new body is {reason}") });
            }
            // A body that is no JSON may be what an envelope held: its bytes and its text are there all the same.
            if let Some(slot) = self.wanted.body_text
                && is_text
            {
                found[slot] = body;
            }
            rows.bodies.push(if is_null { Span::ABSENT } else { body });
        }
        let columns = self.columns.iter().zip(inherited);
        let columns = columns.map(|(column, inherited)| match column.is_of_the_body() {
            true => column.build(&rows, 0),
            false => inherited.clone(),
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
        if let Some(text) = self.wanted.body_text {
            found[text] = span(start, end);
        }
        match self.kind {
            Some(kind) => reason::check_kind(data, found[kind], self.fields.pointer(kind)),
            None => Ok(()),
        }
    }

    fn batch(&self, rows: &Rows, chunk: &Chunk, write_time: i64) -> Batch {
        let bodies = rows.bodies();
        let offsets = rows.bodies.iter().map(|body| chunk.offset_of(body.start as usize));
        Batch {
            columns: self.columns.iter().map(|column| column.build(rows, write_time)).collect(),
            raw: bodies.clone(),
            bodies,
            records: numbers(rows.bodies.len()),
            offsets: UInt64Array::from_iter_values(offsets),
            origin: chunk.extent.origin.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
