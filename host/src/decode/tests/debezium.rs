//! Debezium's events, bare and with their schemas, as its connectors for PostgreSQL and MySQL write them.

use serde_json::{Value, json};

use super::envelopes::{envelope, everything, open, refused};
use super::tables::{assert_skipped, said, tells, told};
use super::*;
use crate::plan::Envelope::Debezium;

const CREATE: &str = r#"{"before":null,"after":{"id":7,"name":"Größe \"1\"","total":12345678901234567890123456789012345678,"t":null},"source":{"version":"2.7.0.Final","connector":"postgresql","ts_ms":1624638072123,"db":"d","schema":"public","table":"account","txId":748,"lsn":23803720},"op":"c","ts_ms":1624638072500,"transaction":null}"#;
const UPDATE: &str = r#"{"before":null,"after":{"id":7,"note":"__debezium_unavailable_value","data":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","tags":["__debezium_unavailable_value"],"t":"it says __debezium_unavailable_value"},"source":{"ts_ms":1624638072123,"schema":"sales","table":"line","lsn":23803721},"op":"u"}"#;
const DELETE: &str = r#"{"before":{"id":7},"after":null,"source":{"ts_ms":1624638072123,"file":"mysql-bin.000003","pos":154,"table":"account"},"op":"d"}"#;
const TABLES: &str = r#"{"source":{"connector":"mysql"},"databaseName":"inventory","ddl":"CREATE TABLE …","tableChanges":[{"type":"CREATE","id":"\"inventory\".\"customers\"","table":{"primaryKeyColumnNames":["id"],"columns":[{"name":"id","jdbcType":4,"typeName":"INT","length":null,"scale":null},{"name":"email","typeName":"VARCHAR","length":255,"scale":null},{"name":"at","typeName":"TIMESTAMP","length":6},{"name":"total","typeName":"DECIMAL","length":10,"scale":2}]}},{"type":"DROP","id":"\"inventory\".\"old\"","table":null}]}"#;

/// One of each kind.
pub const LINES: &[&str] = &[CREATE, UPDATE, DELETE, TABLES];

/// A line with a schema: name, type, logical type and parameters of each column.
fn with_schema(fields: &[(&str, &str, &str, Value)], after: &str) -> String {
    let field = |(name, of, logical, parameters): &(&str, &str, &str, Value)| json!({ "type": of, "optional": true, "name": logical, "parameters": parameters, "field": name });
    let fields: Vec<Value> = fields.iter().map(field).collect();
    let row = |field: &str| json!({ "type": "struct", "fields": fields, "field": field });
    let schema =
        json!({ "type": "struct", "fields": [row("before"), row("after"), { "type": "string", "field": "op" }] });
    let (before, after) = (r#""before":null"#, format!(r#""after":{after}"#));
    format!(r#"{{"schema":{schema},"payload":{{{before},{after},"source":{{"table":"account"}},"op":"r"}}}}"#)
}

#[test]
fn a_create_is_the_row_byte_for_byte() {
    let row = open(Debezium, CREATE);
    for (name, expected) in [
        ("kind", json!("account")),
        ("operation", json!("create")),
        ("version", json!(23_803_720)),
        ("time", json!("2021-06-25T16:21:12.123Z")),
        ("source", json!("plant")),
    ] {
        assert_eq!(row[name], expected);
    }
    assert!(row.get("subject").is_none() && row.get("system-properties").is_none(), "the value does not say the key");
    let body = r#"{"id":7,"name":"Größe \"1\"","total":12345678901234567890123456789012345678,"t":null}"#;
    for line in [CREATE, &format!(r#"{{"schema":null,"payload":{CREATE}}}"#)] {
        assert_eq!(bodies(&everything(&envelope(Debezium)).decode(&chunk(0, line), 0)), [body]);
    }
    assert_eq!(open(Debezium, &CREATE.replace(r#""op":"c""#, r#""op":"u""#))["operation"], "update");
}

#[test]
fn values_that_are_not_known_are_left_out_of_a_patch() {
    let row = open(Debezium, UPDATE);
    let body = json!({ "id": 7, "t": "it says __debezium_unavailable_value" });
    assert_eq!((&row["kind"], &row["operation"], &row["body"]), (&json!("sales.line"), &json!("patch"), &body));
    assert_eq!(row["version"], 23_803_721);
}

#[test]
fn a_delete_has_what_is_known_of_the_row() {
    let expected = json!({ "kind": "account", "operation": "delete", "body": { "id": 7 }, "source": "plant",
        "version": (3i64 << 40) + 154, "time": "2021-06-25T16:21:12.123Z" });
    assert_eq!(open(Debezium, DELETE), expected);
    let nothing = open(Debezium, r#"{"op":"d","before":null,"source":{"collection":"c","scn":"77"}}"#);
    let expected = json!({ "kind": "c", "operation": "delete", "source": "plant" });
    assert_eq!(nothing, expected, "changes of one transaction may have the same number: it is no version");
    let truncated = open(Debezium, r#"{"op":"t","source":{"table":"c"}}"#);
    assert_eq!(truncated, json!({ "kind": "c", "operation": "truncate", "source": "plant" }));
}

#[test]
fn tombstones_messages_heartbeats_and_marks_are_no_rows() {
    for line in [
        "null",
        " null\t",
        r#"{"schema":null,"payload":null}"#,
        r#"{"op":"m","source":{},"message":{"prefix":"p","content":"Yw=="}}"#,
        r#"{"ts_ms":1624638072123}"#,
        r#"{"schema":{"name":"io.debezium.connector.common.Heartbeat"},"payload":{"ts_ms":1}}"#,
        r#"{"status":"BEGIN","id":"571:53195829","event_count":null,"data_collections":null,"ts_ms":1}"#,
        r#"{"ddl":"DROP TABLE t","tableChanges":[]}"#,
    ] {
        assert_skipped(Debezium, line);
    }
}

#[test]
fn a_schema_says_columns_and_what_values_stand_for() {
    let decimal = "org.apache.kafka.connect.data.Decimal";
    let line = with_schema(
        &[
            ("id", "int32", "", Value::Null),
            ("name", "string", "", json!({ "__debezium.source.column.length": "160" })),
            ("total", "bytes", decimal, json!({ "scale": "2", "connect.decimal.precision": "38" })),
            ("any", "struct", "io.debezium.data.VariableScaleDecimal", Value::Null),
            ("day", "int32", "io.debezium.time.Date", Value::Null),
            ("at", "int64", "io.debezium.time.MicroTimestamp", Value::Null),
            ("\u{fc}ber", "int64", "io.debezium.time.Timestamp", Value::Null),
            ("clock", "int64", "io.debezium.time.MicroTime", Value::Null),
            ("zoned", "string", "io.debezium.time.ZonedTimestamp", Value::Null),
            ("opens", "string", "io.debezium.time.ZonedTime", Value::Null),
            ("guid", "string", "io.debezium.data.Uuid", Value::Null),
            ("t", "string", "io.debezium.data.Json", Value::Null),
            ("ok", "boolean", "", Value::Null),
            ("x", "double", "", Value::Null),
            ("tags", "array", "", Value::Null),
            ("raw", "bytes", "", Value::Null),
        ],
        r#"{"id":7,"name":"a","total":"AMhUw8w7aP4ERbnU6Q==","any":{"scale":1,"value":"hQ=="},"day":18803,"at":1624638072123456,"\u00fcber":-1,"clock":null,"zoned":"2021-06-25T16:21:12Z","opens":"16:21:12Z","guid":"g","t":"{}","ok":true,"x":1.5,"tags":[1],"raw":"AA=="}"#,
    );
    let (news, rows) = said(Debezium, &[&line, &line]);
    let columns = "id:int64 name:string(160) total:decimal(38,2) any:decimal day:date at:dateTime \u{fc}ber:dateTime clock:time \
        zoned:dateTimeOffset opens:string guid:guid t:json ok:boolean x:double tags:json raw:string";
    assert_eq!((told(&news), rows), (vec![tells("account", true, columns)], 2));
    let body = r#"{"id":7,"name":"a","total":619994763619975439533155176.73,"any":-12.3,"day":"2021-06-25","at":"2021-06-25T16:21:12.123456","\u00fcber":"1969-12-31T23:59:59.999","clock":null,"zoned":"2021-06-25T16:21:12Z","opens":"16:21:12Z","guid":"g","t":"{}","ok":true,"x":1.5,"tags":[1],"raw":"AA=="}"#;
    assert_eq!(bodies(&everything(&envelope(Debezium)).decode(&chunk(0, line), 0)), [body]);
}

#[test]
fn a_value_that_is_not_what_the_schema_says_is_refused() {
    let day = |value: &str| {
        let line =
            with_schema(&[("day", "int32", "io.debezium.time.Date", Value::Null)], &format!(r#"{{"day":{value}}}"#));
        refused(Debezium, &line)
    };
    let expected = "expected days since 1970, of the years 0000 to 9999";
    assert_eq!(day("\"x\""), format!("the column `day` is `\"x\"`, {expected}"));
    assert_eq!(day("99999999"), format!("the column `day` is `99999999`, {expected}"));
}

#[test]
fn a_change_of_schemas_is_news_and_no_row() {
    let (news, rows) = said(Debezium, &[TABLES, &format!(r#"{{"payload":{TABLES}}}"#)]);
    let columns = "id:int64 email:string(255) at:dateTimeOffset total:decimal(10,2)";
    assert_eq!((told(&news), rows), (vec![tells("customers", true, columns)], 0));
}

#[test]
fn what_is_no_event_says_what_was_expected() {
    let operations = "expected `c`, `u`, `d`, `r`, `t` or `m`";
    for (line, expected) in [
        (r#"{"id":7}"#, format!("no `op`: {operations} of an event that was not flattened")),
        ("{}", format!("no `op`: {operations} of an event that was not flattened")),
        (r#"{"op":"x"}"#, format!("the `op` is `x`, {operations}")),
        (r#"{"payload":7}"#, "the `payload` is a number, expected an object".into()),
        (r#"{"op":"c","after":{}}"#, "no `source.table`: expected a string".into()),
        (r#"{"op":"c","source":{"table":"a"}}"#, "no `after`: expected an object".into()),
        (r#"{"op":"c","source":{"table":"a"},"after":"{}"}"#, "the `after` is a string, expected an object".into()),
        (r#"{"op":"t","source":{"table":"a","lsn":1.5}}"#, "the `source.lsn` is `1.5`, expected a whole number".into()),
        (
            r#"{"op":"t","source":{"table":"a","file":"x","pos":1}}"#,
            "the `source.file` is `x` and `source.pos` 1, expected such as `mysql-bin.000003` and 154".into(),
        ),
    ] {
        assert_eq!(refused(Debezium, line), expected);
    }
    let wrong = refused(Debezium, r#"{"ddl":"x","tableChanges":[{"id":"a","table":{}}]}"#);
    assert!(wrong.starts_with("the `tableChanges` are not those of tables, but `{"), "{wrong}");
}
