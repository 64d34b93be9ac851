//! What the server counts of itself.

mod render;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::Method;

use crate::answer::Reason;
use crate::intake::{Accepted, Family, FamilyKind, Sample};

pub(crate) use render::{CONTENT_TYPE, render};

/// Counters of a server. Labels come from fixed sets and from the names of sources, never from clients.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: AtomicI64,
    active: AtomicI64,
    accepted: AtomicU64,
    body_bytes: AtomicU64,
    /// Why connections ended other than in order.
    ends: Mutex<BTreeMap<&'static str, u64>>,
    refusals: Mutex<BTreeMap<Reason, u64>>,
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), Histogram>>,
    sources: Mutex<BTreeMap<String, Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    records: u64,
    duplicates: u64,
}

/// Upper bounds in seconds: those that OpenTelemetry recommends for HTTP.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Debug, Default)]
struct Histogram {
    /// Not cumulative; the last is for what is above all bounds.
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// Counts something for as long as it lives.
pub(crate) struct Gauge<'a>(&'a AtomicI64);

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A connection is open until the gauge is dropped.
    pub(crate) fn connection(&self) -> Gauge<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        up(&self.connections)
    }

    /// A request is being answered until the gauge is dropped.
    pub(crate) fn active(&self) -> Gauge<'_> {
        up(&self.active)
    }

    /// A connection ended, or was refused, for a reason.
    pub(crate) fn connection_end(&self, reason: &'static str) {
        *lock(&self.ends).entry(reason).or_default() += 1;
    }

    pub(crate) fn refusal(&self, reason: Reason) {
        *lock(&self.refusals).entry(reason).or_default() += 1;
    }

    pub(crate) fn body_bytes(&self, bytes: usize) {
        self.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records of a source were kept.
    pub(crate) fn records(&self, source: &str, accepted: &Accepted) {
        let mut sources = lock(&self.sources);
        if !sources.contains_key(source) {
            sources.insert(source.to_owned(), Taken::default());
        }
        let taken = sources.get_mut(source).expect("it was inserted");
        taken.records += u64::from(accepted.records);
        taken.duplicates += u64::from(accepted.duplicates);
    }

    /// A request was answered.
    pub(crate) fn request(&self, method: &Method, route: &'static str, status: u16, took: Duration) {
        let mut requests = lock(&self.requests);
        let histogram = requests.entry((method_name(method), route, status)).or_default();
        let seconds = took.as_secs_f64();
        histogram.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        histogram.sum += seconds;
    }

    /// Returns all counters. `held_bytes` are those of bodies.
    pub(crate) fn families(&self, held_bytes: usize) -> Vec<Family> {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        let level = |value: &AtomicI64| value.load(Ordering::Relaxed) as f64;
        let sources = lock(&self.sources);
        let by_source = |value: fn(&Taken) -> u64| {
            sources.iter().map(|(name, taken)| sample("", &[("source", name)], value(taken) as f64)).collect()
        };
        let ends =
            lock(&self.ends).iter().map(|(reason, count)| sample("", &[("reason", reason)], *count as f64)).collect();
        let refusals = lock(&self.refusals);
        let refusals = refusals.iter().map(|(reason, count)| sample("", &[("reason", reason.name())], *count as f64));
        use FamilyKind::{Counter, Gauge, Histogram};
        vec![
            family(
                "http_server_request_duration_seconds",
                Histogram,
                "Time from the headers of a request to its answer.",
                self.durations(),
            ),
            family(
                "http_server_active_requests",
                Gauge,
                "Requests that are being answered.",
                vec![sample("", &[], level(&self.active))],
            ),
            family(
                "lakeport_serve_connections",
                Gauge,
                "Open connections.",
                vec![sample("", &[], level(&self.connections))],
            ),
            family(
                "lakeport_serve_accepted_connections_total",
                Counter,
                "Connections that were accepted.",
                vec![sample("", &[], load(&self.accepted))],
            ),
            family(
                "lakeport_serve_connection_failures_total",
                Counter,
                "Connections that were refused, or ended otherwise than in order.",
                ends,
            ),
            family("lakeport_serve_refusals_total", Counter, "Requests that were refused.", refusals.collect()),
            family(
                "lakeport_serve_body_bytes_total",
                Counter,
                "Bytes of bodies, as they were sent.",
                vec![sample("", &[], load(&self.body_bytes))],
            ),
            family(
                "lakeport_serve_held_bytes",
                Gauge,
                "Bytes of bodies that are held.",
                vec![sample("", &[], held_bytes as f64)],
            ),
            family(
                "lakeport_serve_records_total",
                Counter,
                "Records that were taken, duplicates included.",
                by_source(|taken| taken.records),
            ),
            family(
                "lakeport_serve_duplicates_total",
                Counter,
                "Records that were there already.",
                by_source(|taken| taken.duplicates),
            ),
        ]
    }

    fn durations(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for ((method, route, status), histogram) in &*lock(&self.requests) {
            let status = status.to_string();
            let labels =
                [("http_request_method", *method), ("http_route", *route), ("http_response_status_code", &status)];
            let mut total = 0;
            for (index, count) in histogram.counts.iter().enumerate() {
                total += count;
                let bound = BOUNDS.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
                let [a, b, c] = labels;
                samples.push(sample("_bucket", &[a, b, c, ("le", &bound)], total as f64));
            }
            samples.push(sample("_sum", &labels, histogram.sum));
            samples.push(sample("_count", &labels, total as f64));
        }
        samples
    }
}

/// OpenTelemetry's name of a method: clients may make up others.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn up(gauge: &AtomicI64) -> Gauge<'_> {
    gauge.fetch_add(1, Ordering::Relaxed);
    Gauge(gauge)
}

fn family(name: &str, kind: FamilyKind, help: &str, samples: Vec<Sample>) -> Family {
    Family { name: name.to_owned(), help: help.to_owned(), kind, samples }
}

fn sample(suffix: &'static str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { suffix, labels, value }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it is held")
}
