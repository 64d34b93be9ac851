use super::*;
use crate::decode::time::parse_rfc3339;
use crate::record::Attribute;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{BinaryViewArray, MapArray, UInt32Array};

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

#[test]
fn text_is_unescaped_strings_and_the_json_of_numbers_and_booleans() {
    let column = column(
        "/x",
        ColumnType::Text,
        &[
            r#"{"name":"a","x":"plain"}"#,
            r#"{"name":"a","x":"a string that is longer than a view holds inline"}"#,
            r#"{"name":"a","x":"tab\t\"quoted\" \\ \/ \u00e9 \ud83d\ude00 and more"}"#,
            r#"{"name":"a","x":-1.50e3}"#,
            r#"{"name":"a","x":true}"#,
            r#"{"name":"a","x":null}"#,
            r#"{"name":"a","x":[1]}"#,
            r#"{"name":"a","x":{}}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","x":"\ud800"}"#,
            r#"{"name":"a","x":""}"#,
        ],
    );
    let expected = [
        some("plain"),
        some("a string that is longer than a view holds inline"),
        some("tab\t\"quoted\" \\ / é 😀 and more"),
        some("-1.50e3"),
        some("true"),
        None,
        None,
        None,
        None,
        None,
        some(""),
    ];
    assert_eq!(texts(&column), expected);
}

#[test]
fn int64_is_exact_integers_only() {
    let records: Vec<_> = [
        "7",
        "-7",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "1e3",
        "1.0",
        "2.50E1",
        "9223372036854775808",
        "1.5",
        "1e300",
        "9007199254740993.0",
        "\"7\"",
        "true",
        "null",
    ]
    .iter()
    .map(|x| format!(r#"{{"name":"a","x":{x}}}"#))
    .collect();
    let column = column("/x", ColumnType::Int64, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let values: Vec<_> = column.as_primitive::<Int64Type>().iter().collect();
    let mut expected: Vec<_> = [7, -7, 0, i64::MAX, i64::MIN, 1000, 1, 25].map(Some).to_vec();
    expected.resize(15, None);
    assert_eq!(values, expected);
}

#[test]
fn float64_and_boolean_convert_only_their_own() {
    let records = [
        r#"{"name":"a","x":1}"#,
        r#"{"name":"a","x":-2.5e-3}"#,
        r#"{"name":"a","x":1e999}"#,
        r#"{"name":"a","x":"1"}"#,
        r#"{"name":"a","x":true}"#,
        r#"{"name":"a","x":false}"#,
    ];
    let floats = column("/x", ColumnType::Float64, &records);
    let floats: Vec<_> = floats.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(floats, [Some(1.0), Some(-0.0025), None, None, None, None]);
    let booleans = column("/x", ColumnType::Boolean, &records);
    let booleans: Vec<_> = booleans.as_boolean().iter().collect();
    assert_eq!(booleans, [None, None, None, None, Some(true), Some(false)]);
}

#[test]
fn json_is_the_value_as_it_was_received() {
    let records = [
        r#"{"name":"a","x": [1, {"y" : "\u00e9"}] }"#,
        r#"{"name":"a","x":"s"}"#,
        r#"{"name":"a","x":null}"#,
        r#"{"name":"a"}"#,
        r#"{"name":"a","x":1e999}"#,
    ];
    let column = column("/x", ColumnType::Json, &records);
    let values: Vec<_> = column.as_binary_view().iter().map(|v| v.map(|v| std::str::from_utf8(v).unwrap())).collect();
    let expected = [Some(r#"[1, {"y" : "\u00e9"}]"#), Some("\"s\""), Some("null"), None, Some("1e999")];
    assert_eq!(values, expected);
}

#[test]
fn bytes_are_text_without_quotes_and_json_of_containers() {
    let records = [
        r#"{"name":"a","x":"h\u00e9"}"#,
        r#"{"name":"a","x":12}"#,
        r#"{"name":"a","x":[1, 2]}"#,
        r#"{"name":"a","x":null}"#,
    ];
    let column = column("/x", ColumnType::Bytes, &records);
    let values: Vec<_> = column.as_binary_view().iter().map(|v| v.map(|v| std::str::from_utf8(v).unwrap())).collect();
    assert_eq!(values, [Some("hé"), Some("12"), Some("[1, 2]"), None]);
}

#[test]
fn a_text_map_is_an_object_of_scalars() {
    let records = [
        r#"{"name":"a","x":{"k":"v","n":1.0,"t":true,"gone":null,"e\t":"\n","k":"last"}}"#,
        r#"{"name":"a","x":{}}"#,
        r#"{"name":"a","x":{"k":[]}}"#,
        r#"{"name":"a","x":"no"}"#,
    ];
    let column = column("/x", ColumnType::TextMap, &records);
    let map: &MapArray = column.as_map();
    let entries = map.value(0);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let pairs: Vec<_> = keys.iter().flatten().zip(values.iter().flatten()).collect();
    assert_eq!(pairs, [("k", "last"), ("n", "1.0"), ("t", "true"), ("e\t", "\n")]);
    assert!(map.is_valid(1) && map.value(1).is_empty());
    assert!(map.is_null(2) && map.is_null(3));
    assert_eq!(column.data_type(), &crate::decode::columns::data_type(ColumnType::TextMap));
}

#[test]
fn pointers_follow_rfc_6901() {
    let record = r#"{"name":"n","a":{"b":[10,{"c":"deep"}],"0":"zero"},"":"empty key","x/y":"slash","m~n":"tilde","~1":"t1","k\u0065y":"escaped key"}"#;
    for (pointer, expected) in [
        ("/a/b/0", Some("10")),
        ("/a/b/1/c", Some("deep")),
        ("/a/0", Some("zero")),
        ("/", Some("empty key")),
        ("/x~1y", Some("slash")),
        ("/m~0n", Some("tilde")),
        ("/~01", Some("t1")),
        ("/key", Some("escaped key")),
        ("/a/b/2", None),
        ("/a/b/01", None),
        ("/a/b/+1", None),
        ("/a/b/-", None),
        ("/a/b/c", None),
        ("/name/x", None),
        ("/missing/x", None),
    ] {
        assert_eq!(texts(&column(pointer, ColumnType::Text, &[record])), [expected.map(str::to_string)], "{pointer}");
    }
}

#[test]
fn the_last_of_duplicate_keys_counts_at_every_level() {
    let record = r#"{"name":"first","x":{"y":1},"x":{"y":2,"y":3,"\u0079":4},"name":"last"}"#;
    assert_eq!(texts(&column("/x/y", ColumnType::Text, &[record])), [some("4")]);
    assert_eq!(texts(&column("/name", ColumnType::Text, &[record])), [some("last")]);
    // The last one also counts where it has less.
    assert_eq!(texts(&column("/x/y", ColumnType::Text, &[r#"{"name":"a","x":{"y":1},"x":{}}"#])), [None]);
}

#[test]
fn a_wrong_pointer_is_refused_with_what_to_write() {
    for pointer in ["name", "/a~2", "/a~"] {
        let error = Decoder::new(&mapping(), "s", vec![ColumnRequest::pointer(pointer, ColumnType::Text)], LIMIT).err();
        assert!(error.unwrap().message.starts_with(&format!("`{pointer}` is no JSON pointer")));
    }
}

#[test]
fn long_pointers_and_too_many_of_them_are_refused() {
    let open = |pointers: Vec<String>| {
        let columns = pointers.into_iter().map(|pointer| ColumnRequest::pointer(pointer, ColumnType::Text)).collect();
        Decoder::new(&mapping(), "s", columns, LIMIT).map(drop)
    };
    let error = open(vec!["/a".repeat(100_000)]).unwrap_err();
    assert_eq!(error.message, format!("the pointer `{}…` has 100000 segments, expected at most 64", "/a".repeat(30)));

    let deep = |count: usize, depth: usize| (0..count).map(|n| format!("/{n}{}", "/x".repeat(depth - 1))).collect();
    open(deep(2_048, 1)).unwrap();
    open(deep(63, 64)).unwrap();
    let error = open(deep(2_048, 64)).unwrap_err();
    assert!(error.message.starts_with("`/64/x/x") && error.message.contains("4096 values together"), "{error}");
    // What leads to a value counts once, however many go through it.
    open((0..4_000).map(|n| format!("/a/b/c/d/{n}")).collect()).unwrap();
}

#[test]
fn attributes_come_from_where_the_mapping_says() {
    let mapping = Mapping { id: Place::Body("/id".into()), enqueued_time: Place::Body("/q".into()), ..mapping() };
    let attribute = ColumnRequest::attribute;
    let columns = vec![
        attribute(Attribute::Kind, ColumnType::Text),
        attribute(Attribute::Time, ColumnType::Timestamp),
        attribute(Attribute::Subject, ColumnType::Text),
        attribute(Attribute::Id, ColumnType::Text),
        attribute(Attribute::Source, ColumnType::Text),
        attribute(Attribute::WriteTime, ColumnType::Timestamp),
        attribute(Attribute::EnqueuedTime, ColumnType::Timestamp),
        attribute(Attribute::Body, ColumnType::Json),
        attribute(Attribute::Operation, ColumnType::Text),
        attribute(Attribute::Version, ColumnType::Int64),
        attribute(Attribute::Properties, ColumnType::TextMap),
        attribute(Attribute::SystemProperties, ColumnType::TextMap),
        attribute(Attribute::Body, ColumnType::Text),
        attribute(Attribute::Source, ColumnType::Json),
        attribute(Attribute::Time, ColumnType::Text),
    ];
    let mut decoder = Decoder::new(&mapping, "coffee \"makers\" in the cloud", columns, LIMIT).unwrap();
    let line =
        r#"{"name":"Brew","signalTime":"2026-03-01T12:00:00+02:00","deviceId":"d1","id":7,"q":"2026-03-01t10:00:01z"}"#;
    let other = r#"{"name":"Brew","signalTime":"soon"}"#;
    let decoded = decoder.decode(&chunk(0, format!("{line}\n{other}\n")), 99);
    assert_rows_align(&decoded);
    let columns = &decoded.batches[0].columns;
    let instants = |i: usize| columns[i].as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>();
    assert_eq!(texts(&columns[0]), [some("Brew"), some("Brew")]);
    assert_eq!(instants(1), [parse_rfc3339("2026-03-01T10:00:00Z"), None], "no usable time is null, not a dead letter");
    assert_eq!(texts(&columns[2]), [some("d1"), None]);
    assert_eq!(texts(&columns[3]), [some("7"), None]);
    assert_eq!(texts(&columns[4]), vec![some("coffee \"makers\" in the cloud"); 2]);
    assert_eq!(instants(5), [Some(99), Some(99)]);
    assert_eq!(instants(6), [parse_rfc3339("2026-03-01T10:00:01Z"), None]);
    assert_eq!(columns[7].as_binary_view().value(1), other.as_bytes());
    assert!(columns[8..12].iter().all(|nothing| nothing.null_count() == 2));
    assert_eq!(texts(&columns[12])[1], some(other));
    assert_eq!(columns[13].as_binary_view().value(1), br#""coffee \"makers\" in the cloud""#);
    assert_eq!(texts(&columns[14]), [some("2026-03-01T12:00:00+02:00"), some("soon")]);
}

#[test]
fn epoch_times_may_be_numbers_or_text() {
    let mapping = Mapping { time_unit: TimeUnit::EpochMilliseconds, ..mapping() };
    let request = ColumnRequest::attribute(Attribute::Time, ColumnType::Timestamp);
    let mut decoder = Decoder::new(&mapping, "s", vec![request], LIMIT).unwrap();
    let lines = ["1767225600123", "\"1767225600123\"", "\"\\u0031\"", "1.5e3", "true", "\"2026-03-01T10:00:00Z\""];
    let lines = lines.map(|time| format!("{{\"name\":\"a\",\"signalTime\":{time}}}\n")).concat();
    let decoded = decoder.decode(&chunk(0, lines), 0);
    let times: Vec<_> = decoded.batches[0].columns[0].as_primitive::<TimestampMicrosecondType>().iter().collect();
    let instant = Some(1_767_225_600_123_000);
    assert_eq!(times, [instant, instant, Some(1000), Some(1_500_000), None, None]);
}

#[test]
fn bodies_are_views_into_the_chunk() {
    let chunk = chunk(0, format!("{{\"name\":\"a\",\"x\":\"{}\"}}\n", "y".repeat(100)));
    let decoded = decoder(vec![ColumnRequest::pointer("/x", ColumnType::Text)]).decode(&chunk, 0);
    let inside = |bytes: &[u8]| chunk.data.as_ptr_range().contains(&bytes.as_ptr());
    assert!(inside(decoded.batches[0].bodies.value(0)));
    assert!(inside(decoded.batches[0].columns[0].as_string_view().value(0).as_bytes()));
}

#[test]
fn new_bodies_give_new_pointers_and_keep_inherited_attributes() {
    let requests = vec![
        ColumnRequest::attribute(Attribute::Kind, ColumnType::Text),
        ColumnRequest::pointer("/x", ColumnType::Int64),
        ColumnRequest::attribute(Attribute::Body, ColumnType::Json),
        ColumnRequest::pointer("/0/x", ColumnType::Int64),
    ];
    let mut decoder = decoder(requests);
    let decoded = decoder.decode(&chunk(0, "{\"name\":\"a\",\"x\":1}\n{\"name\":\"b\",\"x\":2}\n"), 0);
    let origins = UInt32Array::from(vec![0, 0, 1, 1, 1]);
    let inherited = decoded.batches[0].take(&origins).columns;
    let new: Vec<Option<&[u8]>> =
        vec![Some(b"{\"x\":10}"), Some(b"{\"x\":"), Some(b"[{\"x\":5}]"), Some(b"\"\xff\""), Some(b"7")];
    let extracted = decoder.extract(&BinaryViewArray::from(new), &inherited);
    assert_eq!(texts(&extracted.columns[0]), ["a", "a", "b", "b", "b"].map(some));
    let ints = |i: usize| extracted.columns[i].as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!(ints(1), [Some(10), None, None, None, None]);
    assert_eq!(ints(3), [None, None, Some(5), None, None]);
    assert_eq!(extracted.columns[2].as_binary_view().value(0), b"{\"x\":10}");
    let rejected: Vec<_> = extracted.rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (1, "the new body is not valid JSON at byte 6: expected a value, found the end of the record"),
            (3, "the new body is not UTF-8 at byte 2: `0xff` starts no character there"),
        ]
    );
}
