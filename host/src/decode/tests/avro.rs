//! Avro container files: what comes out of them, of the shapes that are known and of any other, whole and damaged.

use apache_avro::types::Value as Avro;
use apache_avro::{Codec, DeflateSettings, Schema, Writer};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::envelopes::{envelope, everything, shown};
use super::*;
use crate::plan::Envelope;
use crate::record::{Attribute, DeadLetter};
use crate::source::avro::Header;

#[path = "../../../../tests/support/shared_data.rs"]
mod shared_data;

use shared_data::shared_data;

/// A container file's only chunk.
fn whole(file: &[u8]) -> Option<Chunk> {
    let header = Header::parse(file).ok().flatten()?;
    Some(Chunk { framing: Framing::Avro(Arc::new(header)), ..chunk(0, file) })
}

fn decode_file(file: &[u8]) -> Decoded {
    let decoded = everything(&envelope(Envelope::Avro)).decode(&whole(file).unwrap(), 0);
    assert_rows_align(&decoded);
    decoded
}

fn write(schema: &str, codec: Codec, records: impl IntoIterator<Item = Avro>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    records.into_iter().for_each(|record| {
        writer.append_value(record).unwrap();
    });
    writer.into_inner().unwrap()
}

fn text(text: &str) -> Avro {
    Avro::String(text.into())
}

fn one_of(branch: u32, value: Avro) -> Avro {
    Avro::Union(branch, Box::new(value))
}

fn pairs(pairs: &[(&str, Avro)]) -> Avro {
    Avro::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

const MESSAGE: &str = r#"{"type":"record","name":"Message","namespace":"Microsoft.Azure.Devices","fields":[
    {"name":"EnqueuedTimeUtc","type":"string"},{"name":"Properties","type":{"type":"map","values":"string"}},
    {"name":"SystemProperties","type":{"type":"map","values":"string"}},{"name":"Body","type":["null","bytes"]}]}"#;

fn message(system: &[(&str, Avro)], properties: &[(&str, Avro)], body: Avro) -> Avro {
    Avro::Record(vec![
        ("EnqueuedTimeUtc".into(), text("2018-06-11T00:00:08.2250000Z")),
        ("Properties".into(), pairs(properties)),
        ("SystemProperties".into(), pairs(system)),
        ("Body".into(), body),
    ])
}

#[test]
fn what_routing_writes_is_what_it_is_as_json() {
    let body = |bytes: &[u8]| one_of(1, Avro::Bytes(bytes.to_vec()));
    let file = write(
        MESSAGE,
        Codec::Null,
        [
            message(&[("connectionDeviceId", text("d\"1"))], &[("hubName", text("hub-1"))], body(b"{\"t\": 1}")),
            message(&[("messageId", text("m"))], &[("opType", text("updateTwin"))], body(b"{\"version\":3}")),
            message(&[], &[], body(&[0, 255])),
            message(&[], &[], one_of(0, Avro::Null)),
        ],
    );
    let time = "2018-06-11T00:00:08.225Z";
    let decoded = decode_file(&file);
    let expected = [
        json!({ "kind": "measurement", "subject": "d\"1", "source": "hub-1", "time": time, "enqueued-time": time,
            "properties": { "hubName": "hub-1" }, "system-properties": { "connectionDeviceId": "d\"1" }, "body": { "t": 1 }, "t": 1 }),
        json!({ "kind": "twinChangeEvents", "operation": "patch", "version": 3, "id": "m", "source": "plant", "time": time,
            "enqueued-time": time, "properties": { "opType": "updateTwin" }, "system-properties": { "messageId": "m" },
            "body": { "version": 3 } }),
        json!({ "kind": "measurement", "source": "plant", "time": time, "enqueued-time": time, "properties": {},
            "system-properties": {}, "bytes": [0, 255] }),
        json!({ "kind": "measurement", "source": "plant", "time": time, "enqueued-time": time, "properties": {},
            "system-properties": {} }),
    ];
    assert_eq!(shown(&decoded), expected);
    // In an uncompressed block, an offset is the datum's own.
    for (row, offset) in offsets(&decoded).into_iter().enumerate() {
        let raw = decoded.batches[0].raw.value(row);
        assert_eq!(&file[offset as usize..][..raw.len()], raw);
    }
}

#[test]
fn what_capture_writes_has_the_names_of_the_built_in_endpoint() {
    let schema = r#"{"type":"record","name":"EventData","namespace":"Microsoft.ServiceBus.Messaging","fields":[
        {"name":"SequenceNumber","type":"long"},{"name":"Offset","type":"string"},{"name":"EnqueuedTimeUtc","type":"string"},
        {"name":"SystemProperties","type":{"type":"map","values":["long","double","string","bytes"]}},
        {"name":"Properties","type":{"type":"map","values":["long","double","string","bytes","null"]}},
        {"name":"Body","type":["null","bytes"]}]}"#;
    let record = |system: &[(&str, Avro)], properties: &[(&str, Avro)]| {
        Avro::Record(vec![
            ("SequenceNumber".into(), Avro::Long(7)),
            ("Offset".into(), text("7")),
            ("EnqueuedTimeUtc".into(), text("6/11/2018 12:00:08 AM")),
            ("SystemProperties".into(), pairs(system)),
            ("Properties".into(), pairs(properties)),
            ("Body".into(), one_of(1, Avro::Bytes(b"{\"t\":1}".to_vec()))),
        ])
    };
    let key = ("x-opt-partition-key", one_of(2, text("p1")));
    let system = [
        key.clone(),
        ("iothub-connection-device-id", one_of(2, text("d1"))),
        ("iothub-message-source", one_of(2, text("twinChangeEvents"))),
        ("iothub-enqueuedtime", one_of(2, text("2018-06-11T00:00:08.5Z"))),
    ];
    let milliseconds = ("iothub-enqueuedtime", one_of(0, Avro::Long(1_528_675_208_750)));
    let properties = [
        ("n", one_of(0, Avro::Long(-7))),
        ("b", one_of(3, Avro::Bytes(vec![0, 255]))),
        ("f", one_of(1, Avro::Double(f64::NAN))),
        ("z", one_of(4, Avro::Null)),
    ];
    let records = [record(&[key], &properties), record(&system, &[]), record(&[milliseconds], &[])];
    let rows = shown(&decode_file(&write(schema, Codec::Deflate(DeflateSettings::default()), records)));
    assert_eq!(
        rows[0],
        json!({ "kind": "measurement", "subject": "p1", "source": "plant", "time": "2018-06-11T00:00:08Z",
            "enqueued-time": "2018-06-11T00:00:08Z", "properties": { "n": "-7", "b": "AP8=", "f": "NaN" },
            "system-properties": { "x-opt-partition-key": "p1" }, "body": { "t": 1 }, "t": 1 })
    );
    assert_eq!((&rows[1]["kind"], &rows[1]["subject"]), (&json!("twinChangeEvents"), &json!("d1")));
    assert_eq!(rows[1]["enqueued-time"], "2018-06-11T00:00:08.500Z");
    assert_eq!(rows[2]["enqueued-time"], "2018-06-11T00:00:08.750Z");
}

const ANY: &str = r#"{"type":"record","name":"x.Any","fields":[
    {"name":"name","type":"string"},{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"f","type":"float"},
    {"name":"d","type":"double"},{"name":"raw","type":"bytes"},{"name":"fixed","type":{"type":"fixed","name":"F","size":3}},
    {"name":"enum","type":{"type":"enum","name":"E","symbols":["A","B"]}},
    {"name":"list","type":{"type":"array","items":["null","E"]}},{"name":"map","type":{"type":"map","values":"long"}},
    {"name":"next","type":["null","Any"]}]}"#;

fn any_record(name: &str, next: Option<Avro>) -> Avro {
    Avro::Record(vec![
        ("name".into(), text(name)),
        ("b".into(), Avro::Boolean(true)),
        ("i".into(), Avro::Int(-3)),
        ("f".into(), Avro::Float(0.1)),
        ("d".into(), Avro::Double(1e300)),
        ("raw".into(), Avro::Bytes(vec![0, 1])),
        ("fixed".into(), Avro::Fixed(3, vec![1, 2, 3])),
        ("enum".into(), Avro::Enum(1, "B".into())),
        ("list".into(), Avro::Array(vec![one_of(0, Avro::Null), one_of(1, Avro::Enum(0, "A".into()))])),
        ("map".into(), pairs(&[("k", Avro::Long(9))])),
        ("next".into(), next.map_or(one_of(0, Avro::Null), |next| one_of(1, next))),
    ])
}

fn any_json(name: &str, next: Value) -> Value {
    json!({ "name": name, "b": true, "i": -3, "f": 0.1, "d": 1e300, "raw": "AAE=", "fixed": "AQID", "enum": "B",
        "list": [null, "A"], "map": { "k": 9 }, "next": next })
}

#[test]
fn a_record_of_any_schema_is_its_own_body_with_the_attributes_of_plain_records() {
    let file = write(ANY, Codec::Null, [any_record("é\n", Some(any_record("inner", None)))]);
    let decoded = decode_file(&file);
    let body = any_json("é\n", any_json("inner", Value::Null));
    assert_eq!(shown(&decoded), [json!({ "kind": "é\n", "source": "plant", "body": body })]);
    let mapping = Mapping { kind: Place::Body("/next/name".into()), ..envelope(Envelope::Avro) };
    let decoded = everything(&mapping).decode(&whole(&file).unwrap(), 0);
    assert_eq!(shown(&decoded)[0]["kind"], "inner");
}

#[test]
fn a_datum_larger_than_the_limit_is_a_dead_letter_and_the_others_are_not() {
    let large = "x".repeat(200);
    let file = write(ANY, Codec::Null, ["a", &large, "b"].map(|name| any_record(name, None)));
    let mut decoder = Decoder::new(&envelope(Envelope::Avro), "s", vec![], 150).unwrap();
    let decoded = decoder.decode(&whole(&file).unwrap(), 0);
    assert_eq!((rows(&decoded), decoded.dead.len()), (2, 1));
    assert!(decoded.dead[0].reason.starts_with("larger than max-record-size: 2"), "{}", decoded.dead[0].reason);
    let letter = &decoded.dead[0];
    assert_eq!(&file[letter.offset as usize..][..letter.raw.len()], &*letter.raw);
}

#[test]
fn times_in_a_record_of_any_schema_are_in_the_time_unit() {
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let schema = format!(
        r#"{{"type":"record","name":"r","fields":[
            {{"name":"signalTime","type":{millis}}},{{"name":"serverTime","type":["null","string"]}}]}}"#
    );
    let record = |time, server| {
        Avro::Record(vec![("signalTime".into(), Avro::TimestampMillis(time)), ("serverTime".into(), server)])
    };
    let server = |time: &str| one_of(1, text(time));
    let records = [
        record(1_528_675_208_750, one_of(0, Avro::Null)),
        record(-1, server("1528675208750")),
        record(0, server("2018-06-11T00:00:08Z")),
    ];
    let file = write(&schema, Codec::Null, records);
    let times = |mapping: &Mapping| {
        let decoded = everything(mapping).decode(&whole(&file).unwrap(), 0);
        shown(&decoded).iter().map(|row| (row["time"].clone(), row["enqueued-time"].clone())).collect::<Vec<_>>()
    };
    let plain = envelope(Envelope::Avro);
    let in_milliseconds = Mapping { time_unit: TimeUnit::EpochMilliseconds, ..plain.clone() };
    let expected = [
        (json!("2018-06-11T00:00:08.750Z"), Value::Null),
        (json!("1969-12-31T23:59:59.999Z"), json!("2018-06-11T00:00:08.750Z")),
        (json!("1970-01-01T00:00:00Z"), Value::Null),
    ];
    assert_eq!(times(&in_milliseconds), expected);
    assert_eq!(times(&plain)[2], (Value::Null, json!("2018-06-11T00:00:08Z")));
    // What an envelope gives itself is RFC 3339 in any case.
    let hub = write(MESSAGE, Codec::Null, [message(&[], &[], one_of(0, Avro::Null))]);
    let decoded = everything(&in_milliseconds).decode(&whole(&hub).unwrap(), 0);
    assert_eq!(shown(&decoded)[0]["time"], "2018-06-11T00:00:08.225Z");
}

/// A file of `schema` without compression, whose only block says that it has so many records.
fn with_block(schema: &str, records: i64, data: &[u8]) -> Vec<u8> {
    let mut file = write(schema, Codec::Null, []);
    let marker = file[file.len() - 16..].to_vec();
    for number in [records, data.len() as i64] {
        let mut left = (number as u64) << 1;
        while left > 0x7f {
            file.push(left as u8 | 0x80);
            left >>= 7;
        }
        file.push(left as u8);
    }
    [file, data.to_vec(), marker].concat()
}

/// The only dead letter of a file of three records.
fn letter_between_two(file: &[u8], limit: u64) -> DeadLetter {
    let mut decoder = Decoder::new(&envelope(Envelope::Avro), "s", vec![], limit).unwrap();
    let mut decoded = decoder.decode(&whole(file).unwrap(), 0);
    assert_eq!((rows(&decoded), decoded.dead.len(), decoded.records), (2, 1, 3), "{:?}", decoded.dead);
    let letter = decoded.dead.remove(0);
    assert_eq!(&file[letter.offset as usize..][..letter.raw.len()], &*letter.raw);
    letter
}

#[test]
fn a_datum_that_is_much_larger_as_json_leaves_those_behind_it() {
    // A character that is six as JSON: the text alone is not more than six times as large, what is behind it is.
    let behind = "b".repeat(100);
    let item = r#"{"type":"record","name":"E","fields":[{"name":"m","type":{"type":"map","values":["null","E"]}}]}"#;
    let schema = format!(
        r#"{{"type":"record","name":"r","fields":[{{"name":"text","type":"string"}},
            {{"name":"{behind}","type":{{"type":"array","items":{item}}}}},{{"name":"last","type":"double"}}]}}"#
    );
    let item = |value: Avro| Avro::Record(vec![("m".into(), pairs(&[("k", value)]))]);
    let record = |text: &str| {
        let items = vec![item(one_of(0, Avro::Null)), item(one_of(1, item(one_of(0, Avro::Null))))];
        Avro::Record(vec![
            ("text".into(), self::text(text)),
            (behind.clone(), Avro::Array(items)),
            ("last".into(), Avro::Double(0.5)),
        ])
    };
    let file = write(&schema, Codec::Null, ["a", &"\u{1}".repeat(500), "b"].map(record));
    let size = decode_file(&file).batches[0].raw.value(1).len() as u64;
    let letter = letter_between_two(&file, size);
    assert_eq!(letter.reason, format!("an Avro record of more than {} bytes as JSON", 6 * size));
    let letter = letter_between_two(&file, size - 1);
    assert_eq!(letter.reason, format!("larger than max-record-size: {size} bytes, at most {} are allowed", size - 1));
    let letter = letter_between_two(&file, size + 50);
    assert!(letter.reason.starts_with("larger than max-record-size: 3"), "{}", letter.reason);
}

#[test]
fn a_datum_that_is_nested_too_deep_leaves_those_behind_it() {
    let schema =
        r#"{"type":"record","name":"r","fields":[{"name":"next","type":["null","r"]},{"name":"last","type":"int"}]}"#;
    for depth in [300, 200_000] {
        let deep = [vec![2; depth], vec![0], vec![8; depth + 1]].concat();
        let file = with_block(schema, 3, &[&[0, 8], &deep[..], &[0, 8]].concat());
        let letter = letter_between_two(&file, LIMIT);
        assert_eq!(letter.reason, "an Avro record nested deeper than 256 levels");
        assert!(letter.raw == deep);
    }
}

#[test]
fn values_without_bytes_end() {
    let endless = r#"{"type":"record","name":"r","fields":[{"name":"next","type":"r"}]}"#;
    let many = r#"{"type":"record","name":"r","fields":[{"name":"list","type":{"type":"array","items":"null"}}]}"#;
    for (schema, data) in [(endless, &[][..]), (many, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0])] {
        let file = with_block(schema, 2, data);
        let decoded = decode_file(&file);
        assert_eq!((rows(&decoded), decoded.dead.len()), (0, 1));
        assert_eq!(
            decoded.dead[0].reason,
            "an Avro record that does not fit its schema: more than 65536 values in a row without bytes; 2 records are left here"
        );
    }
}

#[test]
fn what_the_records_of_a_chunk_come_to_is_bounded() {
    // Records without bytes that are 3 MiB each as JSON.
    let name = "n".repeat(3 << 20);
    let schema = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"{name}","type":"null"}}]}}"#);
    let decoded = decode_file(&with_block(&schema, 1_000, &[]));
    let (last, others) = decoded.dead.split_last().unwrap();
    assert!(others.iter().all(|letter| letter.reason.starts_with("larger than max-record-size: 31457")));
    assert_eq!(others.len(), (512 << 20) / ((3 << 20) + 9 + 128) + 1);
    let left = 1_000 - others.len();
    let reason = "Avro blocks that come to more than 536870912 bytes with their records as JSON: write smaller ones";
    assert_eq!(last.reason, format!("{reason}; {left} records are left here"));
}

#[test]
fn small_blocks_that_are_large_once_they_are_decompressed_are_bounded_together() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"b","type":"bytes"}]}"#;
    let zstd = Codec::Zstandard(apache_avro::ZstandardSettings::default());
    let mut file = write(schema, zstd, [Avro::Record(vec![("b".into(), Avro::Bytes(vec![0; 120 << 20]))])]);
    let block = file[Header::parse(&file).unwrap().unwrap().len..].to_vec();
    (0..9).for_each(|_| file.extend_from_slice(&block));
    let decoded = decode_file(&file);
    assert_eq!((rows(&decoded), decoded.dead.len()), (0, 10));
    // Each comes to 120 MiB, and 160 MiB as base64.
    let (large, small) = decoded.dead.split_at(2);
    assert!(large.iter().all(|letter| letter.reason.starts_with("larger than max-record-size")));
    assert!(small.iter().all(|letter| letter.raw == block && letter.reason.ends_with("; 1 records are left here")));
}

#[test]
fn a_block_of_more_than_128_mib_is_a_dead_letter() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"b","type":"bytes"}]}"#;
    let record = |bytes: usize| Avro::Record(vec![("b".into(), Avro::Bytes(vec![0; bytes]))]);
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), Codec::Deflate(DeflateSettings::default())).unwrap();
    for bytes in [3, 128 << 20, 5] {
        writer.append_value(record(bytes)).unwrap();
        writer.flush().unwrap();
    }
    let decoded = decode_file(&writer.into_inner().unwrap());
    assert_eq!((rows(&decoded), decoded.dead.len()), (2, 1));
    let expected = "an Avro block of more than 134217728 bytes once it is decompressed: write smaller ones";
    assert_eq!(decoded.dead[0].reason, expected);
}

#[test]
fn a_block_in_pieces_is_the_file() {
    let schema = Schema::parse_str(ANY).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), Codec::Null).unwrap();
    for id in 0..9 {
        writer.append_value(any_record(&id.to_string(), None)).unwrap();
        if id % 2 == 0 {
            writer.flush().unwrap();
        }
    }
    let file = writer.into_inner().unwrap();
    for limit in [1, 300, 700, 1_000, 1_500, 1 << 20] {
        let mut decoder = Decoder::new(
            &envelope(Envelope::Avro),
            "s",
            vec![ColumnRequest::attribute(Attribute::Kind, ColumnType::Text)],
            LIMIT,
        )
        .unwrap();
        let (mut names, mut next) = (vec![], 0);
        for piece in whole(&file).unwrap().pieces(limit) {
            assert_eq!((piece.extent.first, piece.extent.next), (next, next + piece.data.len() as u64));
            next = piece.extent.next;
            let decoded = decoder.decode(&piece, 0);
            assert!(decoded.dead.is_empty());
            names.extend(decoded.batches.iter().flat_map(|batch| texts(&batch.columns[0])).flatten());
        }
        assert_eq!(next, file.len() as u64);
        assert_eq!(names, (0..9).map(|id| id.to_string()).collect::<Vec<_>>(), "limit {limit}");
    }
}

#[test]
fn every_record_of_a_real_capture_file_is_decoded() {
    let Some(file) = shared_data("event-hubs-capture.avro") else { return };
    let file = std::fs::read(file).unwrap();
    let decoded = decode_file(&file);
    assert_eq!((decoded.records, decoded.dead.len()), (677, 0));
    let rows = shown(&decoded);
    assert_eq!(rows[0]["text"], "Message 1");
    assert_eq!(rows[0]["time"], "2018-12-07T10:22:49Z");
    assert_eq!(rows[0]["properties"]["RandomInt"], "566");
    assert!(rows.iter().all(|row| row["kind"] == "measurement" && row["time"].is_string() && row["text"].is_string()));
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic_and_every_record_becomes_one_thing(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), known in any::<bool>(),
    ) {
        let mut file = match known {
            true => write(MESSAGE, Codec::Null, [message(&[("a", text("b"))], &[], one_of(1, Avro::Bytes(b"{}".to_vec())))]),
            false => write(ANY, Codec::Null, ["a", "b", "c"].map(|name| any_record(name, None))),
        };
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(chunk) = whole(&file) {
            let decoded = everything(&envelope(Envelope::Avro)).decode(&chunk, 0);
            shown(&decoded);
            prop_assert_eq!(decoded.records, (rows(&decoded) + decoded.dead.len()) as u64);
        }
    }
}
