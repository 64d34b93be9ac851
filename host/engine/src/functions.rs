//! Azure Functions: what a trigger brings goes into the lake before the trigger is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use lakeport::error::{Error, Result};
use lakeport::plan::{Envelope, Input, Plan, SourcePlan};
use lakeport_serve::functions::{Binding, Event, Events, Invocation, Reply, Trigger, done, failed};

use crate::deliveries::Delivery;
use crate::invocations::Invocations;

/// Carries out invocations of functions.
pub struct Functions {
    plan: Arc<Plan>,
    bindings: BTreeMap<String, Binding>,
    invocations: Invocations,
}

#[async_trait]
impl lakeport_serve::functions::Functions for Functions {
    fn binding(&self, function: &str) -> Option<Binding> {
        self.bindings.get(function).cloned()
    }

    async fn invoke(&self, function: &str, id: &str, invocation: Invocation) -> Reply {
        match self.carry_out(function, invocation).await {
            Ok(()) => done(),
            Err(error) => {
                tracing::error!(function, invocation = id, "{error}");
                failed(&error.to_string())
            }
        }
    }
}

impl Functions {
    /// Functions with these triggers. One that events start is named like the source that takes them.
    ///
    /// # Errors
    /// Of kind `Config`: no export reads a source of a function's name, or it does not take what is sent to it.
    pub fn new(plan: Arc<Plan>, bindings: BTreeMap<String, Binding>, invocations: Invocations) -> Result<Functions> {
        for (name, binding) in &bindings {
            if let Trigger::EventHub(_) = binding.trigger {
                source(&plan, name)?;
            }
        }
        Ok(Functions { plan, bindings, invocations })
    }

    /// Returns once what fired is in the lake.
    ///
    /// # Errors
    /// The invocation must fail, so that the platform delivers it again.
    async fn carry_out(&self, function: &str, invocation: Invocation) -> Result<()> {
        match invocation {
            Invocation::Events(events) => self.events(function, &events).await,
            Invocation::Timer(_) => self.invocations.run_due().await,
            other => Err(Error::config(format!("function `{function}`: {} is not taken", kind(&other)))),
        }
    }

    /// Ends what is at work, once it is in the lake.
    pub async fn end(&self) {
        self.invocations.end().await;
    }

    async fn events(&self, function: &str, events: &Events) -> Result<()> {
        let source = source(&self.plan, function)?;
        let mut follows = None;
        for run in contiguous(&events.events) {
            let delivery = Delivery { follows, ..delivery(run, source.mapping.envelope) };
            follows = run.last().map(|event| event.sequence);
            self.invocations.deliver(function, &events.partition, &delivery).await?;
        }
        Ok(())
    }
}

/// The source that takes the events of a function.
fn source<'a>(plan: &'a Plan, function: &str) -> Result<&'a SourcePlan> {
    let source = plan.exports.iter().map(|export| &*export.source).find(|source| source.name == function);
    let source = source.filter(|source| source.input == Input::Http);
    source.ok_or_else(|| {
        Error::config(format!("function `{function}`: no export reads a source of this name with `http = true`"))
            .with_help("name the function like the source that takes its events")
    })
}

fn kind(invocation: &Invocation) -> &'static str {
    match invocation {
        Invocation::Events(_) => "an Event Hubs trigger",
        Invocation::Timer(_) => "a timer trigger",
        Invocation::Http(_) => "an HTTP trigger",
        Invocation::Queue(_) => "a queue trigger",
        Invocation::Blob(_) => "a blob trigger",
    }
}

/// The runs of events whose sequence numbers follow each other.
fn contiguous(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    events.chunk_by(|one, next| one.sequence + 1 == next.sequence)
}

/// Events as lines of the source's envelope.
fn delivery(events: &[Event], envelope: Envelope) -> Delivery {
    let mut lines = BytesMut::new();
    let mut starts = Vec::with_capacity(events.len());
    for event in events {
        // A batch of a hub has a few megabytes.
        starts.push(lines.len() as u32);
        match envelope {
            Envelope::IotHub => message(event, &mut lines),
            _ => one_line(&event.body, &mut lines),
        }
        lines.put_u8(b'\n');
    }
    Delivery {
        first: events.first().map_or(0, |event| event.sequence),
        follows: None,
        lines: lines.freeze(),
        starts: starts.into(),
    }
}

/// An event as IoT Hub writes a message into a file.
fn message(event: &Event, line: &mut BytesMut) {
    let time = event.enqueued.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    line.put_slice(b"{");
    if let Some(time) = time {
        line.put_slice(format!("\"EnqueuedTimeUtc\":\"{time}\",").as_bytes());
    }
    line.put_slice(b"\"Properties\":");
    one_line(event.properties.get().as_bytes(), line);
    line.put_slice(b",\"SystemProperties\":");
    one_line(event.system_properties.get().as_bytes(), line);
    line.put_slice(b",\"Body\":");
    match serde_json::from_slice::<&serde_json::value::RawValue>(&event.body) {
        Ok(body) => one_line(body.get().as_bytes(), line),
        // As IoT Hub does with bodies that it does not know to be JSON.
        Err(_) => {
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &event.body);
            line.put_slice(format!("\"{body}\"").as_bytes());
        }
    }
    line.put_slice(b"}");
}

/// Appends bytes as part of one line: line ends stand between tokens of JSON only, where a space means the same.
fn one_line(bytes: &[u8], line: &mut BytesMut) {
    line.extend(bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}

/// Lines of events, for tests.
#[cfg(test)]
fn lines(delivery: &Delivery) -> Vec<&[u8]> {
    delivery.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use lakeport_serve::functions::DataType;

    use super::*;

    fn events(bodies: &str, sequences: &str, system: &str) -> Events {
        let text = |json: &str| serde_json::to_string(json).unwrap();
        let body = format!(
            r#"{{"Data":{{"events":{}}},"Metadata":{{"PartitionContext":{{"EventHubName":"h","ConsumerGroup":"$Default","PartitionId":"3"}},
            "SequenceNumberArray":{},"EnqueuedTimeUtcArray":{},"PropertiesArray":{},"SystemPropertiesArray":{}}}}}"#,
            text(bodies),
            text(sequences),
            text(r#"["2026-11-21T00:00:08.225","2026-11-21T00:00:09"]"#),
            text("[{},{}]"),
            text(system)
        );
        let binding = Binding { name: "events".into(), trigger: Trigger::EventHub(DataType::String) };
        match Invocation::parse(&binding, body.as_bytes()).unwrap() {
            Invocation::Events(events) => events,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_become_messages_of_iot_hub() {
        let events = events(
            r#"["{\"t\":\n21.5}","not json"]"#,
            "[17,18]",
            r#"[{"iothub-connection-device-id":"d1"},{"iothub-connection-device-id":"d2"}]"#,
        );
        let delivery = delivery(&events.events, Envelope::IotHub);
        assert_eq!((delivery.first, &delivery.starts[..]), (17, &[0, lines(&delivery)[0].len() as u32 + 1][..]));
        let first: serde_json::Value = serde_json::from_slice(lines(&delivery)[0]).unwrap();
        assert_eq!(first["EnqueuedTimeUtc"], "2026-11-21T00:00:08.225Z");
        assert_eq!(
            (&first["Body"]["t"], &first["SystemProperties"]["iothub-connection-device-id"]),
            (&21.5.into(), &"d1".into())
        );
        let second: serde_json::Value = serde_json::from_slice(lines(&delivery)[1]).unwrap();
        assert_eq!(second["Body"], "bm90IGpzb24=");
    }

    #[test]
    fn a_gap_within_a_batch_divides_it() {
        let events = events(r#"["{}","{}"]"#, "[17,19]", "[{},{}]");
        let runs: Vec<Vec<u64>> =
            contiguous(&events.events).map(|run| run.iter().map(|event| event.sequence).collect()).collect();
        assert_eq!(runs, [vec![17], vec![19]]);
    }
}
