//! Odd columns and values concern their table alone: the others, and the reading, go on.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::cdm::Cdm;
use crate::support::lake_folder::Installation;

const HEAD: &str = "[sources.crm]\nfiles = \"crm.ndjson\"\nenvelope = \"change\"\n\n\
                    [exports.crm]\ntype = \"table\"\nsource = \"crm\"\nsnapshots = { every = \"1ms\" }\n\
                    public-url = \"https://lake/\"\n";

/// An export with the tables `tables`: what each says.
fn crm(tables: &[(&str, &str)]) -> Installation {
    let mut configuration = HEAD.to_owned();
    for (name, says) in tables {
        write!(configuration, "\n[exports.crm.tables.{name}]\n{says}\n").unwrap();
    }
    Installation::new(&configuration)
}

fn row(kind: &str, key: &str, body: &Value) -> String {
    format!("{}\n", json!({ "operation": "update", "kind": kind, "key": key, "body": body }))
}

fn read(installation: &Installation) -> Cdm {
    Cdm::open(&installation.lake().join("crm"), "https://lake/crm/").unwrap()
}

#[test]
fn members_that_no_column_can_be_are_left_out_of_inferred_tables() {
    let installation = crm(&[("good", "columns = \"infer\""), ("bad", "columns = \"infer\"")]);
    let long = "x".repeat(300);
    let odd = json!({ "Name": "kept", "n": 1, "": 2, " a": 3, "tab\t": 4, long.as_str(): 5 });
    let rows =
        [row("good", "g", &json!({ "name": "G" })), row("bad", "b1", &odd), row("bad", "b2", &json!({ "name": "no" }))];
    installation.write("crm.ndjson", rows.concat());
    let checked = installation.run_ok(&["check"]);
    assert!(checked.contains("crm/bad/Snapshot/"), "{checked}");
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("table `bad` leaves out 5 members"), "{said}");
    let own = ["Id", "SinkCreatedOn", "SinkModifiedOn"];
    let columns = |cdm: &Cdm| cdm.columns("bad").into_iter().filter(|name| !own.contains(&&**name)).collect::<Vec<_>>();
    assert_eq!(columns(&read(&installation)), ["Name", "n", "versionnumber", "IsDelete"]);

    // What the files have already cannot come later.
    let later = json!({ "Name": "later", "versionnumber": 1, "id": "x", "more": true });
    installation
        .write("crm.ndjson", rows.concat() + &row("bad", "b3", &later) + &row("good", "h", &json!({ "name": "H" })));
    installation.run_ok(&["run"]);
    let cdm = read(&installation);
    assert_eq!(columns(&cdm), ["Name", "n", "versionnumber", "IsDelete", "more"]);
    let names: Vec<_> = cdm.column("bad", "Name").into_iter().collect();
    let expected = [("b1", Some("kept")), ("b2", None), ("b3", Some("later"))];
    assert_eq!(names, expected.map(|(key, name)| (key.to_owned(), name.map(str::to_owned))));
    assert_eq!(cdm.rows("good").len(), 2);
}

#[test]
fn a_column_that_files_cannot_have_stops_the_table_that_the_source_says_it_of() {
    let installation = crm(&[("good", ""), ("bad", "")]);
    let schema = |kind: &str, names: &[&str]| {
        let columns: Vec<_> = names.iter().map(|name| json!({ "name": name, "data-type": "string" })).collect();
        format!(
            "{}\n",
            json!({ "operation": "schema", "kind": kind, "body": { "columns": columns, "complete": true } })
        )
    };
    let first = schema("good", &["name"]) + &schema("bad", &["name"]) + &row("good", "g", &json!({ "name": "G" }));
    let first = first + &row("bad", "b", &json!({ "name": "B" }));
    installation.write("crm.ndjson", &first);
    installation.run_ok(&["run"]);
    let second = schema("bad", &["name", "Name"]) + &row("bad", "b", &json!({ "name": "lost" }));
    installation.write("crm.ndjson", first + &second + &row("good", "g", &json!({ "name": "G2" })));
    for _ in 0..2 {
        let output = installation.run(&["run"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("`name` and `Name`"), "{said}");
        assert!(said.contains("lakeport tables link CONFIG bad --again"), "{said}");
        let cdm = read(&installation);
        let value = |table| cdm.column(table, "name").into_values().next().flatten();
        assert_eq!((value("good").as_deref(), value("bad").as_deref()), (Some("G2"), Some("B")));
    }
}

#[test]
fn rows_that_are_refused_by_the_thousand_are_counted_and_the_other_tables_are_written() {
    let narrow = "columns = [{ name = \"name\", data-type = \"string\", max-length = 10 }]";
    let installation = crm(&[("good", "columns = \"infer\""), ("bad", narrow)]);
    let long = "x".repeat(2000);
    let mut rows = row("good", "g", &json!({ "name": "G" })) + &row("bad", "fits", &json!({ "name": "fits" }));
    // More than the eight megabytes that one table's dead letters may have.
    (0..6000).for_each(|n| rows += &row("bad", &format!("b{n}"), &json!({ "name": long })));
    installation.write("crm.ndjson", rows);
    // Most records were refused, which a run says with its exit code.
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("more rows were refused, too many to be kept one by one"), "{said}");
    let cdm = read(&installation);
    assert_eq!((cdm.rows("good").len(), cdm.rows("bad").len()), (1, 1));
    let letters = installation.dead_letters();
    let last = letters.last().unwrap()["reason"].as_str().unwrap().to_owned();
    let kept = letters.len() - 1;
    assert!(last.starts_with(&format!("{} more rows were refused", 6000 - kept)), "{last}");
    assert!(kept > 1000 && kept < 6000, "{kept}");
}

#[test]
fn a_description_is_taken_back_where_it_is_ours() {
    let installation = crm(&[("t", "columns = \"infer\"")]);
    let configuration = std::fs::read_to_string(installation.path().join("lakeport.toml")).unwrap();
    let described = configuration.replace("type = \"table\"\n", "type = \"table\"\ndescription = \"Ours\"\n");
    installation.write("crm.ndjson", row("t", "a", &json!({ "n": 1 })));
    installation.write("lakeport.toml", &described);
    installation.run_ok(&["run"]);
    assert_eq!(read(&installation).model["description"], "Ours");
    installation.write("lakeport.toml", &configuration);
    installation.run_ok(&["run"]);
    let model = read(&installation).model;
    assert_eq!((model.get("description"), model.get("annotations")), (None, None));
}

#[test]
fn a_row_that_files_cannot_hold_fails_no_later_run() {
    let columns = "[{ name = \"id\", data-type = \"int64\" }, { name = \"n\", data-type = \"int64\" }]";
    let installation = crm(&[("t", &format!("key = \"/id\"\ncolumns = {columns}"))]);
    let line = |id: i64, n: &Value| row("t", &id.to_string(), &json!({ "id": id, "n": n }));
    let mut lines: String = (0..10).map(|id| line(id, &json!(id))).collect();
    lines += &line(11, &json!("x"));
    installation.write("crm.ndjson", &lines);
    installation.run_ok(&["run"]);
    for id in 12..14 {
        lines += &line(id, &json!(id));
        installation.write("crm.ndjson", &lines);
        // The snapshot refuses the old row once more; the record that was read is taken.
        installation.run_ok(&["run"]);
    }
    assert_eq!(read(&installation).rows("t").len(), 12);
}
