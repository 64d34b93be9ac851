//! Records as columns, and as rows over the columns.
//!
//! Row methods take the column's place in [`columns!`](crate::columns!) and give `None` where the row has no value. A place that
//! does not exist, or a column of another type, is a mistake in the plugin and panics.

use serde::Deserialize;

use crate::bindings::records as wit;
pub use crate::bindings::records::VarBytes;
use crate::error::Rejection;

/// Bit `index` of an Arrow bitmap: least significant first.
pub fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap[index / 8] >> (index % 8) & 1 == 1
}

/// Some records, as the columns that the plugin asked for.
#[derive(Debug)]
pub struct Batch {
    rows: usize,
    columns: Vec<wit::Column>,
}

impl Batch {
    /// A batch of `rows` records; `columns` hold a value for each.
    pub fn new(rows: usize, columns: Vec<wit::Column>) -> Self {
        Batch { rows, columns }
    }

    /// How many records there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.rows).map(|index| Row { batch: self, index })
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> Row<'_> {
        assert!(index < self.rows, "row {index} of a batch of {} rows", self.rows);
        Row { batch: self, index }
    }

    /// Which rows have a value in a column; `None` where every row has one.
    pub fn validity(&self, column: usize) -> Option<&[u8]> {
        self.columns[column].validity.as_deref()
    }

    /// A column's values, as they crossed. A row without a value holds an arbitrary one here.
    pub fn values(&self, column: usize) -> &wit::ColumnValues {
        &self.columns[column].values
    }

    /// The values of a text, JSON or bytes column, end to end.
    pub fn var_bytes(&self, column: usize) -> &VarBytes {
        match self.values(column) {
            wit::ColumnValues::Text(v) | wit::ColumnValues::Json(v) | wit::ColumnValues::Bytes(v) => v,
            other => wrong_type(column, other, "text, json or bytes"),
        }
    }

    /// The pairs of a text-map column.
    pub fn pairs(&self, column: usize) -> &wit::TextPairs {
        match self.values(column) {
            wit::ColumnValues::TextMap(v) => v,
            other => wrong_type(column, other, "pairs"),
        }
    }

    /// The values of a number column.
    pub fn numbers(&self, column: usize) -> &[f64] {
        match self.values(column) {
            wit::ColumnValues::Float64(v) => v,
            other => wrong_type(column, other, "number"),
        }
    }

    /// The values of an integer or timestamp column.
    pub fn integers(&self, column: usize) -> &[i64] {
        match self.values(column) {
            wit::ColumnValues::Int64(v) | wit::ColumnValues::Timestamp(v) => v,
            other => wrong_type(column, other, "integer or timestamp"),
        }
    }
}

fn wrong_type(column: usize, found: &wit::ColumnValues, asked: &str) -> ! {
    let found = match found {
        wit::ColumnValues::Boolean(_) => "boolean",
        wit::ColumnValues::Int64(_) => "integer",
        wit::ColumnValues::Float64(_) => "number",
        wit::ColumnValues::Timestamp(_) => "timestamp",
        wit::ColumnValues::Text(_) => "text",
        wit::ColumnValues::Json(_) => "json",
        wit::ColumnValues::Bytes(_) => "bytes",
        wit::ColumnValues::TextMap(_) => "pairs",
    };
    panic!("column {column} was requested as {found} and is read as {asked}")
}

impl VarBytes {
    /// Value `index`.
    pub fn value(&self, index: usize) -> &[u8] {
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    /// Every value, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|ends| &self.data[ends[0] as usize..ends[1] as usize])
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: &[u8]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.data.extend_from_slice(value);
        self.offsets.push(self.data.len() as u32);
    }
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    batch: &'a Batch,
    index: usize,
}

impl<'a> Row<'a> {
    /// The batch that the row belongs to, for plugins that go by columns.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The row's place in its batch.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the row has a value in a column.
    pub fn has(&self, column: usize) -> bool {
        self.batch.validity(column).is_none_or(|valid| bit(valid, self.index))
    }

    /// The value of a text column.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        match self.batch.values(column) {
            wit::ColumnValues::Text(v) => self.has(column).then(|| std::str::from_utf8(v.value(self.index)).ok())?,
            other => wrong_type(column, other, "text"),
        }
    }

    /// The value of a number column, or of an integer column.
    pub fn number(&self, column: usize) -> Option<f64> {
        match self.batch.values(column) {
            wit::ColumnValues::Float64(v) => self.has(column).then(|| v[self.index]),
            wit::ColumnValues::Int64(v) => self.has(column).then(|| v[self.index] as f64),
            other => wrong_type(column, other, "number"),
        }
    }

    /// The value of an integer column.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match self.batch.values(column) {
            wit::ColumnValues::Int64(v) => self.has(column).then(|| v[self.index]),
            other => wrong_type(column, other, "integer"),
        }
    }

    /// The value of a boolean column.
    pub fn boolean(&self, column: usize) -> Option<bool> {
        match self.batch.values(column) {
            wit::ColumnValues::Boolean(v) => self.has(column).then(|| bit(v, self.index)),
            other => wrong_type(column, other, "boolean"),
        }
    }

    /// The value of a timestamp column: microseconds since 1970-01-01T00:00:00Z.
    pub fn timestamp(&self, column: usize) -> Option<i64> {
        match self.batch.values(column) {
            wit::ColumnValues::Timestamp(v) => self.has(column).then(|| v[self.index]),
            other => wrong_type(column, other, "timestamp"),
        }
    }

    /// The value of a JSON column, exactly as it was received.
    pub fn json(&self, column: usize) -> Option<Json<'a>> {
        match self.batch.values(column) {
            wit::ColumnValues::Json(v) => self.has(column).then(|| Json(v.value(self.index))),
            other => wrong_type(column, other, "json"),
        }
    }

    /// The bytes of a text, JSON or bytes column.
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let values = self.batch.var_bytes(column);
        self.has(column).then(|| values.value(self.index))
    }

    /// The pairs of a text-map column, in order.
    pub fn pairs(&self, column: usize) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let map = self.batch.pairs(column);
        let owned = match self.has(column) {
            true => map.offsets[self.index] as usize..map.offsets[self.index + 1] as usize,
            false => 0..0,
        };
        owned.filter_map(|pair| {
            let text = |values: &'a VarBytes| std::str::from_utf8(values.value(pair)).ok();
            Some((text(&map.keys)?, text(&map.values)?))
        })
    }
}

/// One valid JSON value, exactly as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub &'a [u8]);

impl<'a> Json<'a> {
    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Parses it, into a type of the plugin's own or `serde_json::Value`.
    ///
    /// # Errors
    /// A [`Rejection`] that says what did not fit, so that `?` refuses the record.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        serde_json::from_slice(self.0).map_err(|error| Rejection(format!("does not parse: {error}")))
    }
}
