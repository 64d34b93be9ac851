//! Envelopes: which attributes and which body come out of a line, and what is refused.

use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{BinaryViewArray, MapArray};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plan::Envelope;
use crate::record::Attribute;

const TEXTS: [(&str, Attribute); 5] = [
    ("id", Attribute::Id),
    ("source", Attribute::Source),
    ("kind", Attribute::Kind),
    ("subject", Attribute::Subject),
    ("operation", Attribute::Operation),
];

pub fn envelope(envelope: Envelope) -> Mapping {
    Mapping::all(envelope, &Place::Envelope)
}

/// A decoder of everything that [`shown`] shows.
pub fn everything(mapping: &Mapping) -> Decoder {
    let mut columns: Vec<_> =
        TEXTS.iter().map(|(_, attribute)| ColumnRequest::attribute(*attribute, ColumnType::Text)).collect();
    columns.extend([
        ColumnRequest::attribute(Attribute::Time, ColumnType::Timestamp),
        ColumnRequest::attribute(Attribute::EnqueuedTime, ColumnType::Timestamp),
        ColumnRequest::attribute(Attribute::Version, ColumnType::Int64),
        ColumnRequest::attribute(Attribute::Properties, ColumnType::TextMap),
        ColumnRequest::attribute(Attribute::SystemProperties, ColumnType::TextMap),
        ColumnRequest::attribute(Attribute::Body, ColumnType::Json),
        ColumnRequest::attribute(Attribute::Body, ColumnType::Text),
        ColumnRequest::pointer("/t", ColumnType::Json),
        ColumnRequest::attribute(Attribute::Body, ColumnType::Bytes),
    ]);
    Decoder::new(mapping, "plant", columns, LIMIT).unwrap()
}

/// Every row, as an object of what is not null. `body`: what kinds of value it is; `bytes`: its bytes.
pub fn shown(decoded: &Decoded) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in &decoded.batches {
        for row in 0..batch.rows() {
            let mut shown = json!({});
            for ((name, _), column) in TEXTS.iter().zip(&batch.columns) {
                let column = column.as_string_view();
                if column.is_valid(row) {
                    shown[name] = column.value(row).into();
                }
            }
            for (name, column) in ["time", "enqueued-time"].into_iter().zip(&batch.columns[5..]) {
                let column = column.as_primitive::<TimestampMicrosecondType>();
                if column.is_valid(row) {
                    let time = chrono::DateTime::from_timestamp_micros(column.value(row)).unwrap();
                    shown[name] = time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into();
                }
            }
            let version = batch.columns[7].as_primitive::<Int64Type>();
            if version.is_valid(row) {
                shown["version"] = version.value(row).into();
            }
            for (name, column) in ["properties", "system-properties"].into_iter().zip(&batch.columns[8..]) {
                if column.is_valid(row) {
                    shown[name] = map(column.as_map(), row);
                }
            }
            let json = batch.columns[10].as_binary_view();
            if json.is_valid(row) {
                // serde_json refuses half of a surrogate pair.
                let json = json.value(row);
                shown["body"] =
                    serde_json::from_slice(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned().into());
            } else if batch.columns[11].is_valid(row) {
                shown["text"] = batch.columns[11].as_string_view().value(row).into();
            } else if batch.bodies.is_valid(row) {
                shown["bytes"] = batch.bodies.value(row).to_vec().into();
            }
            if batch.columns[12].is_valid(row) {
                shown["t"] = serde_json::from_slice(batch.columns[12].as_binary_view().value(row)).unwrap();
            }
            let bytes: &BinaryViewArray = batch.columns[13].as_binary_view();
            assert_eq!(bytes.is_valid(row).then(|| bytes.value(row)), value(&batch.bodies, row));
            rows.push(shown);
        }
    }
    rows
}

fn value(array: &BinaryViewArray, row: usize) -> Option<&[u8]> {
    array.is_valid(row).then(|| array.value(row))
}

fn map(column: &MapArray, row: usize) -> Value {
    let entries = column.value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    (0..entries.len()).map(|at| (keys.value(at).to_owned(), Value::from(values.value(at)))).collect()
}

/// The only row of a line.
pub fn open(kind: Envelope, line: &str) -> Value {
    let decoded = everything(&envelope(kind)).decode(&chunk(0, line), 0);
    assert_rows_align(&decoded);
    assert!(decoded.dead.is_empty() && rows(&decoded) == 1, "{line}: {:?}", decoded.dead);
    assert_eq!(decoded.batches[0].raw.value(0), line.as_bytes());
    shown(&decoded).remove(0)
}

/// The only reason of a line.
pub fn refused(kind: Envelope, line: &str) -> String {
    let mut decoded = everything(&envelope(kind)).decode(&chunk(0, line), 0);
    assert_eq!((decoded.dead.len(), rows(&decoded), decoded.records), (1, 0, 1), "{line}");
    assert_eq!(decoded.dead[0].raw, line.as_bytes());
    decoded.dead.remove(0).reason
}

// --- IoT Hub ----------------------------------------------------------------------------------------------------------

fn message(system: Value, properties: Value, body: Value) -> String {
    json!({ "EnqueuedTimeUtc": "2018-06-11T00:00:08.2250000Z", "Properties": properties, "SystemProperties": system, "Body": body })
        .to_string()
}

#[test]
fn a_message_of_a_device_is_a_measurement() {
    let system = json!({ "connectionDeviceId": "d1", "connectionAuthMethod": "{\"scope\":\"device\"}",
        "contentType": "application/json", "contentEncoding": "utf-8", "messageId": "m-7" });
    let line = message(system.clone(), json!({ "alert": "no", "hubName": "hub-1" }), json!({ "t": 21.5 }));
    let expected = json!({ "kind": "measurement", "subject": "d1", "source": "hub-1", "id": "m-7",
        "time": "2018-06-11T00:00:08.225Z", "enqueued-time": "2018-06-11T00:00:08.225Z",
        "properties": { "alert": "no", "hubName": "hub-1" }, "system-properties": system,
        "body": { "t": 21.5 }, "t": 21.5 });
    assert_eq!(open(Envelope::IotHub, &line), expected);
}

#[test]
fn what_a_message_lacks_is_taken_from_elsewhere_or_null() {
    let line = message(
        json!({ "iothub-creation-time-utc": "2018-06-10T23:59:59Z" }),
        json!({ "deviceId": "d2" }),
        Value::Null,
    );
    let row = open(Envelope::IotHub, &line);
    assert_eq!((&row["subject"], &row["source"]), (&json!("d2"), &json!("plant")));
    assert_eq!(
        (&row["time"], &row["enqueued-time"]),
        (&json!("2018-06-10T23:59:59Z"), &json!("2018-06-11T00:00:08.225Z"))
    );
    assert!(row.get("id").is_none() && row.get("body").is_none() && row.get("bytes").is_none(), "{row}");
    assert_eq!(open(Envelope::IotHub, "{}"), json!({ "kind": "measurement", "source": "plant" }));
}

#[test]
fn the_body_of_a_message_is_told_from_what_it_says_and_what_it_is() {
    let says_json = json!({ "contentType": "Application/JSON; charset=utf-8", "contentEncoding": "UTF-8" });
    let says_utf16 = json!({ "contentType": "application/json", "contentEncoding": "utf-16" });
    let base64 = |bytes: &[u8]| Value::from(STANDARD.encode(bytes));
    let utf16: Vec<u8> = "{\"t\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (system, body, expected) in [
        (json!({}), json!([1, 2]), json!({ "body": [1, 2] })),
        (json!({}), json!(12.5), json!({ "body": 12.5 })),
        (json!({}), json!(false), json!({ "body": false })),
        (json!({}), json!("{\"t\":\"a\\u0062\"}"), json!({ "body": { "t": "ab" }, "t": "ab" })),
        (json!({}), base64(b"{\"t\":1}"), json!({ "body": { "t": 1 }, "t": 1 })),
        (json!({}), base64(b"Message 1"), json!({ "text": "Message 1" })),
        (json!({}), base64(&[0, 255, 254]), json!({ "bytes": [0, 255, 254] })),
        (json!({}), json!("hello, world"), json!({ "text": "hello, world" })),
        (json!({}), json!("AAA"), json!({ "text": "AAA" })),
        (json!({}), json!("AA=A"), json!({ "text": "AA=A" })),
        (json!({}), json!(""), json!({ "text": "" })),
        (json!({}), json!("AAAA"), json!({ "body": null, "text": "\0\0\0" })),
        (says_json.clone(), json!("AAAA"), json!({ "text": "AAAA" })),
        (says_json, json!("{\"t\":1}"), json!({ "body": { "t": 1 }, "t": 1 })),
        (says_utf16, base64(&utf16), json!({ "text": String::from_utf8_lossy(&utf16) })),
    ] {
        let row = open(Envelope::IotHub, &message(system, json!({}), body.clone()));
        for name in ["body", "text", "bytes", "t"] {
            let wanted = expected.get(name).filter(|value| !value.is_null());
            assert_eq!(row.get(name), wanted, "{body}: {name}");
        }
    }
    let half = open(Envelope::IotHub, r#"{"Body":"\ud83d"}"#);
    assert_eq!(half["body"], r#""\ud83d""#, "it stays the JSON string that it is");
}

#[test]
fn events_of_a_hub_have_its_kind_and_their_operation() {
    for (operation, source, kind, expected) in [
        ("createDeviceIdentity", None, "deviceLifecycleEvents", Some("create")),
        ("deleteDeviceIdentity", None, "deviceLifecycleEvents", Some("delete")),
        ("updateTwin", Some("twinChangeEvents"), "twinChangeEvents", Some("patch")),
        ("replaceTwin", None, "twinChangeEvents", Some("update")),
        ("deviceConnected", None, "deviceConnectionStateEvents", Some("deviceConnected")),
        ("updateTwin", Some("Telemetry"), "measurement", None),
        ("", Some("digitalTwinChangeEvents"), "digitalTwinChangeEvents", None),
        ("anything", None, "measurement", None),
    ] {
        for in_system in [true, false] {
            let (mut system, mut properties) = (json!({}), json!({ "opType": operation, "deviceId": "d1" }));
            if let Some(source) = source {
                let holder = if in_system { &mut system } else { &mut properties };
                holder["iothub-message-source"] = source.into();
            }
            let row = open(Envelope::IotHub, &message(system, properties, json!({ "version": 7 })));
            assert_eq!(row["kind"], kind, "{operation}");
            assert_eq!(row.get("operation"), expected.map(Value::from).as_ref(), "{operation}");
            assert_eq!(row.get("version"), expected.map(|_| Value::from(7)).as_ref(), "{operation}");
        }
    }
}

#[test]
fn a_pointer_goes_into_the_body_and_false_is_none() {
    let mapping = Mapping {
        kind: Place::Body("/type".into()),
        subject: Place::Body("/asset".into()),
        properties: Place::Nowhere,
        ..envelope(Envelope::IotHub)
    };
    let system = json!({ "connectionDeviceId": "d1" });
    let line = |body: Value| message(system.clone(), json!({ "a": "b" }), body);
    let text = format!("{}\n{}", line(json!({ "type": "brew", "asset": "pump" })), line(json!("no JSON")));
    let decoded = everything(&mapping).decode(&chunk(0, text), 0);
    let rows = shown(&decoded);
    assert_eq!((&rows[0]["kind"], &rows[0]["subject"]), (&json!("brew"), &json!("pump")));
    assert!(rows[1].get("kind").is_none() && rows[1].get("subject").is_none(), "no fallback: {}", rows[1]);
    assert!(rows.iter().all(|row| row.get("properties").is_none() && row.get("system-properties").is_some()));
}

// --- events -----------------------------------------------------------------------------------------------------------

const HUB: &str = "/SUBSCRIPTIONS/1/RESOURCEGROUPS/g/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/hub-1";

/// The same event in both schemas.
fn event(of: &str, data: Value) -> [(Envelope, String); 2] {
    let (subject, time) = ("devices/d1", "2019-01-07T20:58:30.48Z");
    let cloud = json!({ "specversion": "1.0", "id": "e-1", "source": HUB, "type": of, "subject": subject, "time": time, "data": data });
    let grid = json!({ "id": "e-1", "topic": HUB, "subject": subject, "eventType": of, "eventTime": time, "data": data,
        "dataVersion": "1", "metadataVersion": "1" });
    [(Envelope::CloudEvents, cloud.to_string()), (Envelope::EventGrid, grid.to_string())]
}

#[test]
fn telemetry_in_an_event_is_what_it_is_in_a_message() {
    let system = json!({ "iothub-content-type": "application/json", "iothub-content-encoding": "utf-8",
        "iothub-connection-device-id": "d9", "iothub-enqueuedtime": "2019-01-07T20:58:30.48Z" });
    let data = json!({ "body": { "t": 900 }, "properties": { "Status": "Active" }, "systemProperties": system });
    for (kind, line) in event("Microsoft.Devices.DeviceTelemetry", data) {
        let expected = json!({ "kind": "measurement", "subject": "d9", "source": "hub-1", "id": "e-1",
            "time": "2019-01-07T20:58:30.480Z", "enqueued-time": "2019-01-07T20:58:30.480Z",
            "properties": { "Status": "Active" }, "system-properties": system, "body": { "t": 900 }, "t": 900 });
        assert_eq!(open(kind, &line), expected);
    }
    for (kind, line) in event("Microsoft.Devices.DeviceTelemetry", json!({ "body": STANDARD.encode("{\"t\":1}") })) {
        let row = open(kind, &line);
        assert_eq!((&row["t"], &row["subject"]), (&json!(1), &json!("d1")));
    }
}

#[test]
fn a_device_that_is_created_is_its_twin() {
    let data = json!({ "twin": { "deviceId": "d1", "version": 2, "t": 1 }, "hubName": "hub-1", "deviceId": "d1" });
    for (of, operation) in [("DeviceCreated", "create"), ("DeviceDeleted", "delete")] {
        let of = format!("Microsoft.Devices.{of}");
        for (kind, line) in event(&of, data.clone()) {
            let expected = json!({ "kind": of, "operation": operation, "version": 2, "subject": "d1", "source": "hub-1",
                "id": "e-1", "time": "2019-01-07T20:58:30.480Z", "body": data["twin"], "t": 1 });
            assert_eq!(open(kind, &line), expected);
        }
    }
    for (kind, line) in event("Microsoft.Devices.DeviceConnected", json!({ "moduleId": "m", "version": 3 })) {
        let row = open(kind, &line);
        assert_eq!((&row["body"], &row["subject"]), (&json!({ "moduleId": "m", "version": 3 }), &json!("d1")));
        assert!(row.get("operation").is_none() && row.get("version").is_none());
    }
}

#[test]
fn an_array_of_events_is_as_many_records() {
    let [_, (_, line)] = event("Microsoft.Devices.DeviceConnected", json!({ "deviceId": "d7" }));
    let text = format!("[]\n {line}\n[ {line} , 7, {line}]\n");
    let decoded = everything(&envelope(Envelope::EventGrid)).decode(&chunk(100, text.clone()), 0);
    assert_eq!((decoded.records, rows(&decoded), decoded.dead.len()), (4, 3, 1));
    for (row, offset) in offsets(&decoded).into_iter().enumerate().skip(1) {
        let raw = decoded.batches[0].raw.value(row);
        assert_eq!(raw, line.as_bytes());
        assert_eq!(&text.as_bytes()[offset as usize - 100..][..raw.len()], raw);
    }
    let letter = &decoded.dead[0];
    assert_eq!((&*letter.raw, &*letter.reason), (&b"7"[..], "not a JSON object but a number: a record is an object"));
    assert!(refused(Envelope::EventGrid, "[{}").starts_with("not valid JSON at byte 4: expected `,` or `]`"));
    assert!(refused(Envelope::CloudEvents, "[{}]").starts_with("not a JSON object but an array"));
}

#[test]
fn an_array_of_very_many_events_is_one_dead_letter() {
    let array = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    let decoded = everything(&envelope(Envelope::EventGrid)).decode(&chunk(0, array(65_536)), 0);
    assert_eq!((decoded.records, decoded.dead.len()), (65_536, 65_536));
    let reason = refused(Envelope::EventGrid, &array(65_537));
    assert_eq!(reason, "an array of 65537 events, at most 65536 are allowed");
}

#[test]
fn a_cloudevent_keeps_its_data_and_its_extensions() {
    let head = r#""specversion":"1.0","id":"1","source":"/x/y","type":"brew","subject":"devices/d1""#;
    let line = format!(r#"{{{head},"time":"2026-01-01T00:00:00Z","data":{{"t":"a"}},"tenant":"blue","n":7,"o":{{}}}}"#);
    let expected = json!({ "id": "1", "source": "/x/y", "kind": "brew", "subject": "devices/d1", "time": "2026-01-01T00:00:00Z",
        "properties": { "tenant": "blue", "n": "7" }, "body": { "t": "a" }, "t": "a" });
    assert_eq!(open(Envelope::CloudEvents, &line), expected);
    for (data, expected) in [
        (r#""data":"hello""#, json!({ "body": "hello" })),
        (r#""data":"hello","datacontenttype":"application/vnd.x+json""#, json!({ "body": "hello" })),
        (r#""data":"<a/>","datacontenttype":"text/xml; charset=utf-8""#, json!({ "text": "<a/>" })),
        (r#""data_base64":"AP/+""#, json!({ "bytes": [0, 255, 254] })),
        (r#""data":null"#, json!({})),
    ] {
        let row = open(Envelope::CloudEvents, &format!("{{{head},{data}}}"));
        for name in ["body", "text", "bytes"] {
            assert_eq!(row.get(name), expected.get(name), "{data}: {name}");
        }
        assert!(row.get("properties").is_none());
    }
}

#[test]
fn what_is_no_event_says_what_was_expected() {
    for (kind, line, expected) in [
        (Envelope::CloudEvents, r#"{"type":"a"}"#, "no `specversion`: expected `1.0`"),
        (Envelope::CloudEvents, r#"{"type":"a","specversion":"0.3"}"#, "the `specversion` is `0.3`, expected `1.0`"),
        (Envelope::CloudEvents, r#"{"type":"a","specversion":1.0}"#, "the `specversion` is a number, expected `1.0`"),
        (Envelope::CloudEvents, r#"{"specversion":"1.0"}"#, "no `type`: expected a string"),
        (Envelope::CloudEvents, r#"{"specversion":"1.0","type":""}"#, "the `type` is empty, expected a string"),
        (
            Envelope::CloudEvents,
            r#"{"specversion":"1.0","type":"a","data_base64":"x"}"#,
            "`data_base64` is no base64: expected a string of the standard alphabet, padded",
        ),
        (Envelope::EventGrid, r#"{"eventType":7}"#, "the `eventType` is a number, expected a string"),
        (Envelope::IotHub, "7", "not a JSON object but a number: a record is an object"),
        (
            Envelope::IotHub,
            "{",
            "not valid JSON at byte 2: expected a key in double quotes, found the end of the record",
        ),
    ] {
        assert_eq!(refused(kind, line), expected);
    }
}

// --- changes ----------------------------------------------------------------------------------------------------------

#[test]
fn a_change_says_what_happened_to_what() {
    let line = r#"{"operation":"patch","kind":"device","key":"d1","version":7,"time":"2026-01-01T00:00:00Z","source":"erp","body":{"t":1}}"#;
    let expected = json!({ "operation": "patch", "kind": "device", "subject": "d1", "version": 7, "source": "erp",
        "time": "2026-01-01T00:00:00Z", "body": { "t": 1 }, "t": 1 });
    assert_eq!(open(Envelope::Change, line), expected);
    let deleted = json!({ "operation": "delete", "kind": "device", "subject": "d1", "source": "plant" });
    assert_eq!(open(Envelope::Change, r#"{"operation":"delete","kind":"device","key":"d1"}"#), deleted);
    assert_eq!(open(Envelope::Change, r#"{"operation":"delete","kind":"device","key":"d1","body":null}"#), deleted);
}

#[test]
fn what_is_no_change_says_what_was_expected() {
    let six = "expected `create`, `update`, `patch`, `delete`, `truncate` or `schema`";
    for (line, expected) in [
        (r#"{"kind":"a","key":"b"}"#, format!("no `operation`: {six}")),
        (r#"{"operation":"upsert","kind":"a","key":"b"}"#, format!("unknown `operation` `upsert`: {six}")),
        (r#"{"operation":1,"kind":"a","key":"b"}"#, format!("the `operation` is a number, {six}")),
        (r#"{"operation":"create","key":"b","body":{}}"#, "no `kind`: expected a string".into()),
        (r#"{"operation":"create","kind":"a","key":"","body":{}}"#, "the `key` is empty, expected a string".into()),
        (r#"{"operation":"create","kind":"a","key":7,"body":{}}"#, "the `key` is a number, expected a string".into()),
        (r#"{"operation":"create","kind":"a","key":"","body":{}}"#, "the `key` is empty, expected a string".into()),
        (
            r#"{"operation":"create","kind":"a","key":"b"}"#,
            "no `body`: expected an object; only a `delete` or a `truncate` may have none".into(),
        ),
        (
            r#"{"operation":"update","kind":"a","key":"b","body":"x"}"#,
            "the `body` is a string, expected an object".into(),
        ),
    ] {
        assert_eq!(refused(Envelope::Change, line), expected);
    }
}

// --- all of them ------------------------------------------------------------------------------------------------------

#[test]
fn a_new_body_has_new_values_and_the_envelopes_attributes_stay() {
    let mut decoder = everything(&envelope(Envelope::IotHub));
    let line = message(json!({ "connectionDeviceId": "d1" }), json!({}), json!({ "t": 1 }));
    let decoded = decoder.decode(&chunk(0, line), 0);
    let batch = &decoded.batches[0];
    let extracted = decoder.extract(&BinaryViewArray::from_iter_values([br#"{"t":2}"#]), &batch.columns);
    assert!(extracted.rejected.is_empty());
    assert_eq!(texts(&extracted.columns[3]), [Some("d1".to_owned())]);
    assert_eq!(texts(&extracted.columns[11]), [Some(r#"{"t":2}"#.to_owned())]);
    assert_eq!(extracted.columns[12].as_binary_view().value(0), b"2");
}

#[test]
fn a_string_that_is_a_body_is_unescaped_as_text() {
    let columns = vec![ColumnRequest::pointer("", ColumnType::Text)];
    let mut decoder = Decoder::new(&envelope(Envelope::CloudEvents), "s", columns, LIMIT).unwrap();
    let line = r#"{"specversion":"1.0","type":"a","data":"tab\there \u00e9"}"#;
    let decoded = decoder.decode(&chunk(0, line), 0);
    assert_eq!(texts(&decoded.batches[0].columns[0]), [Some("tab\there é".to_owned())]);
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let line = |size: usize| format!("{{\"Body\":\"{}\"}}", "x".repeat(size - 11));
    let mut decoder = Decoder::new(&envelope(Envelope::IotHub), "s", vec![], 100).unwrap();
    let decoded = decoder.decode(&chunk(0, [line(100), line(101)].join("\n")), 0);
    assert_eq!((rows(&decoded), decoded.records), (1, 2));
    assert_eq!(decoded.dead[0].reason, "larger than max-record-size: 101 bytes, at most 100 are allowed");
    assert_eq!(decoded.dead[0].offset, 101);
}

#[test]
fn a_batch_out_of_envelopes_has_at_most_max_rows() {
    let count = crate::record::MAX_ROWS + 5;
    let text: String = (0..count).map(|id| message(json!({}), json!({}), json!({ "t": id })) + "\n").collect();
    let decoded = everything(&envelope(Envelope::IotHub)).decode(&chunk(0, text), 0);
    assert_eq!(decoded.batches.iter().map(|batch| batch.rows()).collect::<Vec<_>>(), [count - 5, 5]);
    assert_eq!(shown(&decoded)[count - 1]["t"], count - 1);
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let parts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\n",
        "null",
        "1",
        "\"Body\"",
        "\"data\"",
        "\"SystemProperties\"",
        "\"AAAA\"",
        "{\"Body\":\"",
        "\"}",
        "\"eventType\":\"Microsoft.Devices.DeviceCreated\"",
        "\"specversion\":\"1.0\"",
        "\"type\":\"Microsoft.Devices.DeviceTelemetry\"",
        "\"data\":{\"twin\":[1]}",
        "\"operation\":\"delete\"",
        "{\"operation\":\"update\",\"kind\":\"k\",\"key\":\"\\u0061\",\"body\":{}}\n",
        "{\"EnqueuedTimeUtc\":\"6/11/2018 1:00:00 PM\",\"Properties\":{\"opType\":\"updateTwin\"},\"Body\":\"eyJ0IjoxfQ==\"}\n",
    ];
    let part = prop_oneof![
        4 => prop::sample::select(parts.map(str::as_bytes).to_vec()).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..3),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_every_record_becomes_one_thing(text in fragment()) {
        // Debezium's tombstones are neither rows nor dead letters.
        for (_, kind) in Envelope::ALL.into_iter().filter(|(_, kind)| *kind != Envelope::Debezium) {
            let decoded = everything(&envelope(kind)).decode(&chunk(0, text.clone()), 0);
            assert_rows_align(&decoded);
            shown(&decoded);
            prop_assert_eq!(decoded.records, (rows(&decoded) + decoded.dead.len()) as u64);
        }
    }
}
