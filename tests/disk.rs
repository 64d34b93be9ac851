//! Disks that are full or read-only, and too few file descriptors: a clear error, nothing half, and a later run completes.

use std::collections::BTreeMap;

use crate::crash::MODES;
use crate::support::lake_folder::{Installation, every_id, ids_of, signal, signals, visible_files};
use crate::support::mounts::{Ended, Mounts};

const RECORDS: usize = 12_000;

fn installation(mode: &str) -> Installation {
    let installation = Installation::exporting("in.ndjson", &format!("{mode}\nflush = {{ bytes = \"128KiB\" }}"));
    installation.write("in.ndjson", signals(RECORDS));
    std::fs::create_dir(installation.lake()).unwrap();
    installation
}

/// The IDs in the lake as it is in the namespace; every file is whole.
fn ids(installation: &Installation, mounts: &Mounts) -> BTreeMap<String, usize> {
    ids_of(visible_files(&mounts.at(&installation.lake())))
}

fn assert_lake_error(ended: &Ended, installation: &Installation, help: &str, what: &str) {
    let stderr = &ended.stderr;
    assert_eq!(ended.code, 4, "{what}: {stderr}");
    // A log line may come first.
    assert!(stderr.lines().any(|line| line.starts_with("error: export `signals`: cannot ")), "{what}: {stderr}");
    assert!(stderr.contains(installation.lake().to_str().unwrap()), "{what}: {stderr}");
    assert!(stderr.contains(help), "{what}: {stderr}");
}

#[test]
fn a_full_disk_is_reported_shows_nothing_half_and_a_later_run_completes() {
    for (name, mode) in MODES {
        let mut stopped_late = 0;
        let undisturbed = installation(mode);
        undisturbed.run_ok(&["run", "--quiet"]);
        let written: usize = undisturbed.files().values().map(Vec::len).sum();
        // It fills up at the start, in the middle, near the end; and in its number of files rather than their bytes.
        let sizes = [written / 5, written / 2, written * 4 / 5, written * 9 / 10]
            .map(|bytes| format!("size={}k", (600_000 + bytes) / 1_000));
        for limit in sizes.into_iter().chain(["nr_inodes=30".to_owned(), "nr_inodes=40".to_owned()]) {
            let what = format!("{name}, {limit}");
            let installation = installation(mode);
            let mut mounts = Mounts::new(&installation);
            mounts.run_ok(&format!("mount -t tmpfs -o {limit} tmpfs lake"));
            // Full is full: a second run finds it so, and harms nothing.
            for _ in 0..2 {
                let ended = mounts.run("\"$LAKEPORT\" run --quiet");
                if ended.code == 0 {
                    break;
                }
                assert_lake_error(&ended, &installation, "help: free some space, then run again", &what);
                let ids = ids(&installation, &mounts);
                stopped_late += usize::from(!ids.is_empty());
                assert!(ids.values().all(|times| *times == 1), "{what}: something is there twice");
            }
            mounts.run_ok("mount -o remount,size=64m,nr_inodes=10000 lake");
            mounts.run_ok("\"$LAKEPORT\" run --quiet");
            assert!(ids(&installation, &mounts) == every_id(RECORDS), "{what}: not each record once");
            let staged = mounts.run("test -z \"$(find lake/_lakeport -path '*/stage/*' -type f)\"");
            assert_eq!(staged.code, 0, "{what}: staged files were left");
        }
        assert!(stopped_late > 0 || name.contains("sealed"), "{name}: the disk was never full in the middle of a run");
    }
}

#[test]
fn a_read_only_lake_is_reported_and_can_be_looked_at() {
    let installation = installation(MODES[1].1);
    let mut mounts = Mounts::new(&installation);
    mounts.run_ok("mount -t tmpfs tmpfs lake");
    mounts.run_ok("mount -o remount,ro lake");
    let never = mounts.run("\"$LAKEPORT\" run --quiet");
    assert_lake_error(
        &never,
        &installation,
        "help: mount the lake's folder writable, or choose another folder",
        "empty",
    );
    mounts.run_ok("\"$LAKEPORT\" status && \"$LAKEPORT\" check");

    mounts.run_ok("mount -o remount,rw lake && \"$LAKEPORT\" run --quiet && mount -o remount,ro lake");
    std::fs::write(installation.path().join("in.ndjson"), signals(RECORDS) + &signal(RECORDS, 0) + "\n").unwrap();
    let later = mounts.run("\"$LAKEPORT\" run --quiet");
    assert_lake_error(
        &later,
        &installation,
        "help: mount the lake's folder writable, or choose another folder",
        "later",
    );
    mounts.run_ok("\"$LAKEPORT\" status && \"$LAKEPORT\" dead-letters && \"$LAKEPORT\" check");
    assert!(ids(&installation, &mounts) == every_id(RECORDS));
    mounts.run_ok("mount -o remount,rw lake && \"$LAKEPORT\" run --quiet");
    assert!(ids(&installation, &mounts) == every_id(RECORDS + 1));
}

#[test]
fn a_disk_that_fills_up_while_following_is_waited_for_with_what_to_do() {
    let installation = Installation::exporting("in.ndjson", "flush = { every = \"50ms\" }");
    installation.write("in.ndjson", signals(RECORDS));
    std::fs::create_dir(installation.lake()).unwrap();
    let mut mounts = Mounts::new(&installation);
    mounts.run_ok("mount -t tmpfs -o size=1m tmpfs lake");
    let ended = mounts.run(
        "\"$LAKEPORT\" run --quiet --follow 2>log & until grep -q 'trying again in' log; do sleep 0.05; done; \
         kill -INT $!; wait $!; code=$?; cat log >&2; exit $code",
    );
    assert_lake_error(&ended, &installation, "help: free some space, then run again", "following");
    mounts.run_ok("mount -o remount,size=64m lake && \"$LAKEPORT\" run --quiet");
    assert!(ids(&installation, &mounts) == every_id(RECORDS));
}

#[test]
fn too_few_file_descriptors_lose_nothing_and_say_what_to_do() {
    const FILES: usize = 300;
    let mut worked = 0;
    for limit in [12, 16, 20, 24, 32, 40, 64] {
        let installation = Installation::exporting("in", "files = \"rolling\"\nflush = { bytes = \"8KiB\" }");
        for id in 0..FILES {
            installation.write(&format!("in/{id:03}.ndjson"), signal(id, id) + "\n");
        }
        let mut mounts = Mounts::new(&installation);
        let ended = mounts.run(&format!("ulimit -n {limit}; exec \"$LAKEPORT\" run --quiet"));
        match ended.code {
            0 => worked += 1,
            _ => assert!(ended.stderr.contains("ulimit -n"), "{limit}, exit code {}: {}", ended.code, ended.stderr),
        }
        assert!(installation.ids().values().all(|times| *times == 1), "{limit}: something is there twice");
        installation.run_ok(&["run", "--quiet"]);
        assert!(installation.ids() == every_id(FILES), "{limit}: not each record once");
    }
    assert!(worked >= 2, "reading files one after the other needs few descriptors");
}

#[test]
fn records_for_more_files_than_descriptors_are_exported() {
    const FILES: usize = 700;
    const MANY: usize = 260_000;
    // So much for one file that waiting bytes are staged, and then a record each for many others.
    let minute = |id: usize| id.saturating_sub(MANY);
    let installation = Installation::exporting("in.ndjson", "files = \"rolling\"\ngranularity = \"minute\"");
    let lines: String = (0..MANY + FILES).map(|id| signal(id, minute(id)) + "\n").collect();
    assert!(lines.len() > 16 << 20, "{}", lines.len());
    installation.write("in.ndjson", lines);
    let mut mounts = Mounts::new(&installation);
    let ended = mounts.run("ulimit -n 400; exec \"$LAKEPORT\" run --quiet");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(installation.files().len(), FILES);
    assert!(installation.ids() == every_id(MANY + FILES), "each record once");
}

#[test]
fn following_more_files_than_descriptors_loses_nothing_and_says_what_to_do() {
    const FILES: usize = 300;
    let installation = Installation::exporting("in", "flush = { every = \"50ms\" }");
    for id in 0..FILES {
        installation.write(&format!("in/{id:03}.ndjson"), signal(id, id) + "\n");
    }
    let mut mounts = Mounts::new(&installation);
    let ended = mounts.run("ulimit -n 40; exec timeout --signal INT 5 \"$LAKEPORT\" run --quiet --follow");
    // It had few enough open, or said so and tried again.
    let is_complete = installation.ids() == every_id(FILES);
    assert!(is_complete || ended.stderr.contains("ulimit -n"), "exit code {}: {}", ended.code, ended.stderr);
    installation.run_ok(&["run", "--quiet"]);
    assert!(installation.ids() == every_id(FILES), "not each record once");
}
