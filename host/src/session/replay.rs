//! Replays the dead letters of an export, partition after partition.

use std::sync::Arc;

use tokio::sync::watch;

use super::Session;
use super::notes::Notes;
use crate::commit::read_partitions;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::pipeline::{Replay, Tables};
use crate::plan::{ExportPlan, Exports};
use crate::telemetry::{ExportReport, Live};

impl Session {
    /// Lets the dead letters of every partition of an export go through it once more. Where a dry run is asked for, nothing is
    /// written, and the report says what would have become of them.
    pub async fn replay(
        mut self,
        export: Arc<ExportPlan>,
        replay: Replay,
        live: Arc<Live>,
        stop: watch::Receiver<bool>,
    ) -> ExportReport {
        let mut whole = ExportReport { export: export.name.clone(), ..ExportReport::default() };
        let is_dry = replay.dry_run;
        self.options.replay = Some(replay);
        self.options.follow = false;
        let partitions = match partitions(&export).await {
            Ok(partitions) => partitions,
            Err(error) => return ExportReport { error: Some(error), ..whole },
        };
        for partition in partitions {
            let export = Arc::new(export.of_partition(&partition));
            let (session, live, stop) = (self.clone(), live.clone(), stop.clone());
            let report = match is_dry {
                true => session.rehearse(export, live, stop).await,
                false => session.run_partition(export, live, stop).await,
            };
            whole.absorb(report);
            if whole.error.is_some() {
                break;
            }
        }
        whole
    }

    /// Runs one partition, and writes nothing: no note either.
    async fn rehearse(self, export: Arc<ExportPlan>, live: Arc<Live>, stop: watch::Receiver<bool>) -> ExportReport {
        let tables = Tables::new(self.plan.tables.clone(), Default::default()).as_committed();
        let notes = Arc::new(Notes::new(&self, export.clone()));
        self.run_one(export, None, tables, live, stop, notes).await
    }
}

/// The partitions of an export whose dead letters can be replayed.
async fn partitions(export: &ExportPlan) -> Result<Vec<String>> {
    if matches!(export.exports, Exports::Tables(_)) {
        let message = format!("export `{}` exports tables, and dead letters of tables cannot be replayed", export.name);
        let help = "a change that comes late could undo what came after it: `lakeport tables link --again` reads a table once more";
        return Err(Error::config(message).with_help(help));
    }
    let lake = Lake::open_read_only(&export.lake).await?;
    read_partitions(&lake, &export.name).await
}
