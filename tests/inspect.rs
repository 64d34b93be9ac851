//! `lakeport inspect` on files that it can read, and on some that it can read in part.

use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use apache_avro::types::{Record, Value as Avro};
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
use serde_json::{Value, json};

use crate::support::golden::expect;
use crate::support::lake_folder::{Installation, signals};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/inspect");

/// The shape of what IoT Hub writes.
const MESSAGE: &str = r#"{"type":"record","name":"Message","namespace":"Microsoft.Azure.Devices","fields":[{"name":"EnqueuedTimeUtc","type":"string"},{"name":"Properties","type":{"type":"map","values":"string"}},{"name":"Body","type":["null","bytes"]}]}"#;

const SYNC: [u8; 16] = *b"0123456789abcdef";

/// A file of `count` messages, some to a block.
fn messages(codec: Codec, count: usize) -> Vec<u8> {
    let schema = Schema::parse_str(MESSAGE).unwrap();
    let mut writer =
        Writer::builder().schema(&schema).writer(Vec::new()).codec(codec).marker(SYNC).block_size(200).build().unwrap();
    for number in 0..count {
        let mut record = Record::new(&schema).unwrap();
        record.put("EnqueuedTimeUtc", format!("2018-06-11T00:00:{:02}.2250000Z", number % 60));
        let properties = [("id".to_owned(), Avro::String(number.to_string()))].into_iter().take(number % 2).collect();
        record.put("Properties", Avro::Map(properties));
        let body = match number {
            0 => Avro::Union(0, Box::new(Avro::Null)),
            1 => Avro::Union(1, Box::new(Avro::Bytes(vec![0, 0xff]))),
            2 => Avro::Union(1, Box::new(Avro::Bytes(b"{\"note\":\"\x1b[2J\"}".to_vec()))),
            _ => Avro::Union(1, Box::new(Avro::Bytes(format!("{{\"humidity\":{number}}}").into_bytes()))),
        };
        record.put("Body", body);
        writer.append_value(record).unwrap();
    }
    writer.into_inner().unwrap()
}

fn codecs() -> [(&'static str, Codec); 4] {
    [
        ("null", Codec::Null),
        ("deflate", Codec::Deflate(DeflateSettings::default())),
        ("snappy", Codec::Snappy),
        ("zstandard", Codec::Zstandard(ZstandardSettings::default())),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What command lines print, one after the other, as `tests/golden/inspect/{name}.txt` has it.
fn expect_session(name: &str, installation: &Installation, lines: &[&str]) {
    let session: Vec<_> = lines.iter().map(|line| shown(installation, line)).collect();
    expect(&Path::new(FOLDER).join(format!("{name}.txt")), &session.join("\n"));
}

fn shown(installation: &Installation, line: &str) -> String {
    let arguments: Vec<_> = std::iter::once("inspect").chain(line.split_whitespace()).collect();
    let Output { status, stdout, stderr } = installation.run(&arguments);
    let mut session = format!("$ lakeport inspect {line}\n{}", String::from_utf8(stdout).unwrap());
    if !stderr.is_empty() {
        session += &format!("--- standard error\n{}", String::from_utf8(stderr).unwrap());
    }
    match status.code() {
        Some(0) => session,
        code => format!("{session}--- exit code {}\n", code.expect("it was not killed")),
    }
}

fn object(installation: &Installation, arguments: &[&str]) -> Value {
    serde_json::from_str(&installation.run_ok(&[&["inspect", "--json"], arguments].concat())).unwrap()
}

// --- what is whole ----------------------------------------------------------------------------------------------------

#[test]
fn an_avro_file_is_shown_in_every_codec() {
    let installation = Installation::new("");
    for (name, codec) in codecs() {
        installation.write(&format!("{name}.avro"), messages(codec, 40));
    }
    let lines = [
        "null.avro --records 4",
        "deflate.avro --records 0",
        "snappy.avro --records 1",
        "null.avro --json --records 4",
    ];
    expect_session("avro", &installation, &lines);
    let null = object(&installation, &["null.avro", "--records", "100"]);
    assert_eq!((null["first"].as_array().unwrap().len(), &null["records"]), (40, &json!(40)));
    for (name, _) in codecs() {
        let found = object(&installation, &[&format!("{name}.avro"), "--records", "100"]);
        assert_eq!(
            (&found["codec"], &found["first"], &found["blocks"]),
            (&json!(name), &null["first"], &null["blocks"])
        );
        assert_eq!(found["schema"], serde_json::from_str::<Value>(MESSAGE).unwrap());
    }
}

#[test]
fn an_avro_file_may_hold_anything() {
    let installation = Installation::new("");
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"z","type":{"type":"array","items":["null","long",{"type":"map","values":"double"}]}},
        {"name":"a","type":{"type":"enum","name":"e","symbols":["x","y"]}},
        {"name":"m","type":{"type":"fixed","name":"f","size":2}},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"next","type":["null","r"]}]}"#;
    let schema = Schema::parse_str(schema).unwrap();
    let value = |next: Avro| {
        Avro::Record(vec![
            (
                "z".into(),
                Avro::Array(vec![
                    Avro::Union(0, Box::new(Avro::Null)),
                    Avro::Union(1, Box::new(Avro::Long(i64::MIN))),
                    Avro::Union(2, Box::new(Avro::Map([("k".to_owned(), Avro::Double(0.5))].into()))),
                ]),
            ),
            ("a".into(), Avro::Enum(1, "y".into())),
            ("m".into(), Avro::Fixed(2, b"hi".to_vec())),
            ("t".into(), Avro::TimestampMicros(1_528_675_208_225_000)),
            ("next".into(), next),
        ])
    };
    let nested = value(Avro::Union(1, Box::new(value(Avro::Union(0, Box::new(Avro::Null))))));
    let mut writer = Writer::builder().schema(&schema).writer(Vec::new()).marker(SYNC).build().unwrap();
    writer.append_value(nested).unwrap();
    installation.write("any", writer.into_inner().unwrap());
    let numbers = Schema::parse_str(r#""long""#).unwrap();
    let mut writer = Writer::builder().schema(&numbers).writer(Vec::new()).marker(SYNC).build().unwrap();
    writer.add_user_metadata("made by".to_owned(), b"hand").unwrap();
    for number in 0..3_i64 {
        writer.append_value(number).unwrap();
    }
    installation.write("numbers.avro", writer.into_inner().unwrap());
    expect_session("avro-any", &installation, &["any", "any --json", "numbers.avro"]);
}

#[test]
fn our_own_lines_are_shown_with_their_members() {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write("in.ndjson", signals(60));
    installation.export();
    let (path, bytes) = installation.files().into_iter().next().unwrap();
    installation.write("gzip.ndjson.gz", gzip(&bytes));
    installation.write("zstd", zstd::encode_all(bytes.as_slice(), 3).unwrap());
    let ours = format!("lake/{path}");
    let lines =
        [&format!("{ours} --records 3"), "gzip.ndjson.gz --records 0", "zstd --records 1", "zstd --json --records 1"];
    expect_session("ndjson", &installation, &lines);
    let (plain, gzip) = (object(&installation, &[&ours]), object(&installation, &["gzip.ndjson.gz"]));
    for same in ["records", "bytes", "schema", "first"] {
        assert_eq!(plain[same], gzip[same], "{same}");
    }
    assert_eq!((&plain["compression"], &gzip["compression"]), (&json!("plain"), &json!("gzip")));
}

#[test]
fn lines_may_be_anything_and_keep_their_bytes() {
    let installation = Installation::new("");
    let lines = "\u{feff}{\"z\": 1.50, \"a\":null, \"a\":\"\u{202e}\\u001b\"}\r\n\n[1,\t2]\n  7  \n{\"a\":[],\"z\":{\"a\":true}}\n{\"a\":1,\"b\":1e999,\"c\":2}\n\"\\ud800\"";
    installation.write("any.json", lines);
    let names: Vec<_> = (0..60).map(|name| format!("\"member {name}\":false")).collect();
    installation.write("wide.ndjson", format!("{{{}}}\n", names.join(",")));
    installation.write("empty.ndjson", "");
    expect_session("ndjson-any", &installation, &["any.json", "any.json --json", "wide.ndjson", "empty.ndjson"]);
}

#[test]
fn rows_are_shown_with_and_without_names() {
    let installation = Installation::new("");
    let rows = "id,name,\"no,te\"\n1,\"Küche\",\"two\nlines \"\"here\"\"\"\n2,\x1b[31mred,\n3,\"\"\n";
    installation.write("rows.csv", rows);
    let wide: Vec<_> = (0..40).map(|column| format!("\"value {column} of a row that is long\"")).collect();
    installation.write("wide", wide.join(",") + "\n");
    let lines = ["rows.csv", "rows.csv --headers", "rows.csv --headers --json", "wide", "rows.csv --format ndjson"];
    expect_session("csv", &installation, &lines);
    assert_eq!(object(&installation, &["wide"])["first"][0].as_array().unwrap().len(), 40);
}

// --- what is damaged --------------------------------------------------------------------------------------------------

#[test]
fn what_is_damaged_is_shown_up_to_there() {
    let installation = Installation::new("");
    let whole = messages(Codec::Null, 40);
    let marker = whole.windows(16).enumerate().filter(|(_, window)| *window == SYNC).map(|(at, _)| at);
    let markers: Vec<usize> = marker.collect();
    installation.write("cut.avro", &whole[..markers[3] - 7]);
    installation.write("header.avro", &whole[..100]);
    installation.write("no.avro", "no Avro");
    let mut broken = whole.clone();
    broken[markers[2] + 5] ^= 1;
    installation.write("marker.avro", &broken);
    let mut deflated = messages(Codec::Deflate(DeflateSettings::default()), 40);
    let first = deflated.windows(16).position(|window| window == SYNC).unwrap();
    deflated[first + 16 + 6] ^= 0xff;
    installation.write("deflate.avro", &deflated);
    let mut codec = messages(Codec::Deflate(DeflateSettings::default()), 40);
    let name = codec.windows(7).position(|window| window == b"deflate").unwrap();
    codec[name..name + 7].copy_from_slice(b"unknown");
    installation.write("codec.avro", &codec);
    installation.write("lines.ndjson", "{\"a\":1}\n{\"a\":2}\n{\"a\":tru}\n{\"a\":4}\n");
    installation.write("cut.ndjson", "{\"a\":1}\n{\"a\":2");
    installation.write("latin1.ndjson", b"{\"a\":1}\n{\"a\":\"\xe9\"}\n");
    installation.write("quote.csv", "1,\"a\"\n2,\"b\n3,c\n");
    let gzip = gzip(signals(1_000).as_bytes());
    installation.write("cut.gz", &gzip[..gzip.len() / 2]);
    let lines = [
        "cut.avro --records 1",
        "header.avro",
        "no.avro",
        "marker.avro --records 0",
        "deflate.avro --records 0",
        "codec.avro",
        "lines.ndjson",
        "cut.ndjson --json",
        "latin1.ndjson",
        "quote.csv",
        "cut.gz --records 1",
    ];
    expect_session("damaged", &installation, &lines);
}

#[test]
fn an_avro_file_that_is_cut_anywhere_but_behind_a_block_is_damaged() {
    let installation = Installation::new("");
    let whole = messages(Codec::Snappy, 20);
    let ends: Vec<usize> = (16..=whole.len()).filter(|&end| whole[end - 16..end] == SYNC).collect();
    assert!(ends.len() > 3);
    for cut in (0..whole.len()).step_by(11).chain(ends.iter().copied()).chain(ends.iter().map(|end| end - 1)) {
        installation.write("cut.avro", &whole[..cut]);
        let output = installation.run(&["inspect", "cut.avro", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let blocks = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        assert_eq!(found["blocks"], json!(blocks), "cut at {cut}");
        assert_eq!(output.status.code(), Some(if ends.contains(&cut) { 0 } else { 7 }), "cut at {cut}");
    }
}

#[test]
fn sizes_that_cannot_be_are_refused_at_once() {
    let installation = Installation::new("");
    let header = messages(Codec::Null, 0);
    let with = |more: &[u8]| [header.as_slice(), more].concat();
    // A block of a pebibyte, one of fewer than no records, and one whose count has too many bytes.
    installation.write("huge.avro", with(b"\x02\x80\x80\x80\x80\x80\x80\x80\x04"));
    installation.write("negative.avro", with(b"\x01\x00"));
    installation.write("endless.avro", with(&[0xff; 30]));
    expect_session("sizes", &installation, &["huge.avro", "negative.avro --json", "endless.avro --json"]);
    let rest_in_quotes = [b"1,\"a\n".as_slice(), &b"2,b\n".repeat(20 << 20)].concat();
    installation.write("quote.csv", rest_in_quotes);
    let output = installation.run(&["inspect", "quote.csv"]);
    assert_eq!(output.status.code(), Some(7));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("at byte 0 of its content: expected a row of at most 67108864 bytes"), "{error}");
    // Records without bytes: a few bytes may claim any number.
    let schema = Schema::parse_str(r#""null""#).unwrap();
    let mut nulls =
        Writer::builder().schema(&schema).writer(Vec::new()).marker(SYNC).build().unwrap().into_inner().unwrap();
    nulls.extend_from_slice(b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00");
    nulls.extend_from_slice(&SYNC);
    installation.write("nulls.avro", nulls);
    let found = object(&installation, &["nulls.avro", "--records", "2"]);
    assert_eq!((&found["records"], &found["first"]), (&json!((1_u64 << 62) - 1), &json!([null, null])));
}

/// A container file of one block: metadata as it is given, and what the block claims to be.
fn container(schema: &str, count: u64, data: &[u8]) -> Vec<u8> {
    let long = |number: u64| {
        let (mut rest, mut bytes) = (number << 1, Vec::new());
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let sized = |text: &[u8]| [long(text.len() as u64), text.to_vec()].concat();
    let header = [b"Obj\x01\x02".to_vec(), sized(b"avro.schema"), sized(schema.as_bytes()), vec![0], SYNC.to_vec()];
    [header.concat(), long(count), sized(data), SYNC.to_vec()].concat()
}

/// The exit code and standard error of a look into a file; text has to be there in any case.
fn looked_into(file: &[u8]) -> (Option<i32>, String) {
    let installation = Installation::new("");
    installation.write("a.avro", file);
    let output = installation.run(&["inspect", "a.avro"]);
    assert!(output.stdout.starts_with(b"file "), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn data_that_claim_to_be_endless_or_endlessly_deep_are_damage() {
    let list = r#"{"type":"record","name":"r","fields":[{"name":"n","type":["null","r"]}]}"#;
    let itself = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"r"}]}"#;
    let nulls = r#"{"type":"record","name":"r","fields":[{"name":"n","type":{"type":"array","items":"null"}}]}"#;
    let long = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let empty = r#"{"type":"record","name":"r","fields":[]}"#;
    for (schema, count, data, expected) in [
        (list, 1, &vec![2; 1_000_000][..], "nested deeper than 256 levels"),
        (itself, 1, b"", "nested deeper than 256 levels"),
        (nulls, 1, &long, "more than 67108864 bytes as JSON"),
        (r#""null""#, 1 << 62, b"x", "behind them it has 1 more bytes"),
        (empty, 1 << 62, b"x", "behind them it has 1 more bytes"),
    ] {
        let (code, error) = looked_into(&container(schema, count, data));
        let block = format!("expected a block of {count} records, but ");
        let is_said = error.contains(&block) && error.contains(expected);
        assert!(code == Some(7) && is_said, "{schema}: {code:?} {error}");
    }
}

#[test]
fn records_that_end_with_their_block_are_damage_whatever_their_type() {
    for (of, one) in [
        (r#""boolean""#, &b"\x01"[..]),
        (r#""string""#, b"\x02a"),
        (r#"["null","long"]"#, b"\x02\x02"),
        (r#"["null","string"]"#, b"\x00"),
        (r#"{"type":"array","items":"long"}"#, b"\x02\x02\x00"),
        (r#""double""#, b"12345678"),
    ] {
        let schema = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"x","type":{of}}}]}}"#);
        let (code, error) = looked_into(&container(&schema, 3, &one.repeat(3)));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{of}");
        let (code, error) = looked_into(&container(&schema, 5, &one.repeat(3)));
        let expected =
            format!("expected a block of 5 records, but its {} bytes of data end in record 4", 3 * one.len());
        assert!(code == Some(7) && error.contains(&expected), "{of}: {code:?} {error}");
    }
}

#[test]
fn a_schema_that_no_reader_can_take_is_damage_and_not_laid_out() {
    let deep = format!("{}\"null\"{}", "[".repeat(100_000), "]".repeat(100_000));
    let (code, error) = looked_into(&container(&deep, 1, b""));
    assert!(code == Some(7) && error.contains("its schema: no JSON: recursion limit exceeded"), "{code:?} {error}");
    // Each zero would be a line, far to the right.
    let wide = format!(r#"{{"x":{}{}0{},"type":"null"}}"#, "[".repeat(120), "0,".repeat(2 << 20), "]".repeat(120));
    let installation = Installation::new("");
    installation.write("a.avro", container(&wide, 1, b""));
    let output = installation.run(&["inspect", "a.avro"]);
    assert!(output.status.success() && output.stdout.len() < 5 << 20, "{}", output.stdout.len());
}

#[test]
fn what_cannot_be_inspected_says_what_to_do() {
    let installation = Installation::new("");
    installation.write("what", "\x00\x01");
    installation.write("lake/a.avro", messages(Codec::Null, 1));
    expect_session(
        "wrong",
        &installation,
        &["-", "nowhere.avro", "lake", "what", "lake/a.avro --headers", "what --format x"],
    );
}
