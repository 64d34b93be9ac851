//! Commits: making the bytes of a span final, exactly once, on any object store. The only stage that writes.
//!
//! 1. `protocol.rs` decides, without I/O; `model.rs` checks its every interleaving.
//! 2. `entry.rs` is what stands in the log.
//! 3. `partition.rs` carries the protocol out on a lake, whose log `log.rs` reads; `publish.rs` makes a commit's objects visible.
//! 4. `files.rs` has the files of a span, one for each series, and what the log holds of that.
//! 5. `stager.rs` stages a span's bytes while it is encoded; `ledger.rs` counts them, and decides what becomes of the files.
//! 6. `health.rs` is a note of how an export is, beside the log; `presence.rs` judges from both whether an owner is at work,
//!    and `process.rs` whether its process still lives. `withdrawal.rs` removes what an owner staged that was replaced.
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
mod presence;
mod process;
pub mod protocol;
mod publish;
mod stager;
mod withdrawal;

pub use entry::{
    Base, Commit, Content, Entry, FORMAT_VERSION, Fence, Object, Part, Pending, Publication, Series, SpanEntry, Tail,
    Totals,
};
pub use files::{File, FileTable, Published, expected_key};
pub use health::{Ended, Health, State as HealthState};
pub use ledger::{Ledger, any_due};
pub use log::{AGAIN, NewestOwner, newest_owner, partition_folder, read_commits, read_last, read_partitions};
pub use partition::{Draft, Identity, Outcome, Partition, Standing};
pub use presence::{Author, Sign, at_work};
pub use stager::{Objects, Piece, Stager, Terms, abandon};
pub use withdrawal::Withdrawal;
