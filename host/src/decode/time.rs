//! Text and numbers to instants: parsed, never sliced.
//!
//! Every instant is in microseconds since 1970-01-01T00:00:00Z, of the years 0000 to 9999 in UTC. What is finer than a
//! microsecond is cut off, towards the past. Pure.

use crate::plan::TimeUnit;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z, in seconds.
const FIRST: i64 = -719_528 * DAY;
/// The second after 9999-12-31T23:59:59Z.
const LAST: i64 = 2_932_897 * DAY;

/// The instant that `text` stands for in `unit`.
pub fn parse(text: &[u8], unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Rfc3339 => rfc3339(text),
        TimeUnit::EpochSeconds => parse_epoch(text, 6),
        TimeUnit::EpochMilliseconds => parse_epoch(text, 3),
    }
}

/// The instant of an RFC 3339 date-time, section 5.6: `2026-03-01T10:00:00.123456789+02:00`.
///
/// `T` may be `t` or a space, `Z` may be `z`; any number of fraction digits; `-00:00` is UTC. A zone is required. Second 60
/// is accepted where it is 23:59:60 in UTC, and stands for the last microsecond before: it stays in the hour it ends.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    rfc3339(text.as_bytes())
}

fn rfc3339(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    let separators = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    if !separators {
        return None;
    }
    let year = two(head[0], head[1])? * 100 + two(head[2], head[3])?;
    let (month, day) = (two(head[5], head[6])?, two(head[8], head[9])?);
    let (hour, minute, second) = (two(head[11], head[12])?, two(head[14], head[15])?, two(head[17], head[18])?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (fraction, zone) = fraction(tail)?;
    let offset = offset(zone)?;
    let leap = second == 60;
    let seconds =
        days(year, month, day) * DAY + i64::from(hour * 3600 + minute * 60 + second.min(59)) - i64::from(offset);
    if leap && seconds.rem_euclid(DAY) != DAY - 1 {
        return None;
    }
    instant(seconds, if leap { MICROS - 1 } else { fraction })
}

/// The instant of a date and time as .NET writes them for the United States, in UTC: `6/11/2018 12:00:08 AM`; a second may have a
/// fraction.
///
/// So Event Hubs Capture writes when a message was enqueued.
pub fn parse_en_us(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let (time, half) = time.split_once(' ')?;
    let (month, day, year) = three(date, '/')?;
    let (time, fraction) = time.split_at(time.find('.').unwrap_or(time.len()));
    let (micros, b"") = self::fraction(fraction.as_bytes())? else { return None };
    let (hour, minute, second) = three(time, ':')?;
    let afternoon = match half {
        "AM" => 0,
        "PM" => 12,
        _ => return None,
    };
    let in_range = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=12).contains(&hour)
        && minute <= 59
        && second <= 59;
    if !in_range || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let hour = hour % 12 + afternoon;
    instant(days(year, month, day) * DAY + i64::from(hour * 3600 + minute * 60 + second), micros)
}

/// Three numbers of up to four digits.
fn three(text: &str, separator: char) -> Option<(i32, i32, i32)> {
    let mut numbers = text.split(separator).map(|digits| {
        let all_digits = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().ok()).flatten()
    });
    let three = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(three)
}

/// The instant of `seconds` and `micros`, where it is in range.
fn instant(seconds: i64, micros: i64) -> Option<i64> {
    (FIRST..LAST).contains(&seconds).then_some(seconds * MICROS + micros)
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i32::from(tens) * 10 + i32::from(ones))
}

/// The microseconds of `.` and digits, if there are any, and what follows them.
#[inline]
fn fraction(tail: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = tail.split_first() else {
        return Some((0, tail));
    };
    let count = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if count == 0 {
        return None;
    }
    let micros = (0..6).fold(0, |sum, i| sum * 10 + if i < count { i64::from(digits[i] - b'0') } else { 0 });
    Some((micros, &digits[count..]))
}

/// Seconds east of UTC.
#[inline]
fn offset(zone: &[u8]) -> Option<i32> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[inline]
fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the leap day comes last.
#[inline]
fn days(year: i32, month: i32, day: i32) -> i64 {
    let year = year + 400 - i32::from(month <= 2);
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(365 * year + year / 4 - year / 100 + year / 400 + day_of_year) - 719_468 - 146_097
}

/// The instant of a decimal number, in units of which a microsecond is `10^-scale`: `1767225600.25`, `-1.5e3`.
///
/// Digits are kept exactly: nothing passes through a floating-point number.
fn parse_epoch(text: &[u8], scale: i32) -> Option<i64> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    // `keep` digits are whole microseconds; of the others it only matters whether one is not zero.
    let keep = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut micros: i64 = 0;
    let mut finer = false;
    let mut read = 0;
    for &digit in whole.iter().chain(fraction.unwrap_or_default()) {
        if read < keep {
            micros = micros.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        } else {
            finer |= digit != b'0';
        }
        read += 1;
    }
    if micros != 0 {
        for _ in read..keep {
            micros = micros.checked_mul(10)?;
        }
    }
    let micros = if negative { -micros - i64::from(finer) } else { micros };
    (FIRST * MICROS..LAST * MICROS).contains(&micros).then_some(micros)
}

/// A number's exponent; a huge one is cut to what no instant has.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i32, |sum, digit| (sum * 10 + i32::from(digit - b'0')).min(1 << 24));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
