//! The types of columns as databases name them.
//!
//! The names are those of PostgreSQL's `format_type`, with and without what is in parentheses; of other databases as Debezium
//! gives them in what it says of schemas. A type that is not known is text.

use crate::dataset::{Column, DataType};

/// A column of one of PostgreSQL's types: `character varying(160)`, `numeric(38,10)`, `timestamp(3) without time zone`.
pub fn column(name: String, written: &str) -> Column {
    let (base, arguments) = split(written);
    let number = |at: usize| arguments.get(at).and_then(|argument| argument.parse::<u32>().ok());
    let data_type = match &*base {
        "smallint" | "integer" | "bigint" | "int" | "int2" | "int4" | "int8" => DataType::Int64,
        "real" | "double precision" | "float4" | "float8" | "double" | "float" => DataType::Double,
        "numeric" | "decimal" => DataType::Decimal,
        "boolean" | "bool" => DataType::Boolean,
        "date" => DataType::Date,
        // One with a zone is text: the Common Data Model has none.
        "time" | "time without time zone" => DataType::Time,
        "timestamp" | "timestamp without time zone" => DataType::DateTime,
        "timestamp with time zone" | "timestamptz" => DataType::DateTimeOffset,
        "uuid" => DataType::Guid,
        "json" | "jsonb" => DataType::Json,
        _ => DataType::String,
    };
    let mut column = Column::new(name, data_type);
    match &*base {
        "character varying" | "varchar" | "character" | "char" | "bpchar" => column.max_length = number(0),
        "numeric" | "decimal" => {
            let narrow = |number: Option<u32>| number.and_then(|number| u8::try_from(number).ok());
            let scale = if arguments.len() == 1 { Some(0) } else { number(1) };
            if let (Some(precision), Some(scale)) = (narrow(number(0)), narrow(scale)) {
                (column.precision, column.scale) = (Some(precision), Some(scale));
            }
        }
        _ => {}
    }
    column
}

/// A column as Debezium describes it after a change of a schema. `connector`: the database's.
pub fn described(name: String, connector: &str, written: &str, length: Option<i64>, scale: Option<i64>) -> Column {
    let (base, arguments) = split(written);
    let base = base.trim_end_matches(" zerofill").trim_end_matches(" unsigned").trim_end_matches(" identity");
    let mysql = matches!(connector, "mysql" | "mariadb");
    let of = |data_type| Column::new(name.clone(), data_type);
    match base {
        "tinyint" | "mediumint" | "year" => of(DataType::Int64),
        "boolean" | "bool" if mysql => of(DataType::Int64),
        "timestamp" if mysql => of(DataType::DateTimeOffset),
        "date" if connector == "oracle" => of(DataType::DateTime),
        "bit" if length.unwrap_or(1) <= 1 => of(DataType::Boolean),
        "datetime" | "datetime2" | "smalldatetime" => of(DataType::DateTime),
        "datetimeoffset" | "timestamp with local time zone" => of(DataType::DateTimeOffset),
        "uniqueidentifier" => of(DataType::Guid),
        "money" | "smallmoney" if connector == "sqlserver" => {
            Column { precision: Some(if base == "money" { 19 } else { 10 }), scale: Some(4), ..of(DataType::Decimal) }
        }
        _ => {
            let base = match base {
                "number" => "numeric",
                "nvarchar" | "varchar2" | "nvarchar2" => "varchar",
                "nchar" => "char",
                other => other,
            };
            let arguments = match (arguments.is_empty(), length, scale) {
                (false, ..) => format!("({})", arguments.join(",")),
                (true, Some(length), Some(scale)) => format!("({length},{scale})"),
                (true, Some(length), None) => format!("({length})"),
                (true, None, _) => String::new(),
            };
            column(name, &format!("{base}{arguments}"))
        }
    }
}

/// A type in lower case without what is in parentheses, and that. Of an array everything belongs to its name.
fn split(written: &str) -> (String, Vec<String>) {
    let written = written.trim().to_ascii_lowercase();
    if written.ends_with(']') {
        return (written, Vec::new());
    }
    match written.split_once('(').and_then(|(before, rest)| Some((before, rest.split_once(')')?))) {
        None => (written, Vec::new()),
        Some((before, (arguments, after))) => {
            let arguments = arguments.split(',').map(|argument| argument.trim().to_owned()).collect();
            (format!("{}{after}", before.trim_end()), arguments)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_postgresql_are_those_of_the_common_data_model() {
        use DataType::*;
        for (written, expected) in [
            ("smallint", Int64),
            ("bigint", Int64),
            ("real", Double),
            ("double precision", Double),
            ("numeric", Decimal),
            ("boolean", Boolean),
            ("date", Date),
            ("time without time zone", Time),
            ("time(3) without time zone", Time),
            ("time with time zone", String),
            ("time(3) with time zone", String),
            ("timestamp without time zone", DateTime),
            ("timestamp(3) without time zone", DateTime),
            ("timestamp(6) with time zone", DateTimeOffset),
            ("uuid", Guid),
            ("jsonb", Json),
            ("text", String),
            ("bytea", String),
            ("integer[]", String),
            ("numeric(5,2)[]", String),
            ("bit(3)", String),
            ("interval day to second(3)", String),
            ("my.mood", String),
            ("", String),
            ("(", String),
            (")(", String),
        ] {
            assert_eq!(column("c".into(), written), Column::new("c", expected), "{written}");
        }
    }

    #[test]
    fn limits_are_kept_as_far_as_they_can_be_said() {
        for written in ["character varying(160)", "character(160)", "varchar(160)"] {
            assert_eq!(column("c".into(), written).max_length, Some(160), "{written}");
        }
        let limits = |written: &str| (column("c".into(), written).precision, column("c".into(), written).scale);
        assert_eq!(limits("numeric(38,10)"), (Some(38), Some(10)));
        assert_eq!(limits("numeric(38)"), (Some(38), Some(0)));
        assert_eq!(limits("numeric(1000,2)"), (None, None));
        assert_eq!(limits("numeric(5,-2)"), (None, None));
        assert_eq!(column("c".into(), "varchar(-1)").max_length, None);
    }

    #[test]
    fn described_types_are_what_the_same_columns_rows_say() {
        use DataType::*;
        for (connector, written, length, scale, expected) in [
            ("mysql", "INT UNSIGNED", None, None, Column::new("c", Int64)),
            ("mysql", "TIMESTAMP", Some(6), None, Column::new("c", DateTimeOffset)),
            ("oracle", "TIMESTAMP(6)", None, None, Column::new("c", DateTime)),
            ("oracle", "DATE", None, None, Column::new("c", DateTime)),
            ("sqlserver", "uniqueidentifier", None, None, Column::new("c", Guid)),
            ("sqlserver", "bit", None, None, Column::new("c", Boolean)),
            ("mysql", "BIT", Some(8), None, Column::new("c", String)),
            ("sqlserver", "nvarchar", Some(50), None, Column { max_length: Some(50), ..Column::new("c", String) }),
            (
                "mysql",
                "DECIMAL",
                Some(10),
                Some(2),
                Column { precision: Some(10), scale: Some(2), ..Column::new("c", Decimal) },
            ),
        ] {
            assert_eq!(described("c".into(), connector, written, length, scale), expected, "{connector} {written}");
        }
    }
}
