//! `run --again`: an export of events that is begun anew.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::support::lake_folder::{Installation, every_id, signals};

const RECORDS: usize = 60;

/// Whether anything is left of the files that were made beside those of before.
fn is_left_behind(installation: &Installation) -> bool {
    installation.log().keys().any(|key| key.starts_with("_lakeport/signals/again/"))
}

/// Small spans, so that there are several commits.
fn installation(mode: &str) -> Installation {
    let installation = Installation::exporting("in/*.ndjson", &format!("{mode}flush = {{ bytes = \"2KiB\" }}"));
    installation.write("in/a.ndjson", signals(RECORDS));
    installation
}

#[test]
fn what_a_wrong_pointer_consumed_is_exported_after_all() {
    let installation = Installation::new("");
    let configure = |kind: &str| {
        let source = format!("[sources.signals]\nfiles = \"in.ndjson\"\nkind = \"{kind}\"\n");
        installation.write("lakeport.toml", source + "[exports.signals]\nsource = \"signals\"\n");
    };
    configure("/nmae");
    installation.write("in.ndjson", signals(RECORDS));
    let refused = installation.run(&["run"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(7), "{error}");
    assert!(error.contains("60 of 60 records were refused"), "{error}");
    assert!(error.contains("`lakeport dead-letters --export signals`"), "{error}");
    assert!(error.contains("`lakeport run --again signals`"), "{error}");

    let again = installation.run(&["run", "--again", "signals", "--yes"]);
    let error = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(7), "{error}");
    assert!(error.contains("nothing was replaced: 60 of 60 records were refused"), "{error}");
    assert_eq!(installation.dead_letters().len(), RECORDS);

    configure("/name");
    let unasked = installation.run(&["run", "--again", "signals"]);
    let error = String::from_utf8(unasked.stderr).unwrap();
    assert_eq!(unasked.status.code(), Some(2), "{error}");
    assert!(error.contains("replaces 0 files (0 B)") && error.contains("add `--yes`"), "{error}");
    let summary: Value =
        serde_json::from_str(&installation.run_ok(&["run", "--again", "signals", "--yes", "--json"])).unwrap();
    assert_eq!(summary["exports"][0]["records-written"], RECORDS, "{summary}");
    assert!(installation.ids() == every_id(RECORDS));
    assert!(installation.dead_letters().is_empty(), "those of before are replaced too");
    assert!(!is_left_behind(&installation));
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    assert_eq!((&status["exports"][0]["records"], &status["exports"][0]["dead-letters"]), (&RECORDS.into(), &0.into()));
    assert_eq!(installation.export()["records-read"], 0, "the run after it has nothing to do");
}

#[test]
fn only_the_exports_own_files_are_replaced() {
    let installation = installation("");
    installation.run_ok(&["run"]);
    let before = installation.files();
    let edited = before.keys().next().unwrap().clone();
    let path = installation.lake().join(&edited);
    fs::write(&path, [before[&edited].as_slice(), b"\n"].concat()).unwrap();
    installation.write("lake/signals/notes.txt", "mine");
    installation.write("lake/signals/2019/09/10/11/copy.ndjson", "mine");
    let summary = installation.run_ok(&["run", "--again", "signals", "--yes"]);
    assert!(summary.contains("was edited by someone and stays as it is"), "{summary}");
    let mut after = installation.files();
    for (kept, content) in [("signals/notes.txt", "mine"), ("signals/2019/09/10/11/copy.ndjson", "mine")] {
        assert_eq!(after.remove(kept).as_deref(), Some(content.as_bytes()), "{kept}");
    }
    assert!(after.remove(&edited).is_some_and(|bytes| bytes.len() == before[&edited].len() + 1));
    for file in before.keys() {
        assert!(!after.contains_key(file), "`{file}` is of before");
    }
    assert!(crate::support::lake_folder::ids_of(after) == every_id(RECORDS));
}

#[test]
fn what_cannot_be_written_again_is_not_given_up_without_an_answer() {
    let installation = installation("");
    installation.write("in/b.ndjson", signals(RECORDS));
    installation.run_ok(&["run"]);
    let before = installation.files();
    fs::remove_file(installation.path().join("in/a.ndjson")).unwrap();
    let refused = installation.run(&["run", "--again", "signals", "--yes"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("1 files that it has read are gone") && error.contains("in/a.ndjson"), "{error}");
    assert!(installation.files() == before);
    for refused in ["run --again nowhere", "run --yes"] {
        let arguments: Vec<_> = refused.split(' ').collect();
        assert_eq!(installation.run(&arguments).status.code(), Some(2), "{refused}");
    }
}

#[test]
fn killed_anywhere_it_leaves_the_old_files_or_completes() {
    let modes = [("", 5), ("files = \"rolling\"\n", 19), ("files = \"sealed\"\n", 19)];
    let named = ["again-replace:1", "again-replaced:1", "publish-object:20", "discard:9"].map(str::to_owned);
    for (mode, step) in modes {
        let mut counted = (3..).step_by(step).map(|number| format!("*:{number}"));
        let mut points = named.to_vec();
        while let Some(point) = points.pop().or_else(|| counted.next()) {
            let installation = installation(mode);
            let run = |arguments: &[&str], point: Option<&str>| {
                let mut command = installation.command(arguments);
                if let Some(point) = point {
                    command.env("LAKEPORT_FAIL_POINT", point);
                }
                command.output().unwrap()
            };
            assert!(run(&["run"], None).status.success());
            let again = ["run", "--again", "signals", "--yes", "--quiet"];
            let killed = run(&again, Some(&point));
            let is_over = killed.status.success();
            let what = format!("{mode}killed at {point}");
            let seen = installation.ids();
            assert!(seen.keys().eq(every_id(RECORDS).keys()), "{what}: something is missing");
            // As anybody runs it next, and as somebody who wants it done.
            for arguments in [&["run", "--quiet"][..], &again] {
                let output = run(arguments, None);
                assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
                assert!(installation.ids() == every_id(RECORDS), "{what}: not each record once");
            }
            assert!(!is_left_behind(&installation), "{what}: something is left behind");
            if is_over && !point.contains("publish") && point.starts_with('*') {
                break;
            }
        }
    }
}

#[test]
fn a_file_that_somebody_puts_where_a_new_one_is_to_be_stops_nothing_and_stays() {
    // Killed between the commit that replaces and its publication: which of the commits that is depends on the spans.
    for number in 1.. {
        let installation = installation("files = \"rolling\"\n");
        installation.run_ok(&["run"]);
        let mut command = installation.command(&["run", "--again", "signals", "--yes", "--quiet"]);
        let killed = command.env("LAKEPORT_FAIL_POINT", format!("create-commit:{}", 2 * number)).output().unwrap();
        assert_eq!(killed.status.signal(), Some(libc::SIGKILL), "no commit has replaced the files");
        let commit = installation.last_commit("signals");
        let object = &commit["objects"][0];
        if !object["content"]["staged"].as_str().is_some_and(|staged| staged.contains("/again/")) {
            continue;
        }
        let key = object["key"].as_str().unwrap();
        installation.write(&format!("lake/{key}"), "theirs\n");
        let output = installation.run(&["run"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("what is new is in"), "{said}");
        let mut files = installation.files();
        assert_eq!(files.remove(key).unwrap(), b"theirs\n", "their file is left alone");
        assert!(crate::support::lake_folder::ids_of(files) == every_id(RECORDS));
        return;
    }
}
