//! Counts the configurations that a running server took and refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lakeport_serve::{Family, FamilyKind, Sample};

/// Counts of reloads since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    has_failed: AtomicBool,
}

impl Counts {
    /// A configuration was taken, or refused.
    pub fn note(&self, is_taken: bool) {
        let counter = if is_taken { &self.taken } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        self.has_failed.store(!is_taken, Ordering::Relaxed);
    }

    /// The counts, as metrics.
    pub fn metrics(&self) -> Vec<Family> {
        let sample = |labels: Vec<(String, String)>, value| Sample { suffix: "", labels, value };
        let of = |result: &str, count: &AtomicU64| {
            sample(vec![("result".to_owned(), result.to_owned())], count.load(Ordering::Relaxed) as f64)
        };
        let has_failed = self.has_failed.load(Ordering::Relaxed);
        vec![
            Family {
                name: "lakeport_config_reloads_total".to_owned(),
                help: "How often the configuration was read again, by what became of it.".to_owned(),
                kind: FamilyKind::Counter,
                samples: vec![of("taken", &self.taken), of("refused", &self.refused)],
            },
            Family {
                name: "lakeport_config_refused".to_owned(),
                help: "Whether the configuration cannot be used, so that an earlier one is at work.".to_owned(),
                kind: FamilyKind::Gauge,
                samples: vec![sample(Vec::new(), f64::from(u8::from(has_failed)))],
            },
        ]
    }
}
