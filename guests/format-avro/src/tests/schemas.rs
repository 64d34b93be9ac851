//! Record kind `schema`: what fits which type, and why something does not.

use super::*;

/// Settings for records of the one field `x`.
fn x(schema: serde_json::Value) -> serde_json::Value {
    json!({"record": "schema", "schema": {"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]}})
}

/// The field `x` of each body; bodies are given without braces.
fn fitted(schema: serde_json::Value, values: &[&str]) -> Vec<Value> {
    let all: Vec<String> = values.iter().map(|value| format!("{{\"x\":{value}}}")).collect();
    read(&written(&x(schema), &[bodies(&all)])).iter().map(|record| field(record, "x").clone()).collect()
}

fn unfit(schema: serde_json::Value, values: &[&str]) -> Vec<String> {
    let all: Vec<String> = values.iter().map(|value| format!("{{\"x\":{value}}}")).collect();
    reasons(x(schema), &all)
}

/// Which branch of a union each value takes.
fn branches(union: serde_json::Value, values: &[&str]) -> Vec<u32> {
    let branch = |value: Value| match value {
        Value::Union(branch, _) => branch,
        other => panic!("{other:?}"),
    };
    fitted(union, values).into_iter().map(branch).collect()
}

fn logical(logical: &str, base: &str) -> serde_json::Value {
    json!({"type": base, "logicalType": logical})
}

#[test]
fn integers_are_checked_against_the_range_of_their_type() {
    assert_eq!(fitted(json!("int"), &["-2147483648", "2147483647"]), [Value::Int(i32::MIN), Value::Int(i32::MAX)]);
    let longs = fitted(json!("long"), &["-9223372036854775808", "9223372036854775807", "5.0", "1e3"]);
    assert_eq!(longs, [Value::Long(i64::MIN), Value::Long(i64::MAX), Value::Long(5), Value::Long(1000)]);
    assert_eq!(
        unfit(json!("int"), &["2147483648", "1.5", "\"1\"", "null"]),
        ["2147483648", "1.5", "\"1\"", "null"].map(|value| format!("`/x` is `{value}`, expected int"))
    );
    assert_eq!(
        unfit(json!("long"), &["9223372036854775808", "1e400", "true"]),
        ["9223372036854775808", "1e400", "true"].map(|value| format!("`/x` is `{value}`, expected long"))
    );
}

#[test]
fn numbers_are_the_nearest_double_or_float() {
    assert_eq!(
        fitted(json!("double"), &["0.1", "9007199254740993"]),
        [Value::Double(0.1), Value::Double(9007199254740992.0)]
    );
    assert_eq!(fitted(json!("float"), &["0.1"]), [Value::Float(0.1)]);
    assert_eq!(unfit(json!("double"), &["1e400", "\"wet\""])[1], "`/x` is `\"wet\"`, expected double");
    // Halfway between two floats but for a digit that no double has: rounding twice would take the even one.
    assert_eq!(fitted(json!("float"), &["1.00000005960464477539062500000001"]), [Value::Float(1.0000001)]);
    assert_eq!(unfit(json!("float"), &["1e39"]), ["`/x` is `1e39`, expected float"]);
}

#[test]
fn a_union_takes_the_first_branch_that_holds_the_value_exactly() {
    assert_eq!(
        branches(json!(["null", "int", "double", "string"]), &["null", "5", "1.5", "3000000000", "\"5\""]),
        [0, 1, 2, 2, 3]
    );
    assert_eq!(branches(json!(["double", "long"]), &["5", "9007199254740993"]), [0, 1]);
    assert_eq!(branches(json!(["float", "double"]), &["0.5", "0.1"]), [0, 1]);
    assert_eq!(branches(json!(["int", "long", "float", "double"]), &["-0.0", "-0e5", "0.0", "-1"]), [2, 2, 0, 0]);
    assert_eq!(branches(json!(["int", "string"]), &["-0.0"]), [0], "no branch has a zero with a sign");
    assert_eq!(branches(json!(["string", "bytes"]), &["\"a\""]), [0]);
    let instant = logical("timestamp-millis", "long");
    assert_eq!(
        branches(
            json!([instant, "string"]),
            &["\"2018-06-11T00:00:08.225Z\"", "\"2018-06-11T00:00:08.2251Z\"", "\"a\""]
        ),
        [0, 1, 1]
    );
}

#[test]
fn where_no_branch_holds_a_value_exactly_the_first_that_holds_it_is_taken() {
    assert_eq!(branches(json!(["float", "null"]), &["0.1"]), [0]);
    assert_eq!(branches(json!(["int", "double"]), &["9007199254740993"]), [1]);
    let color = json!({"type": "enum", "name": "Color", "symbols": ["RED", "OTHER"], "default": "OTHER"});
    let shape = json!({"type": "enum", "name": "Shape", "symbols": ["ROUND"]});
    assert_eq!(branches(json!([color, shape]), &["\"RED\"", "\"ROUND\"", "\"x\""]), [0, 1, 0]);
}

#[test]
fn a_record_of_a_union_is_told_by_its_members() {
    let record =
        |name: &str, field: &str| json!({"type": "record", "name": name, "fields": [{"name": field, "type": "int"}]});
    let union = json!([record("A", "a"), record("B", "b"), {"type": "map", "values": "int"}]);
    assert_eq!(branches(union.clone(), &[r#"{"b":1}"#, r#"{"a":1}"#, r#"{"a":1,"b":2}"#, "{}"]), [1, 0, 2, 2]);
    let reason = &unfit(union, &[r#"{"c":"x"}"#])[0];
    assert_eq!(
        reason,
        "`/x` is `{\"c\":\"x\"}`, expected one of: record A (an object), record B (an object), map (an object)"
    );
}

#[test]
fn trying_branches_does_not_go_on_for_ever() {
    let link = |name: &str| {
        json!({"name": name, "type": "record", "fields": [
            {"name": "next", "type": ["null", "A", "B"]}, {"name": "end", "type": ["null", "int"]}]})
    };
    let schema = json!({"type": "record", "name": "R", "fields": [{"name": "x", "type": [
        {"type": "record", "name": "A", "fields": [
            {"name": "next", "type": ["null", "A", link("B")]}, {"name": "end", "type": ["null", "int"]}]}, "B"]}]});
    let body = format!("{{\"x\":{}\"no\"{}}}", "{\"next\":".repeat(100), "}".repeat(100));
    let reason = &reasons(json!({"record": "schema", "schema": schema}), &[body])[0];
    assert!(
        reason.ends_with("expected a value that needs fewer attempts to find the branches of its unions"),
        "{reason}"
    );
}

#[test]
fn the_reason_names_the_path_into_arrays_maps_and_records() {
    let schema = json!({"type": "array", "items": {"type": "map", "values": ["null",
        {"type": "record", "name": "P", "fields": [{"name": "v", "type": "double"}]}]}});
    assert_eq!(
        unfit(schema, &[r#"[{},{"a/b":{"v":"wet"}}]"#, r#"[{"k":{}}]"#, "{}", "[5]", r#"[{"k":5}]"#]),
        [
            "`/x/1/a~1b/v` is `\"wet\"`, expected double",
            "`/x/0/k/v` is missing, expected double",
            "`/x` is `{}`, expected array",
            "`/x/0` is `5`, expected map (an object)",
            "`/x/0/k` is `5`, expected one of: null, record P (an object)",
        ]
    );
    assert_eq!(reasons(x(json!("int")), &["[1]"]), ["the body is `[1]`, expected record R (an object)"]);
}

#[test]
fn what_is_missing_is_the_default_or_else_null() {
    let schema = json!({"type": "record", "name": "R", "fields": [
        {"name": "a", "type": "long", "default": 7},
        {"name": "b", "type": ["null", "string"]},
        {"name": "c", "type": ["string", "null"], "default": "c"},
        {"name": "d", "type": {"type": "record", "name": "D", "fields": [{"name": "e", "type": "int", "default": 1}]}, "default": {}},
        {"name": "f", "type": "bytes", "default": "\u{00ff}"},
        {"name": "i", "default": "\u{0004}\u{00d2}",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
        {"name": "g", "type": "null"},
        {"name": "h", "type": {"type": "array", "items": "int"}, "default": []}]});
    let records = read(&written(&json!({"record": "schema", "schema": schema}), &[bodies(&[r#"{"extra":[{}]}"#])]));
    let record = &records[0];
    assert_eq!(field(record, "a"), &Value::Long(7));
    assert_eq!(field(record, "b"), &Value::Union(0, Box::new(Value::Null)));
    assert_eq!(field(record, "c"), &Value::Union(0, Box::new(Value::String("c".into()))));
    assert_eq!(field(field(record, "d"), "e"), &Value::Int(1));
    assert_eq!(field(record, "f"), &Value::Bytes(vec![0xff]));
    assert_eq!(field(record, "i"), &Value::Decimal(vec![0x04, 0xd2].into()));
    assert_eq!(field(record, "g"), &Value::Null);
    assert_eq!(field(record, "h"), &Value::Array(vec![]));
    assert_eq!(reasons(x(json!("string")), &["{}"]), ["`/x` is missing, expected string"]);
}

#[test]
fn of_members_of_one_name_the_last_counts() {
    let records = read(&written(&x(json!("int")), &[bodies(&[r#"{"x":"no","x":1,"\u0078":2}"#])]));
    assert_eq!(field(&records[0], "x"), &Value::Int(2));
    assert_eq!(
        fitted(json!({"type": "map", "values": "int"}), &[r#"{"a":"no","a":3}"#]),
        [Value::Map([("a".to_owned(), Value::Int(3))].into())]
    );
}

#[test]
fn text_fills_bytes_fixed_and_enums() {
    assert_eq!(fitted(json!("bytes"), &["\"é\""]), [Value::Bytes("é".into())]);
    let fixed = json!({"type": "fixed", "name": "F", "size": 3});
    assert_eq!(fitted(fixed.clone(), &["\"aé\""]), [Value::Fixed(3, "aé".into())]);
    assert_eq!(unfit(fixed, &["\"ab\"", "7"])[0], "`/x` is `\"ab\"`, expected fixed (text of 3 bytes)");
    let symbols = json!({"type": "enum", "name": "E", "symbols": ["A", "B"]});
    assert_eq!(fitted(symbols.clone(), &["\"B\""]), [Value::Enum(1, "B".into())]);
    assert_eq!(unfit(symbols, &["\"C\""]), ["`/x` is `\"C\"`, expected a symbol of enum E"]);
    let with_default = json!({"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"});
    assert_eq!(fitted(with_default, &["\"C\""]), [Value::Enum(0, "A".into())]);
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    let half = r#""a\ud800""#;
    let symbols = json!({"type": "enum", "name": "E", "symbols": ["A"], "default": "A"});
    for (schema, expected) in
        [(json!("string"), "string"), (json!("bytes"), "bytes (text)"), (symbols, "a symbol of enum E")]
    {
        assert_eq!(unfit(schema, &[half]), [format!("`/x` is `{half}`, expected {expected}")]);
    }
    let map = json!({"type": "map", "values": "int"});
    let expected = r#"`/x/\udfff` is `"\udfff"`, expected a name that is Unicode text"#;
    assert_eq!(unfit(map, &[r#"{"a":1,"\udfff":2,"b":3}"#]), [expected]);
    let record = json!({"type": "record", "name": "S", "fields": [{"name": "b", "type": "int"}]});
    assert_eq!(field(&fitted(record, &[r#"{"\udfff":2,"b":3}"#])[0], "b"), &Value::Int(3), "it is no field");
}

#[test]
fn times_are_text_or_numbers() {
    let millis = fitted(logical("timestamp-millis", "long"), &["\"1969-12-31T23:59:59.9999Z\"", "-5"]);
    assert_eq!(millis, [Value::TimestampMillis(-1), Value::TimestampMillis(-5)]);
    let micros = fitted(logical("timestamp-micros", "long"), &["\"1970-01-01T01:00:00.000001+01:00\""]);
    assert_eq!(micros, [Value::TimestampMicros(1)]);
    let nanos = fitted(logical("timestamp-nanos", "long"), &["\"1970-01-01T00:00:00.000000001Z\""]);
    assert_eq!(nanos, [Value::TimestampNanos(1)]);
    let local = fitted(logical("local-timestamp-millis", "long"), &["\"1970-01-01T01:00:00\"", "7"]);
    assert_eq!(local, [Value::LocalTimestampMillis(3_600_000), Value::LocalTimestampMillis(7)]);
    assert_eq!(fitted(logical("date", "int"), &["\"1969-12-31\"", "3"]), [Value::Date(-1), Value::Date(3)]);
    let times = fitted(logical("time-millis", "int"), &["\"00:00:01.5\"", "86399999"]);
    assert_eq!(times, [Value::TimeMillis(1_500), Value::TimeMillis(86_399_999)]);
    assert_eq!(fitted(logical("time-micros", "long"), &["\"00:00:01.5\""]), [Value::TimeMicros(1_500_000)]);
}

#[test]
fn what_is_no_time_is_rejected() {
    assert_eq!(
        unfit(logical("timestamp-millis", "long"), &["\"2018-06-11\"", "1.5"])[0],
        "`/x` is `\"2018-06-11\"`, expected timestamp-millis (RFC 3339 or millis since 1970)"
    );
    assert_eq!(
        unfit(logical("date", "int"), &["\"2018-02-30\"", "3000000000"])[1],
        "`/x` is `3000000000`, expected date (`YYYY-MM-DD` or days since 1970)"
    );
    assert_eq!(
        unfit(logical("time-millis", "int"), &["86400000", "-1"])[0],
        "`/x` is `86400000`, expected time-millis (`HH:MM:SS` or millis since midnight)"
    );
}

#[test]
fn decimals_are_exact_or_rejected() {
    let bytes = json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2});
    let decimal = |unscaled: i16| Value::Decimal(unscaled.to_be_bytes().to_vec().into());
    let written = fitted(bytes.clone(), &["12.5", "\"-12.50\"", "99.99", "1e1"]);
    assert_eq!(written, [1250, -1250, 9999, 1000].map(decimal));
    assert_eq!(fitted(bytes.clone(), &["0"]), [Value::Decimal(vec![0].into())]);
    let expected = "decimal (a number of at most 4 digits, 2 behind the point)";
    assert_eq!(
        unfit(bytes, &["0.001", "100", "\"a\"", "true"]),
        ["0.001", "100", "\"a\"", "true"].map(|value| format!("`/x` is `{value}`, expected {expected}"))
    );
}

#[test]
fn a_big_decimal_keeps_its_scale() {
    let read = fitted(logical("big-decimal", "bytes"), &["-12.50", "\"1e3\""]);
    let text: Vec<String> = read.iter().map(|value| format!("{value:?}")).collect();
    assert!(text[0].contains("Minus, scale=1, digits=[125]"), "{text:?}");
    assert!(text[1].contains("Plus, scale=-3, digits=[1]"), "{text:?}");
    let long = format!("1{}1", "0".repeat(1_000));
    assert!(
        unfit(logical("big-decimal", "bytes"), &[&long])[0]
            .contains("expected big-decimal (a number of at most 1000 digits")
    );
    let (near, far) = ("1e-2147483647", ["1e-3000000000", "1e2147483649", "\"-1e-99999999999999999999\""]);
    assert!(format!("{:?}", fitted(logical("big-decimal", "bytes"), &[near])[0]).contains("scale=2147483647"));
    let expected = "big-decimal (a number of at most 1000 digits, with a scale of 32 bits)";
    let reasons = far.map(|number| format!("`/x` is `{number}`, expected {expected}"));
    assert_eq!(unfit(logical("big-decimal", "bytes"), &far), reasons);
}

#[test]
fn a_fixed_decimal_is_filled_with_its_sign() {
    let fixed = |size: u32| json!({"type": "fixed", "name": "F", "size": size, "logicalType": "decimal", "precision": 6, "scale": 1});
    let [minus, plus] = &fitted(fixed(4), &["-1.5", "25.6"])[..] else { panic!() };
    assert_eq!(minus, &Value::Decimal(vec![0xff, 0xff, 0xff, 0xf1].into()));
    assert_eq!(plus, &Value::Decimal(vec![0, 0, 1, 0].into()));
    assert_eq!(
        unfit(fixed(1), &["25.6"]),
        ["`/x` is `25.6`, expected decimal (a number of at most 6 digits, 1 behind the point, in 1 bytes)"]
    );
}

#[test]
fn uuids_are_text_or_sixteen_bytes() {
    let text = "\"2383d8ba-c98c-403a-b4d5-8963859643bb\"";
    let uuid = &fitted(logical("uuid", "string"), &[text])[0];
    let fixed = json!({"type": {"type": "fixed", "name": "F", "size": 16}, "logicalType": "uuid"});
    let inline = json!({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"});
    assert_eq!(&fitted(inline, &[text])[0], uuid);
    assert_eq!(&fitted(fixed, &[text])[0], uuid);
    let wrong = ["\"2383d8bac98c403ab4d58963859643bb\"", "\"2383d8ba-c98c-403a-b4d5-8963859643bg\"", "\"\"", "5"];
    let expected = wrong.map(|value| format!("`/x` is `{value}`, expected uuid"));
    assert_eq!(unfit(logical("uuid", "string"), &wrong), expected);
}

#[test]
fn a_recursive_schema_is_filled_as_deep_as_the_body_goes() {
    let schema = json!({"type": "record", "name": "R", "namespace": "n", "fields": [
        {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "R"]}]});
    let settings = json!({"record": "schema", "schema": schema});
    let body = |depth: usize| format!("{}{{\"v\":1}}{}", "{\"v\":1,\"next\":".repeat(depth - 1), "}".repeat(depth - 1));
    assert_eq!(read(&written(&settings, &[bodies(&[body(1), body(100), body(128)])])).len(), 3);
    let reason = &reasons(settings, &[body(129)])[0];
    assert!(reason.ends_with("expected at most 128 values in each other"), "{reason}");
}

#[test]
fn types_are_found_by_their_names() {
    let schema = json!({"type": "record", "name": "a.R", "fields": [
        {"name": "p", "type": {"type": "fixed", "name": "F", "size": 1}},
        {"name": "q", "type": "F"},
        {"name": "r", "type": {"type": "record", "name": "b.S", "fields": [{"name": "s", "type": "a.F"}]}}]});
    let body = r#"{"r":{"s":"3"},"q":"2","p":"1"}"#;
    let records = read(&written(&json!({"record": "schema", "schema": schema}), &[bodies(&[body])]));
    assert_eq!(field(&records[0], "q"), &Value::Fixed(1, b"2".to_vec()));
    assert_eq!(field(field(&records[0], "r"), "s"), &Value::Fixed(1, b"3".to_vec()));
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let schema = |schema: serde_json::Value| refused(json!({"record": "schema", "schema": schema}));
    assert!(schema(json!("{")).starts_with("`schema` is no Avro schema: "));
    assert!(
        schema(json!({"type": "record", "name": "R", "fields": [{"name": "x", "type": "Unknown"}]}))
            .starts_with("`schema` is no Avro schema: ")
    );
    assert_eq!(schema(json!("\"int\"")), "`schema` is int, expected a record: files are made of records");
    assert_eq!(
        schema(json!(["null", "int"])),
        "`schema` is one of: null, int, expected a record: files are made of records"
    );
    let long_default = json!({"type": "record", "name": "R", "fields": [{"name": "x", "type": "int", "default": "a"}]});
    assert!(schema(long_default).starts_with("`schema` "));
}
