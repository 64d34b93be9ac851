//! Values as connectors and hubs encode them: numbers, times and texts come out as what they stand for.

use apache_avro::types::Value as Avro;
use apache_avro::{Schema, Writer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::envelopes::CAPTURE;
use crate::feeds::{expected, exporting, rows};
use crate::support::avro::{member, records};
use crate::support::lake_folder::Installation;

/// A schema of Debezium's JSON converter, for rows with these columns: name, type, semantic type, parameters.
fn schema(columns: &[(&str, &str, &str, Value)]) -> Value {
    let field = |(name, kind, semantic, parameters): &(&str, &str, &str, Value)| {
        let mut field = json!({ "field": name, "type": kind, "optional": true });
        if !semantic.is_empty() {
            field["name"] = json!(semantic);
            field["parameters"] = parameters.clone();
        }
        field
    };
    let row: Vec<Value> = columns.iter().map(field).collect();
    let of = |name: &str| json!({ "field": name, "type": "struct", "optional": true, "fields": row });
    json!({ "type": "struct", "fields": [of("before"), of("after"), { "field": "op", "type": "string" }] })
}

fn inserted(schema: &Value, source: &Value, row: &Value) -> Value {
    let payload = json!({ "before": null, "after": row, "op": "c", "source": source });
    json!({ "schema": schema, "payload": payload })
}

#[test]
fn a_time_of_mysql_that_is_no_time_of_day_is_refused_as_one_and_kept_as_text() {
    let schema =
        schema(&[("id", "int32", "", Value::Null), ("lasted", "int64", "io.debezium.time.MicroTime", Value::Null)]);
    let day: i64 = 86_400_000_000;
    let row = |(id, lasted): (usize, Option<i64>)| {
        let source = json!({ "connector": "mysql", "ts_ms": 1_624_638_072_000_i64, "db": "plant", "table": "t",
                             "file": "binlog.000007", "pos": 400 + id });
        inserted(&schema, &source, &json!({ "id": id, "lasted": lasted }))
    };
    let lasted = [
        Some(1_500_000),
        Some(day - 1),
        Some(day),
        None,
        Some(-1),
        Some(day + 3_600_000_000),
        Some(-3_020_399_000_000),
    ];
    let lines: Vec<Value> = lasted.into_iter().enumerate().map(row).collect();
    let texts = "key = \"/id\"\ncolumns = [{ name = \"id\", data-type = \"int64\" }, { name = \"lasted\", data-type = \"string\" }]\n";
    let installation =
        exporting(&[("times", "debezium", &lines, "key = \"/id\"\n"), ("texts", "debezium", &lines, texts)]);
    installation.run_ok(&["run", "--quiet"]);

    let in_a_day =
        [("0", ["00:00:01.500000"]), ("1", ["23:59:59.999999"]), ("2", ["24:00:00.000000"]), ("3", ["null"])];
    assert_eq!(rows(&installation, "times", ["lasted"]), expected(&in_a_day));
    let beyond = [("4", ["-00:00:00.000001"]), ("5", ["25:00:00.000000"]), ("6", ["-838:59:59.000000"])];
    assert_eq!(rows(&installation, "texts", ["lasted"]), expected(&[&in_a_day[..], &beyond].concat()));
    let letters = installation.run_ok(&["dead-letters", "--json", "--export", "times"]);
    for (_, [value]) in beyond {
        let named = letters.lines().filter(|letter| letter.contains("lasted") && letter.contains(value)).count();
        assert_eq!(named, 1, "`{value}` is in no reason: {letters}");
    }
    assert_eq!(letters.lines().count(), beyond.len(), "{letters}");
}

/// The base64 of a number's two's complement, in as few bytes as hold it.
fn unscaled(number: i128) -> String {
    let bytes = number.to_be_bytes();
    let fits = |from: usize| {
        i128::from_be_bytes(std::array::from_fn(|at| {
            if at < from { if bytes[from] & 0x80 == 0 { 0 } else { 0xff } } else { bytes[at] }
        })) == number
    };
    let from = (0..16).rev().find(|from| fits(*from)).unwrap();
    STANDARD.encode(&bytes[from..])
}

#[test]
fn decimals_and_times_of_debezium_are_the_numbers_and_times_that_they_stand_for() {
    let decimal = "org.apache.kafka.connect.data.Decimal";
    let scale = |scale: i32, precision: u32| json!({ "scale": scale.to_string(), "connect.decimal.precision": precision.to_string() });
    let none = Value::Null;
    let schema = schema(&[
        ("id", "bytes", decimal, scale(0, 22)),
        ("rate", "bytes", decimal, scale(5, 5)),
        ("paid", "bytes", decimal, scale(2, 14)),
        ("stock", "bytes", decimal, scale(-3, 10)),
        ("free", "struct", "io.debezium.data.VariableScaleDecimal", none.clone()),
        ("day", "int32", "io.debezium.time.Date", none.clone()),
        ("ms", "int64", "io.debezium.time.Timestamp", none.clone()),
        ("us", "int64", "io.debezium.time.MicroTimestamp", none.clone()),
        ("ns", "int64", "io.debezium.time.NanoTimestamp", none.clone()),
        ("zoned", "string", "io.debezium.time.ZonedTimestamp", none),
    ]);
    assert_eq!(
        (unscaled(1032), unscaled(-1), unscaled(128), unscaled(0)),
        ("BAg=".into(), "/w==".into(), "AIA=".into(), "AA==".into())
    );
    let free = |scale: i32, number: i128| json!({ "scale": scale, "value": unscaled(number) });
    let line = |lsn: u32, row: Value| {
        let source = json!({ "connector": "postgresql", "ts_ms": 1_624_638_072_000_i64, "db": "d", "schema": "public",
                             "table": "t", "lsn": lsn });
        inserted(&schema, &source, &row)
    };
    let lines = [
        line(
            1,
            json!({ "id": unscaled(7), "rate": unscaled(1032), "paid": unscaled(30_000_000), "stock": unscaled(12),
            "free": free(3, -5), "day": -1, "ms": -1, "us": -1_000_001, "ns": -1, "zoned": "1970-01-01T00:30:00.25+01:00" }),
        ),
        line(
            2,
            json!({ "id": unscaled(-9_876_543_210_987_654_321_098), "rate": unscaled(-1), "paid": unscaled(-1), "stock": unscaled(-1),
            "free": free(-2, 31), "day": 0, "ms": 1_624_638_072_123_i64, "us": 0, "ns": 1_000_000_001, "zoned": "2021-06-25T16:21:12Z" }),
        ),
        line(
            3,
            json!({ "id": unscaled(128), "rate": null, "paid": unscaled(-99_999_999_999_999), "stock": null,
            "free": free(20, 10_i128.pow(38) - 1), "day": -719_162, "ms": -62_135_596_800_000_i64, "us": null, "ns": null, "zoned": null }),
        ),
        // The key of a row is its number here, too.
        line(
            4,
            json!({ "id": unscaled(7), "rate": unscaled(99_999), "paid": unscaled(0), "stock": unscaled(0), "free": free(0, 0),
            "day": null, "ms": null, "us": null, "ns": null, "zoned": null }),
        ),
    ];
    let installation = exporting(&[("pg", "debezium", &lines[..3], "key = \"/id\"\n")]);
    installation.run_ok(&["run", "--quiet"]);
    let columns = ["rate", "paid", "stock", "free", "day", "ms", "us", "ns", "zoned"];
    let small = [
        "0.01032",
        "300000.00",
        "12000",
        "-0.005",
        "1969-12-31",
        "1969-12-31T23:59:59.999",
        "1969-12-31T23:59:58.999999",
        "1969-12-31T23:59:59.999999999",
        "1969-12-31T23:30:00.25Z",
    ];
    let negative = [
        "-0.00001",
        "-0.01",
        "-1000",
        "3100",
        "1970-01-01",
        "2021-06-25T16:21:12.123",
        "1970-01-01T00:00:00.000000",
        "1970-01-01T00:00:01.000000001",
        "2021-06-25T16:21:12Z",
    ];
    let wide = [
        "null",
        "-999999999999.99",
        "null",
        "999999999999999999.99999999999999999999",
        "0001-01-01",
        "0001-01-01T00:00:00.000",
        "null",
        "null",
        "null",
    ];
    let (big, middle) = ("-9876543210987654321098", "128");
    assert_eq!(rows(&installation, "pg", columns), expected(&[("7", small), (big, negative), (middle, wide)]));

    installation.write("pg.ndjson", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    installation.run_ok(&["run", "--quiet", "--full", "pg"]);
    let zero = ["0.99999", "0.00", "0", "0", "null", "null", "null", "null", "null"];
    assert_eq!(rows(&installation, "pg", columns), expected(&[("7", zero), (big, negative), (middle, wide)]));
    assert_eq!(installation.dead_letters(), [""; 0]);
}

#[test]
fn properties_of_capture_have_each_of_their_types_and_no_null() {
    let map =
        |pairs: Vec<(&str, Avro)>| Avro::Map(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let of = |branch: u32, value: Avro| Avro::Union(branch, Box::new(value));
    let long = |number: i64| of(0, Avro::Long(number));
    let double = |number: f64| of(1, Avro::Double(number));
    let text = |text: &str| of(2, Avro::String(text.into()));
    let schema = Schema::parse_str(CAPTURE).unwrap();
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    let mut event = |time: &str, system: Vec<(&str, Avro)>, properties: Vec<(&str, Avro)>, body: Option<&[u8]>| {
        let body = body.map_or(of(0, Avro::Null), |body| of(1, Avro::Bytes(body.to_vec())));
        let fields = [
            ("SequenceNumber", Avro::Long(1)),
            ("Offset", Avro::String("0".into())),
            ("EnqueuedTimeUtc", Avro::String(time.into())),
            ("SystemProperties", map(system)),
            ("Properties", map(properties)),
            ("Body", body),
        ];
        writer.append_value(Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())).unwrap();
    };
    let sequence = ("x-opt-sequence-number", long((1 << 53) + 3));
    let mixed = vec![
        ("count", long(-7)),
        ("ratio", double(0.25)),
        ("label", text("\"\u{e9}\\\n")),
        ("raw", of(3, Avro::Bytes(vec![0, 254]))),
        ("nothing", of(4, Avro::Null)),
    ];
    event(
        "5/6/2024 12:00:30 AM",
        vec![("iothub-connection-device-id", text("kiln")), sequence],
        mixed,
        Some(br#"{"t":900}"#),
    );
    let numbers =
        vec![("wide", double(1e300)), ("whole", double(3.0)), ("most", long(i64::MAX)), ("least", long(i64::MIN))];
    event("5/6/2024 12:00:30 PM", vec![("x-opt-partition-key", text("press"))], numbers, Some(b"\x80 no JSON"));
    event("12/31/2023 11:59:59 PM", vec![], vec![], None);
    let installation = Installation::new(
        "[sources.capture]\nfiles = \"in.avro\"\nenvelope = \"avro\"\n[exports.messages]\nsource = \"capture\"\n\
         format = { plugin = \"avro\", record = \"message\" }\n",
    );
    installation.write("in.avro", writer.into_inner().unwrap());
    installation.run_ok(&["run", "--quiet"]);

    assert_eq!(installation.dead_letters(), [""; 0]);
    let mut found: Vec<_> = installation.files().values().flat_map(|file| records(file)).collect();
    found.sort_by_key(|message| format!("{:?}", member(message, "EnqueuedTimeUtc")));
    let json = |message: &Avro, name: &str| Value::try_from(member(message, name).clone()).unwrap();
    let times: Vec<_> = found.iter().map(|message| json(message, "EnqueuedTimeUtc")).collect();
    assert_eq!(times, ["2023-12-31T23:59:59.0000000Z", "2024-05-06T00:00:30.0000000Z", "2024-05-06T12:00:30.0000000Z"]);
    let [empty, mixed, numbers] = &found[..] else { panic!("{found:?}") };
    assert_eq!(json(empty, "Properties"), json!({}));
    assert_eq!(
        json(mixed, "Properties"),
        json!({ "count": "-7", "ratio": "0.25", "label": "\"\u{e9}\\\n", "raw": "AP4=" })
    );
    let properties = json(numbers, "Properties");
    assert_eq!(properties["wide"].as_str().unwrap().parse(), Ok(1e300), "{properties}");
    assert_eq!(properties["whole"].as_str().unwrap().parse(), Ok(3.0), "{properties}");
    assert_eq!(
        (&properties["most"], &properties["least"]),
        (&json!(i64::MAX.to_string()), &json!(i64::MIN.to_string()))
    );
    let device = |message: &Avro| json(message, "SystemProperties")["connectionDeviceId"].clone();
    assert_eq!([empty, mixed, numbers].map(device), [Value::Null, json!("kiln"), json!("press")]);
    assert_eq!(json(mixed, "SystemProperties")["x-opt-sequence-number"], "9007199254740995");
    let bodies = [empty, mixed, numbers].map(|message| member(message, "Body"));
    assert_eq!(bodies, [&Avro::Null, &Avro::Bytes(br#"{"t":900}"#.to_vec()), &Avro::Bytes(b"\x80 no JSON".to_vec())]);
}
