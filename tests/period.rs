//! `run --again --period`: one hour, or day, of an export that is exported again.

mod sources;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::Value;

use crate::crash::MODES;
use crate::support::lake_folder::{Installation, ids_of, records_of, signal, signals};
use crate::support::process::{self, wait_until};
use crate::support::soak::stride;

const RECORDS: usize = 90;
/// The hour that is exported again, and what the keys of its files begin with.
const HOUR: &str = "2019-09-10T12";
const FOLDER: &str = "signals/2019/09/10/12/";

type Files = BTreeMap<String, Vec<u8>>;

/// Signals over three hours, of which every third is of another kind.
fn input() -> String {
    let lines = signals(RECORDS);
    let line = |(at, line): (usize, &str)| match at % 3 {
        0 => line.replacen("BrewStarted", "DoorOpened", 1) + "\n",
        _ => line.to_owned() + "\n",
    };
    lines.lines().enumerate().map(line).collect()
}

/// Configures an export that leaves out what is of the other kind, or one that does not.
fn configure(installation: &Installation, is_fixed: bool, more: &str) {
    let filters = if is_fixed { "" } else { "filters = [{ plugin = \"select\", kinds = [\"Brew*\"] }]\n" };
    let source = "[sources.signals]\nfiles = \"in/*\"\n[exports.signals]\nsource = \"signals\"\n";
    installation.write("lakeport.toml", format!("{source}{filters}{more}\nflush = {{ bytes = \"2KiB\" }}\n"));
}

/// An export whose filter left out too much, and that is configured as it should be now.
fn fixed(more: &str) -> Installation {
    let installation = Installation::new("");
    configure(&installation, false, more);
    installation.write("in/a.ndjson", input());
    installation.run_ok(&["run"]);
    configure(&installation, true, more);
    installation
}

const AGAIN: [&str; 7] = ["run", "--again", "signals", "--period", HOUR, "--yes", "--json"];

fn again(installation: &Installation) -> Value {
    serde_json::from_str::<Value>(&installation.run_ok(&AGAIN)).unwrap()["exports"][0].clone()
}

/// Fails to export the hour again, with this exit code and a message that has all of `texts`, and changes nothing.
fn assert_refused(installation: &Installation, code: i32, texts: &[&str]) {
    let before = installation.files();
    let output = installation.run(&AGAIN);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    for text in texts {
        assert!(error.contains(text), "no `{text}` in: {error}");
    }
    assert!(installation.files() == before, "something was replaced: {error}");
    assert!(!is_left_behind(installation), "{error}");
}

/// The files of the hour, and the others.
fn divided(files: Files) -> (Files, Files) {
    files.into_iter().partition(|(key, _)| key.starts_with(FOLDER))
}

/// The IDs of the records of the hour, with those that the filter left out or without them.
fn expected(is_fixed: bool) -> BTreeMap<String, usize> {
    let is_wanted = |record: &&Value| is_fixed || record["name"] == "BrewStarted";
    let records = records_of("", input().as_bytes());
    let of_hour = records.iter().filter(|record| record["signalTime"].as_str().unwrap().starts_with(HOUR));
    of_hour.filter(is_wanted).map(|record| (record["id"].as_str().unwrap().to_owned(), 1)).collect()
}

/// Whether anything is left of the files that were made beside.
fn is_left_behind(installation: &Installation) -> bool {
    installation.log().keys().any(|key| key.starts_with("_lakeport/signals/again/"))
}

#[test]
fn the_records_of_an_hour_take_the_place_of_its_files_and_nothing_else_changes() {
    for (name, mode) in MODES {
        let installation = fixed(mode);
        let (hour, others) = divided(installation.files());
        let commit = installation.last_commit("signals");
        assert!(ids_of(hour.clone()) == expected(false), "{name}");

        again(&installation);
        let (new, same) = divided(installation.files());
        assert!(ids_of(new.clone()) == expected(true), "{name}: {:?}", new.keys());
        assert!(same == others, "{name}: another hour has changed");
        if hour.len() == 1 {
            assert!(new.keys().eq(hour.keys()), "{name}: one file takes the key of one: {:?}", new.keys());
        }
        let after = installation.last_commit("signals");
        assert_eq!(after["position"], commit["position"], "{name}");
        let mut totals = after["totals"].clone();
        assert_eq!(totals["commits"].as_u64(), commit["totals"]["commits"].as_u64().map(|commits| commits + 1));
        totals["commits"] = commit["totals"]["commits"].clone();
        assert_eq!(totals, commit["totals"], "{name}");
        assert!(!is_left_behind(&installation), "{name}");

        // Once more: the files are there already. How final parts are divided follows from spans.
        again(&installation);
        // Avro's messages have the time at which they were written.
        if matches!(name, "growing" | "sealed") {
            assert!(divided(installation.files()).0 == new, "{name}");
            assert_eq!(installation.last_commit("signals"), after, "{name}: there was nothing to commit");
        }
        assert!(ids_of(divided(installation.files()).0) == expected(true), "{name}");

        // It goes on where it was.
        installation.append("in/a.ndjson", &(signal(1_000, 70) + "\n" + &signal(1_001, 130) + "\n"));
        installation.run_ok(&["run"]);
        let mut expected = expected(true);
        expected.insert("1000".into(), 1);
        assert!(ids_of(divided(installation.files()).0) == expected, "{name}");
        assert_eq!(installation.ids().get("1001"), Some(&1), "{name}");

        // What came meanwhile is of the hour as well; then the others.
        let day = ["run", "--again", "signals", "--period", "2019-09-10", "--yes"];
        installation.run_ok(&day);
        let mut all: BTreeMap<_, _> = (0..RECORDS).map(|id| (id.to_string(), 1)).collect();
        all.extend([("1000".into(), 1), ("1001".into(), 1)]);
        assert!(installation.ids() == all, "{name}: the whole day");
    }
}

#[test]
fn killed_anywhere_the_hour_is_as_it_was_or_new() {
    let (old, new) = (expected(false), expected(true));
    let mut kills = 0;
    for (mode, step) in [("", 17), ("files = \"rolling\"\n", 47), ("files = \"sealed\"\n", 47)] {
        let named = ["again-replace:1", "again-replaced:1", "publish-object:5", "discard:2"].map(str::to_owned);
        let mut points = named.to_vec();
        let mut counted = (2..).step_by(stride(step)).map(|number| format!("*:{number}"));
        while let Some(point) = points.pop().or_else(|| counted.next()) {
            let installation = fixed(mode);
            // One span, so that most fail points are those of the commit that replaces.
            let path = installation.path().join("lakeport.toml");
            let configuration = fs::read_to_string(&path).unwrap();
            fs::write(&path, configuration.replacen("2KiB", "1MiB", 1)).unwrap();
            let (before, others) = divided(installation.files());
            let killed = installation.command(&AGAIN).env("LAKEPORT_FAIL_POINT", &point).output().unwrap().status;
            let what = format!("{mode}killed at {point}");
            assert!(killed.success() || killed.signal() == Some(libc::SIGKILL), "{what}: {killed}");
            kills += usize::from(!killed.success());
            let seen = ids_of(divided(installation.files()).0);
            // One file takes the place of one; several are all there before others go.
            match before.len() == 1 {
                true => assert!(seen == old || seen == new, "{what}: half of it is seen"),
                false => assert!(old.keys().all(|id| seen.contains_key(id)), "{what}: something is missing"),
            }
            // As anybody runs it next: what was committed is completed, and what was not is as it was.
            let output = installation.run(&["run", "--quiet"]);
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
            let seen = ids_of(divided(installation.files()).0);
            assert!(seen == old || seen == new, "{what}: neither as it was nor new");
            again(&installation);
            let (hour, same) = divided(installation.files());
            assert!(ids_of(hour) == new && same == others, "{what}");
            assert!(!is_left_behind(&installation), "{what}: something is left behind");
            if killed.success() && point.starts_with('*') {
                break;
            }
        }
    }
    assert!(kills >= 15, "{kills} kills only");
}

#[test]
fn a_reader_that_looks_all_the_time_sees_the_old_file_or_the_new_one() {
    let installation = fixed("");
    let file = installation.lake().join(FOLDER).join("00.ndjson");
    let old = fs::read(&file).unwrap();
    let mut child = installation.spawn(&AGAIN);
    let mut seen = BTreeSet::new();
    while child.try_wait().unwrap().is_none() {
        let names: Vec<_> =
            fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["00.ndjson"]);
        seen.insert(fs::read(&file).expect("it is there all the time"));
    }
    let new = fs::read(&file).unwrap();
    assert!(ids_of(divided(installation.files()).0) == expected(true) && new != old);
    assert!(seen.contains(&old) && seen.iter().all(|bytes| *bytes == old || *bytes == new), "{} contents", seen.len());
}

#[test]
fn dead_letters_stay_what_they_are_and_are_replayed_once() {
    let installation = fixed("max-dead-letters = 1000");
    let refused = "{\"id\":\"2000\",\"event\":\"Late\",\"signalTime\":\"2019-09-10T12:30:00Z\"}\n";
    installation.append("in/a.ndjson", &format!("{refused}no signal\n"));
    installation.run_ok(&["run"]);
    assert_eq!(installation.dead_letters().len(), 2);
    let letters = installation.dead_letters();

    // With another pointer, one of them is none any more, and all others are.
    let path = installation.path().join("lakeport.toml");
    let configuration = fs::read_to_string(&path).unwrap();
    let with_kind =
        |kind: &str| configuration.replace("files = \"in/*\"", &format!("files = \"in/*\"\nkind = \"{kind}\""));
    fs::write(&path, with_kind("/event")).unwrap();
    assert_refused(
        &installation,
        7,
        &["nothing was replaced: 90 records were no dead letters before and are refused now", "in/a.ndjson` at 0"],
    );
    assert_eq!(installation.dead_letters(), letters);

    // With one that suits all, it is left to a replay.
    fs::write(&path, with_kind("/signalTime")).unwrap();
    let summary = again(&installation);
    assert_eq!(summary["dead-letters"], 0, "{summary}");
    assert!(ids_of(divided(installation.files()).0) == expected(true));
    assert_eq!(installation.dead_letters(), letters);
    for _ in 0..2 {
        // The other one is refused again.
        installation.run(&["replay"]);
        let mut all = expected(true);
        all.insert("2000".into(), 1);
        assert!(ids_of(divided(installation.files()).0) == all);
        assert_eq!(installation.dead_letters().len(), 1);
        // What was replayed is exported again with the others.
        again(&installation);
    }
}

#[test]
fn a_wrong_pointer_does_not_copy_the_whole_source() {
    let installation = fixed("");
    let more: String = (10_000..11_500).map(|id| signal(id, 70) + "\n").collect();
    installation.append("in/a.ndjson", &more);
    installation.run_ok(&["run"]);
    let path = installation.path().join("lakeport.toml");
    let configuration = fs::read_to_string(&path).unwrap();
    fs::write(&path, configuration.replace("files = \"in/*\"", "files = \"in/*\"\nkind = \"/none\"")).unwrap();
    assert_refused(&installation, 7, &["exporting a period again allows 1000", "nothing at `/none`"]);
}

#[test]
fn files_that_the_log_does_not_tell_of_any_more_are_named() {
    let installation = fixed("");
    let slots = || installation.log().into_keys().filter(|key| key.contains("/log/")).collect::<Vec<_>>();
    let old = slots();
    for id in [6_000, 6_001] {
        installation.append("in/a.ndjson", &(signal(id, 130) + "\n"));
        installation.run_ok(&["run"]);
    }
    // As an owner does from time to time.
    let (folder, newest) = old.last().unwrap().split_once("/log/").unwrap();
    let boundary = installation.lake().join(folder).join("boundary");
    fs::create_dir_all(&boundary).unwrap();
    fs::write(boundary.join(newest.split('.').next().unwrap()), "").unwrap();
    old.iter().for_each(|slot| fs::remove_file(installation.lake().join(slot)).unwrap());

    let file = installation.lake().join(FOLDER).join("00.ndjson");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], b"{}\n"].concat()).unwrap();
    assert_refused(&installation, 7, &["12/00.ndjson` is not as lakeport wrote it"]);
    fs::write(&file, &whole).unwrap();
    let unasked = installation.run(&AGAIN[..5]);
    let error = String::from_utf8(unasked.stderr).unwrap();
    assert!(error.contains("whether others have edited these is not known, and they are replaced: `"), "{error}");
    let summary = again(&installation);
    assert!(summary["warnings"].to_string().contains("00.ndjson` is replaced whether or not"), "{summary}");
    assert!(ids_of(divided(installation.files()).0) == expected(true));
    // Now it does.
    assert!(!again(&installation).to_string().contains("whether or not"));
}

#[test]
fn files_of_others_and_edited_ones_are_left_alone() {
    let installation = fixed("");
    let file = installation.lake().join(FOLDER).join("00.ndjson");
    let old = fs::read(&file).unwrap();
    // Of the same length.
    let edited = String::from_utf8(old.clone()).unwrap().replacen("BrewStarted", "BrewStopped", 1);
    fs::write(&file, &edited).unwrap();
    assert_refused(&installation, 7, &["12/00.ndjson` is not as lakeport wrote it", "move it to another folder"]);

    // Their own: one has the name of a part.
    fs::write(&file, &old).unwrap();
    let mine = "{\"id\":\"mine\"}\n";
    let part = installation.lake().join(FOLDER).join("07.ndjson");
    fs::write(&part, mine).unwrap();
    assert_refused(&installation, 7, &["12/07.ndjson` is named as a part of the export's file, and none of its parts"]);
    fs::rename(&part, part.with_file_name("7.ndjson")).unwrap();
    again(&installation);
    let (mut hour, _) = divided(installation.files());
    assert_eq!(hour.remove(&format!("{FOLDER}7.ndjson")).as_deref(), Some(mine.as_bytes()));
    assert!(ids_of(hour) == expected(true));

    // One that somebody has moved is exported again, which is said.
    fs::remove_file(&file).unwrap();
    let summary = again(&installation);
    assert!(summary["warnings"].to_string().contains("00.ndjson` was moved or deleted by someone"), "{summary}");
    let (mut hour, _) = divided(installation.files());
    hour.remove(&format!("{FOLDER}7.ndjson"));
    assert!(
        hour.keys().eq([&format!("{FOLDER}01.ndjson")]) && ids_of(hour.clone()) == expected(true),
        "{:?}",
        hour.keys()
    );
}

#[test]
fn a_file_that_is_edited_between_the_commit_and_its_publication_stays() {
    let installation = fixed("");
    let file = installation.lake().join(FOLDER).join("00.ndjson");
    // The last commit that is created is the one that replaces.
    for number in 1.. {
        let killed = installation
            .command(&AGAIN)
            .env("LAKEPORT_FAIL_POINT", format!("create-commit:{}", 2 * number))
            .output()
            .unwrap();
        assert_eq!(killed.status.signal(), Some(libc::SIGKILL), "no commit has replaced the file");
        let commit = installation.last_commit("signals");
        if commit["objects"][0]["content"]["staged"].as_str().is_some_and(|staged| staged.contains("/again/period-")) {
            break;
        }
    }
    let edited = [&fs::read(&file).unwrap()[..], b"{\"id\":\"mine\"}\n"].concat();
    fs::write(&file, &edited).unwrap();
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("what is new is in"), "{said}");
    let (mut hour, _) = divided(installation.files());
    assert_eq!(hour.remove(&format!("{FOLDER}00.ndjson")), Some(edited), "their file is left alone");
    assert!(ids_of(hour) == expected(true));
}

#[test]
fn what_cannot_be_exported_again_by_itself_is_refused() {
    let installation = Installation::new("");
    configure(&installation, true, "");
    installation.write("in/a.ndjson", input());
    assert_refused(&installation, 2, &["has written nothing yet"]);
    installation.run_ok(&["run"]);

    configure(&installation, true, "filters = [{ plugin = \"select\", kinds = [\"None*\"] }]\n");
    assert_refused(&installation, 7, &["no record of `2019-09-10T12` is left, and 1 files hold some"]);
    configure(&installation, true, "path = \"other/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"");
    assert_refused(&installation, 2, &["wrote `signals/2019/09/10/", "--again signals`, without `--period`"]);
    configure(&installation, true, "");
    let run = |period: &str| {
        let output = installation.run(&["run", "--again", "signals", "--period", period, "--yes"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (period, code, text) in [
        ("2019-09-11", 3, "the source has no records of `2019-09-11`"),
        ("2019-09-10T12:30", 2, "a file of export `signals` covers a whole hour"),
        ("2019-9-10", 2, "expected a day, an hour or a minute in UTC"),
    ] {
        let (found, error) = run(period);
        assert!(found == Some(code) && error.contains(text), "{period}: {found:?} {error}");
    }
    let unasked = installation.run(&AGAIN[..5]);
    let error = String::from_utf8(unasked.stderr).unwrap();
    assert!(unasked.status.code() == Some(2) && error.contains("--period 2019-09-10T12` replaces 1 files"), "{error}");
}

#[test]
fn an_export_that_another_process_runs_is_left_alone() {
    let installation = fixed("");
    let following = process::Following::start(&installation);
    following.wait_for(&installation.path().join("in/a.ndjson"));
    wait_until("it has taken over", || installation.run(&AGAIN).status.code() == Some(6));
    following.stop();
    again(&installation);
    assert!(ids_of(divided(installation.files()).0) == expected(true));
}

#[test]
fn an_attempt_that_is_stopped_overtaken_and_woken_changes_nothing() {
    let mut overtaken = 0;
    for delay in (0..).step_by(30).take(12) {
        let installation = fixed("");
        let mut attempt = installation.spawn(&AGAIN);
        // An attempt takes a few hundredths of a second from here on.
        let beside = installation.lake().join("_lakeport/signals/again");
        let is_beside = || fs::read_dir(&beside).is_ok_and(|mut found| found.next().is_some());
        while !is_beside() && attempt.try_wait().unwrap().is_none() && delay < 300 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if attempt.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(delay));
        process::signal(&attempt, libc::SIGSTOP);
        // The position moves meanwhile, and the file grows.
        installation.append("in/a.ndjson", &(signal(5_000, 70) + "\n"));
        installation.run_ok(&["run", "--take-over"]);
        let before = installation.files();
        process::signal(&attempt, libc::SIGCONT);
        let output = attempt.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        // It was done before it was stopped, or it was replaced.
        assert!(matches!(output.status.code(), Some(0 | 6)), "{delay} ms: {:?} {stderr}", output.status);
        assert!(installation.files() == before, "woken after {delay} ms");
        assert_eq!(installation.ids().get("5000"), Some(&1), "{delay} ms");
        if output.status.code() == Some(0) {
            break;
        }
        assert!(!is_left_behind(&installation), "woken after {delay} ms");
        overtaken += 1;
        installation.run_ok(&["run", "--quiet"]);
        again(&installation);
        let mut all = expected(true);
        all.insert("5000".into(), 1);
        assert!(ids_of(divided(installation.files()).0) == all && !is_left_behind(&installation), "{delay} ms");
    }
    assert!(overtaken > 0, "every attempt was done before it was stopped");
}
