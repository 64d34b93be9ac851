//! `lakeport replay`: dead letters that go through the export once more, each once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::crash::MODES;
use crate::support::lake_folder::{Installation, every_id, signal, signals};
use crate::support::process::{Following, wait_until};
use crate::support::soak::stride;
use crate::support::tools::python;

const RECORDS: usize = 60;

/// What an export of `signals` is configured as, whose records have their names at `kind`.
fn configure(installation: &Installation, kind: &str, more: &str) {
    let source = format!("[sources.signals]\nfiles = \"in.ndjson\"\nkind = \"{kind}\"\n");
    let export = "[exports.signals]\nsource = \"signals\"\nmax-dead-letters = 1000\nflush = { bytes = \"1KiB\", every = \"50ms\" }\n";
    installation.write("lakeport.toml", format!("{source}{export}{more}\n"));
}

/// An export of [`RECORDS`] signals, of which every third was refused, since its name stands elsewhere; configured to take those now.
fn refused(more: &str) -> Installation {
    let installation = Installation::new("");
    configure(&installation, "/name", more);
    let lines = signals(RECORDS);
    let lines = lines.lines().enumerate();
    let line = |(at, line): (usize, &str)| match at % 3 {
        0 => line.replacen("\"name\"", "\"event\"", 1) + "\n",
        _ => line.to_owned() + "\n",
    };
    installation.write("in.ndjson", lines.map(line).collect::<String>());
    assert_eq!(installation.export()["dead-letters"], RECORDS / 3);
    configure(&installation, "/event", more);
    installation
}

fn replay(installation: &Installation, arguments: &[&str]) -> Value {
    let summary = installation.run_ok(&[&["replay", "--json"], arguments].concat());
    serde_json::from_str::<Value>(&summary).unwrap()["exports"][0].clone()
}

fn status(installation: &Installation) -> Value {
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    status["exports"][0].clone()
}

/// How many letters are left, and how many were replayed.
fn letters(installation: &Installation) -> (usize, usize) {
    let replayed = installation.run_ok(&["dead-letters", "--json", "--replayed"]);
    (installation.dead_letters().len(), replayed.lines().count())
}

#[test]
fn what_a_wrong_pointer_refused_is_exported_and_its_letters_are_marked() {
    let installation = refused("");
    let before = status(&installation);
    let log = installation.log();
    let rehearsed = replay(&installation, &["--dry-run"]);
    assert_eq!((&rehearsed["replay"]["replayed"], &rehearsed["replay"]["refused"]), (&json!(20), &json!(0)));
    assert!(installation.log() == log, "a dry run writes nothing");
    assert_eq!(letters(&installation), (20, 0));

    let replayed = replay(&installation, &[]);
    assert_eq!((&replayed["replay"]["replayed"], &replayed["records-written"]), (&json!(20), &json!(20)), "{replayed}");
    assert!(replayed["commits"].as_u64().unwrap() > 1, "several spans: {replayed}");
    assert_eq!(installation.ids(), every_id(RECORDS));
    let lake = installation.lake().display().to_string();
    python(installation.path(), "ndjson.py", &["--member", "id", "--lines", &RECORDS.to_string(), &lake]);
    assert_eq!(letters(&installation), (0, 20));
    let after = status(&installation);
    assert_eq!(
        (&after["dead-letters"], &after["replayed"], &after["records"]),
        (&json!(20), &json!(20), &json!(RECORDS))
    );
    assert_eq!(after["position"], before["position"], "the source goes on where it was");
    assert!(installation.run_ok(&["status"]).contains("signals: 20 of 20 dead letters were replayed, 0 are left"));

    assert_eq!(replay(&installation, &[])["commits"], 0, "nothing is left to replay");
    installation.append("in.ndjson", &(signal(RECORDS, 0).replacen("\"name\"", "\"event\"", 1) + "\n"));
    assert_eq!(installation.export()["records-read"], 1);
    assert_eq!(installation.ids(), every_id(RECORDS + 1));
}

#[test]
fn what_is_refused_again_stays_with_its_new_reason_and_what_is_not_meant_as_it_is() {
    let installation = Installation::new("");
    configure(&installation, "/name", "");
    let nameless = |at: usize| signal(at, 0).replacen("\"name\"", "\"event\"", 1);
    let timeless = r#"{"event":"a","id":"9"}"#;
    let large = format!(r#"{{"event":"a","x":"{}"}}"#, "x".repeat(1 << 20));
    let lines = [&nameless(0), "not json", timeless, &large, &nameless(1)];
    installation.write("in.ndjson", lines.join("\n") + "\n");
    installation.export();
    let before = installation.dead_letters();
    configure(&installation, "/event", "");

    assert_eq!(replay(&installation, &["--reason", "no such reason"])["commits"], 0);
    assert_eq!(replay(&installation, &["--since", "2100-01-01T00:00:00Z"])["commits"], 0);
    assert_eq!(replay(&installation, &["--until", "2019-01-01T00:00:00Z"])["commits"], 0);
    assert_eq!(installation.dead_letters(), before);

    let selected = replay(&installation, &["--reason", "no name"])["replay"].clone();
    assert_eq!(
        (&selected["replayed"], &selected["refused"], &selected["impossible"]),
        (&json!(2), &json!(1), &json!(0))
    );
    let left = installation.dead_letters();
    assert_eq!(left.len(), 3);
    assert_eq!(left[0], before[1], "it was not meant");
    assert!(left[1]["reason"].as_str().unwrap().starts_with("no usable time"), "{}", left[1]);
    for same in ["origin", "offset", "time", "record", "length"] {
        assert_eq!(left[1][same], before[2][same], "{same}");
    }
    assert_eq!(left[2], before[3]);

    let rest = installation.run(&["replay", "--json"]);
    assert_eq!(rest.status.code(), Some(7), "all of them were refused again");
    let rest = serde_json::from_slice::<Value>(&rest.stdout).unwrap()["exports"][0]["replay"].clone();
    assert_eq!((&rest["replayed"], &rest["refused"], &rest["impossible"]), (&json!(0), &json!(2), &json!(1)), "{rest}");
    assert_eq!(
        rest["impossible-reasons"],
        json!({"only the beginning of the record is kept: export it from its source again": 1})
    );
    assert_eq!(installation.dead_letters(), left, "nothing has changed");
}

#[test]
fn what_a_plugin_failed_on_is_exported_once_it_is_mended_in_every_envelope() {
    let iot =
        |id: usize| json!({"EnqueuedTimeUtc": "2019-09-10T11:00:00Z", "Body": {"id": id.to_string()}}).to_string();
    let event = |id: usize| json!({"specversion": "1.0", "id": "1", "type": "t", "source": "s", "data": {"id": id.to_string()}});
    let grid =
        |id: usize| json!({"id": "1", "topic": "s", "subject": "d", "eventType": "t", "data": {"id": id.to_string()}});
    let change = |id: usize| json!({"operation": "update", "kind": "k", "key": "d", "body": {"id": id.to_string()}});
    let debezium = |id: usize| json!({"op": "c", "before": null, "after": {"id": id.to_string()}, "source": {"schema": "p", "table": "t", "ts_ms": 1, "lsn": 7}});
    let wal2json = |id: usize| json!({"action": "I", "schema": "s", "table": "t", "columns": [{"name": "id", "type": "text", "value": id.to_string()}]});
    let page = |ids: [usize; 2]| {
        let rows =
            ids.map(|id| json!({"@odata.context": "https://o/$metadata#accounts/$entity", "id": id.to_string()}));
        json!({"@odata.context": "https://o/$metadata#accounts/$delta", "value": rows}).to_string()
    };
    let pairs = |two: &dyn Fn([usize; 2]) -> String| (0..3).map(|at| two([at * 2, at * 2 + 1])).collect::<Vec<_>>();
    let each = |one: &dyn Fn(usize) -> String| (0..6).map(one).collect::<Vec<_>>();
    for (envelope, lines) in [
        ("iot-hub", each(&iot)),
        ("cloudevents", each(&|id| event(id).to_string())),
        ("event-grid", pairs(&|[a, b]| json!([grid(a), grid(b)]).to_string())),
        ("change", each(&|id| change(id).to_string())),
        ("debezium", each(&|id| debezium(id).to_string())),
        ("wal2json", each(&|id| wal2json(id).to_string())),
        ("odata-delta", pairs(&page)),
    ] {
        let installation = Installation::new("");
        let configure = |mode: &str| {
            let configuration = format!(
                "[plugins.picky]\npath = \"{}\"\n[sources.in]\nfiles = \"in.ndjson\"\nenvelope = \"{envelope}\"\n\
                 [exports.out]\nsource = \"in\"\ntimestamp = \"write\"\nfilters = [{{ plugin = \"picky\", mode = \"{mode}\" }}]\n",
                test_guests::FILTER
            );
            installation.write("lakeport.toml", configuration);
        };
        configure("reject-odd");
        installation.write("in.ndjson", lines.join("\n") + "\n");
        assert_eq!(installation.export()["dead-letters"], 3, "{envelope}");
        configure("behave");
        let replayed = replay(&installation, &[])["replay"].clone();
        assert_eq!(replayed["replayed"], 3, "{envelope}: {replayed}");
        assert_eq!(installation.ids(), every_id(6), "{envelope}");
        assert_eq!(letters(&installation), (0, 3), "{envelope}");
    }
}

#[test]
fn events_of_one_array_that_are_the_same_stay_as_many_as_they_were() {
    let installation = Installation::new("");
    let configure = |mode: &str| {
        let configuration = format!(
            "[plugins.divider]\npath = \"{}\"\n[sources.in]\nfiles = \"in.ndjson\"\nenvelope = \"event-grid\"\n\
             [exports.out]\nsource = \"in\"\nmax-dead-letters = 10\ntimestamp = \"write\"\ntransforms = [{{ plugin = \"divider\", mode = \"{mode}\" }}]\n",
            test_guests::TRANSFORM
        );
        installation.write("lakeport.toml", configuration);
    };
    let event = json!({"id": "1", "topic": "s", "subject": "d", "eventType": "t", "data": {"id": "0"}});
    configure("split");
    installation.write("in.ndjson", json!([event, event, event]).to_string() + "\n");
    assert_eq!(installation.export()["dead-letters"], 3);
    let before = installation.dead_letters();
    installation.run(&["replay"]);
    assert_eq!(installation.dead_letters(), before, "refused again");
    configure("keep");
    let replayed = replay(&installation, &[])["replay"].clone();
    assert_eq!(replayed["replayed"], 3, "{replayed}");
    assert_eq!(installation.ids(), BTreeMap::from([("0".to_owned(), 3)]));
    assert_eq!(letters(&installation), (0, 3));
}

#[test]
fn a_record_of_which_a_transform_made_thousands_of_rows_is_kept_once_and_can_be_replayed() {
    const ROWS: usize = 5_000;
    let installation = Installation::new("");
    let configure = |mode: &str, timestamp: &str| {
        let configuration = format!(
            "[plugins.divider]\npath = \"{}\"\n[sources.in]\nfiles = \"in.ndjson\"\nenvelope = \"event-grid\"\n\
             [exports.out]\nsource = \"in\"\nmax-dead-letters = 10_000\ntimestamp = \"{timestamp}\"\n\
             transforms = [{{ plugin = \"divider\", mode = \"{mode}\" }}]\n",
            test_guests::TRANSFORM
        );
        installation.write("lakeport.toml", configuration);
    };
    // Without a time, none of the rows has a file.
    configure("split", "event");
    let data = vec!["x".repeat(60); ROWS];
    let event = json!({"id": "1", "topic": "s", "subject": "d", "eventType": "t", "data": data});
    let other = json!({"id": "2", "topic": "s", "subject": "d", "eventType": "t", "data": ["y".repeat(300)]});
    installation.write("in.ndjson", format!("{event}\n{other}\n"));
    assert_eq!(installation.export()["dead-letters"], ROWS + 1);
    let letters = installation.dead_letters();
    let kept = letters.iter().map(|letter| letter["record"].as_str().unwrap());
    let whole: Vec<_> = kept.filter(|record| record.len() > 256).collect();
    assert_eq!(whole, [event.to_string(), other.to_string()]);
    let bytes: usize = installation.log().values().map(Vec::len).sum();
    assert!(bytes < 8 << 20, "{bytes} bytes for a record of {}", event.to_string().len());
    configure("keep", "write");
    let replayed = replay(&installation, &[])["replay"].clone();
    assert_eq!(replayed["replayed"], ROWS + 1, "{replayed}");
    assert_eq!(installation.lines().len(), 2);
}

#[test]
fn a_change_that_is_replayed_overwrites_nothing_newer() {
    let installation = Installation::new("");
    let configure = |mode: &str| {
        let configuration = format!(
            "[plugins.picky]\npath = \"{}\"\n[sources.in]\nfiles = \"in.ndjson\"\nenvelope = \"change\"\n[exports.out]\nsource = \"in\"\n\
             type = \"changes\"\nfilters = [{{ plugin = \"picky\", mode = \"{mode}\" }}]\n",
            test_guests::FILTER
        );
        installation.write("lakeport.toml", configuration);
    };
    let change = |key: &str, version: Option<u64>, value: u64| {
        let mut line = json!({"operation": "update", "kind": "k", "key": key, "body": {"value": value}});
        if let Some(version) = version {
            line["version"] = version.into();
        }
        line.to_string()
    };
    configure("reject-odd");
    // Every second one is refused.
    let lines = [
        change("a", Some(1), 1),
        change("a", Some(2), 2),
        change("a", Some(3), 3),
        change("b", Some(1), 1),
        change("c", None, 5),
        change("c", None, 4),
    ];
    installation.write("in.ndjson", lines.join("\n") + "\n");
    installation.export();
    configure("behave");
    let replayed = replay(&installation, &[])["replay"].clone();
    assert_eq!((&replayed["replayed"], &replayed["refused"]), (&json!(2), &json!(1)), "{replayed}");
    let left = installation.dead_letters();
    assert_eq!(left[0]["reason"], "it has no version: now it could overwrite what came after it");
    let documents = status(&installation)["documents"].clone();
    assert_eq!(
        (&documents["keys"], &documents["waiting"], &documents["ignored"]),
        (&json!(3), &json!(1), &json!(1)),
        "{documents}"
    );
}

/// A copy of an installation's folder.
fn copy(of: &Installation) -> Installation {
    fn copy_all(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy_all(&entry.path(), &to),
                false => _ = fs::copy(entry.path(), to).unwrap(),
            }
        }
    }
    let installation = Installation::new("");
    copy_all(of.path(), installation.path());
    // Origins are absolute paths: the source of the copy is that of the original.
    let configuration = fs::read_to_string(of.path().join("lakeport.toml")).unwrap();
    let input = of.path().join("in.ndjson");
    installation.write("lakeport.toml", configuration.replace("\"in.ndjson\"", &format!("\"{}\"", input.display())));
    installation
}

fn assert_complete(installation: &Installation, what: &str) {
    installation.run_ok(&["replay", "--quiet", "--take-over"]);
    assert_eq!(letters(installation), (0, RECORDS / 3), "{what}");
    let now = status(installation);
    assert_eq!((&now["replayed"], &now["records"]), (&json!(RECORDS / 3), &json!(RECORDS)), "by the log, {what}");
    // What is sealed later is put together by the run.
    assert_eq!(installation.export()["records-read"], 0, "{what}");
    assert_eq!(installation.ids(), every_id(RECORDS), "by listing, {what}");
    let staged: Vec<_> = installation.log().into_keys().filter(|path| path.contains("/stage/")).collect();
    assert_eq!(staged, [""; 0], "left over, {what}");
}

#[test]
fn a_kill_at_any_fail_point_of_a_replay_loses_and_doubles_nothing() {
    let mut kills = 0;
    for (name, mode) in &MODES[..3] {
        let original = refused(mode);
        for passage in (1..).step_by(stride(11)) {
            let installation = copy(&original);
            let mut command = installation.command(&["replay", "--quiet"]);
            let status = command.env("LAKEPORT_FAIL_POINT", format!("*:{passage}")).output().unwrap().status;
            if status.success() {
                assert!(passage > 40, "{name}: only {passage} fail points were passed");
                break;
            }
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{name}, passage {passage}");
            kills += 1;
            assert_complete(&installation, &format!("{name}, killed at passage {passage}"));
        }
    }
    assert!(kills >= 120 / stride(11), "{kills} kills only");
}

#[test]
fn two_replays_at_once_export_each_record_once() {
    let original = refused("");
    for round in 0..4 {
        let installation = copy(&original);
        let children: Vec<_> = (0..2).map(|_| installation.spawn(&["replay", "--quiet", "--take-over"])).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 6)), "round {round}: {:?} {stderr}", output.status);
        }
        assert_complete(&installation, &format!("round {round}"));
    }
}

#[test]
fn a_replay_beside_a_follower_leaves_it_alone_or_takes_over_and_gives_back() {
    let installation = refused("");
    let following = Following(Some(installation.spawn(&["run", "--follow", "--standby"])));
    wait_until("it is at work", || status(&installation)["state"]["state"] == "healthy");
    let log = installation.log();
    let left_alone = installation.run(&["replay"]);
    assert_eq!(left_alone.status.code(), Some(6), "{}", String::from_utf8_lossy(&left_alone.stderr));
    let commits =
        |log: &BTreeMap<String, Vec<u8>>| log.keys().filter(|key| key.contains("/log/")).cloned().collect::<Vec<_>>();
    assert_eq!(commits(&installation.log()), commits(&log), "who is refused writes nothing");
    let rehearsed = replay(&installation, &["--dry-run"]);
    assert_eq!(rehearsed["replay"]["replayed"], 20, "a dry run disturbs nobody");

    installation.append("in.ndjson", &(signal(RECORDS, 0).replacen("\"name\"", "\"event\"", 1) + "\n"));
    wait_until("it goes on", || installation.ids().len() == RECORDS - 20 + 1);
    let replayed = replay(&installation, &["--take-over"]);
    assert_eq!(replayed["replay"]["replayed"], 20);
    installation.append("in.ndjson", &(signal(RECORDS + 1, 0).replacen("\"name\"", "\"event\"", 1) + "\n"));
    wait_until("it is back", || installation.ids().len() == RECORDS + 2);
    following.stop();
    assert_eq!(installation.ids(), every_id(RECORDS + 2));
    assert_eq!(letters(&installation), (0, 20));
}

#[test]
fn letters_that_somebody_has_edited_or_deleted_stop_nothing() {
    let installation = refused("");
    let folder = installation.lake().join("_lakeport/signals/0/dead-letters");
    let mut objects: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    objects.sort();
    assert!(objects.len() > 3, "{objects:?}");
    fs::remove_file(&objects[1]).unwrap();
    let first = fs::read_to_string(&objects[0]).unwrap();
    fs::write(&objects[0], format!("oops\n{first}")).unwrap();
    let replayed = replay(&installation, &[])["replay"].clone();
    let impossible = json!({"the line is no dead letter: somebody has edited it": 1});
    assert_eq!((&replayed["impossible-reasons"], &replayed["refused"]), (&impossible, &json!(0)), "{replayed}");
    let left: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert_eq!(left, ["oops\n"], "the line is left as it is");
    assert!(installation.ids().values().all(|times| *times == 1));
}

#[test]
fn what_is_begun_anew_has_no_letters_of_before() {
    let installation = refused("");
    replay(&installation, &[]);
    // The pointer finds the others no longer.
    installation.write("in.ndjson", signals(RECORDS).replace("\"name\"", "\"event\""));
    installation.run_ok(&["run", "--again", "signals", "--yes", "--quiet"]);
    assert_eq!(letters(&installation), (0, 0));
    assert_eq!(installation.ids(), every_id(RECORDS));
    assert_eq!(status(&installation)["replayed"], Value::Null);
}

#[test]
fn an_export_of_tables_says_what_to_do_instead() {
    let installation = Installation::new(
        "[sources.crm]\nfiles = \"in.ndjson\"\nenvelope = \"debezium\"\n[exports.crm]\ntype = \"table\"\nsource = \"crm\"\n\
         [exports.crm.tables.account]\nkey = \"/id\"\n",
    );
    let refused = installation.run(&["replay"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("dead letters of tables cannot be replayed") && error.contains("tables link"), "{error}");
}
