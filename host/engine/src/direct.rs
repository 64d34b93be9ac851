//! Takes records into the lake without a write-ahead log: who sent them is answered once they are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lakeport::error::Kind;
use lakeport::source::MessageId;
use lakeport_serve::{Accepted, Batch, Family, Health, Identity, Refusal, SourceInfo};
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
        Direct { invocations, sources, contents: Contents::default(), not_ready: Mutex::default() }
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
            && self.contents.differs(key, content)
        {
            return Err(Refusal::KeyReused);
        }
        let taken = self.invocations.try_messages(source, messages(&batch), Instant::now() + LIMIT).await;
        let taken = taken.map_err(|undelivered| refusal(source, undelivered))?;
        if let Identity::Request { key, content } = batch.identity {
            self.contents.insert(key, content);
        }
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
        Health { not_ready, ..Health::default() }
    }

    fn metrics(&self) -> Vec<Family> {
        self.invocations.metrics()
    }
}

/// The records of a request. Where the request has a key, each is known by that and its place.
fn messages(batch: &Batch) -> Vec<Message> {
    let id = |index: usize| match &batch.identity {
        Identity::None => None,
        Identity::Request { key, .. } => Some(MessageId::of(&[b"request", key, &(index as u64).to_le_bytes()])),
        Identity::Records(keys) => keys.get(index).copied().map(MessageId),
    };
    let lines = batch.iter().map(|line| batch.lines.slice_ref(line));
    lines.enumerate().map(|(index, lines): (usize, Bytes)| Message { id: id(index), group: None, lines }).collect()
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
