//! A run whose records are those of dead letters: it gathers what becomes of them, for the commit that moves them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::spans::Run;
use crate::pipeline::replay::{LetterObject, Outcome, Shared};
use crate::record::DeadLetter;
use crate::source::Chunk;
use crate::telemetry::ExportReport;

/// Bytes of dead letters after which a span ends: they wait in memory.
const MAX_BYTES: usize = 16 << 20;
/// Objects after which it ends: its commit names each.
const MAX_OBJECTS: usize = 1_000;

/// The dead letters of a run that replays some.
pub(super) struct Replaying {
    shared: Arc<Shared>,
    pub(super) dry_run: bool,
    report: watch::Sender<ExportReport>,
    /// Those of the span under way, in order.
    tried: Vec<Tried>,
    /// Where they are in `tried`.
    places: HashMap<Arc<str>, usize>,
    bytes: usize,
    pub(super) refused: u64,
}

/// An object whose records are tried.
struct Tried {
    object: LetterObject,
    /// How many of its records were sent to lanes.
    sent: u32,
    dead: Vec<DeadLetter>,
}

impl Replaying {
    pub(super) fn new(shared: Arc<Shared>, dry_run: bool, report: watch::Sender<ExportReport>) -> Self {
        Replaying { shared, dry_run, report, tried: Vec::new(), places: HashMap::new(), bytes: 0, refused: 0 }
    }

    /// Notes that a chunk is sent to lanes.
    pub(super) fn send(&mut self, chunk: &Chunk) {
        let name = &chunk.extent.origin.name;
        if let Some(object) = self.shared.take(name) {
            self.bytes += object.bytes();
            self.places.insert(name.clone(), self.tried.len());
            self.tried.push(Tried { object, sent: 0, dead: Vec::new() });
        }
        if let Some(tried) = self.places.get(name).map(|at| &mut self.tried[*at]) {
            tried.sent = u32::try_from(chunk.extent.next).unwrap_or(u32::MAX);
        }
    }

    /// Whether the span may end here: an object is replaced as a whole.
    pub(super) fn may_end(&self) -> bool {
        self.tried.last().is_none_or(|last| last.sent >= last.object.tried())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.tried.len() >= MAX_OBJECTS
    }

    /// Takes in records that were refused again.
    pub(super) fn refuse(&mut self, dead: Vec<DeadLetter>) {
        for dead in dead {
            if let Some(at) = self.places.get(&dead.origin) {
                self.tried[*at].dead.push(dead);
            }
        }
    }

    /// What the span, written at `time`, makes of the letters.
    pub(super) fn settle(&mut self, time: DateTime<Utc>) -> Outcome {
        let mut out = Outcome::default();
        self.places.clear();
        self.bytes = 0;
        for Tried { object, sent, dead } in self.tried.drain(..) {
            object.settle(sent, dead, time, &mut out);
        }
        self.refused += out.counts.refused;
        out
    }

    /// Reports what a commit would have made of them.
    pub(super) fn report(&self, outcome: &Outcome, records: u64, bytes: u64) {
        self.report.send_modify(|report| {
            report.records_read += records;
            report.bytes_read += bytes;
            report.replay.get_or_insert_default().add(&outcome.counts);
        });
    }

    /// Reports what could not be tried.
    pub(super) fn report_impossible(&self) {
        let impossible = self.shared.impossible();
        self.report.send_modify(|report| report.replay.get_or_insert_default().add(&impossible));
    }
}

impl Run<'_> {
    /// Whether nothing is written.
    pub(super) fn is_dry(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.dry_run)
    }

    /// Ends the span under way, and only reports what it would have made.
    pub(super) fn end_dry_span(&mut self) {
        if let (Some(span), Some(replay)) = (self.span.take(), &mut self.replay) {
            span.stager.abort();
            let outcome = replay.settle(DateTime::default());
            replay.report(&outcome, span.entry.records, span.entry.bytes);
        }
    }
}
