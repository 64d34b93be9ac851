//! Keeps exports at work that are sent their records.
//!
//! What `lakeport serve` accepts goes to a write-ahead log, one for each source, and from there through the pipeline into the lake.
//! [`Logs`] is the source that the exports read, [`Intake`] the place that the HTTP server hands records to.

pub mod bindings;
mod deliveries;
mod functions;
mod intake;
mod invocations;
mod logs;
mod metrics;
mod reader;

pub use deliveries::{Deliveries, Delivery};
pub use functions::Functions;
pub use intake::{Intake, NoIntake};
pub use invocations::Invocations;
pub use logs::Logs;
