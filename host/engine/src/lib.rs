//! Keeps exports at work that are sent their records.
//!
//! What `lakeport serve` accepts goes to a write-ahead log, one for each source, and from there through the pipeline into the lake.
//! [`Logs`] is the source that the exports read, [`Intake`] the place that the HTTP server hands records to.

mod backoff;
pub mod bindings;
mod contents;
mod current;
mod deliveries;
mod delivery;
mod direct;
mod drain;
mod due;
mod events;
mod failure;
mod functions;
mod inbox;
mod intake;
mod invocations;
mod left;
mod lines;
mod logs;
mod metrics;
mod numbers;
mod objects;
mod reader;
mod stats;
mod turn;
mod waiters;

pub use current::{Closed, Current};
pub use deliveries::Deliveries;
pub use delivery::{EventRun, Message, ObjectRef, Taken};
pub use direct::Direct;
pub use drain::Drain;
pub use functions::{Functions, Host};
pub use intake::Intake;
pub use invocations::Invocations;
pub use left::refuse_left;
pub use lines::Lines;
pub use logs::Logs;
pub use numbers::{Numbers, SequenceNumber};
