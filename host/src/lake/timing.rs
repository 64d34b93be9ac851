//! How long requests to a store take, by what was asked and how it was answered.

use std::time::Instant;

use object_store::Error as StoreError;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::Lake;
use super::failure::Failure;

impl Lake {
    /// Sends a request once, and counts how long it took.
    pub(super) async fn timed<T>(
        &self,
        operation: &'static str,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let (began, span) = (Instant::now(), request_span(operation));
        let answer = asked.instrument(span.clone()).await;
        self.observe(operation, began, answer.as_ref().map_or_else(result_of, |_| "ok"), &span);
        answer
    }

    /// Does something in a local lake, and counts how long it took.
    pub(super) async fn timed_local<T, E>(
        &self,
        operation: &'static str,
        done: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (began, span) = (Instant::now(), request_span(operation));
        let answer = done.instrument(span.clone()).await;
        self.observe(operation, began, if answer.is_ok() { "ok" } else { "failed" }, &span);
        answer
    }

    fn observe(&self, operation: &'static str, began: Instant, result: &'static str, span: &Span) {
        span.record("lakeport.store.result", result);
        self.retries.durations.observe(operation, result, began.elapsed());
    }
}

fn request_span(operation: &'static str) -> Span {
    tracing::debug_span!(
        target: "otel",
        "store request",
        lakeport.store.operation = operation,
        lakeport.store.result = Empty
    )
}

/// The name of an answer that is not what was asked for. `absent` and `taken` are answers, too.
fn result_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound { .. } => "absent",
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => "taken",
        error => match Failure::of(error) {
            Failure::Network(_) => "no-answer",
            Failure::Status(429 | 503, _) => "throttled",
            Failure::Status(401 | 403, _) => "denied",
            Failure::Status(..) | Failure::Other => "failed",
        },
    }
}
