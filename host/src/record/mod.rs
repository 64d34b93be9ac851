//! Records and batches of them: what every stage of the pipeline shares.
//!
//! The names and meanings are those of `wit/records.wit`; a value here crosses to a plugin without being converted.

mod letter;
pub mod pointer;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryViewArray, StructArray, UInt32Array, UInt64Array};
use serde::{Deserialize, Serialize};

pub use letter::{DeadLetter, KEPT, Share};

/// The most rows of one [`Batch`].
pub const MAX_ROWS: usize = 8192;

/// What the host knows of every record besides its body. Meanings: `wit/records.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    Id,
    Source,
    Kind,
    Subject,
    Time,
    EnqueuedTime,
    WriteTime,
    Operation,
    Version,
    Properties,
    SystemProperties,
    Body,
}

/// The type of a column. Its Arrow array is named for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `BooleanArray`.
    Boolean,
    /// `Int64Array`.
    Int64,
    /// `Float64Array`.
    Float64,
    /// `TimestampMicrosecondArray` without a zone: microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// `StringViewArray`: UTF-8, unescaped.
    Text,
    /// `BinaryViewArray`: one valid JSON value a row, exactly as it was received.
    Json,
    /// `BinaryViewArray`.
    Bytes,
    /// `MapArray` of `Utf8` keys and `Utf8` values.
    TextMap,
}

/// Where a column comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    Attribute(Attribute),
    /// The full name of the table that a row is of, as the JSON of a [`crate::dataset::TableName`]; null where its kind is all there is.
    Table,
    /// RFC 6901 pointer into the body; an empty string is the whole body.
    Pointer(String),
    /// What a pointer finds in the document of an export's table whose key is the record's subject, as last committed.
    Lookup {
        table: String,
        pointer: String,
    },
}

/// A column that a plugin or the layout wants of every batch.
///
/// A value that is absent or does not convert is null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnRequest {
    pub selector: Selector,
    pub as_type: ColumnType,
}

impl ColumnRequest {
    /// A request for an attribute.
    pub fn attribute(attribute: Attribute, as_type: ColumnType) -> Self {
        ColumnRequest { selector: Selector::Attribute(attribute), as_type }
    }

    /// A request for what a JSON pointer finds in the body.
    pub fn pointer(pointer: impl Into<String>, as_type: ColumnType) -> Self {
        ColumnRequest { selector: Selector::Pointer(pointer.into()), as_type }
    }
}

/// Records as Arrow columns, at most [`MAX_ROWS`] of them: the unit of work.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The requested columns, in the order of the export's column table.
    pub columns: Vec<ArrayRef>,
    /// The payloads as they were received, without the envelope they came in.
    pub bodies: BinaryViewArray,
    /// The records as they were received, envelope included: what a dead letter keeps. The same array as `bodies` where
    /// there is no envelope.
    pub raw: BinaryViewArray,
    /// Where each record starts in `origin`, in the source's own offsets.
    pub offsets: UInt64Array,
    /// The number of each row's record among those that were decoded together: a transform may make several rows of a record, and two
    /// records may have the same bytes at the same offset.
    pub records: UInt32Array,
    /// What the offsets count in, as people read it: a file's path, `stdin`.
    pub origin: Arc<str>,
}

impl Batch {
    /// How many records there are.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Returns the bytes of a row's text maps, which [`Batch::take`] copies.
    pub fn map_bytes(&self, row: usize) -> u64 {
        let map = |column: &ArrayRef| {
            column.as_map_opt().filter(|map| map.is_valid(row)).map_or(0, |map| text_bytes(&map.value(row)))
        };
        self.columns.iter().map(map).sum()
    }

    /// The batch of the rows that `indices` names, in that order. Views are copied, bytes are shared.
    pub fn take(&self, indices: &UInt32Array) -> Batch {
        let take =
            |array: &dyn Array| arrow_select::take::take(array, indices, None).expect("indices are rows of this batch");
        let bodies = take(&self.bodies).as_binary_view().clone();
        Batch {
            columns: self.columns.iter().map(|column| take(column)).collect(),
            // With no envelope, both are one array; keep them one.
            raw: if self.same_raw() { bodies.clone() } else { take(&self.raw).as_binary_view().clone() },
            bodies,
            offsets: take(&self.offsets).as_primitive().clone(),
            records: take(&self.records).as_primitive().clone(),
            origin: self.origin.clone(),
        }
    }

    /// The rows of `pieces`, end to end; `None` where there are no pieces.
    pub fn concat(pieces: &[Batch]) -> Option<Batch> {
        let (first, rest) = pieces.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let concat = |arrays: Vec<&dyn Array>| {
            arrow_select::concat::concat(&arrays).expect("pieces of one batch have the same columns")
        };
        let columns = (0..first.columns.len())
            .map(|column| concat(pieces.iter().map(|piece| piece.columns[column].as_ref()).collect()))
            .collect();
        Some(Batch {
            columns,
            bodies: concat(pieces.iter().map(|piece| &piece.bodies as &dyn Array).collect()).as_binary_view().clone(),
            raw: concat(pieces.iter().map(|piece| &piece.raw as &dyn Array).collect()).as_binary_view().clone(),
            offsets: concat(pieces.iter().map(|piece| &piece.offsets as &dyn Array).collect()).as_primitive().clone(),
            records: concat(pieces.iter().map(|piece| &piece.records as &dyn Array).collect()).as_primitive().clone(),
            origin: first.origin.clone(),
        })
    }

    fn same_raw(&self) -> bool {
        self.raw.views().ptr_eq(self.bodies.views())
    }
}

/// The numbers of so many records, each a row.
pub fn numbers(records: usize) -> UInt32Array {
    UInt32Array::from_iter_values(0..u32::try_from(records).expect("a batch has at most 8,192 rows"))
}

/// The bytes of a text map's keys and values.
fn text_bytes(pairs: &StructArray) -> u64 {
    let bytes = |column: &ArrayRef| {
        column.as_string_opt::<i32>().map_or(0, |texts| {
            let offsets = texts.value_offsets();
            (offsets[texts.len()] - offsets[0]) as u64
        })
    };
    pairs.columns().iter().map(bytes).sum()
}
