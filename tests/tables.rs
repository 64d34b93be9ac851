//! Exports of tables through the real binary: what readers of the folder find, and when.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::support::cdm::Cdm;
use crate::support::lake_folder::Installation;
use crate::support::process::signal;

/// Where the locations in the catalog begin.
pub const PREFIX: &str = "https://contoso.dfs.core.windows.net/exports/crm/";

/// An export of the table `account`, and of what `more` has.
pub fn crm(account: &str, more: &str) -> Installation {
    Installation::new(&configuration(account, more))
}

fn configuration(account: &str, more: &str) -> String {
    format!(
        "[sources.crm]\nfiles = \"crm.ndjson\"\nenvelope = \"change\"\n\n\
         [exports.crm]\ntype = \"table\"\nsource = \"crm\"\nformat = {{ plugin = \"cdm-csv\", dates = \"iso\" }}\n\
         public-url = \"https://contoso.dfs.core.windows.net/exports/\"\n\n\
         [exports.crm.tables.account]\ncreated = \"/createdon\"\n{account}\n{more}\n"
    )
}

const COLUMNS: &str = "columns = [{ name = \"name\", data-type = \"string\" }, { name = \"revenue\", data-type = \"decimal\" }, \
                       { name = \"createdon\", data-type = \"dateTimeOffset\" }]";

/// A change record.
pub fn change(operation: &str, kind: &str, key: &str, version: u64, body: Value) -> String {
    let mut record = json!({ "operation": operation, "kind": kind, "version": version, "body": body });
    if !key.is_empty() {
        record["key"] = key.into();
    }
    format!("{record}\n")
}

fn account(operation: &str, key: &str, version: u64, body: Value) -> String {
    change(operation, "account", key, version, body)
}

fn schema(kind: &str, columns: &[(&str, &str)]) -> String {
    let columns: Vec<_> = columns.iter().map(|(name, kind)| json!({ "name": name, "data-type": kind })).collect();
    format!("{}\n", json!({ "operation": "schema", "kind": kind, "body": { "columns": columns, "complete": true } }))
}

pub fn append(installation: &Installation, lines: &str) {
    let path = installation.path().join("crm.ndjson");
    let before = fs::read_to_string(&path).unwrap_or_default();
    installation.write("crm.ndjson", before + lines);
}

/// Runs the export `ahead` hours after now, and answers with the summary.
fn run_at(installation: &Installation, ahead: u32, args: &[&str]) -> Value {
    let (summary, stderr, success) = attempt(installation, ahead, args);
    assert!(success, "{stderr}");
    summary
}

fn attempt(installation: &Installation, ahead: u32, args: &[&str]) -> (Value, String, bool) {
    let args = [&["run", "--json"], args].concat();
    let output = installation.command(&args).env("LAKEPORT_CLOCK_AHEAD", (ahead * 3600).to_string()).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (summary["exports"][0].clone(), stderr, output.status.success())
}

pub fn read(installation: &Installation) -> Cdm {
    Cdm::open(&installation.lake().join("crm"), PREFIX).expect("there is a model.json")
}

fn texts(column: BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    column.into_iter().map(|(key, value)| (key, value.unwrap_or_else(|| "null".into()))).collect()
}

/// A table's column by key, for comparison.
fn column(installation: &Installation, table: &str, column: &str) -> Vec<(String, String)> {
    texts(read(installation).column(table, column))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn creates_updates_patches_and_deletes_are_replicated() {
    let installation = crm(COLUMNS, "");
    append(
        &installation,
        &[
            account(
                "create",
                "a",
                1,
                json!({ "name": "A \"quoted\"\nname", "revenue": 1.50, "createdon": "2019-12-31T23:59:59Z" }),
            ),
            account("create", "b", 1, json!({ "name": "", "revenue": 2, "createdon": "2020-01-01T00:00:00Z" })),
            account("create", "c", 1, json!({ "name": "C", "createdon": "2020-06-01T00:00:00Z" })),
            account("create", "d", 1, json!({ "name": "D", "createdon": "2020-06-01T00:00:00Z" })),
        ]
        .concat(),
    );
    run_at(&installation, 0, &[]);
    let cdm = read(&installation);
    let columns =
        ["Id", "SinkCreatedOn", "SinkModifiedOn", "name", "revenue", "createdon", "versionnumber", "IsDelete"];
    assert_eq!(cdm.columns("account"), columns);
    assert_eq!(cdm.files("account").keys().collect::<Vec<_>>(), ["2019", "2020"]);
    assert_eq!(cdm.annotation("account", "Athena:InitialSyncState"), Some("Completed"));
    assert_eq!(
        texts(cdm.column("account", "name")),
        pairs(&[("a", "A \"quoted\"\nname"), ("b", ""), ("c", "C"), ("d", "D")])
    );

    append(
        &installation,
        &[
            account("patch", "a", 2, json!({ "revenue": 99 })),
            account("patch", "b", 2, json!({ "revenue": null })),
            account("update", "c", 2, json!({ "name": "C2", "createdon": "2031-01-01T00:00:00Z" })),
            account("delete", "d", 2, Value::Null),
            account("update", "a", 1, json!({ "name": "older" })),
            account("update", "e", 1, json!({ "name": "inserted", "createdon": "2021-01-01T00:00:00Z" })),
        ]
        .concat(),
    );
    run_at(&installation, 2, &[]);
    let cdm = read(&installation);
    let names = [("a", "A \"quoted\"\nname"), ("b", ""), ("c", "C2"), ("e", "inserted")];
    assert_eq!(texts(cdm.column("account", "name")), pairs(&names));
    assert_eq!(
        texts(cdm.column("account", "revenue")),
        pairs(&[("a", "99"), ("b", "null"), ("c", "null"), ("e", "null")])
    );
    assert_eq!(texts(cdm.column("account", "versionnumber")), pairs(&[("a", "2"), ("b", "2"), ("c", "2"), ("e", "1")]));
    // The row of `c` says that it was created in another year now: it stays where it is.
    assert_eq!(cdm.files("account").keys().collect::<Vec<_>>(), ["2019", "2020", "2021"]);
}

#[test]
fn a_snapshot_is_taken_when_it_is_time_and_copies_what_changed() {
    let installation = crm(COLUMNS, "");
    let row = |year: u32| json!({ "name": "x", "createdon": format!("{year}-05-05T00:00:00Z") });
    append(&installation, &(account("create", "a", 1, row(2019)) + &account("create", "b", 1, row(2020))));
    run_at(&installation, 0, &[]);
    let first = read(&installation).files("account");

    append(&installation, &account("patch", "b", 2, json!({ "name": "y" })));
    let report = run_at(&installation, 0, &[]);
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("1 changed partitions of 1 tables wait for the next snapshot"), "{warning}");
    assert_eq!(read(&installation).files("account"), first, "readers see the same for an hour");

    run_at(&installation, 2, &[]);
    let second = read(&installation).files("account");
    assert_eq!(second["2019"], first["2019"], "what did not change is not copied");
    assert_ne!(second["2020"], first["2020"]);
    assert!(first["2020"].exists(), "a reader that is on it can go on");
    assert_eq!(column(&installation, "account", "name"), pairs(&[("a", "x"), ("b", "y")]));

    append(&installation, &account("patch", "b", 3, json!({ "name": "z" })));
    run_at(&installation, 30, &[]);
    assert!(!first["2020"].exists(), "after a day its time is over");
    assert!(second["2020"].exists(), "its place was taken a moment ago");
    run_at(&installation, 30, &["--full", "crm"]);
    assert_ne!(read(&installation).files("account")["2019"], first["2019"]);
}

#[test]
fn every_version_stays_in_an_append_only_table() {
    let installation = crm(&format!("write = \"append-only\"\n{COLUMNS}"), "");
    let row = |name: &str| json!({ "name": name, "createdon": "2020-05-05T00:00:00Z" });
    append(&installation, &(account("create", "a", 1, row("A")) + &account("create", "b", 1, row("B"))));
    append(
        &installation,
        &(account("patch", "a", 2, json!({ "name": "A2" })) + &account("update", "a", 1, row("late"))),
    );
    run_at(&installation, 0, &[]);
    append(&installation, &(account("delete", "a", 3, Value::Null) + &account("create", "c", 1, row("C"))));
    run_at(&installation, 2, &[]);
    let versions = |cdm: &Cdm| {
        let cell = |row: &BTreeMap<String, Option<String>>, name: &str| row[name].clone().unwrap_or("null".into());
        let rows = cdm.rows("account").into_iter();
        let mut rows: Vec<_> = rows
            .map(|row| ["Id", "name", "versionnumber", "IsDelete"].map(|name| cell(&row, name)).join(" "))
            .collect();
        rows.sort();
        rows
    };
    let all = ["a A 1 False", "a A2 2 False", "a null 3 True", "b B 1 False", "c C 1 False"];
    assert_eq!(versions(&read(&installation)), all);
    let files = read(&installation).files("account");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["2020", "2020-2"], "what is new is a file of its own");
    // Small files become one, and nothing is lost or doubled.
    for hour in 2..9 {
        append(&installation, &account("create", &format!("d{hour}"), 1, row("D")));
        run_at(&installation, hour * 2, &[]);
    }
    let cdm = read(&installation);
    assert_eq!(versions(&cdm).len(), all.len() + 7);
    assert!(cdm.files("account").len() <= 4, "{:?}", cdm.files("account"));
}

#[test]
fn columns_come_and_go_and_every_file_has_all_of_them() {
    for write in ["in-place", "append-only"] {
        let installation = crm(&format!("write = \"{write}\""), "");
        append(&installation, &schema("account", &[("name", "string"), ("createdon", "dateTimeOffset")]));
        let row = |key: &str, year: u32, more: Value| {
            let mut row = json!({ "name": key, "createdon": format!("{year}-05-05T00:00:00Z") });
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            account("create", key, 1, row)
        };
        append(&installation, &(row("a", 2019, json!({})) + &row("b", 2020, json!({}))));
        run_at(&installation, 0, &[]);
        append(&installation, &schema("account", &[("createdon", "dateTimeOffset"), ("size", "int64")]));
        append(&installation, &row("c", 2020, json!({ "size": 7 })));
        run_at(&installation, 2, &[]);
        let cdm = read(&installation);
        let columns =
            ["Id", "SinkCreatedOn", "SinkModifiedOn", "name", "createdon", "versionnumber", "IsDelete", "size"];
        assert_eq!(cdm.columns("account"), columns, "{write}: what is new goes last, what is gone stays");
        assert_eq!(texts(cdm.column("account", "size")), pairs(&[("a", "null"), ("b", "null"), ("c", "7")]), "{write}");
        let names = texts(cdm.column("account", "name"));
        assert_eq!(names[2], ("c".into(), "null".into()), "{write}: null from then on");
    }
}

#[test]
fn a_changed_type_stops_its_table_alone_until_it_is_linked_anew() {
    let installation = crm("columns = \"stream\"", "[exports.crm.tables.contact]");
    append(&installation, &(schema("account", &[("size", "int64")]) + &schema("contact", &[("name", "string")])));
    append(&installation, &account("create", "a", 1, json!({ "size": 1 })));
    append(&installation, &change("create", "contact", "x", 1, json!({ "name": "X" })));
    run_at(&installation, 0, &[]);
    append(&installation, &schema("account", &[("size", "string")]));
    append(&installation, &account("create", "b", 1, json!({ "size": "large" })));
    append(&installation, &change("create", "contact", "y", 1, json!({ "name": "Y" })));
    let (_, stderr, success) = attempt(&installation, 2, &[]);
    assert!(
        !success && stderr.contains("column `size` of table `account` was `int64` and is `string` now"),
        "{stderr}"
    );
    assert!(stderr.contains("lakeport tables link CONFIG account --again"), "{stderr}");
    assert_eq!(column(&installation, "contact", "name"), pairs(&[("x", "X"), ("y", "Y")]));
    assert_eq!(column(&installation, "account", "size"), pairs(&[("a", "1")]), "as it was");
    let status = installation.run_ok(&["status"]);
    assert!(status.contains("stopped"), "{status}");

    // From its beginning on there is no file that says otherwise.
    installation.run_ok(&["tables", "link", "lakeport.toml", "account", "--again"]);
    append(&installation, &account("update", "a", 2, json!({ "size": "small" })));
    run_at(&installation, 4, &[]);
    assert_eq!(column(&installation, "account", "size"), pairs(&[("a", "small"), ("b", "large")]));
}

#[test]
fn a_table_that_is_linked_later_is_read_from_the_beginning() {
    let contact = "[exports.crm.tables.contact]\ncolumns = \"infer\"";
    let installation = crm(COLUMNS, "");
    append(&installation, &account("create", "a", 1, json!({ "name": "A" })));
    append(&installation, &change("create", "contact", "x", 1, json!({ "name": "X" })));
    append(&installation, &change("create", "contact", "y", 1, json!({ "name": "Y" })));
    run_at(&installation, 0, &[]);
    assert_eq!(read(&installation).tables(), ["account"]);
    installation.write("lakeport.toml", configuration(COLUMNS, contact));
    append(&installation, &change("patch", "contact", "x", 2, json!({ "name": "X2" })));
    append(&installation, &account("patch", "a", 2, json!({ "name": "A2" })));
    run_at(&installation, 2, &[]);
    assert_eq!(column(&installation, "contact", "name"), pairs(&[("x", "X2"), ("y", "Y")]));
    assert_eq!(column(&installation, "account", "name"), pairs(&[("a", "A2")]));
    append(&installation, &change("patch", "contact", "y", 2, json!({ "name": "Y2" })));
    run_at(&installation, 4, &[]);
    assert_eq!(column(&installation, "contact", "name"), pairs(&[("x", "X2"), ("y", "Y2")]));
    let state = &installation.last_commit("crm")["dataset"];
    assert!(state.get("joining").is_none(), "{state}");
}

#[test]
fn a_table_joins_while_its_source_grows_and_nothing_of_it_is_lost() {
    let audit = "[exports.crm.tables.audit]\nwrite = \"append-only\"\ncolumns = \"infer\"";
    let installation = crm(COLUMNS, "");
    let lines = |numbers: std::ops::Range<u64>| -> String {
        let both = numbers.map(|number| {
            let bad = if number == 7 { json!({ "n": "\u{0}" }) } else { json!({ "n": number }) };
            account("update", &format!("a{}", number % 10), number + 1, json!({ "revenue": number }))
                + &change("create", "audit", &format!("k{number}"), 1, bad)
        });
        both.collect()
    };
    append(&installation, &lines(0..2_000));
    run_at(&installation, 0, &[]);
    let more = "snapshots = { every = \"50ms\" }\nflush = { every = \"20ms\" }\n";
    let text = configuration(COLUMNS, audit)
        .replace("[exports.crm.tables.account]", &format!("{more}\n[exports.crm.tables.account]"));
    installation.write("lakeport.toml", text);
    let child = installation.spawn(&["run", "--quiet", "--follow"]);
    for step in 0..100 {
        let mut file = fs::OpenOptions::new().append(true).open(installation.path().join("crm.ndjson")).unwrap();
        std::io::Write::write_all(&mut file, lines(2_000 + step * 10..2_010 + step * 10).as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // It arrives, and settles, while it runs.
    let joined = |installation: &Installation| installation.last_commit("crm")["dataset"].get("joining").is_none();
    for _ in 0..100 {
        if joined(&installation) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    signal(&child, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(joined(&installation));
    run_at(&installation, 0, &["--full", "crm"]);
    let found = column(&installation, "audit", "n");
    let mut expected: Vec<_> = (0..3_000).filter(|n| *n != 7).map(|n| (format!("k{n}"), n.to_string())).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(column(&installation, "account", "revenue").len(), 10);
    let letters = installation.dead_letters();
    assert_eq!(letters.len(), 1, "what was passed over then is refused now: {letters:?}");
}

#[test]
fn a_column_that_was_dropped_and_comes_back_is_null_in_rows_from_before() {
    let installation = crm("", "");
    let both = [("name", "string"), ("note", "string")];
    append(&installation, &schema("account", &both));
    append(&installation, &account("create", "a", 1, json!({ "name": "A", "note": "old" })));
    run_at(&installation, 0, &[]);
    append(&installation, &schema("account", &both[..1]));
    append(&installation, &account("create", "b", 1, json!({ "name": "B" })));
    run_at(&installation, 2, &[]);
    assert_eq!(column(&installation, "account", "note"), pairs(&[("a", "null"), ("b", "null")]));
    append(&installation, &schema("account", &both));
    append(&installation, &account("create", "c", 1, json!({ "name": "C", "note": "new" })));
    run_at(&installation, 4, &[]);
    assert_eq!(column(&installation, "account", "note"), pairs(&[("a", "null"), ("b", "null"), ("c", "new")]));
    append(&installation, &account("patch", "a", 2, json!({ "name": "A2" })));
    run_at(&installation, 6, &[]);
    assert_eq!(column(&installation, "account", "note"), pairs(&[("a", "null"), ("b", "null"), ("c", "new")]));
}

#[test]
fn readers_are_told_of_another_address_though_nothing_was_read() {
    let installation = crm(COLUMNS, "");
    append(&installation, &account("create", "a", 1, json!({ "name": "A" })));
    run_at(&installation, 0, &[]);
    let text = configuration(COLUMNS, "");
    installation.write("lakeport.toml", text.replace("contoso.dfs.core.windows.net/exports/", "elsewhere.net/"));
    run_at(&installation, 0, &[]);
    let cdm = Cdm::open(&installation.lake().join("crm"), "https://elsewhere.net/crm/").unwrap();
    assert_eq!(cdm.rows("account").len(), 1);
}

#[test]
fn what_the_files_were_written_with_is_not_changed_unnoticed() {
    let installation = crm(COLUMNS, "");
    append(&installation, &account("create", "a", 1, json!({ "name": "A", "createdon": "2020-05-05T00:00:00.5Z" })));
    run_at(&installation, 0, &[]);
    let text = configuration(COLUMNS, "");
    for (was, is, named) in [
        ("source = \"crm\"\n", "source = \"crm\"\nroot = \"other\"\n", "files are in `crm`"),
        ("createdon\"\n", "createdon\"\npartition = \"month\"\n", "`partition` of table `account`"),
        ("createdon\"\n", "createdon\"\nkey = \"/name\"\n", "`key` of table `account`"),
        ("createdon\"\n", "createdon\"\nwrite = \"append-only\"\n", "`write` of table `account`"),
    ] {
        installation.write("lakeport.toml", text.replacen(was, is, 1));
        let (_, stderr, success) = attempt(&installation, 0, &[]);
        assert!(!success && stderr.contains(named), "{named}: {stderr}");
    }
    installation.write("lakeport.toml", text.replace("dates = \"iso\"", "dates = \"service\""));
    run_at(&installation, 0, &[]);
    assert_eq!(column(&installation, "account", "createdon"), pairs(&[("a", "2020-05-05T00:00:00.5000000+00:00")]));
}

#[test]
fn a_row_keeps_what_a_change_of_its_key_does_not_say() {
    let installation = crm(COLUMNS, "");
    append(
        &installation,
        &account("create", "a", 1, json!({ "name": "A", "revenue": 1, "createdon": "2019-05-05T00:00:00Z" })),
    );
    run_at(&installation, 0, &[]);
    let moved = |from: &str, to: &str, version: u64| {
        let body = json!({ "revenue": version });
        format!(
            "{}\n",
            json!({ "operation": "patch", "kind": "account", "key": to, "previous-key": from, "version": version, "body": body })
        )
    };
    append(&installation, &(moved("a", "b", 2) + &moved("b", "c", 3)));
    run_at(&installation, 2, &[]);
    assert_eq!(column(&installation, "account", "name"), pairs(&[("c", "A")]));
    assert_eq!(column(&installation, "account", "revenue"), pairs(&[("c", "3")]));
    assert_eq!(read(&installation).files("account").keys().collect::<Vec<_>>(), ["2019"]);
}

#[test]
fn a_table_is_unlinked_with_or_without_its_files() {
    let contact = |linked: &str| format!("[exports.crm.tables.contact]\ncolumns = \"infer\"\n{linked}");
    for (files, kept) in [("keep", true), ("remove", false)] {
        let installation = crm(COLUMNS, &contact(""));
        append(&installation, &account("create", "a", 1, json!({ "name": "A" })));
        append(&installation, &change("create", "contact", "x", 1, json!({ "name": "X" })));
        run_at(&installation, 0, &[]);
        let files_before = read(&installation).files("contact");
        let unlinked = contact(&format!("linked = false\nunlinked-files = \"{files}\""));
        installation.write("lakeport.toml", configuration(COLUMNS, &unlinked));
        run_at(&installation, 0, &[]);
        assert_eq!(read(&installation).tables(), ["account"]);
        assert!(files_before.values().all(|path| path.exists() == kept), "{files}");
        installation.write("lakeport.toml", configuration(COLUMNS, &contact("")));
        run_at(&installation, 1, &[]);
        assert_eq!(column(&installation, "contact", "name"), pairs(&[("x", "X")]), "linked again, it begins again");
    }
}

#[test]
fn a_truncated_table_is_empty_and_fills_again() {
    let installation = crm(COLUMNS, "");
    append(&installation, &(account("create", "a", 1, json!({ "name": "A" })) + &account("create", "b", 1, json!({}))));
    run_at(&installation, 0, &[]);
    append(&installation, &account("create", "c", 1, json!({ "name": "C" })));
    append(&installation, &account("truncate", "", 2, Value::Null));
    append(&installation, &account("create", "b", 3, json!({ "name": "B" })));
    run_at(&installation, 2, &[]);
    assert_eq!(column(&installation, "account", "name"), pairs(&[("b", "B")]));
    append(&installation, &account("truncate", "", 4, Value::Null));
    run_at(&installation, 4, &[]);
    assert!(read(&installation).files("account").is_empty());
}

#[test]
fn what_others_add_to_the_catalog_stays() {
    let installation = crm(COLUMNS, "");
    append(&installation, &account("create", "a", 1, json!({ "name": "A" })));
    run_at(&installation, 0, &[]);
    let path = installation.lake().join("crm/model.json");
    let mut model = read(&installation).model;
    model["culture"] = "de-DE".into();
    model["entities"][0]["description"] = "customers".into();
    fs::write(&path, model.to_string()).unwrap();
    append(&installation, &account("create", "b", 1, json!({ "name": "B" })));
    run_at(&installation, 2, &[]);
    let cdm = read(&installation);
    assert_eq!((&cdm.model["culture"], &cdm.entity("account")["description"]), (&json!("de-DE"), &json!("customers")));
    assert_eq!(column(&installation, "account", "name"), pairs(&[("a", "A"), ("b", "B")]));
}

#[test]
fn what_cannot_be_a_row_is_a_dead_letter() {
    let installation = crm(&format!("key = \"/accountid\"\n{COLUMNS}"), "");
    append(&installation, &account("create", "", 1, json!({ "accountid": 7, "name": "kept" })));
    append(&installation, &account("create", "", 1, json!({ "name": "no key" })));
    append(&installation, &account("create", "", 1, json!({ "accountid": 8, "name": "a\u{0}b" })));
    append(&installation, &account("create", "", 1, json!({ "accountid": 9, "createdon": "soon" })));
    append(&installation, &account("upsert", "", 1, json!({ "accountid": 9 })));
    append(&installation, &change("create", "lead", "1", 1, json!({})));
    run_at(&installation, 0, &[]);
    assert_eq!(column(&installation, "account", "name"), pairs(&[("7", "kept")]));
    let letters = installation.dead_letters();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    let named = ["nothing at `/accountid`", "NUL", "created at `soon`", "`upsert`"];
    assert_eq!(reasons.len(), named.len(), "{reasons:?}");
    for named in named {
        assert!(reasons.iter().any(|reason| reason.contains(named)), "{named}: {reasons:?}");
    }
}
