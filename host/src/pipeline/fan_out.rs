//! How much a transform may make of a batch, and what is left of records that it made several rows of.

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, StringViewArray};

use crate::layout::{Period, Token};
use crate::plan::{ExportPlan, Exports, Timestamp};
use crate::plugin::Transformed;
use crate::record::{Attribute, Batch, DeadLetter, MAX_ROWS, Share};

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

/// Marks the dead letters of records of which other rows were exported, or another row is a dead letter. `batch` is what the
/// transforms made; of its rows `refused` are dead letters. `earlier` are those of filters and transforms.
pub fn mark_shares(batch: &Batch, earlier: &mut [DeadLetter], refused: &mut [DeadLetter]) {
    if earlier.is_empty() && refused.is_empty() {
        return;
    }
    let mut exported: HashMap<u32, usize> = HashMap::new();
    for number in batch.records.values() {
        *exported.entry(*number).or_default() += 1;
    }
    for letter in refused.iter() {
        if let Some(rows) = exported.get_mut(&letter.number) {
            *rows = rows.saturating_sub(1);
        }
    }
    let mut known = HashSet::new();
    for letter in earlier.iter_mut().chain(refused) {
        letter.share = match exported.get(&letter.number) {
            Some(rows) if *rows > 0 => Share::Part,
            _ if known.insert(letter.number) => Share::Whole,
            _ => Share::Repeat,
        };
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BinaryViewArray, UInt32Array, UInt64Array};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_letter_says_whether_other_rows_of_its_record_were_exported() {
        // Rows of the records 0, 0, 1, 2, 2, which are all of one array and of the same bytes.
        let raw = BinaryViewArray::from_iter_values([b"a"; 5]);
        let (offsets, records) = (UInt64Array::from(vec![7; 5]), UInt32Array::from(vec![0, 0, 1, 2, 2]));
        let batch = Batch { columns: Vec::new(), bodies: raw.clone(), raw, offsets, records, origin: "o".into() };
        let letter = |number: u32| {
            let dead = DeadLetter::new("r".into(), "o".into(), 7, Bytes::from_static(b"a"));
            DeadLetter { number, ..dead }
        };
        let mut earlier = [3, 3, 4, 1].map(letter);
        let mut refused = [0, 2, 2].map(letter);
        mark_shares(&batch, &mut earlier, &mut refused);
        assert_eq!(earlier.map(|letter| letter.share), [Share::Whole, Share::Repeat, Share::Whole, Share::Part]);
        assert_eq!(refused.map(|letter| letter.share), [Share::Part, Share::Whole, Share::Repeat]);
    }
}
