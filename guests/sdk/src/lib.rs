//! Write Lakeport plugins: one trait a kind, one macro a kind, and rows over the columns that the host extracted.
//!
//! A whole filter:
//!
//! ```
//! use lakeport_plugin::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Config {
//!     threshold: f64,
//! }
//!
//! struct TooHot {
//!     threshold: f64,
//! }
//!
//! impl Filter for TooHot {
//!     type Config = Config;
//!
//!     fn open(config: Config) -> Result<Self> {
//!         Ok(TooHot { threshold: config.threshold })
//!     }
//!
//!     fn columns(&self) -> Columns {
//!         columns![number("/temperature")]
//!     }
//!
//!     fn keep(&self, row: Row) -> Result<bool, Rejection> {
//!         Ok(row.number(0).is_some_and(|t| t > self.threshold))
//!     }
//! }
//!
//! export_filter!(TooHot);
//! # use lakeport_plugin::testing;
//! # let hot = TooHot::open(Config { threshold: 90.0 }).unwrap();
//! # let batch = testing::batch(&hot.columns(), &[r#"{"temperature": 91}"#, r#"{"temperature": 4}"#]);
//! # assert_eq!(testing::kept(&hot, &batch), [true, false]);
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip2`; test it with plain `cargo test`: the line that exports a
//! plugin exists in WebAssembly only, everything else is ordinary Rust. A plugin's name, version and summary are its crate's.
//!
//! The host asks `columns` once, extracts those columns natively, and calls with up to 8,192 records at a time. A panic ends
//! the instance, not the host; the host then finds the record that caused it. What is printed appears in the host's log.
//! There are no files, no network and no environment; the clock stands at the records' write time and random numbers come from
//! a seed, so that a run can be repeated.

mod batch;
mod columns;
mod error;
mod filter;
mod format;
pub mod rows;
mod table;
mod testing_support;
mod transform;

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod glue;

pub use batch::{Batch, Json, Row, VarBytes, bit};
pub use bindings::records::{Attribute, Column, ColumnRequest, ColumnType, ColumnValues, Lookup, Selector, TextPairs};
pub use columns::{Columns, request};
pub use error::{Error, NoSettings, Rejected, Rejection, Result};
pub use filter::{Filter, Verdict};
pub use format::{FileContext, FileType, Format, Segment};
pub use table::{
    CatalogFile, Choice, ColumnSchema, Dataset, Partition, SyncState, Table, TableFormat, TableSchema, Widener,
};
pub use transform::{Output, Transform, Transformed};

pub use schemars;
pub use serde;
pub use serde_json;

/// What a plugin's tests need: batches made from JSON, and answers read back.
pub mod testing {
    pub use crate::testing_support::{batch, batch_with, changes, encoded, kept, mapped, table_schema};
}

/// Everything that a plugin usually names.
pub mod prelude {
    pub use crate::{
        Attribute, Batch, CatalogFile, ColumnSchema, Columns, Dataset, Error, FileContext, FileType, Filter, Format,
        Json, NoSettings, Output, Rejection, Result, Row, Segment, TableFormat, TableSchema, Transform, Transformed,
        Verdict, Widener, columns, export_filter, export_format, export_table_format, export_transform, request,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}
