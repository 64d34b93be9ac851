//! Takes what a trigger delivers into the lakes of all exports of a source, before the trigger is answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lakeport::error::{Error, Result};
use lakeport::layout::Token;
use lakeport::plan::{ExportPlan, Input, Plan, SOLE_PARTITION};
use lakeport::session::Session;
use lakeport::telemetry::{ExportReport, Live};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::deliveries::{Deliveries, Delivery, Refused};

/// How often a delivery is tried where the run that it was handed to ended before it was in the lake.
const ATTEMPTS: usize = 2;

/// Runs the partitions that events are delivered to, from the first delivery on until nothing came for a while.
pub struct Invocations {
    session: Session,
    deliveries: Deliveries,
    /// The runs that are at work, by export and partition.
    runs: Mutex<HashMap<(String, Arc<str>), Run>>,
    stop: watch::Sender<bool>,
}

type Run = Arc<tokio::sync::Mutex<Option<JoinHandle<ExportReport>>>>;

impl Invocations {
    /// Invocations of the exports of `session`, whose source is `deliveries`.
    pub fn new(session: Session, deliveries: Deliveries) -> Invocations {
        Invocations { session, deliveries, runs: Mutex::default(), stop: watch::Sender::new(false) }
    }

    /// Returns once the events are in the lake of every export of the source `source`; each of them once, whatever was delivered
    /// before.
    ///
    /// # Errors
    /// Events are missing before these; the error of an export. The trigger must deliver all of them again.
    pub async fn deliver(&self, source: &str, partition: &str, delivery: &Delivery) -> Result<()> {
        let exports = self.session.plan.exports.iter().filter(|export| export.source.name == source);
        let exports: Vec<_> = exports.map(|export| Arc::new(export.of_partition(partition))).collect();
        if exports.is_empty() {
            let message = format!("no export reads a source `{source}`");
            return Err(Error::config(message).with_help("name the function like the source that takes its events"));
        }
        for export in &exports {
            has_place(export)?;
        }
        let delivered = exports.iter().map(|export| self.deliver_to(export, delivery));
        futures::future::try_join_all(delivered).await.map(drop)
    }

    /// Runs the exports of files until their sources are read, and lets what is due be committed.
    ///
    /// # Errors
    /// Those of the first export that failed; the others ran.
    pub async fn run_due(&self) -> Result<()> {
        let of_files = |export: &&ExportPlan| matches!(export.source.input, Input::Files(_));
        let exports = self.session.plan.exports.iter().filter(of_files).cloned();
        let plan = Plan { exports: exports.collect(), ..Plan::clone(&self.session.plan) };
        let live: Vec<_> = plan.exports.iter().map(|_| Arc::new(Live::default())).collect();
        let session = Session { plan: Arc::new(plan), ..self.session.clone() };
        let reports = session.run(&live, self.stop.subscribe()).await;
        let failed = reports.into_iter().find_map(|report| Some((report.export, report.error?)));
        failed.map_or(Ok(()), |(export, error)| Err(error.context(format_args!("export `{export}`"))))
    }

    /// Ends all runs, after what was delivered to them is in the lake.
    pub async fn end(&self) {
        let _ = self.stop.send(true);
        let runs: Vec<_> = self.runs.lock().expect("nothing panics while it is held").drain().collect();
        for (_, run) in runs {
            if let Some(run) = run.lock().await.take() {
                let _ = run.await;
            }
        }
    }

    async fn deliver_to(&self, export: &Arc<ExportPlan>, delivery: &Delivery) -> Result<()> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            if let Some(error) = self.start(export).await {
                failed = Some(error);
                continue;
            }
            match self.deliveries.deliver(export, delivery.clone()).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(Refused::Gap { expected })) => {
                    let (partition, first) = (&export.partition, delivery.first);
                    let message = format!(
                        "partition `{partition}` of source `{}`: event {first} was delivered, and {expected} is next",
                        export.source.name
                    );
                    return Err(Error::source(message).with_help(
                        "nothing was taken: the events between have to be delivered first; where the hub does not have them any \
                         more, set `gaps = \"accept\"` in the source",
                    ));
                }
                Some(Err(Refused::Busy)) => {
                    let partition = &export.partition;
                    let message = format!("too many deliveries of partition `{partition}` wait for the lake");
                    return Err(Error::source(message).with_help("let the platform deliver them again later"));
                }
                Some(Err(Refused::Ended)) | None => {}
            }
        }
        let ended = || Error::source(format!("export `{}` ended before the events were in the lake", export.name));
        Err(failed.unwrap_or_else(ended))
    }

    /// Lets a run of the partition take deliveries, where none does. Returns why it ended instead.
    async fn start(&self, export: &Arc<ExportPlan>) -> Option<Error> {
        let key = (export.name.clone(), export.partition.clone());
        let run = self.runs.lock().expect("nothing panics while it is held").entry(key).or_default().clone();
        let mut run = run.lock().await;
        if self.deliveries.is_open(export) {
            return None;
        }
        if let Some(before) = run.take() {
            // It lets go of the partition first.
            let _ = before.await;
        }
        let (session, started, stop) = (self.session.clone(), export.clone(), self.stop.subscribe());
        let mut begun =
            tokio::spawn(async move { session.run_partition(started, Arc::new(Live::default()), stop).await });
        tokio::select! {
            () = self.deliveries.opened(export) => {
                *run = Some(begun);
                None
            }
            ended = &mut begun => match ended {
                Ok(report) => Some(report.error.unwrap_or_else(|| Error::source("the export ended".to_owned()))),
                Err(panic) => Some(Error::internal(format!("the export died: {panic}"))),
            },
        }
    }
}

/// Refuses a partition whose files would be those of another one.
fn has_place(export: &ExportPlan) -> Result<()> {
    if &*export.partition == SOLE_PARTITION || export.path.has(Token::Partition) {
        return Ok(());
    }
    let message = format!("export `{}` has several partitions, and its path has no `{{partition}}`", export.name);
    Err(Error::config(message).with_help(format!(
        "each partition writes files of its own: set `path = \"{{export}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"` in \
         [exports.{}]",
        export.name
    )))
}
