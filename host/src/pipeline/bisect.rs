//! Finds the records that a plugin fails on: cuts a failing batch until the offenders are alone.

use std::time::{Duration, Instant};

use arrow_array::ArrayRef;

use crate::error::{Error, Result};
use crate::plugin::Failure;
use crate::telemetry::Pace;

/// How long a plugin may fail on one batch, at the least; after it, the rest of the batch is not passed to it.
const BUDGET: Duration = Duration::from_secs(60);
/// How many of its longest failures it may take in any case.
const FAILURES: u32 = 10;

/// A piece of a batch, and how it went.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The first row.
    pub start: usize,
    pub rows: usize,
    /// The answer, or why all of these rows are refused.
    pub answer: Result<T, Failure>,
}

/// Calls a plugin on rows `0..rows` of `columns`, and again on pieces of what it fails on, until the offenders are alone.
///
/// `call` is given the first row and the number of rows of a piece; after a failure `reopen` must put a fresh instance in place.
/// A piece that fails is halved. One that takes too long is cut into single rows at once, so that each offender costs the
/// plugin's time once. Failures may take [`BUDGET`] together; then the rest of the batch is refused as well, so that no input can
/// stop an export or hold it up without end. Without `isolate`, the first failure is an error.
///
/// A batch that a plugin failed on is one line in the log, however many calls it took, at the pace of `warnings`.
///
/// # Errors
/// Of kind `Plugin`: the first failure without `isolate`; the errors of `reopen`.
pub fn bisect<P, T>(
    warnings: &mut Pace,
    plugin: &mut P,
    rows: usize,
    columns: &[ArrayRef],
    isolate: bool,
    call: impl Fn(&mut P, usize, usize, &[ArrayRef]) -> Result<T, Failure>,
    reopen: impl Fn(&mut P, usize) -> Result<()>,
) -> Result<Vec<Outcome<T>>> {
    let (outcomes, failure) = bisect_within(BUDGET, plugin, rows, columns, isolate, call, reopen)?;
    if let Some(failure) = failure
        && warnings.is_due()
    {
        let refused: usize = outcomes.iter().filter(|one| one.answer.is_err()).map(|one| one.rows).sum();
        match refused {
            0 => tracing::warn!(
                "{failure}; it failed on {rows} records together, and on none of them in smaller batches"
            ),
            _ => tracing::warn!("{failure}; {refused} of {rows} records of the batch are refused"),
        }
    }
    Ok(outcomes)
}

/// The outcomes, and the first failure.
fn bisect_within<P, T>(
    budget: Duration,
    plugin: &mut P,
    rows: usize,
    columns: &[ArrayRef],
    isolate: bool,
    call: impl Fn(&mut P, usize, usize, &[ArrayRef]) -> Result<T, Failure>,
    reopen: impl Fn(&mut P, usize) -> Result<()>,
) -> Result<(Vec<Outcome<T>>, Option<Failure>)> {
    let all = rows;
    let mut outcomes = Vec::new();
    let mut first = None;
    let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
    // A stack of pieces; the parts of a piece go on it last first, so that outcomes come in order.
    let mut pieces = vec![(0, rows)];
    while let Some((start, rows)) = pieces.pop() {
        let started = Instant::now();
        let answer = if rows == all {
            call(plugin, start, rows, columns)
        } else {
            let slices: Vec<_> = columns.iter().map(|column| column.slice(start, rows)).collect();
            call(plugin, start, rows, &slices)
        };
        let failure = match answer {
            Ok(answer) => {
                outcomes.push(Outcome { start, rows, answer: Ok(answer) });
                continue;
            }
            Err(failure) => failure,
        };
        if !isolate {
            return Err(Error::plugin(failure.to_string())
                .with_help("fix the plugin, or set `on-error = \"dead-letter\"` to put such records aside and go on"));
        }
        first.get_or_insert_with(|| failure.clone());
        reopen(plugin, start)?;
        let took = started.elapsed();
        (spent, longest) = (spent + took, longest.max(took));
        if spent > budget.max(longest * FAILURES) {
            let why = format!(
                "{failure}; it had failed for {} s on one batch, and the rest of the batch was not passed to it",
                spent.as_secs()
            );
            tracing::error!(reason = why, records = all - start, "records are refused together");
            outcomes.push(Outcome { start, rows: all - start, answer: Err(failure.because(why)) });
            break;
        }
        match failure {
            failure if rows == 1 => outcomes.push(Outcome { start, rows, answer: Err(failure) }),
            Failure::Timeout(_) => pieces.extend((start..start + rows).rev().map(|row| (row, 1))),
            _ => {
                let half = rows / 2;
                pieces.push((start + half, rows - half));
                pieces.push((start, half));
            }
        }
    }
    Ok((outcomes, first))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use super::*;

    fn fails_on(bad: &'static [i64]) -> impl Fn(&mut u32, usize, usize, &[ArrayRef]) -> Result<Vec<i64>, Failure> {
        move |calls, _, _, columns| {
            *calls += 1;
            let values = columns[0].as_primitive::<Int64Type>().values().to_vec();
            match values.iter().find(|value| bad.contains(value)) {
                Some(value) => Err(Failure::Trap(format!("trapped on {value}"))),
                None => Ok(values),
            }
        }
    }

    fn column(rows: i64) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(0..rows))]
    }

    #[test]
    fn offenders_end_up_alone_and_everything_else_is_answered_in_order() {
        let outcomes =
            bisect(&mut Pace::default(), &mut 0, 1000, &column(1000), true, fails_on(&[0, 7, 8, 999]), |_, _| Ok(()))
                .unwrap();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let mut next = 0;
        for outcome in outcomes {
            assert_eq!(outcome.start, next);
            match outcome.answer {
                Ok(values) => {
                    next += values.len();
                    good.extend(values);
                }
                Err(_) => {
                    next += 1;
                    bad.push(outcome.start);
                }
            }
        }
        assert_eq!(bad, [0, 7, 8, 999]);
        assert_eq!(good, (0..1000).filter(|value| ![0, 7, 8, 999].contains(value)).collect::<Vec<_>>());
    }

    #[test]
    fn a_healthy_plugin_is_called_once() {
        let mut calls = 0;
        bisect(&mut Pace::default(), &mut calls, 8192, &column(8192), true, fails_on(&[]), |_, _| Ok(())).unwrap();
        assert_eq!(calls, 1);
    }

    #[test]
    fn without_isolation_the_first_failure_stops() {
        let error =
            bisect(&mut Pace::default(), &mut 0, 10, &column(10), false, fails_on(&[3]), |_, _| Ok(())).unwrap_err();
        assert_eq!(error.message, "trapped on 3");
    }

    #[test]
    fn hundreds_of_scattered_offenders_cost_no_other_record() {
        let is_bad = |value: i64| value % 20 == 3;
        let call = |_: &mut (), _, _, columns: &[ArrayRef]| {
            let values = columns[0].as_primitive::<Int64Type>().values();
            match values.iter().any(|value| is_bad(*value)) {
                true => Err(Failure::Trap("trapped".into())),
                false => Ok(values.len()),
            }
        };
        let outcomes = bisect(&mut Pace::default(), &mut (), 8192, &column(8192), true, call, |_, _| Ok(())).unwrap();
        let refused: usize = outcomes.iter().filter(|one| one.answer.is_err()).map(|one| one.rows).sum();
        let passed: usize = outcomes.iter().filter_map(|one| one.answer.as_ref().ok()).sum();
        assert_eq!((refused, passed), ((0..8192).filter(|value| is_bad(*value)).count(), 8192 - refused));
    }

    #[test]
    fn each_record_that_takes_too_long_costs_the_plugins_time_once() {
        let timeouts = std::cell::Cell::new(0);
        let call = |_: &mut (), _, _, columns: &[ArrayRef]| {
            let values = columns[0].as_primitive::<Int64Type>().values();
            if values.iter().any(|value| [5, 6000].contains(value)) {
                timeouts.set(timeouts.get() + 1);
                return Err(Failure::Timeout("too long".into()));
            }
            Ok(())
        };
        let outcomes = bisect(&mut Pace::default(), &mut (), 8192, &column(8192), true, call, |_, _| Ok(())).unwrap();
        let refused: Vec<_> = outcomes.iter().filter(|one| one.answer.is_err()).map(|one| one.start).collect();
        assert_eq!(refused, [5, 6000]);
        assert_eq!(timeouts.get(), 3, "for the batch, and for each of the two");
    }

    #[test]
    fn a_plugin_that_fails_on_everything_is_left_alone_after_a_while() {
        let slow = |calls: &mut u32, _, _, _: &[ArrayRef]| {
            *calls += 1;
            std::thread::sleep(Duration::from_millis(1));
            Err::<(), _>(Failure::Trap("always".into()))
        };
        let mut calls = 0;
        let budget = Duration::from_millis(30);
        let (outcomes, first) =
            bisect_within(budget, &mut calls, 8192, &column(8192), true, slow, |_, _| Ok(())).unwrap();
        assert_eq!(first, Some(Failure::Trap("always".into())));
        assert!(calls < 8192, "{calls} calls");
        assert_eq!(outcomes.iter().map(|one| one.rows).sum::<usize>(), 8192, "every row is refused once");
        let last = outcomes.last().unwrap().answer.as_ref().unwrap_err().to_string();
        assert!(last.starts_with("always; it had failed for "), "{last}");
    }
}
