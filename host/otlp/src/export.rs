//! Sends spans, many at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lakeport::error::{Error, Result};
use tokio::sync::{mpsc, oneshot};

use super::Counts;
use super::protocol::{Settings, Span};

/// The most spans of one request.
const BATCH: usize = 512;
/// How long spans wait for others.
const LINGER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after it did not take spans, and the least time between two warnings of it.
const PAUSE: Duration = Duration::from_secs(5);
const WARNING: Duration = Duration::from_secs(60);

/// What the exporter is told.
pub enum Message {
    Span(Span),
    /// Everything before it shall be sent now.
    Flush(oneshot::Sender<()>),
}

/// Sends what comes out of a queue.
pub struct Exporter {
    settings: Settings,
    client: reqwest::Client,
    waiting: mpsc::Receiver<Message>,
    counts: Arc<Counts>,
    /// Not before then, unless the process ends.
    next: Option<Instant>,
    warned: Option<Instant>,
}

impl Exporter {
    pub fn new(settings: Settings, waiting: mpsc::Receiver<Message>, counts: Arc<Counts>) -> Result<Exporter> {
        let client = reqwest::Client::builder()
            .default_headers(settings.headers.clone())
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Error::config(format!("traces cannot be sent: {}", error.without_url())))?;
        Ok(Exporter { settings, client, waiting, counts, next: None, warned: None })
    }

    /// Sends until the queue is closed.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(message) = self.waiting.recv().await {
            let mut flush = self.take(message, &mut batch);
            let until = tokio::time::Instant::now() + LINGER;
            while flush.is_none() && batch.len() < BATCH {
                match tokio::time::timeout_at(until, self.waiting.recv()).await {
                    Ok(Some(message)) => flush = self.take(message, &mut batch),
                    Ok(None) | Err(_) => break,
                }
            }
            if let (Some(next), None) = (self.next.take(), &flush) {
                // The queue fills meanwhile; what finds no room is dropped.
                tokio::time::sleep_until(next.into()).await;
            }
            self.send(std::mem::take(&mut batch)).await;
            if let Some(flush) = flush {
                // Whoever waits may be gone.
                let _ = flush.send(());
            }
        }
    }

    fn take(&self, message: Message, batch: &mut Vec<Span>) -> Option<oneshot::Sender<()>> {
        match message {
            Message::Span(span) => {
                batch.push(span);
                None
            }
            Message::Flush(done) => Some(done),
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let request = self.client.post(self.settings.url.clone()).header("content-type", "application/json");
        let why = match request.body(self.settings.body(&spans)).send().await {
            Ok(answer) if answer.status().is_success() => {
                self.counts.sent.fetch_add(count, Ordering::Relaxed);
                return;
            }
            Ok(answer) => format!("it answers {}", answer.status()),
            Err(error) if error.is_timeout() => format!("it does not answer in {PATIENCE:?}"),
            // Without the address: it may hold a password.
            Err(error) => error.without_url().to_string(),
        };
        let now = Instant::now();
        self.next = Some(now + PAUSE);
        self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        if self.warned.is_none_or(|warned| now - warned >= WARNING) {
            self.warned = Some(now);
            let dropped = self.counts.dropped.load(Ordering::Relaxed);
            tracing::warn!(
                "the collector `{}` takes no traces: {why}; {dropped} spans are lost",
                self.settings.shown()
            );
        }
    }
}
