//! What the envelopes of tables' changes have in common: what is said of columns, records that are no rows, and any bytes at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::envelopes::{envelope, everything, open, refused, shown};
use super::*;
use crate::dataset::SchemaNews;
use crate::plan::Envelope;

/// What lines say of columns, and how many of them are rows; none is refused.
pub fn said(kind: Envelope, lines: &[&str]) -> (Vec<SchemaNews>, usize) {
    let decoded = everything(&envelope(kind)).decode(&chunk(0, lines.join("\n")), 0);
    assert_eq!((decoded.records as usize, decoded.dead.len()), (lines.len(), 0), "{:?}", decoded.dead);
    let count = rows(&decoded);
    (decoded.news, count)
}

/// The same, as `kind`, whether it is complete, and `name:type(limits)` of each column.
pub fn told(news: &[SchemaNews]) -> Vec<(String, bool, String)> {
    let one = |news: &SchemaNews| {
        let columns: Vec<String> = news
            .columns
            .iter()
            .map(|column| {
                let limits = [column.max_length, column.precision.map(u32::from), column.scale.map(u32::from)];
                let limits: Vec<_> = limits.into_iter().flatten().map(|limit| limit.to_string()).collect();
                let limits = if limits.is_empty() { String::new() } else { format!("({})", limits.join(",")) };
                format!("{}:{}{limits}", column.name, column.data_type.name())
            })
            .collect();
        (news.kind.kind(), news.complete, columns.join(" "))
    };
    news.iter().map(one).collect()
}

/// One thing that was said.
pub fn tells(kind: &str, complete: bool, columns: &str) -> (String, bool, String) {
    (kind.to_owned(), complete, columns.to_owned())
}

/// A line that is neither a row nor a dead letter, and says nothing.
pub fn assert_skipped(kind: Envelope, line: &str) {
    assert_eq!(said(kind, &[line]), (vec![], 0), "{line}");
}

// --- plain change records ---------------------------------------------------------------------------------------------

#[test]
fn a_truncate_is_of_all_rows_of_a_kind() {
    let line = r#"{"operation":"truncate","kind":"account","version":7}"#;
    let expected = json!({ "operation": "truncate", "kind": "account", "version": 7, "source": "plant" });
    assert_eq!(open(Envelope::Change, line), expected);
}

#[test]
fn a_change_may_say_what_the_key_was() {
    let line = r#"{"operation":"update","kind":"account","key":"[1,\"b\"]","previous-key":"[1,\"a\"]","body":{}}"#;
    let row = open(Envelope::Change, line);
    assert_eq!(row["system-properties"], json!({ "previousKey": r#"[1,"a"]"# }));
    let line = r#"{"operation":"update","kind":"account","key":"a","previous-key":7,"body":{}}"#;
    assert_eq!(refused(Envelope::Change, line), "the `previous-key` is a number, expected a string");
}

#[test]
fn a_schema_is_news_and_no_row() {
    let schema = |body: Value| json!({ "operation": "schema", "kind": "account", "body": body }).to_string();
    let whole = schema(json!({ "complete": true, "columns": [
        { "name": "name", "data-type": "string", "max-length": 160 },
        { "name": "total", "data-type": "decimal", "precision": 38, "scale": 10 },
        { "name": "state", "data-type": "int64", "choices": [{ "value": 0, "label": "Active" }], "choice-set": "state" },
    ] }));
    let part = schema(json!({ "columns": [{ "name": "überfällig", "data-type": "dateTimeOffset" }] }));
    let row = r#"{"operation":"delete","kind":"account","key":"a"}"#;
    let (news, rows) = said(Envelope::Change, &[&whole, &whole, row, &part, &part, &whole]);
    let all = tells("account", true, "name:string(160) total:decimal(38,10) state:int64");
    let part = tells("account", false, "überfällig:dateTimeOffset");
    assert_eq!(told(&news), [all.clone(), part, all], "the last says that the part is gone");
    assert_eq!((rows, &*news[0].columns[2].choices[0].label), (1, "Active"));
}

#[test]
fn a_part_of_what_is_known_is_no_news() {
    let schema = |complete: bool, names: &[&str]| {
        let column = |name: &&str| json!({ "name": name, "data-type": "string" });
        let columns: Vec<Value> = names.iter().map(column).collect();
        let body = json!({ "complete": complete, "columns": columns });
        json!({ "operation": "schema", "kind": "account", "body": body }).to_string()
    };
    let (all, part, more) = (schema(true, &["a", "b"]), schema(false, &["a"]), schema(false, &["a", "c"]));
    let (news, _) = said(Envelope::Change, &[&all, &part, &all, &part, &more, &part, &more, &all, &part, &more]);
    let told: Vec<String> = told(&news).into_iter().map(|(_, _, columns)| columns.replace(":string", "")).collect();
    assert_eq!(told, ["a b", "a c", "a b", "a c"]);
}

#[test]
fn a_schema_that_is_wrong_names_the_column_and_what_is_expected() {
    for (body, expected) in [
        (json!(null), "no `body`: expected an object with the `columns` of the table"),
        (json!({}), "the `body` of the schema is wrong: missing field `columns`"),
        (json!({ "columns": [] }), "the schema has no columns: expected at least one"),
        (
            json!({ "columns": [{ "name": "a", "data-type": "text" }] }),
            "column 1 (`a`) of the schema is wrong: unknown variant `text`, expected one of `string`, `int64`, `double`, \
             `decimal`, `boolean`, `date`, `time`, `dateTime`, `dateTimeOffset`, `guid`, `json`",
        ),
        (json!({ "columns": [{ "data-type": "string" }] }), "column 1 of the schema is wrong: missing field `name`"),
        (
            json!({ "columns": [{ "name": "a", "data-type": "string" }, { "name": "a", "data-type": "guid" }] }),
            "column 2 (`a`) of the schema is wrong: another column has the name, too; expected each once",
        ),
        (
            json!({ "columns": [{ "name": "", "data-type": "string" }] }),
            "column 1 (``) of the schema is wrong: the `name` is empty, expected text",
        ),
    ] {
        let line = json!({ "operation": "schema", "kind": "account", "body": body }).to_string();
        assert_eq!(refused(Envelope::Change, &line), expected, "{line}");
    }
}

#[test]
fn what_is_said_in_one_chunk_is_said_again_in_the_next() {
    let line = r#"{"operation":"schema","kind":"a","body":{"columns":[{"name":"b","data-type":"guid"}]}}"#;
    let mut decoder = everything(&envelope(Envelope::Change));
    for first in [0, 100] {
        assert_eq!(decoder.decode(&chunk(first, line), 0).news.len(), 1, "whichever lane decodes it");
    }
}

#[test]
fn what_is_said_has_the_newest_version_of_those_that_say_it_and_the_place_of_the_first() {
    let change = |action: &str, lsn: u32, names: &[&str]| {
        let columns: Vec<_> = names.iter().map(|name| json!({ "name": name, "type": "text", "value": "x" })).collect();
        json!({ "action": action, "schema": "public", "table": "t", "lsn": format!("0/{lsn:X}"), "columns": columns,
                "identity": [columns[0]] })
        .to_string()
    };
    let lines = [
        change("I", 100, &["id", "a"]),
        change("I", 300, &["id", "a"]),
        change("U", 400, &["id"]),
        change("U", 350, &["id"]),
        change("I", 200, &["id"]),
        change("I", 500, &["id", "a"]),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (news, _) = said(Envelope::Wal2Json, &lines);
    let versions: Vec<_> = news.iter().map(|news| (news.columns.len(), news.complete, news.version.unwrap())).collect();
    assert_eq!(versions, [(2, true, 300), (1, false, 400), (1, true, 200), (2, true, 500)]);
    let places: Vec<_> = news.iter().map(|news| news.offset as usize).collect();
    let starts = |at: usize| lines[..at].iter().map(|line| line.len() + 1).sum::<usize>();
    assert_eq!(places, [0, 2, 4, 5].map(starts));
}

#[test]
fn a_schema_has_the_version_of_its_record() {
    let line = |version: &str| {
        format!(
            r#"{{"operation":"schema","kind":"a","version":{version},"body":{{"columns":[{{"name":"b","data-type":"guid"}}]}}}}"#
        )
    };
    let (news, _) = said(Envelope::Change, &[&line("7")]);
    assert_eq!(news[0].version, Some(7));
    assert_eq!(refused(Envelope::Change, &line("1.5")), "the `version` is `1.5`, expected a whole number");
}

// --- any bytes --------------------------------------------------------------------------------------------------------

/// Lines near to those that each envelope expects.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let parts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\n",
        "null",
        "1",
        "-1e9",
        "{}",
        "[]",
        "\"\"",
        "\"\\ud800\"",
        "\"AA==\"",
        "{\"action\":\"U\",\"schema\":\"s\",\"table\":\"t\",\"columns\":",
        "[{\"name\":\"a\",\"type\":\"numeric(3,\",\"value\":1}]",
        ",\"identity\":",
        ",\"pk\":",
        ",\"lsn\":\"0/16B3748\"",
        ",\"lsn\":",
        ",\"timestamp\":\"2021-06-25 16:21:12+00\"",
        "{\"op\":\"u\",\"source\":{\"table\":\"t\",\"ts_ms\":1,\"lsn\":7},\"after\":",
        "{\"a\":\"__debezium_unavailable_value\"}",
        "{\"payload\":",
        "\"schema\":{\"fields\":[{\"field\":\"after\",\"fields\":[",
        "{\"field\":\"a\",\"type\":\"bytes\",\"name\":\"org.apache.kafka.connect.data.Decimal\",\"parameters\":{\"scale\":\"2\"}}",
        "]}]},",
        "{\"ddl\":\"x\",\"tableChanges\":",
        "{\"@odata.context\":\"#accounts/$deletedEntity\",\"id\":",
        "{\"@context\":\"#a/$delta\",\"value\":[",
        "\"a(b='\"",
        "{\"@removed\":{},\"@odata.etag\":\"W/\\\"1\\\"\",\"x\":1}",
        "{\"MessageName\":\"Update\",\"PrimaryEntityName\":\"a\",\"PrimaryEntityId\":\"b\",\"InputParameters\":",
        "[{\"key\":\"Target\",\"value\":{\"RowVersion\":\"7\",\"Attributes\":",
        "{\"a\":\"/Date(1+0)/\"}",
        "{\"__type\":\"Money:\",\"Value\":1}",
        "{\"operation\":\"schema\",\"kind\":\"k\",\"body\":",
        "{\"columns\":[",
    ];
    let part = prop_oneof![
        6 => prop::sample::select(parts.map(str::as_bytes).to_vec()).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..3),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

/// Whole records, each cut or changed in one place.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&str> =
        [wal2json::LINES, debezium::LINES, odata::LINES, dataverse::LINES].into_iter().flatten().copied().collect();
    (prop::sample::select(lines), any::<prop::sample::Index>(), 0usize..40, prop::option::of(any::<u8>())).prop_map(
        |(line, at, removed, added)| {
            let mut line = line.as_bytes().to_vec();
            let at = at.index(line.len());
            line.splice(at..(at + removed).min(at.max(line.len())).min(line.len()), added);
            line
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_make_it_panic_and_no_record_becomes_two_things(text in prop_oneof![fragment(), mutated()]) {
        for kind in [Envelope::Debezium, Envelope::Wal2Json, Envelope::ODataDelta, Envelope::Dataverse, Envelope::Change] {
            let decoded = everything(&envelope(kind)).decode(&chunk(0, text.clone()), 0);
            assert_rows_align(&decoded);
            shown(&decoded);
            prop_assert!(decoded.records >= (rows(&decoded) + decoded.dead.len()) as u64);
            for batch in &decoded.batches {
                for body in batch.bodies.iter().flatten() {
                    let whole = crate::decode::scan::Scanner::new(body, body.len(), &mut Default::default()).document(0, |_, _| {});
                    prop_assert!(whole.is_ok() && body.starts_with(b"{"), "{:?}", String::from_utf8_lossy(body));
                }
            }
        }
    }
}
