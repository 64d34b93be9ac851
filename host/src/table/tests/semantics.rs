use super::*;

#[test]
fn changes_that_cannot_be_applied_say_why() {
    let refused = |subject: &str, body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Change::new(Shape::Document, key(subject), Operation::Patch, None, None, body).unwrap_err()
    };
    assert_eq!(refused("", "{}"), "no key: the subject is absent or empty; set `subject` to where records have it");
    assert_eq!(refused("a", ""), "the body of the change is empty, expected a JSON object");
    assert_eq!(refused("a", "[1]"), "the body of the change is not a JSON object but an array: a record is an object");
    let broken = refused("a", r#"{"a":}"#);
    assert_eq!(broken, "the body of the change is not valid JSON at byte 6: expected a value, found `}`");
    assert!(Change::new(Shape::Document, key("a"), Operation::Delete, None, None, Bytes::new()).is_ok());
    assert_eq!("patch".parse(), Ok(Operation::Patch));
    assert_eq!(
        "upsert".parse::<Operation>().unwrap_err(),
        "the operation `upsert` changes no document: expected `create`, `update`, `patch` or `delete`; leave other \
         messages out with the filter `select`"
    );
}

#[tokio::test]
async fn a_snapshot_holds_what_changed_once_and_as_it_is() {
    let mut table = Table::in_memory();
    let first = table.snapshot(vec![update("a", r#"{"n":1}"#), patch("b", r#"{"x":null,"n":1}"#)]).await;
    assert_eq!(first, [r#"a create {"n":1}"#, r#"b create {"n":1}"#]);
    assert_eq!(table.snapshot(vec![]).await, [""; 0]);

    table.apply(vec![patch("a", r#"{"n":2}"#)], Emit::Nothing, false).await;
    table.apply(vec![update("c", "{}"), delete("b")], Emit::Nothing, false).await;
    assert_eq!((table.state.keys, table.state.waiting), (2, 3));
    let second = table.snapshot(vec![patch("a", r#"{"m":2}"#)]).await;
    assert_eq!(second, [r#"a update {"n":2,"m":2}"#, "b delete -", "c create {}"]);
    assert_eq!((table.state.keys, table.state.waiting), (2, 0));

    let again = table.snapshot(vec![update("b", "{}"), update("b", r#"{"n":3}"#)]).await;
    assert_eq!(again, [r#"b create {"n":3}"#]);
    let (_, all) = table.apply(vec![delete("c")], Emit::Everything, true).await;
    let mut all: Vec<_> = all.iter().map(line).collect();
    all.sort();
    assert_eq!(all, [r#"a update {"n":2,"m":2}"#, r#"b update {"n":3}"#, "c delete -"]);
}

#[tokio::test]
async fn versions_that_are_older_are_ignored_also_after_a_delete() {
    let mut table = Table::in_memory();
    let at = |version, body| change("a", Operation::Update, Some(version), body);
    let changes = vec![at(5, "{}"), at(4, "{}"), at(5, r#"{"n":5}"#), at(3, "{}")];
    let (applied, _) = table.apply(changes, Emit::Nothing, false).await;
    assert_eq!((applied.ignored, table.state.ignored), (2, 2));
    assert_eq!(table.body("a").await.unwrap(), r#"{"n":5}"#, "equal ones apply in their order");
    // One without a version applies, and does not let older ones in.
    table.apply(vec![update("a", r#"{"n":"?"}"#)], Emit::Nothing, false).await;
    let (applied, _) = table.apply(vec![at(4, "{}")], Emit::Nothing, false).await;
    assert_eq!((applied.ignored, applied.written), (1, None));
    assert_eq!(table.body("a").await.unwrap(), r#"{"n":"?"}"#);

    let gone = change("a", Operation::Delete, Some(7), "");
    let (_, marks) = table.apply(vec![gone], Emit::Waiting, true).await;
    assert_eq!(marks, [], "nobody has seen it");
    for _ in 0..3 {
        table.apply(vec![at(6, "{}")], Emit::Waiting, true).await;
    }
    assert_eq!((table.body("a").await, table.state.ignored, table.state.keys), (None, 6, 0));
    assert_eq!(table.snapshot(vec![at(8, "{}")]).await, ["a create v8 {}"]);
}

#[tokio::test]
async fn a_delete_that_names_the_last_version_takes_the_document() {
    let own = |operation, version, body| {
        let mut change = change("a", operation, Some(version), body);
        change.set_own_version(true);
        change
    };
    let mut table = Table::in_memory();
    table.snapshot(vec![own(Operation::Create, 5, "{}"), own(Operation::Delete, 5, "")]).await;
    assert_eq!(table.state.keys, 0);
    let late = vec![own(Operation::Create, 5, "{}"), own(Operation::Delete, 4, "")];
    let (applied, _) = table.apply(late, Emit::Nothing, false).await;
    assert_eq!((applied.ignored, table.state.keys), (2, 0));
}

#[tokio::test]
async fn what_is_created_anew_after_a_delete_begins_with_lower_versions() {
    let at = |operation, version, time: Option<i64>, body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Change::new(Shape::Document, key("a"), operation, Some(version), time, body).unwrap()
    };
    let mut table = Table::in_memory();
    table.snapshot(vec![at(Operation::Create, 1, Some(10), "{}"), at(Operation::Delete, 57, Some(20), "")]).await;
    // The first one again, one that has no time, and another kind of change: all of before the delete.
    let late = [(Operation::Create, Some(10)), (Operation::Create, None), (Operation::Update, Some(30))];
    let (applied, _) =
        table.apply(late.map(|(operation, time)| at(operation, 1, time, "{}")).into(), Emit::Waiting, true).await;
    assert_eq!((applied.ignored, table.state.keys), (3, 0));
    let anew = vec![at(Operation::Create, 1, Some(30), r#"{"n":1}"#), at(Operation::Patch, 2, Some(31), r#"{"n":2}"#)];
    assert_eq!(table.snapshot(anew).await, [r#"a create v2 {"n":2}"#]);
}

#[test]
fn a_document_is_as_deep_as_its_record_can_be() {
    let deep =
        |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels - 1), "{}".to_owned() + &"}".repeat(levels - 1));
    let change = |levels| Change::new(Shape::Document, key("a"), Operation::Update, None, None, deep(levels).into());
    assert!(change(crate::decode::MAX_DEPTH - 1).is_ok());
    let refused = change(crate::decode::MAX_DEPTH).unwrap_err();
    assert!(refused.contains("nested too deep"), "{refused}");
}

#[tokio::test]
async fn a_document_that_stays_the_same_is_no_change_but_its_version_counts() {
    let mut table = Table::in_memory();
    table.snapshot(vec![change("a", Operation::Update, Some(1), r#"{"n":1,"m":2}"#)]).await;
    let (applied, documents) =
        table.apply(vec![change("a", Operation::Update, Some(3), r#"{"m":2, "n":1}"#)], Emit::Waiting, true).await;
    assert_eq!((applied.unchanged, documents), (1, vec![]));
    assert_eq!(table.body("a").await.unwrap(), r#"{"n":1,"m":2}"#, "as it was written first");
    let (applied, _) = table.apply(vec![change("a", Operation::Update, Some(2), "{}")], Emit::Waiting, true).await;
    assert_eq!(applied.ignored, 1);
}

#[tokio::test]
async fn where_nothing_changes_nothing_is_written() {
    let mut table = Table::in_memory();
    table.snapshot(vec![update("a", r#"{"n":1}"#), update("b", "{}")]).await;
    let before = table.lake.list("").await.unwrap();
    let nothing = vec![update("a", r#"{"n":1}"#), patch("a", "{}"), delete("never was")];
    let (applied, documents) = table.apply(nothing, Emit::Waiting, true).await;
    assert_eq!((applied.written, applied.obsolete, applied.unchanged, documents), (None, vec![], 3, vec![]));
    assert_eq!(table.lake.list("").await.unwrap(), before);
}

#[tokio::test]
async fn a_key_that_came_and_went_between_two_snapshots_is_never_emitted() {
    for marks in [true, false] {
        let mut table = Table::in_memory();
        table.apply(vec![update("a", "{}")], Emit::Nothing, marks).await;
        table.apply(vec![delete("a")], Emit::Nothing, marks).await;
        assert_eq!((table.state.keys, table.state.waiting), (0, 0));
        let (applied, documents) = table.apply(vec![update("b", "{}"), delete("b")], Emit::Waiting, marks).await;
        assert_eq!((applied.emitted, documents), (0, vec![]));
    }
}

#[tokio::test]
async fn a_delete_leaves_nothing_behind_once_it_is_known_and_merged() {
    let mut table = Table::in_memory();
    table.snapshot(vec![update("a", "{}"), change("b", Operation::Update, Some(1), "{}")]).await;
    table.apply(vec![delete("a"), delete("b")], Emit::Nothing, true).await;
    assert_eq!(table.state.runs.iter().map(|run| run.entries).sum::<u64>(), 2, "both wait to be emitted");
    assert_eq!(table.snapshot(vec![update("c", "{}")]).await.len(), 3);
    assert_eq!(table.state.runs.iter().map(|run| run.entries).sum::<u64>(), 2, "`b` for its version, and `c`");

    let mut table = Table::in_memory();
    table.snapshot(vec![update("a", "{}")]).await;
    let (applied, documents) = table.apply(vec![delete("a")], Emit::Waiting, false).await;
    assert_eq!((applied.written, applied.obsolete.len(), documents), (None, 1, vec![]));
    assert_eq!((table.state.runs.len(), table.lake.list("").await.unwrap()), (0, vec![]));
}

#[tokio::test]
async fn keys_differ_by_source_and_kind() {
    let mut table = Table::in_memory();
    let parts = [("h", "ab", "c"), ("ha", "b", "c"), ("h", "a", "bc"), ("", "", "habc"), ("h", "a\0b", "c")];
    let keys: Vec<_> = parts.map(|(s, k, j)| Key { source: s.into(), kind: k.into(), subject: j.into() }).into();
    let changes = keys.iter().enumerate().map(|(at, key)| {
        let body = format!(r#"{{"at":{at}}}"#);
        Change::new(Shape::Document, key.clone(), Operation::Create, None, Some(at as i64), body.into()).unwrap()
    });
    let (_, documents) = table.apply(changes.collect(), Emit::Everything, false).await;
    for document in &documents {
        assert_eq!(document.key, keys[document.time.unwrap() as usize]);
    }
    assert_eq!(documents.len(), 5);
}

#[tokio::test]
async fn a_document_is_found_by_its_subject_that_of_the_wanted_source_first() {
    let mut table = Table::in_memory();
    let keys = ["a", "b"].map(|source| Key { source: source.into(), kind: "device".into(), subject: "d".into() });
    let change = |key: &Key, operation| {
        let body = format!(r#"{{"source":"{}"}}"#, key.source);
        Change::new(Shape::Document, key.clone(), operation, None, None, body.into()).unwrap()
    };
    table.apply(keys.iter().map(|key| change(key, Operation::Create)).collect(), Emit::Nothing, false).await;
    let found = |reader: Reader| async move {
        let wanted = ["a", "b", "elsewhere"].map(|source| Wanted { subject: "d", source });
        let found = reader.find(&wanted).await.unwrap().unwrap();
        found.into_iter().map(|found| String::from_utf8(found.unwrap().body.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let (a, b) = (r#"{"source":"a"}"#, r#"{"source":"b"}"#);
    assert_eq!(found(table.reader()).await, [a, b, a]);
    table.apply(vec![change(&keys[0], Operation::Delete)], Emit::Nothing, false).await;
    assert_eq!(found(table.reader()).await, [b, b, b]);
    let nobody = [Wanted { subject: "dd", source: "a" }, Wanted { subject: "", source: "a" }];
    assert_eq!(table.reader().find(&nobody).await.unwrap().unwrap(), [None, None]);
}
