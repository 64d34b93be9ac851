//! Messages as IoT Hub's routing and Event Hubs Capture write them: three maps and a body.
//!
//! One line each as `{"EnqueuedTimeUtc": …, "Properties": {…}, "SystemProperties": {…}, "Body": …}`; what is in Avro files is
//! brought into that form first, without the body. The names are those of IoT Hub's documentation of message routing, and of
//! the system properties at its built-in endpoint.

use super::Outer;
use super::content::{Content, text_of};
use super::row::{Inherits, Row};
use crate::decode::fields::Slot;
use crate::decode::requests::Wanted;
use crate::decode::scan::Span;
use crate::decode::time;
use crate::error::Result;
use crate::record::Attribute;

/// The kind of what devices send, whatever envelope it comes in.
pub const MEASUREMENT: &str = "measurement";

/// Where a message has its attributes; the first that is there counts.
pub struct Names {
    time: &'static [&'static str],
    enqueued: &'static [&'static str],
    subject: &'static [&'static str],
    id: &'static [&'static str],
}

/// What IoT Hub's routing writes.
pub const ROUTING: Names = Names {
    time: &["/SystemProperties/iothub-creation-time-utc", "/EnqueuedTimeUtc"],
    enqueued: &["/EnqueuedTimeUtc"],
    subject: &["/SystemProperties/connectionDeviceId", "/Properties/deviceId"],
    id: &["/SystemProperties/messageId"],
};

/// What Event Hubs Capture writes, of messages that came through an IoT Hub's built-in endpoint among others.
pub const CAPTURE: Names = Names {
    time: &["/SystemProperties/iothub-creation-time-utc", "/SystemProperties/iothub-enqueuedtime", "/EnqueuedTimeUtc"],
    enqueued: &["/SystemProperties/iothub-enqueuedtime", "/EnqueuedTimeUtc"],
    subject: &["/SystemProperties/iothub-connection-device-id", "/SystemProperties/x-opt-partition-key"],
    id: &["/SystemProperties/message-id"],
};

/// Events that are no telemetry: the application property `opType`, the message source, the operation on the device. One that
/// changes no device has its own name as operation, which no table takes.
const OPERATIONS: [(&str, &str, &str); 8] = [
    ("createDeviceIdentity", "deviceLifecycleEvents", "create"),
    ("deleteDeviceIdentity", "deviceLifecycleEvents", "delete"),
    ("createModuleIdentity", "deviceLifecycleEvents", "createModuleIdentity"),
    ("deleteModuleIdentity", "deviceLifecycleEvents", "deleteModuleIdentity"),
    ("updateTwin", "twinChangeEvents", "patch"),
    ("replaceTwin", "twinChangeEvents", "update"),
    ("deviceConnected", "deviceConnectionStateEvents", "deviceConnected"),
    ("deviceDisconnected", "deviceConnectionStateEvents", "deviceDisconnected"),
];

/// Opens messages.
pub struct IotHub {
    outer: Outer,
    content: Content,
    source: String,
    body: Slot,
    properties: Slot,
    system: Slot,
    time: Vec<Slot>,
    enqueued: Vec<Slot>,
    subject: Vec<Slot>,
    id: Vec<Slot>,
    hub: Vec<Slot>,
    /// The message source, `opType` and the module's name, where they matter.
    event: Option<([Slot; 2], Slot, Slot)>,
}

impl IotHub {
    /// Opens messages with these names. `source` is that of messages that do not name their hub.
    pub fn new(names: &Names, wanted: &Wanted, source: &str) -> Result<IotHub> {
        let mut outer = Outer::default();
        let fields = &mut outer.fields;
        let (body, properties) = (fields.add("/Body")?, fields.add("/Properties")?);
        let system = fields.add("/SystemProperties")?;
        let mut slots = |attribute, pointers: &[&str]| -> Result<Vec<Slot>> {
            let pointers = if wanted.has(attribute) { pointers } else { &[] };
            pointers.iter().map(|pointer| fields.add(pointer)).collect()
        };
        let time = slots(Attribute::Time, names.time)?;
        let enqueued = slots(Attribute::EnqueuedTime, names.enqueued)?;
        let subject = slots(Attribute::Subject, names.subject)?;
        let id = slots(Attribute::Id, names.id)?;
        let hub = slots(Attribute::Source, &["/Properties/hubName"])?;
        let asked = [Attribute::Kind, Attribute::Operation, Attribute::Version];
        let event = match asked.into_iter().any(|attribute| wanted.has(attribute)) {
            true => Some((
                [
                    fields.add("/SystemProperties/iothub-message-source")?,
                    fields.add("/Properties/iothub-message-source")?,
                ],
                fields.add("/Properties/opType")?,
                fields.add("/Properties/moduleId")?,
            )),
            false => None,
        };
        let content = Content::new("/contentType", "/contentEncoding")?;
        let source = source.to_owned();
        Ok(IotHub { outer, content, source, body, properties, system, time, enqueued, subject, id, hub, event })
    }

    /// Takes a message and its body out of a line.
    #[inline]
    pub fn open(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        self.open_attributes(data, start, end, row)?;
        let (body, system) = (self.outer.found[self.body], self.outer.found[self.system]);
        self.content.put_body(data, body, system, row);
        Ok(())
    }

    /// Takes a message out of a line, but for its body.
    #[inline]
    pub fn open_attributes(&mut self, data: &[u8], start: usize, end: usize, row: &mut Row<'_>) -> Result<(), String> {
        let outer = &mut self.outer;
        outer.scan(data, start, end)?;
        put_time(Attribute::Time, data, outer.first(data, &self.time), row);
        put_time(Attribute::EnqueuedTime, data, outer.first(data, &self.enqueued), row);
        row.put(Attribute::Subject, data, outer.first(data, &self.subject));
        row.put(Attribute::Id, data, outer.first(data, &self.id));
        match outer.first(data, &self.hub) {
            Span::ABSENT => row.text(Attribute::Source, &self.source),
            hub => row.put(Attribute::Source, data, hub),
        }
        row.put(Attribute::Properties, data, outer.get(data, self.properties));
        row.put(Attribute::SystemProperties, data, outer.get(data, self.system));
        if let Some((sources, operation, module)) = self.event {
            let of_module = !outer.get(data, module).is_absent();
            put_event(data, outer.first(data, &sources), outer.get(data, operation), of_module, row);
        }
        Ok(())
    }
}

/// Puts what a message is about: telemetry, or an event of the hub's own.
fn put_event(data: &[u8], source: Span, operation: Span, of_module: bool, row: &mut Row<'_>) {
    let operation = text_of(data, operation).unwrap_or_default();
    let event = OPERATIONS.iter().find(|(name, ..)| *name == operation);
    let source = text_of(data, source).unwrap_or_default();
    let kind = match (&*source, event) {
        ("", Some((_, kind, _))) => kind,
        ("", None) => MEASUREMENT,
        (source, _) if source.eq_ignore_ascii_case("telemetry") => MEASUREMENT,
        (source, _) => source,
    };
    row.text(Attribute::Kind, kind);
    if let Some((name, _, operation)) = event
        && kind != MEASUREMENT
    {
        // What becomes of a module does not become of its device.
        row.text(Attribute::Operation, if of_module { name } else { operation });
        row.inherits = Inherits::Version;
    }
}

/// Puts a time: RFC 3339 as it is; `6/11/2018 12:00:08 AM`, which is UTC, and milliseconds since 1970 as RFC 3339.
#[inline]
fn put_time(attribute: Attribute, data: &[u8], value: Span, row: &mut Row<'_>) {
    if value.is_absent() || !row.wanted.has(attribute) {
        return;
    }
    let text = value.of(data);
    let instant = match text[0] {
        b'"' if text.get(5) != Some(&b'-') => std::str::from_utf8(value.inside(data)).ok().and_then(time::parse_en_us),
        b'-' | b'0'..=b'9' => time::parse(text, crate::plan::TimeUnit::EpochMilliseconds),
        _ => None,
    };
    if !instant.is_some_and(|instant| row.instant(attribute, instant)) {
        row.put(attribute, data, value);
    }
}
