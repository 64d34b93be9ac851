//! Change feeds deliver at least once, and not always in the order in which things happened: what tables make of it.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::support::cdm::Cdm;
use crate::support::lake_folder::Installation;

/// Exports named `names`, each of a table `t` of a source of its own: its envelope, and what the table says.
fn exports(names: &[(&str, &str, &str)]) -> Installation {
    let mut configuration = String::new();
    for (name, envelope, table) in names {
        write!(
            configuration,
            "[sources.{name}]\nfiles = \"{name}*.ndjson\"\nenvelope = \"{envelope}\"\n\n\
             [exports.{name}]\ntype = \"table\"\nsource = \"{name}\"\nsnapshots = {{ every = \"1ms\" }}\n\
             public-url = \"https://lake/\"\nformat = {{ plugin = \"cdm-csv\", dates = \"iso\" }}\n\n\
             [exports.{name}.tables.t]\n{table}\n\n"
        )
        .unwrap();
    }
    Installation::new(&configuration)
}

fn append(installation: &Installation, name: &str, lines: &[Value]) {
    let path = installation.path().join(format!("{name}.ndjson"));
    let before = fs::read_to_string(&path).unwrap_or_default();
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    installation.write(&format!("{name}.ndjson"), before + &lines);
}

/// The rows of an export's table `t`, each as its key and the values of `columns`; `-` where one is null.
fn rows(installation: &Installation, export: &str, columns: &[&str]) -> Vec<String> {
    let cdm = Cdm::open(&installation.lake().join(export), &format!("https://lake/{export}/")).unwrap();
    let of = |row: &crate::support::cdm::Row, name: &str| row[name].clone().unwrap_or_else(|| "-".into());
    let key = if cdm.columns("t").iter().any(|name| name == "Id") { "Id" } else { "id" };
    let row = |row| [&[key], columns].concat().iter().map(|name| of(row, name)).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<String> = cdm.rows("t").iter().map(row).collect();
    rows.sort();
    rows
}

fn run(installation: &Installation) {
    let output = installation.run(&["run", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused: Vec<&Value> = summary["exports"].as_array().unwrap().iter().map(|e| &e["dead-letters"]).collect();
    assert!(refused.iter().all(|count| **count == json!(0)), "{summary}");
}

/// A change as wal2json writes it: `columns` as name, type and value.
fn wal(action: &str, lsn: u32, columns: Value) -> Value {
    let list = |columns: &Value| -> Value {
        let one = |column: &Value| json!({ "name": column[0], "type": column[1], "value": column[2] });
        columns.as_array().unwrap().iter().map(one).collect()
    };
    let mut change = json!({ "action": action, "lsn": format!("0/{lsn:X}"), "schema": "public", "table": "t",
                             "columns": list(&columns), "pk": [{ "name": "id", "type": "integer" }] });
    if action == "U" {
        change["identity"] = list(&json!([columns[0]]));
    }
    change
}

/// A change as Debezium writes it for PostgreSQL.
fn dbz(op: &str, lsn: u32, row: Value) -> Value {
    let (before, after) = if op == "d" { (row, Value::Null) } else { (Value::Null, row) };
    json!({ "before": before, "after": after, "op": op,
            "source": { "connector": "postgresql", "ts_ms": 1_700_000_000_000_u64 + u64::from(lsn), "schema": "public",
                        "table": "t", "lsn": lsn } })
}

/// The same with the schema of its row.
fn with_schema(event: Value, columns: &[(&str, &str)]) -> Value {
    let fields: Vec<_> = columns.iter().map(|(name, kind)| json!({ "field": name, "type": kind })).collect();
    json!({ "schema": { "type": "struct", "fields": [{ "field": "after", "type": "struct", "fields": fields }] },
            "payload": event })
}

const NAMED: &str = "key = \"/id\"\ncolumns = [{ name = \"id\", data-type = \"int64\" }, \
                     { name = \"name\", data-type = \"string\" }]";

/// A column is added between two of a feed's changes.
fn around_a_new_column() -> ([Value; 3], [Value; 3]) {
    let (id, name) = (json!("integer"), json!("text"));
    let wal = [
        wal("I", 100, json!([["id", id, 1], ["name", name, "before"]])),
        wal("I", 200, json!([["id", id, 2], ["name", name, "after"], ["c", id, 5]])),
        wal("U", 300, json!([["id", id, 1], ["name", name, "changed"], ["c", id, 7]])),
    ];
    let (old, new) = ([("id", "int32"), ("name", "string")], [("id", "int32"), ("name", "string"), ("c", "int32")]);
    let dbz = [
        with_schema(dbz("c", 100, json!({ "id": 1, "name": "before" })), &old),
        with_schema(dbz("c", 200, json!({ "id": 2, "name": "after", "c": 5 })), &new),
        with_schema(dbz("u", 300, json!({ "id": 1, "name": "changed", "c": 7 })), &new),
    ];
    (wal, dbz)
}

#[test]
fn a_repetition_that_begins_before_a_new_column_leaves_the_column_as_it_is() {
    let installation = exports(&[
        ("wal", "wal2json", ""),
        ("dbz", "debezium", "key = \"/id\""),
        ("all", "wal2json", "write = \"append-only\""),
    ]);
    let (wal, dbz) = around_a_new_column();
    let again = || {
        for (name, lines) in [("wal", &wal), ("dbz", &dbz), ("all", &wal)] {
            append(&installation, name, lines);
        }
    };
    // In one run, then in another, then up to where the columns are the old ones.
    again();
    for ends in [3, 3, 1] {
        for (name, lines) in [("wal", &wal), ("dbz", &dbz), ("all", &wal)] {
            append(&installation, name, &lines[..ends]);
        }
        run(&installation);
        for export in ["wal", "dbz"] {
            assert_eq!(rows(&installation, export, &["name", "c"]), ["1 changed 7", "2 after 5"], "{export}");
        }
        let versions = rows(&installation, "all", &["name", "c"]);
        assert_eq!(versions, ["1 before -", "1 changed 7", "2 after 5"], "each once");
    }
}

#[test]
fn columns_are_those_of_the_newest_event_in_whatever_order_files_are_read() {
    let installation = exports(&[("wal", "wal2json", ""), ("dbz", "debezium", "key = \"/id\"")]);
    let (wal, dbz) = around_a_new_column();
    for (name, [first, second, third]) in [("wal", wal), ("dbz", dbz)] {
        // As a topic of two partitions is: the newer one is read first.
        installation.write(&format!("{name}-0.ndjson"), format!("{second}\n{third}\n"));
        installation.write(&format!("{name}-1.ndjson"), format!("{first}\n"));
    }
    run(&installation);
    for export in ["wal", "dbz"] {
        assert_eq!(rows(&installation, export, &["name", "c"]), ["1 changed 7", "2 after 5"], "{export}");
    }
}

#[test]
fn a_repetition_narrows_no_limits() {
    let installation = exports(&[("wal", "wal2json", "")]);
    let change = |lsn, id, length, text, digits, number: f64| {
        let (text_type, number_type) = (format!("character varying({length})"), format!("numeric({digits})"));
        wal("I", lsn, json!([["id", "integer", id], ["s", text_type, text], ["n", number_type, number]]))
    };
    let (narrow, wide) =
        (change(100, 1, 5, "short", "5,2", 1.25), change(101, 2, 20, "fifteen chars..", "12,4", 12345.6789));
    append(&installation, "wal", &[narrow.clone(), wide.clone()]);
    run(&installation);
    let expected = ["1 short 1.25", "2 fifteen chars.. 12345.6789"];
    append(&installation, "wal", &[narrow, wal("U", 103, json!([["id", "integer", 1]]))]);
    run(&installation);
    assert_eq!(rows(&installation, "wal", &["s", "n"]), expected);
    append(&installation, "wal", &[wide, change(102, 3, 20, "new", "12,4", 1.0)]);
    run(&installation);
    assert_eq!(rows(&installation, "wal", &["s", "n"]), [&expected[..], &["3 new 1.0"]].concat());
}

#[test]
fn a_column_that_comes_back_before_there_are_files_costs_no_row() {
    let installation = exports(&[("wal", "wal2json", ""), ("plain", "wal2json", ""), ("typed", "wal2json", "")]);
    let dropped = |last: Value| {
        let id = |id: u32| json!(["id", "integer", id]);
        [
            wal("I", 100, json!([id(1), ["b", "text", "x"]])),
            wal("I", 101, json!([id(2)])),
            wal("I", 102, json!([id(3), last])),
        ]
    };
    append(&installation, "wal", &dropped(json!(["b", "integer", 7])));
    // Without positions in the log the order of reading counts.
    let unversioned = dropped(json!(["b", "text", "y"])).map(|mut line| {
        line.as_object_mut().unwrap().remove("lsn");
        line
    });
    append(&installation, "plain", &unversioned);
    let [first, _, last] = dropped(json!(["b", "integer", 7]));
    append(&installation, "typed", &[first, last]);
    run(&installation);
    assert_eq!(rows(&installation, "wal", &["b"]), ["1 -", "2 -", "3 7"]);
    assert_eq!(rows(&installation, "plain", &["b"]), ["1 -", "2 -", "3 y"]);
    assert_eq!(rows(&installation, "typed", &["b"]), ["1 -", "3 7"]);
}

#[test]
fn keys_that_one_statement_moves_are_those_of_the_database() {
    let history = format!("{NAMED}\nwrite = \"append-only\"");
    let installation = exports(&[("mysql", "debezium", NAMED), ("all", "debezium", &history)]);
    let event = |op: &str, id: u32, name: &str, position: u32, row: u32| {
        let value = json!({ "id": id, "name": name });
        let (before, after) = if op == "d" { (value, Value::Null) } else { (Value::Null, value) };
        json!({ "before": before, "after": after, "op": op,
                "source": { "connector": "mysql", "ts_ms": 1_700_000_000_000_u64, "db": "shop", "table": "t",
                            "file": "mysql-bin.000003", "pos": position, "row": row } })
    };
    let mut events: Vec<Value> = (1..=3).map(|id| event("c", id, &format!("n{id}"), 500, id - 1)).collect();
    for (row, id) in [3, 2, 1].into_iter().enumerate() {
        let (name, row) = (format!("n{id}"), row as u32);
        events.extend([event("d", id, &name, 900, row), Value::Null, event("c", id + 1, &name, 900, row)]);
    }
    for name in ["mysql", "all"] {
        append(&installation, name, &events);
    }
    run(&installation);
    let moved = ["2 n1", "3 n2", "4 n3"];
    assert_eq!(rows(&installation, "mysql", &["name"]), moved);
    let versions = rows(&installation, "all", &["name", "IsDelete"]);
    assert_eq!(versions.len(), 9, "{versions:?}");
    // All of it again; then a repetition that ends in the middle.
    for repeated in [&events[..], &events[..4]] {
        for name in ["mysql", "all"] {
            append(&installation, name, repeated);
        }
        run(&installation);
        assert_eq!(rows(&installation, "mysql", &["name"]), moved);
        assert_eq!(rows(&installation, "all", &["name", "IsDelete"]), versions);
    }
}

#[test]
fn a_row_that_a_snapshot_read_after_its_deletion_stays_deleted() {
    let history = format!("{NAMED}\nwrite = \"append-only\"");
    let exports = exports(&[("late", "debezium", NAMED), ("early", "debezium", NAMED), ("all", "debezium", &history)]);
    let timed = |mut event: Value, seconds: u64| {
        event["source"]["ts_ms"] = json!(1_700_000_000_000 + 1000 * seconds);
        event
    };
    let row = json!({ "id": 1, "name": "a" });
    // The time of a row that was read is that of its reading.
    let (read, gone) = (timed(dbz("r", 100, row.clone()), 5), timed(dbz("d", 150, row), 2));
    let other = dbz("r", 100, json!({ "id": 2, "name": "b" }));
    append(&exports, "late", &[other.clone(), gone.clone(), read.clone()]);
    append(&exports, "early", &[other.clone(), read.clone(), gone.clone()]);
    append(&exports, "all", &[other.clone(), read.clone(), gone.clone()]);
    run(&exports);
    for repeated in [vec![], vec![read.clone(), gone.clone()], vec![gone, read]] {
        for name in ["late", "early", "all"] {
            append(&exports, name, &[vec![other.clone()], repeated.clone()].concat());
        }
        run(&exports);
        for export in ["late", "early"] {
            assert_eq!(rows(&exports, export, &["name"]), ["2 b"], "{export}");
        }
        assert_eq!(rows(&exports, "all", &["name", "IsDelete"]), ["1 - True", "1 a False", "2 b False"]);
    }
}

#[test]
fn rows_of_a_compressed_transaction_are_those_of_the_database_however_often_they_come() {
    let installation = exports(&[("mysql", "debezium", NAMED)]);
    let event = |name: &str, row: u32| {
        json!({ "before": { "id": 1, "name": "before" }, "after": { "id": 1, "name": name }, "op": "u",
                "source": { "connector": "mysql", "ts_ms": 1_700_000_000_000_u64, "db": "shop", "table": "t",
                            "file": "mysql-bin.000003", "pos": 900, "row": row } })
    };
    for _ in 0..2 {
        append(&installation, "mysql", &[event("first", 5), event("second", 0)]);
        run(&installation);
        assert_eq!(rows(&installation, "mysql", &["name"]), ["1 second"]);
    }
}

#[test]
fn a_row_of_dataverse_goes_and_changes_with_the_version_that_its_client_knew() {
    let columns = ["name", "city"].map(|name| format!("{{ name = \"{name}\", data-type = \"string\" }}")).join(", ");
    let installation = exports(&[("crm", "dataverse", &format!("columns = [{columns}]"))]);
    let message = |name: &str, id: &str, version: u32, attributes: Value, checked: bool| {
        let target = json!({ "Attributes": attributes, "RowVersion": version.to_string() });
        let mut message = json!({ "MessageName": name, "PrimaryEntityName": "t", "PrimaryEntityId": id, "InputParameters": { "Target": target } });
        if checked {
            message["InputParameters"]["ConcurrencyBehavior"] = json!(1);
        }
        message
    };
    let row = json!({ "name": "a", "city": "Ulm" });
    let mut with_image = message("Update", "c", 10, json!({ "city": "Kiel" }), true);
    with_image["PostEntityImages"] = json!([{ "key": "image", "value": { "RowVersion": "13" } }]);
    let lines = [
        message("Create", "a", 10, row.clone(), false),
        message("Create", "b", 10, row.clone(), false),
        message("Create", "c", 10, row.clone(), false),
        message("Delete", "a", 10, json!({}), true),
        message("Update", "b", 10, json!({ "city": "Bonn" }), true),
        with_image,
        // Older than the update.
        message("Update", "c", 12, json!({ "city": "Ulm", "name": "old" }), false),
    ];
    for _ in 0..2 {
        append(&installation, "crm", &lines);
        run(&installation);
        assert_eq!(rows(&installation, "crm", &["name", "city"]), ["b a Bonn", "c a Kiel"]);
    }
}

#[test]
fn the_first_change_after_a_snapshot_has_the_snapshots_position() {
    let installation = exports(&[("pg", "debezium", NAMED)]);
    let row = |id: u32, name: &str| json!({ "id": id, "name": name });
    let events = [dbz("r", 100, row(1, "a")), dbz("r", 100, row(2, "b")), dbz("u", 100, row(1, "changed"))];
    append(&installation, "pg", &events);
    append(&installation, "pg", &[dbz("d", 100, row(2, "b"))]);
    run(&installation);
    assert_eq!(rows(&installation, "pg", &["name"]), ["1 changed"]);
}

#[test]
fn a_truncate_takes_what_is_older_whenever_it_comes() {
    let history = format!("{NAMED}\nwrite = \"append-only\"");
    let installation =
        exports(&[("late", "debezium", NAMED), ("again", "debezium", NAMED), ("all", "debezium", &history)]);
    let created = |lsn, id: u32, name: &str| dbz("c", lsn, json!({ "id": id, "name": name }));
    let truncate = || dbz("t", 200, Value::Null);
    let late = [created(100, 1, "old"), created(300, 3, "new"), truncate(), created(150, 2, "older")];
    append(&installation, "late", &late);
    append(&installation, "again", &[created(100, 1, "old"), truncate(), created(300, 3, "new")]);
    append(&installation, "all", &late);
    run(&installation);
    for repeated in [vec![], vec![created(100, 1, "old"), truncate()], vec![created(300, 3, "new")]] {
        for name in ["late", "again", "all"] {
            append(&installation, name, &repeated);
        }
        run(&installation);
        for export in ["late", "again", "all"] {
            assert_eq!(rows(&installation, export, &["name"]), ["3 new"], "{export}");
        }
    }
}

#[test]
fn an_append_only_table_that_was_truncated_is_linked_again_and_begins_with_what_came_after() {
    let history = format!("{NAMED}\nwrite = \"append-only\"");
    let installation = exports(&[("all", "debezium", &history)]);
    let created = |lsn, id: u32| dbz("c", lsn, json!({ "id": id, "name": "n" }));
    append(&installation, "all", &[created(100, 1)]);
    run(&installation);
    append(&installation, "all", &[dbz("t", 200, Value::Null), created(300, 3)]);
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("lakeport tables link CONFIG t --again"), "{said}");
    assert_eq!(rows(&installation, "all", &["name"]), ["1 n"], "as it was");
    installation.run_ok(&["tables", "link", "lakeport.toml", "t", "--again"]);
    append(&installation, "all", &[dbz("t", 200, Value::Null)]);
    run(&installation);
    assert_eq!(rows(&installation, "all", &["name"]), ["3 n"]);
}

#[test]
fn an_update_that_overtook_its_create_gets_the_other_columns() {
    let columns = ["name", "state"].map(|name| format!("{{ name = \"{name}\", data-type = \"string\" }}")).join(", ");
    let installation = exports(&[("crm", "change", &format!("columns = [{columns}]"))]);
    let change = |operation: &str, version: u32, body: Value| json!({ "operation": operation, "kind": "t", "key": "a", "version": version, "body": body });
    append(&installation, "crm", &[change("patch", 40, json!({ "state": "3" }))]);
    run(&installation);
    let create = change("create", 39, json!({ "name": "late", "state": "1" }));
    for lines in [vec![create.clone()], vec![create]] {
        append(&installation, "crm", &lines);
        run(&installation);
        assert_eq!(rows(&installation, "crm", &["name", "state"]), ["a late 3"]);
    }
}

#[test]
fn a_clock_that_was_ahead_once_does_not_decide_the_partitions_of_all_later_rows() {
    let installation = exports(&[("crm", "change", "columns = [{ name = \"name\", data-type = \"string\" }]")]);
    let version = std::cell::Cell::new(0);
    let run = |operation: &str, key: &str, days: u32, args: &[&str]| {
        version.set(version.get() + 1);
        append(
            &installation,
            "crm",
            &[
                json!({ "operation": operation, "kind": "t", "key": key, "version": version.get(), "body": { "name": operation } }),
            ],
        );
        let mut command = installation.command(&[&["run", "--json"], args].concat());
        let output = command.env("LAKEPORT_CLOCK_AHEAD", (u64::from(days) * 86_400).to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        summary["exports"][0]["warnings"].to_string()
    };
    run("create", "a", 0, &[]);
    run("create", "b", 36_525, &[]);
    run("patch", "b", 36_525, &[]);
    let unconfirmed = run("create", "c", 0, &[]);
    let expected = "new rows go into its partition. If the clock is right now, run once with `--trust-clock`";
    assert!(unconfirmed.contains(expected), "{unconfirmed}");
    let trusted = run("create", "d", 0, &["--trust-clock"]);
    assert!(trusted.contains("by a clock that was ahead"), "{trusted}");
    // What was said once holds.
    let later = run("create", "e", 0, &[]);
    assert!(later.contains("by a clock that was ahead") && !later.contains("--trust-clock"), "{later}");
    run("patch", "b", 0, &[]);
    // What a newer file took the place of stays for a day.
    let files = || fs::read_dir(installation.lake().join("crm/t/Snapshot")).unwrap().count();
    let kept = files();
    run("patch", "a", 2, &[]);
    assert!(kept > 4 && files() == 3, "{kept} {}", files());

    let cdm = Cdm::open(&installation.lake().join("crm"), "https://lake/crm/").unwrap();
    let of_partition = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let is_there = |key: &&str| text.lines().any(|line| line.trim_start_matches('"').starts_with(*key));
        ["a", "b", "c", "d", "e"].into_iter().filter(is_there).collect::<String>()
    };
    let partitions: Vec<String> = cdm.files("t").values().map(of_partition).collect();
    assert_eq!(partitions, ["ade", "bc"], "{:?}", cdm.files("t"));
    assert_eq!(rows(&installation, "crm", &["name"])[1], "b patch", "rows are in the order of their writing");
    assert!(installation.last_commit("crm")["write-time"].as_str().unwrap().starts_with("21"));
}
