//! Arrow columns as the interface's parameters.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, MapArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_schema::{DataType, TimeUnit};

use super::wit;
use crate::record::{ColumnRequest, ColumnType};

/// Memory for columns on their way to a plugin, used again for every batch.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Vec<Column>);

/// What one column needs besides what it borrows from Arrow.
#[derive(Debug, Default)]
struct Column {
    array: Option<ArrayRef>,
    validity: Option<Buffer>,
    bits: Option<Buffer>,
    /// Of the values; of the rows' pairs for a map.
    offsets: Vec<u32>,
    data: Vec<u8>,
    /// How much of `data` is in use.
    used: usize,
    keys: Text,
    values: Text,
}

/// The offsets of a map's keys or values, from 0, and where their bytes lie in the array's.
#[derive(Debug, Default)]
struct Text {
    offsets: Vec<u32>,
    data: Range<usize>,
}

impl Scratch {
    /// Calls `f` with rows `rows` of `columns` as the interface's columns.
    ///
    /// # Panics
    /// Where `columns` are not what `requests` asked for.
    pub(crate) fn lower<R>(
        &mut self,
        requests: &[ColumnRequest],
        columns: &[ArrayRef],
        rows: Range<usize>,
        f: impl FnOnce(wit::Batch<'_>) -> R,
    ) -> R {
        assert_eq!(columns.len(), requests.len(), "a plugin gets the columns that it asked for");
        self.0.resize_with(columns.len(), Column::default);
        for ((column, array), request) in self.0.iter_mut().zip(columns).zip(requests) {
            assert!(fits(request.as_type, array.data_type()), "{request:?} is not answered by {}", array.data_type());
            column.fill(array, rows.clone());
        }
        let lowered: Vec<_> =
            self.0.iter().zip(requests).map(|(column, request)| column.param(request.as_type)).collect();
        f(wit::Batch { rows: rows.len() as u32, columns: &lowered })
    }
}

/// Whether an array is one of a column type's.
pub(crate) fn fits(column_type: ColumnType, array: &DataType) -> bool {
    match (column_type, array) {
        (ColumnType::Boolean, DataType::Boolean)
        | (ColumnType::Int64, DataType::Int64)
        | (ColumnType::Float64, DataType::Float64)
        | (ColumnType::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, None))
        | (ColumnType::Text, DataType::Utf8View)
        | (ColumnType::Json | ColumnType::Bytes, DataType::BinaryView) => true,
        (ColumnType::TextMap, DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().all(|field| *field.data_type() == DataType::Utf8),
            _ => false,
        },
        _ => false,
    }
}

impl Column {
    fn fill(&mut self, array: &ArrayRef, rows: Range<usize>) {
        let array = match rows.start == 0 && rows.end == array.len() {
            true => array.clone(),
            false => array.slice(rows.start, rows.len()),
        };
        self.validity = array.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| bitmap(nulls.inner()));
        self.bits = array.as_boolean_opt().map(|bits| bitmap(bits.values()));
        match array.data_type() {
            DataType::Utf8View => {
                let text = array.as_string_view();
                self.gather(text.views(), text.data_buffers());
            }
            DataType::BinaryView => {
                let bytes = array.as_binary_view();
                self.gather(bytes.views(), bytes.data_buffers());
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let pairs = rebase(map.value_offsets(), &mut self.offsets);
                let (keys, values) = key_values(map);
                self.keys.fill(keys, pairs.clone());
                self.values.fill(values, pairs);
            }
            _ => {}
        }
        self.array = Some(array);
    }

    /// Puts the values of views end to end.
    ///
    /// A view is an Arrow "German string": length in the low four bytes, then up to twelve bytes of value, or four of prefix,
    /// four of buffer number and four of offset.
    fn gather(&mut self, views: &[u128], buffers: &[Buffer]) {
        const INLINE: usize = 12;
        let total: usize = views.iter().map(|&view| view as u32 as usize).sum();
        // Room to copy short values whole, whatever their length: a copy of constant size is one instruction or two.
        if self.data.len() < total + INLINE {
            self.data.resize(total + INLINE, 0);
        }
        self.offsets.clear();
        self.offsets.reserve(views.len() + 1);
        self.offsets.push(0);
        let mut end = 0;
        for &view in views {
            let length = view as u32 as usize;
            if length <= INLINE {
                self.data[end..end + INLINE].copy_from_slice(&view.to_le_bytes()[4..]);
            } else {
                let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
                self.data[end..end + length].copy_from_slice(&buffers[buffer][start..start + length]);
            }
            end += length;
            self.offsets.push(end as u32);
        }
        self.used = end;
    }

    fn param(&self, column_type: ColumnType) -> wit::ColumnParam<'_> {
        let array = self.array.as_ref().expect("filled before");
        let gathered = || wit::VarBytesParam { offsets: &self.offsets, data: &self.data[..self.used] };
        let values = match array.data_type() {
            DataType::Boolean => wit::ColumnValuesParam::Boolean(self.bits.as_deref().expect("filled before")),
            DataType::Int64 => wit::ColumnValuesParam::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => wit::ColumnValuesParam::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Timestamp(..) => {
                wit::ColumnValuesParam::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Utf8View => wit::ColumnValuesParam::Text(gathered()),
            DataType::BinaryView if column_type == ColumnType::Json => wit::ColumnValuesParam::Json(gathered()),
            DataType::BinaryView => wit::ColumnValuesParam::Bytes(gathered()),
            DataType::Map(..) => {
                let (keys, values) = key_values(array.as_map());
                wit::ColumnValuesParam::TextMap(wit::TextPairsParam {
                    offsets: &self.offsets,
                    keys: self.keys.param(keys),
                    values: self.values.param(values),
                })
            }
            other => unreachable!("`fits` lets no {other} pass"),
        };
        wit::ColumnParam { validity: self.validity.as_deref(), values }
    }
}

impl Text {
    fn fill(&mut self, text: &StringArray, pairs: Range<usize>) {
        self.data = rebase(&text.value_offsets()[pairs.start..=pairs.end], &mut self.offsets);
    }

    fn param<'a>(&'a self, text: &'a StringArray) -> wit::VarBytesParam<'a> {
        wit::VarBytesParam { offsets: &self.offsets, data: &text.value_data()[self.data.clone()] }
    }
}

fn key_values(map: &MapArray) -> (&StringArray, &StringArray) {
    (map.keys().as_string(), map.values().as_string())
}

/// Arrow's offsets, which may begin anywhere, from 0; gives the range they cover.
fn rebase(offsets: &[i32], out: &mut Vec<u32>) -> Range<usize> {
    let first = offsets[0];
    out.clear();
    out.extend(offsets.iter().map(|offset| (offset - first) as u32));
    first as usize..offsets[offsets.len() - 1] as usize
}

/// The bits as bytes, from the first bit of the first byte; nothing after the last byte in use.
fn bitmap(bits: &BooleanBuffer) -> Buffer {
    bits.sliced().slice_with_length(0, bits.len().div_ceil(8))
}
