//! What a record of Debezium's schema change topic says of tables.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::dataset::{Column, TableName};
use crate::decode::envelope::news::Saying;
use crate::decode::envelope::row::Row;
use crate::decode::envelope::sql;
use crate::decode::scan::Span;

/// Says the columns, as of `version`, of the tables that `changes`, the record's `tableChanges`, describes: nothing of a table that was dropped.
///
/// # Errors
/// Why it is no such record.
pub fn say(
    data: &[u8],
    changes: Span,
    (connector, version): (&str, Option<i64>),
    row: &mut Row<'_>,
) -> Result<(), String> {
    let wrong =
        |found: String| format!("the `tableChanges` are {found}, expected an array of tables with `id` and `columns`");
    if changes.is_absent() {
        return Ok(());
    }
    let text = changes.of(data);
    let changes: Vec<Value> = serde_json::from_slice(text).map_err(|error| wrong(format!("not readable: {error}")))?;
    let mut tables = Vec::new();
    for change in changes.iter().filter(|change| !change["table"].is_null()) {
        let columns = change["table"]["columns"].as_array().and_then(|columns| {
            columns.iter().map(|described| column(described, connector)).collect::<Option<Vec<_>>>()
        });
        let kind = change["id"].as_str().filter(|id| !id.is_empty()).map(kind);
        let (Some(kind), Some(columns)) = (kind, columns) else {
            return Err(wrong(format!("not those of tables, but `{change}`")));
        };
        tables.push((kind, columns));
    }
    for (kind, columns) in tables {
        let saying = Saying { signature: xxh3_64(text), complete: true, version };
        row.say(&kind, saying, || Some(columns));
    }
    Ok(())
}

fn column(described: &Value, connector: &str) -> Option<Column> {
    let (name, written) = (described["name"].as_str()?, described["typeName"].as_str()?);
    let (length, scale) = (described["length"].as_i64(), described["scale"].as_i64());
    Some(sql::described(name.to_owned(), connector, written, length, scale))
}

/// What `"database"."schema"."table"`, or `"database"."table"`, is called.
fn kind(id: &str) -> TableName {
    let parts: Vec<&str> = match id.strip_prefix('"').and_then(|id| id.strip_suffix('"')) {
        Some(quoted) => quoted.split("\".\"").collect(),
        None => id.split('.').collect(),
    };
    let own = |place: &str| Some(place.to_owned());
    match *parts {
        [.., database, schema, table] => {
            TableName { database: own(database), schema: own(schema), ..TableName::plain(table) }
        }
        [database, table] => TableName { database: own(database), ..TableName::plain(table) },
        [table] => TableName::plain(table),
        [] => TableName::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_id_gives_the_kind_of_its_rows() {
        for (id, expected) in [
            (r#""inventory"."customers""#, "customers"),
            (r#""db"."dbo"."customers""#, "customers"),
            (r#""ORCL"."DEBEZIUM"."CUSTOMERS""#, "DEBEZIUM.CUSTOMERS"),
            (r#""db"."s"."a.b""#, "s.a.b"),
            ("customers", "customers"),
            ("\"", "\""),
        ] {
            assert_eq!(kind(id).kind(), expected, "{id}");
        }
    }
}
