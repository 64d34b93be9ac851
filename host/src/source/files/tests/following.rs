//! Files that grow, are added and are rotated while they are followed.

use std::fs::File;
use std::os::unix::fs::symlink;

use super::*;
use crate::source::MAX_CURSORS;

#[test]
fn a_file_that_is_written_anew_while_followed_is_read_from_its_start() {
    let mut world = World::new(&[("f", lines(100).as_bytes())]);
    let mut reader = world.reader("f", true);
    world.drain(&mut reader);
    let anew = [&lines(50), "{\"n\":1}\n", &lines(100)].concat();
    world.write("f", anew.as_bytes());
    assert_eq!(pairs(&world.drain(&mut reader)), [("f", anew.as_str())]);
}

#[test]
fn a_compressed_file_that_ends_in_the_middle_of_a_line_waits_for_its_other_half() {
    let mut world = World::new(&[("f.gz", &gzip(b"{\"n\":1}\n{\"n\""))]);
    assert_eq!(pairs(&world.run()), [("f.gz", "{\"n\":1}\n")]);
    assert!(world.warnings()[0].starts_with("`f.gz` ends in the middle of a line"), "{:?}", world.warnings());
    let mut reader = world.reader("", true);
    assert!(world.drain(&mut reader).is_empty());
    world.append("f.gz", &gzip(b":2}\n{\"n\":3}"));
    assert_eq!(pairs(&world.drain(&mut reader)), [("f.gz", "{\"n\":2}\n{\"n\":3}")]);
}

#[test]
fn following_goes_on_beside_what_cannot_be_read_for_now() {
    let mut world = World::new(&[("a", b"a\n")]);
    symlink("loop", world.path("loop")).unwrap();
    let mut reader = world.reader("", true);
    assert_eq!(pairs(&world.drain(&mut reader)), [("a", "a\n")]);
    assert_eq!(world.warnings().len(), 1, "{:?}", world.warnings());
    assert!(world.warnings()[0].ends_with(": it is looked at again"), "{:?}", world.warnings());
    fs::remove_file(world.path("loop")).unwrap();
    world.write("loop", b"b\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("loop", "b\n")]);
}

#[test]
fn new_files_beyond_what_the_log_remembers_wait_until_others_are_gone() {
    let mut world = World::new(&[]);
    for i in 0..=MAX_CURSORS {
        world.write(&format!("f{i:05}"), b"");
    }
    assert!(world.error("").ends_with("` are 10001 files, and the log remembers 10000"), "{}", world.error(""));
    world.append("f00000", b"{}\n");
    world.append(&format!("f{MAX_CURSORS:05}"), b"last\n");
    let mut reader = world.reader("", true);
    assert_eq!(pairs(&world.drain(&mut reader)), [("f00000", "{}\n")]);
    assert!(world.warnings()[0].contains("1 new ones wait until others are gone"), "{:?}", world.warnings());
    fs::remove_file(world.path("f00001")).unwrap();
    assert_eq!(pairs(&world.drain(&mut reader)), [(&*format!("f{MAX_CURSORS:05}"), "last\n")]);
}

#[test]
fn following_reads_what_is_appended_and_added() {
    let mut world = World::new(&[]);
    let mut reader = world.reader("*.log", true);
    assert!(world.drain(&mut reader).is_empty(), "a glob may match nothing yet");
    world.write("a.log", b"{}\n{\"half");
    assert_eq!(pairs(&world.drain(&mut reader)), [("a.log", "{}\n")]);
    world.append("a.log", b"\":1}\n");
    world.write("b.log", &gzip(b"{\"zip\":1}"));
    assert_eq!(pairs(&world.drain(&mut reader)), [("a.log", "{\"half\":1}\n"), ("b.log", "{\"zip\":1}")]);
    assert!(world.drain(&mut reader).is_empty());
    assert_eq!(world.warnings().len(), 0);
}

#[test]
fn following_waits_for_a_compressed_file_to_be_whole() {
    let text = lines(3000);
    let data = gzip(text.as_bytes());
    let mut world = World::new(&[("f", &data[..data.len() / 2])]);
    let mut reader = world.reader("f", true);
    let mut all = world.drain(&mut reader)[0].1.clone();
    assert!(all.len() < text.len());
    world.append("f", &data[data.len() / 2..]);
    all.push_str(&world.drain(&mut reader)[0].1);
    assert!(all == text);
    assert_eq!(world.warnings().len(), 0);
}

#[test]
fn rotation_while_following_finishes_the_old_file_first() {
    let mut world = World::new(&[("app.log", b"{\"n\":1}\n")]);
    let mut reader = world.reader("app.log", true);
    world.drain(&mut reader);
    // Renamed to what the source does not name; its writer goes on for a while.
    world.rename("app.log", "app.log.1");
    assert!(world.drain(&mut reader).is_empty());
    world.append("app.log.1", b"{\"n\":2}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("app.log", "{\"n\":2}\n")]);
    world.append("app.log.1", b"{\"n\":3}\n{\"n\":4}");
    world.write("app.log", b"{\"n\":5}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("app.log", "{\"n\":3}\n{\"n\":4}{\"n\":5}\n")]);
    assert_eq!(world.warnings().len(), 0, "{:?}", world.warnings());
    world.append("app.log", b"{\"n\":6}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("app.log", "{\"n\":6}\n")]);
}

#[test]
fn rotation_within_a_followed_folder_renames() {
    let mut world = World::new(&[("log", b"{\"n\":1}\n")]);
    let mut reader = world.reader("", true);
    world.drain(&mut reader);
    world.append("log", b"{\"n\":2}\n{\"n\":");
    world.rename("log", "log.1");
    world.write("log", b"{\"n\":4}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("log", "{\"n\":4}\n"), ("log.1", "{\"n\":2}\n")]);
    world.append("log.1", b"3}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("log.1", "{\"n\":3}\n")]);
    assert!(world.run().is_empty());
}

#[test]
fn a_file_that_is_copied_and_truncated_while_followed_starts_again() {
    let mut world = World::new(&[("log", b"{\"n\":1}\n{\"n\":2}\n")]);
    let mut reader = world.reader("log", true);
    world.drain(&mut reader);
    File::options().write(true).open(world.path("log")).unwrap().set_len(0).unwrap();
    world.append("log", b"{\"n\":3}\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("log", "{\"n\":3}\n")]);
    assert_eq!(world.warnings().len(), 1);
    // Longer than before when it is looked at again, but with another beginning.
    fs::write(world.path("log"), b"{\"n\":4}\n{\"n\":5}\n").unwrap();
    assert_eq!(pairs(&world.drain(&mut reader)), [("log", "{\"n\":4}\n{\"n\":5}\n")]);
}
