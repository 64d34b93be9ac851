//! Values of rows, as their tables need them: texts, and the time of a row's creation.

use crate::decode::scan::unescape;
use crate::decode::time::parse_rfc3339;

/// The characters of a JSON string; every other value as it stands. `None` where it is no Unicode text.
pub fn text_of(value: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    match value {
        [b'"', inside @ .., b'"'] => unescape(inside, &mut text).then_some(())?,
        other => text.extend_from_slice(other),
    }
    String::from_utf8(text).ok()
}

/// A time in a row, in microseconds since 1970-01-01T00:00:00Z: RFC 3339, as databases write it (`2021-06-25 16:21:12.5+02`, no
/// zone being UTC), a date, or `/Date(1624638072000)/`.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(millis) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        return millis.parse::<i64>().ok()?.checked_mul(1000);
    }
    if !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let Some(time) = rest.strip_prefix([' ', 'T', 't']) else {
        return rest.is_empty().then(|| parse_rfc3339(&format!("{date}T00:00:00Z")))?;
    };
    let zone = time.find(['+', '-', 'Z', 'z']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let utc = parse_rfc3339(&format!("{date}T{time}Z"))?;
    utc.checked_sub(offset(zone)?.checked_mul(1_000_000)?)
}

/// The seconds that a zone is ahead of UTC: `+02`, `+0530`, `+05:30`, and `+05:21:10` as there were before 1930; none is UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = zone.split_at(1);
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    let seconds = part(0)? * 3600 + part(2)? * 60 + part(4)?;
    Some(if sign == "-" { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_databases_write_them() {
        let same = ["2021-06-25T16:21:12Z", "2021-06-25 16:21:12", "2021-06-25 18:21:12+02", "/Date(1624638072000)/"];
        for text in same {
            assert_eq!(parse_time(text), Some(1_624_638_072_000_000), "{text}");
        }
        assert_eq!(parse_time("2021-06-25 10:21:12.5-0600"), Some(1_624_638_072_500_000));
        assert_eq!(parse_time("1969-12-31"), Some(-86_400_000_000));
        assert_eq!(parse_time("1900-01-01 05:21:10+05:21:10"), parse_time("1900-01-01"));
        for text in
            ["", "infinity", "2021-06-25x", "2021-13-25", "25.06.2021 00:00", "é021-06-25", "2021-06-25 16:21:12+2"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
