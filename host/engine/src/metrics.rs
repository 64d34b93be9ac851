//! What the product tells of itself: exports and write-ahead logs, as the server shows them at `/metrics`.
//!
//! `docs/metrics.md` is the reference. Labels are names from the configuration and from the code, never from records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakeport::plugin::Usage;
use lakeport::telemetry::{BOUNDS, Histogram, Live, State};
use lakeport_serve::{Family, FamilyKind, Sample};
use lakeport_wal::{BUCKETS, Flushes, Stats};

use crate::logs::Logs;

/// An export that runs in this process.
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) lake: String,
    /// One for each partition.
    pub(crate) live: Vec<Arc<Live>>,
}

/// The families of exports, plugins, stores and logs. Counts are since the process started; those of an export's partitions are
/// added up.
pub(crate) fn families(logs: Option<&Logs>, exports: &[Export]) -> Vec<Family> {
    let mut families = counters(exports);
    families.extend(lags(logs, exports));
    families.extend(states(exports));
    families.extend(durations(exports));
    families.extend(plugins(exports));
    families.extend(logs.into_iter().flat_map(of_logs));
    families.extend(logs.map(unread));
    families
}

fn counters(exports: &[Export]) -> Vec<Family> {
    let counter = |name: &str, help: &str, of: fn(&Live) -> &AtomicU64| {
        let sum = |export: &Export| export.live.iter().map(|live| of(live).load(Ordering::Relaxed)).sum::<u64>();
        let one = |export: &Export| sample("", &[("export", &export.name)], sum(export) as f64);
        family(name, help, FamilyKind::Counter, exports.iter().map(one).collect())
    };
    vec![
        counter("lakeport_export_read_bytes_total", "Bytes that were read from the source.", |live| &live.bytes),
        counter("lakeport_export_records_total", "Records that were read from the source.", |live| &live.records),
        counter("lakeport_export_kept_records_total", "Records that are in files or are staged.", |live| &live.kept),
        counter("lakeport_export_kept_bytes_total", "Bytes of files that they became.", |live| &live.kept_bytes),
        counter("lakeport_export_dead_letters_total", "Records that were refused.", |live| &live.dead_letters),
        counter("lakeport_export_dead_letter_bytes_total", "Bytes of records that were refused.", |live| {
            &live.dead_letter_bytes
        }),
        counter("lakeport_export_written_records_total", "Records in files that were committed.", |live| &live.written),
        counter("lakeport_export_written_bytes_total", "Bytes of files that were committed.", |live| {
            &live.written_bytes
        }),
        counter("lakeport_export_files_total", "Files that appeared in the lake.", |live| &live.files),
        counter("lakeport_export_commits_total", "Commits to the lake.", |live| &live.commits),
        counter("lakeport_export_restarts_total", "How often the export failed and ran again.", |live| &live.restarts),
    ]
}

/// What is read or accepted and not committed.
fn lags(logs: Option<&Logs>, exports: &[Export]) -> Vec<Family> {
    let (mut bytes, mut records, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    let mut push = |export: &Export, count: u64, age: Duration| {
        records.push(sample("", &[("export", &export.name)], count as f64));
        seconds.push(sample("", &[("export", &export.name)], age.as_secs_f64()));
    };
    for export in exports {
        let Some(log) = logs.and_then(|logs| logs.get(&export.source)) else {
            let backlogs = export.live.iter().map(|live| live.backlog());
            let (records, age) = backlogs
                .fold((0, Duration::ZERO), |(records, age), backlog| (records + backlog.records, age.max(backlog.age)));
            push(export, records, age);
            continue;
        };
        let exported = log.exported_by(&export.name);
        let backlog = log.wal.backlog(exported);
        push(export, backlog.records, backlog.age);
        let open = log.wal.next().saturating_sub(exported);
        bytes.push(sample("", &[("export", &export.name), ("source", &export.source)], open as f64));
    }
    let gauge = |name: &str, help: &str, samples| family(name, help, FamilyKind::Gauge, samples);
    vec![
        gauge("lakeport_export_lag_bytes", "Bytes of the write-ahead log that are not committed.", bytes),
        gauge(
            "lakeport_export_lag_records",
            "Records that are not committed: of the write-ahead log, or those that were read.",
            records,
        ),
        gauge("lakeport_export_lag_seconds", "Age of the oldest of them.", seconds),
    ]
}

fn states(exports: &[Export]) -> Vec<Family> {
    let (mut states, mut epochs, mut owners, mut retries) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for export in exports {
        let now: Vec<_> = export.live.iter().map(|live| live.condition().state).collect();
        let one = |state: State| {
            let partitions = now.iter().filter(|now| **now == state).count();
            sample("", &[("export", &export.name), ("state", state.name())], partitions as f64)
        };
        states.extend(State::ALL.map(one));
        let again: u64 = export.live.iter().map(|live| live.retries.count()).sum();
        retries.push(sample("", &[("export", &export.name)], again as f64));
        for owner in export.live.iter().filter_map(|live| live.owner()) {
            let labels = [("export", &*export.name), ("partition", &*owner.partition)];
            epochs.push(sample("", &labels, owner.epoch as f64));
            owners.push(sample("", &[labels[0], labels[1], ("owner", &owner.writer)], 1.0));
        }
    }
    let gauge = |name: &str, help: &str, samples| family(name, help, FamilyKind::Gauge, samples);
    vec![
        gauge("lakeport_export_state", "Partitions of the export that are in the state.", states),
        gauge("lakeport_export_epoch", "The epoch in which this process owns the partition.", epochs),
        gauge("lakeport_export_owner_info", "Host and process that own the partition; always 1.", owners),
        family(
            "lakeport_store_retries_total",
            "Requests to the store that were made again.",
            FamilyKind::Counter,
            retries,
        ),
    ]
}

fn durations(exports: &[Export]) -> Vec<Family> {
    let mut commits = Vec::new();
    let mut requests: BTreeMap<(&str, &str, &str), Histogram> = BTreeMap::new();
    for export in exports {
        let mut by_result: BTreeMap<&str, Histogram> = BTreeMap::new();
        for ((_, result), histogram) in export.live.iter().flat_map(|live| live.commit_durations.read()) {
            by_result.entry(result).or_default().add(&histogram);
        }
        for (result, histogram) in by_result {
            commits.extend(of_histogram(&[("export", &export.name), ("result", result)], &histogram));
        }
        for ((operation, result), histogram) in export.live.iter().flat_map(|live| live.retries.durations.read()) {
            requests.entry((&export.lake, operation, result)).or_default().add(&histogram);
        }
    }
    let one = |((lake, operation, result), histogram): ((&str, &str, &str), Histogram)| {
        of_histogram(&[("lake", lake), ("operation", operation), ("result", result)], &histogram)
    };
    vec![
        family(
            "lakeport_export_commit_duration_seconds",
            "Time of a commit, from its entry in the log to the last file that is published.",
            FamilyKind::Histogram,
            commits,
        ),
        family(
            "lakeport_store_request_duration_seconds",
            "Time of a request to a lake's store; each try counts.",
            FamilyKind::Histogram,
            requests.into_iter().flat_map(one).collect(),
        ),
    ]
}

fn plugins(exports: &[Export]) -> Vec<Family> {
    let used = |export: &Export| {
        let mut used: BTreeMap<String, Usage> = BTreeMap::new();
        for (name, usage) in export.live.iter().flat_map(|live| live.plugins()) {
            used.entry(name).or_default().add(&usage);
        }
        used
    };
    let used: Vec<_> = exports.iter().map(|export| (&*export.name, used(export))).collect();
    let of = |name: &str, help: &str, kind, of: fn(&Usage) -> f64| {
        let one = |(export, plugin, usage): (&str, &str, &Usage)| {
            sample("", &[("export", export), ("plugin", plugin)], of(usage))
        };
        let each = used
            .iter()
            .flat_map(|(export, plugins)| plugins.iter().map(move |(name, usage)| (*export, &**name, usage)));
        family(name, help, kind, each.map(one).collect())
    };
    use FamilyKind::{Counter, Gauge};
    vec![
        of("lakeport_plugin_calls_total", "Calls of the plugin; one takes a batch.", Counter, |usage| {
            usage.calls as f64
        }),
        of("lakeport_plugin_time_seconds_total", "Time in the plugin.", Counter, |usage| {
            usage.nanoseconds as f64 / 1e9
        }),
        of("lakeport_plugin_records_total", "Records that the plugin was given.", Counter, |usage| {
            usage.rows_in as f64
        }),
        of("lakeport_plugin_rejected_records_total", "Records that it rejected.", Counter, |usage| {
            usage.rejected as f64
        }),
        of("lakeport_plugin_traps_total", "Calls that trapped or took too long.", Counter, |usage| usage.traps as f64),
        of("lakeport_plugin_broken_rules_total", "Answers that the interface forbids.", Counter, |usage| {
            usage.broken_rules as f64
        }),
        of("lakeport_plugin_memory_peak_bytes", "The largest memory of one of its instances.", Gauge, |usage| {
            usage.peak_memory as f64
        }),
    ]
}

fn of_logs(logs: &Logs) -> Vec<Family> {
    let logs: Vec<_> = logs.iter().map(|(name, log)| (name, log.wal.stats())).collect();
    let of = |name: &str, help: &str, kind: FamilyKind, of: fn(&Stats) -> u64| {
        let one = |(source, stats): &(&str, Stats)| sample("", &[("source", source)], of(stats) as f64);
        family(name, help, kind, logs.iter().map(one).collect())
    };
    let (counter, gauge) = (FamilyKind::Counter, FamilyKind::Gauge);
    vec![
        of("lakeport_wal_bytes", "Bytes of the write-ahead log's files.", gauge, |stats| stats.bytes),
        of("lakeport_wal_segments", "Files of the write-ahead log.", gauge, |stats| stats.segments),
        of("lakeport_wal_queued_bytes", "Bytes that wait to be written.", gauge, |stats| stats.queued_bytes),
        of("lakeport_wal_records_total", "Records that were appended.", counter, |stats| stats.records),
        of("lakeport_wal_duplicates_total", "Records that were there already.", counter, |stats| stats.duplicates),
        of("lakeport_wal_keys", "Idempotency keys that are remembered.", gauge, |stats| stats.keys),
        of("lakeport_wal_keys_dropped_total", "Keys forgotten before their time.", counter, |stats| stats.keys_dropped),
        of("lakeport_wal_busy_total", "Batches refused since too many wait.", counter, |stats| stats.busy),
        of("lakeport_wal_full_total", "Batches refused since the log is full.", counter, |stats| stats.full),
        of("lakeport_wal_failed_total", "Batches that could not be written.", counter, |stats| stats.failed),
        family(
            "lakeport_wal_flush_duration_seconds",
            "Time of a flush of the write-ahead log to the disk.",
            FamilyKind::Histogram,
            logs.iter().flat_map(|(source, stats)| of_flushes(source, &stats.flushes)).collect(),
        ),
    ]
}

fn unread(logs: &Logs) -> Family {
    let one = |(name, bytes): (&String, &u64)| sample("", &[("source", name)], *bytes as f64);
    family(
        "lakeport_wal_unread_bytes",
        "Bytes of write-ahead logs that no source of the configuration has.",
        FamilyKind::Gauge,
        logs.unread().iter().map(one).collect(),
    )
}

fn of_flushes(source: &str, flushes: &Flushes) -> Vec<Sample> {
    let bounds: Vec<_> = BUCKETS.iter().map(|micros| *micros as f64 / 1e6).collect();
    histogram(&[("source", source)], &bounds, &flushes.buckets, flushes.sum.as_secs_f64())
}

fn of_histogram(labels: &[(&str, &str)], of: &Histogram) -> Vec<Sample> {
    histogram(labels, &BOUNDS, &of.buckets, of.sum)
}

/// A histogram's samples. `counts` are not cumulative; the last is for what is above all bounds.
fn histogram(labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) -> Vec<Sample> {
    let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    let mut total = 0;
    let buckets = bounds.zip(counts).map(|(bound, count)| {
        total += count;
        sample("_bucket", &[labels, &[("le", &bound)]].concat(), total as f64)
    });
    let mut samples: Vec<_> = buckets.collect();
    samples.push(sample("_sum", labels, sum));
    samples.push(sample("_count", labels, total as f64));
    samples
}

fn family(name: &str, help: &str, kind: FamilyKind, samples: Vec<Sample>) -> Family {
    Family { name: name.to_owned(), help: help.to_owned(), kind, samples }
}

fn sample(suffix: &'static str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { suffix, labels, value }
}
