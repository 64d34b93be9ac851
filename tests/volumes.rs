//! Files of several file systems, which give their files the same inode numbers.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::lake_folder::{Installation, every_id, ids_of, signal, visible_files};
use crate::support::mounts::Mounts;

/// Two fresh file systems, `a` and `b`.
fn volumes() -> (Installation, Mounts) {
    let installation = Installation::new(
        "[sources.signals]\nfiles = [\"a\", \"b\"]\n\n[exports.signals]\nsource = \"signals\"\nflush = { every = \"200ms\" }\n",
    );
    let mut mounts = Mounts::new(&installation);
    for volume in ["a", "b"] {
        fs::create_dir(installation.path().join(volume)).unwrap();
        mounts.run_ok(&format!("mount -t tmpfs tmpfs {volume}"));
    }
    (installation, mounts)
}

fn write(mounts: &mut Mounts, path: &str, ids: std::ops::Range<usize>) {
    for id in ids {
        mounts.run_ok(&format!("echo '{}' >> {path}", signal(id, 0)));
    }
}

fn assert_same_inodes(installation: &Installation, mounts: &Mounts, paths: [&str; 2]) {
    let [a, b] = paths.map(|path| fs::metadata(mounts.at(&installation.path().join(path))).unwrap());
    assert!(a.ino() == b.ino() && a.dev() != b.dev(), "{} and {}", a.ino(), b.ino());
}

#[test]
fn a_new_file_with_the_inode_of_one_that_is_followed_elsewhere_is_read_and_neither_twice() {
    let (installation, mut mounts) = volumes();
    write(&mut mounts, "b/y", 0..2);
    mounts.run_ok("\"$LAKEPORT\" run --follow --quiet >.followed 2>&1 & echo $! >.follower");
    let exported = |mounts: &mut Mounts, text: &str| {
        let found = format!(
            "for turn in $(seq 300); do grep -rqs '{text}' lake/signals && exit; sleep 0.1; done; cat .followed >&2; exit 1"
        );
        mounts.run_ok(&found);
    };
    exported(&mut mounts, "\"id\":\"1\"");
    write(&mut mounts, "a/x", 2..4);
    exported(&mut mounts, "\"id\":\"3\"");
    assert_same_inodes(&installation, &mounts, ["a/x", "b/y"]);
    write(&mut mounts, "b/y", 4..5);
    write(&mut mounts, "a/x", 5..6);
    exported(&mut mounts, "\"id\":\"5\"");
    // The inode goes on under another name, and a new file comes under the old one.
    mounts.run_ok("mv a/x a/x.1");
    write(&mut mounts, "a/x", 6..7);
    write(&mut mounts, "b/y", 7..8);
    exported(&mut mounts, "\"id\":\"7\"");
    exported(&mut mounts, "\"id\":\"6\"");
    mounts.run_ok("kill -TERM $(cat .follower); while kill -0 $(cat .follower) 2>/dev/null; do sleep 0.1; done");
    let ids = |mounts: &Mounts| ids_of(visible_files(&mounts.at(&installation.lake())));
    assert_eq!(ids(&mounts), every_id(8));
    mounts.run_ok("\"$LAKEPORT\" run --quiet");
    assert_eq!(ids(&mounts), every_id(8), "a later run");
}

#[test]
fn equal_beginnings_and_inodes_do_not_make_a_file_that_is_there_another_one_renamed() {
    let (installation, mut mounts) = volumes();
    write(&mut mounts, "b/y", 0..3);
    mounts.run_ok("\"$LAKEPORT\" run --quiet");
    // It begins as `b/y` does: its records are its own.
    write(&mut mounts, "a/x", 0..4);
    assert_same_inodes(&installation, &mounts, ["a/x", "b/y"]);
    write(&mut mounts, "b/y", 4..5);
    mounts.run_ok("\"$LAKEPORT\" run --quiet");
    let counts: Vec<_> = ids_of(visible_files(&mounts.at(&installation.lake()))).into_values().collect();
    assert_eq!(counts, [2, 2, 2, 1, 1]);
    mounts.run_ok("mv a/x a/x.1 && mv b/y b/y.1");
    mounts.run_ok("\"$LAKEPORT\" run --quiet");
    let counts: Vec<_> = ids_of(visible_files(&mounts.at(&installation.lake()))).into_values().collect();
    assert_eq!(counts, [2, 2, 2, 1, 1], "after both were renamed");
}
