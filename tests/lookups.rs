//! Lookups through the real binary: which state of a table they see, and what becomes of them where it is not to be had.

use std::time::{Duration, Instant};

use crate::support::lake_folder::{Installation, visible_files};
use crate::support::process::Following;

/// Devices and measurements that are enriched with them; each export has a lake of its own.
fn fleet() -> Installation {
    Installation::new(
        "[lakes.registry]\nurl = \"./registry-lake\"\n\n[lakes.main]\nurl = \"./lake\"\n\n\
         [sources.registry]\nfiles = \"registry.ndjson\"\nenvelope = \"change\"\n\n\
         [sources.fleet]\nfiles = \"fleet.ndjson\"\nsubject = \"/of\"\nkind = false\n\n\
         [exports.devices]\ntype = \"changes\"\nsource = \"registry\"\nlake = \"registry\"\n\n\
         [exports.measurements]\nsource = \"fleet\"\nlake = \"main\"\ntimestamp = \"write\"\n\
         transforms = [{ plugin = \"enrich\", table = \"devices\", template = false }]\nflush = { every = \"1s\" }\n",
    )
}

fn device(number: usize) -> String {
    format!(
        "{{\"operation\":\"update\",\"kind\":\"device\",\"key\":\"d{number}\",\"body\":{{\"name\":\"Fridge {number}\"}}}}\n"
    )
}

fn measurement(number: usize) -> String {
    format!("{{\"of\":\"d{number}\",\"humidity\":5{number}}}\n")
}

fn enriched(number: usize) -> Vec<u8> {
    format!("{{\"of\":\"d{number}\",\"humidity\":5{number},\"device\":{{\"name\":\"Fridge {number}\"}}}}").into_bytes()
}

fn append(installation: &Installation, name: &str, line: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().append(true).create(true).open(installation.path().join(name));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

#[test]
fn the_first_run_already_finds_what_another_lake_is_about_to_hold() {
    let installation = fleet();
    installation.write("registry.ndjson", (0..3).map(device).collect::<String>());
    installation.write("fleet.ndjson", (0..3).map(measurement).collect::<String>());
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!(installation.lines(), (0..3).map(enriched).collect::<Vec<_>>());
}

#[test]
fn a_registry_that_never_rests_has_its_first_snapshot_and_lets_lookups_on() {
    let installation = fleet();
    installation.write("registry.ndjson", (0..3).map(device).collect::<String>());
    installation.write("fleet.ndjson", (0..3).map(measurement).collect::<String>());
    let following = Following::start(&installation);
    let started = Instant::now();
    let mut number = 3;
    while installation.lines().len() < 3 {
        // Ten changes a second: there is never a pause in which nothing comes.
        append(&installation, "registry.ndjson", &device(number));
        number += 1;
        assert!(started.elapsed() < Duration::from_secs(60), "lookups wait for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    following.stop();
    assert_eq!(installation.lines(), (0..3).map(enriched).collect::<Vec<_>>());
    let snapshots = visible_files(&installation.path().join("registry-lake"));
    assert!(!snapshots.is_empty(), "the table's first snapshot is written");
}

#[test]
fn nothing_is_looked_up_in_half_a_table() {
    let installation = fleet();
    installation.write("fleet.ndjson", (0..3).map(measurement).collect::<String>());
    installation.write("registry.ndjson", device(0) + "no change\n" + &device(1) + &device(2));
    let failed = installation.run(&["run", "--quiet", "--max-dead-letters", "0"]);
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert!(!failed.status.success());
    assert!(stderr.contains("export `devices`, whose table is looked into, ended before"), "{stderr}");
    assert!(installation.files().is_empty(), "no measurement went without its device");
    installation.run_ok(&["run", "--quiet"]);
    assert_eq!(installation.lines(), (0..3).map(enriched).collect::<Vec<_>>());
}

#[test]
fn a_table_whose_file_is_gone_is_named() {
    let installation = fleet();
    installation.write("registry.ndjson", (0..3).map(device).collect::<String>());
    installation.write("fleet.ndjson", "");
    installation.run_ok(&["run", "--quiet"]);
    let stage = installation.path().join("registry-lake/_lakeport/devices/0/stage");
    let runs = visible_files(&stage);
    assert_eq!(runs.len(), 1);
    std::fs::remove_file(stage.join(runs.keys().next().unwrap())).unwrap();
    installation.write("fleet.ndjson", measurement(1));
    let failed = installation.run(&["run", "--quiet", "--export", "measurements"]);
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert!(stderr.contains(runs.keys().next().unwrap()), "{stderr}");
    assert!(stderr.contains("is gone although the last commit names it"), "{stderr}");
}

#[test]
fn a_table_in_several_partitions_is_refused_by_name() {
    let installation = fleet();
    installation.write("registry.ndjson", device(0));
    installation.write("fleet.ndjson", measurement(0));
    installation.run_ok(&["run", "--quiet"]);
    let log = installation.path().join("registry-lake/_lakeport/devices");
    std::fs::rename(log.join("0"), log.join("3")).unwrap();
    append(&installation, "fleet.ndjson", &measurement(1));
    let output = installation.run(&["run", "--quiet", "--export", "measurements"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("export `devices`, whose table is looked into, has a partition `3`"), "{error}");
    assert_eq!(installation.lines(), [enriched(0)]);
}
