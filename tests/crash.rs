//! The real binary, killed with `kill -9` and stopped with SIGSTOP at every step: afterwards each record is in the lake once.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::support::lake_folder::{Installation, every_id, signals};
use crate::support::process::signal;
use crate::support::soak::stride;

const RECORDS: usize = 1_200;

/// The format `avro`, filed by the hour of the event as the others are.
macro_rules! avro {
    ($codec:literal) => {
        concat!(
            "format = { plugin = \"avro\", codec = \"",
            $codec,
            "\" }\ngranularity = \"hour\"\ntimestamp = \"event\"\n",
            "path = \"{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\""
        )
    };
}

/// What files an export makes, as its configuration says it. Avro files have a beginning, blocks, and a sync marker that all
/// segments of a file must share.
pub const MODES: [(&str, &str); 5] = [
    ("rolling", "files = \"rolling\""),
    ("growing", "files = \"growing\"\nroll-size = \"40KiB\""),
    ("sealed", "files = \"sealed\"\nlateness = \"1h\""),
    ("growing Avro", concat!("files = \"growing\"\nroll-size = \"40KiB\"\n", avro!("deflate"))),
    ("sealed Avro", concat!("files = \"sealed\"\nlateness = \"1h\"\n", avro!("null"))),
];

fn installation(mode: &str, bytes: &str) -> Installation {
    let installation = Installation::new(&format!(
        "[sources.signals]\nfiles = \"in.ndjson\"\n\n[exports.signals]\nsource = \"signals\"\n{mode}\nflush = {{ bytes = \"{bytes}\" }}\n"
    ));
    installation.write("in.ndjson", signals(RECORDS));
    installation
}

/// Runs once more, undisturbed, and looks: by listing the folder, and by the log.
fn assert_complete(installation: &Installation, what: &str) {
    // Another owner may live: it was stopped.
    installation.run_ok(&["run", "--quiet", "--take-over"]);
    assert_eq!(installation.ids(), every_id(RECORDS), "by listing, {what}");
    let commit = installation.last_commit("signals");
    assert_eq!(commit["totals"]["records-written"], RECORDS, "by the log, {what}");
    assert_eq!(commit["totals"]["records-read"], RECORDS, "by the log, {what}");
    let staged: Vec<_> = installation.log().into_keys().filter(|path| path.contains("/stage/")).collect();
    assert_eq!(staged, [""; 0], "left over, {what}");
}

#[test]
fn a_kill_at_any_fail_point_loses_and_doubles_nothing() {
    let mut kills = 0;
    for (name, mode) in MODES {
        for passage in (1..).step_by(stride(5)) {
            let installation = installation(mode, "16KiB");
            let mut command = installation.command(&["run", "--quiet"]);
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
    assert!(kills >= 200 / stride(5), "{kills} kills only");
}

#[test]
fn a_kill_while_the_log_is_cut_short_loses_and_doubles_nothing() {
    // Enough commits that the boundary moves and slots are deleted.
    for point in ["move-boundary", "delete-log"] {
        for passage in 1..=4 {
            let installation = installation(MODES[0].1, "1KiB");
            let mut command = installation.command(&["run", "--quiet"]);
            let status = command.env("LAKEPORT_FAIL_POINT", format!("{point}:{passage}")).output().unwrap().status;
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{point}, passage {passage}: {status}");
            assert_complete(&installation, &format!("killed at {point}, passage {passage}"));
        }
    }
}

#[test]
fn kills_at_random_times_lose_and_double_nothing() {
    for (name, mode) in MODES {
        let installation = installation(mode, "16KiB");
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..25 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut child = installation.spawn(&["run", "--quiet"]);
            std::thread::sleep(Duration::from_micros(20_000 + (random >> 33) % 60_000));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_complete(&installation, &format!("{name}, killed at random times"));
    }
}

#[test]
fn an_owner_that_is_stopped_overtaken_and_woken_changes_nothing() {
    for (name, mode) in MODES {
        for delay in (0..12).step_by(stride(3)).map(|step| 15 + step * 6) {
            let installation = installation(mode, "16KiB");
            let first = installation.spawn(&["run", "--quiet"]);
            std::thread::sleep(Duration::from_millis(delay));
            signal(&first, libc::SIGSTOP);
            assert_complete(&installation, &format!("{name}, overtaken after {delay} ms"));
            let before = installation.files();
            signal(&first, libc::SIGCONT);
            let output = first.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            // It was done before it was stopped, or it was replaced.
            assert!(matches!(output.status.code(), Some(0 | 6)), "{name}, {delay} ms: {:?} {stderr}", output.status);
            assert_eq!(installation.files(), before, "{name}, woken after {delay} ms");
        }
    }
}
