//! Spans of validated values to Arrow columns.
//!
//! The last step of decoding. Text and JSON are views into the bytes that were read: nothing is copied but strings with
//! escapes, which are unescaped beside them. A value that is absent or does not convert is null:
//!
//! | asked for as | converts |
//! |---|---|
//! | text | a string, unescaped; a number or boolean, as its JSON text |
//! | int64 | a number that is an integer, also as `1e3` or `1.0`, where it is exact |
//! | float64 | a number in range |
//! | boolean | `true`, `false` |
//! | timestamp | an RFC 3339 string; `time` and `enqueued-time`: what `time-unit` says |
//! | json | every value, `null` included, as it was received |
//! | bytes | as text, and an object or array as its JSON text |
//! | text-map | an object of strings, numbers, booleans and nulls; a member that is null is left out |

use std::str;
use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_buffer::{Buffer, NullBufferBuilder, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields as ArrowFields, TimeUnit as ArrowTimeUnit};
use bytes::Bytes;

use crate::plan::TimeUnit;
use crate::record::ColumnType;

use super::fields::Slot;
use super::scan::{Span, unescape};
use super::text_map::TextMaps;
use super::time;

/// Records that were scanned, and where their values are. All of `data` that the spans in `found` cover is valid UTF-8.
pub struct Rows {
    pub data: Bytes,
    /// Each record's body.
    pub bodies: Vec<Span>,
    /// Each record's values, one a slot.
    pub found: Vec<Span>,
    pub slots: usize,
}

impl Rows {
    /// The column of `slot`.
    pub fn column(&self, slot: Slot, as_type: ColumnType, unit: TimeUnit) -> ArrayRef {
        let values = || self.found.iter().skip(slot).step_by(self.slots).copied();
        match as_type {
            ColumnType::Boolean => Arc::new(values().map(|span| self.boolean(span)).collect::<BooleanArray>()),
            ColumnType::Int64 => {
                Arc::new(values().map(|span| self.number(span).and_then(int64)).collect::<Int64Array>())
            }
            ColumnType::Float64 => {
                Arc::new(values().map(|span| self.number(span).and_then(float64)).collect::<Float64Array>())
            }
            ColumnType::Timestamp => {
                let mut scratch = Vec::new();
                let instants = values().map(|span| self.instant(span, unit, &mut scratch));
                Arc::new(instants.collect::<TimestampMicrosecondArray>())
            }
            ColumnType::Text => Arc::new(self.text(values(), false).into_text()),
            ColumnType::Bytes => Arc::new(self.text(values(), true).into_binary()),
            ColumnType::Json => Arc::new(self.raw(values()).into_binary()),
            ColumnType::TextMap => self.text_map(values()),
        }
    }

    /// The bodies: a view each; null where a record has none.
    pub fn bodies(&self) -> BinaryViewArray {
        self.raw(self.bodies.iter().copied()).into_binary()
    }

    /// What a slot's values cover, as text: a view each.
    pub fn covered(&self, slot: Slot) -> StringViewArray {
        self.raw(self.found.iter().skip(slot).step_by(self.slots).copied()).into_text()
    }

    fn first_byte(&self, span: Span) -> u8 {
        if span.is_absent() { b'n' } else { self.data[span.start as usize] }
    }

    fn boolean(&self, span: Span) -> Option<bool> {
        match self.first_byte(span) {
            b't' => Some(true),
            b'f' => Some(false),
            _ => None,
        }
    }

    fn number(&self, span: Span) -> Option<&str> {
        // A number is ASCII.
        matches!(self.first_byte(span), b'-' | b'0'..=b'9').then(|| str::from_utf8(span.of(&self.data)).ok()).flatten()
    }

    fn instant(&self, span: Span, unit: TimeUnit, scratch: &mut Vec<u8>) -> Option<i64> {
        match self.first_byte(span) {
            b'"' if !span.escaped => time::parse(span.inside(&self.data), unit),
            b'"' => {
                scratch.clear();
                unescape(span.inside(&self.data), scratch).then(|| time::parse(scratch, unit)).flatten()
            }
            b'-' | b'0'..=b'9' if unit != TimeUnit::Rfc3339 => time::parse(span.of(&self.data), unit),
            _ => None,
        }
    }

    /// Views of the text that values stand for; `containers`: also of objects and arrays.
    fn text(&self, values: impl Iterator<Item = Span>, containers: bool) -> Views<'_> {
        let mut views = Views::new(&self.data, self.bodies.len());
        for span in values {
            match self.first_byte(span) {
                b'n' => views.null(),
                b'{' | b'[' if !containers => views.null(),
                b'"' if span.escaped => views.unescaped(span.inside(&self.data)),
                b'"' => views.span(span.start + 1, span.end - 1),
                _ => views.span(span.start, span.end),
            }
        }
        views
    }

    fn raw(&self, values: impl Iterator<Item = Span>) -> Views<'_> {
        let mut views = Views::new(&self.data, self.bodies.len());
        for span in values {
            if span.is_absent() { views.null() } else { views.span(span.start, span.end) }
        }
        views
    }

    fn text_map(&self, values: impl Iterator<Item = Span>) -> ArrayRef {
        let mut maps = TextMaps::new(self.bodies.len());
        values.for_each(|span| maps.push(&self.data, span));
        maps.finish()
    }
}

fn float64(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The integer that a JSON number is.
pub fn int64(text: &str) -> Option<i64> {
    // From 2^53 on a number with a fraction or an exponent would be rounded to some other integer.
    const EXACT: f64 = (1u64 << 53) as f64;
    if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return text.parse().ok();
    }
    float64(text).filter(|number| number.fract() == 0.0 && number.abs() < EXACT).map(|number| number as i64)
}

/// The Arrow type of a column.
pub fn data_type(as_type: ColumnType) -> DataType {
    match as_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Timestamp => DataType::Timestamp(ArrowTimeUnit::Microsecond, None),
        ColumnType::Text => DataType::Utf8View,
        ColumnType::Json | ColumnType::Bytes => DataType::BinaryView,
        ColumnType::TextMap => DataType::Map(map_field(), false),
    }
}

/// A column without a value.
pub fn nulls(as_type: ColumnType, rows: usize) -> ArrayRef {
    new_null_array(&data_type(as_type), rows)
}

pub fn map_entries() -> ArrowFields {
    ArrowFields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, false)])
}

pub fn map_field() -> Arc<Field> {
    Arc::new(Field::new("entries", DataType::Struct(map_entries()), false))
}

/// Builds a view array over the bytes that were read and the strings that were unescaped beside them.
struct Views<'a> {
    data: &'a Bytes,
    beside: Vec<u8>,
    views: Vec<u128>,
    nulls: NullBufferBuilder,
}

const DATA: u32 = 0;
const BESIDE: u32 = 1;

impl<'a> Views<'a> {
    fn new(data: &'a Bytes, rows: usize) -> Self {
        Views { data, beside: Vec::new(), views: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline]
    fn span(&mut self, start: u32, end: u32) {
        self.views.push(make_view(&self.data[start as usize..end as usize], DATA, start));
        self.nulls.append_non_null();
    }

    /// A string's characters; null where it is no Unicode text.
    fn unescaped(&mut self, inside: &[u8]) {
        let from = self.beside.len();
        if !unescape(inside, &mut self.beside) {
            self.beside.truncate(from);
            return self.null();
        }
        self.views.push(make_view(&self.beside[from..], BESIDE, from as u32));
        self.nulls.append_non_null();
    }

    fn null(&mut self) {
        self.views.push(0);
        self.nulls.append_null();
    }

    fn parts(mut self) -> (ScalarBuffer<u128>, Arc<[Buffer]>, Option<arrow_buffer::NullBuffer>) {
        let mut buffers = vec![Buffer::from(self.data.clone())];
        if !self.beside.is_empty() {
            buffers.push(Buffer::from_vec(self.beside));
        }
        (self.views.into(), buffers.into(), self.nulls.finish())
    }

    fn into_binary(self) -> BinaryViewArray {
        let (views, buffers, nulls) = self.parts();
        // SAFETY: every view was made from the bytes of its buffer at its offset; checking them again would cost as much as
        // finding them did.
        unsafe { BinaryViewArray::new_unchecked(views, buffers, nulls) }
    }

    fn into_text(self) -> StringViewArray {
        let (views, buffers, nulls) = self.parts();
        // SAFETY: as for `into_binary`; and the bytes are UTF-8: a value of a record that was checked to be UTF-8, cut at
        // ASCII characters, or unescaped from one.
        unsafe { StringViewArray::new_unchecked(views, buffers, nulls) }
    }
}
