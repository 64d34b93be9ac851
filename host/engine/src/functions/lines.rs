//! Events of a hub as lines of a source's envelope.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use lakeport::plan::Envelope;
use lakeport_serve::functions::Event;

use crate::delivery::EventRun;
use crate::lines::{Lines, put_line};
use crate::numbers::Numbers;

/// The runs of events whose sequence numbers follow each other.
pub(super) fn contiguous(events: &[Event]) -> impl Iterator<Item = &[Event]> {
    events.chunk_by(|one, next| one.sequence.checked_add(1) == Some(next.sequence))
}

/// Events of a hub's partition as lines of the source's envelope; `follows` is the number of the event before them, where that is known.
pub(super) fn event_run(events: &[Event], (stream, follows): (&Arc<str>, Option<u64>), envelope: Envelope) -> EventRun {
    let mut lines = Lines::default();
    for event in events {
        match envelope {
            Envelope::IotHub => lines.push_with(|line| put_message(event, line)),
            _ => lines.push(&event.body),
        }
    }
    let (lines, starts) = lines.finish();
    let first = events.first().map_or(0, |event| event.sequence);
    let enqueued = events.iter().map(|event| event.enqueued).collect();
    EventRun { numbers: Numbers::Counted { stream: stream.clone(), first, follows, enqueued }, lines, starts }
}

/// An event as IoT Hub writes a message into a file.
fn put_message(event: &Event, line: &mut BytesMut) {
    let time = event.enqueued.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    line.put_slice(b"{");
    if let Some(time) = time {
        line.put_slice(format!("\"EnqueuedTimeUtc\":\"{time}\",").as_bytes());
    }
    line.put_slice(b"\"Properties\":");
    put_line(event.properties.get().as_bytes(), line);
    line.put_slice(b",\"SystemProperties\":");
    put_line(event.system_properties.get().as_bytes(), line);
    line.put_slice(b",\"Body\":");
    match serde_json::from_slice::<&serde_json::value::RawValue>(&event.body) {
        Ok(body) => put_line(body.get().as_bytes(), line),
        // As IoT Hub does with bodies that it does not know to be JSON.
        Err(_) => {
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &event.body);
            line.put_slice(format!("\"{body}\"").as_bytes());
        }
    }
    line.put_slice(b"}");
}

/// Lines of events, for tests.
#[cfg(test)]
fn lines(delivery: &EventRun) -> Vec<&[u8]> {
    delivery.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use lakeport_serve::functions::{Binding, DataType, Events, Invocation, Trigger};

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
        let binding = Binding::new("events", Trigger::EventHub(DataType::String));
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
        let delivery = event_run(&events.events, (&"sb:///h".into(), None), Envelope::IotHub);
        assert!(matches!(delivery.numbers, Numbers::Counted { first: 17, follows: None, .. }));
        assert_eq!(delivery.starts[..], [0, lines(&delivery)[0].len() as u32 + 1]);
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
