//! Events of Event Hubs and of IoT Hub's built-in endpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::value::{Members, instant, json, parse};
use super::{DataType, InvalidInvocation};

/// A batch of events of one partition, in their order.
#[derive(Debug, Clone)]
pub struct Events {
    /// The namespace's host name, where the host says it.
    pub namespace: Option<String>,
    pub hub: String,
    pub consumer_group: String,
    pub partition: String,
    pub events: Vec<Event>,
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number in the partition. Numbers ascend and may have gaps.
    pub sequence: u64,
    pub offset: Option<String>,
    pub enqueued: Option<DateTime<Utc>>,
    /// The body's bytes; of a body that came as JSON, the JSON as it came.
    pub body: Bytes,
    /// A JSON object: what the sender set.
    pub properties: Box<RawValue>,
    /// A JSON object: what the service set, `iothub-connection-device-id` among it.
    pub system_properties: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartitionContext {
    fully_qualified_namespace: Option<String>,
    event_hub_name: String,
    consumer_group: String,
    partition_id: String,
}

impl Events {
    pub(super) fn parse(data_type: DataType, data: &str, metadata: &Members) -> Result<Events, InvalidInvocation> {
        let context = metadata.get("PartitionContext").ok_or_else(|| missing("PartitionContext"))?;
        let context: PartitionContext = parse("PartitionContext", context)?;
        let sequences = metadata.get("SequenceNumberArray").ok_or_else(|| missing("SequenceNumberArray"))?;
        let sequences: Vec<u64> = parse("SequenceNumberArray", sequences)?;
        let bodies = json(data);
        let bodies: Vec<&RawValue> = serde_json::from_str(&bodies).map_err(|error| {
            InvalidInvocation(format!("the events are no array; set `\"cardinality\": \"many\"`: {error}"))
        })?;
        let count = bodies.len();
        same_length("SequenceNumberArray", sequences.len(), count)?;
        let offsets = optional::<Offset>(metadata, "OffsetArray", count)?;
        let times = optional::<String>(metadata, "EnqueuedTimeUtcArray", count)?;
        let properties = optional::<Box<RawValue>>(metadata, "PropertiesArray", count)?;
        let system_properties = optional::<Box<RawValue>>(metadata, "SystemPropertiesArray", count)?;
        let rest = offsets.into_iter().zip(times).zip(properties.into_iter().zip(system_properties));
        let events = sequences.into_iter().zip(bodies).zip(rest).map(
            |((sequence, body), ((offset, time), (properties, system)))| {
                Ok(Event {
                    sequence,
                    offset: offset.map(Offset::into_text),
                    enqueued: time.map_or(Ok(None), |time| instant("EnqueuedTimeUtcArray", &time))?,
                    body: body_bytes(data_type, body.get())?,
                    properties: object("PropertiesArray", properties)?,
                    system_properties: object("SystemPropertiesArray", system)?,
                })
            },
        );
        Ok(Events {
            namespace: context.fully_qualified_namespace,
            hub: context.event_hub_name,
            consumer_group: context.consumer_group,
            partition: context.partition_id,
            events: events.collect::<Result<_, _>>()?,
        })
    }
}

/// An offset is a text, and was a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Offset {
    Text(String),
    Number(u64),
}

impl Offset {
    fn into_text(self) -> String {
        match self {
            Offset::Text(text) => text,
            Offset::Number(number) => number.to_string(),
        }
    }
}

/// Parses an array that may be absent, and whose elements may be null.
pub(super) fn optional<T: for<'de> Deserialize<'de>>(
    metadata: &Members,
    name: &str,
    count: usize,
) -> Result<Vec<Option<T>>, InvalidInvocation> {
    let Some(value) = metadata.get(name) else { return Ok((0..count).map(|_| None).collect()) };
    let values: Vec<Option<T>> = parse(name, value)?;
    same_length(name, values.len(), count)?;
    Ok(values)
}

fn same_length(name: &str, length: usize, count: usize) -> Result<(), InvalidInvocation> {
    match length == count {
        true => Ok(()),
        false => {
            Err(InvalidInvocation(format!("`{name}` has {length} elements, expected {count}, one for each event")))
        }
    }
}

/// Returns the bytes of a body.
pub(super) fn body_bytes(data_type: DataType, value: &str) -> Result<Bytes, InvalidInvocation> {
    // A text that is no JSON string is JSON that the host has parsed; without a body there is null.
    match (serde_json::from_str::<Option<String>>(value), data_type) {
        (Ok(None), _) => Ok(Bytes::new()),
        (Ok(Some(text)), DataType::String) => Ok(text.into()),
        (Ok(Some(text)), DataType::Binary) => {
            let bytes = STANDARD.decode(&text);
            bytes.map(Bytes::from).map_err(|error| {
                InvalidInvocation(format!("a body is not base64, expected it with `\"dataType\": \"binary\"`: {error}"))
            })
        }
        (Err(_), _) => Ok(value.to_owned().into()),
    }
}

/// Returns an object of properties; none where there are none.
fn object(name: &str, value: Option<Box<RawValue>>) -> Result<Box<RawValue>, InvalidInvocation> {
    let value = match value {
        None => "{}".to_owned(),
        Some(value) => json(value.get()).into_owned(),
    };
    match value.starts_with('{') {
        true => RawValue::from_string(value).map_err(|error| InvalidInvocation(format!("`{name}`: {error}"))),
        false => Err(InvalidInvocation(format!("`{name}` has an element that is no object"))),
    }
}

fn missing(name: &str) -> InvalidInvocation {
    InvalidInvocation(format!("`Metadata` has no `{name}`; set `\"cardinality\": \"many\"` in `function.json`"))
}

#[cfg(test)]
mod tests {
    use super::super::{Binding, Invocation, Trigger};
    use super::*;

    fn parse(data_type: DataType, body: &str) -> Result<Events, InvalidInvocation> {
        let binding = Binding::new("events", Trigger::EventHub(data_type));
        match Invocation::parse(&binding, body.as_bytes())? {
            Invocation::Events(events) => Ok(events),
            other => panic!("{other:?}"),
        }
    }

    const AS_TEXTS: &str = r#"{"Data":{"events":"[\"{\\\"t\\\":21.5}\",\"x\"]"},
        "Metadata":{"PartitionContext":{"EventHubName":"h","ConsumerGroup":"$Default","PartitionId":"3"},
        "SequenceNumberArray":"[17,19]","OffsetArray":"[\"4294967296\",\"4294967400\"]",
        "EnqueuedTimeUtcArray":"[\"2026-11-21T00:00:08.225\",\"2026-11-21T00:00:09Z\"]",
        "PropertiesArray":"[{},{\"line\":7.50}]","SystemPropertiesArray":"[{\"iothub-connection-device-id\":\"d1\"},{}]"}}"#;

    #[test]
    fn events_have_their_partition_numbers_times_and_properties() {
        let as_json = r#"{"Data":{"events":["{\"t\":21.5}","x"]},
            "Metadata":{"PartitionContext":"{\"EventHubName\":\"h\",\"ConsumerGroup\":\"$Default\",\"PartitionId\":\"3\"}",
            "SequenceNumberArray":[17,19],"OffsetArray":[4294967296,4294967400],
            "EnqueuedTimeUtcArray":["2026-11-21T00:00:08.225","2026-11-21T00:00:09Z"],
            "PropertiesArray":["{}",{"line":7.50}],"SystemPropertiesArray":[{"iothub-connection-device-id":"d1"},{}]}}"#;
        for body in [AS_TEXTS, as_json] {
            let events = parse(DataType::String, body).unwrap();
            assert_eq!((&*events.hub, &*events.consumer_group, &*events.partition), ("h", "$Default", "3"));
            let [first, second] = &events.events[..] else { panic!("{events:?}") };
            assert_eq!(
                (first.sequence, first.offset.as_deref(), &first.body[..]),
                (17, Some("4294967296"), &b"{\"t\":21.5}"[..])
            );
            assert_eq!(first.enqueued.unwrap().to_rfc3339(), "2026-11-21T00:00:08.225+00:00");
            assert_eq!(first.system_properties.get(), r#"{"iothub-connection-device-id":"d1"}"#);
            assert_eq!(
                (second.sequence, &second.body[..], second.properties.get()),
                (19, &b"x"[..], r#"{"line":7.50}"#)
            );
        }
    }

    #[test]
    fn bodies_are_texts_json_or_base64() {
        let body = |data: &str| {
            format!(
                r#"{{"Data":{{"events":{data}}},"Metadata":{{"PartitionContext":{{"EventHubName":"h","ConsumerGroup":"c","PartitionId":"0"}},"SequenceNumberArray":"[1]"}}}}"#
            )
        };
        let one = |data_type, data: &str| parse(data_type, &body(data)).map(|events| events.events[0].body.clone());
        assert_eq!(one(DataType::String, r#"[{"t": 1e400}]"#).unwrap(), r#"{"t": 1e400}"#);
        assert_eq!(
            one(DataType::String, r#""[{\"t\": 12345678901234567890123}]""#).unwrap(),
            r#"{"t": 12345678901234567890123}"#
        );
        assert_eq!(one(DataType::Binary, r#""[\"/wA=\"]""#).unwrap(), &b"\xff\0"[..]);
        assert_eq!(one(DataType::String, "[null]").unwrap(), "");
        assert!(one(DataType::Binary, r#"["%"]"#).unwrap_err().0.contains("not base64"));
        assert!(one(DataType::String, r#""text""#).unwrap_err().0.contains("cardinality"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let fewer = AS_TEXTS.replace("[17,19]", "[17]");
        assert_eq!(
            parse(DataType::String, &fewer).unwrap_err().0,
            "`SequenceNumberArray` has 1 elements, expected 2, one for each event"
        );
        let negative = AS_TEXTS.replace("[17,19]", "[-1,19]");
        assert!(parse(DataType::String, &negative).unwrap_err().0.starts_with("`SequenceNumberArray`: "));
        let odd = AS_TEXTS.replace("[{},{\\\"line\\\":7.50}]", "[{},7]");
        assert_eq!(parse(DataType::String, &odd).unwrap_err().0, "`PropertiesArray` has an element that is no object");
        let single = r#"{"Data":{"events":"{}"},"Metadata":{"SequenceNumber":"17"}}"#;
        assert!(parse(DataType::String, single).unwrap_err().0.contains("cardinality"));
    }
}
