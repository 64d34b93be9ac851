//! The columns of a table, and how they change: what is new goes last, what is gone stays in its place and is null.

use serde::{Deserialize, Serialize};

/// A table's columns, in the order of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TableSchema {
    pub table: String,
    /// Every version of a row is kept, and that it was deleted.
    pub history: bool,
    pub columns: Vec<Column>,
}

/// A column as configurations, schema records and commits have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    /// Characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    /// What its numbers stand for, where it is a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// The name that several columns' choices share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice_set: Option<String>,
    /// It came after the table's first files: it stands behind everything that was there then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub added: bool,
    /// It is gone: in its place, and null from then on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retired: bool,
    /// When it came back after it was gone: of rows that were written before, it is null. Microseconds since
    /// 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

/// One choice and its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Choice {
    pub value: i64,
    pub label: String,
    /// A Windows language code: 1033 is English.
    #[serde(default = "english")]
    pub language: u32,
}

/// The Common Data Model's data types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataType {
    String,
    Int64,
    Double,
    Decimal,
    Boolean,
    Date,
    Time,
    DateTime,
    DateTimeOffset,
    Guid,
    Json,
}

/// What a record said of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaNews {
    /// The kind of the table's records.
    pub kind: String,
    pub columns: Vec<Column>,
    /// These are all columns: one that is not among them is gone.
    pub complete: bool,
}

/// A column that has another type than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeChanged {
    pub column: String,
    pub before: DataType,
    pub now: DataType,
}

impl DataType {
    /// Every type, by its name.
    pub const ALL: [DataType; 11] = [
        DataType::String,
        DataType::Int64,
        DataType::Double,
        DataType::Decimal,
        DataType::Boolean,
        DataType::Date,
        DataType::Time,
        DataType::DateTime,
        DataType::DateTimeOffset,
        DataType::Guid,
        DataType::Json,
    ];

    /// Its name in the Common Data Model.
    pub fn name(self) -> &'static str {
        match self {
            DataType::String => "string",
            DataType::Int64 => "int64",
            DataType::Double => "double",
            DataType::Decimal => "decimal",
            DataType::Boolean => "boolean",
            DataType::Date => "date",
            DataType::Time => "time",
            DataType::DateTime => "dateTime",
            DataType::DateTimeOffset => "dateTimeOffset",
            DataType::Guid => "guid",
            DataType::Json => "json",
        }
    }
}

impl Column {
    /// A column of a type, without limits.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Column {
        Column {
            name: name.into(),
            data_type,
            max_length: None,
            precision: None,
            scale: None,
            choices: Vec::new(),
            choice_set: None,
            added: false,
            retired: false,
            since: None,
        }
    }
}

/// What is said of a table's columns.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub columns: &'a [Column],
    /// Those that are not among them are gone.
    pub complete: bool,
    /// The columns that files have, where there are files: what is new stands behind all of them, and their types cannot change.
    pub published: Option<&'a TableSchema>,
    /// The write time of what comes with it.
    pub now: i64,
}

impl TableSchema {
    /// Takes over what is said of the columns. Answers whether anything changed.
    ///
    /// # Errors
    /// A column with another type than files have; nothing has changed then.
    pub fn evolve(&mut self, told: &Told<'_>) -> Result<bool, TypeChanged> {
        for column in told.columns {
            if let Some(known) = told.published.and_then(|published| published.find(&column.name))
                && known.data_type != column.data_type
            {
                let (column, before, now) = (column.name.clone(), known.data_type, column.data_type);
                return Err(TypeChanged { column, before, now });
            }
        }
        let before = self.columns.clone();
        for column in told.columns {
            match self.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => {
                    let since = if known.retired { Some(told.now) } else { known.since };
                    *known = Column { added: known.added, retired: false, since, ..column.clone() };
                }
                None => self.columns.push(Column { added: told.published.is_some(), retired: false, ..column.clone() }),
            }
        }
        if told.complete {
            for known in &mut self.columns {
                known.retired |= !told.columns.iter().any(|column| column.name == known.name);
            }
        }
        Ok(self.columns != before)
    }

    /// The columns that are null in rows that were written before a time, with that time: those that came back, and those that are
    /// gone still.
    pub fn gone(&self) -> Vec<(i64, String)> {
        let gone = |column: &Column| Some((if column.retired { i64::MAX } else { column.since? }, column.name.clone()));
        self.columns.iter().filter_map(gone).collect()
    }

    /// Whether it has a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|known| known.name == name)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn english() -> u32 {
    1033
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[&str]) -> TableSchema {
        TableSchema { table: "t".into(), history: false, columns: columns(names) }
    }

    /// Evolves it; its columns are in files where `published`.
    fn evolve(
        schema: &mut TableSchema,
        columns: &[Column],
        complete: bool,
        published: bool,
    ) -> Result<bool, TypeChanged> {
        let files = schema.clone();
        schema.evolve(&Told { columns, complete, published: published.then_some(&files), now: 7 })
    }

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|name| Column::new(*name, DataType::String)).collect()
    }

    fn names(schema: &TableSchema) -> Vec<(&str, bool, bool)> {
        schema.columns.iter().map(|column| (column.name.as_str(), column.added, column.retired)).collect()
    }

    #[test]
    fn a_new_column_goes_last_and_a_dropped_one_stays() {
        let mut schema = schema(&["a", "b"]);
        assert!(evolve(&mut schema, &columns(&["c", "a"]), true, true).unwrap());
        assert_eq!(names(&schema), [("a", false, false), ("b", false, true), ("c", true, false)]);
        assert!(!evolve(&mut schema, &columns(&["a", "c"]), true, true).unwrap());
        assert!(evolve(&mut schema, &columns(&["b"]), false, true).unwrap(), "it is there again, in its place");
        assert_eq!(names(&schema), [("a", false, false), ("b", false, false), ("c", true, false)]);
    }

    #[test]
    fn a_column_that_comes_back_is_null_in_what_was_written_before() {
        let mut schema = schema(&["a", "b"]);
        evolve(&mut schema, &columns(&["a"]), true, true).unwrap();
        evolve(&mut schema, &columns(&["a", "b"]), true, true).unwrap();
        assert_eq!((schema.columns[0].since, schema.columns[1].since), (None, Some(7)));
    }

    #[test]
    fn before_the_first_file_there_is_no_behind() {
        let mut schema = schema(&["a"]);
        evolve(&mut schema, &columns(&["b"]), false, false).unwrap();
        assert_eq!(names(&schema), [("a", false, false), ("b", false, false)]);
        evolve(&mut schema, &[Column::new("a", DataType::Int64)], false, false).unwrap();
        assert_eq!(schema.columns[0].data_type, DataType::Int64, "no file says otherwise");
    }

    #[test]
    fn another_type_is_refused_and_nothing_changes() {
        let mut schema = schema(&["a", "b"]);
        let before = schema.clone();
        let news = [Column::new("c", DataType::String), Column::new("b", DataType::Int64)];
        let refused = evolve(&mut schema, &news, true, true).unwrap_err();
        assert_eq!(refused, TypeChanged { column: "b".into(), before: DataType::String, now: DataType::Int64 });
        assert_eq!(schema, before);
    }

    #[test]
    fn limits_may_change() {
        let mut schema = schema(&["a"]);
        let wider = Column { max_length: Some(200), ..Column::new("a", DataType::String) };
        assert!(evolve(&mut schema, &[wider], true, true).unwrap());
        assert_eq!(schema.columns[0].max_length, Some(200));
    }

    #[test]
    fn types_have_the_names_of_the_common_data_model() {
        for data_type in DataType::ALL {
            assert_eq!(serde_json::to_value(data_type).unwrap(), data_type.name());
        }
    }
}
