//! What lakes make of stores that fail: every operation with every fault, and many faults at once.
//!
//! The job below asks as the commit stage does: what failed is asked again, and an answer is believed only where the bytes
//! agree. Whatever went wrong, its end must be the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use lakeport::Kind;
use lakeport::lake::faulty::{Fault, FaultPlan, FaultyStore, Operation, Unconditional};
use lakeport::lake::{Created, Lake, Publish, Staged, Version};
use object_store::memory::InMemory;

use crate::support::soak::stride;

/// Asks again this often; a seeded plan may fail many times in a row.
const PATIENCE: usize = 100;

#[tokio::test]
async fn every_fault_of_every_operation_ends_well() {
    let mut met = 0;
    for operation in Operation::ALL {
        // More than a part only where parts are what it is about.
        let size = match operation {
            Operation::StartUpload | Operation::PutPart | Operation::CompleteUpload | Operation::AbortUpload => 9 << 20,
            _ => 1 << 10,
        };
        for fault in Fault::ALL {
            for nth in 0..3 {
                let store = FaultyStore::new(Arc::new(InMemory::new()), FaultPlan::Once { operation, nth, fault });
                job(&store, size).await;
                let hit = store.events().iter().filter(|event| event.fault.is_some()).count();
                assert!(hit <= 1, "{operation:?} {fault:?} {nth}");
                assert!(hit == 1 || nth > 0, "no {operation:?} was made");
                met += hit;
            }
        }
    }
    assert!(met >= Operation::ALL.len() * Fault::ALL.len());
}

/// One request of each kind fails in each way: whoever asked the lake hears nothing of it.
#[tokio::test]
async fn a_lake_that_retries_shows_no_passing_fault() {
    let passing = [Fault::FailsBefore, Fault::FailsAfter, Fault::LandsLate(1), Fault::Throttled, Fault::Unavailable];
    let mut jobs = Vec::new();
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::AbortUpload) {
        let size = match operation {
            Operation::StartUpload | Operation::PutPart | Operation::CompleteUpload => 9 << 20,
            _ => 1 << 10,
        };
        for fault in passing {
            jobs.push(async move {
                let plan = FaultPlan::Once { operation, nth: 0, fault };
                let store = FaultyStore::new(Arc::new(InMemory::new()), plan);
                let lake = Lake::with_store(Arc::new(store.clone()), "passing", "_lakeport");
                let lake = lake.retrying_for(Duration::from_secs(60));
                all_operations(&lake, size).await;
                let events = store.events();
                let hit =
                    events.iter().find(|event| event.fault.is_some()).unwrap_or_else(|| panic!("no {operation:?}"));
                let again = events.iter().filter(|event| event.operation == operation && event.key == hit.key).count();
                // An upload that was completed all the same is found to be there.
                let is_found =
                    operation == Operation::CompleteUpload && matches!(fault, Fault::FailsAfter | Fault::LandsLate(_));
                assert!(again > 1 || is_found, "{operation:?} {fault:?}: {events:#?}");
            });
        }
    }
    let done: Vec<()> = futures::stream::iter(jobs).buffer_unordered(8).collect().await;
    assert_eq!(done.len(), 50);
}

async fn all_operations(lake: &Lake, size: usize) {
    // Its own create may be the one that it is refused for.
    let (Created::Created | Created::Exists) = lake.create("slot", "mine".into()).await.unwrap();
    lake.replace("note", "note".into()).await.unwrap();
    let bytes = Bytes::from(vec![b'p'; size]);
    let mut staging = lake.stage("stage/part").await.unwrap();
    staging.write(bytes.clone()).await.unwrap();
    let staged = staging.finish().await.unwrap();
    assert_eq!(staged, Staged::of(&bytes));
    let Publish::Published(_) = lake.publish_new("stage/part", &staged, "part").await.unwrap() else { panic!() };
    let Publish::Published(first) = lake.publish_over("stage/part", &staged, "grows", None).await.unwrap() else {
        panic!()
    };
    let mut staging = lake.stage("stage/more").await.unwrap();
    staging.write("more".into()).await.unwrap();
    let more = staging.finish().await.unwrap();
    let over = lake.publish_over("stage/more", &more, "grows", Some(&first)).await.unwrap();
    assert!(matches!(over, Publish::Published(_)), "{over:?}");
    lake.delete("stage/part").await.unwrap();
    lake.delete("stage/more").await.unwrap();
    let keys: Vec<_> = lake.list("").await.unwrap().into_iter().map(|meta| meta.key).collect();
    assert_eq!(keys, ["grows", "note", "part", "slot"]);
    assert_eq!(lake.get("slot").await.unwrap().unwrap().bytes, "mine");
    assert_eq!(lake.get("grows").await.unwrap().unwrap().bytes, "more");
    assert!(lake.get("part").await.unwrap().unwrap().bytes == bytes);
}

#[tokio::test]
async fn many_faults_at_once_end_well() {
    let mut faults = 0;
    for seed in (0..500).step_by(stride(3)) {
        let plan = FaultPlan::Seeded { seed, per_mille: 300 };
        let store = FaultyStore::new(Arc::new(InMemory::new()), plan);
        job(&store, 1 << 10).await;
        faults += store.events().iter().filter(|event| event.fault.is_some()).count();
    }
    assert!(faults > 2_000 / stride(3), "only {faults} faults were met");
}

#[tokio::test]
async fn one_seed_gives_one_run() {
    let run = |seed| async move {
        let store = FaultyStore::new(Arc::new(InMemory::new()), FaultPlan::Seeded { seed, per_mille: 300 });
        job(&store, 1 << 10).await;
        store.events()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test]
async fn a_late_request_lands_after_the_caller_was_told_of_a_timeout() {
    let plan = FaultPlan::Once { operation: Operation::Create, nth: 0, fault: Fault::LandsLate(2) };
    let store = FaultyStore::new(Arc::new(InMemory::new()), plan);
    let lake = Lake::with_store(Arc::new(store.clone()), "late", "_lakeport");
    let failed = lake.create("slot", "mine".into()).await.unwrap_err();
    assert!(failed.message.contains("timed out"), "{failed}");
    assert_eq!(lake.get("slot").await.unwrap(), None, "request 1");
    assert_eq!(lake.get("slot").await.unwrap().unwrap().bytes, "mine", "request 2");
}

#[tokio::test]
async fn a_conflict_may_be_about_nothing_and_a_success_may_hide() {
    for (fault, there) in [(Fault::Conflict, false), (Fault::HidesSuccess, true)] {
        let plan = FaultPlan::Once { operation: Operation::Create, nth: 0, fault };
        let store = FaultyStore::new(Arc::new(InMemory::new()), plan);
        let lake = Lake::with_store(Arc::new(store), "refused", "_lakeport");
        assert_eq!(lake.create("slot", "mine".into()).await.unwrap(), Created::Exists);
        assert_eq!(lake.get("slot").await.unwrap().is_some(), there, "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_ignores_create_if_absent_is_refused_by_name() {
    let lake = Lake::with_store(Arc::new(Unconditional(Arc::new(InMemory::new()))), "careless", "_lakeport");
    let refused = lake.probe().await.unwrap_err();
    assert_eq!(refused.kind, Kind::Lake);
    assert_eq!(
        refused.to_string(),
        "the store at `memory:careless/` cannot hold a lake: it accepted a second create-if-absent of one object\n\
         help: exactly-once needs create-if-absent (`If-None-Match: *`): use another store, or a newer version of it"
    );
    assert_eq!(lake.list("").await.unwrap(), [], "the probe is deleted");
    let honest = Lake::with_store(Arc::new(InMemory::new()), "honest", "_lakeport");
    honest.probe().await.unwrap();
}

/// A slot of the log, a part that is published once, a file that grows, and an attempt that is given up.
async fn job(store: &FaultyStore, size: usize) {
    let lake = &Lake::with_store(Arc::new(store.clone()), "faulty", "_lakeport");
    let events = || format!("{:#?}", store.events());

    create(lake, "log/0", "nonce-1").await;

    let mut abandoned = lake.stage("stage/abandoned").await.unwrap();
    // It is given up whether it worked or not.
    let _ = abandoned.write(vec![0; size].into()).await;
    let _ = abandoned.abort().await;

    let part = vec![b'p'; size];
    let (name, staged) = stage(lake, "part", &part).await;
    publish(lake, &name, &staged, "signals/00", Target::New).await;
    delete(lake, &name).await;
    publish(lake, &name, &staged, "signals/00", Target::New).await;
    list(lake, "signals", &["signals/00"]).await;

    let (first, staged_first) = stage(lake, "first", b"1\n").await;
    let (second, staged_second) = stage(lake, "second", b"1\n2\n").await;
    let one = publish(lake, &first, &staged_first, "growing/00", Target::Over(None)).await;
    publish(lake, &second, &staged_second, "growing/00", Target::Over(Some(one))).await;

    store.set_plan(FaultPlan::Never);
    store.land_all().await;
    assert_eq!(lake.get("log/0").await.unwrap().unwrap().bytes, "nonce-1", "{}", events());
    assert!(lake.get("signals/00").await.unwrap().unwrap().bytes == part, "{}", events());
    assert_eq!(lake.get("growing/00").await.unwrap().unwrap().bytes, "1\n2\n", "{}", events());
}

enum Target {
    New,
    Over(Option<Version>),
}

async fn create(lake: &Lake, key: &str, nonce: &'static str) {
    for _ in 0..PATIENCE {
        // Whatever was said, what counts is what is there.
        let _ = lake.create(key, Bytes::from_static(nonce.as_bytes())).await;
        if let Ok(Some(object)) = lake.get(key).await {
            assert_eq!(object.bytes, nonce);
            return;
        }
    }
    panic!("`{key}` was never created");
}

async fn stage(lake: &Lake, name: &str, bytes: &[u8]) -> (String, Staged) {
    for attempt in 0..PATIENCE {
        let key = format!("stage/{name}-{attempt}");
        let mut staging = lake.stage(&key).await.unwrap();
        if staging.write(Bytes::copy_from_slice(bytes)).await.is_err() {
            continue;
        }
        if let Ok(staged) = staging.finish().await {
            assert_eq!(staged, Staged::of(bytes));
            return (key, staged);
        }
    }
    panic!("`{name}` was never staged");
}

async fn publish(lake: &Lake, name: &str, staged: &Staged, key: &str, target: Target) -> Version {
    for _ in 0..PATIENCE {
        let outcome = match &target {
            Target::New => lake.publish_new(name, staged, key).await,
            Target::Over(expected) => lake.publish_over(name, staged, key, expected.as_ref()).await,
        };
        match outcome {
            Ok(Publish::Published(version)) => return version,
            Ok(refused) => panic!("`{key}`: {refused:?}"),
            Err(e) => assert_eq!(e.kind, Kind::Lake),
        }
    }
    panic!("`{key}` was never published");
}

async fn list(lake: &Lake, prefix: &str, expected: &[&str]) {
    for _ in 0..PATIENCE {
        if let Ok(listed) = lake.list(prefix).await {
            assert_eq!(listed.iter().map(|meta| meta.key.as_str()).collect::<Vec<_>>(), expected);
            return;
        }
    }
    panic!("`{prefix}` was never listed");
}

async fn delete(lake: &Lake, key: &str) {
    for _ in 0..PATIENCE {
        if lake.delete(key).await.is_ok() && lake.head(key).await.is_ok_and(|meta| meta.is_none()) {
            return;
        }
    }
    panic!("`{key}` was never deleted");
}
