//! From the spans of `tracing` to finished spans in a queue.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lakeport::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::Counts;
use super::export::Message;
use super::protocol::{Parent, Span};

/// The longest text of an attribute.
const LONGEST: usize = 256;

/// Puts finished spans into a queue, or drops them.
pub struct OtlpLayer {
    pub queue: mpsc::Sender<Message>,
    pub counts: Arc<Counts>,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// A span that is under way. `None` in its place: its trace is not sampled.
struct Open(Option<Span>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for OtlpLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        // Of a span above that is traced; else of the client.
        let above = span.scope().skip(1).find_map(|above| {
            let extensions = above.extensions();
            let Open(open) = extensions.get::<Open>()?;
            Some(open.as_ref().map(|span| Parent { trace: span.trace, span: Some(span.id), is_sampled: true }))
        });
        let parent = match above {
            Some(Some(parent)) => parent,
            Some(None) => Parent { trace: [0; 16], span: None, is_sampled: false },
            None => fields.traceparent.as_deref().and_then(Parent::parse).unwrap_or_else(|| self.root()),
        };
        let open = parent.is_sampled.then(|| Span {
            trace: parent.trace,
            id: (self.chance)().to_be_bytes(),
            parent: parent.span,
            name: fields.name.take().unwrap_or_else(|| span.name().to_owned()),
            is_server: fields.traceparent.is_some() || fields.is_server,
            began: self.clock.now(),
            ended: 0,
            attributes: fields.attributes,
            error: fields.error,
        });
        span.extensions_mut().insert(Open(open));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(Open(Some(open))) = extensions.get_mut::<Open>() {
            let mut fields = Fields::default();
            values.record(&mut fields);
            open.attributes.extend(fields.attributes);
            open.error = fields.error.or(open.error.take());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        let Some(Open(Some(mut span))) = open else { return };
        span.ended = self.clock.now().max(span.began);
        if self.queue.try_send(Message::Span(span)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl OtlpLayer {
    fn root(&self) -> Parent {
        let trace = u128::from((self.chance)()) << 64 | u128::from((self.chance)());
        Parent { trace: trace.to_be_bytes(), span: None, is_sampled: true }
    }
}

/// The fields of a span. `otel.name`, `otel.server`, `traceparent` and `error` have a meaning; all others are attributes.
#[derive(Default)]
struct Fields {
    name: Option<String>,
    is_server: bool,
    traceparent: Option<String>,
    error: Option<String>,
    attributes: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let text = value.chars().take(LONGEST).collect();
        match field.name() {
            "otel.name" => self.name = Some(text),
            "traceparent" => self.traceparent = Some(text),
            "error" => self.error = Some(text),
            name => self.attributes.push((name, json!({ "stringValue": text }))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push((field.name(), json!({ "intValue": value.to_string() })));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attributes.push((field.name(), json!({ "intValue": value.to_string() })));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "otel.server" => self.is_server = value,
            name => self.attributes.push((name, json!({ "boolValue": value }))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
