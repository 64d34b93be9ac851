//! Envelopes through the real binary: each to NDJSON files, and Avro container files however they are written and broken.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;

use apache_avro::types::Value as Avro;
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
use serde_json::{Value, json};

use crate::support::avro;
use crate::support::cdm::Cdm;
use crate::support::lake_folder::{Installation, signal};
use crate::support::process::{Following, wait_until};
use crate::support::shared_data::shared_data;

/// An installation whose export reads `files` in an envelope.
fn reading(envelope: &str, files: &str, more: &str) -> Installation {
    Installation::new(&format!(
        "[sources.signals]\nfiles = \"{files}\"\nenvelope = \"{envelope}\"\n\n[exports.signals]\nsource = \"signals\"\n\
         path = \"{{kind}}/{{source}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n{more}\n"
    ))
}

/// What an installation exported: the paths, and the lines of all files.
fn exported(installation: &Installation) -> (Vec<String>, Vec<String>) {
    let lines = installation.lines().iter().map(|line| String::from_utf8(line.clone()).unwrap()).collect();
    (installation.files().into_keys().collect(), lines)
}

#[test]
fn each_envelopes_bodies_are_exported_by_its_kind_source_and_time() {
    let topic = "/SUBSCRIPTIONS/1/RESOURCEGROUPS/g/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/hub";
    for (envelope, line, path, body) in [
        (
            "iot-hub",
            json!({ "EnqueuedTimeUtc": "2019-09-10T11:00:00.5Z", "Properties": { "hubName": "hub" },
                "SystemProperties": { "connectionDeviceId": "d1" }, "Body": "eyJ0IjoxfQ==" }),
            "measurement/hub",
            r#"{"t":1}"#,
        ),
        (
            "cloudevents",
            json!({ "specversion": "1.0", "id": "1", "type": "brew", "source": "plant", "time": "2019-09-10T11:00:00Z",
                "data": { "t": 2 } }),
            "brew/plant",
            r#"{"t":2}"#,
        ),
        (
            "event-grid",
            json!([{ "id": "1", "topic": topic, "subject": "devices/d1", "eventTime": "2019-09-10T11:00:00Z",
                "eventType": "Microsoft.Devices.DeviceTelemetry", "data": { "body": { "t": 3 } } }]),
            "measurement/hub",
            r#"{"t":3}"#,
        ),
        (
            "change",
            json!({ "operation": "update", "kind": "device", "key": "d1", "version": 1, "time": "2019-09-10T11:00:00Z",
                "source": "erp", "body": { "t": 4 } }),
            "device/erp",
            r#"{"t":4}"#,
        ),
        (
            "debezium",
            json!({ "op": "c", "before": null, "after": { "t": 5 },
                "source": { "schema": "public", "table": "account", "ts_ms": 1_568_113_200_000_i64, "lsn": 7 } }),
            "account/signals",
            r#"{"t":5}"#,
        ),
        (
            "wal2json",
            json!({ "action": "I", "schema": "sales", "table": "line", "timestamp": "2019-09-10 13:00:00+02",
                "columns": [{ "name": "t", "type": "integer", "value": 6 }] }),
            "sales.line/signals",
            r#"{"t":6}"#,
        ),
        (
            "dataverse",
            json!({ "MessageName": "Create", "PrimaryEntityName": "account", "PrimaryEntityId": "a",
                "OperationCreatedOn": "/Date(1568113200000)/",
                "InputParameters": [{ "key": "Target", "value": { "Attributes": [{ "key": "t", "value": 7 }] } }] }),
            "account/signals",
            r#"{"t":7}"#,
        ),
    ] {
        let installation = reading(envelope, "in.ndjson", "");
        // The last line needs no terminator.
        installation.write("in.ndjson", format!("{line}\nno record\n{line}"));
        let summary = installation.export();
        assert_eq!((&summary["records-read"], &summary["dead-letters"]), (&3.into(), &1.into()), "{envelope}");
        let (paths, lines) = exported(&installation);
        assert_eq!(paths, [format!("{path}/2019/09/10/11/00.ndjson")]);
        assert_eq!(lines, [body, body]);
        let letter = &installation.dead_letters()[0];
        assert_eq!(letter["offset"], line.to_string().len() + 1, "{letter}");
    }
}

#[test]
fn a_page_of_a_delta_feed_is_as_many_records() {
    let installation = reading("odata-delta", "in.ndjson", "timestamp = \"write\"");
    let rows = r##"{"t":1},7,{"@odata.context":"#accounts/$deletedEntity","id":"a"},{"t":2}"##;
    installation.write("in.ndjson", format!(r##"{{"@odata.context":"#accounts/$delta","value":[{rows}]}}"##));
    let summary = installation.export();
    assert_eq!(
        (&summary["records-read"], &summary["dead-letters"]),
        (&4.into(), &2.into()),
        "a delete has no body here"
    );
    assert_eq!(exported(&installation).1, [r#"{"t":1}"#, r#"{"t":2}"#]);
}

#[test]
fn marks_and_tombstones_are_counted_as_read_and_written_nowhere() {
    let installation = reading("debezium", "in.ndjson", "");
    let source = r#""source":{"table":"account","ts_ms":1568113200000}"#;
    let row = format!(r#"{{"op":"r","after":{{"t":1}},{source}}}"#);
    installation.write("in.ndjson", format!("{row}\nnull\n\n{{\"ts_ms\":1}}\n{row}\n"));
    let summary = installation.export();
    assert_eq!((&summary["records-read"], &summary["dead-letters"]), (&4.into(), &0.into()), "{summary}");
    assert_eq!(exported(&installation).1, [r#"{"t":1}"#, r#"{"t":1}"#]);
}

/// What an export of the table `account` writes of `lines`, a row each, between the format's own columns; none is refused.
fn rows_of(envelope: &str, lines: &str) -> Vec<String> {
    let installation = Installation::new(&format!(
        "[sources.crm]\nfiles = \"in.ndjson\"\nenvelope = \"{envelope}\"\n\n[exports.crm]\ntype = \"table\"\nsource = \"crm\"\n\
         format = {{ plugin = \"cdm-csv\", dates = \"iso\" }}\n\n[exports.crm.tables.account]\nkey = \"/n\"\n"
    ));
    installation.write("in.ndjson", lines);
    let output = installation.command(&["run", "--json"]).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["exports"][0]["dead-letters"], 0, "{:?}", installation.dead_letters());
    let cdm = Cdm::open(&installation.lake().join("crm"), &format!("file://{}/crm/", installation.lake().display()));
    let files = cdm.expect("there is a model.json").files("account");
    let text: String = files.values().map(|file| fs::read_to_string(file).unwrap()).collect();
    // Behind the key and its two times, before the version and whether the row is gone.
    let own = |line: &str| line.splitn(4, ',').nth(3).unwrap().rsplitn(3, ',').nth(2).unwrap().to_owned();
    text.lines().map(own).collect()
}

#[test]
fn what_databases_types_become_fits_the_columns_of_their_tables() {
    let wal2json = |columns: &[(&str, &str)]| {
        let one = |(at, (of, value)): (usize, &(&str, &str))| match at {
            0 => format!(r#"{{"name":"n","type":"{of}","value":{value}}}"#),
            _ => format!(r#"{{"name":"c{at}","type":"{of}","value":{value}}}"#),
        };
        let columns: Vec<String> = columns.iter().enumerate().map(one).collect();
        format!(r#"{{"action":"I","schema":"public","table":"account","columns":[{}]}}"#, columns.join(","))
    };
    let rows = rows_of(
        "wal2json",
        &wal2json(&[
            ("integer", "1"),
            ("time with time zone", r#""16:21:12.5+02""#),
            ("time without time zone", r#""24:00:00""#),
            ("numeric(5,2)", r#""NaN""#),
            ("numeric", r#""-Infinity""#),
            ("double precision", r#""Infinity""#),
            ("bytea", r#""00ff""#),
            ("timestamp without time zone", r#""infinity""#),
            ("timestamp with time zone", r#""2021-06-25 16:21:12.5+02""#),
            ("jsonb", r#""{\"a\": 1}""#),
            ("boolean", "true"),
        ]),
    );
    let expected = r#"1,"16:21:12.5+02","24:00:00",NaN,-Infinity,Infinity,"00ff","infinity","2021-06-25T14:21:12.5Z","{""a"": 1}",True"#;
    assert_eq!(rows, [expected]);

    let field = |name: &str, of: &str, logical: &str| json!({ "field": name, "type": of, "name": logical });
    let decimal = "org.apache.kafka.connect.data.Decimal";
    let fields = json!([
        field("n", "int32", ""),
        field("zoned", "string", "io.debezium.time.ZonedTime"),
        field("end", "int64", "io.debezium.time.MicroTime"),
        { "field": "total", "type": "bytes", "name": decimal, "parameters": { "scale": "2", "connect.decimal.precision": "5" } },
        field("until", "int64", "io.debezium.time.MicroTimestamp"),
        field("at", "string", "io.debezium.time.ZonedTimestamp"),
        field("day", "int32", "io.debezium.time.Date"),
    ]);
    let after = json!({ "n": 1, "zoned": "16:21:12Z", "end": 86_400_000_000_i64, "total": "MDk=",
        "until": 9_223_372_036_825_200_000_i64, "at": "2021-06-25T16:21:12Z", "day": 18_803 });
    let event = json!({
        "schema": { "fields": [{ "field": "after", "fields": fields }] },
        "payload": { "op": "c", "before": null, "after": after, "source": { "table": "account" } },
    });
    let expected = r#"1,"16:21:12Z","24:00:00.000000",123.45,"infinity","2021-06-25T16:21:12Z","2021-06-25""#;
    assert_eq!(rows_of("debezium", &event.to_string()), [expected]);
}

// --- Avro -------------------------------------------------------------------------------------------------------------

pub const CAPTURE: &str = r#"{"type":"record","name":"EventData","namespace":"Microsoft.ServiceBus.Messaging","fields":[
    {"name":"SequenceNumber","type":"long"},{"name":"Offset","type":"string"},{"name":"EnqueuedTimeUtc","type":"string"},
    {"name":"SystemProperties","type":{"type":"map","values":["long","double","string","bytes"]}},
    {"name":"Properties","type":{"type":"map","values":["long","double","string","bytes","null"]}},
    {"name":"Body","type":["null","bytes"]}]}"#;

fn codecs() -> [Codec; 4] {
    [
        Codec::Null,
        Codec::Deflate(DeflateSettings::default()),
        Codec::Zstandard(ZstandardSettings::default()),
        Codec::Snappy,
    ]
}

/// An event as Event Hubs Capture writes it.
fn event(id: usize) -> Avro {
    let map =
        |pairs: Vec<(&str, Avro)>| Avro::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    Avro::Record(vec![
        ("SequenceNumber".into(), Avro::Long(id as i64)),
        ("Offset".into(), Avro::String(id.to_string())),
        ("EnqueuedTimeUtc".into(), Avro::String("9/10/2019 11:00:08 AM".into())),
        (
            "SystemProperties".into(),
            map(vec![("iothub-connection-device-id", Avro::Union(2, Box::new(Avro::String("d1".into()))))]),
        ),
        ("Properties".into(), map(vec![("n", Avro::Union(0, Box::new(Avro::Long(7))))])),
        ("Body".into(), Avro::Union(1, Box::new(Avro::Bytes(signal(id, 0).into_bytes())))),
    ])
}

/// A container file of events, in blocks of ten.
fn container(codec: Codec, ids: std::ops::Range<usize>) -> Vec<u8> {
    let schema = Schema::parse_str(CAPTURE).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    append_events(&mut writer, ids);
    writer.into_inner().unwrap()
}

fn append_events(writer: &mut Writer<'_, Vec<u8>>, ids: std::ops::Range<usize>) {
    for id in ids {
        writer.append_value(event(id)).unwrap();
        if id % 10 == 9 {
            writer.flush().unwrap();
        }
    }
    writer.flush().unwrap();
}

/// Further blocks for a container file.
fn more_blocks(file: &[u8], codec: Codec, ids: std::ops::Range<usize>) -> Vec<u8> {
    let schema = Schema::parse_str(CAPTURE).unwrap();
    let marker = *file.last_chunk().unwrap();
    let mut writer = Writer::append_to_with_codec(&schema, Vec::new(), codec, marker).unwrap();
    append_events(&mut writer, ids);
    writer.into_inner().unwrap()
}

fn append(installation: &Installation, name: &str, bytes: &[u8]) {
    OpenOptions::new().append(true).open(installation.path().join(name)).unwrap().write_all(bytes).unwrap();
}

/// Each of these once.
fn once(ids: std::ops::Range<usize>) -> BTreeMap<String, usize> {
    ids.map(|id| (id.to_string(), 1)).collect()
}

const SMALL: &str = "flush = { bytes = \"2KiB\" }";

#[test]
fn capture_files_are_exported_in_every_codec_and_gone_on_with_where_they_were_left() {
    for codec in codecs() {
        let installation = reading("avro", "in.avro", SMALL);
        let file = container(codec, 0..95);
        installation.write("in.avro", &file);
        let summary = installation.export();
        assert_eq!((&summary["records-read"], &summary["dead-letters"]), (&95.into(), &0.into()), "{codec:?}");
        assert_eq!(installation.ids(), once(0..95));
        assert_eq!(exported(&installation).0, ["measurement/signals/2019/09/10/11/00.ndjson"]);
        append(&installation, "in.avro", &more_blocks(&file, codec, 95..130));
        assert_eq!(installation.export()["records-read"], 35, "{codec:?}");
        assert_eq!(installation.ids(), once(0..130));
        assert_eq!(installation.export()["records-read"], 0);
    }
}

#[test]
fn a_container_file_may_be_compressed_as_a_whole() {
    let installation = reading("avro", "in/", SMALL);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&container(Codec::Null, 0..30)).unwrap();
    installation.write("in/a.gz", gzip.finish().unwrap());
    installation.write("in/b.zst", zstd::encode_all(&container(Codec::Snappy, 30..60)[..], 0).unwrap());
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids(), once(0..60));
}

#[test]
fn files_without_records_and_empty_files_are_nothing() {
    let installation = reading("avro", "in/", "");
    installation.write("in/header.avro", container(Codec::Null, 0..0));
    installation.write("in/empty.avro", "");
    let summary = installation.run_ok(&["run"]);
    assert!(!summary.contains("warning"), "{summary}");
    assert!(installation.files().is_empty());
}

#[test]
fn half_a_block_is_left_until_it_is_whole() {
    let installation = reading("avro", "in.avro", SMALL);
    let file = container(Codec::Null, 0..40);
    let (first, rest) = file.split_at(file.len() - 100);
    installation.write("in.avro", first);
    let summary = installation.run_ok(&["run"]);
    assert!(summary.contains("in.avro` ends in the middle of a block: the "), "{summary}");
    assert_eq!(installation.ids(), once(0..30));
    append(&installation, "in.avro", rest);
    let summary = installation.run_ok(&["run"]);
    assert!(!summary.contains("warning"), "{summary}");
    assert_eq!(installation.ids(), once(0..40));

    installation.write("in.avro", &file[..60]);
    let summary = installation.run_ok(&["run"]);
    assert!(
        summary.contains("in.avro` ends in the middle of a header: the 60 bytes from byte 0 on are left"),
        "{summary}"
    );
}

#[test]
fn a_file_that_is_written_is_followed_block_by_block() {
    let installation = reading("avro", "in.avro", "flush = { every = \"50ms\" }");
    let file = container(Codec::Snappy, 0..20);
    installation.write("in.avro", &file[..300]);
    let following = Following::start(&installation);
    for end in [file.len() - 5, file.len()] {
        let have = fs::metadata(installation.path().join("in.avro")).unwrap().len() as usize;
        append(&installation, "in.avro", &file[have..end]);
        let expected = once(0..if end == file.len() { 20 } else { 10 });
        wait_until("whole blocks are exported", || installation.ids() == expected);
    }
    append(&installation, "in.avro", &more_blocks(&file, Codec::Snappy, 20..25));
    wait_until("an appended block is exported", || installation.ids() == once(0..25));
    let summary = following.stop();
    assert!(!summary.contains("warning"), "{summary}");
}

#[test]
fn what_comes_before_a_damaged_block_is_exported_and_a_warning_says_where_it_is() {
    let installation = reading("avro", "in/", "");
    let file = container(Codec::Null, 0..40);
    let third = container(Codec::Null, 0..20).len()..container(Codec::Null, 0..30).len();
    let mut damaged = file.clone();
    damaged[third.end - 1] ^= 1;
    installation.write("in/a.avro", &damaged);
    installation.write("in/b.avro", signal(1, 0));
    installation.write("in/c.avro", container(Codec::Null, 50..55));
    let summary = installation.run_ok(&["run"]);
    let marker: String = file[file.len() - 16..].iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = format!(
        "in/a.avro`, at byte {}: a block does not end with the file's sync marker `{marker}`; what comes before that is \
         exported, what follows is not",
        third.start
    );
    assert!(summary.contains(&expected), "{expected}\n{summary}");
    let expected =
        "in/b.avro`, at byte 0: it begins with `{\"na`, expected `Obj` and a byte 1: it is no Avro container file";
    assert!(summary.contains(expected), "{summary}");
    let ids: BTreeMap<_, _> = once(0..20).into_iter().chain(once(50..55)).collect();
    assert_eq!(installation.ids(), ids);

    // Mended, it goes on where it was left.
    installation.write("in/a.avro", &file);
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids(), once(0..40).into_iter().chain(once(50..55)).collect());
}

#[test]
fn a_block_that_cannot_be_decompressed_is_a_dead_letter_and_the_others_are_exported() {
    let installation = reading("avro", "in.avro", "");
    let mut file = container(Codec::Snappy, 0..30);
    let second = container(Codec::Snappy, 0..10).len();
    file[second + 40] ^= 0xff;
    installation.write("in.avro", &file);
    let summary = installation.export();
    assert_eq!((&summary["records-read"], &summary["dead-letters"]), (&21.into(), &1.into()));
    assert_eq!(installation.ids(), once(0..10).into_iter().chain(once(20..30)).collect());
    let letter = &installation.dead_letters()[0];
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.starts_with("an Avro block that cannot be decompressed, expected `snappy` data: "), "{reason}");
    assert_eq!(letter["offset"], second);
}

#[test]
fn records_of_any_schema_are_their_own_bodies() {
    let schema = Schema::parse_str(
        r#"{"type":"record","name":"Brew","fields":[{"name":"name","type":"string"},{"name":"signalTime","type":"string"},
            {"name":"t","type":["null","double"]},{"name":"raw","type":"bytes"}]}"#,
    )
    .unwrap();
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    let record = |name: &str, t: Avro| {
        Avro::Record(vec![
            ("name".into(), Avro::String(name.into())),
            ("signalTime".into(), Avro::String("2019-09-10T11:00:00Z".into())),
            ("t".into(), t),
            ("raw".into(), Avro::Bytes(vec![0, 255])),
        ])
    };
    writer.append_value(record("brew", Avro::Union(1, Box::new(Avro::Double(1.5))))).unwrap();
    writer.append_value(record("brew", Avro::Union(0, Box::new(Avro::Null)))).unwrap();
    let installation = reading("avro", "in.avro", "");
    installation.write("in.avro", writer.into_inner().unwrap());
    installation.run_ok(&["run"]);
    let (paths, lines) = exported(&installation);
    assert_eq!(paths, ["brew/signals/2019/09/10/11/00.ndjson"]);
    let line = |t: &str| format!(r#"{{"name":"brew","signalTime":"2019-09-10T11:00:00Z","t":{t},"raw":"AP8="}}"#);
    assert_eq!(lines, [line("1.5"), line("null")]);
}

#[test]
fn every_record_of_a_real_capture_file_is_written() {
    let Some(file) = shared_data("event-hubs-capture.avro") else { return };
    // Its bodies are texts such as `Message 1`.
    let format = "format = { plugin = \"avro\" }\ngranularity = \"hour\"\ntimestamp = \"event\"";
    let installation = reading("avro", file.to_str().unwrap(), format);
    let summary = installation.export();
    assert_eq!((&summary["records-read"], &summary["records-written"]), (&677.into(), &677.into()), "{summary}");
    let bodies: Vec<_> = installation.files().values().flat_map(|file| avro::bodies(file)).collect();
    assert_eq!(bodies.len(), 677);
    assert!(bodies.iter().all(|body| body.starts_with(b"Message ")), "{:?}", bodies[0]);
}
