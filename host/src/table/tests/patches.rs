use crate::decode::MAX_DEPTH;
use crate::table::patch::Patcher;

fn merged(target: &str, patch: &str) -> String {
    String::from_utf8(Patcher::default().merge(Some(target.as_bytes()), patch.as_bytes()).unwrap()).unwrap()
}

/// <https://www.rfc-editor.org/rfc/rfc7396#appendix-A>
#[test]
fn the_cases_of_rfc_7396_come_out_as_they_stand_there() {
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (target, patch, expected) in cases {
        assert_eq!(merged(target, patch), expected, "{patch} onto {target}");
    }
}

#[test]
fn what_a_patch_does_not_name_stays_as_it_was_written() {
    let target =
        r#" { "n" : 1.0e+02, "big":123456789012345678901234567890, "t":"\u00e4\/", "o":{ "x": [1, 2] , "y":0.10} } "#;
    assert_eq!(
        merged(target, r#"{"o":{"y":1},"new":{"z":null,"k":1.50}}"#),
        r#"{"n" : 1.0e+02,"big":123456789012345678901234567890,"t":"\u00e4\/","o":{"x": [1, 2],"y":1},"new":{"k":1.50}}"#
    );
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    assert_eq!(merged(r#"{"a":1,"b":2,"a":3}"#, r#"{"b":null}"#), r#"{"a":1,"a":3}"#);
    assert_eq!(merged(r#"{"a":{"x":1},"b":2,"a":{"y":1}}"#, r#"{"a":{"z":1}}"#), r#"{"b":2,"a":{"y":1,"z":1}}"#);
    assert_eq!(merged(r#"{"a":1,"a":2}"#, r#"{"a":null}"#), "{}");
    assert_eq!(merged(r#"{"b":1}"#, r#"{"a":null,"a":1,"b":2,"b":null}"#), r#"{"a":1}"#);
    assert_eq!(merged(r#"{"\u0061":1}"#, r#"{"a":2}"#), r#"{"\u0061":2}"#, "names are compared by their characters");
    assert_eq!(merged(r#"{"\ud800":1,"\\ud800":2}"#, r#"{"\ud800":3}"#), r#"{"\ud800":3,"\\ud800":2}"#);
}

#[test]
fn the_deepest_documents_can_be_patched() {
    let nested = |leaf: &str| format!("{}{leaf}{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    assert_eq!(merged(&nested("1"), &nested("2")), nested("2"));
    let emptied = format!("{}{}", "{\"a\":".repeat(MAX_DEPTH - 1), "{}") + &"}".repeat(MAX_DEPTH - 1);
    assert_eq!(merged(&nested("1"), &nested("null")), emptied);
    assert_eq!(merged("{}", &nested("null")), emptied);
    assert!(Patcher::default().same(nested("1").as_bytes(), (nested("1") + " ").as_bytes()).unwrap());
    assert!(!Patcher::default().same(nested("1").as_bytes(), nested("2").as_bytes()).unwrap());
}

#[test]
fn values_are_compared_as_json_and_numbers_as_they_are_written() {
    let same = |a: &str, b: &str| Patcher::default().same(a.as_bytes(), b.as_bytes()).unwrap();
    for (a, b) in [
        (r#"{"a":1,"b":[1,{"c":null}]}"#, r#" {"b": [1, {"c":null}],  "a":1} "#),
        (r#"{"a":0,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":"\u00e4\n"}"#, r#"{"a":"ä\u000a"}"#),
    ] {
        assert!(same(a, b) && same(b, a), "{a} {b}");
    }
    for (a, b) in [
        (r#"{"a":12345678901234567890123}"#, r#"{"a":12345678901234567890124}"#),
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[1]}"#, r#"{"a":[1,1]}"#),
        (r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#),
    ] {
        assert!(!same(a, b) && !same(b, a), "{a} {b}");
    }
}
