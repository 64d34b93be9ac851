use super::*;

const COUNT: usize = 100_000;

fn document(i: usize, generation: usize) -> String {
    format!(r#"{{"id":"device-{i}","generation":{generation},"properties":{{"cloud":{{"location":"New York"}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_documents_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::local(&folder).await;
    for portion in 0..10 {
        let range = portion * COUNT / 10..(portion + 1) * COUNT / 10;
        let changes = range.map(|i| update(&format!("device-{i}"), &document(i, 0))).collect();
        table.apply(changes, Emit::Nothing, false).await;
    }
    assert_eq!((table.state.keys, table.state.waiting), (COUNT as u64, COUNT as u64));
    let (applied, portions) = table.attempt(vec![], Emit::Everything, false).await.unwrap();
    assert_eq!(applied.emitted, COUNT as u64);
    assert!(portions.iter().all(|portion| portion.len() <= 4096));
    table.state = applied.state;

    for generation in 1..=20 {
        let changed = (0..COUNT).filter(|i| i % 100 == generation);
        let changes: Vec<_> =
            changed.map(|i| patch(&format!("device-{i}"), &format!(r#"{{"generation":{generation}}}"#))).collect();
        let (applied, documents) = table.apply(changes, Emit::Waiting, false).await;
        assert_eq!((applied.emitted, documents.len()), (1000, 1000));
        let runs = &table.state.runs;
        assert!(runs.len() <= 8, "{runs:?}");
    }
    let keys: Vec<_> = (0..COUNT).step_by(97).map(|i| key(&format!("device-{i}"))).collect();
    let found = find(&table.reader(), &keys).await.unwrap().unwrap();
    for (i, found) in (0..COUNT).step_by(97).zip(found) {
        let generation = if (1..=20).contains(&(i % 100)) { i % 100 } else { 0 };
        assert_eq!(found.unwrap(), document(i, generation));
    }
    let objects = table.lake.list("").await.unwrap();
    let mut runs: Vec<_> = table.state.runs.iter().map(|run| run.key.clone()).collect();
    runs.sort();
    assert_eq!(objects.into_iter().map(|meta| meta.key).collect::<Vec<_>>(), runs, "nothing is left behind");
}

#[tokio::test]
async fn readers_of_one_cache_share_what_they_read() {
    let mut table = Table::in_memory();
    let changes = (0..1000).map(|i| update(&format!("device-{i}"), &document(i, 0))).collect();
    table.apply(changes, Emit::Nothing, false).await;
    let keys: Vec<_> = (0..1000).map(|i| key(&format!("device-{i}"))).collect();
    assert!(find(&table.reader(), &keys).await.unwrap().unwrap().iter().all(Option::is_some));
    // Not a request more, even by another reader.
    table.lake.delete(&table.state.runs[0].key).await.unwrap();
    assert!(find(&table.reader(), &keys).await.unwrap().unwrap().iter().all(Option::is_some));
}
