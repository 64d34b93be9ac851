//! Runs one export: cuts its stream into spans, and sees each one through lanes, stager and committer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::PARTITION;
use super::committer::{Ended, Provenance, commit_all, overtaken};
use super::feed::{Event, Feed};
use super::lane::{Lane, Processed, SpanContext, Stages};
use super::lanes::Lanes;
use crate::clock::Surroundings;
use crate::commit::letters::{self, Letter};
use crate::commit::{
    FileTable, Identity, Ledger, Outcome, Partition, Piece, Published, Series, SpanEntry, Stager, any_due, newest_owner,
};
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::layout::Period;
use crate::plan::{ExportPlan, Files, Timestamp};
use crate::plugin::{Moment, Toolbox};
use crate::source::{self, Extent, Position, ReadOptions};
use crate::telemetry::{ExportReport, Live};

/// Everything one run of an export needs.
pub struct Job {
    pub export: Arc<ExportPlan>,
    pub lake: Lake,
    pub toolbox: Arc<dyn Toolbox>,
    /// SHA-256 of every plugin, by name.
    pub plugins: BTreeMap<String, String>,
    pub surroundings: Surroundings,
    pub options: Options,
    pub live: Arc<Live>,
    /// Turns true when the run shall commit what it has read and stop.
    pub stop: watch::Receiver<bool>,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Keep reading what is appended or added.
    pub follow: bool,
    /// Threads that process.
    pub lanes: usize,
    /// Host and process, for people who read the log.
    pub writer: String,
}

/// Runs an export until its source ends or it is stopped. What was committed is in the report, whether or not an error ended it.
pub async fn run(job: Job) -> ExportReport {
    let started = Instant::now();
    let name = job.export.name.clone();
    let (report, counts) = watch::channel(ExportReport { export: name.clone(), ..ExportReport::default() });
    let mut stages = Stages::default();
    let mut warnings = Vec::new();
    let (lake, nonce) = (job.lake.clone(), job.surroundings.nonce());
    let mut result = export(job, nonce, report, &mut stages, &mut warnings).await;
    // An owner that was replaced meets files that it did not write, before it meets the log.
    if let Err(Error { kind: Kind::Lake, .. }) = &result
        && let Ok(Some(owner)) = newest_owner(&lake, &name, PARTITION).await
        && owner != nonce
    {
        result = Err(overtaken());
    }
    let mut report = counts.borrow().clone();
    report.seconds = started.elapsed().as_secs_f64();
    report.stages = stages;
    report.warnings = warnings;
    report.error = result.err();
    report
}

async fn export(
    job: Job,
    nonce: u128,
    report: watch::Sender<ExportReport>,
    stages: &mut Stages,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let identity = Identity { nonce, writer: job.options.writer.clone() };
    let (finals, final_positions) = std::sync::mpsc::channel();
    let acknowledge = move |position: &Position| {
        let _ = finals.send(position.clone());
    };
    let (partition, outcome) =
        Partition::open(job.lake.clone(), &job.export.name, PARTITION, identity, acknowledge).await?;
    if outcome == Outcome::Overtaken {
        return Err(overtaken());
    }
    let last = partition.last();
    let position = last.map(|commit| commit.position.clone()).unwrap_or_default();
    let series = last.map(|commit| commit.series.clone()).unwrap_or_default();
    let last_write = last.map_or(i64::MIN, |commit| commit.write_time.timestamp_micros());

    let moment = Moment { write_time: job.surroundings.clock.now(), seed: (job.surroundings.chance)() };
    let runtime = tokio::runtime::Handle::current();
    let (plan, toolbox, most) = (job.export.clone(), job.toolbox.clone(), job.options.lanes);
    // Plugins may block while they are opened.
    let lanes = tokio::task::spawn_blocking(move || open_lanes(&plan, &toolbox, &runtime, moment, most)).await;
    let lanes = lanes.map_err(|e| died(&e))??;
    let lanes = Lanes::start(lanes)?;

    let read = ReadOptions {
        follow: job.options.follow,
        live: job.live.clone(),
        run: format!("{:032x}", job.surroundings.nonce()),
    };
    let reader = source::open(&job.export.source, &position, read)?;
    let mut feed = Feed::start(reader, final_positions, job.export.flush.bytes)?;

    let settings = serde_json::to_vec(&job.export.settings).expect("settings have string keys only");
    let provenance = Provenance { configuration: hex::encode(Sha256::digest(settings)), plugins: job.plugins.clone() };
    let (ended, spans) = mpsc::channel(1);
    let (published_sender, published) = watch::channel(Published { number: 0, write_time: last_write });
    let folder = partition.folder().to_owned();
    let stage_root = partition.stage_root();
    let committer = tokio::spawn(commit_all(partition, provenance, spans, published_sender, report));

    let mut run = Run {
        plan: job.export,
        lake: job.lake,
        surroundings: job.surroundings,
        live: job.live,
        lanes,
        ended,
        published,
        folder,
        stage_root,
        position,
        series: Arc::new(series),
        last_write,
        number: 0,
        span: None,
        latest: None,
        caught_up: false,
        dead_letters: 0,
        stages,
    };
    let result = run.go(&mut feed, job.stop).await;
    warnings.extend(feed.warnings());
    drop(feed);
    // The committer ends when its sender is gone, after what it was sent.
    drop(run);
    let committed = committer.await.map_err(|e| died(&e))?;
    // Where the committer failed, the run failed only because nobody took its span.
    committed.and(result)
}

/// A lane for each of `most` threads; one where segments must be made in order, by one encoder.
fn open_lanes(
    plan: &Arc<ExportPlan>,
    toolbox: &Arc<dyn Toolbox>,
    runtime: &tokio::runtime::Handle,
    moment: Moment,
    most: usize,
) -> Result<Vec<Lane>> {
    let open = || Lane::open(plan.clone(), toolbox.clone(), runtime.clone(), moment);
    let mut lanes = vec![open()?];
    let appendable = lanes[0].appendable();
    if !appendable && plan.files != Files::Rolling {
        let format = &plan.format.plugin.name;
        return Err(Error::config(format!(
            "format `{format}` is not appendable: its files can neither grow nor be sealed"
        ))
        .with_help(format!("set `files = \"rolling\"` in [exports.{}]", plan.name)));
    }
    while appendable && lanes.len() < most {
        lanes.push(open()?);
    }
    Ok(lanes)
}

/// Files of one span after which it ends: each is an open descriptor or an upload while it is staged.
const MAX_FILES: usize = 256;
/// Bytes of dead letters after which a span ends: they wait in memory.
const MAX_LETTERS: usize = 16 << 20;

/// A run under way.
struct Run<'a> {
    plan: Arc<ExportPlan>,
    lake: Lake,
    surroundings: Surroundings,
    live: Arc<Live>,
    lanes: Lanes,
    ended: mpsc::Sender<Ended>,
    published: watch::Receiver<Published>,
    folder: String,
    stage_root: String,
    /// Where the source continues, after everything that was sent to lanes.
    position: Position,
    /// The files' state after the last span that ended.
    series: Arc<BTreeMap<String, Series>>,
    last_write: i64,
    /// The span under way, or the last one; the first is 1.
    number: u64,
    span: Option<Span>,
    /// The latest event time met. Microseconds since 1970-01-01T00:00:00Z.
    latest: Option<i64>,
    /// The source has nothing more for now.
    caught_up: bool,
    dead_letters: u64,
    stages: &'a mut Stages,
}

/// A span under way.
struct Span {
    context: Arc<SpanContext>,
    ledger: Ledger,
    pieces: mpsc::Sender<Vec<Piece>>,
    stager: JoinHandle<Result<Stager>>,
    letters: Vec<u8>,
    letter_count: u64,
    entry: SpanEntry,
    hash: Xxh3,
    encoded: u64,
    deadline: Instant,
}

impl Run<'_> {
    async fn go(&mut self, feed: &mut Feed, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut reading = true;
        loop {
            let cut = self.span.as_ref().is_some_and(|span| self.is_full(span) || span.deadline <= Instant::now());
            if (cut || !reading) && self.lanes.is_empty() {
                self.end_span(!reading).await?;
                if !reading {
                    break;
                }
                continue;
            }
            let deadline = self.span.as_ref().map(|span| span.deadline);
            tokio::select! {
                biased;
                processed = self.lanes.next() => self.take(processed?).await?,
                event = feed.next(), if reading && !cut && self.lanes.has_room() => match event? {
                    Event::Chunk(chunk) => {
                        self.caught_up = false;
                        self.send(chunk);
                    }
                    Event::Idle => self.idle(),
                    Event::End => {
                        self.caught_up = true;
                        reading = false;
                    }
                },
                () = at(deadline), if !cut => {}
                () = self.ended.closed() => return Err(died(&"the committer ended")),
                () = stopped(&mut stop), if reading => reading = false,
            }
        }
        Ok(())
    }

    fn is_full(&self, span: &Span) -> bool {
        span.entry.bytes.max(span.encoded) >= self.plan.flush.bytes
            || span.ledger.files() >= MAX_FILES
            || span.letters.len() >= MAX_LETTERS
    }

    /// Sends a chunk to the lanes, as part of the span under way or of a new one.
    fn send(&mut self, chunk: source::Chunk) {
        if self.span.is_none() {
            self.span = Some(self.begin_span());
        }
        let span = self.span.as_mut().expect("begun above");
        span.entry.bytes += chunk.data.len() as u64;
        span.hash.update(&chunk.data);
        join(&mut span.entry.extents, &chunk.extent);
        self.position.advance(&chunk.extent);
        Live::add(&self.live.bytes, chunk.data.len() as u64);
        self.lanes.send(chunk, span.context.clone());
    }

    /// Nothing to read: files may be due all the same.
    fn idle(&mut self) {
        self.caught_up = true;
        if self.span.is_none() && any_due(&self.series, self.plan.files, self.surroundings.clock.now()) {
            let mut span = self.begin_span();
            span.deadline = Instant::now();
            self.span = Some(span);
        }
    }

    fn begin_span(&mut self) -> Span {
        self.number += 1;
        let previous = self.last_write;
        let write_time = self.surroundings.clock.now().max(previous.saturating_add(1_000));
        self.last_write = write_time;
        let moment = Moment { write_time, seed: (self.surroundings.chance)() };
        let files = FileTable::new(
            self.lake.clone(),
            (&self.plan.name, PARTITION),
            self.plan.files,
            self.series.clone(),
            self.published.clone(),
            self.number - 1,
        );
        let context = Arc::new(SpanContext { number: self.number, moment, files });
        let stager =
            Stager::new(self.lake.clone(), self.stage_folder(self.number), self.published.clone(), self.number);
        let (pieces, received) = mpsc::channel(4);
        let mut lasts = self.plan.flush.every;
        if self.plan.timestamp == Timestamp::Write {
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
            entry: SpanEntry::default(),
            hash: Xxh3::new(),
            encoded: 0,
            deadline: Instant::now() + lasts,
        }
    }

    fn stage_folder(&self, number: u64) -> String {
        format!("{}/{number:010}", self.stage_root)
    }

    /// Takes in what became of the oldest chunk.
    async fn take(&mut self, processed: Processed) -> Result<()> {
        let span = self.span.as_mut().expect("a chunk is processed in a span");
        span.entry.records += processed.records;
        // One record from the future must not end every period.
        let now = self.surroundings.clock.now();
        self.latest = self.latest.max(processed.latest.filter(|latest| *latest <= now));
        self.stages.add(processed.stages);
        let time = DateTime::from_timestamp_micros(span.context.moment.write_time).unwrap_or_default();
        for dead in &processed.dead {
            Letter::new(dead, time).write(&mut span.letters);
        }
        let dead = processed.dead.len() as u64;
        span.letter_count += dead;
        self.dead_letters += dead;
        let mut kept = 0;
        let mut pieces = Vec::with_capacity(processed.segments.len());
        for (file, header) in processed.headers {
            // Chunks come in order here, so a file's beginning stands before its first record.
            if file.claim_beginning() {
                span.ledger.add(&file, 0, header.len());
                pieces.push((file, header));
            }
        }
        for (file, bytes, rows) in processed.segments {
            span.ledger.add(&file, rows, bytes.len());
            span.encoded += bytes.len() as u64;
            kept += u64::from(rows);
            pieces.push((file, bytes));
        }
        Live::add(&self.live.records, processed.records);
        Live::add(&self.live.kept, kept);
        Live::add(&self.live.dead_letters, dead);
        if let Some(limit) = self.plan.max_dead_letters
            && self.dead_letters > limit
        {
            let reason = processed.dead.last().map_or("", |dead| dead.reason.as_str());
            return Err(Error::new(
                Kind::Data,
                format!(
                    "{} records were refused, and `max-dead-letters` is {limit}; the last: {reason}",
                    self.dead_letters
                ),
            )
            .with_help("nothing of this span was committed: mend the input or the configuration, then run again"));
        }
        if !pieces.is_empty() && span.pieces.send(pieces).await.is_err() {
            let stager = self.span.take().map(|span| span.stager).expect("the span is under way");
            return Err(stager.await.map_or_else(|e| died(&e), |ended| ended.err().unwrap_or_else(|| died(&"early"))));
        }
        Ok(())
    }

    /// Ends the span under way, if there is one, and hands it to the committer.
    async fn end_span(&mut self, last: bool) -> Result<()> {
        let due = self.due();
        if last && self.span.is_none() && any_due(&self.series, self.plan.files, due) {
            self.span = Some(self.begin_span());
        }
        let Some(mut span) = self.span.take() else { return Ok(()) };
        if !self.lanes.appendable() {
            let mut trailers = Vec::new();
            for (file, bytes) in self.lanes.finish_files().await? {
                span.ledger.add(&file, 0, bytes.len());
                trailers.push((file, bytes));
            }
            let _ = span.pieces.send(trailers).await;
        }
        let write_time = span.context.moment.write_time;
        let mut series = BTreeMap::clone(&self.series);
        let closing = span.ledger.close(&mut series, self.plan.files, &self.stage_folder(self.number), write_time, due);
        span.entry.hash = format!("{:032x}", span.hash.digest128());
        let letters = (span.letter_count > 0).then(|| {
            let time = DateTime::from_timestamp_micros(write_time).unwrap_or_default();
            let time = time.to_rfc3339_opts(SecondsFormat::Micros, true).replace(':', "");
            (format!("{}/{time}.ndjson", letters::folder(&self.folder)), span.letters, span.letter_count)
        });
        let ended = Ended {
            number: self.number,
            stager: span.stager,
            closing,
            letters,
            write_time,
            seed: span.context.moment.seed,
            span: span.entry,
            position: self.position.clone(),
            series: series.clone(),
        };
        drop(span.pieces);
        self.series = Arc::new(series);
        // The committer's own error is the one that is reported.
        self.ended.send(ended).await.map_err(|_| died(&"the committer ended"))
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

fn died(why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a task of the export died: {why}"))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop the run.
        std::future::pending().await
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Adds an extent to a span's, in one piece with the last one where it continues it.
fn join(extents: &mut Vec<Extent>, next: &Extent) {
    match extents.last_mut() {
        Some(last) if last.origin.name == next.origin.name && last.next == next.first => {
            last.origin = next.origin.clone();
            last.next = next.next;
            last.dropped += next.dropped;
        }
        _ => extents.push(next.clone()),
    }
}
