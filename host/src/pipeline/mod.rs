//! The pipeline: joins the stages of one export, from the source to the lake.
//!
//! ```text
//! feed ──chunks──► lanes ──segments──► stager ──objects──► committer
//! (a thread)       (threads)           (a task a span)     (a task)
//! ```
//!
//! 1. `feed.rs` reads ahead on a thread.
//! 2. `lane.rs` decodes, filters, transforms, partitions and encodes a chunk; `lanes.rs` keeps several at it, in order.
//! 3. `run/` cuts the stream into spans: it sends chunks to lanes and their segments to the span's stager, and ends the span
//!    after some time or bytes. All chunks of a span are done before the next one begins, for it starts from its state.
//! 4. `committer.rs` commits spans, one after the other, while the next one is processed.

mod bisect;
mod changes;
mod columns;
mod committer;
mod encoder;
mod fan_out;
mod feed;
mod kinds;
mod lane;
mod lanes;
mod lookup;
mod portions;
mod preview;
mod processed;
mod replay;
mod row_writer;
mod rows;
mod run;
mod stage;
mod table_changes;
#[cfg(test)]
mod tests;
mod times;
mod writer;

pub use committer::overtaken;
pub use lookup::Tables;
pub use preview::{Preview, PreviewFile, Sample, preview};
pub use processed::Stages;
pub use replay::{Replay, Replayed};
pub use run::{
    Hold, HoldSender, HoldState, Job, Options, WhenOwned, configuration_of, interrupted, run, wait_for_owner,
};
