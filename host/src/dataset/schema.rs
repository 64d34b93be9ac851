//! The columns of a table, and how they change: what is new goes last, what is gone stays in its place and is null.

use serde::{Deserialize, Serialize};

use super::TableName;

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
    /// What the table is called where its records come from.
    pub kind: TableName,
    pub columns: Vec<Column>,
    /// These are all columns: one that is not among them is gone.
    pub complete: bool,
    /// The newest version of the events that said so one after the other; see [`super::SchemaVersions`].
    pub version: Option<i64>,
    /// Where the first of those records begins in its source.
    pub offset: u64,
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

impl TableSchema {
    /// Whether it has a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The column of this name.
    pub fn find(&self, name: &str) -> Option<&Column> {
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

    #[test]
    fn types_have_the_names_of_the_common_data_model() {
        for data_type in DataType::ALL {
            assert_eq!(serde_json::to_value(data_type).unwrap(), data_type.name());
        }
    }
}
