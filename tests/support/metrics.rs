//! Metrics of `lakeport serve`, as Prometheus reads them.

use std::collections::BTreeMap;

use super::http::Serving;
use super::lake_folder::Installation;
use super::tools::python;

/// What Prometheus' own parser finds at `/metrics`: samples with their labels as JSON.
pub fn metrics(serving: &Serving, folder: &Installation) -> BTreeMap<String, f64> {
    let url = format!("http://{}/metrics", serving.address);
    serde_json::from_str(&python(folder.path(), "metrics.py", &[&url])).unwrap()
}
