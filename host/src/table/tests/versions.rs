//! Rows whose changes come again, share a version, or come in another order than they happened.

use proptest::prelude::*;

use super::rows::{apply_rows, at, row};
use super::*;

use Operation::{Create, Delete, Patch, Update};

/// A table's rows as `key body`, after changes.
async fn after(table: &mut Table, changes: Vec<Change>) -> Vec<String> {
    apply_rows(table, changes, Emit::Nothing, at(10)).await;
    let (_, all) = apply_rows(table, vec![], Emit::Everything, at(20)).await;
    all.iter().map(|(key, _, _, row)| format!("{key} {row}")).collect()
}

/// The versions that changes add to a table of versions, as `key version body`, `-` where the row went.
async fn added(table: &mut Table, changes: Vec<Change>) -> Vec<String> {
    let terms = RowTerms { versions: true, ..at(10) };
    let (_, versions) = apply_rows(table, changes, Emit::Nothing, terms).await;
    let one = |(key, head, version, row): &(String, Head, Option<i64>, String)| {
        let version = version.map_or("none".into(), |version| version.to_string());
        let row = if head.deleted { "-" } else { row };
        format!("{key} {version} {row}")
    };
    versions.iter().map(one).collect()
}

fn of(key: &str, operation: Operation, version: i64, body: &str) -> Change {
    row(key, operation, Some(version), body, None)
}

/// Keys that one statement moves up: delete and create of each, all with one version.
fn moved(positions: Option<u32>) -> Vec<Change> {
    let at = |position: u32| positions.map(|first| first + position);
    [(3, 0), (2, 1), (1, 2)]
        .into_iter()
        .flat_map(|(id, position): (u32, u32)| {
            let gone = of(&id.to_string(), Delete, 9, "").at_position(at(position));
            let body = format!(r#"{{"name":{id}}}"#);
            let come = of(&(id + 1).to_string(), Create, 9, &body).at_position(at(position));
            [gone, come]
        })
        .collect()
}

fn three() -> Vec<Change> {
    [1, 2, 3].map(|id: u32| of(&id.to_string(), Create, 5, &format!(r#"{{"name":{id}}}"#))).into()
}

const MOVED: [&str; 3] = [r#"2 {"name":1}"#, r#"3 {"name":2}"#, r#"4 {"name":3}"#];

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_version_apply_in_their_order_and_their_repetition_ends_in_the_same() {
    for positions in [None, Some(0)] {
        let mut table = Table::in_memory();
        assert_eq!(after(&mut table, [three(), moved(positions)].concat()).await, MOVED);
        assert_eq!(after(&mut table, moved(positions)).await, MOVED);
        assert_eq!(after(&mut table, [three(), moved(positions)].concat()).await, MOVED);
        assert_eq!(after(&mut table, moved(positions)[3..].to_vec()).await, MOVED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_change_that_stood_earlier_in_its_event_is_older() {
    let mut table = Table::in_memory();
    after(&mut table, [three(), moved(Some(0))].concat()).await;
    // The repetition ends before the row comes again.
    assert_eq!(after(&mut table, moved(Some(0))[..1].to_vec()).await, MOVED);
    // Another event of the same position, as in a compressed transaction: its rows are counted anew.
    let other = of("3", Update, 9, r#"{"name":"other"}"#).at_position(Some(0));
    assert_eq!(after(&mut table, vec![other]).await[1], r#"3 {"name":"other"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_adds_no_versions_and_whatever_else_comes_adds_one() {
    let mut table = Table::in_memory();
    let all = [three(), moved(None)].concat();
    assert_eq!(added(&mut table, all.clone()).await.len(), 9);
    assert_eq!(added(&mut table, all).await, [""; 0]);
    assert_eq!(added(&mut table, moved(None)).await, [""; 0]);

    // The same row with a newer version, and a deletion of what was never there.
    let body = r#"{"name":1}"#;
    let more = vec![of("2", Update, 10, body), of("x", Delete, 3, ""), of("2", Update, 10, body)];
    assert_eq!(added(&mut table, more.clone()).await, [r#"2 10 {"name":1}"#, "x 3 -"]);
    assert_eq!(added(&mut table, more).await, [""; 0]);
    // Without versions nothing tells a repetition.
    let unversioned = |operation, body| row("u", operation, None, body, None);
    let changes = vec![unversioned(Delete, ""), unversioned(Update, "{}"), unversioned(Update, "{}")];
    assert_eq!(added(&mut table, changes).await, ["u none -", "u none {}", "u none {}"]);
    assert_eq!(added(&mut table, vec![unversioned(Delete, ""), unversioned(Delete, "")]).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moved_adds_no_version_when_it_comes_again() {
    let moves = |table: &Table| {
        let mut come = of("b", Patch, 2, r#"{"id":"b"}"#);
        if !table.state.runs.is_empty() {
            let head = Head { partition: 1970, created: 1, modified: 1, deleted: false };
            come.base_on(&head.before(b"{}"), &[]).unwrap();
        }
        vec![of("a", Delete, 2, ""), come]
    };
    let mut table = Table::in_memory();
    added(&mut table, vec![of("a", Create, 1, "{}")]).await;
    let first = moves(&table);
    assert_eq!(added(&mut table, first).await.len(), 2);
    // Nothing is found under the old key any more.
    assert_eq!(added(&mut table, moves(&Table::in_memory())).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_behind_its_patches_fills_what_they_did_not_say() {
    let late = of("a", Create, 39, r#"{"name":"late","state":1,"owner":"x"}"#);
    let patches = vec![of("a", Patch, 40, r#"{"state":3,"owner":null}"#)];
    let expected = [r#"a {"name":"late","state":3}"#];
    let mut table = Table::in_memory();
    after(&mut table, patches.clone()).await;
    assert_eq!(after(&mut table, vec![late.clone()]).await, expected);
    // Repetitions, of both and in both orders.
    for changes in [vec![late.clone()], patches.clone(), [patches.clone(), vec![late.clone()]].concat()] {
        assert_eq!(after(&mut table, changes).await, expected);
    }
    // A row of before it, which was deleted in between, says nothing; one of after it takes its place.
    assert_eq!(after(&mut table, vec![of("a", Create, 10, r#"{"name":"first"}"#)]).await, expected);
    let mut table = Table::in_memory();
    after(&mut table, [patches, vec![of("a", Create, 30, r#"{"name":"first"}"#)]].concat()).await;
    assert_eq!(after(&mut table, vec![of("a", Update, 31, r#"{"sum":1}"#)]).await, [r#"a {"sum":1,"state":3}"#]);
    assert_eq!(after(&mut table, vec![of("a", Delete, 32, "")]).await, [r#"a {"state":3}"#]);
    // Once the whole row is known, what is older changes nothing.
    assert_eq!(after(&mut table, vec![of("a", Update, 41, r#"{"n":1}"#), late]).await, [r#"a {"n":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_behind_a_deletion_begins_a_row_that_takes_nothing_from_before() {
    let mut table = Table::in_memory();
    let changes = vec![of("a", Create, 1, r#"{"n":1}"#), of("a", Delete, 2, ""), of("a", Patch, 4, r#"{"m":4}"#)];
    after(&mut table, changes).await;
    assert_eq!(after(&mut table, vec![of("a", Create, 1, r#"{"n":1}"#)]).await, [r#"a {"m":4}"#]);
    assert_eq!(after(&mut table, vec![of("a", Create, 3, r#"{"n":3}"#)]).await, [r#"a {"n":3,"m":4}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_row_is_a_version_once() {
    let mut table = Table::in_memory();
    let late = of("a", Create, 39, r#"{"name":"late"}"#);
    added(&mut table, vec![of("a", Patch, 40, r#"{"state":3}"#)]).await;
    assert_eq!(added(&mut table, vec![late.clone()]).await, [r#"a 40 {"name":"late","state":3}"#]);
    assert_eq!(added(&mut table, vec![late]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_before_there_were_traces_go_on() {
    // As they were written then: nothing stands between head and row.
    let head = Head { partition: 1970, created: 1, modified: 1, deleted: false };
    assert_eq!(head.before(b"{}").len(), 4 + 8 + 8 + 1 + 2);
    let mut table = Table::in_memory();
    after(&mut table, vec![of("a", Create, 5, r#"{"n":1}"#)]).await;
    assert_eq!(added(&mut table, vec![of("a", Patch, 6, r#"{"m":1}"#)]).await, [r#"a 6 {"n":1,"m":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_away_the_version_that_it_names() {
    let own = |operation, version, body| {
        let mut change = of("a", operation, version, body);
        change.set_own_version(true);
        change
    };
    let (created, gone) = (own(Create, 5, r#"{"n":1}"#), own(Delete, 5, ""));
    let (mut rows, mut history) = (Table::in_memory(), Table::in_memory());
    assert_eq!(after(&mut rows, vec![created.clone(), gone.clone()]).await, [""; 0]);
    let versions = added(&mut history, vec![created.clone(), gone.clone()]).await;
    assert_eq!(versions, [r#"a 5 {"n":1}"#, "a 5 -"]);
    for again in [vec![created.clone()], vec![gone.clone()], vec![created.clone(), gone.clone()]] {
        assert_eq!(after(&mut rows, again.clone()).await, [""; 0], "what comes again brings nothing back");
        assert_eq!(added(&mut history, again).await, [""; 0]);
    }
    // One of before changes nothing, and a row that comes anew is there.
    assert_eq!(after(&mut rows, vec![own(Create, 6, r#"{"n":2}"#), gone]).await, [r#"a {"n":2}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_read_late_stays_deleted_whatever_its_time() {
    let at = |operation, version, time, body: &'static str| {
        let key = Key { source: String::new(), kind: String::new(), subject: "a".into() };
        Change::new(Shape::Row, key, operation, Some(version), Some(time), Bytes::from_static(body.as_bytes())).unwrap()
    };
    // A snapshot's time is that of its reading, which is later than the deletion's.
    let (read, gone) = (at(Create, 100, 12_005, r#"{"n":1}"#), at(Delete, 150, 12_002, ""));
    for changes in [vec![read.clone(), gone.clone()], vec![gone.clone(), read.clone()]] {
        let (mut rows, mut history) = (Table::in_memory(), Table::in_memory());
        assert_eq!(after(&mut rows, changes.clone()).await, [""; 0]);
        added(&mut history, changes.clone()).await;
        assert_eq!(after(&mut rows, changes.clone()).await, [""; 0]);
        assert_eq!(added(&mut history, changes).await, [""; 0], "each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_several_events_of_one_version_do_not_order_them() {
    let at = |position, body| of("a", Update, 9, body).at_position(Some(position));
    // Two events of a compressed transaction: its rows are counted anew in each.
    let all = vec![at(5, r#"{"x":1}"#), at(0, r#"{"x":2}"#)];
    let (mut rows, mut history) = (Table::in_memory(), Table::in_memory());
    assert_eq!(added(&mut history, all.clone()).await.len(), 2);
    for _ in 0..3 {
        assert_eq!(after(&mut rows, all.clone()).await, [r#"a {"x":2}"#]);
        assert_eq!(added(&mut history, all.clone()).await, [""; 0]);
    }
    // A row that was moved away and came is deleted by a second event: deletes are told apart by what they say of the row.
    let gone = |body| of("b", Delete, 9, body).at_position(Some(0));
    let come = of("b", Create, 9, r#"{"x":2}"#).at_position(Some(1));
    let moved = vec![gone(r#"{"x":1}"#), come, gone(r#"{"x":2}"#)];
    for _ in 0..2 {
        assert_eq!(after(&mut rows, moved.clone()).await, [r#"a {"x":2}"#]);
    }
    // The next version begins anew: in one event the later place counts.
    let next = |position, body| of("a", Update, 10, body).at_position(Some(position));
    let (first, last) = (next(1, r#"{"x":3}"#), next(2, r#"{"x":4}"#));
    assert_eq!(after(&mut rows, vec![first.clone(), last, first]).await, [r#"a {"x":4}"#]);
}

/// Changes of a feed in which versions never fall: a few keys, and versions that several changes share.
fn feed() -> impl Strategy<Value = Vec<Change>> {
    let operation = prop_oneof![2 => Just(Create), 2 => Just(Update), 3 => Just(Patch), 2 => Just(Delete)];
    let member = (prop::sample::select(vec!["x", "y"]), prop_oneof![Just("null"), Just("1"), Just("2")]);
    let change = ("[ab]", operation, prop::bool::weighted(0.4), member);
    prop::collection::vec(change, 1..14).prop_map(|changes| {
        let mut version = 1;
        let one = |(key, operation, rises, (name, value)): (String, Operation, bool, (&str, &str))| {
            version += i64::from(rises);
            of(&key, operation, version, &format!(r#"{{"{name}":{value}}}"#))
        };
        changes.into_iter().map(one).collect()
    })
}

/// A change that no other is like: what two events do alike cannot be told from what one does twice.
fn unlike_others(change: &Change, at: usize) -> Change {
    let body = std::str::from_utf8(&change.body).unwrap().trim_start_matches('{');
    let body = if change.is_delete() { "\"x\":1}" } else { body };
    of(change.subject(), change.operation, change.version().unwrap(), &format!(r#"{{"at":{at},{body}"#))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_feed_that_goes_back_and_comes_again_ends_in_the_same(
        changes in feed(),
        // Events of so many changes have positions, each from 0.
        positioned in prop_oneof![Just(None), Just(Some(u32::MAX)), (1..6u32).prop_map(Some)],
        goes_back in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3),
    ) {
        let place = |(at, change): (usize, Change)| match positioned {
            Some(event) => unlike_others(&change, at).at_position(Some(at as u32 % event)),
            None => change,
        };
        let changes: Vec<Change> = changes.into_iter().enumerate().map(place).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let (mut rows, mut history) = (Table::in_memory(), Table::in_memory());
            let expected = after(&mut rows, changes.clone()).await;
            added(&mut history, changes.clone()).await;
            for (end, start) in goes_back {
                // It goes back, repeats a part, goes back again, and catches up.
                let end = end.index(changes.len()) + 1;
                let start = start.index(end);
                for part in [&changes[start..end], &changes[start / 2..]] {
                    after(&mut rows, part.to_vec()).await;
                    let versions = added(&mut history, part.to_vec()).await;
                    assert_eq!(versions, [""; 0], "what comes again is no version");
                }
                assert_eq!(after(&mut rows, vec![]).await, expected);
            }
        });
    }
}
