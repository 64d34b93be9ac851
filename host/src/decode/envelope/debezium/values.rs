//! Values that stand for something else: what Kafka Connect keeps as bytes and numbers, as text and decimals again.
//!
//! Digits are exact: nothing passes through a floating-point number.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::scan::Scanner;
use crate::decode::scan::Span;
use crate::decode::stops::Stops;

/// PostgreSQL allows no more digits behind the point, nor bytes.
const MOST_SCALE: i32 = 16_383;
const MOST_BYTES: usize = 1 << 16;

/// `infinity` and `-infinity` of PostgreSQL's timestamps, as Debezium gives them.
const INFINITY: i64 = 9_223_372_036_825_200_000;
const MINUS_INFINITY: i64 = -9_223_372_036_832_400_000;

/// What a column's values stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// The base64 of an unscaled number, big-endian two's complement.
    Decimal { scale: i32 },
    /// `{"scale": …, "value": …}`, the value as above.
    VariableDecimal,
    /// Days since 1970-01-01.
    Days,
    /// Since 1970-01-01T00:00:00, in units of 10^-`digits` seconds.
    Instant { digits: u32 },
    /// Since midnight, in units of 10^-`digits` seconds.
    TimeOfDay { digits: u32 },
}

impl Conversion {
    /// Adds the JSON of what a value that is not null stands for.
    ///
    /// # Errors
    /// What was expected.
    pub fn write(self, data: &[u8], value: Span, out: &mut Vec<u8>) -> Result<(), String> {
        let written = match self {
            Conversion::Decimal { scale } => decimal(data, value, scale, out),
            Conversion::VariableDecimal => variable_decimal(data, value, out),
            Conversion::Days => integer(data, value).and_then(|days| date(days, out)),
            Conversion::Instant { digits } => integer(data, value).and_then(|count| instant(count, digits, out)),
            Conversion::TimeOfDay { digits } => integer(data, value).map(|count| time_of_day(count, digits, out)),
        };
        written.ok_or_else(|| match self {
            Conversion::Decimal { scale } => {
                format!("the base64 of a decimal's digits, of a scale ({scale}) of at most {MOST_SCALE}")
            }
            Conversion::VariableDecimal => "an object of a `scale` and the base64 of a decimal's digits".into(),
            Conversion::Days => "days since 1970, of the years 0000 to 9999".into(),
            Conversion::Instant { digits } => format!("10^-{digits} seconds since 1970, of the years 0000 to 9999"),
            Conversion::TimeOfDay { digits } => format!("10^-{digits} seconds since midnight"),
        })
    }
}

fn integer(data: &[u8], value: Span) -> Option<i64> {
    std::str::from_utf8(value.of(data)).ok()?.parse().ok()
}

fn date(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let instant = chrono::DateTime::from_timestamp(days.checked_mul(86_400)?, 0)?;
    write_text(out, in_range(instant)?.format("%Y-%m-%d"));
    Some(())
}

fn instant(count: i64, digits: u32, out: &mut Vec<u8>) -> Option<()> {
    match count {
        INFINITY => write_text(out, "infinity"),
        MINUS_INFINITY => write_text(out, "-infinity"),
        _ => {
            let unit = 10i64.pow(digits);
            let (seconds, rest) = (count.div_euclid(unit), count.rem_euclid(unit));
            let instant = in_range(chrono::DateTime::from_timestamp(seconds, 0)?)?;
            let (head, digits) = (instant.format("%Y-%m-%dT%H:%M:%S"), digits as usize);
            write_text(out, format_args!("{head}.{rest:0digits$}"));
        }
    }
    Some(())
}

fn in_range(instant: chrono::DateTime<chrono::Utc>) -> Option<chrono::DateTime<chrono::Utc>> {
    use chrono::Datelike;
    (0..=9999).contains(&instant.year()).then_some(instant)
}

/// MySQL's times may be negative, and longer than a day.
fn time_of_day(count: i64, digits: u32, out: &mut Vec<u8>) {
    let unit = 10u64.pow(digits);
    let sign = if count < 0 { "-" } else { "" };
    let (seconds, rest) = (count.unsigned_abs() / unit, count.unsigned_abs() % unit);
    let (hours, minutes, seconds, digits) = (seconds / 3600, seconds / 60 % 60, seconds % 60, digits as usize);
    write_text(out, format_args!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{rest:0digits$}"));
}

/// Adds a string that needs no escapes.
fn write_text(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    write!(out, "\"{text}\"").expect("writing to memory cannot fail");
}

fn decimal(data: &[u8], value: Span, scale: i32, out: &mut Vec<u8>) -> Option<()> {
    match data[value.start as usize] {
        // The converter may be told to write numbers.
        b'-' | b'0'..=b'9' => out.extend_from_slice(value.of(data)),
        b'"' if !value.escaped => write_decimal(value.inside(data), scale, out)?,
        _ => return None,
    }
    Some(())
}

fn variable_decimal(data: &[u8], value: Span, out: &mut Vec<u8>) -> Option<()> {
    if data[value.start as usize] != b'{' {
        return decimal(data, value, 0, out).filter(|()| data[value.start as usize] != b'"');
    }
    let (mut scale, mut unscaled) = (None, None);
    let mut stops = Stops::default();
    let scanned = Scanner::new(data, value.end as usize, &mut stops).members(value.start as usize, |key, value| {
        match key.inside(data) {
            b"scale" => scale = integer(data, value).and_then(|scale| i32::try_from(scale).ok()),
            b"value" => unscaled = Some(value),
            _ => {}
        }
    });
    debug_assert!(scanned.is_ok(), "the value was validated");
    let unscaled = unscaled.filter(|value| data[value.start as usize] == b'"' && !value.escaped)?;
    write_decimal(unscaled.inside(data), scale?, out)
}

fn write_decimal(base64: &[u8], scale: i32, out: &mut Vec<u8>) -> Option<()> {
    let bytes = STANDARD.decode(base64).ok().filter(|bytes| (1..=MOST_BYTES).contains(&bytes.len()))?;
    if scale.abs() > MOST_SCALE {
        return None;
    }
    let (negative, mut digits) = digits(bytes);
    if negative {
        out.push(b'-');
    }
    let behind = scale.unsigned_abs() as usize;
    if scale < 0 && digits != "0" {
        digits.extend(std::iter::repeat_n('0', behind));
    }
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        return Some(());
    }
    let width = behind + 1;
    let digits = format!("{digits:0>width$}");
    let (whole, fraction) = digits.split_at(digits.len() - behind);
    write!(out, "{whole}.{fraction}").expect("writing to memory cannot fail");
    Some(())
}

/// Whether a big-endian number in two's complement is negative, and its decimal digits.
fn digits(mut bytes: Vec<u8>) -> (bool, String) {
    let negative = bytes[0] & 0x80 != 0;
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    const BASE: u64 = 1_000_000_000;
    let mut limbs: Vec<u32> =
        bytes.rchunks(4).rev().map(|chunk| chunk.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte))).collect();
    let (mut groups, mut from) = (Vec::new(), 0);
    while from < limbs.len() {
        let mut rest = 0;
        for limb in &mut limbs[from..] {
            let value = rest << 32 | u64::from(*limb);
            (*limb, rest) = ((value / BASE) as u32, value % BASE);
        }
        groups.push(rest);
        while limbs.get(from) == Some(&0) {
            from += 1;
        }
    }
    let mut text = groups.pop().unwrap_or_default().to_string();
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    (negative, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn converted(conversion: Conversion, json: &str) -> Result<String, String> {
        let span = Span { start: 0, end: json.len() as u32, escaped: false };
        let mut out = Vec::new();
        conversion.write(json.as_bytes(), span, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn unscaled(bytes: &[u8], scale: i32) -> String {
        converted(Conversion::Decimal { scale }, &format!("\"{}\"", STANDARD.encode(bytes))).unwrap()
    }

    #[test]
    fn decimals_have_all_their_digits() {
        assert_eq!(unscaled(&[0x30, 0x39], 2), "123.45");
        assert_eq!(unscaled(&[0xff], 2), "-0.01");
        assert_eq!(unscaled(&[0], 0), "0");
        assert_eq!(unscaled(&[0], 2), "0.00");
        assert_eq!(unscaled(&[5], -3), "5000");
        assert_eq!(unscaled(&[0], -3), "0");
        assert_eq!(unscaled(&[0x80], 0), "-128");
        assert_eq!(unscaled(&[0, 0, 0, 0, 1, 0, 0, 0, 0], 0), "4294967296");
        let nines = 99_999_999_999_999_999_999_999_999_999_999_999_999i128;
        assert_eq!(unscaled(&nines.to_be_bytes(), 10), "9999999999999999999999999999.9999999999");
        let variable = format!(r#"{{"scale":1,"value":"{}"}}"#, STANDARD.encode([0x85]));
        assert_eq!(converted(Conversion::VariableDecimal, &variable).unwrap(), "-12.3");
        assert_eq!(converted(Conversion::Decimal { scale: 2 }, "1.50").unwrap(), "1.50");
        for wrong in ["\"\"", "\"%\"", "true", "{}", r#"{"scale":99999,"value":"AA=="}"#, r#"{"value":"AA=="}"#] {
            converted(Conversion::VariableDecimal, wrong).unwrap_err();
            converted(Conversion::Decimal { scale: 0 }, wrong).unwrap_err();
        }
    }

    #[test]
    fn dates_and_times_are_text_again() {
        let instant = |digits, json| converted(Conversion::Instant { digits }, json);
        assert_eq!(instant(6, "1624638072123456").unwrap(), "\"2021-06-25T16:21:12.123456\"");
        assert_eq!(instant(3, "-1").unwrap(), "\"1969-12-31T23:59:59.999\"");
        assert_eq!(instant(9, "0").unwrap(), "\"1970-01-01T00:00:00.000000000\"");
        assert_eq!(instant(6, "9223372036825200000").unwrap(), "\"infinity\"");
        assert_eq!(instant(6, "-9223372036832400000").unwrap(), "\"-infinity\"");
        assert_eq!(
            instant(6, "9223372036854775807").unwrap_err(),
            "10^-6 seconds since 1970, of the years 0000 to 9999"
        );
        assert_eq!(converted(Conversion::Days, "18803").unwrap(), "\"2021-06-25\"");
        assert_eq!(converted(Conversion::Days, "-719528").unwrap(), "\"0000-01-01\"");
        for wrong in ["-719529", "9223372036854775807", "1.5", "\"1\"", "[]"] {
            converted(Conversion::Days, wrong).unwrap_err();
        }
        let time = |digits, json| converted(Conversion::TimeOfDay { digits }, json).unwrap();
        assert_eq!(time(3, "58872123"), "\"16:21:12.123\"");
        assert_eq!(time(6, "86400000000"), "\"24:00:00.000000\"");
        assert_eq!(time(6, "-3020399000000"), "\"-838:59:59.000000\"");
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_it_is(number in any::<i128>(), padding in 0usize..9) {
            let sign = if number < 0 { 0xff } else { 0 };
            let bytes = [vec![sign; padding], number.to_be_bytes().to_vec()].concat();
            prop_assert_eq!(unscaled(&bytes, 0), number.to_string());
        }
    }
}
