//! The real binary into Azure's and Amazon's stores on bad days: requests and replies are lost, late and refused, the process is
//! killed again and again, and its input grows and is rotated. At the end everything is in the lake once, as it was.

mod devices;
mod signals;
mod supervisor;
mod tables;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::support::lake_folder::Installation;
use crate::support::random::Random;
use crate::support::soak::stride;
use crate::support::stores::Store;
use supervisor::Supervisor;

/// Seeds of each store.
const SEEDS: u64 = 150;
/// Runs that one server serves. Every ten minutes Azurite looks for what is not needed any more, and answers nothing until it has
/// deleted all of it: minutes where it served dozens of runs.
const RUNS_OF_A_SERVER: usize = 10;

/// An export or some, their input, and what has to be in the lake.
trait Job {
    /// Sources and exports of the configuration.
    fn exports(&self) -> String;
    /// What a user does next: more input, as a rule.
    fn act(&mut self, installation: &Installation, random: &mut Random) -> &'static str;
    /// The export whose files a user may move or edit, if any.
    fn loose_export(&self) -> Option<&'static str> {
        None
    }
    /// Whether a file has the last record of what is staged.
    fn has_what_is_staged(&self, _path: &str, _file: &[u8], _staged: &[u8]) -> bool {
        false
    }
    /// Arguments of the last run.
    fn last_run(&self) -> &'static [&'static str] {
        &["run", "--quiet"]
    }
    /// Compares what is in the lake, which is below the installation's folder by now, with all input.
    fn assert_complete(&self, installation: &Installation);
}

fn job(random: &mut Random) -> Box<dyn Job> {
    match random.within(0..=4) {
        0 | 1 => Box::new(signals::Lines::new(signals::NDJSON)),
        2 => Box::new(signals::Lines::new(signals::MESSAGES)),
        3 => Box::new(devices::Devices::default()),
        _ => Box::new(tables::Tables::default()),
    }
}

/// The seeds from `first` on, a sample of them, or the one that `LAKEPORT_CHAOS_SEED` names.
fn seeds(first: u64) -> Vec<u64> {
    match std::env::var("LAKEPORT_CHAOS_SEED") {
        Ok(seed) => vec![seed.parse().expect("LAKEPORT_CHAOS_SEED is a whole number")],
        Err(_) => (first..first + SEEDS).step_by(stride(17)).collect(),
    }
}

/// Runs all seeds, whatever becomes of one, and fails with a list of those that failed.
fn survives(start: fn() -> Store, first: u64, test: &'static str) {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut failures: Vec<String> = Vec::new();
    let seeds = seeds(first);
    for seeds in seeds.chunks(RUNS_OF_A_SERVER) {
        let store = start();
        for seed in seeds {
            // A run shares nothing with the next one but the store, where it has a bucket of its own.
            match catch_unwind(AssertUnwindSafe(|| one_run(&store, *seed, test))) {
                Ok(run) => run.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count),
                Err(panic) => failures.push(format!("seed {seed}: {}", message(&*panic))),
            }
        }
    }
    eprintln!("{test}: {} runs, {} failed, {counts:?}", seeds.len(), failures.len());
    assert!(failures.is_empty(), "{} of {} runs failed:\n{}", failures.len(), seeds.len(), failures.join("\n"));
    if seeds.len() > 1 {
        for what in ["requests", "killed"] {
            assert!(counts.get(what).is_some_and(|count| *count >= seeds.len()), "{what}: {counts:?}");
        }
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// What a seed decides: the job, its faults, what the user does when, and when the process dies.
fn one_run(store: &Store, seed: u64, test: &'static str) -> BTreeMap<&'static str, usize> {
    let mut random = Random::new(!seed);
    let mut job = job(&mut random);
    let mut supervisor = Supervisor::new(store, seed, &job.exports(), test);
    for _ in 0..random.within(4..=8) {
        let did = job.act(supervisor.installation(), &mut random);
        supervisor.note(did);
        supervisor.keep_at_work(&mut random);
        std::thread::sleep(Duration::from_millis(random.within(20..=500)));
        supervisor.disturb(&mut random);
        if let Some(export) = job.loose_export().filter(|_| random.happens(150)) {
            supervisor.meddle(export, &*job, &mut random);
        }
    }
    supervisor.finish(job.last_run());
    job.assert_complete(supervisor.installation());
    supervisor.counts()
}

#[test]
fn exports_into_azure_survive_bad_days_and_kills() {
    survives(Store::azure, 0, "exports_into_azure_survive");
}

#[test]
fn exports_into_s3_survive_bad_days_and_kills() {
    survives(Store::s3, 1_000, "exports_into_s3_survive");
}
