//! What is due by the time: exports of files, and what partitions are to write though nothing is delivered to them any more.

use std::sync::Arc;
use std::time::Duration;

use lakeport::commit::{any_due, read_last, read_partitions};
use lakeport::error::{Kind, Result};
use lakeport::lake::Lake;
use lakeport::pipeline::{Options, WhenOwned, interrupted};
use lakeport::plan::{ExportPlan, Exports, Files, Input, Plan};
use lakeport::session::Session;
use lakeport::source::{Position, Read, ReadOptions, Reader, Source};
use lakeport::wait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::invocations::Invocations;
use crate::turn::Part;

impl Invocations {
    /// Writes the files and snapshots of periods that are over, for exports that are sent their records, and begins with the partition
    /// after the one that was begun last. Leaves partitions to the instance that is at work on them. Then runs the exports of files until their sources are read. At `until`, commits what was
    /// read, and ends the runs.
    ///
    /// # Errors
    /// That of the first export that failed; the others ran. Of kind `Interrupted` where the time did not do.
    pub async fn run_due(&self, until: Option<Instant>) -> Result<()> {
        self.in_time(until, async |stop| self.write_all(&stop).await.and(self.run_files(stop).await)).await
    }

    /// Writes the files and snapshots of periods that are over, of exports that are sent their records; until `until`.
    ///
    /// # Errors
    /// That of the first export that failed; the others were written. Of kind `Interrupted` where the time did not do.
    pub async fn write_due(&self, until: Option<Instant>) -> Result<()> {
        self.in_time(until, async |stop| self.write_all(&stop).await).await
    }

    /// Does `work`, and tells it to stop at `until`, or where all runs are to end.
    async fn in_time<T>(&self, until: Option<Instant>, work: impl AsyncFnOnce(watch::Receiver<bool>) -> T) -> T {
        let (stopper, stop) = watch::channel(false);
        let is_over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let (mut ends, mut work) = (self.stop.subscribe(), std::pin::pin!(work(stop)));
        tokio::select! {
            done = &mut work => return done,
            () = is_over => {}
            _ = wait::until(&mut ends, |ends| *ends) => {}
        }
        stopper.send_replace(true);
        work.await
    }

    async fn write_all(&self, stop: &watch::Receiver<bool>) -> Result<()> {
        let is_meant = |export: &&ExportPlan| export.source.input == Input::Http && writes_later(export);
        let exports = self.session.plan.exports.iter().filter(is_meant);
        let mut result = Ok(());
        for (export, part) in self.turn.steps(exports.map(|export| (&*export.name, export))) {
            if *stop.borrow() {
                return result.and(Err(interrupted()));
            }
            let written = self.write_due_of(export, part, stop).await;
            result = result.and(written.map_err(|error| error.context(format_args!("export `{}`", export.name))));
        }
        result
    }

    /// Opens the lakes of exports that are sent their records, and loads their plugins.
    ///
    /// # Errors
    /// Those of the first export for which that failed.
    pub async fn open(&self) -> Result<()> {
        for export in self.session.plan.exports.iter().filter(|export| export.source.input == Input::Http) {
            self.session.open(export).await?;
        }
        Ok(())
    }

    async fn run_files(&self, stop: watch::Receiver<bool>) -> Result<()> {
        let of_files = |export: &&ExportPlan| matches!(export.source.input, Input::Files(_));
        let exports = self.session.plan.exports.iter().filter(of_files).cloned();
        let plan = Plan { exports: exports.collect(), ..Plan::clone(&self.session.plan) };
        let live: Vec<_> = plan.exports.iter().map(|export| self.live(export)).collect();
        let session = Session { plan: Arc::new(plan), ..self.session.clone() };
        let reports = session.run(&live, stop).await;
        let failed = reports.into_iter().filter_map(|report| Some((report.export, report.error?)));
        // What has to be changed before what goes on by itself.
        let worst = failed.min_by_key(|(_, error)| error.kind == Kind::Interrupted);
        worst.map_or(Ok(()), |(export, error)| Err(error.context(format_args!("export `{export}`"))))
    }

    async fn write_due_of(&self, export: &ExportPlan, part: Part, stop: &watch::Receiver<bool>) -> Result<()> {
        // A lake that does not answer keeps the next exports from no turn of theirs.
        self.turn.begin_export(&export.name);
        let lake = Lake::open_read_only(&export.lake).await?;
        let mut result = Ok(());
        for partition in self.turn.partitions(part, read_partitions(&lake, &export.name).await?) {
            if *stop.borrow() {
                return result.and(Err(interrupted()));
            }
            self.turn.begin(&export.name, &partition);
            let export = Arc::new(export.of_partition(&partition));
            let written = match self.may_be_due(&lake, &export).await {
                Ok(true) => self.write_due_of_partition(&export, stop).await,
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            result = result.and(written);
        }
        result
    }

    /// Whether a partition has something to write. Of documents and tables only a run of it can say.
    async fn may_be_due(&self, lake: &Lake, export: &ExportPlan) -> Result<bool> {
        let Some((_, last)) = read_last(lake, &export.name, &export.partition).await? else { return Ok(false) };
        let now = self.session.surroundings.clock.now();
        Ok(export.exports != Exports::Events || any_due(&last.series, export.files, now))
    }

    async fn write_due_of_partition(&self, export: &Arc<ExportPlan>, stop: &watch::Receiver<bool>) -> Result<()> {
        let run = self.run_of(export);
        let mut run = run.lock().await;
        // A run that takes deliveries writes what is due by itself.
        if self.deliveries.is_open(export) {
            return Ok(());
        }
        if let Some(before) = run.as_mut() {
            let mut stop = stop.clone();
            tokio::select! {
                // It is left in its place until it has ended: who is cancelled here leaves no second one.
                _ = before => {}
                () = self.deliveries.opened(export) => return Ok(()),
                _ = wait::until(&mut stop, |stop| *stop) => return Err(interrupted()),
            }
            *run = None;
        }
        let options = Options { when_owned: WhenOwned::Refuse, ..self.session.options.clone() };
        let session = Session { source: Arc::new(Nothing), options, ..self.session.clone() };
        let report = session.run_partition(export.clone(), self.live(export), stop.clone()).await;
        match report.error {
            Some(error) if error.kind == Kind::Fenced => {
                tracing::debug!(export = export.name, partition = &*export.partition, "left to its owner: {error}");
                Ok(())
            }
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Whether an export may have something to write though nothing comes any more. What others have is visible.
fn writes_later(export: &ExportPlan) -> bool {
    export.exports != Exports::Events || matches!(export.files, Files::Sealed { .. })
}

/// A source that has nothing more.
struct Nothing;

impl Source for Nothing {
    fn open(&self, _export: &ExportPlan, _from: &Position, _options: ReadOptions) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Nothing))
    }
}

impl Reader for Nothing {
    fn read(&mut self, _wait: Duration) -> Result<Read> {
        Ok(Read::End)
    }

    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}
