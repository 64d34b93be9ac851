//! Rotations that copy and truncate, again and again: every record once, whatever names and inodes the copies get.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::lake_folder::{Installation, every_id, signal};

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
