//! A plugin's answers as Arrow columns. Nothing here is trusted.

use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, MapArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};

use super::{Broken, wit};
use crate::plugin::Rejection;
use crate::plugin::log::printable;
use crate::record::pointer::{beginning, check_length};
use crate::record::{ColumnRequest, MAX_ROWS};

/// Columns a plugin may ask for: more than any table of a usual database has.
const COLUMNS: usize = 2048;
/// Bytes of a rejection's reason; more is cut.
const REASON: usize = 1024;
/// Records a transform may make of one batch.
const MAX_OUTPUT: usize = 64 * MAX_ROWS;

/// `rows` bits.
pub(crate) fn bitmap(what: &str, bytes: Vec<u8>, rows: usize) -> Result<BooleanBuffer, Broken> {
    let expected = rows.div_ceil(8);
    match bytes.len() == expected {
        true => Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows)),
        false => Err(format!("gave {} bytes of `{what}` for {rows} rows, expected {expected}", bytes.len())),
    }
}

/// Rejections of a batch of `rows` rows.
pub(crate) fn rejections(list: Vec<wit::Rejection>, rows: usize) -> Result<Vec<Rejection>, Broken> {
    let mut next = 0;
    let check = |rejection: wit::Rejection| {
        let row = rejection.row;
        if row as usize >= rows {
            return Err(format!("rejected row {row} of a batch of {rows} rows"));
        }
        if row < next {
            return Err(format!("rejected row {row} after row {}, expected distinct and rising rows", next - 1));
        }
        next = row + 1;
        Ok(Rejection { row, reason: printable(&rejection.reason, REASON) })
    };
    list.into_iter().map(check).collect()
}

/// The rows that a transform's records come from; none of them rejected.
pub(crate) fn origins(origins: &[u32], rows: usize, rejected: &[Rejection]) -> Result<(), Broken> {
    if origins.len() > MAX_OUTPUT {
        return Err(format!("made {} records of {rows}, expected at most {MAX_OUTPUT}", origins.len()));
    }
    if let Some(pair) = origins.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(format!("gave origin {} after {}, expected origins that never decrease", pair[1], pair[0]));
    }
    if let Some(&last) = origins.last().filter(|&&last| last as usize >= rows) {
        return Err(format!("gave origin {last} in a batch of {rows} rows"));
    }
    let both = rejected.iter().find(|rejection| origins.binary_search(&rejection.row).is_ok());
    match both {
        Some(rejection) => Err(format!("both rejected row {} and made records of it", rejection.row)),
        None => Ok(()),
    }
}

/// What a plugin asked for.
pub(crate) fn column_requests(list: Vec<wit::ColumnRequest>) -> Result<Vec<ColumnRequest>, Broken> {
    if list.len() > COLUMNS {
        return Err(format!("asked for {} columns, expected at most {COLUMNS}", list.len()));
    }
    for request in &list {
        let pointer = match &request.selector {
            wit::Selector::Attribute(_) => continue,
            wit::Selector::Pointer(pointer) => pointer,
            wit::Selector::Lookup(lookup) => &lookup.pointer,
        };
        check_length(pointer)
            .map_err(|why| format!("asked for the column `{}`, which {why}", printable(&beginning(pointer), REASON)))?;
        let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !(pointer.is_empty() || pointer.starts_with('/')) || !escaped {
            let pointer = printable(pointer, REASON);
            return Err(format!("asked for the column `{pointer}`, expected an RFC 6901 pointer such as `/device/id`"));
        }
        if matches!(&request.selector, wit::Selector::Lookup(lookup) if lookup.table.is_empty()) {
            let pointer = printable(pointer, REASON);
            return Err(format!(
                "asked for a lookup of `{pointer}` in the table ``, expected the name of an export of type `changes`"
            ));
        }
    }
    Ok(list.into_iter().map(ColumnRequest::from).collect())
}

/// `rows` values of varying size, as bytes.
pub(crate) fn var_bytes(what: &str, values: wit::VarBytesResult, rows: usize) -> Result<BinaryViewArray, Broken> {
    check_offsets(what, &values.offsets, values.data.len(), rows)?;
    Ok(views(values, None))
}

/// A column of `rows` values.
pub(crate) fn column(what: &str, column: wit::ColumnResult, rows: usize) -> Result<ArrayRef, Broken> {
    let validity = column.validity.map(|bytes| bitmap("validity", bytes, rows)).transpose()?;
    let nulls = validity.map(NullBuffer::new);
    let count = |found: usize| match found == rows {
        true => Ok(()),
        false => Err(format!("gave {found} values of `{what}` for {rows} rows")),
    };
    Ok(match column.values {
        wit::ColumnValuesResult::Boolean(bytes) => Arc::new(BooleanArray::new(bitmap(what, bytes, rows)?, nulls)),
        wit::ColumnValuesResult::Int64(values) => {
            count(values.len())?;
            Arc::new(Int64Array::new(values.into(), nulls))
        }
        wit::ColumnValuesResult::Float64(values) => {
            count(values.len())?;
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        wit::ColumnValuesResult::Timestamp(values) => {
            count(values.len())?;
            Arc::new(TimestampMicrosecondArray::new(values.into(), nulls))
        }
        wit::ColumnValuesResult::Text(values) => {
            check_offsets(what, &values.offsets, values.data.len(), rows)?;
            check_text(what, &values)?;
            Arc::new(views(values, nulls).to_string_view().map_err(|error| format!("gave `{what}`: {error}"))?)
                as ArrayRef
        }
        wit::ColumnValuesResult::Json(values) | wit::ColumnValuesResult::Bytes(values) => {
            check_offsets(what, &values.offsets, values.data.len(), rows)?;
            Arc::new(views(values, nulls))
        }
        wit::ColumnValuesResult::TextMap(pairs) => {
            let count = pairs.keys.offsets.len().saturating_sub(1);
            check_offsets(what, &pairs.offsets, count, rows)?;
            let text = |what: &str, values: wit::VarBytesResult| {
                check_offsets(what, &values.offsets, values.data.len(), count)?;
                check_text(what, &values)?;
                Ok::<_, Broken>(StringArray::new(offsets(&values.offsets), Buffer::from_vec(values.data), None))
            };
            let (keys, values) = (text("keys", pairs.keys)?, text("values", pairs.values)?);
            Arc::new(map(offsets(&pairs.offsets), keys, values, nulls))
        }
    })
}

/// Offsets of `rows` values in `length` bytes.
fn check_offsets(what: &str, offsets: &[u32], length: usize, rows: usize) -> Result<(), Broken> {
    if offsets.len() != rows + 1 {
        return Err(format!("gave {} offsets of `{what}` for {rows} rows, expected {}", offsets.len(), rows + 1));
    }
    if offsets[0] != 0 {
        return Err(format!("gave offsets of `{what}` that start at {}, expected 0", offsets[0]));
    }
    if let Some(pair) = offsets.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(format!(
            "gave offset {} of `{what}` after {}, expected offsets that never decrease",
            pair[1], pair[0]
        ));
    }
    // Arrow's own offsets are signed.
    match offsets[rows] as usize <= length && offsets[rows] <= i32::MAX as u32 {
        true => Ok(()),
        false => Err(format!("gave offsets of `{what}` up to {}, but {length} bytes or pairs", offsets[rows])),
    }
}

fn check_text(what: &str, values: &wit::VarBytesResult) -> Result<(), Broken> {
    // Each value for itself: text that is valid end to end can still be cut inside a character.
    for (row, ends) in values.offsets.windows(2).enumerate() {
        if std::str::from_utf8(&values.data[ends[0] as usize..ends[1] as usize]).is_err() {
            return Err(format!("gave text of `{what}` that is not UTF-8, in row {row}"));
        }
    }
    Ok(())
}

/// Values whose offsets were checked.
fn views(values: wit::VarBytesResult, nulls: Option<NullBuffer>) -> BinaryViewArray {
    let view = |ends: &[u32]| make_view(&values.data[ends[0] as usize..ends[1] as usize], 0, ends[0]);
    let views: Vec<u128> = values.offsets.windows(2).map(view).collect();
    BinaryViewArray::new(ScalarBuffer::from(views), vec![Buffer::from_vec(values.data)], nulls)
}

fn offsets(checked: &[u32]) -> OffsetBuffer<i32> {
    OffsetBuffer::new(checked.iter().map(|&offset| offset as i32).collect())
}

fn map(offsets: OffsetBuffer<i32>, keys: StringArray, values: StringArray, nulls: Option<NullBuffer>) -> MapArray {
    // Pairs after the last row's belong to nobody; an Arrow map may have them too.
    let fields =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)]);
    let entries = StructArray::new(fields.clone(), vec![Arc::new(keys), Arc::new(values)], None);
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    MapArray::new(field, offsets, entries, nulls, false)
}
