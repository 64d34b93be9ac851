//! Commits: making the bytes of a span final, exactly once, on any object store. The only stage that writes.
//!
//! 1. `protocol.rs` decides, without I/O; `model.rs` checks its every interleaving.
//! 2. `entry.rs` is what stands in the log.
//! 3. `partition.rs` carries the protocol out on a lake, whose log `log.rs` reads.
//! 4. `files.rs` says which objects a span writes to, from the state that the log holds.
//! 5. `ledger.rs` counts what one span writes, and decides what becomes of it; `stager.rs` stages the bytes meanwhile.
//! 6. `health.rs` is a note for people, beside the log.
//!
//! `docs/commit-log.md` describes the protocol and what it promises.

mod entry;
mod files;
mod health;
mod ledger;
pub mod letters;
mod log;
#[cfg(test)]
mod model;
mod partition;
pub mod protocol;
mod stager;

pub use entry::{
    Commit, Content, Entry, FORMAT_VERSION, Fence, Object, Pending, Publication, Series, SpanEntry, Tail, Totals,
};
pub use files::{File, FileTable, Published};
pub use health::{Health, State as HealthState};
pub use ledger::{Closing, Ledger, any_due};
pub use log::{newest_owner, partition_folder, read_commits, read_last};
pub use partition::{Draft, Identity, Outcome, Partition};
pub use stager::{Objects, Piece, Stager};
