//! Columns that are found out from rows, for tables whose source does not speak of them.

use std::collections::BTreeMap;

use super::row::{parse_time, text_of};
use super::{Column, DataType, SchemaNews, TableName};
use crate::decode::is_guid;
use crate::table::Patcher;

/// The years 1 to 9999, in microseconds since 1970-01-01T00:00:00Z.
const INSTANTS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// What rows of one table had so far.
#[derive(Default)]
pub struct Inference {
    known: BTreeMap<String, DataType>,
    patcher: Patcher,
}

impl Inference {
    /// Looks at a row; answers with the columns that it has and the rows before it had not, or had with another type.
    pub fn look(&mut self, kind: &str, row: &[u8]) -> Option<SchemaNews> {
        let mut columns = Vec::new();
        // What is no object was refused before.
        for member in self.patcher.members(row).ok()? {
            let Some(found) = type_of(member.value) else { continue };
            let Ok(name) = String::from_utf8(member.name.into_owned()) else { continue };
            let known = self.known.get(&name).copied();
            let unified = known.map_or(found, |known| unify(known, found));
            if known != Some(unified) {
                self.known.insert(name.clone(), unified);
                columns.push(Column::new(name, unified));
            }
        }
        let news =
            |columns| SchemaNews { kind: TableName::plain(kind), columns, complete: false, version: None, offset: 0 };
        (!columns.is_empty()).then(|| news(columns))
    }
}

/// The type of a JSON value; `None` for null, which every type has.
fn type_of(value: &[u8]) -> Option<DataType> {
    Some(match value.first()? {
        b'n' => return None,
        b't' | b'f' => DataType::Boolean,
        b'{' | b'[' => DataType::Json,
        b'"' => text_of(value).map_or(DataType::String, |text| type_of_text(&text)),
        // `-0` is a whole number to JSON only.
        _ if value != b"-0" && text_of(value).is_some_and(|text| text.parse::<i64>().is_ok()) => DataType::Int64,
        _ => DataType::Double,
    })
}

fn type_of_text(text: &str) -> DataType {
    match text.len() {
        _ if is_guid(text) => DataType::Guid,
        10 if is_instant(text) => DataType::Date,
        11.. if has_shape_of_time(text.as_bytes()) && is_instant(text) => DataType::DateTimeOffset,
        _ => DataType::String,
    }
}

/// Whether a text is a date or a time of the years 1 to 9999, which is what files can hold.
fn is_instant(text: &str) -> bool {
    parse_time(text).is_some_and(|instant| INSTANTS.contains(&instant)) && !text.starts_with("0000")
}

/// `YYYY-MM-DD`, `T` or a space, `HH:MM:SS` without a leap second, up to nine digits of a fraction, and a zone or none: what every
/// format reads.
fn has_shape_of_time(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_first_chunk::<19>() else { return false };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let is_at = |at: usize| separators.iter().find(|(place, _)| *place == at).map(|(_, byte)| *byte);
    let head_fits = head.iter().enumerate().all(|(at, byte)| match (at, is_at(at)) {
        (10, _) => matches!(byte, b'T' | b' '),
        (_, Some(separator)) => *byte == separator,
        (_, None) => byte.is_ascii_digit(),
    });
    let digits = rest.strip_prefix(b".").map(|rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let zone = &rest[digits.map_or(0, |digits| digits + 1)..];
    let zone_fits = match zone {
        b"" | b"Z" => true,
        [b'+' | b'-', h1, h2, minutes @ ..] => {
            let minutes = if minutes.len() == 3 { minutes.strip_prefix(b":").unwrap_or_default() } else { minutes };
            let in_range = |bytes: &[u8], most: u8| {
                bytes.iter().all(u8::is_ascii_digit) && (bytes[0] - b'0') * 10 + (bytes[1] - b'0') <= most
            };
            in_range(&[*h1, *h2], 23) && matches!(minutes.len(), 0 | 2) && (minutes.is_empty() || in_range(minutes, 59))
        }
        _ => false,
    };
    head_fits && head[17] < b'6' && digits.is_none_or(|digits| (1..=9).contains(&digits)) && zone_fits
}

/// The type that holds what both hold. A date is no date with a time to readers: both are text.
pub fn unify(one: DataType, other: DataType) -> DataType {
    use DataType::{Double, Int64};
    match (one, other) {
        _ if one == other => one,
        (Int64, Double) | (Double, Int64) => Double,
        _ => DataType::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(inference: &mut Inference, row: &str) -> Vec<(String, &'static str)> {
        let news = inference.look("t", row.as_bytes());
        let columns = news.map_or_else(Vec::new, |news| news.columns);
        columns.into_iter().map(|column| (column.name, column.data_type.name())).collect()
    }

    #[test]
    fn columns_are_what_the_first_rows_have_in_their_order() {
        let row = r#"{"z":1,"at":"2021-06-25T16:21:12Z","day":"2021-06-25","id":"0c0b5f2a-0000-4000-8000-00000000000a",
                      "n":null,"ok":true,"x":1.5,"s":"a","o":{}}"#;
        let found = look(&mut Inference::default(), row);
        let found: Vec<_> = found.iter().map(|(name, found)| (name.as_str(), *found)).collect();
        let expected = [
            ("z", "int64"),
            ("at", "dateTimeOffset"),
            ("day", "date"),
            ("id", "guid"),
            ("ok", "boolean"),
            ("x", "double"),
            ("s", "string"),
            ("o", "json"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_type_widens_until_it_holds_every_row() {
        let mut inference = Inference::default();
        let mut last = |row: &str| look(&mut inference, row).pop().map(|(_, found)| found);
        assert_eq!(last(r#"{"a":1}"#), Some("int64"));
        assert_eq!(last(r#"{"a":2}"#), None);
        assert_eq!(last(r#"{"a":2.5}"#), Some("double"));
        assert_eq!(last(r#"{"a":3}"#), None);
        assert_eq!(last(r#"{"a":"x"}"#), Some("string"));
        assert_eq!(last(r#"{"a":true}"#), None);
    }

    #[test]
    fn a_type_is_chosen_only_where_files_can_hold_the_value() {
        for (value, expected) in [
            ("-0", "double"),
            ("9223372036854775807", "int64"),
            ("9223372036854775808", "double"),
            ("1e3", "double"),
            ("\"0870\"", "string"),
            ("\"0001-01-01\"", "date"),
            ("\"0000-01-01\"", "string"),
            ("\"2021-02-30\"", "string"),
            ("\"2021-06-25 16:21:12.5+02\"", "dateTimeOffset"),
            ("\"2021-06-25 16:21:12+0530\"", "dateTimeOffset"),
            ("\"2021-06-25T16:21:12.123456789-05:30\"", "dateTimeOffset"),
            ("\"2021-06-25T16:21:12.1234567891Z\"", "string"),
            ("\"2021-06-25T16:21:12.Z\"", "string"),
            ("\"2021-06-25T16:21Z\"", "string"),
            ("\"2021-06-25T16:21:12+5:30\"", "string"),
            ("\"2021-06-25T16:21:12+24:00\"", "string"),
            ("\"2021-06-25T16:21:12Z \"", "string"),
            ("\" 2021-06-25\"", "string"),
            ("\"2016-12-31T23:59:60Z\"", "string"),
            ("\"0000-01-01T00:00:00Z\"", "string"),
            ("\"0001-01-01T00:00:00+01:00\"", "string"),
            ("\"9999-12-31T23:59:59-01:00\"", "string"),
            ("\"infinity\"", "string"),
            ("\"{0c0b5f2a-0000-4000-8000-00000000000a}\"", "string"),
        ] {
            let found = look(&mut Inference::default(), &format!(r#"{{"a":{value}}}"#));
            assert_eq!(found, [("a".to_owned(), expected)], "{value}");
        }
    }

    #[test]
    fn dates_beside_times_are_text_whichever_comes_first() {
        use DataType::{Boolean, Date, DateTimeOffset, Double, Guid, Int64, Json, String};
        for (one, other, expected) in [
            (Date, DateTimeOffset, String),
            (Boolean, Int64, String),
            (Int64, Double, Double),
            (Guid, String, String),
            (Json, Int64, String),
        ] {
            assert_eq!((unify(one, other), unify(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }
}
