//! wal2json's lines, as PostgreSQL 15 writes them.

use serde_json::json;

use super::envelopes::{envelope, everything, open, refused};
use super::tables::{assert_skipped, said, tells, told};
use super::*;
use crate::plan::Envelope::Wal2Json;

const INSERT: &str = r#"{"action":"I","xid":748,"timestamp":"2021-06-25 16:21:12.123456+00","lsn":"1/16B3748","schema":"public","table":"account","columns":[{"name":"id","type":"integer","value":7},{"name":"na\"me","type":"character varying(160)","value":"Größe \"1\"\n\ud83d\ude00"},{"name":"total","type":"numeric(38,10)","value":-9999999999999999999999999999.9999999999},{"name":"note","type":"text","value":null},{"name":"t","type":"jsonb","value":"{\"a\": [1]}"}],"pk":[{"name":"id","type":"integer"}]}"#;
const UPDATE: &str = r#"{"action":"U","lsn":"1/16B3790","schema":"sales","table":"line","columns":[{"name":"id","type":"integer","value":7},{"name":"line","type":"text","value":"b"},{"name":"t","type":"bytea","value":"00ff"}],"identity":[{"name":"id","type":"integer","value":7},{"name":"line","type":"text","value":"a"}],"pk":[{"name":"id","type":"integer"},{"name":"line","type":"text"}]}"#;
const DELETE: &str = r#"{"action":"D","schema":"public","table":"account","identity":[{"name":"id","type":"integer","value":7}],"pk":[{"name":"id","type":"integer"}]}"#;

/// One of each kind.
pub const LINES: &[&str] = &[INSERT, UPDATE, DELETE];

#[test]
fn an_insert_is_a_create_with_the_values_byte_for_byte() {
    let expected = json!({ "kind": "account", "subject": "7", "operation": "create", "version": 0x1016B3748i64, "source": "plant",
        "time": "2021-06-25T16:21:12.123456Z", "t": "{\"a\": [1]}", "body": { "id": 7, "na\"me": "Größe \"1\"\n😀",
        "total": -9999999999999999999999999999.9999999999f64, "note": null, "t": "{\"a\": [1]}" } });
    assert_eq!(open(Wal2Json, INSERT), expected);
    let decoded = everything(&envelope(Wal2Json)).decode(&chunk(0, INSERT), 0);
    let body = r#"{"id":7,"na\"me":"Größe \"1\"\n\ud83d\ude00","total":-9999999999999999999999999999.9999999999,"note":null,"t":"{\"a\": [1]}"}"#;
    assert_eq!(bodies(&decoded), [body]);
}

#[test]
fn an_update_is_a_patch_and_says_the_key_that_was() {
    let expected = json!({ "kind": "sales.line", "subject": r#"[7,"b"]"#, "operation": "patch", "version": 0x1016B3790i64,
        "source": "plant", "t": "00ff", "body": { "id": 7, "line": "b", "t": "00ff" },
        "system-properties": { "previousKey": r#"[7,"a"]"#, "previous": r#"{"id":7,"line":"a"}"# } });
    assert_eq!(open(Wal2Json, UPDATE), expected);
}

#[test]
fn a_key_that_did_not_change_is_not_said_to_have() {
    let line = UPDATE.replace(r#""value":"a""#, r#""value":"\u0062""#);
    assert!(open(Wal2Json, &line).get("system-properties").is_none(), "the same text with another escape");
    // A key that is stored apart and did not change is in the identity alone.
    let line = UPDATE.replace(r#"{"name":"line","type":"text","value":"b"},"#, "");
    let row = open(Wal2Json, &line);
    assert_eq!(row["subject"], r#"[7,"a"]"#);
    assert!(row.get("system-properties").is_none());
}

#[test]
fn a_column_that_changed_may_be_a_key_that_only_the_table_knows_of() {
    let line = UPDATE.replace(r#","value":"a""#, r#","value":"b""#);
    assert!(open(Wal2Json, &line).get("system-properties").is_none(), "nothing changed of what is in both lists");
    let full = line.replace(r#""identity":["#, r#""identity":[{"name":"t","type":"bytea","value":"00"},"#);
    let row = open(Wal2Json, &full);
    assert_eq!(
        row["system-properties"],
        json!({ "previous": r#"{"t":"00","id":7,"line":"b"}"# }),
        "its key is the same"
    );
}

#[test]
fn without_pk_no_change_has_a_key() {
    let without = |line: &str| format!("{}}}", &line[..line.find(r#","pk":"#).unwrap()]);
    let row = open(Wal2Json, &without(UPDATE));
    assert!(row.get("subject").is_none(), "the identity is the whole row, or a key that an insert does not say");
    assert_eq!(row["system-properties"], json!({ "previous": r#"{"id":7,"line":"a"}"# }));
    assert!(open(Wal2Json, &without(INSERT)).get("subject").is_none());
    let expected = json!({ "kind": "account", "operation": "delete", "source": "plant", "body": { "id": 7 } });
    assert_eq!(open(Wal2Json, &without(DELETE)), expected);
    let expected =
        json!({ "kind": "account", "subject": "7", "operation": "delete", "source": "plant", "body": { "id": 7 } });
    assert_eq!(open(Wal2Json, DELETE), expected);
    let nothing = open(Wal2Json, r#"{"action":"D","schema":"public","table":"account"}"#);
    assert_eq!(nothing, json!({ "kind": "account", "operation": "delete", "source": "plant" }));
}

#[test]
fn a_truncate_has_neither_key_nor_body() {
    let line = r#"{"action":"T","lsn":"0/A","schema":"public","table":"account"}"#;
    assert_eq!(
        open(Wal2Json, line),
        json!({ "kind": "account", "operation": "truncate", "version": 10, "source": "plant" })
    );
}

#[test]
fn marks_of_transactions_and_messages_are_no_rows() {
    assert_skipped(Wal2Json, r#"{"action":"B","xid":748,"lsn":"0/1"}"#);
    assert_skipped(Wal2Json, r#"{"action":"C","timestamp":"2021-06-25 16:21:12+00"}"#);
    assert_skipped(Wal2Json, r#"{"action":"M","transactional":false,"prefix":"p","content":"c"}"#);
}

#[test]
fn times_are_those_of_any_zone() {
    for (written, expected) in [
        ("2021-06-25 16:21:12+00", "2021-06-25T16:21:12Z"),
        ("2021-06-25 16:21:12.5-03", "2021-06-25T19:21:12.500Z"),
        ("2021-06-25 16:21:12.123456+05:30", "2021-06-25T10:51:12.123456Z"),
    ] {
        let line = format!(r#"{{"action":"T","table":"a","timestamp":"{written}"}}"#);
        assert_eq!(open(Wal2Json, &line)["time"], expected);
    }
}

#[test]
fn columns_are_said_once_and_those_of_an_insert_are_all() {
    let update = r#"{"action":"U","schema":"public","table":"account","columns":[{"name":"id","type":"integer","value":7},{"name":"new","type":"timestamp(3) without time zone","value":null}],"identity":[{"name":"id","type":"integer","value":7}]}"#;
    let (news, rows) = said(Wal2Json, &[INSERT, INSERT, DELETE, update, update, INSERT]);
    let all = tells("account", true, "id:int64 na\"me:string(160) total:decimal(38,10) note:string t:json");
    let expected = vec![all.clone(), tells("account", false, "id:int64 new:dateTime"), all];
    assert_eq!((told(&news), rows), (expected, 6), "the last insert says that the new column is gone again");
    let changed = INSERT.replace("text", "uuid");
    let (news, _) = said(Wal2Json, &[INSERT, &changed, INSERT]);
    assert_eq!(news.len(), 3, "what was said last counts");
    let untyped = r#"{"action":"I","table":"a","columns":[{"name":"id","value":7}]}"#;
    assert!(said(Wal2Json, &[untyped]).0.is_empty());
}

#[test]
fn what_is_no_change_says_what_was_expected() {
    for (line, expected) in [
        (
            r#"{"change":[]}"#,
            "no `action`: expected `I`, `U`, `D`, `T`, `B`, `C` or `M` of wal2json's format version 2",
        ),
        (
            r#"{"action":"X"}"#,
            "the `action` is `X`, expected `I`, `U`, `D`, `T`, `B`, `C` or `M` of wal2json's format version 2",
        ),
        (r#"{"action":"I","schema":"public"}"#, "no `table`: expected a string"),
        (r#"{"action":"I","table":"\ud800"}"#, r"the `table` is `\ud800`, expected Unicode text"),
        (r#"{"action":"I","table":"a"}"#, "no `columns`: expected an array of columns"),
        (r#"{"action":"I","table":"a","columns":{}}"#, "the `columns` is an object, expected an array of columns"),
        (r#"{"action":"I","table":"a","columns":[7]}"#, "element 1 of `columns` has no `name`: expected a string"),
        (r#"{"action":"I","table":"a","columns":[{"name":"b"}]}"#, "`b` in `columns` has no `value`"),
        (
            r#"{"action":"T","table":"a","lsn":"16B3748"}"#,
            "the `lsn` is `16B3748`, expected a position such as `0/16B3748`",
        ),
        (
            r#"{"action":"T","table":"a","lsn":"80000000/0"}"#,
            "the `lsn` is `80000000/0`, expected a position such as `0/16B3748`",
        ),
        (
            r#"{"action":"T","table":"a","timestamp":"yesterday"}"#,
            "the `timestamp` is `yesterday`, expected a time such as `2021-06-25 16:21:12.123456+00`",
        ),
    ] {
        assert_eq!(refused(Wal2Json, line), expected);
    }
}
