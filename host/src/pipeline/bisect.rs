//! Finds the records that a plugin fails on: halves a failing batch until the offenders are alone.

use arrow_array::ArrayRef;

use crate::error::{Error, Result};
use crate::plugin::Failure;

/// Failures in one batch after which the plugin itself is taken to be broken.
const MAX_FAILURES: usize = 200;
/// Timeouts in one batch after which it is: each costs the plugin's whole time.
const MAX_TIMEOUTS: usize = 20;

/// A piece of a batch, and how it went.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The first row.
    pub start: usize,
    /// The answer; a failure is of one row.
    pub answer: Result<T, Failure>,
}

/// Calls a plugin on rows `0..rows` of `columns`, and again on halves of what it fails on.
///
/// `call` is given the rows of a piece; after a failure `reopen` must put a fresh instance in place. Without `isolate`, the first
/// failure is an error.
///
/// # Errors
/// Of kind `Plugin`: the first failure without `isolate`, or too many; whatever `reopen` answers.
pub fn bisect<P, T>(
    plugin: &mut P,
    rows: usize,
    columns: &[ArrayRef],
    isolate: bool,
    call: impl Fn(&mut P, usize, &[ArrayRef]) -> Result<T, Failure>,
    reopen: impl Fn(&mut P) -> Result<()>,
) -> Result<Vec<Outcome<T>>> {
    let mut outcomes = Vec::new();
    let (mut failures, mut timeouts) = (0, 0);
    // A stack of pieces; the halves of a piece go on it last first, so that outcomes come in order.
    let mut pieces = vec![(0, rows)];
    while let Some((start, rows)) = pieces.pop() {
        let answer = if start == 0 && pieces.is_empty() && outcomes.is_empty() {
            call(plugin, rows, columns)
        } else {
            let slices: Vec<_> = columns.iter().map(|column| column.slice(start, rows)).collect();
            call(plugin, rows, &slices)
        };
        let failure = match answer {
            Ok(answer) => {
                outcomes.push(Outcome { start, answer: Ok(answer) });
                continue;
            }
            Err(failure) => failure,
        };
        failures += 1;
        timeouts += usize::from(matches!(failure, Failure::Timeout(_)));
        if !isolate {
            return Err(Error::plugin(failure.to_string()).with_help(
                "mend the plugin, or set `on-error = \"dead-letter\"` to put such records aside and go on",
            ));
        }
        if failures > MAX_FAILURES || timeouts > MAX_TIMEOUTS {
            return Err(Error::plugin(format!("{failure}; it failed {failures} times on one batch"))
                .with_help("the plugin looks broken altogether: mend or replace it"));
        }
        reopen(plugin)?;
        if rows == 1 {
            outcomes.push(Outcome { start, answer: Err(failure) });
        } else {
            let half = rows / 2;
            pieces.push((start + half, rows - half));
            pieces.push((start, half));
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use super::*;

    fn fails_on(bad: &'static [i64]) -> impl Fn(&mut u32, usize, &[ArrayRef]) -> Result<Vec<i64>, Failure> {
        move |calls, _, columns| {
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
        let outcomes = bisect(&mut 0, 1000, &column(1000), true, fails_on(&[0, 7, 8, 999]), |_| Ok(())).unwrap();
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
        bisect(&mut calls, 8192, &column(8192), true, fails_on(&[]), |_| Ok(())).unwrap();
        assert_eq!(calls, 1);
    }

    #[test]
    fn without_isolation_the_first_failure_stops() {
        let error = bisect(&mut 0, 10, &column(10), false, fails_on(&[3]), |_| Ok(())).unwrap_err();
        assert_eq!(error.message, "trapped on 3");
    }

    #[test]
    fn a_plugin_that_fails_on_everything_is_given_up() {
        let broken = |_: &mut (), _: usize, _: &[ArrayRef]| Err::<(), _>(Failure::Trap("always".into()));
        let error = bisect(&mut (), 8192, &column(8192), true, broken, |_| Ok(())).unwrap_err();
        assert!(error.message.contains("it failed 201 times on one batch"), "{}", error.message);
    }
}
