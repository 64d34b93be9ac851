//! Rotations that copy and truncate, again and again: every record once, whatever names and inodes the copies get.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::lake_folder::{Installation, every_id, signal};
use crate::support::process::{Following, wait_until};

/// Lines of the round `round`, ten each.
fn lines(round: usize) -> String {
    (round * 10..(round + 1) * 10).map(|id| signal(id, 0) + "\n").collect()
}

/// A copy that nobody writes to any more.
#[expect(clippy::disallowed_methods, reason = "files have the system's time")]
fn settle(path: &Path) {
    File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

fn compress(from: &Path, to: &Path) {
    let mut out = GzEncoder::new(File::create(to).unwrap(), Compression::default());
    out.write_all(&fs::read(from).unwrap()).unwrap();
    out.finish().unwrap();
    settle(to);
}

/// Rotates `app.ndjson` as logrotate does with `copytruncate` and `delaycompress`; `over` copies over the copy before instead.
fn rotate(logs: &Path, round: usize, over: bool) {
    let (log, copy) = (logs.join("app.ndjson"), logs.join("app.ndjson.1"));
    if round > 1 && !over {
        for number in (2..round).rev() {
            let name = |number| logs.join(format!("app.ndjson.{number}.gz"));
            fs::rename(name(number), name(number + 1)).unwrap();
        }
        compress(&copy, &logs.join("app.ndjson.2.gz"));
        // The next copy may get this one's inode.
        fs::remove_file(&copy).unwrap();
    }
    fs::copy(&log, &copy).unwrap();
    settle(&copy);
    File::create(&log).unwrap().write_all(lines(round).as_bytes()).unwrap();
}

#[test]
fn copies_that_take_the_place_of_older_copies_are_not_exported_again() {
    for over in [false, true] {
        let installation = Installation::exporting("logs/app.ndjson*", "");
        installation.write("logs/app.ndjson", lines(0));
        installation.run_ok(&["run"]);
        for round in 1..=4 {
            rotate(&installation.path().join("logs"), round, over);
            installation.run_ok(&["run"]);
            assert_eq!(installation.ids(), every_id((round + 1) * 10), "round {round}, over: {over}");
        }
        // And nothing is read once more.
        assert_eq!(installation.export()["records-read"], 0);
    }
}

/// Rotates `app.log` by renaming it, and compresses it one rotation later, as logrotate does with `delaycompress`.
fn rename(logs: &Path, round: usize) {
    let name = |turn: &str| logs.join(format!("app.log{turn}"));
    for number in (2..round).rev() {
        fs::rename(name(&format!(".{number}.gz")), name(&format!(".{}.gz", number + 1))).unwrap();
    }
    if round > 1 {
        compress(&name(".1"), &name(".2.gz"));
        fs::remove_file(name(".1")).unwrap();
    }
    fs::rename(name(""), name(".1")).unwrap();
    // It may get the inode that was just given up.
    File::create(name("")).unwrap();
}

#[test]
fn files_that_are_compressed_one_rotation_later_are_not_exported_again() {
    // Small and large ones, with the inodes of removed files used again and kept from it.
    for (width, keeps_inodes) in [(10, false), (10, true), (300, false), (300, true)] {
        let installation = Installation::exporting("logs/", "");
        let logs = installation.path().join("logs");
        let lines =
            |round: usize| (round * width..(round + 1) * width).map(|id| signal(id, 0) + "\n").collect::<String>();
        installation.write("logs/app.log", lines(0));
        installation.run_ok(&["run"]);
        for round in 1..=4 {
            if keeps_inodes && round > 1 {
                fs::hard_link(logs.join("app.log.1"), installation.path().join(format!("kept-{round}"))).unwrap();
            }
            rename(&logs, round);
            if round % 2 == 0 {
                installation.run_ok(&["run"]);
            }
            installation.write("logs/app.log", lines(round));
            installation.run_ok(&["run"]);
            let case = format!("{width} lines, inodes kept: {keeps_inodes}, round {round}");
            assert_eq!(installation.ids(), every_id((round + 1) * width), "{case}");
        }
        assert_eq!(installation.export()["records-read"], 0);
    }
}

#[test]
fn following_exports_every_line_once_whether_files_are_compressed_or_copied() {
    for copies in [false, true] {
        let installation = Installation::exporting("logs/", "flush = { every = \"50ms\" }");
        let logs = installation.path().join("logs");
        let turn = |number: usize, ending: &str| logs.join(format!("app.log.{number}{ending}"));
        let ending = if copies { "" } else { ".gz" };
        installation.write("logs/app.log", lines(0));
        let following = Following::start(&installation);
        for round in 1..=4 {
            wait_until("all lines are there", || installation.ids().len() == round * 10);
            for number in (1..round).rev() {
                fs::rename(turn(number, ending), turn(number + 1, ending)).unwrap();
            }
            let log = logs.join("app.log");
            match copies {
                true => {
                    fs::copy(&log, turn(1, "")).unwrap();
                    settle(&turn(1, ""));
                    File::create(&log).unwrap().write_all(lines(round).as_bytes()).unwrap();
                }
                false => {
                    fs::rename(&log, turn(1, "")).unwrap();
                    File::create(&log).unwrap();
                    compress(&turn(1, ""), &turn(1, ".gz"));
                    fs::remove_file(turn(1, "")).unwrap();
                    installation.write("logs/app.log", lines(round));
                }
            }
        }
        wait_until("all lines are there", || installation.ids().len() == 50);
        let output = following.end(libc::SIGTERM);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(installation.ids(), every_id(50), "copies: {copies}");
    }
}

#[test]
fn following_goes_on_in_a_file_that_is_replaced_by_itself_and_more() {
    let installation = Installation::exporting("logs/*.ndjson", "flush = { every = \"50ms\" }");
    installation.write("logs/data.ndjson", lines(0));
    let following = Following::start(&installation);
    for round in 1..=3 {
        wait_until("all lines are there", || installation.ids().len() == round * 10);
        installation.write("logs/new", (0..=round).map(lines).collect::<String>());
        fs::rename(installation.path().join("logs/new"), installation.path().join("logs/data.ndjson")).unwrap();
    }
    wait_until("all lines are there", || installation.ids().len() == 40);
    following.end(libc::SIGTERM);
    assert_eq!(installation.ids(), every_id(40));
}

#[test]
fn half_a_line_of_a_file_that_is_replaced_by_itself_and_more_is_no_record() {
    let installation = Installation::exporting("logs/*.ndjson", "flush = { every = \"50ms\" }");
    let (all, half) = (lines(0) + &lines(1), signal(10, 0));
    installation.write("logs/data.ndjson", lines(0) + &half[..half.len() / 2]);
    let following = Following::start(&installation);
    wait_until("the whole lines are there", || installation.ids().len() == 10);
    installation.write("logs/new", all);
    fs::rename(installation.path().join("logs/new"), installation.path().join("logs/data.ndjson")).unwrap();
    wait_until("all lines are there", || installation.ids().len() == 20);
    following.end(libc::SIGTERM);
    assert_eq!((installation.ids(), installation.dead_letters().len()), (every_id(20), 0));
}

#[test]
fn a_file_that_takes_the_name_of_one_that_was_compressed_is_no_copy_as_well() {
    let installation = Installation::exporting("logs/", "");
    let logs = installation.path().join("logs");
    installation.write("logs/app.log", lines(0));
    installation.run_ok(&["run"]);
    compress(&logs.join("app.log"), &logs.join("app.log.1.gz"));
    fs::rename(logs.join("app.log"), installation.path().join("kept")).unwrap();
    // The new file begins as the old one did.
    installation.write("logs/app.log", lines(0) + &lines(1));
    installation.run_ok(&["run"]);
    let counts: std::collections::BTreeMap<String, usize> =
        (0..20).map(|id| (id.to_string(), if id < 10 { 2 } else { 1 })).collect();
    assert_eq!(installation.ids(), counts);
}

#[test]
fn a_file_that_is_replaced_after_a_line_that_was_cut_is_read_from_its_start() {
    let installation = Installation::exporting("in.ndjson", "max-record-size = \"1kB\"");
    // The first 1,024 bytes are the same.
    let long = format!("{{\"name\":\"{}\"}}\n", "x".repeat(300_000));
    installation.write("in.ndjson", lines(0) + &long);
    installation.run_ok(&["run"]);
    let more: String = (0..2_000).map(|id| signal(id, 0) + "\n").collect();
    installation.write("in.ndjson", lines(0) + &more);
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids().len(), 2_000, "nothing of the other file is passed over");
}

#[test]
fn a_name_that_is_not_utf_8_is_not_taken_for_one_that_looks_like_it() {
    let installation = Installation::exporting("logs/", "");
    let odd = std::ffi::OsStr::from_bytes(b"\xff.ndjson");
    installation.write("logs/%FF.ndjson", lines(0));
    fs::write(installation.path().join("logs").join(odd), lines(1)).unwrap();
    for run in 0..2 {
        installation.run_ok(&["run"]);
        assert_eq!(installation.ids(), every_id(20), "run {run}");
    }
}

#[test]
fn a_rotated_file_whose_compressed_copy_is_there_is_neither_gone_nor_shown_twice() {
    let installation = Installation::exporting("logs/", "");
    let logs = installation.path().join("logs");
    installation.write("logs/app.log", lines(0));
    installation.run_ok(&["run"]);
    rename(&logs, 1);
    installation.write("logs/app.log", lines(1));
    installation.run_ok(&["run"]);
    compress(&logs.join("app.log.1"), &logs.join("app.log.1.gz"));
    fs::remove_file(logs.join("app.log.1")).unwrap();
    installation.run_ok(&["run"]);
    let shown = || -> Vec<String> {
        let status: serde_json::Value = serde_json::from_str(&installation.run_ok(&["status", "--json"])).unwrap();
        let position = status["exports"][0]["position"].as_array().unwrap().clone();
        position.iter().map(|reached| reached["origin"].as_str().unwrap().rsplit('/').next().unwrap().into()).collect()
    };
    assert_eq!(shown(), ["app.log", "app.log.1.gz"]);
    installation.run_ok(&["run", "--again", "signals", "--yes"]);
    assert_eq!(installation.ids(), every_id(20));

    // Where the copy goes, too, its records would be missing.
    fs::remove_file(logs.join("app.log.1.gz")).unwrap();
    let refused = installation.run(&["run", "--again", "signals", "--yes"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("1 files that it has read are gone") && error.contains("app.log.1.gz"), "{error}");
}

#[test]
fn a_short_new_file_is_held_back_only_where_it_begins_as_the_original() {
    let installation = Installation::exporting("logs/", "");
    installation.write("logs/app.log", lines(0));
    installation.run_ok(&["run"]);
    let other: String = (10..13).map(|id| signal(id, 0) + "\n").collect();
    installation.write("logs/app.log.2", &other);
    installation.write("logs/app.log.1", &lines(0)[..100]);
    let output = installation.run(&["run"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert_eq!(installation.ids(), every_id(13), "{error}");
    assert!(error.contains("app.log.1` may be a copy of") && !error.contains("app.log.2`"), "{error}");
}

#[test]
fn another_folder_holds_no_copies_unless_rotations_move_files_there() {
    let long: String = (0..100).map(|id| signal(id, 0) + "\n").collect();
    for (folder, is_copy) in [("in/old", true), ("in/app/old", true), ("in/app", true), ("in/elsewhere/2026", false)] {
        let installation = Installation::exporting("in/", "");
        installation.write("in/app/app.log", &long);
        installation.run_ok(&["run"]);
        let log = installation.path().join("in/app/app.log");
        let folder = installation.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        compress(&log, &folder.join("app.log.1.gz"));
        fs::remove_file(&log).unwrap();
        installation.run_ok(&["run"]);
        let times = if is_copy { 1 } else { 2 };
        assert!(installation.ids().values().all(|found| *found == times), "{}", folder.display());
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_followed_where_it_is() {
    let installation = Installation::exporting("logs/", "");
    let logs = installation.path().join("logs");
    let name = |ending: &[u8]| logs.join(std::ffi::OsStr::from_bytes(&[b"\xff.log", ending].concat()));
    fs::create_dir_all(&logs).unwrap();
    fs::write(name(b""), lines(0)).unwrap();
    installation.run_ok(&["run"]);
    fs::write(name(b".1"), lines(0) + &lines(1)).unwrap();
    let output = installation.run(&["run"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("may be a copy of"), "the original is there: {error}");
    fs::remove_file(name(b"")).unwrap();
    installation.run_ok(&["run"]);
    assert_eq!(installation.ids(), every_id(20), "the original is gone");
    fs::remove_file(name(b".1")).unwrap();
    let refused = installation.run(&["run", "--again", "signals", "--yes"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("1 files that it has read are gone") && error.contains("%FF.log.1"), "{error}");
}
