//! What becomes of measurements, with a table of devices beside them.

use lakeport_plugin::serde_json::{Value, from_value, json};
use lakeport_plugin::{Column, ColumnValues, testing};

use super::*;

const DEVICES: [(&str, &str, &str); 3] = [
    ("devices", "d1", r#"{"name":"Küche","deviceTemplate":{"id":"t1"},"properties":{"cloud":{"location":[1.5,2]}}}"#),
    ("devices", "d2", r#"{"deviceTemplate":{"id":"t2"}}"#),
    ("devices", "d3", r#"{"other":1}"#),
];

fn open(config: Value) -> Result<Enrich> {
    Enrich::open(from_value(config).unwrap())
}

fn enrich(more: Value) -> Enrich {
    let mut config = json!({ "table": "devices" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    open(config).unwrap()
}

fn mapped(enrich: &Enrich, bodies: &[&str]) -> Vec<(u32, Option<String>)> {
    testing::mapped(enrich, &testing::batch_with(&enrich.columns(), bodies, &DEVICES))
}

fn one(origin: u32, body: &str) -> (u32, Option<String>) {
    (origin, Some(body.to_owned()))
}

#[test]
fn name_and_template_are_added_as_the_last_member() {
    let bodies = [r#"{"deviceId":"d1", "humidity":5.10}"#, r#"{"deviceId":"d2"}"#];
    assert_eq!(
        mapped(&enrich(json!({})), &bodies),
        [
            one(0, r#"{"deviceId":"d1", "humidity":5.10,"device":{"name":"Küche","template":"t1"}}"#),
            one(1, r#"{"deviceId":"d2","device":{"template":"t2"}}"#),
        ]
    );
}

#[test]
fn properties_follow_in_the_order_of_their_names() {
    let enrich = enrich(json!({
        "name": false,
        "template": "/deviceTemplate",
        "properties": { "place": "/properties/cloud/location", "a \"b\"": "/name", "nowhere": "/x" },
        "into": "über",
    }));
    let expected = r#"{"deviceId":"d1","über":{"template":{"id":"t1"},"a \"b\"":"Küche","place":[1.5,2]}}"#;
    assert_eq!(mapped(&enrich, &[r#"{"deviceId":"d1"}"#]), [one(0, expected)]);
}

#[test]
fn a_member_that_is_there_already_is_replaced() {
    let body = r#"{"device":{"name":"mine"},"deviceId":"d2"}"#;
    assert_eq!(mapped(&enrich(json!({})), &[body]), [one(0, r#"{"device":{"template":"t2"},"deviceId":"d2"}"#)]);
}

/// One that is known, one that is not, one whose document has none of the values, one without a subject.
const BODIES: [&str; 4] = [r#"{"deviceId":"d2"}"#, r#"{"deviceId":"x"}"#, r#"{"deviceId":"d3"}"#, "{}"];

#[test]
fn a_record_of_an_unknown_device_goes_on_without() {
    let known = one(0, r#"{"deviceId":"d2","device":{"template":"t2"}}"#);
    let kept = enrich(json!({}));
    assert_eq!(mapped(&kept, &BODIES), [known, one(1, BODIES[1]), one(2, BODIES[2]), one(3, BODIES[3])]);
    assert_eq!(mapped(&kept, &BODIES[1..2]), [one(0, BODIES[1])], "all bodies are new, also where none has changed");
}

#[test]
fn a_record_of_an_unknown_device_is_dropped_where_it_is_to_be() {
    let dropping = enrich(json!({ "missing": "drop" }));
    assert_eq!(mapped(&dropping, &BODIES), [one(0, r#"{"deviceId":"d2","device":{"template":"t2"}}"#)]);
    assert_eq!(mapped(&dropping, &BODIES[1..]), []);
}

#[test]
fn a_record_of_an_unknown_device_is_rejected_where_it_is_to_be() {
    let rejecting = enrich(json!({ "missing": "reject" }));
    let batch = testing::batch_with(&rejecting.columns(), &BODIES, &DEVICES);
    assert_eq!(testing::mapped(&rejecting, &batch).len(), 1);
    let rejected = rejecting.apply(&batch).unwrap().rejected;
    let rejected: Vec<(u32, &str)> = rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (1, "`devices` has nothing of `x`, expected `/name` or `/deviceTemplate/id`"),
            (2, "`devices` has nothing of `d3`, expected `/name` or `/deviceTemplate/id`"),
            (3, "the record has no subject to look up in `devices`"),
        ]
    );
}

fn values(values: &[Option<&str>], wrap: fn(VarBytes) -> ColumnValues) -> Column {
    let mut all = VarBytes { offsets: vec![0], data: Vec::new() };
    values.iter().for_each(|value| all.push(value.unwrap_or_default().as_bytes()));
    let valid = values.iter().enumerate().fold(0, |bits, (row, value)| bits | u8::from(value.is_some()) << row);
    Column { validity: Some(vec![valid]), values: wrap(all) }
}

#[test]
fn a_body_that_is_no_object_goes_on_whatever_is_known() {
    let bodies = [Some("\u{7}not JSON"), Some("[1]"), None, Some("{}"), None, Some("\u{7}")];
    let jsons = [None, bodies[1], None, bodies[3], None, None];
    let columns = vec![
        values(&[Some("d1"), Some("d1"), Some("x"), Some("d1"), Some("d1"), None], ColumnValues::Text),
        values(&jsons, ColumnValues::Json),
        values(&bodies, ColumnValues::Bytes),
        values(&[Some("\"K\""), Some("\"K\""), None, Some("\"K\""), Some("\"K\""), None], ColumnValues::Json),
    ];
    let batch = Batch::new(6, columns);
    for missing in ["keep", "drop", "reject"] {
        let enrich = enrich(json!({ "template": false, "missing": missing }));
        let enriched = one(3, r#"{"device":{"name":"K"}}"#);
        // Bodies are all new or none: of a record without one it is empty, which the host takes as unchanged.
        let expected = [one(0, "\u{7}not JSON"), one(1, "[1]"), one(2, ""), enriched, one(4, ""), one(5, "\u{7}")];
        assert_eq!(testing::mapped(&enrich, &batch), expected);
    }
}

#[test]
fn rows_are_answered_as_batches_are() {
    for missing in ["keep", "drop", "reject"] {
        let enrich = enrich(json!({ "missing": missing }));
        for body in BODIES {
            let batch = testing::batch_with(&enrich.columns(), &[body], &DEVICES);
            let (whole, by_row) =
                (enrich.apply(&batch).unwrap(), lakeport_plugin::rows::apply(&enrich, &batch).unwrap());
            let text = |answer: &Transformed| format!("{:?} {:?}", answer.origins, answer.rejected);
            assert_eq!(text(&whole), text(&by_row));
            let bodies = |answer: Transformed| answer.bodies.map_or_else(Vec::new, |bodies| bodies.data);
            assert_eq!(bodies(whole), bodies(by_row));
        }
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (config, expected) in [
        (json!({ "table": "" }), "`table` is empty, expected the name of an export of type `changes`"),
        (json!({ "table": "t", "into": "" }), "`into` is empty, expected a member's name such as `device`"),
        (json!({ "table": "t", "name": true }), "`name` is `true`, expected a pointer such as `/name`, or `false`"),
        (
            json!({ "table": "t", "name": "name" }),
            "`name` is `name`, expected an RFC 6901 pointer such as `/properties/location`",
        ),
        (
            json!({ "table": "t", "properties": { "a": "/b~" } }),
            "`a` is `/b~`, expected an RFC 6901 pointer such as `/properties/location`",
        ),
        (
            json!({ "table": "t", "properties": { "name": "/label" } }),
            "`properties` has `name` too: leave it out there, or set `name = false`",
        ),
        (
            json!({ "table": "t", "name": false, "template": false }),
            "nothing is added: set `name`, `template` or `properties`",
        ),
    ] {
        let error = open(config).map(|_| ()).unwrap_err();
        assert_eq!(error, Error::InvalidConfig(expected.to_owned()));
    }
    assert!(open(json!({ "table": "t", "name": false, "properties": { "name": "/label" } })).is_ok());
}
