//! Whole files, read back by apache-avro.

mod documents;
mod messages;
mod round_trip;
mod schemas;

use apache_avro::Reader;
use apache_avro::types::Value;
use lakeport_plugin::serde_json::{self, json};
use lakeport_plugin::{Column, ColumnValues, VarBytes};

use super::*;

/// A format with settings, as the host gives them.
fn open(settings: serde_json::Value) -> Result<Avro> {
    Avro::open(serde_json::from_value(settings).map_err(|error| Error::InvalidConfig(error.to_string()))?)
}

fn refused(settings: serde_json::Value) -> String {
    match open(settings).map(|_| ()) {
        Err(Error::InvalidConfig(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn file(resumed: bool) -> FileContext {
    FileContext { seed: b"0123456789abcdef".to_vec(), resumed }
}

/// A text-like column of a row for each value; null where there is none.
fn column(values: &[Option<&[u8]>], wrap: fn(VarBytes) -> ColumnValues) -> Column {
    let mut texts = VarBytes { offsets: vec![0], data: Vec::new() };
    values.iter().for_each(|value| texts.push(value.unwrap_or(b"junk")));
    Column { validity: validity(values), values: wrap(texts) }
}

fn validity<T>(values: &[Option<T>]) -> Option<Vec<u8>> {
    let mut bits = vec![0; values.len().div_ceil(8)];
    values.iter().enumerate().for_each(|(row, value)| bits[row / 8] |= u8::from(value.is_some()) << (row % 8));
    values.iter().any(Option::is_none).then_some(bits)
}

/// A batch of JSON bodies, without subjects.
fn bodies<T: AsRef<str>>(bodies: &[T]) -> Batch {
    let values: Vec<Option<&[u8]>> = bodies.iter().map(|body| Some(body.as_ref().as_bytes())).collect();
    let subjects = vec![None; bodies.len()];
    Batch::new(bodies.len(), vec![column(&values, ColumnValues::Json), column(&subjects, ColumnValues::Text)])
}

/// The file of some batches: one encoder writes the first, another one that resumes it each of the rest.
fn written(settings: &serde_json::Value, batches: &[Batch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, batch) in batches.iter().enumerate() {
        let mut avro = open(settings.clone()).unwrap();
        let header = avro.header(&file(place > 0)).unwrap();
        if place == 0 {
            bytes.extend(header);
        }
        let segment = avro.encode(batch).unwrap();
        let reasons: Vec<&str> = segment.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
        assert_eq!((segment.rows as usize, reasons), (batch.rows(), vec![]));
        bytes.extend(segment.bytes);
        assert_eq!(avro.trailer().unwrap(), b"");
    }
    bytes
}

fn read(file: &[u8]) -> Vec<Value> {
    Reader::new(file).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Why each of the bodies is refused.
fn reasons<T: AsRef<str>>(settings: serde_json::Value, refused: &[T]) -> Vec<String> {
    let mut avro = open(settings).unwrap();
    avro.header(&file(false)).unwrap();
    let segment = avro.encode(&bodies(refused)).unwrap();
    let rows: Vec<usize> = segment.rejected.iter().map(|rejected| rejected.row as usize).collect();
    assert_eq!(rows, (0..refused.len()).collect::<Vec<_>>(), "{:?}", segment.rejected);
    assert_eq!((segment.rows, segment.bytes.len()), (0, 0));
    segment.rejected.into_iter().map(|rejected| rejected.reason).collect()
}

/// A field of a record.
fn field<'a>(record: &'a Value, name: &str) -> &'a Value {
    let Value::Record(fields) = record else { panic!("{record:?}") };
    &fields.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no {name} in {record:?}")).1
}

/// Reads a long.
pub fn long(rest: &mut &[u8]) -> i64 {
    let end = rest.iter().position(|&byte| byte < 0x80).unwrap();
    let number = rest[..=end].iter().rev().fold(0, |sum, &byte| sum << 7 | i64::from(byte & 0x7f));
    *rest = &rest[end + 1..];
    number >> 1
}

const CODECS: [&str; 4] = ["null", "deflate", "zstandard", "snappy"];

fn numbers() -> serde_json::Value {
    json!({"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]})
}

#[test]
fn a_schema_is_needed_with_its_record_kind_and_only_there() {
    assert_eq!(
        refused(json!({"record": "schema"})),
        "`schema` is missing: with `record` = `schema`, give the Avro schema as text or as JSON"
    );
    let of_no_use = "`schema` is of no use here: set `record` to `schema`, or leave `schema` out";
    assert_eq!(refused(json!({"schema": "\"int\""})), of_no_use);
    assert_eq!(refused(json!({"record": "device", "schema": numbers()})), of_no_use);
}

#[test]
fn a_block_size_out_of_range_is_refused() {
    for size in [0_u64, 1_023, 16_777_217] {
        let expected = format!("`block-size` is `{size}`, expected 1024 to 16777216 bytes");
        assert_eq!(refused(json!({"block-size": size})), expected);
    }
    assert!(open(json!({"block-size": 1_024})).is_ok());
    assert!(open(json!({"block-size": 16_777_216})).is_ok());
}

#[test]
fn settings_that_do_not_exist_are_refused() {
    assert!(refused(json!({"codex": "null"})).starts_with("unknown field `codex`"));
    assert!(refused(json!({"codec": "bzip2"})).starts_with("unknown variant `bzip2`"));
    assert!(refused(json!({"record": "twin"})).starts_with("unknown variant `twin`"));
}

#[test]
fn files_are_avro_and_may_be_extended() {
    let file_type = open(json!({})).unwrap().file_type();
    assert_eq!((file_type.extension.as_str(), file_type.content_type.as_str()), ("avro", "application/avro"));
    assert!(file_type.appendable);
}

#[test]
fn the_sync_marker_is_the_seed_of_the_file() {
    let batch = bodies(&[r#"{"n":1}"#]);
    let bytes = written(&json!({"record": "schema", "schema": numbers()}), &[batch]);
    assert_eq!(bytes.windows(16).filter(|window| *window == b"0123456789abcdef").count(), 2);
    assert!(bytes.ends_with(b"0123456789abcdef"));
}

#[test]
fn the_same_records_are_the_same_bytes() {
    for codec in CODECS {
        let settings = json!({"record": "schema", "schema": numbers(), "codec": codec});
        let batch = || bodies(&(0..5_000).map(|n| format!("{{\"n\":{}}}", n * 7)).collect::<Vec<_>>());
        assert_eq!(written(&settings, &[batch(), batch()]), written(&settings, &[batch(), batch()]), "{codec}");
    }
}

#[test]
fn the_schema_in_the_header_is_the_users_text() {
    let text = "{ \"type\" : \"record\", \"name\":\"R\", \"fields\":[ ], \"doc\":\"é\" }";
    let header = |schema: serde_json::Value| {
        let mut avro = open(json!({"record": "schema", "schema": schema})).unwrap();
        String::from_utf8(avro.header(&file(false)).unwrap()).unwrap()
    };
    assert!(header(json!(text)).contains(text));
    assert!(header(serde_json::from_str(text).unwrap()).contains(r#""name":"R""#));
}

#[test]
fn records_are_refused_without_a_header() {
    let error = open(json!({})).unwrap().encode(&Batch::new(0, Vec::new())).unwrap_err();
    assert_eq!(error.to_string(), "records came before the file's header");
}

#[test]
fn a_batch_of_which_nothing_is_kept_is_no_block() {
    let mut avro = open(json!({"record": "schema", "schema": numbers()})).unwrap();
    avro.header(&file(false)).unwrap();
    let segment = avro.encode(&bodies(&["{}", "{}"])).unwrap();
    assert_eq!((segment.bytes.len(), segment.rows, segment.rejected.len()), (0, 0, 2));
}

#[test]
fn rejected_rows_are_in_no_block() {
    let mut avro = open(json!({"record": "schema", "schema": numbers()})).unwrap();
    let mut bytes = avro.header(&file(false)).unwrap();
    let segment = avro.encode(&bodies(&[r#"{"n":1}"#, r#"{"n":"x"}"#, r#"{"n":3}"#])).unwrap();
    bytes.extend(segment.bytes);
    let kept: Vec<Value> = read(&bytes).iter().map(|record| field(record, "n").clone()).collect();
    assert_eq!(kept, [Value::Long(1), Value::Long(3)]);
    assert_eq!((segment.rows, segment.rejected[0].row), (2, 1));
}

#[test]
fn a_record_without_a_json_body_is_rejected() {
    for record in ["device", "device-template", "schema"] {
        let schema = if record == "schema" { numbers() } else { serde_json::Value::Null };
        let mut avro = open(json!({"record": record, "schema": schema})).unwrap();
        avro.header(&file(false)).unwrap();
        let columns = vec![column(&[None], ColumnValues::Json), column(&[Some(b"d1")], ColumnValues::Text)];
        let segment = avro.encode(&Batch::new(1, columns)).unwrap();
        assert_eq!(segment.rejected[0].reason, "the record has no JSON body");
    }
}
