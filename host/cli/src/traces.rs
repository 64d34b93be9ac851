//! The metrics of traces.

use std::sync::Arc;

use lakeport_otlp::Counts;
use lakeport_serve::{Family, FamilyKind, Sample};

/// Returns what tells the metrics of traces, where there are some.
pub fn metrics(counts: Option<Arc<Counts>>) -> impl Fn() -> Vec<Family> + Send + Sync + 'static {
    move || counts.iter().flat_map(|counts| families(counts)).collect()
}

fn families(counts: &Counts) -> Vec<Family> {
    let family = |name: &str, help: &str, value: u64| Family {
        name: name.to_owned(),
        help: help.to_owned(),
        kind: FamilyKind::Counter,
        samples: vec![Sample { suffix: "", labels: Vec::new(), value: value as f64 }],
    };
    let lost = "Spans that the collector did not take, or that found no room.";
    vec![
        family("lakeport_traces_sent_total", "Spans that the collector took.", counts.sent()),
        family("lakeport_traces_dropped_total", lost, counts.dropped()),
    ]
}
