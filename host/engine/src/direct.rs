//! Takes records into the lake without a write-ahead log: who sent them is answered once they are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lakeport::error::Kind;
use lakeport::plan::{ExportPlan, Input};
use lakeport::source::MessageId;
use lakeport::telemetry::{Condition, State};
use lakeport_serve::{Accepted, Batch, ExportHealth, Family, Health, Identity, Refusal, SourceInfo};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::contents::Contents;
use crate::delivery::Message;
use crate::failure::Undelivered;
use crate::intake::{SOON, sources_of};
use crate::invocations::Invocations;

/// A request ends after this long: its client sends it again.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Takes records into the lake at once. Nothing is kept here, so that there may be as many of these as anybody likes.
pub struct Direct {
    invocations: Arc<Invocations>,
    sources: HashMap<String, SourceInfo>,
    contents: Contents,
    /// Why no records are taken now; empty where they are.
    not_ready: Mutex<Vec<String>>,
}

impl Direct {
    /// An intake of all sources that are sent their records.
    pub fn new(invocations: Arc<Invocations>) -> Direct {
        let sources = sources_of(invocations.plan(), |_| true);
        let contents = Contents::new(invocations.plan().server.idempotency_window);
        Direct { invocations, sources, contents, not_ready: Mutex::default() }
    }

    /// Opens lakes and plugins before the first request needs them, and is not ready until then; from then on, writes what is due
    /// though nothing is sent. Never returns.
    pub async fn keep_at_work(self: Arc<Self>) {
        self.set_not_ready(vec!["lakes and plugins are being opened".to_owned()]);
        let mut backoff = Backoff::default();
        while let Err(error) = self.invocations.open().await {
            tracing::error!("not ready: {error}");
            self.set_not_ready(vec![error.to_string()]);
            tokio::time::sleep(backoff.next(0)).await;
        }
        self.set_not_ready(Vec::new());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.invocations.write_due(None).await {
                tracing::error!("what is due could not be written: {error}");
            }
        }
    }

    fn set_not_ready(&self, reasons: Vec<String>) {
        *self.not_ready.lock().expect("nothing panics while it is held") = reasons;
    }
}

#[async_trait]
impl lakeport_serve::Intake for Direct {
    fn source(&self, name: &str) -> Option<SourceInfo> {
        self.sources.get(name).cloned()
    }

    async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal> {
        if let Identity::Request { key, content } = batch.identity
            && !self.contents.claim(key, content, Instant::now())
        {
            return Err(Refusal::KeyReused);
        }
        let taken = self.invocations.try_messages(source, messages(&batch), Instant::now() + LIMIT).await;
        let taken = taken.map_err(|undelivered| refusal(source, undelivered))?;
        Ok(Accepted {
            position: taken.position,
            records: batch.records,
            duplicates: u32::try_from(taken.duplicates).unwrap_or(u32::MAX),
            committed: true,
        })
    }

    /// What was taken is there.
    async fn committed(&self, _source: &str, _position: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn health(&self) -> Health {
        let not_ready = self.not_ready.lock().expect("nothing panics while it is held").clone();
        let exports = self.invocations.plan().exports.iter().map(|export| self.export_health(export)).collect();
        Health { not_ready, exports, ..Health::default() }
    }

    fn metrics(&self) -> Vec<Family> {
        self.invocations.metrics()
    }
}

impl Direct {
    /// How the partitions of an export are that were at work here: the worst of them. None of them keeps requests away, since the next
    /// request starts a partition that has failed or ended.
    fn export_health(&self, export: &ExportPlan) -> ExportHealth {
        let rank = |condition: &Condition| match condition.state {
            State::Failed => 5,
            State::Waiting => 4,
            State::StandingBy => 3,
            State::Opening => 2,
            State::AtWork => 1,
            State::Ended => 0,
        };
        let worst = self.invocations.conditions(&export.name).into_iter().max_by_key(rank).unwrap_or_default();
        let state = match worst.state {
            // One that is sent its records ends when nothing came for a while.
            State::Ended | State::Opening if export.source.input == Input::Http => "idle",
            state => state.name(),
        };
        ExportHealth { name: export.name.clone(), state, reason: worst.reason, is_ready: true }
    }
}

/// The records of a request. Where the request has a key, each is known by that, its place and its bytes: other records that are sent
/// with the key are never taken for these.
fn messages(batch: &Batch) -> Vec<Message> {
    let id = |index: usize, line: &[u8]| match &batch.identity {
        Identity::None => None,
        Identity::Request { key, .. } => Some(MessageId::of(&[b"request", key, &(index as u64).to_le_bytes(), line])),
        Identity::Records(keys) => keys.get(index).copied().map(MessageId),
    };
    let lines = batch.iter().map(|line| batch.lines.slice_ref(line));
    lines
        .enumerate()
        .map(|(index, lines): (usize, Bytes)| Message { id: id(index, &lines), group: None, lines })
        .collect()
}

/// The answer to records that are not in the lake: to be sent again, unless a person has to change something first.
fn refusal(source: &str, Undelivered { error, is_busy }: Undelivered) -> Refusal {
    if is_busy {
        return Refusal::Busy { retry_after: SOON };
    }
    match error.kind {
        Kind::Source | Kind::Lake | Kind::Fenced | Kind::Interrupted => {
            tracing::warn!(source, "records were not taken: {error}");
            Refusal::NotReady { retry_after: SOON }
        }
        _ => Refusal::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use lakeport::error::Error;

    use super::*;

    #[test]
    fn only_a_server_that_has_too_much_says_that_it_is_busy() {
        let refusal_of = |kind, is_busy| refusal("s", Undelivered { error: Error::new(kind, "x"), is_busy });
        assert!(matches!(refusal_of(Kind::Source, true), Refusal::Busy { .. }));
        for kind in [Kind::Source, Kind::Lake, Kind::Fenced, Kind::Interrupted] {
            assert!(matches!(refusal_of(kind, false), Refusal::NotReady { .. }), "{kind:?}");
        }
        // What a person has to change.
        for kind in [Kind::Config, Kind::Plugin, Kind::Internal] {
            assert!(matches!(refusal_of(kind, false), Refusal::Failed(_)), "{kind:?}");
        }
    }
}
