//! Runs a configuration as `lakeport run` does, under a clock that is ahead: a state of yesterday's minute need not be waited for.

use std::path::Path;
use std::sync::Arc;

use lakeport::clock::{Ahead, Surroundings};
use lakeport::pipeline::Options;
use lakeport::plugin::{Compiler, Sandbox};
use lakeport::session::{Lakes, Session};
use lakeport::source::Local;
use lakeport::telemetry::{ExportReport, Live};
use tokio::sync::watch;

/// Runs every export of a configuration, `seconds` after now.
pub fn export(configuration: &Path, seconds: i64) -> lakeport::Result<Vec<ExportReport>> {
    let plan = lakeport::config::load(configuration, &|name| std::env::var(name).ok())?;
    let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
    let session = Session {
        plan: Arc::new(plan),
        sandbox: Sandbox::new(None, Compiler::ThisProcess)?,
        lakes: Lakes::default(),
        source: Arc::new(Local),
        surroundings: Surroundings { clock: Arc::new(Ahead(seconds)), ..Surroundings::system() },
        options: Options::new(std::thread::available_parallelism().map_or(1, usize::from), "bench".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be started");
    let (_keep, stop) = watch::channel(false);
    let reports = runtime.block_on(session.run(&live, stop));
    reports.into_iter().map(|report| report.error.clone().map_or(Ok(report), Err)).collect()
}
