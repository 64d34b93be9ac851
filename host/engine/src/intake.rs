//! Where the HTTP server hands records to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lakeport::plan::{self, ExportPlan, Input, Plan};
use lakeport::telemetry::{Condition, Live, State};
use lakeport_serve::{
    Accepted, Batch, Envelope, ExportHealth, Family, Health, IdempotencyKey, Identity, Refusal, SourceInfo,
};
use lakeport_wal::Keys;

use crate::logs::Logs;
use crate::metrics::{self, Export};

/// When a sender may try again that was refused for a short time.
pub(crate) const SOON: Duration = Duration::from_secs(1);
/// When one may try again whose records have no room.
const LATER: Duration = Duration::from_secs(10);

/// Keeps what the server accepts in write-ahead logs.
pub struct Intake {
    pub(crate) logs: Arc<Logs>,
    sources: HashMap<String, SourceInfo>,
    pub(crate) exports: Vec<Export>,
}

impl Intake {
    /// An intake of the sources of `plan`; `live` has the counts of each of its exports.
    pub fn new(plan: &Plan, logs: Arc<Logs>, live: &[Arc<Live>]) -> Intake {
        let sources = sources_of(plan, |source| logs.get(source).is_some());
        let export = |(export, live): (&ExportPlan, &Arc<Live>)| Export {
            name: export.name.clone(),
            source: export.source.name.clone(),
            lake: export.lake.name.clone(),
            live: vec![live.clone()],
        };
        let exports = plan.exports.iter().zip(live).map(export).collect();
        Intake { logs, sources, exports }
    }
}

/// What the server needs to know of the sources that `takes` names, of those that are sent their records.
pub(crate) fn sources_of(plan: &Plan, takes: impl Fn(&str) -> bool) -> HashMap<String, SourceInfo> {
    let mut sources: HashMap<String, SourceInfo> = HashMap::new();
    let is_sent = |export: &&ExportPlan| export.source.input == Input::Http && takes(&export.source.name);
    for export in plan.exports.iter().filter(is_sent) {
        let envelope = envelope(export.source.mapping.envelope);
        let size = usize::try_from(export.max_record_size).unwrap_or(usize::MAX);
        let info = sources.entry(export.source.name.clone());
        let info = info.or_insert(SourceInfo { envelope, max_record_size: 0 });
        // A record that one of the exports takes is none to refuse.
        info.max_record_size = info.max_record_size.max(size);
    }
    sources
}

/// What records come in, as far as the server treats it differently.
pub(crate) fn envelope(envelope: plan::Envelope) -> Envelope {
    match envelope {
        plan::Envelope::Plain => Envelope::Plain,
        plan::Envelope::CloudEvents => Envelope::CloudEvents,
        plan::Envelope::EventGrid => Envelope::EventGrid,
        _ => Envelope::Other,
    }
}

#[async_trait]
impl lakeport_serve::Intake for Intake {
    fn source(&self, name: &str) -> Option<SourceInfo> {
        self.sources.get(name).cloned()
    }

    async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal> {
        let log = self.logs.get(source).ok_or_else(|| Refusal::Failed(format!("there is no source `{source}`")))?;
        let number = |key: IdempotencyKey| u128::from_be_bytes(key);
        let keys = match batch.identity {
            Identity::None => Keys::None,
            Identity::Request { key, content } => Keys::OfBatch { key: number(key), content: number(content) },
            Identity::Records(keys) => Keys::OfRecords(keys.into_iter().map(number).collect()),
        };
        let ack = log.wal.submit(lakeport_wal::Batch { lines: batch.lines, keys }).map_err(refusal)?;
        let appended = ack.await.map_err(refusal)?;
        Ok(Accepted {
            position: appended.up_to.to_string(),
            records: batch.records,
            duplicates: appended.duplicates.len() as u32,
            committed: log.all_exported() >= appended.up_to,
        })
    }

    async fn committed(&self, source: &str, position: &str) -> Result<(), Refusal> {
        let log = self.logs.get(source).ok_or_else(|| Refusal::Failed(format!("there is no source `{source}`")))?;
        let offset = position.parse().map_err(|_| Refusal::Failed(format!("`{position}` is no position")))?;
        log.wait_for_export(offset).await;
        Ok(())
    }

    fn health(&self) -> Health {
        let failure = |(name, log): (&str, &crate::logs::SourceLog)| {
            log.wal.failure().map(|error| format!("source `{name}`: {error}"))
        };
        let exports = self.exports.iter().map(|export| self.export_health(export)).collect();
        Health {
            not_live: self.logs.iter().filter_map(failure).collect(),
            not_ready: Vec::new(),
            warnings: self.logs.unread().iter().map(|(name, bytes)| unread(name, *bytes)).collect(),
            exports,
        }
    }

    fn metrics(&self) -> Vec<Family> {
        metrics::families(Some(&self.logs), &self.exports)
    }
}

impl Intake {
    /// Records are taken once all exports are open. An export that waits for its store lets them be taken; one that has failed, or
    /// that another process runs, does not: they would stay here.
    fn export_health(&self, export: &Export) -> ExportHealth {
        let Condition { state, reason } = export.live.first().map(|live| live.condition()).unwrap_or_default();
        let is_fed = self.sources.contains_key(&export.source);
        let is_ready = match state {
            State::Opening => false,
            State::AtWork | State::Waiting => true,
            State::StandingBy | State::Failed | State::Ended => !is_fed,
        };
        ExportHealth { name: export.name.clone(), state: state.name(), reason, is_ready }
    }
}

fn unread(name: &str, bytes: u64) -> String {
    format!(
        "the write-ahead log `{name}` is that of no source, and holds {bytes} bytes: what of it is not exported is exported once there is \
         a source of this name again; delete its folder if nobody needs it"
    )
}

fn refusal(error: lakeport_wal::Error) -> Refusal {
    match error {
        lakeport_wal::Error::Busy { .. } => Refusal::Busy { retry_after: SOON },
        lakeport_wal::Error::Full { .. } | lakeport_wal::Error::NoSpace { .. } => Refusal::Full { retry_after: LATER },
        lakeport_wal::Error::TooLarge { .. } => Refusal::TooLarge,
        lakeport_wal::Error::KeyReused => Refusal::KeyReused,
        lakeport_wal::Error::Closed => Refusal::NotReady { retry_after: SOON },
        error => Refusal::Failed(error.to_string()),
    }
}
