//! Runs that keep on: exports that fail and come back, and runs that somebody ends.

use std::io::Write;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::lake_folder::{Installation, ids_of, signal, signals, visible_files};
use crate::support::process::{self, Following, wait_until};

/// What `status` says of an export.
fn status(installation: &Installation, export: &str) -> Value {
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    let exports = status["exports"].as_array().unwrap();
    exports.iter().find(|status| status["export"] == export).unwrap().clone()
}

#[test]
fn an_export_that_fails_is_told_of_at_once_waits_and_comes_back_while_others_go_on() {
    let installation = Installation::new(
        "[lakes.a]\nurl = \"./a\"\n[lakes.b]\nurl = \"./b\"\n[sources.s]\nfiles = \"in.ndjson\"\n\
         [exports.a]\nsource = \"s\"\nlake = \"a\"\nflush = { every = \"20ms\" }\n\
         [exports.b]\nsource = \"s\"\nlake = \"b\"\nflush = { every = \"20ms\" }\n",
    );
    installation.write("in.ndjson", signals(10));
    // Nothing can be staged below a file.
    installation.write("b/_lakeport/b/0/stage", "");
    let following = Following::start(&installation);
    let lines = |lake: &str| ids_of(visible_files(&installation.path().join(lake))).len();
    wait_until("the other export goes on", || lines("a") == 10);
    wait_until("one is healthy", || status(&installation, "a")["state"]["state"] == "healthy");
    wait_until("one waits", || status(&installation, "b")["state"]["state"] == "waiting");
    let waits = status(&installation, "b")["state"].clone();
    assert!(waits["reason"].as_str().unwrap().contains("cannot stage"), "{waits}");
    assert!(waits["since"].is_string() && waits["by"].is_string(), "{waits}");
    let text = installation.run_ok(&["status"]);
    assert!(text.contains("waiting") && text.contains("b: cannot stage"), "{text}");

    std::fs::remove_file(installation.path().join("b/_lakeport/b/0/stage")).unwrap();
    wait_until("it comes back", || lines("b") == 10);
    wait_until("and says so", || status(&installation, "b")["state"]["state"] == "healthy");
    let output = following.end(libc::SIGTERM);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let failed = log.lines().find(|line| line.contains("ERROR")).unwrap_or_else(|| panic!("{log}"));
    assert!(failed.contains("cannot stage") && failed.contains("trying again in"), "{failed}");
    assert!(log.contains("committed 10 records") && log.contains("at work again"), "{log}");
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("warning: b: failed and was started again"), "{summary}");
    assert_eq!(status(&installation, "b")["state"]["state"], "ended");
}

#[test]
fn a_run_that_fails_is_noted_until_one_ends_well() {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write("in.ndjson", signals(10));
    installation.write("lake/_lakeport/signals/0/stage", "");
    assert_eq!(installation.run(&["run"]).status.code(), Some(4));
    let failed = status(&installation, "signals")["state"].clone();
    assert_eq!(failed["state"], "failed", "{failed}");
    std::fs::remove_file(installation.lake().join("_lakeport/signals/0/stage")).unwrap();
    installation.run_ok(&["run"]);
    assert_eq!(status(&installation, "signals")["state"]["state"], "ended");
}

#[test]
fn a_follower_that_is_stopped_before_it_tries_again_has_failed() {
    let installation = Installation::exporting("in.ndjson", "flush = { every = \"20ms\" }");
    installation.write("in.ndjson", signals(10));
    installation.write("lake/_lakeport/signals/0/stage", "");
    let following = Following::start(&installation);
    wait_until("it waits", || status(&installation, "signals")["state"]["state"] == "waiting");
    let output = following.end(libc::SIGINT);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let failed = status(&installation, "signals")["state"].clone();
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains("cannot stage"), "{failed}");
}

#[test]
fn a_follower_that_was_overtaken_says_by_whom() {
    let installation = Installation::exporting("in.ndjson", "flush = { every = \"20ms\" }");
    installation.write("in.ndjson", signals(10));
    let following = Following::start(&installation);
    wait_until("it is at work", || status(&installation, "signals")["state"]["state"] == "healthy");
    installation.run_ok(&["run", "--take-over"]);
    installation.write("in.ndjson", signals(10) + &signal(10, 0) + "\n");
    wait_until("it is replaced", || status(&installation, "signals")["state"]["state"] == "replaced");
    let output = following.end(0);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("(host:process) has taken this export over"), "{error}");
}

#[test]
fn a_run_that_was_stopped_early_says_so() {
    let begin = |arguments: &[&str]| -> (Installation, Child) {
        let installation = Installation::new(
            "[sources.live]\nstdin = true\n[exports.signals]\nsource = \"live\"\nflush = { every = \"20ms\" }\n",
        );
        let mut command = installation.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(signals(10).as_bytes()).unwrap();
        wait_until("what came is exported", || installation.ids().len() == 10);
        (installation, child)
    };
    for number in [libc::SIGINT, libc::SIGTERM] {
        let (_installation, mut child) = begin(&["run"]);
        // Standard input stays open: there may be more.
        let _stdin = child.stdin.take();
        process::signal(&child, number);
        let output = child.wait_with_output().unwrap();
        let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(130), "{error}");
        assert!(text.contains("stopped early: signals"), "{text}");
        assert!(error.contains("stopped by Ctrl-C or SIGTERM before the source was read to its end"), "{error}");
    }
    let (_installation, mut child) = begin(&["run", "--json"]);
    let _stdin = child.stdin.take();
    process::signal(&child, libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["exports"][0]["error"]["kind"], "interrupted", "{summary}");
    assert_eq!((output.status.code(), &summary["exports"][0]["records-written"]), (Some(130), &10.into()));

    let (_installation, mut child) = begin(&["run", "--follow"]);
    let _stdin = child.stdin.take();
    process::signal(&child, libc::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0), "being stopped is how following ends");
}
