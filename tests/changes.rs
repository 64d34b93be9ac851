//! Exports of changes through the real binary: what a snapshot holds, when it is written, and what a kill leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use apache_avro::types::Value;

use crate::support::avro::{member, records, text};
use crate::support::lake_folder::Installation;
use crate::support::process::signal;
use crate::support::soak::stride;

/// An export of devices, with further lines of its configuration.
fn devices(more: &str) -> Installation {
    Installation::new(&format!(
        "[sources.registry]\nfiles = \"registry.ndjson\"\nenvelope = \"change\"\n\n\
         [exports.devices]\ntype = \"changes\"\nsource = \"registry\"\n\
         format = {{ plugin = \"avro\", record = \"device\" }}\n{more}\n"
    ))
}

/// An export of the devices whose twins a hub tells of.
fn twins() -> Installation {
    Installation::new(
        "[sources.hub]\nfiles = \"registry.ndjson\"\nenvelope = \"iot-hub\"\n\n\
         [exports.devices]\ntype = \"changes\"\nshape = \"twin\"\nsource = \"hub\"\n\
         format = { plugin = \"avro\", record = \"device\" }\n",
    )
}

/// A change record that sets a device's fan speed.
pub fn set(device: usize, version: usize, speed: usize) -> String {
    format!(
        "{{\"operation\":\"update\",\"kind\":\"device\",\"key\":\"d{device}\",\"version\":{version},\
         \"body\":{{\"id\":\"d{device}\",\"name\":\"Refrigerator {device}\",\"settings\":{{\"device\":{{\"fanSpeed\":{speed}}}}}}}}}\n"
    )
}

/// A merge patch of the same.
pub fn patch(device: usize, version: usize, speed: usize) -> String {
    format!(
        "{{\"operation\":\"patch\",\"kind\":\"device\",\"key\":\"d{device}\",\"version\":{version},\
         \"body\":{{\"settings\":{{\"device\":{{\"fanSpeed\":{speed}}}}}}}}}\n"
    )
}

pub fn delete(device: usize, version: usize) -> String {
    format!("{{\"operation\":\"delete\",\"kind\":\"device\",\"key\":\"d{device}\",\"version\":{version}}}\n")
}

/// Runs the export `ahead` minutes after now, and answers with the summary.
fn run_at(installation: &Installation, ahead: u32, args: &[&str]) -> serde_json::Value {
    let args = [&["run", "--json"], args].concat();
    let output = installation.command(&args).env("LAKEPORT_CLOCK_AHEAD", (ahead * 60).to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    summary["exports"][0].clone()
}

fn append(installation: &Installation, lines: &str) {
    let path = installation.path().join("registry.ndjson");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    installation.write("registry.ndjson", before + lines);
}

/// What stands in a snapshot of a device: its fan speed, or nothing where it is a tombstone.
fn state(record: &Value) -> (String, Option<u32>) {
    let id = text(record, "id").to_owned();
    if *member(record, "deleted") == Value::Boolean(true) {
        return (id, None);
    }
    let Value::Map(settings) = member(member(record, "settings"), "device") else { panic!("{record:?}") };
    let Value::Union(_, speed) = &settings["fanSpeed"] else { panic!("{settings:?}") };
    let Value::Double(speed) = **speed else { panic!("{settings:?}") };
    (id, Some(speed as u32))
}

/// Every snapshot, oldest first: its folder, and what it holds of each key, which it holds once.
pub fn snapshots(installation: &Installation) -> Vec<(String, BTreeMap<String, Option<u32>>)> {
    let mut snapshots: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
    for (path, bytes) in installation.files() {
        let minute = path.rsplit_once('/').unwrap().0.to_owned();
        let keys = snapshots.entry(minute).or_default();
        for (id, speed) in records(&bytes).iter().map(state) {
            assert_eq!(keys.insert(id.clone(), speed), None, "`{id}` stands twice in the minute of `{path}`");
        }
    }
    snapshots.into_iter().collect()
}

/// What a reader of every snapshot knows at the end.
pub fn newest(snapshots: &[(String, BTreeMap<String, Option<u32>>)]) -> BTreeMap<String, Option<u32>> {
    snapshots.iter().flat_map(|(_, keys)| keys.clone()).collect()
}

fn expected(speeds: &[(usize, Option<u32>)]) -> BTreeMap<String, Option<u32>> {
    speeds.iter().map(|(device, speed)| (format!("d{device}"), *speed)).collect()
}

#[test]
fn the_first_snapshot_holds_everything_and_each_later_one_what_is_new_or_changed() {
    let installation = devices("");
    append(&installation, &(set(1, 1, 10) + &set(2, 1, 20) + &set(3, 1, 30) + &set(1, 2, 11)));
    let report = run_at(&installation, 0, &[]);
    assert_eq!((report["records-read"].as_u64(), report["records-written"].as_u64()), (Some(4), Some(3)));
    let first = snapshots(&installation);
    assert_eq!(first.len(), 1);
    assert!(first[0].0.starts_with("devices/registry/20"), "{first:?}");
    assert_eq!(first[0].1, expected(&[(1, Some(11)), (2, Some(20)), (3, Some(30))]));

    // A patch, a change that says nothing new, an older version, a new device, and one that comes and goes.
    append(&installation, &(patch(2, 2, 21) + &set(3, 2, 30) + &set(1, 1, 99) + &set(4, 1, 40)));
    append(&installation, &(set(5, 1, 50) + &delete(5, 2)));
    run_at(&installation, 2, &[]);
    let second = snapshots(&installation);
    assert_eq!(second[1].1, expected(&[(2, Some(21)), (4, Some(40))]));

    run_at(&installation, 4, &[]);
    assert_eq!(snapshots(&installation), second, "nothing new: no empty file");
}

#[test]
fn what_changes_again_within_a_minute_waits_for_the_next_one() {
    let installation = devices("granularity = \"day\"\npath = \"{export}/{YYYY}/{MM}/{dd}/{part}.{ext}\"");
    append(&installation, &(set(1, 1, 10) + &set(2, 1, 20)));
    run_at(&installation, 0, &[]);
    append(&installation, &(set(1, 2, 11) + &set(3, 1, 30)));
    let report = run_at(&installation, 0, &[]);
    assert_eq!(report["records-written"], 0);
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.contains("2 changed keys wait for the next snapshot"), "{warning}");
    assert_eq!(snapshots(&installation).len(), 1);
    let status: serde_json::Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    assert_eq!(status["exports"][0]["documents"]["waiting"], 2);
    assert_eq!(status["exports"][0]["documents"]["keys"], 3);

    run_at(&installation, 24 * 60, &[]);
    let all = snapshots(&installation);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].1, expected(&[(1, Some(11)), (3, Some(30))]));
}

#[test]
fn deletes_are_left_out_or_marked() {
    for (more, tombstones) in [("", vec![]), ("deletes = \"mark\"", vec![(2, None)])] {
        let installation = devices(more);
        append(&installation, &(set(1, 1, 10) + &set(2, 1, 20)));
        run_at(&installation, 0, &[]);
        append(&installation, &(delete(2, 2) + &set(2, 1, 99) + &set(1, 2, 11)));
        run_at(&installation, 2, &[]);
        let mut changed = vec![(1, Some(11))];
        changed.extend(tombstones);
        assert_eq!(snapshots(&installation)[1].1, expected(&changed));
        append(&installation, &set(2, 3, 22));
        run_at(&installation, 4, &[]);
        assert_eq!(snapshots(&installation)[2].1, expected(&[(2, Some(22))]), "it is back");
    }
}

#[test]
fn a_full_snapshot_holds_everything_again() {
    let installation = devices("");
    append(&installation, &(set(1, 1, 10) + &set(2, 1, 20) + &set(3, 1, 30) + &delete(3, 2)));
    run_at(&installation, 0, &[]);
    run_at(&installation, 2, &["--full", "devices"]);
    run_at(&installation, 4, &[]);
    let all = snapshots(&installation);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].1, expected(&[(1, Some(10)), (2, Some(20))]));

    // In a minute that has its snapshot it waits, and the log remembers.
    append(&installation, &set(1, 2, 11));
    run_at(&installation, 60, &[]);
    let report = run_at(&installation, 60, &["--full", "devices"]);
    let warned = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|text| text.as_str().unwrap().contains("a full snapshot waits"));
    // The clock may have turned to the next minute in between.
    if warned {
        run_at(&installation, 62, &[]);
    }
    let all = snapshots(&installation);
    assert_eq!(all.last().unwrap().1, expected(&[(1, Some(11)), (2, Some(20))]));
}

#[test]
fn full_is_for_exports_of_changes_only() {
    let installation = devices("");
    let refused = installation.run(&["run", "--full", "device"]);
    assert!(!refused.status.success());
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("`--full device`") && stderr.contains("did you mean `devices`"), "{stderr}");
}

#[test]
fn what_is_no_change_of_a_document_is_a_dead_letter() {
    let installation = devices("");
    append(&installation, &set(1, 1, 10));
    append(&installation, "{\"operation\":\"upsert\",\"kind\":\"device\",\"key\":\"d2\",\"body\":{}}\n");
    append(&installation, "{\"operation\":\"update\",\"kind\":\"device\",\"key\":\"d3\",\"body\":7}\n");
    append(&installation, "{\"operation\":\"update\",\"kind\":\"device\",\"body\":{}}\n");
    run_at(&installation, 0, &[]);
    let letters = installation.dead_letters();
    assert_eq!(letters.len(), 3, "{letters:?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("`upsert`"), "{letters:?}");
    assert_eq!(snapshots(&installation)[0].1, expected(&[(1, Some(10))]));
}

#[test]
fn device_twins_change_the_documents_of_their_devices() {
    let installation = twins();
    let message = |operation: &str, body: &str| {
        format!(
            "{{\"EnqueuedTimeUtc\":\"2018-06-11T00:00:08.2250000Z\",\"Properties\":{{\"opType\":\"{operation}\",\"deviceId\":\"d1\",\
             \"hubName\":\"contoso\"}},\"SystemProperties\":{{}},\"Body\":{body}}}\n"
        )
    };
    let created = r#"{"deviceId":"d1","version":1,"properties":{"desired":{"fanSpeed":3,"$version":1},"reported":{"door":"shut"}}}"#;
    append(&installation, &message("createDeviceIdentity", created));
    append(&installation, &message("updateTwin", r#"{"version":2,"properties":{"desired":{"fanSpeed":5}}}"#));
    run_at(&installation, 0, &[]);
    let files = installation.files();
    assert!(files.keys().all(|path| path.starts_with("devices/contoso/")), "{:?}", files.keys());
    assert_eq!(newest(&snapshots(&installation)), expected(&[(1, Some(5))]));
}

#[test]
fn messages_that_change_no_twin_leave_the_device_as_it_is() {
    let installation = twins();
    let message = |properties: &str, body: &str| {
        format!(
            "{{\"EnqueuedTimeUtc\":\"2018-06-11T00:00:08.2250000Z\",\"Properties\":{{{properties}}},\
             \"SystemProperties\":{{\"connectionDeviceId\":\"d1\"}},\"Body\":{body}}}\n"
        )
    };
    let twin = r#"{"version":1,"properties":{"desired":{"fanSpeed":3}}}"#;
    append(&installation, &message(r#""opType":"createDeviceIdentity""#, twin));
    append(&installation, &message(r#""opType":"deviceDisconnected""#, r#"{"sequenceNumber":"0001"}"#));
    append(&installation, &message("", r#"{"humidity":51}"#));
    let module = r#"{"version":9,"properties":{"desired":{"fanSpeed":9}}}"#;
    append(&installation, &message(r#""opType":"createModuleIdentity","moduleId":"m""#, module));
    append(&installation, &message(r#""opType":"updateTwin","moduleId":"m""#, module));
    run_at(&installation, 0, &[]);
    assert_eq!(newest(&snapshots(&installation)), expected(&[(1, Some(3))]));
    let letters = installation.dead_letters();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    let named = ["`deviceDisconnected`", "neither `tags` nor `properties`", "`createModuleIdentity`", "`updateTwin`"];
    for (reason, named) in reasons.iter().zip(named) {
        assert!(reason.contains(named), "{reason}");
    }
}

#[test]
fn a_version_that_is_no_whole_number_is_not_taken_for_none() {
    let plain = Installation::new(
        "[sources.registry]\nfiles = \"registry.ndjson\"\nsubject = \"/id\"\nversion = \"/rev\"\nkind = false\n\
         operation = false\n\n[exports.devices]\ntype = \"changes\"\nsource = \"registry\"\n\
         format = { plugin = \"avro\", record = \"device\" }\n",
    );
    let line = |rev: &str| format!("{{\"id\":\"d1\",\"rev\":{rev},\"settings\":{{\"device\":{{\"fanSpeed\":7}}}}}}\n");
    append(&plain, &(line("2.0") + &line("\"3\"") + &line("1") + &line("null") + &line("7.5")));
    run_at(&plain, 0, &[]);
    let letters = plain.dead_letters();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["\"3\"", "7.5"].map(|rev| format!("the version is `{rev}`, expected a whole number")));
    assert!(plain.files().keys().all(|path| path.starts_with("devices/registry/")), "{:?}", plain.files().keys());

    let changes = devices("");
    append(&changes, &(set(1, 1, 10) + &set(1, 2, 11).replace("\"version\":2", "\"version\":\"0\"")));
    run_at(&changes, 0, &[]);
    let letters = changes.dead_letters();
    assert_eq!(letters[0]["reason"], "the `version` is `\"0\"`, expected a whole number");
    assert_eq!(newest(&snapshots(&changes)), expected(&[(1, Some(10))]));
}

#[test]
fn what_comes_through_a_pipe_is_one_first_snapshot() {
    let installation = Installation::new(
        "[sources.registry]\nstdin = true\nenvelope = \"change\"\n\n\
         [exports.devices]\ntype = \"changes\"\nsource = \"registry\"\n\
         format = { plugin = \"avro\", record = \"device\" }\n",
    );
    // More than the pipe and the reader hold, in writes with pauses between them.
    installation.write("registry.ndjson", (0..20_000).map(|device| set(device, 1, 1)).collect::<String>());
    let mut command = installation.command(&["run", "--quiet"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = std::fs::read(installation.path().join("registry.ndjson")).unwrap();
    for part in lines.chunks(lines.len() / 20) {
        std::io::Write::write_all(&mut stdin, part).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let all = snapshots(&installation);
    assert_eq!(all.iter().map(|(_, keys)| keys.len()).collect::<Vec<_>>(), [20_000]);
}

#[test]
fn an_export_keeps_its_type() {
    let installation = devices("");
    append(&installation, &set(1, 1, 10));
    run_at(&installation, 0, &[]);
    let configuration = std::fs::read_to_string(installation.path().join("lakeport.toml")).unwrap();
    let before = installation.log();
    installation.write("lakeport.toml", configuration.replace("type = \"changes\"\n", ""));
    let refused = installation.run(&["run", "--quiet"]);
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("has `type = \"events\"`, and its log in the lake is of type `changes`"), "{stderr}");
    let runs = |log: &BTreeMap<String, Vec<u8>>| log.keys().filter(|path| path.contains("/stage/")).count();
    assert_eq!(runs(&installation.log()), runs(&before), "the table is untouched");
}

/// Enough devices for several spans, and what becomes of them.
const DEVICES: usize = 60;

fn first_round() -> String {
    (0..DEVICES).map(|device| set(device, 1, device)).collect()
}

fn second_round() -> String {
    let mut lines = String::new();
    for device in (0..DEVICES).step_by(2) {
        write!(lines, "{}{}", patch(device, 2, 100 + device), set(device, 1, 999)).unwrap();
    }
    (DEVICES..DEVICES + 20).map(|device| set(device, 1, device)).for_each(|line| lines += &line);
    lines + &delete(1, 2)
}

fn after_both() -> BTreeMap<String, Option<u32>> {
    let speed = |device: usize| match device {
        1 => None,
        device if device < DEVICES && device % 2 == 0 => Some(100 + device as u32),
        device => Some(device as u32),
    };
    (0..DEVICES + 20).map(|device| (format!("d{device}"), speed(device))).collect()
}

/// What the disturbed exports have: several spans a run, and tombstones.
const SPANS: &str = "deletes = \"mark\"\nflush = { bytes = \"2KiB\" }";

/// Starts a run `ahead` minutes after now.
fn spawn_at(installation: &Installation, ahead: u32) -> Child {
    let mut command = installation.command(&["run", "--quiet"]);
    command.env("LAKEPORT_CLOCK_AHEAD", (ahead * 60).to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs once more, when what waited for another minute is due, and looks: no key is lost, none is stale, none stands in a
/// minute twice; and nothing else is staged than what the table needs.
fn assert_complete(installation: &Installation, what: &str) {
    run_at(installation, 10, &[]);
    let all = snapshots(installation);
    assert_eq!(newest(&all), after_both(), "{what}");
    let first: BTreeSet<_> = all[0].1.keys().cloned().collect();
    assert_eq!(first, (0..DEVICES).map(|device| format!("d{device}")).collect(), "the first snapshot, {what}");
    let table = &installation.last_commit("devices")["table"];
    assert_eq!(table["waiting"], 0, "{what}");
    // What is staged is the table's, and nothing else.
    let needed: BTreeSet<_> =
        table["runs"].as_array().unwrap().iter().map(|run| run["key"].as_str().unwrap().to_owned()).collect();
    let staged: BTreeSet<_> = installation.log().into_keys().filter(|path| path.contains("/stage/")).collect();
    assert_eq!(staged, needed, "{what}");
}

/// A kill at a passage of any fail point, in the run that `disturbed` says; false where that run passed fewer.
fn survives_a_kill(disturbed: usize, passage: usize) -> bool {
    let installation = devices(SPANS);
    let mut killed = false;
    for (round, lines) in [first_round(), second_round()].iter().enumerate() {
        append(&installation, lines);
        let ahead = (3 * round * 60).to_string();
        if round == disturbed {
            let mut command = installation.command(&["run", "--quiet"]);
            command.env("LAKEPORT_CLOCK_AHEAD", ahead);
            let status = command.env("LAKEPORT_FAIL_POINT", format!("*:{passage}")).output().unwrap().status;
            killed = status.signal() == Some(libc::SIGKILL);
            assert!(killed || status.success(), "{status}");
        }
        run_at(&installation, 3 * round as u32, &[]);
    }
    assert_complete(&installation, &format!("run {disturbed}, killed at passage {passage}"));
    killed
}

#[test]
fn a_kill_at_any_fail_point_loses_no_key_and_writes_none_twice() {
    for disturbed in [0, 1] {
        let passages = (1..).step_by(stride(5)).take_while(|passage| survives_a_kill(disturbed, *passage)).count();
        assert!(passages > 40 / stride(5), "only {passages} fail points were passed");
    }
}

#[test]
fn kills_at_random_times_lose_no_key_and_write_none_twice() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for number in 0..6 {
        let installation = devices(SPANS);
        for (ahead, lines) in [(0, first_round()), (3, second_round())] {
            append(&installation, &lines);
            for _ in 0..6 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut child = spawn_at(&installation, ahead);
                std::thread::sleep(Duration::from_micros(20_000 + (random >> 33) % 60_000));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            run_at(&installation, ahead, &[]);
        }
        assert_complete(&installation, &format!("installation {number}, killed at random times"));
    }
}

#[test]
fn an_owner_of_a_table_that_is_stopped_overtaken_and_woken_changes_nothing() {
    for disturbed in [0, 3] {
        for delay in (0..10).step_by(stride(3)).map(|step| 15 + step * 7) {
            let installation = devices(SPANS);
            let what = format!("{disturbed} minutes ahead, stopped after {delay} ms");
            for (ahead, lines) in [(0, first_round()), (3, second_round())] {
                append(&installation, &lines);
                if ahead != disturbed {
                    run_at(&installation, ahead, &[]);
                    continue;
                }
                let first = spawn_at(&installation, ahead);
                std::thread::sleep(Duration::from_millis(delay));
                signal(&first, libc::SIGSTOP);
                run_at(&installation, ahead, &["--take-over"]);
                let before = installation.files();
                signal(&first, libc::SIGCONT);
                let output = first.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                // It was done before it was stopped, or it was replaced.
                assert!(matches!(output.status.code(), Some(0 | 6)), "{what}: {:?} {stderr}", output.status);
                assert_eq!(installation.files(), before, "{what}, woken");
            }
            assert_complete(&installation, &what);
        }
    }
}
