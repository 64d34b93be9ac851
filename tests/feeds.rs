//! Feeds of tables as their senders write them: every row arrives, under its key, with the values that it has at the sender.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::cdm::{Cdm, Row};
use crate::support::lake_folder::Installation;

/// Exports of one table each, `t`, by their names: the envelope, the lines of the source, and more of the table's configuration.
pub fn exporting(feeds: &[(&str, &str, &[Value], &str)]) -> Installation {
    let mut text = String::new();
    for (name, envelope, _, more) in feeds {
        let (envelope, of_source) = envelope.split_once('\n').unwrap_or((envelope, ""));
        writeln!(
            text,
            "[sources.{name}]\nfiles = \"{name}.ndjson\"\nenvelope = \"{envelope}\"\n{of_source}\n[exports.{name}]\n\
             type = \"table\"\nsource = \"{name}\"\npublic-url = \"https://lake/\"\nformat = {{ plugin = \"cdm-csv\", dates = \"iso\" }}\n\
             [exports.{name}.tables.t]\n{more}"
        )
        .unwrap();
    }
    let installation = Installation::new(&text);
    for (name, _, lines, _) in feeds {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        installation.write(&format!("{name}.ndjson"), lines);
    }
    installation
}

pub fn catalog(installation: &Installation, export: &str) -> Cdm {
    Cdm::open(&installation.lake().join(export), &format!("https://lake/{export}/")).expect("there is a model.json")
}

/// The rows of the table `t` by key, with the columns of `columns`.
pub fn rows<const N: usize>(
    installation: &Installation,
    export: &str,
    columns: [&str; N],
) -> BTreeMap<String, [String; N]> {
    let cell = |row: &Row, name: &str| row[name].clone().unwrap_or_else(|| "null".into());
    let catalog = catalog(installation, export);
    // The key is the first column: a column `id` of the row takes the place of `Id`.
    let (key, rows) = (catalog.columns("t").remove(0), catalog.rows("t"));
    let count = rows.len();
    let by_key: BTreeMap<_, _> =
        rows.iter().map(|row| (cell(row, &key), columns.map(|column| cell(row, column)))).collect();
    assert_eq!(by_key.len(), count, "a key stands twice");
    by_key
}

/// Rows for comparison.
pub fn expected<const N: usize>(rows: &[(&str, [&str; N])]) -> BTreeMap<String, [String; N]> {
    rows.iter().map(|(key, cells)| ((*key).to_owned(), cells.map(str::to_owned))).collect()
}

/// An event of Debezium's, of PostgreSQL.
pub fn event(op: &str, before: Value, after: Value, lsn: u64) -> Value {
    json!({ "op": op, "before": before, "after": after,
        "source": { "connector": "postgresql", "ts_ms": 1_624_638_072_000_i64, "db": "d", "schema": "public", "table": "t", "lsn": lsn } })
}

/// A GUID in lower case.
pub fn guid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-00000000000a")
}

const ORDERS: &str = "https://o.example/$metadata#t";

#[test]
fn a_delete_or_a_patch_may_have_its_key_in_the_envelope_alone() {
    let page = |rows: &[Value]| json!({ "@odata.context": format!("{ORDERS}/$delta"), "value": rows });
    let gone =
        |id: &str| json!({ "@odata.context": format!("{ORDERS}/$deletedEntity"), "id": id, "reason": "deleted" });
    let row = |number: u32, tag: u32| json!({ "@odata.etag": format!("W/\"{tag}\""), "name": format!("n{tag}"), "id": guid(number) });
    let odata = [
        page(&(1..=5).map(|number| row(number, number)).collect::<Vec<_>>()),
        page(&[gone(&guid(1)), row(2, 9), gone(&guid(3).to_uppercase())]),
        page(&[json!({ "@removed": { "reason": "deleted" }, "id": guid(4) })]),
    ];
    let line = |id: u32, line: &str| json!({ "@odata.id": format!("lines(nr={id},line='{line}')"), "nr": id, "line": line, "name": "x" });
    let composite = [page(&[line(1, "a"), line(1, "b"), line(2, "a")]), page(&[gone("lines(nr=1,line='b')")])];
    let change = |operation: &str, key: &str, version: u32, body: Value| json!({ "operation": operation, "kind": "t", "key": key, "version": version, "body": body });
    let changes = [
        change("create", "a1", 1, json!({ "id": "a1", "name": "Pump" })),
        change("create", "a2", 1, json!({ "id": "a2", "name": "Mill" })),
        change("delete", "a1", 2, Value::Null),
        change("patch", "a2", 2, json!({ "name": "Windmill" })),
    ];
    let message = |name: &str, id: &str, target: Value| {
        json!({ "MessageName": name, "PrimaryEntityName": "t", "PrimaryEntityId": id,
            "InputParameters": [{ "key": "Target", "value": target }] })
    };
    let created = |number: u32| json!({ "Attributes": [{ "key": "id", "value": guid(number) }, { "key": "name", "value": "Pump" }] });
    let dataverse = [
        message("Create", &guid(0xa1), created(0xa1)),
        message("Create", &guid(0xa2), created(0xa2)),
        message("Update", &guid(0xa2).to_uppercase(), json!({ "Attributes": [{ "key": "name", "value": "Mill" }] })),
        message("Delete", &guid(0xa1).to_uppercase(), json!({ "Id": guid(0xa1), "LogicalName": "t" })),
    ];
    let key = "key = \"/id\"\ncolumns = \"infer\"";
    let installation = exporting(&[
        ("odata", "odata-delta", &odata, key),
        ("lines", "odata-delta", &composite, "key = [\"/line\", \"/nr\"]\ncolumns = \"infer\""),
        ("changes", "change", &changes, key),
        ("dataverse", "dataverse", &dataverse, key),
    ]);
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters(), Vec::<Value>::new());
    assert_eq!(rows(&installation, "odata", ["name"]), expected(&[(&guid(2), ["n9"]), (&guid(5), ["n5"])]));
    assert_eq!(
        rows(&installation, "lines", ["name"]).into_keys().collect::<Vec<_>>(),
        [r#"["a",1]"#, r#"["a",2]"#],
        "the properties of a link have names, so that their order does not matter"
    );
    assert_eq!(rows(&installation, "changes", ["name"]), expected(&[("a2", ["Windmill"])]));
    assert_eq!(rows(&installation, "dataverse", ["name"]), expected(&[(&guid(0xa2), ["Mill"])]));
}

#[test]
fn a_changed_row_of_odata_keeps_what_it_does_not_say_unless_rows_are_whole() {
    let page = |rows: Value| json!({ "@odata.context": format!("{ORDERS}/$delta"), "value": rows });
    let pages = [
        page(json!([
            { "@odata.id": "t(1)", "nr": 1, "name": "Pump", "city": "Ulm" },
            { "@odata.id": "t(2)", "nr": 2, "name": "Mill", "city": "Bonn" },
        ])),
        page(json!([{ "@odata.id": "t(1)", "city": "Kiel" }, { "@odata.id": "t(2)", "nr": 2, "name": null }])),
    ];
    let installation = exporting(&[
        ("changed", "odata-delta", &pages, "columns = \"infer\""),
        ("whole", "odata-delta\nrows = \"whole\"", &pages, "columns = \"infer\""),
    ]);
    installation.run_ok(&["run"]);
    let changed = rows(&installation, "changed", ["name", "city"]);
    assert_eq!(changed, expected(&[("1", ["Pump", "Kiel"]), ("2", ["null", "Bonn"])]));
    let whole = rows(&installation, "whole", ["name", "city"]);
    assert_eq!(whole, expected(&[("1", ["null", "Kiel"]), ("2", ["null", "null"])]));
}

#[test]
fn values_that_an_update_did_not_change_stay_in_each_form_of_debeziums_placeholder() {
    let text = "__debezium_unavailable_value";
    let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
    let base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    let uuid = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
    let columns = [
        ("text", json!("long"), json!(text)),
        ("bytes", json!("AAEC"), json!(base64)),
        ("hex", json!("000102"), json!("5f5f646562657a69756d5f756e617661696c61626c655f76616c7565")),
        ("texts", json!(["a", "b"]), json!([text])),
        ("ints", json!([1, 2]), json!(bytes)),
        ("uuids", json!([guid(7)]), json!([uuid])),
        ("byteas", json!(["AAEC"]), json!([base64])),
        ("map", json!({ "k": "v" }), json!({ text: text })),
        ("hstore", json!(r#"{"k":"v"}"#), json!(format!(r#"{{"{text}" : "{text}"}}"#))),
        (
            "geometry",
            json!({ "srid": 4326, "wkb": "AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAYQA==" }),
            json!({ "wkb": "AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==", "srid": 4326 }),
        ),
        (
            "geography",
            json!({ "srid": 4326, "wkb": "AQEAACDmEAAAAAAAAADAXkAAAAAAAIBDwA==" }),
            json!({ "wkb": "AQEAACDmEAAADCHn/f9/ZkAYQs77/39WQA==", "srid": 4326 }),
        ),
        (
            "point",
            json!({ "srid": null, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA", "x": 1.0, "y": 2.0 }),
            json!({ "x": -99_999_999.0, "y": -99_999_999.0, "wkb": "AQEAAAAAAAD8g9eXwQAAAPyD15fB", "srid": null }),
        ),
    ];
    let row = |id: u32, number: u32, placeholders: bool| {
        let mut row = json!({ "id": id, "n": number });
        for (name, value, placeholder) in &columns {
            row[name] = if placeholders { placeholder.clone() } else { value.clone() };
        }
        row
    };
    let events = [event("c", Value::Null, row(1, 1, false), 100), event("u", Value::Null, row(1, 2, true), 200)];
    let installation = exporting(&[("pg", "debezium", &events, "key = \"/id\"\ncolumns = \"infer\"")]);
    installation.run_ok(&["run"]);
    let names = columns.each_ref().map(|(name, ..)| *name);
    let values =
        columns.each_ref().map(|(_, value, _)| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let found = catalog(&installation, "pg").rows("t").remove(0);
    assert_eq!(found["n"].as_deref(), Some("2"));
    assert_eq!(names.map(|name| found[name].clone().unwrap_or_default()), values);
}

#[test]
fn the_first_read_of_an_embedded_debezium_has_no_position() {
    let event = |op: &str, file: &str, position: u32, after: Value| {
        json!({ "op": op, "before": null, "after": after, "source": { "connector": "mysql", "db": "d", "table": "t",
            "file": file, "pos": position, "ts_ms": 0, "row": 0 } })
    };
    let events = [
        event("r", "", 0, json!({ "id": 1, "name": "a" })),
        event("r", "", 0, json!({ "id": 2, "name": "b" })),
        event("u", "mysql-bin.000003", 154, json!({ "id": 2, "name": "c" })),
    ];
    let installation = exporting(&[("flink", "debezium", &events, "key = \"/id\"\ncolumns = \"infer\"")]);
    installation.run_ok(&["run"]);
    assert_eq!(rows(&installation, "flink", ["name"]), expected(&[("1", ["a"]), ("2", ["c"])]));
    assert_eq!(installation.dead_letters(), Vec::<Value>::new());
}

fn of_table(database: &str, table: &str, id: u32, lsn: u64) -> Value {
    let mut event = event("c", Value::Null, json!({ "nr": id, "name": database }), lsn);
    event["source"]["db"] = database.into();
    event["source"]["table"] = table.into();
    event
}

#[test]
fn tables_of_two_databases_are_never_one_table_unless_that_is_said() {
    let events = [of_table("a", "t", 1, 1), of_table("b", "t", 1, 2)];
    let key = "key = \"/nr\"\ncolumns = \"infer\"\n";
    let both = format!("{key}kind = [\"a.t\", \"b.t\"]");
    let pointed = ("pointed", "debezium\nkind = \"envelope:/source/db\"", &events[..], &*format!("{key}kind = \"b\""));
    let installation = exporting(&[
        ("one", "debezium", &events, &format!("{key}kind = \"b.public.t\"")),
        ("both", "debezium", &events, &both),
        pointed,
    ]);
    installation.run_ok(&["run"]);
    assert_eq!(rows(&installation, "one", ["name"]), expected(&[("1", ["b"])]));
    assert_eq!(rows(&installation, "both", ["name"]), expected(&[("1", ["b"])]));
    assert_eq!(rows(&installation, "pointed", ["name"]), expected(&[("1", ["b"])]));

    let installation = exporting(&[("short", "debezium", &events, key)]);
    let output = installation.run(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("records of kind `t` come from two tables, `a.public.t` and `b.public.t`"), "{said}");
}

#[test]
fn a_table_takes_the_kinds_of_its_partitions_and_what_no_table_takes_is_counted() {
    let events = [of_table("d", "ev", 1, 1), of_table("d", "ev_2025", 2, 2), of_table("d", "tt", 3, 3)];
    let key = "key = \"/nr\"\ncolumns = \"infer\"\n";
    let installation = exporting(&[
        ("parts", "debezium", &events, &format!("{key}kind = [\"ev\", \"ev_*\"]")),
        ("none", "debezium", &events, key),
    ]);
    let summary: Value = serde_json::from_str(&installation.run_ok(&["run", "--json"])).unwrap();
    assert_eq!(rows(&installation, "parts", ["name"]).into_keys().collect::<Vec<_>>(), ["1", "2"]);
    let of = |name: &str| {
        let exports = summary["exports"].as_array().unwrap();
        exports.iter().find(|export| export["export"] == name).unwrap().clone()
    };
    assert_eq!(of("parts")["passed-over"], json!({ "records": 1, "kinds": { "tt": 1 } }));
    assert_eq!(of("none")["passed-over"]["records"], 3);
    let warning = of("none")["warnings"].to_string();
    assert!(warning.contains("table `t` had no record: to give it those of `tt`, set `kind"), "{warning}");
    let status = installation.run_ok(&["status"]);
    assert!(status.contains("parts: passed over: 1 record of kind `tt` (1), which no table has"), "{status}");
}

#[test]
fn tables_of_two_databases_are_never_one_table_of_a_pattern_that_does_not_tell_them_apart() {
    let events = [of_table("tenant_a", "ev_1", 1, 1), of_table("tenant_b", "ev_1", 1, 2), of_table("c", "log", 1, 3)];
    let key = "key = \"/nr\"\ncolumns = \"infer\"\n";
    let of = |kinds: &str| format!("{key}kind = {kinds}");
    let feeds = |kinds: &[(&'static str, &str)]| {
        let more: Vec<String> = kinds.iter().map(|(_, kinds)| of(kinds)).collect();
        let feeds: Vec<_> =
            kinds.iter().zip(&more).map(|((name, _), more)| (*name, "debezium", &events[..], &**more)).collect();
        exporting(&feeds)
    };
    let installation = feeds(&[("ev", "[\"ev\", \"ev_*\"]")]);
    for _ in 0..2 {
        let output = installation.run(&["run"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = "records of kind `ev_1` come from two tables, `tenant_a.public.ev_1` and `tenant_b.public.ev_1`";
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    // What a pattern says of their place tells them apart.
    let installation = feeds(&[("all", "\"*.public.ev_*\""), ("one", "\"tenant_b.ev_*\"")]);
    installation.run_ok(&["run"]);
    for export in ["all", "one"] {
        assert_eq!(rows(&installation, export, ["name"]), expected(&[("1", ["tenant_b"])]), "{export}");
    }
}
