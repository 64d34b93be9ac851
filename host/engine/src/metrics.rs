//! What the product tells of itself: exports and write-ahead logs, as the server shows them at `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lakeport::telemetry::Live;
use lakeport_serve::{Family, FamilyKind, Sample};
use lakeport_wal::{BUCKETS, Flushes, Stats};

use crate::logs::Logs;

/// The families of exports and logs. Counts are since the process started.
pub(crate) fn families(logs: &Logs, exports: &[(String, Arc<Live>)]) -> Vec<Family> {
    let counter = |name: &str, help: &str, of: fn(&Live) -> &AtomicU64| {
        let sample = |(export, live): &(String, Arc<Live>)| sample("", &[("export", export)], count(of(live)));
        Family {
            name: name.to_owned(),
            help: help.to_owned(),
            kind: FamilyKind::Counter,
            samples: exports.iter().map(sample).collect(),
        }
    };
    let mut families = vec![
        counter("lakeport_export_read_bytes_total", "Bytes that the export read from its source.", |live| &live.bytes),
        counter("lakeport_export_records_total", "Records that the export read from its source.", |live| &live.records),
        counter("lakeport_export_kept_records_total", "Records that were written to files.", |live| &live.kept),
        counter("lakeport_export_dead_letters_total", "Records that were refused.", |live| &live.dead_letters),
        counter("lakeport_export_commits_total", "Commits to the lake.", |live| &live.commits),
    ];
    families.push(Family {
        name: "lakeport_export_lag_bytes".to_owned(),
        help: "Bytes of the write-ahead log that the export has not committed.".to_owned(),
        kind: FamilyKind::Gauge,
        samples: lag(logs),
    });
    let logs: Vec<_> = logs.iter().map(|(name, log)| (name, log.wal.stats())).collect();
    let of_logs = |name: &str, help: &str, kind: FamilyKind, of: fn(&Stats) -> u64| {
        let sample = |(source, stats): &(&str, Stats)| sample("", &[("source", source)], of(stats) as f64);
        Family { name: name.to_owned(), help: help.to_owned(), kind, samples: logs.iter().map(sample).collect() }
    };
    let (counter, gauge) = (FamilyKind::Counter, FamilyKind::Gauge);
    families.extend([
        of_logs("lakeport_wal_bytes", "Bytes of the write-ahead log's files.", gauge, |stats| stats.bytes),
        of_logs("lakeport_wal_segments", "Files of the write-ahead log.", gauge, |stats| stats.segments),
        of_logs("lakeport_wal_queued_bytes", "Bytes that wait to be written.", gauge, |stats| stats.queued_bytes),
        of_logs("lakeport_wal_records_total", "Records that were appended.", counter, |stats| stats.records),
        of_logs("lakeport_wal_duplicates_total", "Records that were there already.", counter, |stats| stats.duplicates),
        of_logs("lakeport_wal_keys", "Idempotency keys that are remembered.", gauge, |stats| stats.keys),
        of_logs("lakeport_wal_keys_dropped_total", "Keys forgotten before their time.", counter, |stats| {
            stats.keys_dropped
        }),
        of_logs("lakeport_wal_busy_total", "Batches refused since too many wait.", counter, |stats| stats.busy),
        of_logs("lakeport_wal_full_total", "Batches refused since the log is full.", counter, |stats| stats.full),
        of_logs("lakeport_wal_failed_total", "Batches that could not be written.", counter, |stats| stats.failed),
    ]);
    families.push(Family {
        name: "lakeport_wal_flush_duration_seconds".to_owned(),
        help: "Time of a flush of the write-ahead log to the disk.".to_owned(),
        kind: FamilyKind::Histogram,
        samples: logs.iter().flat_map(|(source, stats)| flushes(source, &stats.flushes)).collect(),
    });
    families
}

fn lag(logs: &Logs) -> Vec<Sample> {
    let of_log = |(source, log): (&str, &crate::logs::SourceLog)| {
        let (first, next) = (log.wal.first(), log.wal.next());
        let lag = |exported: Option<u64>| next.saturating_sub(exported.unwrap_or(first)) as f64;
        let one = |(export, exported): (&String, &Option<u64>)| {
            sample("", &[("export", export), ("source", source)], lag(*exported))
        };
        log.exported().iter().map(one).collect::<Vec<_>>()
    };
    logs.iter().flat_map(of_log).collect()
}

/// A histogram's samples; its buckets are cumulative.
fn flushes(source: &str, flushes: &Flushes) -> Vec<Sample> {
    let bounds = BUCKETS.iter().map(|micros| (*micros as f64 / 1e6).to_string()).chain(["+Inf".to_owned()]);
    let mut total = 0;
    let buckets = bounds.zip(flushes.buckets).map(|(bound, count)| {
        total += count;
        sample("_bucket", &[("source", source), ("le", &bound)], total as f64)
    });
    let mut samples: Vec<_> = buckets.collect();
    samples.push(sample("_sum", &[("source", source)], flushes.sum.as_secs_f64()));
    samples.push(sample("_count", &[("source", source)], flushes.count as f64));
    samples
}

fn count(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

fn sample(suffix: &'static str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { suffix, labels, value }
}
