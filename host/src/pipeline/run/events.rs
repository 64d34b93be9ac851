//! What the loop of a run waits for.

use tokio::sync::watch;
use tokio::time::Instant;

use super::joining::Second;
use crate::error::Result;
use crate::pipeline::feed::{Event, Feed};
use crate::source::Extent;
use crate::wait::until;

/// An event, and which reader it is of.
pub(super) enum Read {
    First(Event),
    Second(Event),
}

/// The next event of either reader, neither before the other where both have one. Safe to drop while it waits.
pub(super) async fn either(first: &mut Feed, reads_first: bool, second: &mut Second) -> Result<Read> {
    tokio::select! {
        event = first.next(), if reads_first => event.map(Read::First),
        event = second.next() => event.map(Read::Second),
    }
}

/// Returns once the run is to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if until(stop, |stop| *stop).await.is_err() {
        // Nobody is left who could stop the run.
        std::future::pending().await
    }
}

/// Returns at a point in time; never where there is none.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Adds an extent to a span's, in one piece with the last one where it continues it.
pub(super) fn join(extents: &mut Vec<Extent>, next: &Extent) {
    match extents.last_mut() {
        Some(last) if last.origin.name == next.origin.name && last.next == next.first => {
            last.origin = next.origin.clone();
            last.next = next.next;
            last.dropped += next.dropped;
        }
        _ => extents.push(next.clone()),
    }
}
