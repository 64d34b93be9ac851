//! Logical types (specification, "Logical Types"): text and numbers of JSON as the numbers and bytes that stand for
//! them.
//!
//! `None` is a value that the type does not hold. Text with more digits of a second than the type counts is cut off,
//! towards the past, unless it has to be held exactly.

use super::node::{Unit, UuidForm};
use crate::binary::{put_bytes, put_long};
use crate::clock::{self, Moment};
use crate::json::Value;
use crate::number::{self, Number};

/// More digits than any measurement has; it bounds the work that a body can ask for.
const BIG_DECIMAL_DIGITS: usize = 1_000;

/// A timestamp in `unit`s.
pub fn timestamp(value: Value, unit: Unit, local: bool, exact: bool) -> Option<i64> {
    counted(value, unit, exact, if local { clock::wall_clock } else { clock::instant })
}

/// A time of day in `unit`s since midnight.
pub fn time(value: Value, unit: Unit, exact: bool) -> Option<i64> {
    let midnight = 86_400 * 10_i64.pow(unit.digits());
    counted(value, unit, exact, clock::time_of_day).filter(|time| (0..midnight).contains(time))
}

fn counted(value: Value, unit: Unit, exact: bool, read: fn(&[u8]) -> Option<Moment<'_>>) -> Option<i64> {
    let Some(text) = value.text() else {
        return number::integer(value.written());
    };
    let (units, whole) = read(&text)?.units(unit.digits())?;
    (whole || !exact).then_some(units)
}

/// A date in days since 1970-01-01.
pub fn date(value: Value) -> Option<i32> {
    match value.text() {
        Some(text) => clock::date(&text),
        None => number::integer(value.written())?.try_into().ok(),
    }
}

/// A decimal, as bytes or as `size` fixed ones.
pub fn decimal(value: Value, precision: usize, scale: usize, size: Option<usize>, out: &mut Vec<u8>) -> Option<()> {
    let unscaled = number(value)?.unscaled(precision, scale)?;
    match size {
        None => put_bytes(&unscaled, out),
        Some(size) => {
            let sign = if unscaled[0] < 0x80 { 0 } else { 0xff };
            out.resize(out.len() + size.checked_sub(unscaled.len())?, sign);
            out.extend_from_slice(&unscaled);
        }
    }
    Some(())
}

/// A decimal that has its scale with it.
pub fn big_decimal(value: Value, out: &mut Vec<u8>) -> Option<()> {
    let (digits, scale) = number(value)?.significant(BIG_DECIMAL_DIGITS)?;
    let mut inner = Vec::with_capacity(digits.len() + 4);
    put_bytes(&digits, &mut inner);
    put_long(scale.into(), &mut inner);
    put_bytes(&inner, out);
    Some(())
}

fn number(value: Value) -> Option<Number> {
    match value.text() {
        Some(text) => Number::parse(&text),
        None => Number::parse(value.written()),
    }
}

/// A UUID in its text form, RFC 9562 section 4.
pub fn uuid(value: Value, form: UuidForm, out: &mut Vec<u8>) -> Option<()> {
    let text = value.text()?;
    let mut bytes = [0; 16];
    let mut digits = text.iter().filter(|&&byte| byte != b'-').map(|&digit| char::from(digit).to_digit(16));
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    let dashes = text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text[at] == b'-');
    if !dashes || digits.next().is_some() {
        return None;
    }
    match form {
        UuidForm::Text => put_bytes(&text, out),
        UuidForm::Bytes => put_bytes(&bytes, out),
        UuidForm::Fixed => out.extend_from_slice(&bytes),
    }
    Some(())
}
