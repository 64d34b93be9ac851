//! Traces by OTLP over HTTP: where `OTEL_EXPORTER_OTLP_ENDPOINT` says so, and nothing otherwise.
//!
//! What is traced are the spans of `tracing` whose target is `otel`: requests, commits, and, at level `debug`, requests to stores.
//! The queue is bounded; what a collector does not take is dropped and counted, and nobody waits for it.

mod export;
mod layer;
mod protocol;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lakeport::clock::Surroundings;
use lakeport::error::{Error, Result};
use lakeport::telemetry::Traced;
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;

use self::export::{Exporter, Message};
use self::layer::OtlpLayer;

/// Spans that wait to be sent.
const QUEUE: usize = 4_096;
/// How long the end of a process waits for the last spans to be sent.
pub const LAST: Duration = Duration::from_secs(2);

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// Where spans are going to be sent.
pub struct Traces {
    queue: mpsc::Sender<Message>,
    counts: Arc<Counts>,
    exporter: Exporter,
    level: LevelFilter,
}

/// Sends spans on a task of its own.
pub struct Sender(mpsc::Sender<Message>);

impl Traces {
    /// Traces as the variables of the environment say; `None` where they name no collector.
    ///
    /// # Errors
    /// Of kind `Config`: a variable that cannot be used.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Traces>> {
        let Some(settings) = protocol::Settings::read(variable)? else { return Ok(None) };
        let level = match variable("LAKEPORT_TRACES").as_deref() {
            None | Some("" | "info") => LevelFilter::INFO,
            Some("debug") => LevelFilter::DEBUG,
            Some(other) => {
                let message = format!("`LAKEPORT_TRACES` is `{other}`, expected `info` or `debug`");
                return Err(Error::config(message).with_help("`debug` has requests to stores, too"));
            }
        };
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let exporter = Exporter::new(settings, waiting, counts.clone())?;
        Ok(Some(Traces { queue, counts, exporter, level }))
    }

    /// What collects the spans.
    pub fn layer(&self) -> Traced {
        let Surroundings { clock, chance } = Surroundings::system();
        let layer = OtlpLayer { queue: self.queue.clone(), counts: self.counts.clone(), clock, chance };
        Traced::new(layer, self.level)
    }

    /// What becomes of spans.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Begins to send, on the runtime that calls.
    pub fn start(self) -> Sender {
        tokio::spawn(self.exporter.run());
        Sender(self.queue)
    }
}

impl Sender {
    /// Sends what waits, for so long; what a collector does not take in time is sent later, or is lost, as the counts say.
    pub async fn flush(&self, patience: Duration) {
        let (sent, done) = oneshot::channel();
        let flushing = async {
            if self.0.send(Message::Flush(sent)).await.is_ok() {
                // An exporter that is gone has nothing to send.
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout(patience, flushing).await;
    }
}

impl Counts {
    /// Spans that the collector took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that it did not take, or that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
