//! The columns of a table's files, in their order, and where their values come from.
//!
//! `Id`, `SinkCreatedOn`, `SinkModifiedOn`, the table's columns, `versionnumber`, `IsDelete`, then the columns that came later. A
//! column of the table that has the name of one of the format's own (capitals do not count) stands in its place: no file has two
//! columns of one name.

use lakeport_plugin::prelude::*;

/// The columns of a table's files.
pub struct Layout {
    pub fields: Vec<Field>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub data_type: Type,
    /// Characters.
    pub max_length: Option<u32>,
    pub precision: Option<u8>,
    pub scale: Option<u8>,
    pub source: Source,
    /// The format's own column that it is, or stands for.
    pub own: Option<Own>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The record's attributes.
    Attribute(Own),
    /// The row, as the column of this place in [`Layout::requests`].
    Row(usize),
    /// Nowhere: it was deleted upstream.
    Retired,
}

/// The format's own columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    Id,
    SinkCreatedOn,
    SinkModifiedOn,
    VersionNumber,
    IsDelete,
}

/// The data types of the Common Data Model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    String,
    Int64,
    Double,
    Decimal,
    Boolean,
    Date,
    Time,
    DateTime,
    /// `creation`: it is `createdon`, to whose values the service gives a form of their own.
    DateTimeOffset {
        creation: bool,
    },
    Guid,
    Json,
}

/// The places of the attributes in [`Layout::requests`].
pub mod place {
    pub const SUBJECT: usize = 0;
    pub const ENQUEUED_TIME: usize = 1;
    pub const TIME: usize = 2;
    pub const VERSION: usize = 3;
    pub const OPERATION: usize = 4;
    /// The row's values begin here.
    pub const ROW: usize = 5;
}

const BEFORE: [Own; 3] = [Own::Id, Own::SinkCreatedOn, Own::SinkModifiedOn];
const AFTER: [Own; 2] = [Own::VersionNumber, Own::IsDelete];

impl Own {
    pub fn name(self) -> &'static str {
        match self {
            Own::Id => "Id",
            Own::SinkCreatedOn => "SinkCreatedOn",
            Own::SinkModifiedOn => "SinkModifiedOn",
            Own::VersionNumber => "versionnumber",
            Own::IsDelete => "IsDelete",
        }
    }

    fn data_type(self) -> Type {
        match self {
            Own::Id => Type::String,
            Own::SinkCreatedOn | Own::SinkModifiedOn => Type::DateTime,
            Own::VersionNumber => Type::Int64,
            Own::IsDelete => Type::Boolean,
        }
    }

    fn named(name: &str) -> Option<Own> {
        BEFORE.into_iter().chain(AFTER).find(|own| own.name().eq_ignore_ascii_case(name))
    }
}

impl Type {
    fn parse(column: &ColumnSchema) -> Option<Type> {
        Some(match column.data_type.as_str() {
            "string" => Type::String,
            "int64" => Type::Int64,
            "double" => Type::Double,
            "decimal" => Type::Decimal,
            "boolean" => Type::Boolean,
            "date" => Type::Date,
            "time" => Type::Time,
            "dateTime" => Type::DateTime,
            "dateTimeOffset" => Type::DateTimeOffset { creation: column.name.eq_ignore_ascii_case("createdon") },
            "guid" => Type::Guid,
            "json" => Type::Json,
            _ => return None,
        })
    }

    /// Its name in `model.json`.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::Int64 => "int64",
            Type::Double => "double",
            Type::Decimal => "decimal",
            Type::Boolean => "boolean",
            Type::Date => "date",
            Type::Time => "time",
            Type::DateTime => "dateTime",
            Type::DateTimeOffset { .. } => "dateTimeOffset",
            Type::Guid => "guid",
            Type::Json => "json",
        }
    }
}

impl Layout {
    /// The layout of a table's files.
    ///
    /// # Errors
    /// A name that `model.json` cannot hold, two columns that readers take for one, a type that there is not.
    pub fn new(schema: &TableSchema) -> Result<Layout> {
        check_table(&schema.table)?;
        check_columns(schema)?;
        let mut places = place::ROW..;
        let mut fields = Vec::new();
        let (mut stand_ins, mut added) = (Vec::new(), Vec::new());
        for column in &schema.columns {
            let field = Field {
                name: column.name.clone(),
                data_type: Type::parse(column).ok_or_else(|| unknown_type(schema, column))?,
                max_length: column.max_length,
                precision: column.precision,
                scale: column.scale,
                source: match column.retired {
                    true => Source::Retired,
                    false => Source::Row(places.next().expect("it has no end")),
                },
                own: Own::named(&column.name),
            };
            match (field.own, column.added) {
                (Some(_), _) => stand_ins.push(field),
                (None, true) => added.push(field),
                (None, false) => fields.push(field),
            }
        }
        let mut own = |own: Own| match stand_ins.iter().position(|field| field.own == Some(own)) {
            Some(at) => stand_ins.swap_remove(at),
            None => Field::own(own),
        };
        fields.splice(0..0, BEFORE.map(&mut own));
        fields.extend(AFTER.map(own));
        fields.append(&mut added);
        Ok(Layout { fields })
    }

    /// What is asked of the host: the attributes, then the row's values as they were received.
    pub fn requests(&self) -> Columns {
        let mut columns = columns![
            text(Attribute::Subject),
            timestamp(Attribute::EnqueuedTime),
            timestamp(Attribute::Time),
            integer(Attribute::Version),
            text(Attribute::Operation),
        ];
        let mut values: Vec<(usize, &str)> = self.fields.iter().filter_map(Field::place).collect();
        values.sort_unstable();
        let pointer = |(_, name): (usize, &str)| request::json(request::member(name));
        columns.0.extend(values.into_iter().map(pointer));
        columns
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }
}

impl Field {
    fn own(own: Own) -> Field {
        Field {
            name: own.name().to_owned(),
            data_type: own.data_type(),
            max_length: None,
            precision: None,
            scale: None,
            source: Source::Attribute(own),
            own: Some(own),
        }
    }

    fn place(&self) -> Option<(usize, &str)> {
        match self.source {
            Source::Row(place) => Some((place, &self.name)),
            Source::Attribute(_) | Source::Retired => None,
        }
    }
}

/// The rules of `model.json`'s schema for the names of entities.
fn check_table(table: &str) -> Result<()> {
    let plain = is_name(table) && !table.contains(['.', '"']);
    plain.then_some(()).ok_or_else(|| {
        Error::UnsupportedSchema(format!(
            "table `{table}` cannot be an entity of model.json, expected a name of 1 to 256 characters without `.`, without `\"` \
             and without space around it; give the table another name"
        ))
    })
}

fn check_columns(schema: &TableSchema) -> Result<()> {
    let table = &schema.table;
    for (at, column) in schema.columns.iter().enumerate() {
        let name = &column.name;
        if !is_name(name) {
            return Err(Error::UnsupportedSchema(format!(
                "column `{name}` of table `{table}` cannot be an attribute of model.json, expected a name of 1 to 256 characters \
                 without space around it; rename the column, or leave it out of the table's columns"
            )));
        }
        if let Some(twin) = schema.columns[..at].iter().find(|other| other.name.eq_ignore_ascii_case(name)) {
            return Err(Error::UnsupportedSchema(format!(
                "table `{table}` has the columns `{}` and `{name}`, which readers take for one; rename one of them, or leave it \
                 out of the table's columns",
                twin.name
            )));
        }
        if column.added && Own::named(name).is_some() {
            return Err(Error::UnsupportedSchema(format!(
                "table `{table}` has a new column `{name}`, and its files have a column of that name already; rename the column, \
                 or unlink the table and link it again"
            )));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.chars().count()) && name.trim() == name && !name.chars().any(char::is_control)
}

fn unknown_type(schema: &TableSchema, column: &ColumnSchema) -> Error {
    Error::UnsupportedSchema(format!(
        "column `{}` of table `{}` is of the type `{}`, expected a data type of the Common Data Model such as `string`",
        column.name, schema.table, column.data_type
    ))
}
