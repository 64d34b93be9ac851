//! What a table's feed leaves out is told, with what to do: columns that nobody named, columns that were renamed, rows without a key.

use serde_json::{Value, json};

use crate::feeds::{catalog, exporting};
use crate::support::lake_folder::Installation;

fn event(op: &str, lsn: u64, row: &Value) -> Value {
    json!({ "op": op, "before": null, "after": row,
        "source": { "connector": "postgresql", "ts_ms": 1_624_638_072_000_i64, "schema": "public", "table": "t", "lsn": lsn } })
}

fn printed(installation: &Installation, command: &str) -> Value {
    serde_json::from_str(&installation.run_ok(&[command, "--json"])).unwrap()
}

#[test]
fn check_shows_no_file_of_a_table_whose_columns_nobody_says() {
    let events = [event("c", 1, &json!({ "id": 1 })), event("c", 2, &json!({ "id": 2 }))];
    let installation = exporting(&[("crm", "debezium", &events, "key = \"/id\"")]);
    let says = json!([
        "table `t` has rows, and no record said what columns it has: set `columns = \"infer\"` in [exports.crm.tables.t], or list them \
         there"
    ]);
    let preview = &printed(&installation, "check")["exports"][0]["preview"];
    assert_eq!((&preview["warnings"], &preview["files"], &preview["records"]), (&says, &json!([]), &json!(2)));
    let export = &printed(&installation, "run")["exports"][0];
    assert_eq!((&export["warnings"], &export["files"]), (&says, &json!(0)));
}

#[test]
fn a_renamed_column_is_pointed_out() {
    let change = |action: &str, lsn: u32, name: &str| {
        let columns =
            json!([{ "name": "id", "type": "integer", "value": lsn }, { "name": name, "type": "text", "value": "x" }]);
        json!({ "action": action, "schema": "public", "table": "t", "lsn": format!("0/{lsn:X}"), "columns": columns,
            "pk": [{ "name": "id", "type": "integer" }] })
    };
    let before = [change("I", 1, "title"), change("I", 2, "title")];
    let installation = exporting(&[("crm", "wal2json", &before, "")]);
    installation.run_ok(&["run"]);
    let after = [&before[..], &[change("I", 3, "name")]].concat();
    installation.write("crm.ndjson", after.iter().map(|line| format!("{line}\n")).collect::<String>());
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("column `title` is gone and `name` is new"), "{said}");
    assert!(said.contains("UPDATE t SET name = name"), "{said}");
}

#[test]
fn without_a_key_no_change_of_a_table_with_full_identity_is_applied() {
    let list = |values: &[(&str, i64)]| -> Value {
        values.iter().map(|(name, value)| json!({ "name": name, "type": "integer", "value": value })).collect()
    };
    let change = |action: &str, columns: &[(&str, i64)], identity: &[(&str, i64)]| json!({ "action": action, "schema": "public", "table": "t", "lsn": "0/1", "columns": list(columns), "identity": list(identity) });
    let changes = [
        change("I", &[("id", 1), ("n", 1)], &[]),
        change("U", &[("id", 1), ("n", 2)], &[("id", 1), ("n", 1)]),
        change("D", &[], &[("id", 1), ("n", 2)]),
    ];
    let good = json!({ "action": "I", "schema": "public", "table": "t", "lsn": "0/2", "columns": list(&[("id", 2), ("n", 1)]),
        "pk": [{ "name": "id", "type": "integer" }] });
    let lines = [&changes[..], &[good.clone(), good.clone(), good]].concat();
    let installation = exporting(&[("crm", "wal2json", &lines, "")]);
    installation.run_ok(&["run"]);
    let letters = installation.dead_letters();
    assert_eq!(letters.len(), 3, "{letters:?}");
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("`REPLICA IDENTITY FULL`; set `key = \"/id\"` in [exports.crm.tables.t]"), "{reason}");
    }
    assert_eq!(catalog(&installation, "crm").rows("t").len(), 1);
}
