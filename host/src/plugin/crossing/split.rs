//! Batches that are too large for one call, in runs of rows that are not.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// A row that no call may carry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Oversize {
    pub(crate) row: usize,
    /// Bytes of its values.
    pub(crate) bytes: u64,
}

/// The `rows` rows of `columns` in runs of at most `budget` bytes of values; a run has one row where that row alone is over
/// `budget`, as long as it is not over `most`.
///
/// # Errors
/// The first row over `most`.
pub(crate) fn split(columns: &[ArrayRef], rows: usize, budget: u64, most: u64) -> Result<Vec<Range<usize>>, Oversize> {
    let total: u64 = columns.iter().map(|column| size(column, 0..rows)).sum();
    if total <= budget.min(most) {
        return Ok(std::iter::once(0..rows).collect());
    }
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for row in 0..rows {
        let more: u64 = columns.iter().map(|column| size(column, row..row + 1)).sum();
        if more > most {
            return Err(Oversize { row, bytes: more });
        }
        if row > start && bytes + more > budget {
            runs.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes += more;
    }
    runs.push(start..rows);
    Ok(runs)
}

/// Bytes of some of a column's values, offsets included.
fn size(column: &ArrayRef, rows: Range<usize>) -> u64 {
    let views = |views: &[u128]| views[rows.clone()].iter().map(|&view| u64::from(view as u32)).sum::<u64>();
    let count = rows.len() as u64;
    match column.data_type() {
        DataType::Utf8View => views(column.as_string_view().views()) + 4 * count,
        DataType::BinaryView => views(column.as_binary_view().views()) + 4 * count,
        DataType::Map(..) => {
            let map = column.as_map();
            let pairs = map.value_offsets()[rows.start] as usize..map.value_offsets()[rows.end] as usize;
            let bytes = |offsets: &[i32]| (offsets[pairs.end] - offsets[pairs.start]) as u64 + 4 * pairs.len() as u64;
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            bytes(keys.value_offsets()) + bytes(values.value_offsets()) + 4 * count
        }
        // Numbers have eight bytes; bits are counted as if they had.
        _ => 8 * count,
    }
}
