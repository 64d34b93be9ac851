//! Whole runs in this process: a file, plugins that are linked natively or the one for Avro in its sandbox, a lake in memory
//! that misbehaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apache_avro::types::Value;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use object_store::memory::InMemory;
use tokio::sync::watch;

use super::run::HoldSender;
use super::{Job, Options, Tables, run};
use crate::clock::{Clock, Surroundings};
use crate::error::Result;
use crate::lake::Lake;
use crate::lake::faulty::{Fault, FaultPlan, FaultyStore, Operation};
use crate::layout::Template;
use crate::plan::{
    ExportPlan, Exports, Files, Flush, Granularity, Input, LakePlan, Limits, Location, Mapping, OnError, Place,
    PluginOrigin, PluginPlan, PluginUse, SOLE_PARTITION, SourcePlan, Timestamp,
};
use crate::plugin::{
    Compiler, Failure, FileId, FileType, Filter, Format, Moment, Sandbox, Segment, Toolbox, Transform,
};
use crate::record::{Attribute, ColumnRequest, ColumnType};
use crate::soak::stride;
use crate::source::Local;
use crate::telemetry::{ExportReport, Live};

mod bodies;
mod changes;
mod tables;

const RECORDS: usize = 240;
const MODES: [Files; 3] =
    [Files::Rolling, Files::Growing { roll_size: 6_000 }, Files::Sealed { lateness: Duration::from_secs(600) }];

/// What the files of an export hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Lines,
    /// Container files: a header, then blocks, all of which end with the file's marker.
    Avro,
}

/// Where the format for Avro runs; compiled once.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let cache = tempfile::tempdir().unwrap();
    Sandbox::new(Some(cache.path().to_owned()), Compiler::ThisProcess).unwrap()
});

/// A line for each record.
struct Lines {
    columns: Vec<ColumnRequest>,
    file_type: FileType,
    /// The lines of a batch.
    lines: fn(&[ArrayRef]) -> Vec<u8>,
}

impl Format for Lines {
    fn columns(&self) -> &[ColumnRequest] {
        &self.columns
    }

    fn file_type(&self) -> &FileType {
        &self.file_type
    }

    fn begin(&mut self, _: FileId, _: [u8; 16], _: bool) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    fn encode(&mut self, _: FileId, rows: usize, columns: &[ArrayRef]) -> Result<Segment, Failure> {
        assert_eq!(rows, columns[0].len());
        Ok(Segment { bytes: (self.lines)(columns), rows: rows.try_into().unwrap(), rejected: Vec::new() })
    }

    fn finish(&mut self, _: FileId) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    fn set_moment(&mut self, _: Moment) {}
}

struct OnlyLines;

impl Toolbox for OnlyLines {
    fn filter(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Filter>> {
        unreachable!("the export has no filters")
    }

    fn transform(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Transform>> {
        unreachable!("the export has no transforms")
    }

    fn format(&self, _: &PluginUse, _: Moment) -> Result<Box<dyn Format>> {
        Ok(Box::new(Lines {
            columns: vec![ColumnRequest::attribute(Attribute::Body, ColumnType::Bytes)],
            file_type: FileType {
                extension: "ndjson".into(),
                content_type: "application/x-ndjson".into(),
                appendable: true,
            },
            lines: |columns| {
                // As they came: what the ndjson plugin does, without the sandbox.
                columns[0].as_binary_view().iter().flatten().flat_map(|body| [body, b"\n"].concat()).collect()
            },
        }))
    }
}

/// A clock that a test sets, and that moves a little each time it is read.
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.0.fetch_add(50_000, Ordering::Relaxed)
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    plan: Arc<ExportPlan>,
    clock: Arc<TestClock>,
    chance: Arc<AtomicU64>,
    toolbox: Arc<dyn Toolbox>,
}

impl Fixture {
    fn new(files: Files, content: Content, seed: u64) -> Self {
        let mut fixture = Fixture::with(seed, |input| {
            let mut plan = plan(files, input);
            if content == Content::Avro {
                let format =
                    PluginPlan { name: "avro".into(), origin: PluginOrigin::BuiltIn, limits: Limits::default() };
                plan.format = PluginUse { plugin: Arc::new(format), config: serde_json::json!({ "codec": "deflate" }) };
            }
            plan
        });
        if content == Content::Avro {
            fixture.toolbox = Arc::new(SANDBOX.toolbox());
        }
        std::fs::write(fixture.input(), input_lines()).unwrap();
        fixture
    }

    /// A fixture whose plan reads the file that it is given.
    fn with(seed: u64, plan: impl FnOnce(&Path) -> ExportPlan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Fixture {
            plan: Arc::new(plan(&folder.path().join("in.ndjson"))),
            folder,
            // 2026-01-01T00:00:00Z: long after the records' times.
            clock: Arc::new(TestClock(AtomicI64::new(1_767_225_600_000_000))),
            chance: Arc::new(AtomicU64::new(seed)),
            toolbox: Arc::new(OnlyLines),
        }
    }

    fn input(&self) -> PathBuf {
        self.folder.path().join("in.ndjson")
    }

    async fn run(&self, lake: &Lake) -> ExportReport {
        let chance = self.chance.clone();
        let (_keep, stop) = watch::channel(false);
        run(Job {
            export: self.plan.clone(),
            lake: lake.clone(),
            source: Arc::new(Local),
            tables: Tables::default(),
            settled: None,
            toolbox: self.toolbox.clone(),
            plugins: BTreeMap::new(),
            surroundings: Surroundings {
                clock: self.clock.clone(),
                chance: Arc::new(move || chance.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)),
            },
            options: Options::new(2, "test".into()),
            live: Arc::new(Live::default()),
            hold: HoldSender::default(),
            stop,
        })
        .await
    }
}

/// `{"id":"7","name":…,"signalTime":…}`, over four hours, every seventh record two hours late.
fn input_lines() -> String {
    (0..RECORDS)
        .map(|id| {
            let minute = 120 + id * 120 / RECORDS - if id % 7 == 0 { 120 } else { 0 };
            let (hour, minute) = (8 + minute / 60, minute % 60);
            format!("{{\"name\":\"Brew\",\"id\":\"{id}\",\"signalTime\":\"2019-09-10T{hour:02}:{minute:02}:00Z\"}}\n")
        })
        .collect()
}

fn plan(files: Files, input: &Path) -> ExportPlan {
    let source = SourcePlan {
        accepts_gaps: false,
        partitions: 1,
        lake: None,
        name: "signals".into(),
        input: Input::Files(vec![input.to_str().unwrap().to_owned()]),
        mapping: Mapping { id: Place::Body("/id".into()), ..Mapping::plain() },
    };
    let format = PluginPlan { name: "ndjson".into(), origin: PluginOrigin::BuiltIn, limits: Limits::default() };
    ExportPlan {
        partition: SOLE_PARTITION.into(),
        name: "signals".into(),
        exports: Exports::Events,
        source: Arc::new(source),
        lake: Arc::new(LakePlan {
            name: "main".into(),
            location: Location::Memory("unused".into()),
            log_folder: "_lakeport".into(),
            retry_for: Duration::ZERO,
        }),
        filters: Vec::new(),
        transforms: Vec::new(),
        format: PluginUse { plugin: Arc::new(format), config: serde_json::json!({}) },
        granularity: Granularity::Hour,
        timestamp: Timestamp::Event { or_enqueued: false },
        path: Template::parse("signals/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}").unwrap(),
        files,
        flush: Flush { every: Duration::from_secs(60), bytes: 3_000 },
        on_error: OnError::DeadLetter,
        max_record_size: 1 << 20,
        max_ahead: None,
        max_dead_letters: None,
        excerpt: None,
        settings: serde_json::json!({}),
    }
}

/// How often each record stands in the published files.
async fn ids(lake: &Lake) -> BTreeMap<usize, usize> {
    let mut ids = BTreeMap::new();
    for object in lake.list("signals").await.unwrap() {
        let bytes = lake.get(&object.key).await.unwrap().unwrap().bytes;
        let bodies = match object.key.ends_with(".avro") {
            true => avro_bodies(&bytes),
            false => bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect(),
        };
        for body in bodies {
            let record: serde_json::Value = serde_json::from_slice(&body).unwrap();
            *ids.entry(record["id"].as_str().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    ids
}

/// The bodies of the messages in a container file, as Apache's own crate reads it.
fn avro_bodies(file: &[u8]) -> Vec<Vec<u8>> {
    let records = apache_avro::Reader::new(file).expect("the file has a header");
    let body = |record: Value| {
        let Value::Record(members) = record else { panic!("{record:?} is no record") };
        let (_, body) = members.into_iter().find(|(name, _)| name == "Body").expect("a message has a body");
        match body {
            Value::Union(_, body) => match *body {
                Value::Bytes(body) => body,
                other => panic!("{other:?} is no bytes"),
            },
            other => panic!("{other:?} is no union"),
        }
    };
    records.map(|record| body(record.expect("the file is whole"))).collect()
}

fn every_id_once() -> BTreeMap<usize, usize> {
    (0..RECORDS).map(|id| (id, 1)).collect()
}

/// Runs with faults until a run reports none, then once more without; every record must be there once.
async fn survive(files: Files, content: Content, plan: FaultPlan, seed: u64) -> usize {
    let fixture = Fixture::new(files, content, seed);
    let inner: Arc<dyn crate::lake::PartStore> = Arc::new(InMemory::new());
    let faulty = FaultyStore::new(inner.clone(), plan.clone());
    let lake = Lake::with_store(Arc::new(faulty.clone()), "faulty", "_lakeport");
    let mut runs = 0;
    while runs < 40 {
        runs += 1;
        if fixture.run(&lake).await.error.is_none() {
            break;
        }
    }
    faulty.land_all().await;
    let healthy = Lake::with_store(inner, "healthy", "_lakeport");
    let report = fixture.run(&healthy).await;
    assert!(report.error.is_none(), "{files:?}, {content:?}, {plan:?}: {:?}", report.error);
    let found = ids(&healthy).await;
    let lost: Vec<_> = (0..RECORDS).filter(|id| !found.contains_key(id)).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "{files:?}, {content:?}, {plan:?}: lost {lost:?}, doubled {doubled:?}"
    );
    runs
}

/// Every fault of every operation: of the first such request, the second and the fifth.
fn every_fault() -> impl Iterator<Item = FaultPlan> {
    let of = |operation| Fault::ALL.into_iter().map(move |fault| (operation, fault));
    Operation::ALL
        .into_iter()
        .flat_map(of)
        .flat_map(|(operation, fault)| [0, 1, 4].map(|nth| FaultPlan::Once { operation, nth, fault }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_runs_over_a_faulty_store_lose_and_double_nothing() {
    let mut disturbed = 0;
    for seed in (0..2_001).step_by(stride(7)) {
        let files = MODES[usize::try_from(seed % 3).unwrap()];
        // From one request in two hundred to one in ten.
        let per_mille = [5, 20, 50, 100][usize::try_from(seed / 3 % 4).unwrap()];
        let plan = FaultPlan::Seeded { seed, per_mille };
        disturbed += survive(files, Content::Lines, plan, seed).await.saturating_sub(1);
    }
    assert!(disturbed > 1_000 / stride(7), "only {disturbed} runs were disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_runs_over_a_faulty_store_lose_and_double_nothing_in_avro_files() {
    let mut disturbed = 0;
    for seed in (0..600).step_by(stride(7)) {
        let files = MODES[usize::try_from(seed % 3).unwrap()];
        let per_mille = [5, 20, 50, 100][usize::try_from(seed / 3 % 4).unwrap()];
        let plan = FaultPlan::Seeded { seed, per_mille };
        disturbed += survive(files, Content::Avro, plan, seed).await.saturating_sub(1);
    }
    assert!(disturbed > 300 / stride(7), "only {disturbed} runs were disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_every_operation_is_survived() {
    for (number, plan) in every_fault().enumerate().step_by(stride(5)) {
        for files in MODES {
            for content in [Content::Lines, Content::Avro] {
                survive(files, content, plan.clone(), number as u64).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_back_or_forth_neither_loses_nor_reorders_commits() {
    for files in MODES {
        let fixture = Fixture::new(files, Content::Lines, 7);
        let lake = Lake::with_store(Arc::new(InMemory::new()), "clock", "_lakeport");
        let mut times = Vec::new();
        for jump in [0, -86_400_000_000, 3 * 86_400_000_000, -1] {
            fixture.clock.0.fetch_add(jump, Ordering::Relaxed);
            let report = fixture.run(&lake).await;
            assert!(report.error.is_none(), "{:?}", report.error);
            let (_, commit) = crate::commit::read_last(&lake, "signals", SOLE_PARTITION).await.unwrap().unwrap();
            times.push(commit.write_time);
        }
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(ids(&lake).await, every_id_once());
    }
}
