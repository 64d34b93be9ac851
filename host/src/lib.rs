//! Lakeport: continuous, exactly-once export of records into a data lake, through sandboxed plugins.
//!
//! One direction of data, one module a stage:
//!
//! 1. [`config`] turns the file a user wrote into a checked [`plan::Plan`]; nothing later reads configuration.
//! 2. [`source`] reads [`source::Chunk`]s from where the commit log ends. Nothing else reads.
//! 3. [`decode`] validates each record once and takes out every column that anyone asked for: [`record::Batch`].
//! 4. [`plugin`] filters, transforms and encodes batches in the sandbox. Pure.
//! 5. [`layout`] says which period and which object a record belongs to. Pure.
//! 6. [`commit`] makes the bytes of a span final, exactly once, in a [`lake`]. Nothing else writes.
//!
//! [`table`] keeps the latest state per key in the lake, for exports of changes, of tables and for lookups.
//! [`dataset`] is what an export of tables knows of them: schemas, states, the catalog.
//! [`pipeline`] joins the stages; [`session`] runs the exports of a plan. The command line is a crate of its own, `host/cli`.

pub mod clock;
pub mod commit;
pub mod config;
pub mod dataset;
pub mod decode;
pub mod error;
pub mod fail;
pub mod lake;
pub mod layout;
pub mod pipeline;
pub mod plan;
pub mod plugin;
pub mod record;
pub mod replace;
pub mod session;
#[cfg(test)]
#[path = "../../tests/support/soak.rs"]
mod soak;
pub mod source;
pub mod table;
pub mod telemetry;
pub mod wait;

pub use error::{Error, Kind, Result};
