//! Keys of rows in feeds of tables: rows that get another key, and keys that are GUIDs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::feeds::{catalog, event, expected, exporting, guid, rows};
use crate::support::lake_folder::Installation;

#[test]
fn a_row_whose_key_changes_is_one_row_in_each_feed() {
    let email = |nr: u32, email: &str| json!({ "nr": nr, "email": email, "note": "x" });
    let debezium = [
        event("c", Value::Null, email(1, "a@x"), 100),
        event("c", Value::Null, email(2, "c@x"), 101),
        event("u", email(1, "a@x"), email(1, "b@x"), 102),
        event("u", email(2, "c@x"), json!({ "nr": 2, "email": "d@x", "note": "__debezium_unavailable_value" }), 103),
    ];
    let pair = |tenant: &str, email: &str| json!({ "tenant": tenant, "email": email });
    let partly = [
        event("c", Value::Null, pair("t", "a"), 100),
        event("u", json!({ "tenant": null, "email": "a" }), pair("t", "b"), 101),
        event("u", json!({ "email": "b" }), pair("t", "c"), 102),
    ];
    let mut lsn = 0x16B_3748;
    let mut wal = |action: &str, columns: &[(&str, Value)], identity: &[(&str, Value)]| {
        lsn += 8;
        let list = |columns: &[(&str, Value)]| -> Value {
            let of = |name: &str| if name == "id" { "integer" } else { "text" };
            columns.iter().map(|(name, value)| json!({ "name": name, "type": of(name), "value": value })).collect()
        };
        json!({ "action": action, "schema": "public", "table": "t", "lsn": format!("0/{lsn:X}"),
            "columns": list(columns), "identity": list(identity) })
    };
    let (id, name, doc) = (|n: u32| ("id", json!(n)), |text: &str| ("name", json!(text)), ("doc", json!("large")));
    // REPLICA IDENTITY FULL: the whole row is the identity, and there is no `pk`.
    let full = [
        wal("I", &[id(1), name("one"), doc.clone()], &[]),
        wal("I", &[id(2), name("two"), doc.clone()], &[]),
        wal("I", &[id(3), name("three"), doc.clone()], &[]),
        wal("U", &[id(1), name("uno")], &[id(1), name("one"), doc.clone()]),
        wal("U", &[id(20), name("two")], &[id(2), name("two"), doc.clone()]),
        wal("D", &[], &[id(3), name("three"), doc]),
    ];
    let change = |operation: &str, key: &str, before: Option<&str>, version: u32, body: Value| {
        let mut change = json!({ "operation": operation, "kind": "t", "key": key, "version": version, "body": body });
        if let Some(before) = before {
            change["previous-key"] = json!(before);
        }
        change
    };
    let lines = [
        change("create", "[7,\"a\"]", None, 7, json!({ "id": 7, "line": "a", "name": "Pump" })),
        change("create", "[8,\"a\"]", None, 7, json!({ "id": 8, "line": "a", "name": "Mill" })),
        change("patch", "[7,\"b\"]", Some("[7,\"a\"]"), 8, json!({ "id": 7, "line": "b" })),
        change("patch", "[7,\"b\"]", Some("7"), 9, json!({ "id": 7, "line": "c" })),
        change(
            "update",
            "[8,\"b\"]",
            Some("[ 8, \"\\u0061\" ]"),
            8,
            json!({ "id": 8, "line": "b", "name": "Windmill" }),
        ),
    ];
    let guids = [
        change("create", "x", None, 1, json!({ "id": guid(0xa1), "name": "Pump" })),
        change("patch", "x", Some(&guid(0xa1).to_uppercase()), 2, json!({ "id": guid(0xa2) })),
    ];
    let key_of_two = "key = [\"/id\", \"/line\"]\ncolumns = \"infer\"";
    let installation = exporting(&[
        ("change", "change", &lines, key_of_two),
        ("guids", "change", &guids, "key = \"/id\"\ncolumns = \"infer\""),
        ("debezium", "debezium", &debezium, "key = \"/email\"\ncolumns = \"infer\""),
        ("partly", "debezium", &partly, "key = [\"/tenant\", \"/email\"]\ncolumns = \"infer\""),
        ("full", "wal2json", &full, "key = \"/id\""),
    ]);
    installation.run_ok(&["run"]);
    let dead = installation.dead_letters();
    let expected_array = "the previous key is `7`, expected a JSON array of the row's values at `/id`, `/line`";
    assert_eq!((dead.len(), &dead[0]["reason"]), (1, &json!(expected_array)), "{dead:?}");
    let moved = rows(&installation, "change", ["line", "name"]);
    assert_eq!(moved, expected(&[("7", ["b", "Pump"]), ("8", ["b", "Windmill"])]));
    assert_eq!(rows(&installation, "guids", ["name"]), expected(&[(&guid(0xa2), ["Pump"])]));
    let emails = rows(&installation, "debezium", ["nr", "note"]);
    assert_eq!(emails, expected(&[("b@x", ["1", "x"]), ("d@x", ["2", "x"])]));
    assert_eq!(
        rows(&installation, "full", ["name", "doc"]),
        expected(&[("1", ["uno", "large"]), ("20", ["two", "large"])])
    );
    let partly = rows(&installation, "partly", ["email"]);
    assert_eq!(partly.keys().next_back().map(String::as_str), Some(r#"["t","c"]"#));
}

#[test]
fn a_key_change_that_comes_again_takes_nothing_from_the_row_that_has_its_old_key_now() {
    let wal = |action: &str, lsn: u32, columns: &[(&str, Value)], identity: Option<u32>| {
        let list = |columns: &[(&str, Value)]| -> Value {
            let of = |name: &str| if name == "id" { "integer" } else { "text" };
            columns.iter().map(|(name, value)| json!({ "name": name, "type": of(name), "value": value })).collect()
        };
        let mut change = json!({ "action": action, "schema": "public", "table": "t", "lsn": format!("0/{lsn:X}"),
            "columns": list(columns), "pk": [{ "name": "id", "type": "integer" }] });
        if let Some(id) = identity {
            change["identity"] = list(&[("id", json!(id))]);
        }
        change
    };
    let (id, big) = (|n: i32| ("id", json!(n)), |text: &str| ("big", json!(text)));
    // 2 becomes 6, and a new 2 comes; 1 and 2 of another pair change places by way of -1. `big` is stored apart.
    let moved = [
        wal("I", 10, &[id(2), big("A")], None),
        wal("U", 11, &[id(6)], Some(2)),
        wal("I", 12, &[id(2), big("B")], None),
        wal("I", 20, &[id(31), big("C")], None),
        wal("I", 21, &[id(32), big("D")], None),
        wal("U", 22, &[id(-1)], Some(31)),
        wal("U", 23, &[id(31)], Some(32)),
        json!({ "action": "U", "schema": "public", "table": "t", "lsn": "0/18", "pk": [{ "name": "id", "type": "integer" }],
            "columns": [{ "name": "id", "type": "integer", "value": 32 }], "identity": [{ "name": "id", "type": "integer", "value": -1 }] }),
    ];
    let placeholder = |op: &str, before: Value, after: Value, lsn: u64| {
        let mut event = event(op, before, after, lsn);
        event["source"]["db"] = json!("d");
        event
    };
    let continued = [
        placeholder("c", Value::Null, json!({ "id": 2, "big": "A" }), 10),
        placeholder("d", json!({ "id": 2 }), Value::Null, 11),
        placeholder("c", Value::Null, json!({ "id": 6, "big": "__debezium_unavailable_value" }), 11),
        placeholder("c", Value::Null, json!({ "id": 2, "big": "B" }), 12),
    ];
    let installation = exporting(&[
        ("wal", "wal2json", &moved, ""),
        ("debezium", "debezium", &continued, "key = \"/id\"\ncolumns = \"infer\""),
    ]);
    let check = |when: &str| {
        let all = [("2", ["B"]), ("31", ["D"]), ("32", ["C"]), ("6", ["A"])];
        assert_eq!(rows(&installation, "wal", ["big"]), expected(&all), "{when}");
        assert_eq!(rows(&installation, "debezium", ["big"]), expected(&[all[0], all[3]]), "{when}");
    };
    installation.run_ok(&["run"]);
    check("at first");
    let again = |name: &str, lines: &[Value]| {
        let mut text = std::fs::read_to_string(installation.path().join(name)).unwrap();
        lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        installation.write(name, text);
        installation.run_ok(&["run", "--full", "wal", "--full", "debezium"]);
    };
    // One by one, and all of them.
    for at in 0..moved.len() {
        again("wal.ndjson", &moved[at..=at]);
        check(&format!("change {at} again"));
    }
    again("wal.ndjson", &moved);
    again("debezium.ndjson", &continued);
    check("all again");
    again("debezium.ndjson", &continued[1..3]);
    check("the key change again");
}

#[test]
fn a_key_change_that_comes_late_fills_the_patches_that_came_before_it() {
    let patch = |key: &str, before: Option<&str>, version: u32, body: Value| {
        let mut change = json!({ "operation": "patch", "kind": "t", "key": key, "version": version, "body": body });
        if let Some(before) = before {
            change["previous-key"] = json!(before);
        }
        change
    };
    let whole = json!({ "operation": "create", "kind": "t", "key": "1", "version": 1, "body": { "id": 1, "big": "X", "n": 1 } });
    let moved = patch("2", Some("1"), 4, json!({ "id": 2, "n": 1 }));
    let later = patch("2", None, 6, json!({ "id": 2, "n": 5 }));
    let in_order = [whole.clone(), moved.clone(), later.clone()];
    let late = [whole, later, moved];
    let installation = exporting(&[
        ("ordered", "change", &in_order, "columns = \"infer\""),
        ("late", "change", &late, "columns = \"infer\""),
    ]);
    installation.run_ok(&["run"]);
    for export in ["ordered", "late"] {
        assert_eq!(rows(&installation, export, ["big", "n"]), expected(&[("2", ["X", "5"])]), "{export}");
    }
}

#[test]
fn a_row_that_gets_another_key_keeps_its_unchanged_large_value() {
    let row = |nr: u32, doc: &str| json!({ "nr": nr, "doc": doc });
    let events = [
        event("c", Value::Null, row(1, "large"), 100),
        event("d", json!({ "nr": 1, "doc": null }), Value::Null, 200),
        Value::Null,
        event("c", Value::Null, row(2, "__debezium_unavailable_value"), 200),
    ];
    let installation = exporting(&[("pg", "debezium", &events, "key = \"/nr\"\ncolumns = \"infer\"")]);
    installation.run_ok(&["run"]);
    assert_eq!(rows(&installation, "pg", ["doc"]), expected(&[("2", ["large"])]));
}

#[test]
fn guids_in_keys_are_the_same_in_either_case_whoever_says_that_they_are_guids() {
    let change = |operation: &str, key: &str, version: u32, body: Value| json!({ "operation": operation, "kind": "t", "key": key, "version": version, "body": body });
    let schema = |columns: &[(&str, &str)]| {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| json!({ "name": name, "data-type": kind })).collect();
        json!({ "operation": "schema", "kind": "t", "body": { "columns": columns, "complete": true } })
    };
    let (single, pair) = (
        [("id", "guid"), ("name", "string"), ("city", "string")],
        [("tenant", "string"), ("id", "guid"), ("name", "string")],
    );
    let upper = |number: u32| guid(number).to_uppercase();
    let created = |number: u32| change("create", "x", 1, json!({ "id": upper(number), "name": "Pump", "city": "Ulm" }));
    let rest = [
        change("delete", &guid(0xa1), 2, Value::Null),
        change("patch", &guid(0xa2), 2, json!({ "name": "Mill" })),
        json!({ "operation": "patch", "kind": "t", "key": guid(0xa4), "previous-key": guid(0xa3), "version": 2, "body": { "name": "Moved" } }),
    ];
    let rows_of = [created(0xa1), created(0xa2), created(0xa3)];
    let plain = [&rows_of[..], &rest].concat();
    let said = [&[schema(&single)][..], &plain].concat();
    let of_two = |number: u32| change("create", "x", 1, json!({ "tenant": "A", "id": upper(number), "name": "Pump" }));
    let key = |number: u32| json!(["A", guid(number)]).to_string();
    let pairs = [
        of_two(0xa1),
        of_two(0xa2),
        change("delete", &key(0xa1), 2, Value::Null),
        change("patch", &key(0xa2), 2, json!({ "name": "Mill" })),
    ];
    let pairs_said = [&[schema(&pair)][..], &pairs].concat();
    // What the type is comes when rows have been read; one of them in both cases.
    let gone = [created(0xa6), change("delete", &upper(0xa6), 2, Value::Null)];
    let part = change("patch", &upper(0xa7), 3, json!({ "name": "Part" }));
    let others = [created(0xa5), change("patch", &guid(0xa5), 3, json!({ "name": "Newer" })), part.clone()];
    let late = [&rows_of[..], &others, &gone].concat();
    let key_of_one = "key = \"/id\"\n";
    let given = |columns: &[(&str, &str)], key: &str| {
        let columns = columns.iter().map(|(name, kind)| format!("{{ name = \"{name}\", data-type = \"{kind}\" }}"));
        format!("{key}columns = [{}]", columns.collect::<Vec<_>>().join(", "))
    };
    let key_of_two = "key = [\"/tenant\", \"/id\"]\n";
    let installation = exporting(&[
        ("given", "change", &plain, &given(&single, key_of_one)),
        ("inferred", "change", &plain, &format!("{key_of_one}columns = \"infer\"")),
        ("said", "change", &said, key_of_one),
        ("pairs-given", "change", &pairs, &given(&pair, key_of_two)),
        ("pairs-inferred", "change", &pairs, &format!("{key_of_two}columns = \"infer\"")),
        ("pairs-said", "change", &pairs_said, key_of_two),
        ("late", "change", &late, key_of_one),
        ("late-history", "change", &late, &format!("{key_of_one}write = \"append-only\"")),
    ]);
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters(), Vec::<Value>::new());
    let names = |export: &str| {
        let mut names: Vec<_> =
            catalog(&installation, export).rows("t").into_iter().map(|row| row["name"].clone().unwrap()).collect();
        names.sort();
        names
    };
    for export in ["given", "inferred", "said"] {
        assert_eq!(names(export), ["Mill", "Moved"], "{export}");
    }
    for export in ["pairs-given", "pairs-inferred", "pairs-said"] {
        assert_eq!(names(export), ["Mill"], "{export}");
    }
    for name in ["late", "late-history"] {
        let lines: String =
            [&late[..], &[schema(&single)], &rest].concat().iter().map(|line| format!("{line}\n")).collect();
        installation.write(&format!("{name}.ndjson"), lines);
    }
    installation.run_ok(&["run"]);
    assert_eq!(names("late"), ["Mill", "Moved", "Newer", "Part"]);
    let whole =
        catalog(&installation, "late").rows("t").into_iter().find(|row| row["name"].as_deref() == Some("Newer"));
    assert_eq!(whole.unwrap()["city"].as_deref(), Some("Ulm"), "the patch found its row");
    // Nothing is added because rows are kept under another key.
    let mut deleted = names_with_deletes(&installation, "late-history");
    deleted.sort();
    assert_eq!(deleted.iter().filter(|(_, deleted)| deleted == "True").count(), 3, "{deleted:?}");
    assert_eq!(deleted.len(), 5 + 4 + 3, "{deleted:?}");
    let last = installation.last_commit("late");
    assert_eq!(last["dataset"]["tables"]["t"]["rows"]["keys"], json!(4));
    // What is known of a row goes with it: what comes again, or late, is recognised.
    installation.append("late-history.ndjson", &format!("{part}\n{}\n{}\n", gone[0], gone[1]));
    let behind = change("create", "x", 1, json!({ "id": upper(0xa7), "name": "Pump", "city": "Bonn" }));
    installation.append("late.ndjson", &format!("{part}\n{}\n{behind}\n", gone[0]));
    installation.run_ok(&["run", "--full", "late", "--full", "late-history"]);
    let mut again = names_with_deletes(&installation, "late-history");
    again.sort();
    assert_eq!(again, deleted, "nothing is appended once more");
    assert_eq!(names("late"), ["Mill", "Moved", "Newer", "Part"], "what was deleted stays so");
    let part = catalog(&installation, "late").rows("t").into_iter().find(|row| row["name"].as_deref() == Some("Part"));
    assert_eq!(part.unwrap()["city"].as_deref(), Some("Bonn"), "a late row fills what its patch left out");
}

fn names_with_deletes(installation: &Installation, export: &str) -> Vec<(String, String)> {
    let cell = |value: &Option<String>| value.clone().unwrap_or_default();
    catalog(installation, export).rows("t").iter().map(|row| (cell(&row["name"]), cell(&row["IsDelete"]))).collect()
}
