//! Remote execution contexts, as a service endpoint sends them.

use serde_json::json;

use super::envelopes::{open, refused};
use crate::plan::Envelope::Dataverse;

const CREATE: &str = r#"{"BusinessUnitId":"174df04e-3468-e611-80e0-c4346bb5980c","Depth":1,"InputParameters":[{"key":"Target","value":{"__type":"Entity:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Attributes":[{"key":"name","value":"Größe \"1\""},{"key":"createdon","value":"\/Date(1473727936500)\/"},{"key":"parentaccountid","value":{"__type":"EntityReference:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Id":"f5478924-a0fe-461c-ab4f-f2380ada9227","KeyAttributes":[],"LogicalName":"account","Name":null,"RowVersion":null}},{"key":"statecode","value":{"__type":"OptionSetValue:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Value":3}},{"key":"revenue","value":{"__type":"Money:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Value":12345678901234567890.1234}},{"key":"t","value":{"__type":"AliasedValue:x","Value":[1]}},{"key":"fax","value":null},{"key":"donotfax","value":false}],"EntityState":null,"FormattedValues":[],"Id":"80a2c641-4c79-e611-80df-c4346baca9e4","LogicalName":"account","RowVersion":"915244"}}],"MessageName":"Create","OperationCreatedOn":"\/Date(1473727938000+0200)\/","PostEntityImages":[],"PrimaryEntityId":"80a2c641-4c79-e611-80df-c4346baca9e4","PrimaryEntityName":"account"}"#;
const UPDATE: &str = r#"{"InputParameters":{"Target":{"__type":"Entity:x","Attributes":{"fax":null,"t":"/Date(x)/"},"RowVersion":null}},"MessageName":"Update","PostEntityImages":[{"key":"image","value":{"RowVersion":915245}}],"PrimaryEntityId":"a","PrimaryEntityName":"account"}"#;
const DELETE: &str = r#"{"InputParameters":[{"key":"Target","value":{"__type":"EntityReference:x","Id":"a","LogicalName":"account","Name":null,"RowVersion":null}}],"MessageName":"Delete","OperationCreatedOn":"\/Date(-62135596800000)\/","PrimaryEntityId":"a","PrimaryEntityName":"account"}"#;

/// One of each kind.
pub const LINES: &[&str] = &[CREATE, UPDATE, DELETE];

#[test]
fn a_create_has_its_attributes_as_columns() {
    let alias = json!({ "__type": "AliasedValue:x", "Value": [1] });
    let expected = json!({ "kind": "account", "subject": "80a2c641-4c79-e611-80df-c4346baca9e4", "operation": "create",
        "source": "plant", "version": 915_244, "time": "2016-09-13T00:52:18Z", "t": alias, "body": { "name": "Größe \"1\"",
        "createdon": "2016-09-13T00:52:16.500Z", "parentaccountid": "f5478924-a0fe-461c-ab4f-f2380ada9227", "statecode": 3,
        "revenue": 12_345_678_901_234_567_890.123_4, "t": alias, "fax": null, "donotfax": false } });
    assert_eq!(open(Dataverse, CREATE), expected);
}

#[test]
fn an_update_is_a_patch_whose_version_an_image_may_have() {
    let expected = json!({ "kind": "account", "subject": "a", "operation": "patch", "source": "plant", "version": 915_245,
        "t": "/Date(x)/", "body": { "fax": null, "t": "/Date(x)/" } });
    assert_eq!(open(Dataverse, UPDATE), expected);
}

#[test]
fn an_update_has_the_version_of_its_image_before_that_of_its_target() {
    let of_target = UPDATE.replace(r#""RowVersion":null"#, r#""RowVersion":"915000""#);
    let checked = of_target.replace(r#""InputParameters":{"#, r#""InputParameters":{"ConcurrencyBehavior":1,"#);
    for line in [&of_target, &checked] {
        let update = open(Dataverse, line);
        assert_eq!((&update["version"], &update["system-properties"]), (&json!(915_245), &json!(null)), "{line}");
    }
    // Without an image it has the one of its target, which may be that of before.
    let without = |line: &str| line.replace("915245", "null");
    for (line, expected) in [
        (without(&of_target), json!(null)),
        (without(&checked), json!({ "expectedVersion": "true" })),
        (
            without(&checked).replace("Behavior\":1", "Behavior\":\"IfRowVersionMatches\""),
            json!({ "expectedVersion": "true" }),
        ),
        (without(&checked).replace("Behavior\":1", "Behavior\":2"), json!(null)),
    ] {
        let update = open(Dataverse, &line);
        assert_eq!((&update["version"], &update["system-properties"]), (&json!(915_000), &expected), "{line}");
    }
}

#[test]
fn a_delete_has_no_body() {
    let expected = json!({ "kind": "account", "subject": "a", "operation": "delete", "source": "plant",
        "time": "0001-01-01T00:00:00Z" });
    assert_eq!(open(Dataverse, DELETE), expected);
}

#[test]
fn what_is_no_context_says_what_was_expected() {
    let messages = "expected `Create`, `Update` or `Delete`; register the step for these";
    let version = "the `RowVersion` is `\"AAAA\"`, expected a whole number, as text or not";
    for (line, expected) in [
        ("{}".to_owned(), format!("no `MessageName`: {messages}")),
        (r#"{"MessageName":"Assign"}"#.to_owned(), format!("the `MessageName` is `Assign`, {messages}")),
        (r#"{"MessageName":"Create"}"#.to_owned(), "no `PrimaryEntityName`: expected a string".into()),
        (
            r#"{"MessageName":"Create","PrimaryEntityName":"a"}"#.to_owned(),
            "no `PrimaryEntityId`: expected a string".into(),
        ),
        (
            DELETE.replace("Delete", "Update"),
            "no `Attributes` of a `Target` among `InputParameters`: expected those of the row".into(),
        ),
        (
            DELETE.replace("-62135596800000", "x"),
            r"the `OperationCreatedOn` is `\/Date(x)\/`, expected a time such as `/Date(1624638072000)/`".into(),
        ),
        (CREATE.replace("915244", "AAAA"), version.into()),
    ] {
        assert_eq!(refused(Dataverse, &line), expected);
    }
}
