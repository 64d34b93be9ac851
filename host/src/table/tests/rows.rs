//! Rows: what becomes of them, which partition they are in, and the versions that they leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

pub fn row(subject: &str, operation: Operation, version: Option<i64>, body: &str, partition: Option<i32>) -> Change {
    let key = Key { source: String::new(), kind: String::new(), subject: subject.into() };
    let change = Change::new(Shape::Row, key, operation, version, None, Bytes::copy_from_slice(body.as_bytes()));
    change.unwrap().in_partition(partition)
}

/// Applies changes at `write_time`, and answers with what was emitted: key, partition, times, version, whether it went, and row.
pub async fn apply_rows(
    table: &mut Table,
    changes: Vec<Change>,
    emit: Emit,
    rows: RowTerms,
) -> (Applied, Vec<(String, Head, Option<i64>, String)>) {
    table.attempts += 1;
    let staged_key = format!("stage/rows-{}", table.attempts);
    let request = Apply { changes, emit, mark_deletes: false, staged_key, rows };
    let (applied, documents) = apply_and_collect(&table.lake, &table.cache, &table.state, request).await.unwrap();
    table.state = applied.state.clone();
    let mut emitted: Vec<_> = documents
        .into_iter()
        .flatten()
        .map(|document| {
            let body = document.body.unwrap();
            let text = String::from_utf8(Head::row(&body).to_vec()).unwrap();
            (document.key.subject, Head::of(&body).unwrap(), document.version, text)
        })
        .collect();
    emitted.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    (applied, emitted)
}

pub fn at(write_time: i64) -> RowTerms {
    RowTerms { write_time, partition: 1970, ..RowTerms::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_stays_in_the_partition_of_its_creation() {
    let mut table = Table::in_memory();
    let create = vec![
        row("a", Operation::Create, Some(1), r#"{"n":1}"#, Some(2020)),
        row("b", Operation::Create, Some(1), r#"{"n":1}"#, None),
    ];
    let (applied, _) = apply_rows(&mut table, create, Emit::Nothing, at(10)).await;
    assert_eq!(applied.touched, BTreeSet::from([1970, 2020]));
    let update = vec![row("a", Operation::Update, Some(2), r#"{"n":2}"#, Some(2031))];
    let (applied, _) = apply_rows(&mut table, update, Emit::Nothing, at(20)).await;
    assert_eq!(applied.touched, BTreeSet::from([2020]));
    let (_, all) = apply_rows(&mut table, vec![], Emit::Everything, at(30)).await;
    let head = |partition, created, modified| Head { partition, created, modified, deleted: false };
    let expected = [
        ("a".to_owned(), head(2020, 10, 20), Some(2), r#"{"n":2}"#.to_owned()),
        ("b".to_owned(), head(1970, 10, 10), Some(1), r#"{"n":1}"#.to_owned()),
    ];
    assert_eq!(all, expected);
    let only = RowTerms { only: Some(Arc::new(BTreeSet::from([1970]))), ..at(40) };
    let (_, some) = apply_rows(&mut table, vec![], Emit::Everything, only).await;
    assert_eq!(some, expected[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_created_again_after_it_went_is_a_new_one() {
    let mut table = Table::in_memory();
    let changes = vec![
        row("a", Operation::Create, None, "{}", Some(2020)),
        row("a", Operation::Delete, None, "", None),
        row("a", Operation::Create, None, "{}", Some(2021)),
    ];
    let (applied, _) = apply_rows(&mut table, changes, Emit::Nothing, at(10)).await;
    assert_eq!((applied.touched, applied.state.keys), (BTreeSet::from([2020, 2021]), 1));
    let (_, all) = apply_rows(&mut table, vec![], Emit::Everything, at(20)).await;
    assert_eq!(all[0].1.partition, 2021);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_replaces_whole_members_and_null_takes_one_away() {
    let mut table = Table::in_memory();
    let changes = vec![
        row("a", Operation::Create, Some(1), r#"{"o":{"x":1,"y":2},"n":1,"k":"kept"}"#, None),
        row("a", Operation::Patch, Some(2), r#"{"o":{"x":3},"n":null}"#, None),
        row("b", Operation::Patch, Some(1), r#"{"n":null,"m":1}"#, None),
    ];
    apply_rows(&mut table, changes, Emit::Nothing, at(10)).await;
    let (_, all) = apply_rows(&mut table, vec![], Emit::Everything, at(20)).await;
    let rows: Vec<_> = all.iter().map(|(_, _, _, row)| row.as_str()).collect();
    assert_eq!(rows, [r#"{"o":{"x":3},"k":"kept"}"#, r#"{"m":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_counts_as_a_change_and_an_older_one_as_none() {
    let mut table = Table::in_memory();
    let same = |version| vec![row("a", Operation::Update, version, r#"{"n":1}"#, None)];
    apply_rows(&mut table, same(Some(5)), Emit::Nothing, at(10)).await;
    let (applied, _) = apply_rows(&mut table, same(Some(6)), Emit::Nothing, at(20)).await;
    assert_eq!((applied.unchanged, applied.touched.len()), (0, 1));
    let (applied, _) = apply_rows(&mut table, same(Some(6)), Emit::Nothing, at(30)).await;
    assert_eq!((applied.unchanged, applied.touched.len()), (1, 0));
    let (applied, _) = apply_rows(&mut table, same(Some(5)), Emit::Nothing, at(30)).await;
    assert_eq!((applied.ignored, applied.touched.len()), (1, 0));
    let (applied, _) = apply_rows(&mut table, same(None), Emit::Nothing, at(40)).await;
    assert_eq!((applied.unchanged, applied.touched.len()), (1, 0));
    let gone = vec![row("b", Operation::Delete, Some(1), "", None)];
    let (applied, _) = apply_rows(&mut table, gone, Emit::Nothing, at(50)).await;
    assert!(applied.touched.is_empty(), "what never was does not go");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_handed_over_with_the_row_as_it_was() {
    let mut table = Table::in_memory();
    let changes = vec![
        row("a", Operation::Create, Some(1), r#"{"n":1,"m":1}"#, Some(2020)),
        row("a", Operation::Patch, Some(2), r#"{"n":2}"#, None),
        row("a", Operation::Patch, Some(1), r#"{"n":9}"#, None),
        row("a", Operation::Delete, Some(3), "", None),
    ];
    let terms = RowTerms { versions: true, ..at(10) };
    let (_, versions) = apply_rows(&mut table, changes, Emit::Nothing, terms).await;
    let head = |deleted| Head { partition: 2020, created: 10, modified: 10, deleted };
    let expected = [
        ("a".to_owned(), head(false), Some(1), r#"{"n":1,"m":1}"#.to_owned()),
        ("a".to_owned(), head(false), Some(2), r#"{"n":2,"m":1}"#.to_owned()),
        ("a".to_owned(), head(true), Some(3), String::new()),
    ];
    assert_eq!(versions, expected);
}
