use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::*;
use crate::Kind;
use crate::lake::PartStore;
use crate::lake::faulty::{Fault, FaultPlan, FaultyStore, Operation as Request};

fn documents(count: usize) -> Vec<Change> {
    (0..count).map(|i| update(&format!("device-{i}"), &format!(r#"{{"n":{i}}}"#))).collect()
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_names_it() {
    let store = Arc::new(InMemory::new());
    let mut table = Table::over(Lake::with_store(store.clone(), "table", "_lakeport"));
    table.apply(documents(50), Emit::Nothing, false).await;
    let path = Path::from(table.state.runs[0].key.as_str());
    let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
    let keys: Vec<_> = (0..50).map(|i| key(&format!("device-{i}"))).collect();
    // The number of entries is for people: it, too, is under the footer's checksum.
    for at in (0..whole.len()).step_by(7).chain(whole.len() - 24..whole.len()) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x10;
        store.put(&path, damaged.into()).await.unwrap();
        table.cache = Cache::default();
        let read = find(&table.reader(), &keys).await.map(drop).unwrap_err();
        let applied = table.attempt(vec![], Emit::Everything, false).await.map(drop).unwrap_err();
        for error in [read, applied] {
            assert_eq!(error.kind, Kind::Lake, "byte {at}: {error}");
            assert!(error.message.contains("stage/1") && error.help.is_some(), "byte {at}: {error}");
        }
    }
    for length in [0, 1, 100, whole.len() - 1] {
        store.put(&path, whole.slice(..length).into()).await.unwrap();
        table.cache = Cache::default();
        let error = find(&table.reader(), &keys).await.unwrap_err();
        assert!(error.kind == Kind::Lake && error.message.contains("stage/1"), "{length} bytes: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_an_error_to_an_apply_and_old_news_to_a_reader() {
    let mut table = Table::in_memory();
    table.apply(documents(50), Emit::Nothing, false).await;
    let old = table.reader();
    assert!(find(&old, &[key("device-1")]).await.unwrap().is_some());
    table.lake.delete(&table.state.runs[0].key).await.unwrap();
    assert_eq!(find(&old, &[key("device-1")]).await.unwrap().unwrap()[0].as_deref(), Some(&br#"{"n":1}"#[..]));
    table.cache = Cache::default();
    assert_eq!(find(&table.reader(), &[key("device-1")]).await.unwrap(), None);
    let error = table.attempt(documents(60), Emit::Nothing, false).await.map(drop).unwrap_err();
    assert!(error.message.ends_with("stage/1` is gone although the last commit names it"), "{error}");
    assert_eq!(find(&table.reader(), &[]).await.unwrap(), Some(vec![]));
}

#[tokio::test]
async fn a_request_that_fails_leaves_the_table_as_it_was() {
    let inner: Arc<dyn PartStore> = Arc::new(InMemory::new());
    let mut table = Table::over(Lake::with_store(inner.clone(), "table", "_lakeport"));
    table.apply(documents(300), Emit::Waiting, false).await;
    table.apply(documents(20).into_iter().chain([update("new", "{}")]).collect(), Emit::Nothing, false).await;
    for request in [Request::Get, Request::Put] {
        for fault in Fault::ALL {
            for nth in 0..6 {
                let plan = FaultPlan::Once { operation: request, nth, fault };
                let store = FaultyStore::new(inner.clone(), plan);
                table.lake = Lake::with_store(Arc::new(store.clone()), "table", "_lakeport");
                table.cache = Cache::default();
                let changes = vec![patch("new", &format!(r#"{{"try":{nth}}}"#)), patch("device-7", r#"{"m":1}"#)];
                let outcome = table.attempt(changes.clone(), Emit::Waiting, false).await;
                store.land_all().await;
                table.lake = Lake::with_store(inner.clone(), "table", "_lakeport");
                let (_, expected) = table.attempt(changes, Emit::Waiting, false).await.unwrap();
                match outcome {
                    Ok((_, emitted)) => assert_eq!(emitted, expected, "{request:?} {nth} {fault:?}"),
                    Err(error) => assert_eq!(error.kind, Kind::Lake, "{request:?} {nth} {fault:?}: {error}"),
                }
                assert_eq!(table.body("new").await.unwrap(), "{}");
            }
        }
    }
}
