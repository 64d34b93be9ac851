//! How much a transform may make of a batch.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, StringViewArray};

use crate::layout::{Period, Token};
use crate::plan::{ExportPlan, Exports, Timestamp};
use crate::plugin::Transformed;
use crate::record::{Attribute, Batch, MAX_ROWS};

/// Refuses records that stand for more than `most` bytes of the rows that they repeat: a repeated body is shared here, and copied
/// by the format. New bodies are bounded by the call. Every row once is always in order.
pub fn check_bytes(batch: &Batch, start: usize, transformed: &Transformed, most: u64) -> Result<(), String> {
    let origins = &transformed.origins;
    if origins.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    let mut total = 0_u64;
    for chunk in origins.chunk_by(|a, b| a == b) {
        let row = start + chunk[0] as usize;
        let body = if transformed.bodies.is_some() { 0 } else { batch.bodies.value(row).len() as u64 };
        total = total.saturating_add((body + batch.map_bytes(row)).saturating_mul(chunk.len() as u64));
    }
    match total <= most {
        true => Ok(()),
        false => Err(format!("repeated records to {total} bytes, more than its limit of {most} (`limits.transfer`)")),
    }
}

/// Refuses records for more files than the largest batch without a transform could be for.
pub fn check_files(plan: &ExportPlan, transformed: &Transformed) -> Result<(), String> {
    let records = transformed.origins.len();
    if records <= MAX_ROWS || !matches!(plan.exports, Exports::Events) {
        return Ok(());
    }
    let set = |attribute: Attribute, counts: bool| {
        let mut columns = transformed.attributes.iter();
        columns.find(|(set, _)| counts && *set == attribute).map(|(_, values)| values)
    };
    let times = set(Attribute::Time, matches!(plan.timestamp, Timestamp::Event { .. }));
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let texts = |values: Option<&ArrayRef>| values.and_then(|values| values.as_string_view_opt()).cloned();
    let kinds = texts(set(Attribute::Kind, plan.path.has(Token::Kind)));
    let sources = texts(set(Attribute::Source, plan.path.has(Token::Source)));

    let text = |texts: &Option<StringViewArray>, row: usize| {
        texts.as_ref().filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row).to_owned())
    };
    let mut files = HashSet::new();
    for row in 0..records {
        let period =
            times.filter(|times| times.is_valid(row)).map(|times| Period::of(times.value(row), plan.granularity));
        files.insert((period, text(&kinds, row), text(&sources, row)));
        if files.len() > MAX_ROWS {
            return Err(format!(
                "made {records} records for more than {MAX_ROWS} files, by their times, kinds and sources"
            ));
        }
    }
    Ok(())
}
