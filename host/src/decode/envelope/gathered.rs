//! Records that were taken out of their envelopes, until there are enough of them for a batch.

use arrow_array::UInt64Array;
use bytes::Bytes;

use super::news::News;
use super::row::{Inherited, Inherits, Known, Row};
use crate::decode::columns::Rows;
use crate::decode::lines::keep;
use crate::decode::scan::Span;
use crate::decode::{Decoded, Decoder, reason};
use crate::record::{Attribute, Batch, DeadLetter, MAX_ROWS, numbers};
use crate::source::Chunk;

/// A batch whose bodies have this many bytes is full.
const FULL: usize = 64 << 20;

/// The batch under way, and what became of the records before it.
pub struct Gathered<'a> {
    pub decoder: &'a mut Decoder,
    pub chunk: &'a Chunk,
    write_time: i64,
    decoded: Decoded,
    /// Bodies and attributes, end to end.
    buffer: Vec<u8>,
    bodies: Vec<Span>,
    found: Vec<Span>,
    /// The records as they were received: in the chunk, or in `copies` where there are any.
    raws: Vec<Span>,
    copies: Vec<u8>,
    offsets: Vec<u64>,
    /// The body of the record that was taken out last.
    body: Span,
    /// It is no row.
    skipped: bool,
    news: News,
}

impl<'a> Gathered<'a> {
    /// Nothing yet of `chunk`.
    pub fn new(decoder: &'a mut Decoder, chunk: &'a Chunk, write_time: i64) -> Self {
        Gathered {
            decoder,
            chunk,
            write_time,
            decoded: Decoded::default(),
            buffer: vec![b' '],
            bodies: Vec::new(),
            found: Vec::new(),
            raws: Vec::new(),
            copies: Vec::new(),
            offsets: Vec::new(),
            body: Span::ABSENT,
            skipped: false,
            news: News::default(),
        }
    }

    /// The record that is taken out next begins at `at` in the chunk.
    #[inline]
    pub fn begin(&mut self, at: usize) {
        self.news.set_offset(self.chunk.offset_of(at));
    }

    /// Takes one record out; [`Gathered::keep`] or [`Gathered::refuse`] comes next.
    ///
    /// # Errors
    /// Why it is none.
    #[inline]
    pub fn take(
        &mut self,
        inherited: &Inherited,
        kind: Option<&str>,
        open: impl FnOnce(&mut Row<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let slots = self.decoder.fields.slots();
        let (from, start) = (self.bodies.len() * slots, self.buffer.len());
        self.found.truncate(from);
        self.found.resize(from + slots, Span::ABSENT);
        let mut row = Row {
            buffer: &mut self.buffer,
            found: &mut self.found[from..],
            wanted: &self.decoder.wanted,
            body: Span::ABSENT,
            content: Known::Nothing,
            inherits: Inherits::Nothing,
            kind,
            skipped: false,
            news: &mut self.news,
        };
        let mut opened = open(&mut row);
        if let Some(kind) = kind {
            row.text(Attribute::Kind, kind);
        }
        let size = u64::from(row.body.end - row.body.start);
        if opened.is_ok() && size > self.decoder.max_record_size {
            opened = Err(reason::too_large(size, self.decoder.max_record_size, 0));
        }
        match opened {
            Ok(()) if !row.skipped => row.scan(&self.decoder.fields, inherited, &mut self.decoder.stops),
            _ => row.buffer.truncate(start),
        }
        (self.body, self.skipped) = (row.body, row.skipped);
        opened
    }

    /// The record that was taken out is a row, unless it was skipped; it lies at `raw` in the chunk and starts at `at` there.
    #[inline]
    pub fn keep(&mut self, raw: Span, at: usize) {
        if self.skipped {
            self.decoded.records += 1;
            return;
        }
        self.raws.push(raw);
        self.push(self.chunk.offset_of(at));
    }

    /// The record that was taken out is a row; it is not in the chunk as it stands.
    pub fn keep_copy(&mut self, raw: &[u8], offset: u64) {
        let start = self.copies.len();
        self.copies.extend_from_slice(raw);
        self.raws.push(Span { start: start as u32, end: self.copies.len() as u32, escaped: false });
        self.push(offset);
    }

    /// The record at `[start, end)` of the chunk is a dead letter.
    #[cold]
    pub fn refuse(&mut self, reason: String, start: usize, end: usize) {
        let raw = keep(&self.chunk.data, start, end);
        self.refuse_copy(reason, raw, self.chunk.offset_of(start));
    }

    /// A record that is not in the chunk as it stands is a dead letter.
    #[cold]
    pub fn refuse_copy(&mut self, reason: String, raw: Bytes, offset: u64) {
        self.decoded.records += 1;
        let origin = self.chunk.extent.origin.name.clone();
        self.decoded.dead.push(DeadLetter::new(reason, origin, offset, raw));
    }

    /// What became of the chunk.
    pub fn finish(mut self) -> Decoded {
        self.end_batch();
        self.decoded.news = self.news.into_news();
        self.decoded
    }

    #[inline]
    fn push(&mut self, offset: u64) {
        self.decoded.records += 1;
        self.bodies.push(self.body);
        self.offsets.push(offset);
        if self.bodies.len() == MAX_ROWS || self.buffer.len().max(self.copies.len()) >= FULL {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        let slots = self.decoder.fields.slots();
        self.found.truncate(self.bodies.len() * slots);
        if self.bodies.is_empty() {
            return;
        }
        let data = Bytes::from(std::mem::replace(&mut self.buffer, vec![b' ']));
        let (bodies, found) = (std::mem::take(&mut self.bodies), std::mem::take(&mut self.found));
        let rows = Rows { data, bodies, found, slots };
        let data = match self.copies.is_empty() {
            true => self.chunk.data.clone(),
            false => Bytes::from(std::mem::take(&mut self.copies)),
        };
        let raws = Rows { data, bodies: std::mem::take(&mut self.raws), found: Vec::new(), slots: 0 };
        let columns = &self.decoder.columns;
        self.decoded.batches.push(Batch {
            columns: columns.iter().map(|column| column.build(&rows, self.write_time)).collect(),
            bodies: rows.bodies(),
            raw: raws.bodies(),
            records: numbers(rows.bodies.len()),
            offsets: UInt64Array::from(std::mem::take(&mut self.offsets)),
            origin: self.chunk.extent.origin.name.clone(),
        });
    }
}
