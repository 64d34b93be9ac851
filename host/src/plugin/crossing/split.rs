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
    let mut sizes = vec![0; rows];
    columns.iter().for_each(|column| add_sizes(column, &mut sizes));
    if sizes.iter().sum::<u64>() <= budget.min(most) {
        return Ok(std::iter::once(0..rows).collect());
    }
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (row, &more) in sizes.iter().enumerate() {
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

/// Adds the bytes of each of a column's values, offsets included, to its row's.
fn add_sizes(column: &ArrayRef, sizes: &mut [u64]) {
    const OFFSET: u64 = 4;
    let add_views = |views: &[u128], sizes: &mut [u64]| {
        sizes.iter_mut().zip(views).for_each(|(size, &view)| *size += u64::from(view as u32) + OFFSET);
    };
    match column.data_type() {
        DataType::Utf8View => add_views(column.as_string_view().views(), sizes),
        DataType::BinaryView => add_views(column.as_binary_view().views(), sizes),
        DataType::Map(..) => {
            let map = column.as_map();
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            for (size, pairs) in sizes.iter_mut().zip(map.value_offsets().windows(2)) {
                let pairs = pairs[0] as usize..pairs[1] as usize;
                let bytes = |offsets: &[i32]| (offsets[pairs.end] - offsets[pairs.start]) as u64;
                *size += bytes(keys.value_offsets()) + bytes(values.value_offsets());
                *size += 2 * OFFSET * pairs.len() as u64 + OFFSET;
            }
        }
        // Numbers have eight bytes; bits are counted as if they had.
        _ => sizes.iter_mut().for_each(|size| *size += 8),
    }
}
