//! Commits spans one after the other, on a task of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;
use tracing::field::Empty;
use xxhash_rust::xxh3::xxh3_64;

use super::replay::{Outcome as Settled, Replayed};
use super::run::{Kept, TOLERANCE, Tabled};
use crate::commit::{
    Draft, Ledger, Object, Outcome, Partition, Publication, Published, SpanEntry, Stager, Totals, abandon,
};
use crate::error::{Error, Kind, Result};
use crate::source::Position;
use crate::telemetry::{CommitLog, Done, ExportReport, Live, Owner};

/// A span that has ended.
pub struct Ended {
    pub number: u64,
    pub stager: JoinHandle<Result<Stager>>,
    pub ledger: Ledger,
    /// Periods are over up to here. Microseconds since 1970-01-01T00:00:00Z.
    pub due: i64,
    /// Objects of dead letters: their keys, their lines, and how many there are.
    pub letters: Vec<(String, Vec<u8>, u64)>,
    /// How many records were refused.
    pub dead_letters: u64,
    /// What became of dead letters, where the span is of those.
    pub replayed: Option<Settled>,
    pub write_time: i64,
    pub seed: u64,
    pub span: SpanEntry,
    pub position: Position,
    /// What the span made of the export's table, or tables, where it has some.
    pub table: Option<Tabled>,
}

/// What every commit of a run says alike.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// SHA-256 of the export's settings.
    pub configuration: String,
    /// SHA-256 of every plugin, by name.
    pub plugins: BTreeMap<String, String>,
}

/// What the commits of a run have in common, and whom they are told to.
pub struct Commits {
    pub provenance: Provenance,
    pub published: watch::Sender<Published>,
    pub report: watch::Sender<ExportReport>,
    pub log: CommitLog,
    pub live: Arc<Live>,
    /// Who commits; the epoch is known once the partition is taken over.
    pub owner: Owner,
}

/// Commits what it is sent until the sender is gone; answers with the counts of what was committed.
///
/// # Errors
/// Of kind `Lake`, or `Fenced` where another owner has taken over. What was sent and not committed is left as it is: the next
/// run reads it again.
pub async fn commit_all(partition: Partition, mut ended: mpsc::Receiver<Ended>, commits: Commits) -> Result<()> {
    let result = commit_each(partition, &mut ended, commits).await;
    // Only now: stagers wait for what is published, and its sender has to be gone.
    ended.close();
    while let Some(span) = ended.recv().await {
        abandon(span.stager).await;
    }
    result
}

async fn commit_each(mut partition: Partition, ended: &mut mpsc::Receiver<Ended>, commits: Commits) -> Result<()> {
    let Commits { provenance, published, report, mut log, live, owner } = commits;
    live.set_owner(Owner { epoch: partition.epoch(), ..owner.clone() });
    let mut grown = Grown::default();
    while let Some(span) = ended.recv().await {
        let stager = span.stager.await.map_err(|e| Error::internal(format!("the staging task died: {e}")))??;
        let dead_letters = span.dead_letters;
        let mut objects = stager.finish(span.ledger, (span.write_time, span.due), span.letters).await?;
        let (rows, bytes, files) = (objects.rows, objects.bytes, objects.visible);
        let (grown, grown_before) = grown.count(&objects.objects);
        let (mut table, mut dataset) = (None, None);
        if let Some(tabled) = span.table {
            objects.objects.extend(tabled.written);
            objects.obsolete.extend(tabled.obsolete);
            (table, dataset) = match tabled.state {
                Kept::Table(state) => (Some(state), None),
                Kept::Dataset(state) => (None, Some(*state)),
            };
        }
        let before = partition.last().map_or(Totals::default(), |commit| commit.totals);
        // Records of dead letters were read and counted before.
        let (new_bytes, new_records) = match &span.replayed {
            Some(_) => (0, 0),
            None => (span.span.bytes, span.span.records),
        };
        let replays = span.replayed.is_some();
        let (mut more, mut replayed) = (0, Replayed::default());
        if let Some(outcome) = span.replayed {
            objects.obsolete.extend(outcome.obsolete);
            (more, replayed) = (outcome.more, outcome.counts);
        }
        let totals = Totals {
            bytes_read: before.bytes_read + new_bytes,
            records_read: before.records_read + new_records,
            records_written: before.records_written + rows,
            bytes_written: before.bytes_written + bytes,
            files: before.files + files.saturating_sub(grown),
            dead_letters: (before.dead_letters + dead_letters).saturating_add_signed(more),
            replayed: before.replayed + replayed.replayed,
            commits: before.commits + 1,
        };
        let (read, records) = (span.span.bytes, span.span.records);
        let write_time = chrono::DateTime::from_timestamp_micros(span.write_time)
            .ok_or_else(|| Error::internal(format!("the clock shows `{}` µs", span.write_time)))?;
        partition.check_clock(write_time, Duration::from_micros(TOLERANCE.unsigned_abs())).await?;
        let draft = Draft {
            write_time,
            seed: span.seed,
            configuration: provenance.configuration.clone(),
            plugins: provenance.plugins.clone(),
            span: span.span,
            position: span.position,
            objects: objects.objects,
            obsolete: objects.obsolete,
            series: objects.series,
            table,
            dataset,
            totals,
        };
        let began = Instant::now();
        let traced = tracing::info_span!(
            target: "otel",
            "commit",
            lakeport.export = owner.export,
            lakeport.partition = owner.partition,
            lakeport.records.read = records,
            lakeport.records.written = rows,
            lakeport.dead_letters = dead_letters,
            lakeport.files = files,
            error = Empty
        );
        let outcome = partition.commit(draft).instrument(traced.clone()).await;
        let result = match &outcome {
            Ok(Outcome::Done) => "ok",
            Ok(Outcome::Overtaken) => "overtaken",
            Err(_) => "failed",
        };
        if result != "ok" {
            traced.record("error", result);
        }
        live.commit_durations.observe("commit", result, began.elapsed());
        if outcome? == Outcome::Overtaken {
            return Err(overtaken(None));
        }
        report.send_modify(|report| {
            report.bytes_read += read;
            report.records_read += records;
            report.records_written += rows;
            report.bytes_written += bytes;
            report.files += files.saturating_sub(grown_before);
            report.dead_letters += dead_letters;
            report.commits += 1;
            if replays {
                report.replay.get_or_insert_default().add(&replayed);
            }
        });
        live.committed(span.number);
        Live::add(&live.written, rows);
        Live::add(&live.written_bytes, bytes);
        Live::add(&live.files, files.saturating_sub(grown_before));
        log.committed(Done {
            commits: 1,
            records_read: records,
            records_written: rows,
            bytes_written: bytes,
            files,
            dead_letters,
        });
        let series = partition.last().map(|commit| commit.series.clone()).unwrap_or_default();
        let _ = published.send(Published { number: span.number, series: Arc::new(series) });
    }
    Ok(())
}

/// Files that were begun or grew in this run, so that each is counted once however often it grows.
#[derive(Default)]
struct Grown(HashSet<u64>);

impl Grown {
    /// The most files that are told apart.
    const MOST: usize = 1 << 20;

    /// How many of a commit's objects extend a file, and how many of those are known already.
    fn count(&mut self, objects: &[Object]) -> (u64, u64) {
        if self.0.len() > Self::MOST {
            self.0.clear();
        }
        let (mut grown, mut known) = (0, 0);
        for object in objects {
            let Publication::Grow { base, .. } = &object.publication else { continue };
            let is_new = self.0.insert(xxh3_64(object.key.as_bytes()));
            grown += u64::from(base.is_some());
            known += u64::from(base.is_some() && !is_new);
        }
        (grown, known)
    }
}

/// The error of an owner that was replaced, where it is known by whom.
pub fn overtaken(writer: Option<&str>) -> Error {
    let by = writer.map_or_else(|| "another owner".to_owned(), |writer| format!("`{writer}` (host:process)"));
    Error::new(Kind::Fenced, format!("{by} has taken this export over"))
        .with_help("one lakeport at a time may run an export: stop the other one, or let it go on and start nothing")
}
