//! Record kinds `device` and `device-template`: the documents of IoT Central, and others.

use std::collections::HashMap;

use super::*;

fn map(value: &Value) -> &HashMap<String, Value> {
    let Value::Map(map) = value else { panic!("{value:?}") };
    map
}

/// A value without its union.
fn plain(value: &Value) -> Value {
    match value {
        Value::Union(_, value) => (**value).clone(),
        value => value.clone(),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn only(record: &str, body: &str) -> Value {
    let mut records = read(&written(&json!({"record": record}), &[bodies(&[body])]));
    assert_eq!(records.len(), 1);
    records.remove(0)
}

const DEVICE: &str = r#"{
    "id": "2383d8ba-c98c-403a-b4d5-8963859643bb",
    "name": "Refrigerator 2",
    "simulated": true,
    "deviceTemplate": {"id": "c318d580-39fc-4aca-b995-843719821049", "version": "1.0.0"},
    "properties": {
        "cloud": {"location": "New York", "maintCon": true, "tempThresh": 20},
        "device": {"lastReboot": "2018-02-09T22:22:47.156Z"}
    },
    "settings": {"device": {"fanSpeed": 0}}
}"#;

#[test]
fn a_device_of_the_service_is_written_whole() {
    let device = only("device", DEVICE);
    assert_eq!(field(&device, "id"), &text("2383d8ba-c98c-403a-b4d5-8963859643bb"));
    assert_eq!(field(&device, "name"), &text("Refrigerator 2"));
    assert_eq!(field(&device, "simulated"), &Value::Boolean(true));
    assert_eq!(field(field(&device, "deviceTemplate"), "version"), &text("1.0.0"));
    let cloud = map(field(field(&device, "properties"), "cloud"));
    assert_eq!(plain(&cloud["location"]), text("New York"));
    assert_eq!(plain(&cloud["maintCon"]), Value::Boolean(true));
    assert_eq!(plain(&cloud["tempThresh"]), Value::Double(20.0));
    assert_eq!(plain(&map(field(field(&device, "settings"), "device"))["fanSpeed"]), Value::Double(0.0));
    assert_eq!(field(&device, "deleted"), &Value::Boolean(false));
    assert_eq!(map(field(&device, "other")).len(), 0);
}

#[test]
fn nothing_of_a_device_is_lost() {
    let device = only(
        "device",
        r#"{"id":"d1","etag":"7","a/b":[1, 2],"deviceTemplate":{"id":"t","kind":null},
           "properties":{"cloud":{"where":{"lat": 1.50},"big":9007199254740993,"none":null,"huge":1e400},"reported":{"x":1}},
           "deleted":true,"name":"first","name":"last"}"#,
    );
    let cloud = map(field(field(&device, "properties"), "cloud"));
    assert_eq!(plain(&cloud["where"]), text(r#"{"lat": 1.50}"#));
    assert_eq!(plain(&cloud["big"]), text("9007199254740993"));
    assert_eq!(plain(&cloud["huge"]), text("1e400"));
    assert_eq!(plain(&cloud["none"]), Value::Null);
    let other: HashMap<String, Value> =
        map(field(&device, "other")).iter().map(|(pointer, value)| (pointer.clone(), plain(value))).collect();
    let expected = [
        ("/etag", text("7")),
        ("/a~1b", text("[1, 2]")),
        ("/deviceTemplate/kind", Value::Null),
        ("/properties/reported", text(r#"{"x":1}"#)),
    ];
    assert_eq!(other, HashMap::from(expected.map(|(pointer, value)| (pointer.to_owned(), value))));
    assert_eq!(field(&device, "deleted"), &Value::Boolean(true));
    assert_eq!(field(&device, "name"), &text("last"));
}

#[test]
fn half_a_surrogate_pair_is_no_text_but_a_value_as_it_was_written() {
    let device = only("device", r#"{"id":"d","etag":"\ud800","properties":{"cloud":{"where":"x\udfff"}}}"#);
    assert_eq!(plain(&map(field(&device, "other"))["/etag"]), text(r#""\ud800""#));
    assert_eq!(plain(&map(field(field(&device, "properties"), "cloud"))["where"]), text(r#""x\udfff""#));
    let bodies = [
        r#"{"id":"d","name":"\ud800"}"#,
        r#"{"id":"d","\ud800":1}"#,
        r#"{"id":"d","settings":{"device":{"\ud800":1}}}"#,
    ];
    let expected = [
        r#"`/name` is `"\ud800"`, expected string"#,
        r#"`/\ud800` is `"\ud800"`, expected a name that is Unicode text"#,
        r#"`/settings/device/\ud800` is `"\ud800"`, expected a name that is Unicode text"#,
    ];
    assert_eq!(reasons(json!({"record": "device"}), &bodies), expected);
    let template = [r#"{"id":"t","settings":{"device":{"f":{"name":"\ud800"}}}}"#];
    let expected = [r#"`/settings/device/f/name` is `"\ud800"`, expected string"#];
    assert_eq!(reasons(json!({"record": "device-template"}), &template), expected);
}

#[test]
fn what_is_missing_or_null_is_empty() {
    let columns = vec![
        column(&[Some(b"{}"), Some(br#"{"id":null,"name":null,"settings":null,"deleted":null}"#)], ColumnValues::Json),
        column(&[Some(b"d1"), Some(b"d2")], ColumnValues::Text),
    ];
    let records = read(&written(&json!({"record": "device"}), &[Batch::new(2, columns)]));
    for (device, id) in records.iter().zip(["d1", "d2"]) {
        assert_eq!(field(device, "id"), &text(id));
        assert_eq!(field(device, "name"), &text(""));
        assert_eq!(field(device, "simulated"), &Value::Boolean(false));
        assert_eq!(field(field(device, "deviceTemplate"), "id"), &text(""));
        assert_eq!(map(field(field(device, "settings"), "device")).len(), 0);
    }
}

const TEMPLATE: &str = r#"{
    "id": "c318d580-39fc-4aca-b995-843719821049",
    "name": "Refrigerated Vending Machine",
    "version": "1.0.0",
    "measurements": {
        "telemetry": {
            "humidity": {"dataType": "double", "name": "Humidity", "unit": "%", "minValue": 0, "maxValue": 9223372036854775807},
            "magnetometerX": {"dataType": "double", "name": "Magnetometer X"}
        },
        "states": {"connectivity": {"dataType": "enum", "name": "Connectivity"}},
        "events": {"opened": {"name": "Door Opened", "category": "informational"}}
    },
    "settings": {"device": {"fanSpeed": {"dataType": "double", "name": "Fan Speed", "initialValue": 0}}},
    "properties": {
        "cloud": {"maintCon": {"dataType": "boolean", "name": "Maintenance Contract", "initialValue": true}},
        "device": {"lastReboot": {"dataType": "dateTime", "name": "Last Reboot"}}
    }
}"#;

#[test]
fn a_device_template_of_the_service_is_written_whole() {
    let template = only("device-template", TEMPLATE);
    assert_eq!(field(&template, "version"), &text("1.0.0"));
    let measurements = field(&template, "measurements");
    let humidity = &map(field(measurements, "telemetry"))["humidity"];
    let member = |name: &str| plain(field(humidity, name));
    assert_eq!((member("dataType"), member("name")), (text("double"), text("Humidity")));
    assert_eq!((member("category"), member("initialValue")), (Value::Null, Value::Null));
    assert_eq!((member("minValue"), member("maxValue")), (Value::Double(0.0), text("9223372036854775807")));
    assert_eq!(map(field(measurements, "telemetry")).len(), 2);
    let opened = &map(field(measurements, "events"))["opened"];
    assert_eq!(
        (plain(field(opened, "category")), plain(field(opened, "dataType"))),
        (text("informational"), Value::Null)
    );
    let speed = &map(field(field(&template, "settings"), "device"))["fanSpeed"];
    assert_eq!(plain(field(speed, "initialValue")), Value::Double(0.0));
    let contract = &map(field(field(&template, "properties"), "cloud"))["maintCon"];
    assert_eq!(plain(field(contract, "initialValue")), Value::Boolean(true));
    let other = map(field(&template, "other"));
    assert_eq!((other.len(), plain(&other["/measurements/telemetry/humidity/unit"])), (1, text("%")));
}

#[test]
fn a_member_of_another_type_is_rejected() {
    let device = reasons(
        json!({"record": "device"}),
        &[
            r#"{"id":7}"#,
            r#"{"id":"d","simulated":"yes"}"#,
            r#"{"id":"d","deviceTemplate":"t"}"#,
            r#"{"id":"d","properties":{"cloud":[1]}}"#,
            r#"{"id":"d","deleted":1}"#,
            r#"{"name":"no id"}"#,
            "[]",
            "null",
        ],
    );
    let expected = [
        "`/id` is `7`, expected string",
        "`/simulated` is `\"yes\"`, expected boolean",
        "`/deviceTemplate` is `\"t\"`, expected an object",
        "`/properties/cloud` is `[1]`, expected an object",
        "`/deleted` is `1`, expected boolean",
        "`/id` is missing, expected a string, since the record has no subject",
        "the body is `[]`, expected an object",
        "the body is `null`, expected an object",
    ];
    assert_eq!(device, expected);
    let template = reasons(
        json!({"record": "device-template"}),
        &[
            r#"{"id":"t","measurements":{"states":{"on":true}}}"#,
            r#"{"id":"t","settings":{"device":{"f":{"name":5}}}}"#,
        ],
    );
    let expected = [
        "`/measurements/states/on` is `true`, expected an object",
        "`/settings/device/f/name` is `5`, expected string",
    ];
    assert_eq!(template, expected);
}
