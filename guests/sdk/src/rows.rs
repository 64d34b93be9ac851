//! Whole batches row by row: what the traits do unless overridden, for plugins that override them for some batches only.

use crate::{Batch, Filter, Format, Output, Rejected, Result, Segment, Transform, Transformed, Verdict};

/// [`Filter::evaluate`] by [`Filter::keep`].
///
/// # Errors
/// None of its own.
pub fn evaluate<F: Filter>(filter: &F, batch: &Batch) -> Result<Verdict> {
    let mut verdict = Verdict { keep: vec![0; batch.rows().div_ceil(8)], rejected: Vec::new() };
    for row in batch.iter() {
        match filter.keep(row) {
            Ok(keep) => verdict.keep[row.index() / 8] |= u8::from(keep) << (row.index() % 8),
            Err(reason) => verdict.rejected.push(Rejected { row: row.index() as u32, reason: reason.0 }),
        }
    }
    Ok(verdict)
}

/// [`Transform::apply`] by [`Transform::map`].
///
/// # Errors
/// Where some records of the batch got new bodies and others kept theirs.
pub fn apply<T: Transform>(transform: &T, batch: &Batch) -> Result<Transformed> {
    let mut output = Output::with_capacity(batch.rows());
    let mut rejected = Vec::new();
    for row in batch.iter() {
        let before = output.start(row);
        if let Err(reason) = transform.map(row, &mut output) {
            output.rewind(before);
            rejected.push(Rejected { row: row.index() as u32, reason: reason.0 });
        }
    }
    output.finish(rejected)
}

/// [`Format::encode`] by [`Format::write`].
///
/// # Errors
/// None of its own.
pub fn encode<F: Format>(format: &mut F, batch: &Batch) -> Result<Segment> {
    let mut segment = Segment { bytes: Vec::new(), rows: 0, rejected: Vec::new() };
    for row in batch.iter() {
        let before = segment.bytes.len();
        match format.write(row, &mut segment.bytes) {
            Ok(()) => segment.rows += 1,
            Err(reason) => {
                segment.bytes.truncate(before);
                segment.rejected.push(Rejected { row: row.index() as u32, reason: reason.0 });
            }
        }
    }
    Ok(segment)
}
