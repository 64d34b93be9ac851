//! Exports of tables over a store that misbehaves: no row is lost, none is stale, no version stands twice, and the catalog never
//! points at a file that is not there.

use std::fmt::Write;

use super::*;
use crate::plan::{Columns, Partition, TablePlan, TablesPlan, Write as WriteMode};

const ROWS: usize = 30;

fn line(table: &str, row: usize, version: usize) -> String {
    let created = format!("20{:02}-01-01T00:00:00Z", row % 3);
    format!(
        "{{\"operation\":\"update\",\"kind\":\"{table}\",\"key\":\"{row}\",\"version\":{version},\
         \"body\":{{\"number\":{version},\"created\":\"{created}\"}}}}\n"
    )
}

/// Every row at its first version; then some that are newer, some that are older, and new ones.
fn rounds() -> [String; 3] {
    let mut rounds = [const { String::new() }; 3];
    for table in ["account", "audit"] {
        (0..ROWS).for_each(|row| rounds[0] += &line(table, row, 1));
        for row in (0..ROWS).step_by(3) {
            write!(rounds[1], "{}{}", line(table, row, 3), line(table, row, 2)).unwrap();
        }
        (0..ROWS + 10).step_by(2).for_each(|row| rounds[2] += &line(table, row, 4));
    }
    rounds
}

/// The versions of each row that were newer than the one before.
fn versions(row: usize) -> Vec<usize> {
    let is = |condition: bool, version| condition.then_some(version);
    let all = [is(row < ROWS, 1), is(row < ROWS && row.is_multiple_of(3), 3), is(row.is_multiple_of(2), 4)];
    all.into_iter().flatten().collect()
}

fn table(kind: &str, write: WriteMode) -> TablePlan {
    TablePlan {
        linked: true,
        link: 1,
        remove_files: false,
        kinds: vec![kind.into()],
        key: Vec::new(),
        created: Some("/created".into()),
        write,
        partition: Partition::Year,
        columns: Columns::Infer,
    }
}

fn fixture(seed: u64) -> Fixture {
    let mut fixture = Fixture::with(seed, |input| {
        let mut plan = super::plan(Files::Once, input);
        let mut source = SourcePlan::clone(&plan.source);
        source.mapping = Mapping::of_changes();
        plan.source = Arc::new(source);
        let tables =
            [("account", table("account", WriteMode::InPlace)), ("audit", table("audit", WriteMode::AppendOnly))];
        plan.exports = Exports::Tables(Arc::new(TablesPlan {
            root: "crm".into(),
            public_url: "https://lake/crm/".into(),
            description: String::new(),
            every: Duration::from_micros(1),
            keep: Duration::from_secs(86_400),
            tables: tables.into_iter().map(|(name, plan)| (name.to_owned(), plan)).collect(),
        }));
        let format = PluginPlan { name: "cdm-csv".into(), origin: PluginOrigin::BuiltIn, limits: Limits::default() };
        plan.format = PluginUse { plugin: Arc::new(format), config: serde_json::json!({}) };
        plan.timestamp = Timestamp::Write;
        plan.path = Template::parse("crm/{part}").unwrap();
        plan.flush.bytes = 3_000;
        plan
    });
    fixture.toolbox = Arc::new(SANDBOX.toolbox());
    fixture
}

/// The versions of every row of each table, as the catalog's files have them; nothing where there is no catalog yet.
async fn read(lake: &Lake) -> BTreeMap<String, BTreeMap<usize, Vec<usize>>> {
    let Some(model) = lake.get("crm/model.json").await.unwrap() else { return BTreeMap::new() };
    let model: serde_json::Value = serde_json::from_slice(&model.bytes).unwrap();
    let mut tables = BTreeMap::new();
    for entity in model["entities"].as_array().unwrap() {
        let names: Vec<_> =
            entity["attributes"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
        let version = names.iter().position(|name| *name == "versionnumber").unwrap();
        let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for partition in entity["partitions"].as_array().unwrap() {
            let location = partition["location"].as_str().unwrap();
            let key = format!("crm/{}", location.strip_prefix("https://lake/crm/").unwrap());
            let file = lake.get(&key).await.unwrap().unwrap_or_else(|| panic!("`{key}` is listed, and not there"));
            for line in String::from_utf8(file.bytes.to_vec()).unwrap().lines() {
                let cells: Vec<_> = line.split(',').collect();
                assert_eq!(cells.len(), names.len(), "`{key}`: {line}");
                let row = cells[0].trim_matches('"').parse().unwrap();
                rows.entry(row).or_default().push(cells[version].parse().unwrap());
            }
        }
        rows.values_mut().for_each(|versions| versions.sort_unstable());
        tables.insert(entity["name"].as_str().unwrap().to_owned(), rows);
    }
    tables
}

/// Three rounds of changes, run with faults until a run reports none; then once more, without.
async fn survive(plan: FaultPlan, seed: u64) -> usize {
    let fixture = fixture(seed);
    let inner: Arc<dyn crate::lake::PartStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::new(inner.clone(), plan.clone());
    let lake = Lake::with_store(Arc::new(faulty.clone()), "faulty", "_lakeport");
    let healthy = Lake::with_store(inner, "healthy", "_lakeport");
    let mut runs = 0;
    let mut input = String::new();
    for round in rounds() {
        input += &round;
        std::fs::write(fixture.input(), &input).unwrap();
        for _ in 0..40 {
            runs += 1;
            let done = fixture.run(&lake).await.error.is_none();
            // A reader in between finds every file that is listed.
            read(&healthy).await;
            if done {
                break;
            }
        }
    }
    faulty.land_all().await;
    for _ in 0..2 {
        let report = fixture.run(&healthy).await;
        assert!(report.error.is_none(), "{plan:?}: {:?}", report.error);
    }
    let found = read(&healthy).await;
    let rows = (0..ROWS + 10).filter(|row| !versions(*row).is_empty());
    let audit: BTreeMap<_, _> = rows.map(|row| (row, versions(row))).collect();
    let account = audit.iter().map(|(row, versions)| (*row, versions[versions.len() - 1..].to_vec())).collect();
    assert_eq!(found["audit"], audit, "{plan:?}: every version, once");
    assert_eq!(found["account"], account, "{plan:?}: the newest version of every row");
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_over_a_faulty_store_lose_no_row_and_double_no_version() {
    let mut runs = 0;
    for seed in (0..100).step_by(stride(5)) {
        let per_mille = [5, 20, 50, 100][usize::try_from(seed % 4).unwrap()];
        runs += survive(FaultPlan::Seeded { seed, per_mille }, seed).await;
    }
    let seeds = 100_usize.div_ceil(stride(5));
    assert!(runs > seeds * 4, "only {} runs were disturbed", runs - seeds * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_every_operation_is_survived_by_tables() {
    for (number, plan) in every_fault().enumerate().step_by(stride(5)) {
        survive(plan, number as u64).await;
    }
}
