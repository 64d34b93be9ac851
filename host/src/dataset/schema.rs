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
        }
    }
}

impl TableSchema {
    /// Takes over what is said of the columns. `complete`: those that are not among them are gone. `published`: files of the
    /// table have the columns as they were, so that what is new stands behind everything, and a type cannot change. Answers whether
    /// anything changed.
    ///
    /// # Errors
    /// A column with another type than files have; nothing has changed then.
    pub fn evolve(&mut self, columns: &[Column], complete: bool, published: bool) -> Result<bool, TypeChanged> {
        for column in columns.iter().filter(|_| published) {
            if let Some(known) = self.find(&column.name)
                && known.data_type != column.data_type
            {
                let (column, before, now) = (column.name.clone(), known.data_type, column.data_type);
                return Err(TypeChanged { column, before, now });
            }
        }
        let before = self.columns.clone();
        for column in columns {
            match self.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => *known = Column { added: known.added, retired: false, ..column.clone() },
                None => self.columns.push(Column { added: published, retired: false, ..column.clone() }),
            }
        }
        if complete {
            for known in &mut self.columns {
                known.retired |= !columns.iter().any(|column| column.name == known.name);
            }
        }
        Ok(self.columns != before)
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

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|name| Column::new(*name, DataType::String)).collect()
    }

    fn names(schema: &TableSchema) -> Vec<(&str, bool, bool)> {
        schema.columns.iter().map(|column| (column.name.as_str(), column.added, column.retired)).collect()
    }

    #[test]
    fn a_new_column_goes_last_and_a_dropped_one_stays() {
        let mut schema = schema(&["a", "b"]);
        assert!(schema.evolve(&columns(&["c", "a"]), true, true).unwrap());
        assert_eq!(names(&schema), [("a", false, false), ("b", false, true), ("c", true, false)]);
        assert!(!schema.evolve(&columns(&["a", "c"]), true, true).unwrap());
        assert!(schema.evolve(&columns(&["b"]), false, true).unwrap(), "it is there again, in its place");
        assert_eq!(names(&schema), [("a", false, false), ("b", false, false), ("c", true, false)]);
    }

    #[test]
    fn before_the_first_file_there_is_no_behind() {
        let mut schema = schema(&["a"]);
        schema.evolve(&columns(&["b"]), false, false).unwrap();
        assert_eq!(names(&schema), [("a", false, false), ("b", false, false)]);
        schema.evolve(&[Column::new("a", DataType::Int64)], false, false).unwrap();
        assert_eq!(schema.columns[0].data_type, DataType::Int64, "no file says otherwise");
    }

    #[test]
    fn another_type_is_refused_and_nothing_changes() {
        let mut schema = schema(&["a", "b"]);
        let before = schema.clone();
        let news = [Column::new("c", DataType::String), Column::new("b", DataType::Int64)];
        let refused = schema.evolve(&news, true, true).unwrap_err();
        assert_eq!(refused, TypeChanged { column: "b".into(), before: DataType::String, now: DataType::Int64 });
        assert_eq!(schema, before);
    }

    #[test]
    fn limits_may_change() {
        let mut schema = schema(&["a"]);
        let wider = Column { max_length: Some(200), ..Column::new("a", DataType::String) };
        assert!(schema.evolve(&[wider], true, true).unwrap());
        assert_eq!(schema.columns[0].max_length, Some(200));
    }

    #[test]
    fn types_have_the_names_of_the_common_data_model() {
        for data_type in DataType::ALL {
            assert_eq!(serde_json::to_value(data_type).unwrap(), data_type.name());
        }
    }
}
