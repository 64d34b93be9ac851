use super::*;
use crate::decode::MAX_DEPTH;

fn twin(operation: Operation, version: i64, body: &str) -> Result<Change, String> {
    Change::new(Shape::Twin, key("fridge-1"), operation, Some(version), None, Bytes::copy_from_slice(body.as_bytes()))
}

const WHOLE: &str = r#"{"deviceId":"fridge-1","etag":"AAE=","version":3,"tags":{"location":"New York","$etag":"x"},
    "properties":{"desired":{"fanSpeed":0,"$metadata":{"$lastUpdated":"2018"},"$version":1},
                  "reported":{"lastReboot":"2018-02-09T22:22:47.156Z","\u0024version":7}}}"#;

#[tokio::test]
async fn a_twin_becomes_the_device_document_and_its_changes_patch_it() {
    let mut table = Table::in_memory();
    table.apply(vec![twin(Operation::Create, 3, WHOLE).unwrap()], Emit::Nothing, false).await;
    let expected = |cloud: &str, device: &str, settings: &str| {
        let head = r#""id":"fridge-1","name":"fridge-1","simulated":false,"deviceTemplate":{"id":"","version":""}"#;
        let properties = format!(r#""properties":{{"cloud":{cloud},"device":{device}}}"#);
        Some(format!(r#"{{{head},{properties},"settings":{{"device":{settings}}}}}"#))
    };
    let reboot = r#"{"lastReboot":"2018-02-09T22:22:47.156Z"}"#;
    assert_eq!(table.body("fridge-1").await, expected(r#"{"location":"New York"}"#, reboot, r#"{"fanSpeed":0}"#));

    let changed = r#"{"version":4,"tags":{"location":null,"tempThresh":2e1},"properties":{"desired":{"fanSpeed":5,"$version":2}}}"#;
    table.apply(vec![twin(Operation::Patch, 4, changed).unwrap()], Emit::Nothing, false).await;
    assert_eq!(table.body("fridge-1").await, expected(r#"{"tempThresh":2e1}"#, reboot, r#"{"fanSpeed":5}"#));

    // Whole sections; the same twin again is no change.
    let (applied, _) = table.apply(vec![twin(Operation::Update, 5, WHOLE).unwrap()], Emit::Waiting, false).await;
    assert_eq!((applied.emitted, applied.unchanged), (1, 0));
    assert_eq!(table.body("fridge-1").await, expected(r#"{"location":"New York"}"#, reboot, r#"{"fanSpeed":0}"#));
    let (applied, _) = table.apply(vec![twin(Operation::Update, 6, WHOLE).unwrap()], Emit::Waiting, false).await;
    assert_eq!((applied.emitted, applied.unchanged), (0, 1));
    let (applied, _) =
        table.apply(vec![twin(Operation::Update, 6, r#"{"tags":{}}"#).unwrap()], Emit::Waiting, false).await;
    assert_eq!((applied.emitted, applied.ignored), (0, 1), "each change of a twin has a version of its own");
    let (applied, _) = table.apply(vec![twin(Operation::Update, 5, WHOLE).unwrap()], Emit::Waiting, false).await;
    assert_eq!((applied.emitted, applied.ignored), (0, 1));
    table.apply(vec![twin(Operation::Update, 7, r#"{"tags":null}"#).unwrap()], Emit::Waiting, false).await;
    assert_eq!(table.body("fridge-1").await, expected("{}", "{}", "{}"));
}

#[tokio::test]
async fn a_twin_keeps_what_a_document_has_besides_its_sections() {
    let mut table = Table::in_memory();
    let document = r#"{"id":"fridge-1","name":"Refrigerator 2","deviceTemplate":{"id":"c3","version":"1.0.0"},"properties":{"cloud":{"a":1},"x":0}}"#;
    let changes = vec![update("fridge-1", document), twin(Operation::Update, 1, r#"{"tags":{"b":2}}"#).unwrap()];
    table.apply(changes, Emit::Nothing, false).await;
    assert_eq!(
        table.body("fridge-1").await.unwrap(),
        r#"{"id":"fridge-1","name":"Refrigerator 2","deviceTemplate":{"id":"c3","version":"1.0.0"},"properties":{"x":0,"cloud":{"b":2},"device":{}},"settings":{"device":{}}}"#
    );
}

#[tokio::test]
async fn a_change_to_a_twin_that_was_never_seen_makes_the_device() {
    let mut table = Table::in_memory();
    let reported = r#"{"version":9,"properties":{"reported":{"on":true}}}"#;
    table.apply(vec![twin(Operation::Patch, 9, reported).unwrap()], Emit::Nothing, false).await;
    let body = table.body("fridge-1").await.unwrap();
    assert!(body.ends_with(r#""properties":{"cloud":{},"device":{"on":true}},"settings":{"device":{}}}"#), "{body}");
}

#[test]
fn twins_that_are_none_are_refused_with_the_place() {
    let refused = |body: &str| twin(Operation::Update, 1, body).unwrap_err();
    assert_eq!(refused(r#"{"tags":5}"#), "`tags` of the twin is `5`, expected an object");
    assert_eq!(refused(r#"{"properties":[]}"#), "`properties` of the twin is `[]`, expected an object");
    let reported = refused(r#"{"properties":{"reported":"x"}}"#);
    assert_eq!(reported, "`properties.reported` of the twin is `\"x\"`, expected an object");
    // A level deeper in the document than in the twin, and one more in the document's record.
    let deep = |levels: usize| format!(r#"{{"tags":{}1{}}}"#, "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(twin(Operation::Update, 1, &deep(MAX_DEPTH - 3)).is_ok());
    let refused = refused(&deep(MAX_DEPTH - 2));
    assert!(refused.starts_with("the body of the change is nested too deep"), "{refused}");
}

#[test]
fn a_body_that_is_no_twin_does_not_empty_the_device() {
    let refused = twin(Operation::Update, 1, r#"{"sequenceNumber":"0001"}"#).unwrap_err();
    assert!(refused.starts_with("the body has neither `tags` nor `properties`, expected a device twin"), "{refused}");
    assert!(twin(Operation::Patch, 1, r#"{"version":1}"#).is_ok(), "a patch that says nothing");
}

/// An event of a device's life, at a time.
fn event(operation: Operation, version: i64, time: i64, owner: &str) -> Change {
    let body = format!(r#"{{"tags":{{"owner":"{owner}"}}}}"#);
    Change::new(Shape::Twin, key("fridge-1"), operation, Some(version), Some(time), body.into()).unwrap()
}

#[tokio::test]
async fn events_of_a_devices_life_have_the_version_that_its_twin_had() {
    use Operation::{Create, Delete, Patch};
    let owner = |body: Option<String>| body.map(|body| body.contains(r#""owner":"new""#));
    let life = [event(Create, 2, 10, "old"), event(Patch, 3, 20, "old"), event(Delete, 3, 30, "")];
    let again = event(Create, 3, 40, "new");
    for (events, expected) in [
        (vec![], Some(false)),
        (life.to_vec(), None),
        // Repeated, each on its own: their times are earlier.
        (vec![life[1].clone()], None),
        (vec![again.clone()], Some(true)),
        (vec![life[2].clone()], Some(true)),
        (vec![again.clone(), life[0].clone()], Some(true)),
    ] {
        let mut table = Table::in_memory();
        let first = if events.is_empty() { life[..2].to_vec() } else { life.to_vec() };
        table.apply(first, Emit::Nothing, true).await;
        if events.iter().any(|event| event.time < Some(40)) && expected == Some(true) {
            table.apply(vec![again.clone()], Emit::Nothing, true).await;
        }
        table.apply(events, Emit::Nothing, true).await;
        assert_eq!(owner(table.body("fridge-1").await), expected);
    }
}

#[tokio::test]
async fn events_of_an_earlier_device_do_nothing_to_the_one_that_was_created_anew() {
    let event = |operation, version, minute: i64, body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Change::new(Shape::Twin, key("d"), operation, Some(version), Some(minute * 60_000_000), body).unwrap()
    };
    let created =
        |minute, owner: &str| event(Operation::Create, 2, minute, &format!(r#"{{"tags":{{"owner":"{owner}"}}}}"#));
    let events = || {
        vec![
            created(0, "a"),
            event(Operation::Patch, 9, 5, r#"{"tags":{"old":true}}"#),
            event(Operation::Delete, 9, 60, ""),
            created(120, "b"),
        ]
    };
    let newest = |table: Table| async move { table.body("d").await.unwrap_or_default() };
    let mut in_order = Table::in_memory();
    in_order.apply(vec![created(120, "b")], Emit::Nothing, false).await;
    let expected = newest(in_order).await;
    assert!(expected.contains(r#""owner":"b""#), "{expected}");
    // Every order, each event of it once more at the end, in one commit and in one each.
    for order in permutations(4) {
        for repeated in 0..4 {
            let all: Vec<_> = order.iter().copied().chain([repeated]).map(|at| events().swap_remove(at)).collect();
            let (mut together, mut apart) = (Table::in_memory(), Table::in_memory());
            together.apply(all.clone(), Emit::Nothing, false).await;
            for one in all {
                apart.apply(vec![one], Emit::Nothing, false).await;
            }
            assert_eq!(newest(together).await, expected, "{order:?} and {repeated}");
            assert_eq!(newest(apart).await, expected, "{order:?} and {repeated}, a commit each");
        }
    }
    // What happens to the newest device counts as ever.
    let mut table = Table::in_memory();
    table.apply(events(), Emit::Nothing, false).await;
    table.apply(vec![event(Operation::Patch, 3, 121, r#"{"tags":{"new":1}}"#)], Emit::Nothing, false).await;
    assert!(table.body("d").await.unwrap().contains(r#""new":1"#));
    table.apply(vec![event(Operation::Delete, 3, 130, "")], Emit::Nothing, false).await;
    table.apply(vec![event(Operation::Patch, 9, 5, r#"{"tags":{"old":true}}"#)], Emit::Nothing, false).await;
    assert_eq!(table.body("d").await, None);
}

/// Every order of `0..count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        let inserted = |order: &Vec<usize>| {
            let at = |place| [&order[..place], &[next], &order[place..]].concat();
            (0..=order.len()).map(at).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(inserted).collect();
    }
    all
}
