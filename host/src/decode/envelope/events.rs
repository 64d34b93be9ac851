//! Events: CloudEvents 1.0 as structured JSON, and Event Grid's own schema.
//!
//! Both say the same with other words. IoT Hub's events (`Microsoft.Devices.*`) have a message or a device in `data`; what is
//! made of those is what the same message is through any other envelope. Where facts come from: the CloudEvents specification
//! 1.0.2 and its JSON format; “Azure IoT Hub as an Event Grid source” in Azure's documentation.

use std::borrow::Cow;

use super::Outer;
use super::content::{Content, is_json_type, text_of};
use super::iot_hub::MEASUREMENT;
use super::row::{Inherits, Row};
use crate::decode::fields::Slot;
use crate::decode::reason;
use crate::decode::scan::{Scanner, Span};
use crate::decode::stops::Stops;
use crate::error::Result;
use crate::record::Attribute;

/// The words of a schema.
pub struct Schema {
    kind: &'static str,
    time: &'static str,
    source: &'static str,
    is_cloudevents: bool,
}

pub const CLOUDEVENTS: Schema = Schema { kind: "type", time: "time", source: "source", is_cloudevents: true };
pub const EVENT_GRID: Schema = Schema { kind: "eventType", time: "eventTime", source: "topic", is_cloudevents: false };

/// The types of IoT Hub's events.
const DEVICES: &str = "Microsoft.Devices.";
const TELEMETRY: &str = "Microsoft.Devices.DeviceTelemetry";
const CREATED: &str = "Microsoft.Devices.DeviceCreated";
const DELETED: &str = "Microsoft.Devices.DeviceDeleted";

/// What CloudEvents defines; every other member is an extension attribute.
const CONTEXT: [&str; 10] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"];

/// Opens events.
pub struct Events {
    schema: &'static Schema,
    outer: Outer,
    content: Content,
    stops: Stops,
    slots: Slots,
}

struct Slots {
    whole: Slot,
    id: Slot,
    kind: Slot,
    time: Slot,
    source: Slot,
    subject: Slot,
    version: Slot,
    content_type: Slot,
    data: Slot,
    base64: Slot,
    body: Slot,
    properties: Slot,
    system: Slot,
    enqueued: Slot,
    sender: Slot,
    device: Slot,
    twin: Slot,
}

impl Events {
    /// Opens events of a schema.
    pub fn new(schema: &'static Schema) -> Result<Events> {
        let mut outer = Outer::default();
        let mut add = |pointer: &str| outer.fields.add(pointer);
        let slots = Slots {
            whole: add("")?,
            id: add("/id")?,
            kind: add(&format!("/{}", schema.kind))?,
            time: add(&format!("/{}", schema.time))?,
            source: add(&format!("/{}", schema.source))?,
            subject: add("/subject")?,
            version: add("/specversion")?,
            content_type: add("/datacontenttype")?,
            data: add("/data")?,
            base64: add("/data_base64")?,
            body: add("/data/body")?,
            properties: add("/data/properties")?,
            system: add("/data/systemProperties")?,
            enqueued: add("/data/systemProperties/iothub-enqueuedtime")?,
            sender: add("/data/systemProperties/iothub-connection-device-id")?,
            device: add("/data/deviceId")?,
            twin: add("/data/twin")?,
        };
        let content = Content::new("/iothub-content-type", "/iothub-content-encoding")?;
        Ok(Events { schema, outer, content, stops: Stops::default(), slots })
    }

    /// Whether a line may be an array of events: Event Grid delivers them so.
    pub fn takes_arrays(&self) -> bool {
        !self.schema.is_cloudevents
    }

    /// Takes an event out of a line, or out of an element of an array.
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let Events { schema, outer, content, stops, slots } = self;
        outer.scan(data, start, end)?;
        let get = |slot| outer.get(data, slot);
        if schema.is_cloudevents && text_of(data, get(slots.version)).as_deref() != Some("1.0") {
            return Err(reason::no_text("specversion", data, get(slots.version), "expected `1.0`"));
        }
        reason::check_text(schema.kind, data, get(slots.kind))?;
        let kind = text_of(data, get(slots.kind)).unwrap_or_default();
        row.put(Attribute::Id, data, get(slots.id));
        row.put(Attribute::Time, data, get(slots.time));
        let of_device = kind.starts_with(DEVICES);
        match text_of(data, get(slots.source)) {
            // The hub's name is the last segment of its resource's.
            Some(source) if of_device || !schema.is_cloudevents => {
                row.text(Attribute::Source, source.rsplit('/').next().unwrap_or_default());
            }
            _ => row.put(Attribute::Source, data, get(slots.source)),
        }
        if kind == TELEMETRY {
            row.text(Attribute::Kind, MEASUREMENT);
            row.put(Attribute::EnqueuedTime, data, get(slots.enqueued));
            row.put(Attribute::Properties, data, get(slots.properties));
            row.put(Attribute::SystemProperties, data, get(slots.system));
            match get(slots.sender) {
                Span::ABSENT => put_subject(data, Span::ABSENT, get(slots.subject), row),
                sender => row.put(Attribute::Subject, data, sender),
            }
            content.put_body(data, get(slots.body), get(slots.system), row);
            return Ok(());
        }
        row.put(Attribute::Kind, data, get(slots.kind));
        if schema.is_cloudevents {
            put_extensions(data, outer.found[slots.whole], stops, row);
        }
        if schema.is_cloudevents && !of_device {
            row.put(Attribute::Subject, data, get(slots.subject));
            return put_data(data, get(slots.data), get(slots.base64), get(slots.content_type), row);
        }
        put_subject(data, get(slots.device), get(slots.subject), row);
        let operation = match &*kind {
            CREATED => "create",
            DELETED => "delete",
            _ => return put_data(data, get(slots.data), get(slots.base64), Span::ABSENT, row),
        };
        row.text(Attribute::Operation, operation);
        match get(slots.twin) {
            Span::ABSENT => put_data(data, get(slots.data), get(slots.base64), Span::ABSENT, row),
            twin => {
                row.body_json(data, twin);
                row.inherits = Inherits::Version;
                Ok(())
            }
        }
    }
}

/// The device's ID: as `data` has it, or as the subject does, `devices/{id}`.
fn put_subject(data: &[u8], device: Span, subject: Span, row: &mut Row<'_>) {
    if !device.is_absent() {
        return row.put(Attribute::Subject, data, device);
    }
    match text_of(data, subject) {
        Some(text) => row.text(Attribute::Subject, text.strip_prefix("devices/").unwrap_or(&text)),
        None => row.put(Attribute::Subject, data, subject),
    }
}

/// The body: `data`, a string of it only where that is no JSON; or the bytes of `data_base64`.
fn put_data(data: &[u8], value: Span, base64: Span, content_type: Span, row: &mut Row<'_>) -> Result<(), String> {
    if !value.is_absent() {
        let is_text = data[value.start as usize] == b'"'
            && text_of(data, content_type).is_some_and(|content_type| !is_json_type(&content_type));
        match is_text {
            true => row.body_text(data, value),
            false => row.body_json(data, value),
        }
    } else if !base64.is_absent() {
        let text = text_of(data, base64).unwrap_or(Cow::Borrowed("="));
        if !row.body_base64(text.as_bytes()) {
            return Err("`data_base64` is no base64: expected a string of the standard alphabet, padded".into());
        }
    }
    Ok(())
}

/// The extension attributes, which are scalars, as an object; nothing where there are none.
fn put_extensions(data: &[u8], event: Span, stops: &mut Stops, row: &mut Row<'_>) {
    if !row.wanted.has(Attribute::Properties) {
        return;
    }
    let start = row.buffer.len();
    let scanned = Scanner::new(data, event.end as usize, stops).members(event.start as usize, |key, value| {
        let is_context = text_of(data, key).is_some_and(|key| CONTEXT.contains(&&*key));
        if is_context || matches!(data[value.start as usize], b'{' | b'[') {
            return;
        }
        row.buffer.push(if row.buffer.len() == start { b'{' } else { b',' });
        row.buffer.extend_from_slice(key.of(data));
        row.buffer.push(b':');
        row.buffer.extend_from_slice(value.of(data));
    });
    debug_assert!(scanned.is_ok(), "the event was validated");
    if row.buffer.len() > start {
        row.buffer.push(b'}');
        row.written(Attribute::Properties, start);
    }
}
