//! A span under way: how it begins, and what of its chunks it takes in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::died;
use super::joining::Takes;
use super::spans::Run;
use super::table_letters::TableLetters;
use crate::commit::letters::Letter;
use crate::commit::{FileTable, Ledger, Piece, SpanEntry, Stager, Terms};
use crate::error::{Error, Kind, Result};
use crate::layout::Period;
use crate::pipeline::processed::{Processed, SpanContext};
use crate::pipeline::rows::RowChange;
use crate::plan::Timestamp;
use crate::plugin::Moment;
use crate::table::Change;
use crate::telemetry::Live;

/// A span under way.
pub(super) struct Span {
    pub(super) context: Arc<SpanContext>,
    pub(super) ledger: Ledger,
    pub(super) pieces: mpsc::Sender<Vec<Piece>>,
    pub(super) stager: JoinHandle<Result<Stager>>,
    pub(super) letters: Vec<u8>,
    pub(super) letter_count: u64,
    /// Those of the table whose snapshot is being encoded.
    pub(super) table_letters: TableLetters,
    pub(super) changes: Vec<Change>,
    /// By the names of their tables.
    pub(super) rows: BTreeMap<Arc<str>, Vec<RowChange>>,
    pub(super) change_bytes: usize,
    pub(super) entry: SpanEntry,
    pub(super) hash: Xxh3,
    pub(super) encoded: u64,
    pub(super) deadline: Instant,
}

impl Run<'_> {
    /// Begins a span, with the moment that its plugins see.
    pub(super) fn begin_span(&mut self) -> Span {
        self.number += 1;
        let previous = self.last_write;
        let write_time = self.surroundings.clock.now().max(previous.saturating_add(1_000));
        self.last_write = write_time;
        let moment = Moment { write_time, seed: (self.surroundings.chance)() };
        let files = FileTable::new(&self.plan.name, &self.plan.partition);
        let (number, tables, replays) = (self.number, self.tables.as_of_now(), self.replay.is_some());
        let context = Arc::new(SpanContext { number, moment, files, tables, replays });
        let folder = self.stage_folder(self.number);
        let terms = Terms { mode: self.plan.files, format: self.format.clone(), folder };
        let stager = Stager::new(self.lake.clone(), terms, self.published.clone(), self.number);
        let (pieces, received) = mpsc::channel(4);
        let mut lasts = self.plan.flush.every;
        if let Some(dataset) = &self.dataset {
            let left = dataset.lasts(self.surroundings.clock.now()).map(Duration::from_micros);
            lasts = left.map_or(lasts, |left| lasts.min(left));
        } else if self.plan.timestamp == Timestamp::Write {
            // Files by write time hold what was read in their period: the span ends with it.
            let left = Period::of(write_time, self.plan.granularity).end() - write_time;
            lasts = lasts.min(Duration::from_micros(left.unsigned_abs()));
        }
        Span {
            context,
            ledger: Ledger::default(),
            pieces,
            stager: tokio::spawn(stager.take_all(received)),
            letters: Vec::new(),
            letter_count: 0,
            table_letters: TableLetters::default(),
            changes: Vec::new(),
            rows: BTreeMap::new(),
            change_bytes: 0,
            entry: SpanEntry::default(),
            hash: Xxh3::new(),
            encoded: 0,
            deadline: Instant::now() + lasts,
        }
    }

    /// Takes in what became of the oldest chunk.
    pub(super) async fn take(&mut self, processed: Processed) -> Result<()> {
        let is_dry = self.is_dry();
        let mut processed = processed;
        if processed.takes == Takes::Joining {
            // The first reader has counted them, and kept those that nobody understands.
            processed.records = 0;
            processed.dead.clear();
        }
        if let Some(dataset) = &self.dataset {
            let refused = std::mem::take(&mut processed.refused).into_iter();
            processed
                .dead
                .extend(refused.filter(|(table, _)| dataset.takes(table, processed.takes)).map(|(_, dead)| dead));
        }
        let span = self.span.as_mut().expect("a chunk is processed in a span");
        span.entry.records += processed.records;
        // One record from the future must not end every period.
        let now = self.surroundings.clock.now();
        self.seconds = self.seconds.or(processed.seconds);
        self.latest = self.latest.max(processed.latest.filter(|latest| *latest <= now));
        self.stages.add(processed.stages);
        if let Some(replay) = &mut self.replay {
            replay.refuse(std::mem::take(&mut processed.dead));
        }
        let time = DateTime::from_timestamp_micros(span.context.moment.write_time).unwrap_or_default();
        for dead in &processed.dead {
            if !processed.is_kept || span.table_letters.takes(dead, span.letters.len()) {
                Letter::new(dead, time).write(&mut span.letters);
                span.letter_count += 1;
            }
        }
        span.change_bytes += processed.changes.iter().map(Change::size).sum::<usize>();
        span.changes.extend(processed.changes);
        if let Some(dataset) = self.dataset.as_mut().filter(|_| processed.takes != Takes::Joining) {
            dataset.pass_over(&processed.passed_over);
        }
        let takes = |table: &str| self.dataset.as_ref().is_some_and(|dataset| dataset.takes(table, processed.takes));
        for (table, change) in processed.rows.into_iter().filter(|(table, _)| takes(table)) {
            span.change_bytes += change.size();
            span.rows.entry(table).or_default().push(change);
        }
        let dead = processed.dead.len() as u64;
        if !processed.is_kept {
            self.dead_letters += dead;
            Live::add(&self.live.dead_letters, dead);
            Live::add(&self.live.dead_letter_bytes, processed.dead.iter().map(|dead| dead.length).sum());
        }
        let (mut kept, mut kept_bytes) = (0, 0);
        let mut pieces = Vec::with_capacity(processed.segments.len());
        for (file, header) in processed.headers {
            // Chunks come in order here, so a file's header stands before its first record.
            if file.claim_header() {
                span.ledger.add_header(&file, header.len());
                pieces.push(Piece::Header(file, header));
            }
        }
        for (file, bytes, rows) in processed.segments {
            span.ledger.add(&file, rows, bytes.len());
            span.encoded += bytes.len() as u64;
            kept += u64::from(rows);
            kept_bytes += bytes.len() as u64;
            pieces.push(Piece::Rows(file, bytes));
        }
        Live::add(&self.live.records, processed.records);
        Live::add(&self.live.kept, kept);
        Live::add(&self.live.kept_bytes, kept_bytes);
        self.live.read(self.number, processed.records);
        if let Some(limit) = self.plan.max_dead_letters
            && self.dead_letters > limit
        {
            let reason = processed.dead.last().map_or("", |dead| dead.reason.as_str());
            let allowed = match &self.plan.excerpt {
                None => format!("`max-dead-letters` is {limit}"),
                Some(_) => format!("exporting a period again allows {limit}: those of before, and some more"),
            };
            return Err(Error::new(
                Kind::Data,
                format!("{} records were refused, and {allowed}; the last: {reason}", self.dead_letters),
            )
            .with_help("nothing of this span was committed: mend the input or the configuration, then run again"));
        }
        if !pieces.is_empty() && !is_dry && span.pieces.send(pieces).await.is_err() {
            let stager = self.span.take().map(|span| span.stager).expect("the span is under way");
            return Err(stager.await.map_or_else(|e| died(&e), |ended| ended.err().unwrap_or_else(|| died(&"early"))));
        }
        Ok(())
    }
}
