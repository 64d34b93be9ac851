//! Where the columns that were asked for come from.
//!
//! Compiled once, when a decoder is made: what an envelope gives has slots that its opener fills, everything else is a pointer
//! into the body.

use std::sync::Arc;

use arrow_array::{ArrayRef, TimestampMicrosecondArray, UInt32Array};
use bytes::Bytes;

use super::columns::{self, Rows};
use super::fields::{Fields, Slot};
use super::scan::Span;
use super::stops::Stops;
use crate::error::Result;
use crate::plan::{Envelope, Mapping, Place, TimeUnit};
use crate::record::{Attribute, ColumnRequest, ColumnType, Selector};

/// Where a column's values come from.
pub struct Column {
    as_type: ColumnType,
    from: From,
}

enum From {
    /// A value in the body that a pointer was given for.
    Pointer(Slot),
    /// A value that is an attribute.
    Attribute(Slot, TimeUnit),
    Body,
    /// The body where it is text: the bytes that a slot covers.
    BodyText(Slot),
    WriteTime,
    /// One row, repeated.
    Constant(ArrayRef),
    /// Records of this source have no such attribute.
    Nothing,
}

/// The slots that an envelope's opener fills, where anyone asked for them.
#[derive(Debug, Default)]
pub struct Wanted {
    /// By attribute.
    slots: [Option<Slot>; ATTRIBUTES],
    /// The body where it is text.
    pub body_text: Option<Slot>,
    /// The full name of the row's table.
    pub table: Option<Slot>,
}

const ATTRIBUTES: usize = Attribute::Body as usize + 1;

impl Wanted {
    /// The slot of an attribute.
    #[inline]
    pub fn slot(&self, attribute: Attribute) -> Option<Slot> {
        self.slots[attribute as usize]
    }

    /// Whether anyone asked for the attribute, and the envelope is to give it.
    pub fn has(&self, attribute: Attribute) -> bool {
        self.slot(attribute).is_some()
    }
}

impl Column {
    /// Where the column of `request` comes from. `source` is what a record's `source` is where it has no place.
    pub fn new(
        request: &ColumnRequest,
        mapping: &Mapping,
        source: &str,
        fields: &mut Fields,
        wanted: &mut Wanted,
    ) -> Result<Column> {
        let as_type = request.as_type;
        let from = match &request.selector {
            Selector::Pointer(pointer) => From::Pointer(fields.add(pointer)?),
            Selector::Table => {
                From::Attribute(*wanted.table.get_or_insert_with(|| fields.reserve()), TimeUnit::Rfc3339)
            }
            Selector::Attribute(Attribute::Body) => body(as_type, mapping.envelope, fields, wanted)?,
            Selector::Attribute(attribute) => match mapping.place(*attribute) {
                Place::Body(pointer) => From::Attribute(fields.add(pointer)?, unit(*attribute, mapping)),
                Place::Envelope | Place::Within(_) => {
                    let slot = wanted.slots[*attribute as usize].get_or_insert_with(|| fields.reserve());
                    From::Attribute(*slot, TimeUnit::Rfc3339)
                }
                Place::Nowhere => match (attribute, as_type) {
                    (Attribute::Source, _) => From::Constant(constant(source, as_type)),
                    (Attribute::WriteTime, ColumnType::Timestamp) => From::WriteTime,
                    _ => From::Nothing,
                },
            },
            // Filled in by the lane, which knows the tables.
            Selector::Lookup { .. } => From::Nothing,
        };
        Ok(Column { as_type, from })
    }

    /// Whether its values are in the body, so that a new body has new ones.
    pub fn is_of_the_body(&self) -> bool {
        matches!(self.from, From::Pointer(_) | From::Body | From::BodyText(_))
    }

    /// The column of these rows.
    pub fn build(&self, rows: &Rows, write_time: i64) -> ArrayRef {
        let count = rows.bodies.len();
        match &self.from {
            From::Pointer(slot) => rows.column(*slot, self.as_type, TimeUnit::Rfc3339),
            From::Attribute(slot, unit) => rows.column(*slot, self.as_type, *unit),
            From::Body => Arc::new(rows.bodies()),
            From::BodyText(slot) => Arc::new(rows.covered(*slot)),
            From::WriteTime => Arc::new(TimestampMicrosecondArray::from_value(write_time, count)),
            From::Constant(row) => {
                let repeated = UInt32Array::from_value(0, count);
                arrow_select::take::take(row, &repeated, None).expect("row 0 is there")
            }
            From::Nothing => columns::nulls(self.as_type, count),
        }
    }
}

/// The whole body. In an envelope it may be no JSON, and no text.
fn body(as_type: ColumnType, envelope: Envelope, fields: &mut Fields, wanted: &mut Wanted) -> Result<From> {
    Ok(match as_type {
        ColumnType::Bytes => From::Body,
        ColumnType::Json if envelope == Envelope::Plain => From::Body,
        ColumnType::Text => From::BodyText(*wanted.body_text.get_or_insert_with(|| fields.reserve())),
        _ => From::Pointer(fields.add("")?),
    })
}

fn unit(attribute: Attribute, mapping: &Mapping) -> TimeUnit {
    match attribute {
        Attribute::Time | Attribute::EnqueuedTime => mapping.time_unit,
        _ => TimeUnit::Rfc3339,
    }
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
