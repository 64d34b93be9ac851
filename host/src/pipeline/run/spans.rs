//! The loop of a run: cuts the stream into spans, and hands each one, done, to the committer.

use std::sync::Arc;

use chrono::DateTime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::dataset::Dataset;
use super::died;
use super::events::{Read, at, either, join, stopped};
use super::joining::Takes;
use super::keeper::Keeper;
use super::replay::Replaying;
use super::span::Span;
use super::table::Table;
use crate::clock::Surroundings;
use crate::commit::{Piece, Published, abandon, any_due, letters};
use crate::error::Result;
use crate::lake::Lake;
use crate::pipeline::committer::Ended;
use crate::pipeline::feed::{Event, Feed};
use crate::pipeline::lanes::Lanes;
use crate::pipeline::lookup::Tables;
use crate::pipeline::processed::Stages;
use crate::plan::{ExportPlan, Timestamp};
use crate::source::{self, Position, ReadOptions, Source};
use crate::telemetry::{Live, Pace};
use crate::wait::until;

/// Files of one span after which it ends: each is an open descriptor or an upload while it is staged.
const MAX_FILES: usize = 256;
/// Bytes of dead letters after which a span ends: they wait in memory.
const MAX_LETTERS: usize = 16 << 20;
/// Bytes of changes after which it ends: they wait in memory until they meet the documents that they change.
const MAX_CHANGES: usize = 64 << 20;

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) plan: Arc<ExportPlan>,
    pub(super) lake: Lake,
    pub(super) source: Arc<dyn Source>,
    pub(super) surroundings: Surroundings,
    pub(super) live: Arc<Live>,
    pub(super) lanes: Lanes,
    pub(super) ended: mpsc::Sender<Ended>,
    pub(super) published: watch::Receiver<Published>,
    /// What files are encoded with; see [`crate::commit::Series::format`].
    pub(super) format: Arc<str>,
    pub(super) folder: String,
    pub(super) keeper: Keeper,
    /// Where this owner stages, once it has taken the partition over.
    pub(super) stage_root: String,
    /// Where the source continues, after everything that was sent to lanes.
    pub(super) position: Position,
    /// How the source is read.
    pub(super) read: ReadOptions,
    pub(super) last_write: i64,
    /// The span under way, or the last one; the first is 1.
    pub(super) number: u64,
    pub(super) span: Option<Span>,
    /// The latest event time met. Microseconds since 1970-01-01T00:00:00Z.
    pub(super) latest: Option<i64>,
    /// An event time that looks as if its seconds were read as milliseconds, likewise.
    pub(super) seconds: Option<i64>,
    /// What the documents of the export are, where it exports changes.
    pub(super) table: Option<Table>,
    /// The tables, where it exports those.
    pub(super) dataset: Option<Dataset>,
    /// The tables of other exports, for lookups.
    pub(super) tables: Tables,
    /// Told once the table holds what the source had when it was first read to its end.
    pub(super) settled: Option<watch::Sender<bool>>,
    /// The source has nothing more for now.
    pub(super) caught_up: bool,
    /// It was read to its end once, and the span that this was in.
    pub(super) has_reached: bool,
    pub(super) settles_with: u64,
    /// It was stopped before its source ended, and does not keep on for ever.
    pub(super) is_interrupted: bool,
    /// Of lines about renamed files.
    pub(super) renames: Pace,
    pub(super) dead_letters: u64,
    /// Of a run whose records are those of dead letters.
    pub(super) replay: Option<Replaying>,
    pub(super) stages: &'a mut Stages,
}

impl Run<'_> {
    /// Runs until the source ends or `stop` turns true.
    pub(super) async fn go(&mut self, feed: &mut Feed, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut reading = true;
        let mut second = self.second()?;
        // The first reader stands still until the second one is where it is.
        let mut waits = false;
        let mut stopping = false;
        loop {
            let may_cut = self.replay.as_ref().is_none_or(Replaying::may_end);
            let cut = self.span.as_ref().is_some_and(|span| self.is_full(span) || span.deadline <= Instant::now());
            let cut = cut && may_cut;
            let over = !reading && (stopping || !second.is_at_work());
            if (cut || over) && self.lanes.is_empty() {
                self.end_span(over).await?;
                if over {
                    break;
                }
                continue;
            }
            let deadline = self.span.as_ref().map(|span| span.deadline);
            tokio::select! {
                biased;
                processed = self.lanes.next() => self.take(processed?).await?,
                event = either(feed, reading && !waits, &mut second), if !over && !cut && self.lanes.has_room() => match event? {
                    Read::Second(event) => {
                        self.begin_to_commit().await?;
                        waits = self.caught(event, &mut second)?;
                    }
                    Read::First(Event::Chunk(chunk)) => {
                        self.begin_to_commit().await?;
                        self.caught_up = false;
                        self.send(chunk);
                    }
                    Read::First(Event::Reached) => self.reached(),
                    Read::First(Event::Idle) => self.idle().await?,
                    Read::First(Event::Commit) => self.commit_now(),
                    Read::First(Event::End) => {
                        self.caught_up = true;
                        // The end of the dead letters is not that of the source.
                        self.has_reached = self.replay.is_none();
                        self.live.at_work.send_replace(true);
                        reading = false;
                    }
                },
                () = at(deadline), if !cut && may_cut => {}
                () = self.ended.closed() => return Err(died(&"the committer ended")),
                () = stopped(&mut stop), if !stopping => {
                    self.is_interrupted = !self.read.follow && (reading || second.is_at_work());
                    (reading, stopping) = (false, true);
                }
            }
        }
        Ok(())
    }

    /// Lets the span under way end with what was read so far.
    fn commit_now(&mut self) {
        if let Some(span) = &mut self.span {
            span.deadline = Instant::now();
        }
    }

    fn is_full(&self, span: &Span) -> bool {
        span.entry.bytes.max(span.encoded) >= self.plan.flush.bytes
            || span.ledger.files() >= MAX_FILES
            || span.letters.len() >= MAX_LETTERS
            || span.change_bytes >= MAX_CHANGES
            || self.replay.as_ref().is_some_and(Replaying::is_full)
    }

    /// Sends a chunk to the lanes, as part of the span under way or of a new one.
    fn send(&mut self, chunk: source::Chunk) {
        match &self.dataset {
            None => self.send_part(chunk, Takes::All),
            Some(dataset) => {
                for (chunk, takes) in dataset.divide(chunk) {
                    self.send_part(chunk, takes);
                }
            }
        }
    }

    fn send_part(&mut self, chunk: source::Chunk, takes: Takes) {
        if chunk.data.is_empty() && chunk.extent.first == chunk.extent.next && self.renames.is_due() {
            let name = &chunk.extent.origin.name;
            match &chunk.extent.copy_of {
                Some(original) => tracing::info!(
                    export = self.plan.name,
                    "`{name}` is a copy of `{original}` and goes on where that was"
                ),
                None => tracing::info!(export = self.plan.name, "a file was renamed and goes on as `{name}`"),
            }
        }
        let span = self.span_under_way();
        span.entry.bytes += chunk.data.len() as u64;
        span.hash.update(&chunk.data);
        join(&mut span.entry.extents, &chunk.extent);
        let context = span.context.clone();
        match &mut self.replay {
            Some(replay) => replay.send(&chunk),
            None => self.position.advance(&chunk.extent),
        }
        Live::add(&self.live.bytes, chunk.data.len() as u64);
        self.lanes.send(chunk, takes, context);
    }

    /// The span under way; a new one where there is none.
    pub(super) fn span_under_way(&mut self) -> &mut Span {
        if self.span.is_none() {
            self.span = Some(self.begin_span());
        }
        self.span.as_mut().expect("begun above")
    }

    /// Nothing to read: files may be due all the same.
    async fn idle(&mut self) -> Result<()> {
        self.caught_up = true;
        if self.has_reached {
            self.reached();
        }
        if self.span.is_none() && self.is_due(self.surroundings.clock.now()) {
            self.begin_to_commit().await?;
            let mut span = self.begin_span();
            span.deadline = Instant::now();
            self.span = Some(span);
        }
        Ok(())
    }

    /// Takes the partition over, unless that was done: there is something to commit. A run without news leaves nothing behind.
    async fn begin_to_commit(&mut self) -> Result<()> {
        if !self.is_dry()
            && let Some(stage_root) = self.keeper.begin().await?
        {
            self.stage_root = stage_root;
        }
        Ok(())
    }

    /// The source was read to what was its end a moment ago. The first time, that is committed at once, since lookups of other
    /// exports wait for it; once it is published they are told.
    fn reached(&mut self) {
        let has_reached = std::mem::replace(&mut self.has_reached, true);
        self.live.at_work.send_replace(true);
        if let (Some(span), true) =
            (&mut self.span, self.dataset.as_ref().is_some_and(|dataset| dataset.syncs(!has_reached)))
        {
            span.deadline = Instant::now();
        }
        let Some(settled) = &self.settled else { return };
        if !has_reached {
            self.settles_with = self.number;
            if let Some(span) = &mut self.span {
                span.deadline = Instant::now();
            }
        }
        if self.published.borrow().number >= self.settles_with {
            settled.send_replace(true);
            self.settled = None;
        }
    }

    /// Whether there is something to write without reading anything.
    fn is_due(&self, due: i64) -> bool {
        let now = self.surroundings.clock.now();
        let snapshot = self.table.as_ref().is_some_and(|table| table.is_due(now))
            || self.dataset.as_ref().is_some_and(|dataset| dataset.is_due(now, self.has_reached));
        // While commits are on their way, what they seal seems to wait still.
        let published = self.published.borrow();
        snapshot || published.number == self.number && any_due(&published.series, self.plan.files, due)
    }

    pub(super) fn stage_folder(&self, number: u64) -> String {
        format!("{}/{number:010}", self.stage_root)
    }

    /// Ends the span under way, if there is one, and hands it to the committer.
    async fn end_span(&mut self, last: bool) -> Result<()> {
        let due = self.due();
        if last && self.span.is_none() {
            self.wait_for_commit(self.number).await;
        }
        let unsaved = self.table.as_ref().is_some_and(Table::is_unsaved)
            || self.dataset.as_ref().is_some_and(Dataset::is_unsaved);
        // A replay without letters has nothing to write.
        let begins = self.replay.is_none() || self.number > 0 && !self.is_dry();
        if last && begins && self.span.is_none() && (unsaved || self.is_due(due)) {
            self.begin_to_commit().await?;
            self.span = Some(self.begin_span());
        }
        if self.span.is_none() {
            return Ok(());
        }
        if self.is_dry() {
            self.end_dry_span();
            return Ok(());
        }
        let table = match (&self.table, &self.dataset) {
            (Some(_), _) => Some(self.write_table(last).await?),
            (None, Some(_)) => Some(self.write_tables().await?),
            (None, None) => None,
        };
        let mut span = self.span.take().expect("it was there three lines above");
        if !self.lanes.appendable() {
            let mut trailers = Vec::new();
            for (file, bytes) in self.lanes.finish_files().await? {
                span.ledger.add(&file, 0, bytes.len());
                trailers.push(Piece::Rows(file, bytes));
            }
            let _ = span.pieces.send(trailers).await;
        }
        let write_time = span.context.moment.write_time;
        span.entry.hash = format!("{:032x}", span.hash.digest128());
        let time = DateTime::from_timestamp_micros(write_time).unwrap_or_default();
        let mut replayed = self.replay.as_mut().map(|replay| replay.settle(time));
        let mut letters = replayed.as_mut().map_or_else(Vec::new, |outcome| outcome.take_objects(&self.folder, time));
        if span.letter_count > 0 {
            let key = format!("{}/{}.ndjson", letters::folder(&self.folder), letters::named(time));
            letters.push((key, span.letters, span.letter_count));
        }
        let ended = Ended {
            number: self.number,
            stager: span.stager,
            ledger: span.ledger,
            due,
            letters,
            dead_letters: span.letter_count,
            replayed,
            write_time,
            seed: span.context.moment.seed,
            span: span.entry,
            position: self.position.clone(),
            table,
        };
        drop(span.pieces);
        if let Err(unsent) = self.ended.send(ended).await {
            abandon(unsent.0.stager).await;
            // The committer's own error is the one that is reported.
            return Err(died(&"the committer ended"));
        }
        Ok(())
    }

    /// Waits until commit `number` of this run is published.
    pub(super) async fn wait_for_commit(&mut self, number: u64) {
        // A sender that is gone belongs to a run that failed; its error is reported where it happened.
        let _ = until(&mut self.published, |published| published.number >= number).await;
    }

    /// Up to when periods are over. By event time, a source that lags decides: its clock is the latest event met.
    fn due(&self) -> i64 {
        let now = self.surroundings.clock.now();
        match self.plan.timestamp {
            Timestamp::Event { .. } if !self.caught_up => self.latest.map_or(i64::MIN, |latest| latest.min(now)),
            _ => now,
        }
    }
}
