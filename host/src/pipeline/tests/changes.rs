//! Exports of changes over a store that misbehaves: no key is lost, none is stale, none stands in a minute twice.

use std::fmt::Write;

use super::*;
use crate::table::Shape;

const KEYS: usize = 40;
const MINUTE: i64 = 60_000_000;

fn line(key: usize, version: usize) -> String {
    format!(
        "{{\"operation\":\"update\",\"kind\":\"device\",\"key\":\"{key}\",\"version\":{version},\
         \"body\":{{\"id\":\"{key}\",\"version\":{version}}}}}\n"
    )
}

/// Every key at its first version; then some that are newer, some that are older, and new ones.
fn rounds() -> [String; 3] {
    let mut rounds = [const { String::new() }; 3];
    (0..KEYS).for_each(|key| rounds[0] += &line(key, 1));
    for key in (0..KEYS).step_by(3) {
        write!(rounds[1], "{}{}", line(key, 3), line(key, 2)).unwrap();
    }
    for key in (0..KEYS + 10).step_by(2) {
        rounds[2] += &line(key, 4);
    }
    rounds
}

fn newest() -> BTreeMap<usize, u64> {
    let version = |key: usize| match key {
        key if key % 2 == 0 => 4,
        key if key % 3 == 0 => 3,
        _ => 1,
    };
    (0..KEYS + 10).filter(|key| *key < KEYS || key % 2 == 0).map(|key| (key, version(key))).collect()
}

/// What each minute's files hold: the version of each key, which is there once.
async fn snapshots(lake: &Lake) -> Vec<BTreeMap<usize, u64>> {
    let mut minutes: BTreeMap<String, BTreeMap<usize, u64>> = BTreeMap::new();
    for object in lake.list("signals").await.unwrap() {
        let bytes = lake.get(&object.key).await.unwrap().unwrap().bytes;
        let minute = minutes.entry(object.key.rsplit_once('/').unwrap().0.to_owned()).or_default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
            let key = record["id"].as_str().unwrap().parse().unwrap();
            let before = minute.insert(key, record["version"].as_u64().unwrap());
            assert_eq!(before, None, "key {key} stands in `{}` twice", object.key);
        }
    }
    minutes.into_values().collect()
}

/// Three rounds of changes, a minute each, run with faults until a run reports none; then what waits, without faults.
async fn survive(plan: FaultPlan, seed: u64) -> usize {
    let fixture = Fixture::with(seed, |input| {
        let mut plan = super::plan(Files::Rolling, input);
        let mut source = SourcePlan::clone(&plan.source);
        source.mapping = Mapping::of_changes();
        plan.source = Arc::new(source);
        plan.exports = Exports::Changes { shape: Shape::Document, mark_deletes: false };
        plan.granularity = Granularity::Minute;
        plan.timestamp = Timestamp::Write;
        plan.path = Template::parse("signals/{YYYY}/{MM}/{dd}/{HH}/{mm}/{part}.{ext}").unwrap();
        plan.flush.bytes = 1_000;
        plan
    });
    let inner: Arc<dyn crate::lake::PartStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::new(inner.clone(), plan.clone());
    let lake = Lake::with_store(Arc::new(faulty.clone()), "faulty", "_lakeport");
    let mut runs = 0;
    let mut input = String::new();
    for round in rounds() {
        input += &round;
        std::fs::write(fixture.input(), &input).unwrap();
        for _ in 0..40 {
            runs += 1;
            if fixture.run(&lake).await.error.is_none() {
                break;
            }
        }
        fixture.clock.0.fetch_add(MINUTE, Ordering::Relaxed);
    }
    faulty.land_all().await;
    let healthy = Lake::with_store(inner, "healthy", "_lakeport");
    for _ in 0..2 {
        let report = fixture.run(&healthy).await;
        assert!(report.error.is_none(), "{plan:?}: {:?}", report.error);
        fixture.clock.0.fetch_add(MINUTE, Ordering::Relaxed);
    }
    let all = snapshots(&healthy).await;
    let read: BTreeMap<_, _> = all.iter().flatten().map(|(key, version)| (*key, *version)).collect();
    assert_eq!(read, newest(), "{plan:?}");
    let first = &all[0];
    assert!((0..KEYS).all(|key| first.contains_key(&key)), "{plan:?}: the first snapshot holds {first:?}");
    let rises = |key: &usize| all.iter().filter_map(|minute| minute.get(key)).is_sorted_by(|a, b| a < b);
    assert!(read.keys().all(rises), "{plan:?}: a key went back, or was written again unchanged: {all:?}");
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_runs_over_a_faulty_store_lose_no_key_and_write_none_twice_in_a_minute() {
    let mut runs = 0;
    for seed in (0..400).step_by(stride(7)) {
        let per_mille = [5, 20, 50, 100][usize::try_from(seed % 4).unwrap()];
        runs += survive(FaultPlan::Seeded { seed, per_mille }, seed).await;
    }
    let seeds = 400_usize.div_ceil(stride(7));
    assert!(runs > seeds * 4, "only {} runs were disturbed", runs - seeds * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_every_operation_is_survived_by_documents() {
    for (number, plan) in every_fault().enumerate().step_by(stride(5)) {
        survive(plan, number as u64).await;
    }
}
