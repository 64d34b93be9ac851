//! Counts of deliveries, as `/metrics` shows them.

use std::sync::atomic::{AtomicU64, Ordering};

use lakeport_serve::{Family, FamilyKind, Sample};

/// Counts since the process started.
#[derive(Debug, Default)]
pub struct Stats {
    deliveries: AtomicU64,
    duplicates: AtomicU64,
    known_events: AtomicU64,
    retries: AtomicU64,
    gaps: AtomicU64,
    objects_gone: AtomicU64,
    failures: AtomicU64,
}

impl Stats {
    /// Something was delivered and is in the lake of one export; so many messages of it had been there.
    pub fn delivered(&self, duplicates: usize) {
        add(&self.deliveries, 1);
        add(&self.duplicates, duplicates as u64);
    }

    /// So many events of a hub were delivered that the log has already.
    pub fn known_events(&self, count: u64) {
        add(&self.known_events, count);
    }

    /// A delivery is tried again within its invocation.
    pub fn retried(&self) {
        add(&self.retries, 1);
    }

    /// Events were refused or passed over, since others were missing before them.
    pub fn gap(&self) {
        add(&self.gaps, 1);
    }

    /// An object was deleted or replaced before it was read to its end.
    pub fn object_gone(&self) {
        add(&self.objects_gone, 1);
    }

    /// A delivery was not taken: the platform delivers it again.
    pub fn failed(&self) {
        add(&self.failures, 1);
    }

    /// The counts, as metrics.
    pub fn families(&self) -> Vec<Family> {
        let counter = |name: &str, help: &str, count: &AtomicU64| {
            let value = count.load(Ordering::Relaxed) as f64;
            let samples = vec![Sample { suffix: "", labels: Vec::new(), value }];
            Family { name: name.to_owned(), help: help.to_owned(), kind: FamilyKind::Counter, samples }
        };
        vec![
            counter("lakeport_deliveries_total", "Deliveries that are in the lake of an export.", &self.deliveries),
            counter("lakeport_delivery_duplicates_total", "Messages that were in the lake already.", &self.duplicates),
            counter(
                "lakeport_delivery_known_events_total",
                "Events of hubs whose sequence numbers were in the log already.",
                &self.known_events,
            ),
            counter("lakeport_delivery_retries_total", "Deliveries that were tried again at once.", &self.retries),
            counter("lakeport_delivery_failures_total", "Deliveries that were not taken.", &self.failures),
            counter("lakeport_delivery_gaps_total", "Deliveries before which events were missing.", &self.gaps),
            counter(
                "lakeport_objects_gone_total",
                "Objects that were deleted or replaced before they were read to their ends.",
                &self.objects_gone,
            ),
        ]
    }
}

fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}
