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

#[cfg(test)]
mod tests {
    use crate::prelude::*;
    use crate::testing;

    /// Makes a record of each element of `/list`, and refuses a record where one is not a number.
    struct Numbers;

    impl Transform for Numbers {
        type Config = NoSettings;

        fn open(_: NoSettings) -> Result<Self> {
            Ok(Numbers)
        }

        fn columns(&self) -> Columns {
            columns![json("/list"), boolean("/keep")]
        }

        fn map(&self, row: Row, output: &mut Output) -> Result<(), Rejection> {
            if row.boolean(1) == Some(true) {
                output.keep();
                return Ok(());
            }
            let list: Vec<serde_json::Value> = row.json(0).ok_or("no list")?.parse()?;
            for element in list {
                let number = element.as_i64().ok_or_else(|| Rejection::new(format!("{element} is no number")))?;
                output.push_json(&number)?;
            }
            Ok(())
        }
    }

    fn batch(bodies: &[&str]) -> Batch {
        testing::batch(&Numbers.columns(), bodies)
    }

    #[test]
    fn nothing_of_a_rejected_record_reaches_the_output() {
        let batch = batch(&[r#"{"list":[1,2]}"#, r#"{"list":[3,"x"]}"#, "{}", r#"{"list":[4]}"#]);
        let one = |origin: u32, body: &str| (origin, Some(body.to_owned()));
        assert_eq!(testing::mapped(&Numbers, &batch), [one(0, "1"), one(0, "2"), one(3, "4")]);
        let rejected = Numbers.apply(&batch).unwrap().rejected;
        let rejected: Vec<(u32, &str)> = rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
        assert_eq!(rejected, [(1, "\"x\" is no number"), (2, "no list")]);
    }

    #[test]
    fn kept_and_new_bodies_do_not_mix() {
        assert_eq!(testing::mapped(&Numbers, &batch(&[r#"{"keep":true}"#])), [(0, None)]);
        let error = Numbers.apply(&batch(&[r#"{"keep":true}"#, r#"{"list":[1]}"#])).unwrap_err();
        assert!(error.to_string().starts_with("of 2 records of one batch, 1 have new bodies"), "{error}");
    }

    #[test]
    #[should_panic(expected = "column 0 was requested as json and is read as number")]
    fn reading_a_column_as_another_type_says_so() {
        batch(&["{}"]).row(0).number(0);
    }
}
