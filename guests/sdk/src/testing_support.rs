//! Batches made from JSON bodies, as the host would make them, and answers read back.

use serde_json::Value;

use crate::{
    Attribute, Batch, Column, ColumnRequest, ColumnSchema, ColumnType, ColumnValues, Columns, Filter, Format, Selector,
    TableSchema, Transform, VarBytes, bit,
};

/// A batch of `bodies` with `columns` taken out of each.
///
/// Attributes come from where signals have them: `kind` from `/name`, `subject` from `/deviceId`, `id` from `/id`; other
/// attributes, timestamps and lookups are null.
///
/// # Panics
/// Where a body is not JSON.
pub fn batch(columns: &Columns, bodies: &[&str]) -> Batch {
    batch_with(columns, bodies, &[])
}

/// As [`batch`], with tables for lookups: each of `documents` is a table's name, a key and a document of JSON.
///
/// # Panics
/// Where a body or a document is not JSON.
pub fn batch_with(columns: &Columns, bodies: &[&str], documents: &[(&str, &str, &str)]) -> Batch {
    let parsed: Vec<Value> = bodies.iter().map(|body| parse(body, "a body is JSON")).collect();
    let tables: Vec<(&str, &str, Value)> =
        documents.iter().map(|&(table, key, text)| (table, key, parse(text, "a document is JSON"))).collect();
    let column = |request: &ColumnRequest| column(request, bodies, &parsed, &tables, None);
    Batch::new(bodies.len(), columns.0.iter().map(column).collect())
}

/// A batch of records that have attributes: each is an object of them, by their names in `wit/`, and a body.
///
/// ```
/// # use lakeport_plugin::{prelude::*, testing};
/// let columns = columns![text(Attribute::Subject), timestamp(Attribute::EnqueuedTime), integer("/n")];
/// let batch = testing::changes(&columns, &[(r#"{"subject": "7", "enqueued-time": 1000000}"#, r#"{"n": 1}"#)]);
/// assert_eq!((batch.row(0).text(0), batch.row(0).timestamp(1)), (Some("7"), Some(1_000_000)));
/// ```
///
/// # Panics
/// Where attributes or a body are not JSON.
pub fn changes(columns: &Columns, records: &[(&str, &str)]) -> Batch {
    let bodies: Vec<&str> = records.iter().map(|(_, body)| *body).collect();
    let parsed: Vec<Value> = bodies.iter().map(|body| parse(body, "a body is JSON")).collect();
    let attributes: Vec<Value> = records.iter().map(|(text, _)| parse(text, "attributes are JSON")).collect();
    let column = |request: &ColumnRequest| column(request, &bodies, &parsed, &[], Some(&attributes));
    Batch::new(bodies.len(), columns.0.iter().map(column).collect())
}

/// A table's schema: each column's name and data type.
pub fn table_schema(table: &str, columns: &[(&str, &str)]) -> TableSchema {
    let column = |&(name, data_type): &(&str, &str)| ColumnSchema {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        max_length: None,
        precision: None,
        scale: None,
        retired: false,
        added: false,
        choices: Vec::new(),
        choice_set: None,
    };
    TableSchema { table: table.to_owned(), history: false, columns: columns.iter().map(column).collect() }
}

fn parse(text: &str, what: &str) -> Value {
    serde_json::from_str(text).expect(what)
}

const SUBJECT: &str = "/deviceId";

fn column(
    request: &ColumnRequest,
    bodies: &[&str],
    parsed: &[Value],
    tables: &[(&str, &str, Value)],
    attributes: Option<&[Value]>,
) -> Column {
    let pointer = match &request.selector {
        Selector::Pointer(pointer) => Some(pointer.as_str()),
        Selector::Attribute(Attribute::Body) => Some(""),
        Selector::Attribute(Attribute::Kind) => Some("/name"),
        Selector::Attribute(Attribute::Subject) => Some(SUBJECT),
        Selector::Attribute(Attribute::Id) => Some("/id"),
        Selector::Attribute(_) | Selector::Lookup(_) => None,
    };
    let found: Vec<Option<&Value>> = match &request.selector {
        Selector::Lookup(lookup) => {
            let document = |body: &Value| {
                let subject = body.pointer(SUBJECT)?.as_str()?;
                tables.iter().find(|(table, key, _)| (*table, *key) == (lookup.table.as_str(), subject))
            };
            parsed.iter().map(|body| document(body)?.2.pointer(&lookup.pointer)).collect()
        }
        Selector::Attribute(attribute) if *attribute != Attribute::Body && attributes.is_some() => {
            let name = name(*attribute);
            attributes.unwrap_or_default().iter().map(|attributes| attributes.get(name)).collect()
        }
        _ => parsed.iter().map(|body| body.pointer(pointer?)).collect(),
    };
    let text = |row: usize| found[row].and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
    // The whole body keeps its bytes; a part of it is written anew, which is as good for a test.
    let json = |row: usize| match pointer {
        Some("") => Some(bodies[row].as_bytes().to_vec()),
        _ => found[row].map(|value| value.to_string().into_bytes()),
    };
    let rows = bodies.len();
    match request.as_type {
        ColumnType::Text => var_bytes(rows, text, ColumnValues::Text),
        ColumnType::Bytes => var_bytes(rows, json, ColumnValues::Bytes),
        ColumnType::Json => var_bytes(rows, json, ColumnValues::Json),
        ColumnType::Int64 => fixed(&found, Value::as_i64, ColumnValues::Int64),
        ColumnType::Float64 => fixed(&found, Value::as_f64, ColumnValues::Float64),
        ColumnType::Timestamp => fixed(&found, |value| attributes.and(value.as_i64()), ColumnValues::Timestamp),
        ColumnType::Boolean => fixed(&found, Value::as_bool, |values| ColumnValues::Boolean(bitmap(values))),
        ColumnType::TextMap => panic!("a test batch cannot have a column of pairs"),
    }
}

/// An attribute's name in the interface.
fn name(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Id => "id",
        Attribute::Source => "source",
        Attribute::Kind => "kind",
        Attribute::Subject => "subject",
        Attribute::Time => "time",
        Attribute::EnqueuedTime => "enqueued-time",
        Attribute::WriteTime => "write-time",
        Attribute::Operation => "operation",
        Attribute::Version => "version",
        Attribute::Properties => "properties",
        Attribute::SystemProperties => "system-properties",
        Attribute::Body => "body",
    }
}

fn bitmap(bits: Vec<bool>) -> Vec<u8> {
    let mut bytes = vec![0; bits.len().div_ceil(8)];
    bits.iter().enumerate().for_each(|(row, &set)| bytes[row / 8] |= u8::from(set) << (row % 8));
    bytes
}

fn fixed<T: Default>(
    found: &[Option<&Value>],
    convert: impl Fn(&Value) -> Option<T>,
    wrap: impl Fn(Vec<T>) -> ColumnValues,
) -> Column {
    let values: Vec<Option<T>> = found.iter().map(|value| value.and_then(&convert)).collect();
    let validity = Some(bitmap(values.iter().map(Option::is_some).collect()));
    Column { validity, values: wrap(values.into_iter().map(Option::unwrap_or_default).collect()) }
}

fn var_bytes(rows: usize, value: impl Fn(usize) -> Option<Vec<u8>>, wrap: impl Fn(VarBytes) -> ColumnValues) -> Column {
    let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
    let mut valid = Vec::with_capacity(rows);
    for row in 0..rows {
        let value = value(row);
        valid.push(value.is_some());
        values.push(value.as_deref().unwrap_or_default());
    }
    Column { validity: Some(bitmap(valid)), values: wrap(values) }
}

/// Which rows a filter keeps; rejected ones are not.
///
/// # Panics
/// Where the filter fails.
pub fn kept(filter: &impl Filter, batch: &Batch) -> Vec<bool> {
    let verdict = filter.evaluate(batch).expect("the filter answers");
    let rejected = |row: usize| verdict.rejected.iter().any(|r| r.row as usize == row);
    (0..batch.rows()).map(|row| bit(&verdict.keep, row) && !rejected(row)).collect()
}

/// What a transform makes of a batch: the origin of each record, and its body where it is new.
///
/// # Panics
/// Where the transform fails, or writes text that is not UTF-8.
pub fn mapped(transform: &impl Transform, batch: &Batch) -> Vec<(u32, Option<String>)> {
    let answer = transform.apply(batch).expect("the transform answers");
    let body = |at: usize| answer.bodies.as_ref().map(|bodies| String::from_utf8(bodies.value(at).to_vec()).unwrap());
    answer.origins.iter().enumerate().map(|(at, &origin)| (origin, body(at))).collect()
}

/// The bytes a format makes of a batch, as text.
///
/// # Panics
/// Where the format fails, or its bytes are not UTF-8.
pub fn encoded(format: &mut impl Format, batch: &Batch) -> String {
    let segment = format.encode(batch).expect("the format answers");
    String::from_utf8(segment.bytes).expect("the bytes are text")
}
