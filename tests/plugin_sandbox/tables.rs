//! Formats of tables: rows, catalog and wider files of `cdm-csv`, and who may not be opened for what.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryViewArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use lakeport::Kind;
use lakeport::dataset::{Choice, Column, DataType, Described, DescribedPartition, DescribedTable, Sync, TableSchema};
use lakeport::plan::{Limits, PluginUse};
use lakeport::plugin::{CatalogFile, Failure, Toolbox};
use lakeport::record::{Attribute, ColumnRequest, ColumnType};
use serde_json::{Value, json};

use super::{MOMENT, sandbox, used};

fn cdm(config: Value, limits: Limits) -> PluginUse {
    used("cdm-csv", None, limits, config)
}

fn schema() -> TableSchema {
    let number = Column {
        choices: vec![
            Choice { value: 1, label: "Open, \"new\"".into(), language: 1033 },
            Choice { value: 0, label: "Zu".into(), language: 1031 },
        ],
        choice_set: Some("state".into()),
        ..Column::new("state", DataType::Int64)
    };
    let amount = Column { precision: Some(38), scale: Some(2), ..Column::new("am/ount", DataType::Decimal) };
    TableSchema {
        table: "account".into(),
        history: false,
        columns: vec![number, amount, Column::new("name", DataType::String)],
    }
}

fn wider() -> TableSchema {
    let mut schema = schema();
    schema.columns.push(Column { added: true, ..Column::new("later", DataType::String) });
    schema
}

fn dataset() -> Described {
    Described {
        name: "crm".into(),
        description: "Who buys".into(),
        modified: "2021-06-28T17:00:00Z".into(),
        tables: vec![DescribedTable {
            schema: wider(),
            monthly: true,
            partitions: vec![DescribedPartition {
                name: "2021-06".into(),
                period: "2021-06".into(),
                location: "https://lake.example/crm/account/2021-06.csv".into(),
                refreshed: "2021-06-28T17:00:00Z".into(),
                rows: 2,
            }],
            sync: Sync::Completed,
            synced: Some("2021-06-28T16:00:00Z".into()),
        }],
    }
}

/// Two rows of [`schema`]: key, times, version and operation, then the values.
fn rows() -> Vec<ArrayRef> {
    let texts = |values: [Option<&str>; 2]| Arc::new(values.into_iter().collect::<StringViewArray>()) as ArrayRef;
    let times = || Arc::new(TimestampMicrosecondArray::from(vec![1_624_898_075_500_000; 2])) as ArrayRef;
    let values = |values: [Option<&[u8]>; 2]| Arc::new(values.into_iter().collect::<BinaryViewArray>()) as ArrayRef;
    vec![
        texts([Some("k1"), Some("k2")]),
        times(),
        times(),
        Arc::new(Int64Array::from(vec![Some(7), None])),
        texts([Some("create"), None]),
        values([Some(b"1"), None]),
        values([Some(b"123456789012345678901234567890123456.78"), Some(b"null")]),
        values([Some(br#""a \"b\"\nc""#), Some(br#""""#)]),
    ]
}

const ROWS: &str = "\"k1\",\"2021-06-28T16:34:35.500000Z\",\"2021-06-28T16:34:35.500000Z\",\
                    1,123456789012345678901234567890123456.78,\"a \"\"b\"\"\nc\",7,False\n\
                    \"k2\",\"2021-06-28T16:34:35.500000Z\",\"2021-06-28T16:34:35.500000Z\",,,\"\",,False\n";

#[test]
fn rows_of_a_table_are_written_in_files_of_their_own() {
    let toolbox = sandbox().toolbox();
    let plugin = cdm(json!({"dates": "iso"}), Limits::default());
    let mut format = toolbox.table_format(&plugin, &schema(), MOMENT).unwrap();
    assert_eq!((format.file_type().extension.as_str(), format.file_type().appendable), ("csv", true));
    let asked = format.columns().to_vec();
    assert_eq!(asked[0], ColumnRequest::attribute(Attribute::Subject, ColumnType::Text));
    let pointers: Vec<ColumnRequest> =
        ["/state", "/am~1ount", "/name"].map(|name| ColumnRequest::pointer(name, ColumnType::Json)).into();
    assert_eq!(asked[5..], pointers);
    for file in [1, 2] {
        assert_eq!(format.begin(file, [0; 16], file == 2).unwrap(), b"");
        let segment = format.encode(file, 2, &rows()).unwrap();
        assert_eq!((String::from_utf8(segment.bytes).unwrap().as_str(), segment.rows), (ROWS, 2));
        assert_eq!(format.finish(file).unwrap(), b"");
    }
    assert_eq!(toolbox.usage()["cdm-csv"].rows_out, 4);
}

#[test]
fn a_table_may_have_more_columns_than_an_export_of_records_needs() {
    let columns = (0..1_600).map(|n| Column::new(format!("c{n}"), DataType::Int64)).collect();
    let schema = TableSchema { columns, ..schema() };
    let format = sandbox().toolbox().table_format(&cdm(json!({}), Limits::default()), &schema, MOMENT).unwrap();
    assert_eq!(format.columns().len(), 1_605);
}

#[test]
fn a_catalog_describes_the_tables_and_keeps_what_others_wrote() {
    let mut catalog = sandbox().toolbox().catalog(&cdm(json!({}), Limits::default()), MOMENT).unwrap();
    assert_eq!(catalog.paths(), ["OptionsetMetadata/GlobalOptionsetMetadata.csv", "model.json"]);
    let files = catalog.render(&dataset(), &[]).unwrap();
    assert_eq!(
        String::from_utf8(files[0].bytes.clone()).unwrap(),
        "\"state\",0,False,1031,\"Zu\",\"state\",\"account\",\n\
         \"state\",1,True,1033,\"Open, \"\"new\"\"\",\"state\",\"account\",\n"
    );
    let model: Value = serde_json::from_slice(&files[1].bytes).unwrap();
    assert_eq!((&model["name"], &model["description"]), (&json!("cdm"), &json!("Who buys")));
    let names: Vec<&str> =
        model["entities"][0]["attributes"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    let expected =
        ["Id", "SinkCreatedOn", "SinkModifiedOn", "state", "am/ount", "name", "versionnumber", "IsDelete", "later"];
    assert_eq!(names, expected);

    let mut edited = model.clone();
    edited["culture"] = json!("en-US");
    let previous = CatalogFile { bytes: edited.to_string().into(), ..files[1].clone() };
    let again = catalog.render(&dataset(), &[previous]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again[1].bytes).unwrap(), edited);

    let broken = CatalogFile { bytes: b"[]".to_vec(), ..files[1].clone() };
    assert_eq!(
        catalog.render(&dataset(), &[broken]).unwrap_err(),
        Failure::Refused(
            "plugin `cdm-csv` failed in `render`: `model.json` in the lake is no model: it is JSON, but no object; move it away, \
             and a new one is written"
                .into()
        )
    );
}

#[test]
fn a_file_is_widened_in_pieces_of_any_size() {
    let toolbox = sandbox().toolbox();
    // So little that the widener sees the file in pieces, whatever it is pushed in.
    let limits = Limits { transfer: 1 << 10, ..Limits::default() };
    let plugin = cdm(json!({}), limits);
    let wide: String = ROWS.replace("False\n", "False,\n").repeat(50);
    let narrow = ROWS.repeat(50);
    for piece in [7, 4_096] {
        let mut widener = toolbox.widener(&plugin, &schema(), &wider(), MOMENT).unwrap();
        let mut out: Vec<u8> = narrow.as_bytes().chunks(piece).flat_map(|piece| widener.push(piece).unwrap()).collect();
        out.extend(widener.finish().unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), wide);
    }
    let mut widener = toolbox.widener(&plugin, &schema(), &wider(), MOMENT).unwrap();
    widener.push(b"\"half").unwrap();
    assert!(matches!(widener.finish().unwrap_err(), Failure::Refused(_)));
    let error = toolbox.widener(&plugin, &wider(), &schema(), MOMENT).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
    assert!(error.message.contains("files of table `account` have `later` as column 9"), "{error}");
}

#[test]
fn a_format_is_opened_for_what_it_writes_only() {
    let toolbox = sandbox().toolbox();
    let error = toolbox.format(&cdm(json!({}), Limits::default()), MOMENT).err().unwrap();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            Kind::Config,
            "plugin `cdm-csv` cannot be opened: it writes the rows of tables, and these records are of none; use it in an export \
             with `type = \"table\"`"
        )
    );
    let ndjson = used("ndjson", None, Limits::default(), json!({}));
    let refused = [
        toolbox.table_format(&ndjson, &schema(), MOMENT).err(),
        toolbox.catalog(&ndjson, MOMENT).err(),
        toolbox.widener(&ndjson, &schema(), &wider(), MOMENT).err(),
    ];
    for error in refused {
        let error = error.unwrap();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Config, "format `ndjson` does not write tables"));
        assert!(error.help.unwrap().contains("cdm-csv"));
    }
    let select = used("select", None, Limits::default(), json!({}));
    let error = toolbox.catalog(&select, MOMENT).err().unwrap();
    assert_eq!(error.message, "plugin `select` is a filter, expected a format");
    let odd = TableSchema { table: "a.b".into(), ..schema() };
    let error = toolbox.table_format(&cdm(json!({}), Limits::default()), &odd, MOMENT).err().unwrap();
    assert!(error.message.contains("table `a.b` cannot be an entity of model.json"), "{error}");
    let error = toolbox.catalog(&cdm(json!({"dates": "us"}), Limits::default()), MOMENT).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
}
