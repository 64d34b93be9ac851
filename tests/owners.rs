//! Two processes that run one export: the second one leaves the first alone, waits for it, or takes over. And runs without news.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use crate::support::lake_folder::{Installation, signal, signals};
use crate::support::process::{Following, signal as send_signal, wait_until};

/// A boot of another machine: whether a process of it lives cannot be seen.
const ELSEWHERE: (&str, &str) = ("LAKEPORT_BOOT", "another-machine");

fn installation() -> Installation {
    let installation = Installation::exporting("in.ndjson", "flush = { every = \"20ms\" }");
    installation.write("in.ndjson", signals(10));
    installation
}

fn follower(installation: &Installation, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    let mut command = installation.command(&[&["run", "--follow"], arguments].concat());
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child, number: i32) -> Output {
    send_signal(&child, number);
    child.wait_with_output().unwrap()
}

fn status(installation: &Installation) -> Value {
    let status: Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
    status["exports"][0].clone()
}

fn state(installation: &Installation) -> Value {
    status(installation)["state"]["state"].clone()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The log entries of the export, and everything else in its folder but the notes.
fn log(installation: &Installation) -> Vec<String> {
    installation.log().into_keys().collect()
}

/// How many owners have taken the export over, as far as the log still says.
fn fences(installation: &Installation) -> usize {
    let log = installation.log();
    let slots = log.iter().filter(|(path, _)| path.contains("/log/"));
    slots
        .filter(|(_, bytes)| serde_json::from_slice::<Value>(bytes).is_ok_and(|entry| entry["type"] == "fence"))
        .count()
}

/// Appends one more signal.
fn append(installation: &Installation, id: usize) {
    let mut file = OpenOptions::new().append(true).open(installation.path().join("in.ndjson")).unwrap();
    writeln!(file, "{}", signal(id, 0)).unwrap();
}

#[test]
fn a_second_run_leaves_the_follower_alone_that_works() {
    let installation = installation();
    let following = Following::start(&installation);
    wait_until("it is at work", || state(&installation) == "healthy" && installation.ids().len() == 10);
    let before = log(&installation);
    for arguments in [&["run"][..], &["run", "--follow"]] {
        let refused = installation.run(arguments);
        let error = error(&refused);
        assert_eq!(refused.status.code(), Some(6), "{error}");
        assert!(error.contains("(host:process) runs this export, last seen at work"), "{error}");
        assert!(error.contains("--take-over") && error.contains("--standby"), "{error}");
    }
    assert_eq!(log(&installation), before, "who is refused writes nothing");
    assert_eq!(state(&installation), "healthy", "nor does it change what the owner noted");
    append(&installation, 10);
    wait_until("it goes on", || installation.ids().len() == 11);
    following.stop();
    assert_eq!(state(&installation), "ended");
    assert_eq!(installation.export()["commits"], 0, "an owner that has ended keeps nobody waiting");
}

#[test]
fn a_follower_on_another_machine_is_left_alone_while_it_has_nothing_to_commit() {
    let installation = installation();
    installation.run_ok(&["run"]);
    let idle = follower(&installation, &[], &[ELSEWHERE]);
    wait_until("it has read its source to the end", || state(&installation) == "healthy");
    let refused = installation.run(&["run"]);
    assert_eq!(refused.status.code(), Some(6), "{}", error(&refused));
    assert!(end(idle, libc::SIGTERM).status.success());
    installation.run_ok(&["run"]);
}

#[test]
fn beginning_anew_leaves_a_follower_alone_that_works() {
    let installation = installation();
    let following = Following::start(&installation);
    wait_until("it is at work", || state(&installation) == "healthy" && installation.ids().len() == 10);
    let before = (log(&installation), installation.files());
    let refused = installation.run(&["run", "--again", "signals", "--yes"]);
    assert_eq!(refused.status.code(), Some(6), "{}", error(&refused));
    assert!(error(&refused).contains("nothing was replaced: `"), "{}", error(&refused));
    assert_eq!((log(&installation), installation.files()), before);
    following.stop();
    installation.run_ok(&["run", "--again", "signals", "--yes"]);
    assert_eq!(installation.ids().len(), 10);
}

#[test]
fn take_over_ends_the_other_one() {
    let installation = installation();
    let first = Following::start(&installation);
    wait_until("it is at work", || state(&installation) == "healthy");
    append(&installation, 10);
    wait_until("it goes on", || installation.ids().len() == 11);
    let epoch = |installation: &Installation| status(installation)["last-commit"]["epoch"].clone();
    let before = epoch(&installation);
    let second = follower(&installation, &["--take-over"], &[]);
    wait_until("the second one has its fence", || fences(&installation) == 2);
    append(&installation, 11);
    wait_until("one of them goes on", || installation.ids().len() == 12);
    assert_ne!(epoch(&installation), before, "the second one");
    let output = first.end(0);
    assert_eq!(output.status.code(), Some(6), "{}", error(&output));
    assert!(error(&output).contains("has taken this export over"), "{}", error(&output));
    assert!(end(second, libc::SIGTERM).status.success());
    assert!(installation.ids().values().all(|count| *count == 1));
}

#[test]
fn a_standby_takes_over_when_the_owner_is_killed() {
    let installation = installation();
    let owner = follower(&installation, &[], &[]);
    wait_until("it is at work", || state(&installation) == "healthy");
    let standby = follower(&installation, &["--standby"], &[]);
    wait_until("the other one stands by", || status(&installation)["standby"]["state"] == "standby");
    let text = installation.run_ok(&["status"]);
    assert!(text.contains("healthy") && text.contains("standby"), "{text}");
    append(&installation, 10);
    wait_until("the owner goes on", || installation.ids().len() == 11);
    end(owner, libc::SIGKILL);
    append(&installation, 11);
    wait_until("the standby goes on", || installation.ids().len() == 12);
    wait_until("it stands by no longer", || status(&installation)["standby"].is_null());
    assert_eq!(state(&installation), "healthy");
    let output = end(standby, libc::SIGTERM);
    let log = error(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("standing by: `") && log.contains("taking over"), "{log}");
    assert!(installation.ids().values().all(|count| *count == 1));
}

#[test]
fn a_standby_waits_for_the_silence_of_an_owner_on_another_machine() {
    let installation = installation();
    let owner = follower(&installation, &[], &[ELSEWHERE]);
    wait_until("it is at work", || state(&installation) == "healthy");
    let standby = follower(&installation, &["--standby"], &[]);
    wait_until("the other one stands by", || status(&installation)["standby"]["state"] == "standby");
    end(owner, libc::SIGKILL);
    let killed = std::time::Instant::now();
    append(&installation, 10);
    wait_until("the standby goes on", || installation.ids().len() == 11);
    assert!(killed.elapsed().as_secs() >= 10, "it cannot see that the owner is dead: {:?}", killed.elapsed());
    assert!(end(standby, libc::SIGTERM).status.success());
}

#[test]
fn a_standby_that_is_stopped_ends_as_others_do() {
    let installation = installation();
    let following = Following::start(&installation);
    wait_until("it is at work", || state(&installation) == "healthy");
    let standby = follower(&installation, &["--standby"], &[]);
    wait_until("the other one stands by", || status(&installation)["standby"]["state"] == "standby");
    assert_eq!(end(standby, libc::SIGTERM).status.code(), Some(0));
    assert!(status(&installation)["standby"].is_null());
    let once = installation.spawn(&["run", "--standby"]);
    wait_until("the other one stands by", || status(&installation)["standby"]["state"] == "standby");
    assert_eq!(end(once, libc::SIGINT).status.code(), Some(130));
    assert_eq!(state(&installation), "healthy");
    following.stop();
}

#[test]
fn runs_without_news_leave_nothing_behind() {
    let installation = installation();
    installation.run_ok(&["run"]);
    let before = installation.log();
    for _ in 0..5 {
        installation.run_ok(&["run"]);
    }
    assert_eq!(installation.log(), before, "neither entries nor notes");
    let followed = follower(&installation, &[], &[]);
    wait_until("it has read its source to the end", || state(&installation) == "healthy");
    assert!(end(followed, libc::SIGTERM).status.success());
    assert_eq!(log(&installation), before.into_keys().collect::<Vec<_>>(), "nor does a follower that finds nothing");
    append(&installation, 10);
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids().len(), 11);
}

#[test]
fn a_run_without_news_publishes_what_a_killed_one_committed() {
    let installation = installation();
    let mut killed = installation.command(&["run"]);
    let killed = killed.env("LAKEPORT_FAIL_POINT", "publish:1").output().unwrap();
    assert!(!killed.status.success() && installation.ids().is_empty());
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids().len(), 10);
}

#[test]
fn an_emptied_log_is_not_taken_for_a_new_one() {
    let installation = installation();
    let following = Following::start(&installation);
    let boundary = installation.lake().join("_lakeport/signals/0/boundary");
    let mut next = 10;
    wait_until("slots are deleted", || {
        append(&installation, next);
        next += 1;
        boundary.exists()
    });
    following.stop();
    let exported = installation.files();
    std::fs::remove_dir_all(installation.lake().join("_lakeport/signals/0/log")).unwrap();
    for arguments in [&["run"][..], &["status"]] {
        let refused = installation.run(arguments);
        let error = error(&refused);
        assert_eq!(refused.status.code(), Some(4), "{error}");
        assert!(error.contains("_lakeport/signals/0/log/` holds no entry after number"), "{error}");
        assert!(error.contains("restore it from a backup"), "{error}");
    }
    assert_eq!(installation.files(), exported);
}
