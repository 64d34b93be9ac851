use lakeport_plugin::prelude::*;
use lakeport_plugin::serde_json::{Value, from_slice, json, to_string_pretty};
use lakeport_plugin::testing::table_schema;
use lakeport_plugin::{Choice, Partition, SyncState, Table};

use crate::{CdmCsv, Config};

#[path = "../../../../tests/support/golden.rs"]
mod golden;

const MODEL: &str = "model.json";

/// A table with a column of each type, its choices, a column that came later and one that is gone.
fn account() -> TableSchema {
    let mut schema = table_schema(
        "account",
        &[
            ("accountid", "guid"),
            ("name", "string"),
            ("statecode", "int64"),
            ("creditlimit", "decimal"),
            ("score", "double"),
            ("donotemail", "boolean"),
            ("founded", "date"),
            ("opens", "time"),
            ("overriddencreatedon", "dateTime"),
            ("createdon", "dateTimeOffset"),
            ("extra", "json"),
            ("fax", "string"),
            ("industrycode", "int64"),
        ],
    );
    let choice = |value, label: &str, language| Choice { value, label: label.into(), language };
    schema.columns[1].max_length = Some(160);
    schema.columns[2].choices = vec![choice(1, "Inactive", 1033), choice(0, "Active", 1033), choice(0, "Aktiv", 1031)];
    (schema.columns[3].precision, schema.columns[3].scale) = (Some(38), Some(2));
    schema.columns[11].retired = true;
    schema.columns[12].added = true;
    schema.columns[12].choices = vec![choice(10, "=Food, \"drink\"", 1033)];
    schema.columns[12].choice_set = Some("industries".into());
    schema
}

fn partition(table: &str, name: &str, period: &str) -> Partition {
    Partition {
        name: name.into(),
        period: period.into(),
        location: format!("https://lake.example/crm/{table}/{name}.csv"),
        refreshed: "2021-06-28T17:00:00Z".into(),
        rows: 2,
    }
}

fn dataset() -> Dataset {
    let account = Table {
        schema: account(),
        monthly: false,
        partitions: vec![partition("account", "2020", "2020"), partition("account", "2021-2", "2021")],
        initial_sync: SyncState::Completed,
        initial_sync_completed: Some("2021-06-28T16:00:00Z".into()),
    };
    let contact = Table {
        schema: TableSchema { history: true, ..table_schema("contact", &[("Id", "int64")]) },
        monthly: true,
        partitions: vec![partition("contact", "2021-05", "2021-05")],
        initial_sync: SyncState::InProgress,
        initial_sync_completed: None,
    };
    let lead = Table {
        schema: table_schema("lead", &[]),
        partitions: Vec::new(),
        initial_sync: SyncState::NotStarted,
        ..contact.clone()
    };
    Dataset {
        name: "crm".into(),
        description: "Customers, \"as they are\"".into(),
        modified: "2021-06-28T17:00:00Z".into(),
        tables: vec![contact, account, lead],
    }
}

fn files(dataset: &Dataset, previous: Option<&str>) -> Result<Vec<CatalogFile>> {
    let previous = previous.map(|text| CatalogFile {
        path: MODEL.into(),
        content_type: "application/json".into(),
        bytes: text.into(),
    });
    CdmCsv::render(&Config::default(), dataset, previous.as_slice())
}

fn model(dataset: &Dataset, previous: Option<&Value>) -> Value {
    let files = files(dataset, previous.map(Value::to_string).as_deref()).unwrap();
    from_slice(&files.last().unwrap().bytes).unwrap()
}

fn expect(name: &str, text: &str) {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/golden"));
    golden::expect(&folder.join(name), text);
}

#[test]
fn the_model_is_the_golden_one() {
    expect(MODEL, &(to_string_pretty(&model(&dataset(), None)).unwrap() + "\n"));
}

#[test]
fn the_labels_are_the_golden_ones() {
    let files = files(&dataset(), None).unwrap();
    assert_eq!(files[0].path, CdmCsv::paths(&Config::default()).unwrap()[0]);
    expect("GlobalOptionsetMetadata.csv", std::str::from_utf8(&files[0].bytes).unwrap());
    let guarded = Config { formula_guard: true, ..Config::default() };
    let files = CdmCsv::render(&guarded, &dataset(), &[]).unwrap();
    assert!(std::str::from_utf8(&files[0].bytes).unwrap().contains(",\"'=Food, "));
}

#[test]
fn without_choices_there_are_no_labels() {
    let mut dataset = dataset();
    dataset.tables.retain(|table| table.schema.table != "account");
    let files = files(&dataset, None).unwrap();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [MODEL]);
}

#[test]
fn a_label_that_csv_cannot_hold_is_refused() {
    let mut dataset = dataset();
    dataset.tables[1].schema.columns[2].choices[0].label = "a\0".into();
    let error = files(&dataset, None).unwrap_err().to_string();
    assert!(
        error.starts_with("the label of choice 1 of column `statecode` of table `account` has the character"),
        "{error}"
    );
}

#[test]
fn what_others_wrote_stays() {
    let mut before = model(&dataset(), None);
    before["culture"] = json!("en-US");
    before["annotations"].as_array_mut().unwrap().push(json!({"name": "owner", "value": "sales"}));
    before["relationships"] = json!([{"$type": "SingleKeyRelationship"}]);
    before["entities"][0]["description"] = json!("Companies");
    before["entities"][0]["annotations"].as_array_mut().unwrap().push(json!({"name": "reviewed", "value": "yes"}));
    let name = &mut before["entities"][0]["attributes"][4];
    assert_eq!(name["name"], "name");
    name["description"] = json!("What it is called");
    name["annotations"] = json!([{"name": "pii", "value": "no"}]);
    name["cdm:traits"].as_array_mut().unwrap().push(json!("means.identity.name"));
    let theirs = json!({"$type": "ReferenceEntity", "name": "product", "source": "p", "modelId": "m"});
    before["entities"].as_array_mut().unwrap().push(theirs);
    assert_eq!(model(&dataset(), Some(&before)), before, "nothing of it is lost, and nothing is there twice");
}

#[test]
fn what_is_this_formats_follows_the_tables() {
    let before = model(&dataset(), None);
    let mut dataset = dataset();
    dataset.tables.remove(0);
    dataset.tables[0].schema.columns[1].max_length = None;
    dataset.tables[0].schema.columns.remove(0);
    dataset.tables[0].partitions.remove(0);
    dataset.tables[0].initial_sync = SyncState::InProgress;
    dataset.tables[0].initial_sync_completed = None;
    dataset.description = String::new();
    let now = model(&dataset, Some(&before));
    let names: Vec<&Value> = now["entities"].as_array().unwrap().iter().map(|entity| &entity["name"]).collect();
    assert_eq!(names, ["account", "lead"], "a table that is gone is no entity");
    let account = &now["entities"][0];
    let name = &account["attributes"][3];
    assert_eq!(*name, json!({"name": "name", "dataType": "string", "maxLength": -1}), "the limit went with its trait");
    assert_eq!(account["partitions"].as_array().unwrap().len(), 1);
    assert!(!account["annotations"].to_string().contains("Athena:InitialSyncDataCompletedTime"));
    assert_eq!((now.get("description"), now.get("annotations")), (None, None), "it was ours");
    let mut theirs = before.clone();
    theirs["description"] = json!("Somebody's");
    let now = model(&dataset, Some(&theirs));
    assert_eq!((now["description"].as_str(), now.get("annotations")), (Some("Somebody's"), None));
}

#[test]
fn a_previous_file_of_the_service_may_begin_with_a_byte_order_mark() {
    let text = format!("\u{feff}{}", model(&dataset(), None));
    let bytes = |previous| files(&dataset(), previous).unwrap().pop().unwrap().bytes;
    assert_eq!(bytes(Some(&text)), bytes(None));
}

#[test]
fn a_previous_file_that_is_no_model_is_refused_with_what_to_do() {
    for (text, why) in [
        ("[]", "it is JSON, but no object"),
        ("<html>", "expected value at line 1 column 1"),
        (r#"{"entities": 7}"#, "its `entities` are `7`, expected a list"),
    ] {
        let error = files(&dataset(), Some(text)).unwrap_err().to_string();
        let expected = format!("`model.json` in the lake is no model: {why}; move it away, and a new one is written");
        assert_eq!(error, expected);
    }
    let theirs = r#"{"entities": [{"$type": "ReferenceEntity", "name": "lead"}]}"#;
    assert_eq!(
        files(&dataset(), Some(theirs)).unwrap_err().to_string(),
        "`model.json` has an entity \"lead\" of type \"ReferenceEntity\", and a table has the same name; rename one of them"
    );
}

#[test]
fn an_entity_of_somebody_else_is_not_taken_over() {
    let mut before = model(&dataset(), None);
    before["entities"][2]["annotations"].as_array_mut().unwrap().remove(0);
    assert_eq!(
        files(&dataset(), Some(&before.to_string())).unwrap_err().to_string(),
        "`model.json` has an entity \"lead\" without the annotation `lakeport:table`, so it is somebody else's, and a table has \
         the same name; rename one of them, or take the entity out of `model.json` first"
    );
    let mut dataset = dataset();
    dataset.tables.pop();
    assert_eq!(model(&dataset, Some(&before))["entities"][2], before["entities"][2], "without such a table it stays");
}

#[test]
fn a_table_without_a_possible_name_is_refused() {
    let mut dataset = dataset();
    dataset.tables[0].schema.table = "a.b".into();
    assert!(files(&dataset, None).unwrap_err().to_string().contains("give the table another name"));
    let named = Config { model_name: " x".into(), ..Config::default() };
    let error = CdmCsv::render(&named, &self::dataset(), &[]).unwrap_err().to_string();
    assert_eq!(error, "`model-name` is ` x`, expected a name without space around it, such as `cdm`");
}
