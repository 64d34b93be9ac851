//! What the schema beside an event says: the columns of the table, and which values stand for something else.

use std::collections::HashMap;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::values::Conversion;
use crate::dataset::{Column, DataType};
use crate::decode::envelope::content::text_of;
use crate::decode::scan::Span;

/// So many different schemas are remembered.
const MOST: usize = 1024;

/// The schemas that were seen, by their hashes; `None` for one that describes no row.
#[derive(Default)]
pub struct Schemas(HashMap<u64, Option<Table>>);

/// What a schema says of a table.
pub struct Table {
    pub columns: Vec<Column>,
    conversions: HashMap<String, Conversion>,
}

impl Schemas {
    /// What a schema says, with its hash.
    pub fn get(&mut self, data: &[u8], schema: Span) -> Option<(u64, &Table)> {
        if schema.is_absent() {
            return None;
        }
        let signature = xxh3_64(schema.of(data));
        if self.0.len() >= MOST && !self.0.contains_key(&signature) {
            self.0.clear();
        }
        let table = self.0.entry(signature).or_insert_with(|| {
            let schema: Value = serde_json::from_slice(schema.of(data)).ok()?;
            Table::read(&schema)
        });
        table.as_ref().map(|table| (signature, table))
    }
}

impl Table {
    fn read(schema: &Value) -> Option<Table> {
        let fields = schema["fields"].as_array()?;
        let row = fields.iter().find(|field| field["field"] == "after")?;
        let mut table = Table { columns: Vec::new(), conversions: HashMap::new() };
        for field in row["fields"].as_array()? {
            let (column, conversion) = column(field)?;
            if let Some(conversion) = conversion {
                table.conversions.insert(column.name.clone(), conversion);
            }
            table.columns.push(column);
        }
        Some(table)
    }

    /// Whether some values stand for something else.
    pub fn converts(&self) -> bool {
        !self.conversions.is_empty()
    }

    /// What becomes of the values of a column.
    pub fn conversion(&self, data: &[u8], key: Span) -> Option<Conversion> {
        self.conversions.get(&*text_of(data, key)?).copied()
    }
}

/// The column that a field describes.
fn column(field: &Value) -> Option<(Column, Option<Conversion>)> {
    use Conversion::{Days, Decimal, Instant, TimeOfDay, VariableDecimal};
    let name = field["field"].as_str()?;
    let parameter = |name: &str| {
        let value = &field["parameters"][name];
        value
            .as_str()
            .and_then(|text| text.parse::<i32>().ok())
            .or_else(|| value.as_i64().and_then(|n| n.try_into().ok()))
    };
    let narrow = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
    let of = |data_type| Column::new(name, data_type);
    let logical = field["name"].as_str().unwrap_or_default();
    let short = logical.strip_prefix("io.debezium.").or_else(|| logical.strip_prefix("org.apache.kafka.connect."));
    Some(match short.unwrap_or_default() {
        "data.Decimal" => {
            let scale = parameter("scale")?;
            let (precision, shown) = (narrow(parameter("connect.decimal.precision")), narrow(Some(scale)));
            let limits = precision.zip(shown);
            let (precision, shown) = (limits.map(|limits| limits.0), limits.map(|limits| limits.1));
            (Column { precision, scale: shown, ..of(DataType::Decimal) }, Some(Decimal { scale }))
        }
        "data.VariableScaleDecimal" => (of(DataType::Decimal), Some(VariableDecimal)),
        "time.Date" | "data.Date" => (of(DataType::Date), Some(Days)),
        "time.Timestamp" | "data.Timestamp" => (of(DataType::DateTime), Some(Instant { digits: 3 })),
        "time.MicroTimestamp" => (of(DataType::DateTime), Some(Instant { digits: 6 })),
        "time.NanoTimestamp" => (of(DataType::DateTime), Some(Instant { digits: 9 })),
        "time.Time" | "data.Time" => (of(DataType::Time), Some(TimeOfDay { digits: 3 })),
        "time.MicroTime" => (of(DataType::Time), Some(TimeOfDay { digits: 6 })),
        "time.NanoTime" => (of(DataType::Time), Some(TimeOfDay { digits: 9 })),
        "time.ZonedTimestamp" => (of(DataType::DateTimeOffset), None),
        // The Common Data Model has no time of day with a zone.
        "time.ZonedTime" => (of(DataType::String), None),
        "data.Uuid" => (of(DataType::Guid), None),
        "data.Json" => (of(DataType::Json), None),
        _ => match field["type"].as_str()? {
            "int8" | "int16" | "int32" | "int64" => (of(DataType::Int64), None),
            "float" | "double" | "float32" | "float64" => (of(DataType::Double), None),
            "boolean" => (of(DataType::Boolean), None),
            "struct" | "map" | "array" => (of(DataType::Json), None),
            "string" => {
                let length = parameter("__debezium.source.column.length");
                let max_length = length.and_then(|length| u32::try_from(length).ok());
                (Column { max_length, ..of(DataType::String) }, None)
            }
            _ => (of(DataType::String), None),
        },
    })
}
