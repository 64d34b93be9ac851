//! Columns that are found out from rows, for tables whose source does not speak of them.

use std::collections::BTreeMap;

use super::row::{parse_time, text_of};
use super::{Column, DataType, SchemaNews};
use crate::table::Patcher;

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
        let news = |columns| SchemaNews { kind: kind.to_owned(), columns, complete: false, version: None, offset: 0 };
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
        _ if text_of(value).is_some_and(|text| text.parse::<i64>().is_ok()) => DataType::Int64,
        _ => DataType::Double,
    })
}

fn type_of_text(text: &str) -> DataType {
    let digits = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_guid = text.len() == 36
        && (0..36).all(|at| if [8, 13, 18, 23].contains(&at) { text.as_bytes()[at] == b'-' } else { digits(at) });
    match text.len() {
        _ if is_guid => DataType::Guid,
        10 if parse_time(text).is_some() => DataType::Date,
        11.. if text.as_bytes()[4] == b'-' && parse_time(text).is_some() => DataType::DateTimeOffset,
        _ => DataType::String,
    }
}

/// The type that holds what both hold.
pub fn unify(one: DataType, other: DataType) -> DataType {
    use DataType::{Date, DateTimeOffset, Double, Int64};
    match (one, other) {
        _ if one == other => one,
        (Int64, Double) | (Double, Int64) => Double,
        (Date, DateTimeOffset) | (DateTimeOffset, Date) => DateTimeOffset,
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
}
