//! Pages of OData delta feeds, as Dataverse and others answer with them.

use serde_json::json;

use super::envelopes::{envelope, everything, open, refused, shown};
use super::*;
use crate::plan::Envelope::ODataDelta;

const PAGE: &str = r##"{"@odata.context":"https://o.crm.dynamics.com/api/data/v9.2/$metadata#accounts(name,t)/$delta","@odata.deltaLink":"https://o/accounts?$deltatoken=1","value":[{"@odata.etag":"W/\"915244\"","name":"Größe \"1\"","t":1.50,"accountid":"60c4e274-0d87-e711-80e5-00155db19e6d","_ownerid_value@OData.Community.Display.V1.FormattedValue":"x","_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname":"systemuser","_ownerid_value":"7","big":12345678901234567890123456789012345678},{"@odata.context":"https://o.crm.dynamics.com/api/data/v9.2/$metadata#accounts/$deletedEntity","id":"2e451703-c696-e711-80e5-00155db19e6d","reason":"deleted"}]}"##;
const ROW: &str = r##"{"@odata.context":"https://o/$metadata#orders/$entity","@odata.id":"https://o/orders(id=7,line='a')","@odata.etag":"W/\"opaque\"","value":[1],"t":{"a":[{}]}}"##;
const REMOVED: &str = r##"{"@context":"#users/$delta","value":[{"id":"u1","@removed":{"reason":"changed"}},{"@id":"users('u''2')","@removed":{}},{"@odata.removed":{"reason":"deleted"},"t":3}]}"##;

/// One of each kind.
pub const LINES: &[&str] = &[PAGE, ROW, REMOVED];

#[test]
fn a_page_holds_rows_and_deletes() {
    let decoded = everything(&envelope(ODataDelta)).decode(&chunk(100, format!("{PAGE}\n")), 0);
    assert_rows_align(&decoded);
    assert_eq!((decoded.records, decoded.dead.len()), (2, 0));
    let body = json!({ "name": "Größe \"1\"", "t": 1.5, "accountid": "60c4e274-0d87-e711-80e5-00155db19e6d",
        "_ownerid_value": "7", "big": 12_345_678_901_234_567_890_123_456_789_012_345_678f64 });
    let row = json!({ "kind": "accounts", "operation": "patch", "version": 915_244, "source": "plant", "t": 1.5, "body": body });
    let deleted = json!({ "kind": "accounts", "operation": "delete", "subject": "2e451703-c696-e711-80e5-00155db19e6d",
        "source": "plant" });
    assert_eq!(shown(&decoded), [row, deleted]);
    let body = decoded.batches[0].bodies.value(0);
    assert!(body.ends_with(br#""big":12345678901234567890123456789012345678}"#), "every digit");
    let raw = decoded.batches[0].raw.value(1);
    assert!(PAGE.as_bytes()[offsets(&decoded)[1] as usize - 100..].starts_with(raw), "a record is an element");
}

#[test]
fn a_row_alone_is_a_record() {
    let mut expected = json!({ "kind": "orders", "operation": "patch", "subject": r#"[7,"a"]"#, "source": "plant",
        "t": { "a": [{}] }, "body": { "value": [1], "t": { "a": [{}] }, "id": 7, "line": "a" } });
    assert_eq!(open(ODataDelta, ROW), expected, "the body has the key that the link names");
    let whole = Mapping { whole_rows: true, ..envelope(ODataDelta) };
    expected["operation"] = "update".into();
    assert_eq!(shown(&everything(&whole).decode(&chunk(0, ROW), 0)), [expected]);
}

#[test]
fn what_is_removed_is_deleted() {
    let decoded = everything(&envelope(ODataDelta)).decode(&chunk(0, REMOVED), 0);
    let of = |mut row: serde_json::Value| {
        row["kind"] = "users".into();
        row["operation"] = "delete".into();
        row["source"] = "plant".into();
        row
    };
    let expected = [
        of(json!({ "subject": "u1", "body": { "id": "u1" } })),
        of(json!({ "subject": "u'2" })),
        of(json!({ "t": 3, "body": { "t": 3 } })),
    ];
    assert_eq!(shown(&decoded), expected);
}

#[test]
fn an_annotation_with_an_escaped_name_is_one() {
    let line = r##"{"@odata.context":"#a/$entity","t\u0040odata.type":"x","\u0040odata.etag":"W/\"7\"","t":1}"##;
    let row = open(ODataDelta, line);
    assert_eq!((&row["body"], &row["version"]), (&json!({ "t": 1 }), &json!(7)));
}

#[test]
fn a_page_without_rows_is_no_record_and_one_of_very_many_is_refused() {
    let page =
        |count: usize| format!(r##"{{"@odata.context":"#a/$delta","value":[{}]}}"##, vec!["{}"; count].join(","));
    let decoded = everything(&envelope(ODataDelta)).decode(&chunk(0, page(0)), 0);
    assert_eq!((decoded.records, rows(&decoded)), (0, 0));
    let decoded = everything(&envelope(ODataDelta)).decode(&chunk(0, page(65_536)), 0);
    assert_eq!((decoded.records, rows(&decoded)), (65_536, 65_536));
    assert_eq!(refused(ODataDelta, &page(65_537)), "a page of 65537 rows, at most 65536 are allowed");
}

#[test]
fn a_page_may_be_larger_than_a_record() {
    let mut decoder = Decoder::new(&envelope(ODataDelta), "s", vec![], 40).unwrap();
    let small = r##"{"t":1}"##;
    let large = format!("{{\"t\":\"{}\"}}", "x".repeat(40));
    let page = format!(r##"{{"@odata.context":"#a/$delta","value":[{small},{large},{small}]}}"##);
    let decoded = decoder.decode(&chunk(0, page), 0);
    assert_eq!((rows(&decoded), decoded.dead.len()), (2, 1));
    assert_eq!(decoded.dead[0].reason, "larger than max-record-size: 48 bytes, at most 40 are allowed");
}

#[test]
fn what_is_no_row_says_what_was_expected() {
    let context = "expected a context such as `https://…/$metadata#accounts/$delta`, of the page or of the row";
    for (line, expected) in [
        (r#"{"name":"a"}"#, format!("no `@odata.context`: {context}")),
        (r##"{"@odata.context":"#a/$deletedEntity"}"##, "no `id`: expected the deleted row's, as text".into()),
        (
            r##"{"@odata.context":"#a/$deletedEntity","id":7}"##,
            "the `id` is a number, expected the deleted row's, as text".into(),
        ),
        (
            r##"{"@odata.context":"#a/$link","source":"a(1)"}"##,
            "a `$link` between rows of `a`, expected a row or a `$deletedEntity`".into(),
        ),
        ("[]", "not a JSON object but an array: a record is an object".into()),
        ("{", "not valid JSON at byte 2: expected a key in double quotes, found the end of the record".into()),
    ] {
        assert_eq!(refused(ODataDelta, line), expected);
    }
    let decoded = everything(&envelope(ODataDelta)).decode(&chunk(0, r##"{"@odata.context":"#a","value":[7,{}]}"##), 0);
    assert_eq!(
        (rows(&decoded), &*decoded.dead[0].reason),
        (1, "not a JSON object but a number: a record is an object")
    );
}
