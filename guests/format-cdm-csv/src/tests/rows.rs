use lakeport_plugin::prelude::*;
use lakeport_plugin::testing::table_schema;
use lakeport_plugin::{Column, ColumnValues, VarBytes};
use proptest::prelude::*;

use crate::{CdmCsv, Config, Dates};

const ATTRIBUTES: usize = 5;
/// 2021-06-28T16:34:35.5Z.
const SUNK: i64 = 1_624_898_075_500_000;

pub fn iso() -> Config {
    Config { dates: Dates::Iso, ..Config::default() }
}

fn open(config: Config, columns: &[(&str, &str)]) -> CdmCsv {
    CdmCsv::open_table(config, table_schema("account", columns)).unwrap()
}

/// A batch of rows with the key `k`, whose values are JSON as it is received; `None` where the row has no such member.
fn batch(rows: &[&[Option<&str>]], operation: &str) -> Batch {
    let count = rows.len();
    let texts = |text: &str| {
        let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
        (0..count).for_each(|_| values.push(text.as_bytes()));
        Column { validity: None, values: ColumnValues::Text(values) }
    };
    let mut columns = vec![
        texts("k"),
        Column { validity: None, values: ColumnValues::Timestamp(vec![SUNK; count]) },
        Column { validity: None, values: ColumnValues::Timestamp(vec![SUNK + 1; count]) },
        Column { validity: None, values: ColumnValues::Int64(vec![42; count]) },
        texts(operation),
    ];
    for place in 0..rows.first().map_or(0, |row| row.len()) {
        let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
        let mut validity = vec![0; count.div_ceil(8)];
        for (at, row) in rows.iter().enumerate() {
            values.push(row[place].unwrap_or("rubbish").as_bytes());
            validity[at / 8] |= u8::from(row[place].is_some()) << (at % 8);
        }
        columns.push(Column { validity: Some(validity), values: ColumnValues::Json(values) });
    }
    Batch::new(count, columns)
}

fn line(format: &mut CdmCsv, values: &[Option<&str>], operation: &str) -> Result<String, String> {
    let segment = format.encode(&batch(&[values], operation)).unwrap();
    match segment.rejected.first() {
        Some(rejected) => {
            assert!(segment.bytes.is_empty(), "nothing of a refused row stays");
            Err(rejected.reason.clone())
        }
        None => Ok(String::from_utf8(segment.bytes).unwrap()),
    }
}

/// What is written of one value in a column `c`.
fn value(config: Config, data_type: &str, json: &str) -> Result<String, String> {
    field(config, "c", data_type, json)
}

fn field(config: Config, name: &str, data_type: &str, json: &str) -> Result<String, String> {
    let line = line(&mut open(config, &[(name, data_type)]), &[Some(json)], "update")?;
    let (_, rest) = line.split_once("\",").unwrap();
    let rest = rest.splitn(3, ',').nth(2).unwrap();
    Ok(rest.strip_suffix(",42,False\n").unwrap().to_owned())
}

fn service(data_type: &str, json: &str) -> Result<String, String> {
    value(Config::default(), data_type, json)
}

#[test]
fn a_row_has_the_services_columns_around_its_own() {
    let mut format = open(Config::default(), &[("name", "string"), ("n", "int64")]);
    assert_eq!(format.columns().0.len(), ATTRIBUTES + 2);
    assert_eq!(
        line(&mut format, &[Some("\"a\""), Some("7")], "update").unwrap(),
        "\"k\",\"6/28/2021 4:34:35 PM\",\"6/28/2021 4:34:35 PM\",\"a\",7,42,False\n"
    );
    let mut format = open(iso(), &[("name", "string"), ("n", "int64")]);
    assert_eq!(
        line(&mut format, &[None, Some("null")], "create").unwrap(),
        "\"k\",\"2021-06-28T16:34:35.500000Z\",\"2021-06-28T16:34:35.500001Z\",,,42,False\n"
    );
}

#[test]
fn columns_that_came_later_stand_last_and_retired_ones_are_null() {
    let mut schema = table_schema("account", &[("a", "int64"), ("later", "int64"), ("gone", "int64"), ("b", "int64")]);
    schema.columns[1].added = true;
    schema.columns[2].retired = true;
    let mut format = CdmCsv::open_table(iso(), schema).unwrap();
    assert_eq!(format.columns().0.len(), ATTRIBUTES + 3);
    let line = line(&mut format, &[Some("1"), Some("2"), Some("3")], "update").unwrap();
    assert!(line.ends_with(",1,,3,42,False,2\n"), "{line}");
}

#[test]
fn a_deleted_row_has_its_key_its_times_its_version_and_true() {
    let mut format = open(Config::default(), &[("name", "string"), ("n", "int64")]);
    assert_eq!(
        line(&mut format, &[Some("\"a\""), Some("no number")], "delete").unwrap(),
        "\"k\",\"6/28/2021 4:34:35 PM\",\"6/28/2021 4:34:35 PM\",,,42,True\n"
    );
}

#[test]
fn a_column_of_the_table_stands_in_the_place_of_the_formats_of_its_name() {
    let columns = [("ID", "string"), ("VersionNumber", "int64"), ("sinkcreatedon", "dateTime")];
    let mut format = open(iso(), &columns);
    let values = [Some("\"x\""), Some("5"), Some("\"2020-01-01 00:00:00\"")];
    assert_eq!(
        line(&mut format, &values, "update").unwrap(),
        "\"x\",\"2020-01-01T00:00:00\",\"2021-06-28T16:34:35.500001Z\",5,False\n"
    );
    assert_eq!(line(&mut format, &[None; 3], "delete").unwrap(), "\"k\",,\"2021-06-28T16:34:35.500001Z\",42,True\n");
    let mut format = open(iso(), &[("id", "int64")]);
    let line = line(&mut format, &[None], "delete").unwrap();
    assert!(line.starts_with(",") && line.ends_with(",42,True\n"), "a key that is no number is null: {line}");
}

#[test]
fn null_and_an_empty_text_stay_apart() {
    assert_eq!(service("string", "null").unwrap(), "");
    assert_eq!(service("string", "\"\"").unwrap(), "\"\"");
}

#[test]
fn text_keeps_every_character() {
    assert_eq!(service("string", r#""a,b""#).unwrap(), "\"a,b\"");
    assert_eq!(
        service("string", r#""say \"hi\"\r\n\ttab \u00e9 \ud83d\ude00 \\""#).unwrap(),
        "\"say \"\"hi\"\"\r\n\ttab é 😀 \\\""
    );
    assert_eq!(service("string", "\"é😀\"").unwrap(), "\"é😀\"");
    assert_eq!(service("string", "\"null\"").unwrap(), "\"null\"");
}

#[test]
fn other_json_in_a_column_of_text_is_its_json() {
    assert_eq!(service("string", "12.50").unwrap(), "\"12.50\"");
    assert_eq!(service("string", "true").unwrap(), "\"true\"");
    assert_eq!(service("string", r#"{"a":"b\n"}"#).unwrap(), "\"{\"\"a\"\":\"\"b\\n\"\"}\"");
    assert_eq!(service("string", "[1,2]").unwrap(), "\"[1,2]\"");
}

#[test]
fn nul_is_refused_wherever_it_is() {
    let reason = service("string", r#""a\u0000b""#).unwrap_err();
    assert_eq!(
        reason,
        "column `c` has the character U+0000 at byte 1, which CSV cannot hold; expected text without it"
    );
    assert_eq!(
        service("json", r#"{"a":"\u0000"}"#).unwrap(),
        r#""{""a"":""\u0000""}""#,
        "escaped, it is no such character"
    );
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    assert!(service("string", r#""\ud83d""#).unwrap_err().ends_with("expected Unicode text"));
}

#[test]
fn text_that_is_too_long_is_refused_with_its_characters() {
    let mut schema = table_schema("account", &[("c", "string")]);
    schema.columns[0].max_length = Some(3);
    let mut format = CdmCsv::open_table(Config::default(), schema).unwrap();
    assert!(line(&mut format, &[Some("\"é😀\\\"\"")], "update").is_ok());
    assert_eq!(
        line(&mut format, &[Some("\"abcd\"")], "update").unwrap_err(),
        "column `c` is `abcd`, expected at most 3 characters, and it has 4"
    );
    let long = format!("\"{}\"", "x".repeat(100));
    let reason = line(&mut format, &[Some(&long)], "update").unwrap_err();
    assert!(reason.starts_with(&format!("column `c` is `{}…`, expected", "x".repeat(64))), "{reason}");
}

#[test]
fn the_guard_disarms_formulas_only_where_it_is_wanted() {
    let guard = || Config { formula_guard: true, ..Config::default() };
    for text in ["=1+1", "+1", "-1", "@a", "\\tx", "\\rx"] {
        let json = format!("\"{text}\"");
        let plain = service("string", &json).unwrap();
        assert_eq!(value(guard(), "string", &json).unwrap(), plain.replacen('"', "\"'", 1));
    }
    assert_eq!(value(guard(), "string", "\"a=1\"").unwrap(), "\"a=1\"");
    assert_eq!(value(guard(), "int64", "-1").unwrap(), "-1", "numbers are no text");
}

#[test]
fn numbers_are_written_as_they_were_received() {
    for (data_type, json, written) in [
        ("int64", "9223372036854775807", "9223372036854775807"),
        ("int64", "\"-12\"", "-12"),
        ("double", "1.50E+3", "1.50E+3"),
        ("double", "\"NaN\"", "NaN"),
        ("double", "\"-Infinity\"", "-Infinity"),
        ("decimal", "12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("decimal", "\"123.4500\"", "123.4500"),
        ("decimal", "\"NaN\"", "NaN"),
        ("decimal", "\"Infinity\"", "Infinity"),
        ("decimal", "\"-Infinity\"", "-Infinity"),
    ] {
        assert_eq!(service(data_type, json).unwrap(), written);
    }
}

#[test]
fn what_is_no_such_number_is_refused() {
    for (data_type, json, reason) in [
        ("int64", "9223372036854775808", "is `9223372036854775808`, expected a whole number of 64 bits"),
        ("int64", "1.0", "is `1.0`, expected a whole number of 64 bits"),
        ("int64", "true", "is `true`, expected a whole number of 64 bits"),
        ("double", "\"inf\"", "is `inf`, expected a number, `NaN`, `Infinity` or `-Infinity`"),
        ("double", "{}", "is `{}`, expected a number, `NaN`, `Infinity` or `-Infinity`"),
        ("decimal", "\"nan\"", "is `nan`, expected a decimal number, `NaN`, `Infinity` or `-Infinity`"),
    ] {
        assert_eq!(service(data_type, json).unwrap_err(), format!("column `c` {reason}"));
    }
    let mut schema = table_schema("account", &[("c", "decimal")]);
    (schema.columns[0].precision, schema.columns[0].scale) = (Some(5), Some(2));
    let mut format = CdmCsv::open_table(Config::default(), schema).unwrap();
    assert_eq!(
        line(&mut format, &[Some("1234.5")], "update").unwrap_err(),
        "column `c` is `1234.5`, expected a decimal number of 5 digits, 2 of them behind the point"
    );
    assert!(line(&mut format, &[Some("\"NaN\"")], "update").is_ok(), "which limits do not keep out in PostgreSQL");
}

#[test]
fn booleans_are_words() {
    for (json, written) in
        [("true", "True"), ("false", "False"), ("\"t\"", "True"), ("\"false\"", "False"), ("0", "False"), ("1", "True")]
    {
        assert_eq!(service("boolean", json).unwrap(), written);
    }
    assert_eq!(service("boolean", "2").unwrap_err(), "column `c` is `2`, expected `true` or `false`");
}

#[test]
fn dates_and_times_have_the_services_forms_or_isos() {
    for (data_type, json, of_service, of_iso) in [
        ("dateTime", r#""2021-06-25 16:21:12.123456""#, "\"2021-06-25T16:21:12Z\"", "\"2021-06-25T16:21:12.123456\""),
        ("dateTimeOffset", r#""2021-06-25 16:21:12.5+02""#, "\"2021-06-25T14:21:12Z\"", "\"2021-06-25T14:21:12.5Z\""),
        ("dateTimeOffset", r#""1969-12-31T23:59:59""#, "\"1969-12-31T23:59:59Z\"", "\"1969-12-31T23:59:59Z\""),
        ("dateTime", r#""\/Date(1624638072123)\/""#, "\"2021-06-25T16:21:12Z\"", "\"2021-06-25T16:21:12.123Z\""),
        ("dateTime", r#""-infinity""#, "\"-infinity\"", "\"-infinity\""),
        ("date", r#""1904-02-29""#, "\"1904-02-29\"", "\"1904-02-29\""),
        ("time", r#""16:21:12.123""#, "\"16:21:12.123\"", "\"16:21:12.123\""),
    ] {
        assert_eq!(service(data_type, json).unwrap(), of_service);
        assert_eq!(value(iso(), data_type, json).unwrap(), of_iso);
    }
    let created = |config| field(config, "CreatedOn", "dateTimeOffset", r#""2018-05-25T18:21:09+02:00""#).unwrap();
    assert_eq!(created(Config::default()), "\"2018-05-25T16:21:09.0000000+00:00\"");
    assert_eq!(created(iso()), "\"2018-05-25T16:21:09Z\"");
    assert_eq!(
        service("dateTime", r#""0044-03-15 12:00:00 BC""#).unwrap_err(),
        "column `c` is `0044-03-15 12:00:00 BC`, expected a date and time of the years 1 to 9999, such as `2021-06-25T16:21:12.123Z`"
    );
    assert!(service("date", "20210625").is_err() && service("time", "\"16:21:12+02\"").is_err());
    assert_eq!(service("time", "\"24:00:00\"").unwrap(), "\"24:00:00\"");
}

#[test]
fn guids_are_bare_and_small() {
    let guid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    assert_eq!(service("guid", &format!("\"{{{}}}\"", guid.to_uppercase())).unwrap(), guid);
    assert_eq!(service("guid", &format!("\"{guid}\"")).unwrap(), guid);
    for wrong in ["\"x\"", "12", "\"0f8fad5b-d9cb-469f-a165-70867728950g\"", "\"0f8fad5bd9cb469fa16570867728950e\""] {
        assert!(service("guid", wrong).unwrap_err().contains("expected a GUID such as"), "{wrong}");
    }
}

#[test]
fn json_is_what_was_received() {
    assert_eq!(service("json", r#"{"a": 1.50}"#).unwrap(), r#""{""a"": 1.50}""#);
    assert_eq!(service("json", "12").unwrap(), "\"12\"");
    assert_eq!(service("json", r#""{\"a\":1}""#).unwrap(), r#""{""a"":1}""#, "text that is JSON is that JSON");
    assert_eq!(service("json", r#""hello""#).unwrap(), r#""""hello""""#);
}

#[test]
fn one_refused_row_does_not_touch_the_others() {
    let mut format = open(iso(), &[("n", "int64")]);
    let segment = format.encode(&batch(&[&[Some("1")], &[Some("x")], &[Some("3")]], "update")).unwrap();
    assert_eq!((segment.rows, segment.rejected.len(), segment.rejected[0].row), (2, 1, 1));
    let text = String::from_utf8(segment.bytes).unwrap();
    assert_eq!(text.lines().map(|line| line.split(',').nth(3).unwrap()).collect::<Vec<_>>(), ["1", "3"]);
}

#[test]
fn a_schema_that_cannot_be_written_is_refused_with_what_to_do() {
    let refused = |table: &str, columns: &[(&str, &str)]| {
        CdmCsv::open_table(iso(), table_schema(table, columns)).err().expect("refused").to_string()
    };
    for table in ["", "a.b", "a\"b", " a", "a ", &"x".repeat(257)] {
        assert!(refused(table, &[]).contains("give the table another name"), "{table}");
    }
    assert!(refused("t", &[(" a", "string")]).contains("rename the column, or leave it out"));
    assert!(
        refused("t", &[("a", "string"), ("A", "string")])
            .contains("has the columns `a` and `A`, which readers take for one")
    );
    assert!(refused("t", &[("a", "money")]).contains("is of the type `money`, expected a data type"));
    let mut schema = table_schema("t", &[("id", "string")]);
    schema.columns[0].added = true;
    let error = CdmCsv::open_table(iso(), schema).err().expect("refused").to_string();
    assert!(error.ends_with("rename the column, or unlink the table and link it again"), "{error}");
    assert!(CdmCsv::open(iso()).err().expect("refused").to_string().starts_with("it writes the rows of tables"));
}

proptest! {
    #[test]
    fn readers_of_csv_get_every_text_back(
        rows in prop::collection::vec(prop::collection::vec(any::<String>(), 3), 1..20),
        guard: bool,
    ) {
        let without_nul = |text: &String| text.replace('\0', "");
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(without_nul).collect()).collect();
        let json: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|text| lakeport_plugin::serde_json::to_string(text).unwrap()).collect())
            .collect();
        let values: Vec<Vec<Option<&str>>> =
            json.iter().map(|row| row.iter().map(|text| Some(text.as_str())).collect()).collect();
        let values: Vec<&[Option<&str>]> = values.iter().map(Vec::as_slice).collect();
        let config = Config { formula_guard: guard, ..Config::default() };
        let mut format = open(config, &[("a", "string"), ("b", "string"), ("c", "string")]);
        let segment = format.encode(&batch(&values, "update")).unwrap();
        prop_assert_eq!(segment.rows as usize, rows.len());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(segment.bytes.as_slice());
        for (record, row) in reader.records().zip(&rows) {
            let record = record.unwrap();
            prop_assert_eq!(record.len(), 8);
            for (found, text) in record.iter().skip(3).zip(row) {
                let disarmed = guard && crate::dialect::is_formula(text.as_bytes());
                let found = if disarmed { found.strip_prefix('\'').unwrap() } else { found };
                prop_assert_eq!(found, text);
            }
        }
    }

    #[test]
    fn whole_numbers_are_written_as_rust_writes_them(number: i64) {
        let mut out = Vec::new();
        crate::dialect::put_integer(number, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}
