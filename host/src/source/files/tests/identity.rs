//! Which file is which: replaced, renamed, linked and copied ones.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn half_a_file_and_then_truncation_is_a_new_origin() {
    let text = lines(100);
    let mut world = World::new(&[("f", text.as_bytes())]);
    assert_eq!(world.run()[0].1, text);
    world.write("f", &text.as_bytes()[..text.len() / 2 - 10]);
    let read = world.run();
    assert!(text.starts_with(&read[0].1) && read[0].1.len() < text.len() / 2);
    assert!(world.warnings()[0].starts_with("`f` is no longer what was exported up to byte"), "{:?}", world.warnings());
}

#[test]
fn a_replaced_file_is_read_from_its_start() {
    let mut world = World::new(&[("f", b"old old old\n")]);
    world.run();
    world.write("tmp", b"new new new, and longer\n");
    world.rename("tmp", "f");
    assert_eq!(pairs(&world.run()), [("f", "new new new, and longer\n")]);
    assert_eq!(world.warnings().len(), 1);
}

#[test]
fn a_file_that_comes_back_goes_on() {
    let mut world = World::new(&[("f", b"one\n")]);
    world.run();
    fs::remove_file(world.path("f")).unwrap();
    assert!(world.run().is_empty());
    world.write("f", b"one\ntwo\n");
    assert_eq!(pairs(&world.run()), [("f", "two\n")]);
}

#[test]
fn renamed_files_go_on_under_their_new_names() {
    let mut world = World::new(&[("log.1", b"oldest\n"), ("log", b"older\n")]);
    world.run();
    world.append("log", b"last words\n");
    world.rename("log.1", "log.2");
    world.rename("log", "log.1");
    world.write("log", b"new\n");
    assert_eq!(pairs(&world.run()), [("log", "new\n"), ("log.1", "last words\n")]);
    assert_eq!(world.warnings().len(), 0, "{:?}", world.warnings());
    assert!(world.run().is_empty());
    let names: Vec<_> = world.position.cursors.iter().map(|c| c.origin.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["log.2", "log", "log.1"]);
}

#[test]
fn files_that_swap_names_are_not_read_again() {
    let mut world = World::new(&[("a", b"first\n"), ("b", b"second\n")]);
    world.run();
    world.rename("a", "t");
    world.rename("b", "a");
    world.rename("t", "b");
    world.append("b", b"more\n");
    assert_eq!(pairs(&world.run()), [("b", "more\n")]);
    assert!(world.run().is_empty());
}

#[test]
fn what_was_renamed_and_not_written_to_is_not_read_again_later() {
    let mut world = World::new(&[("log", b"one\n")]);
    world.run();
    world.rename("log", "log.1");
    world.write("log", b"two\n");
    assert_eq!(pairs(&world.run()), [("log", "two\n")]);
    assert!(world.run().is_empty());
    assert!(world.run().is_empty());
}

#[test]
fn links_to_a_file_are_one_file() {
    let mut world = World::new(&[("b", b"one\n")]);
    world.run();
    fs::hard_link(world.path("b"), world.path("a")).unwrap();
    symlink(world.path("b"), world.path("0")).unwrap();
    assert!(world.run().is_empty());
    world.append("a", b"two\n");
    assert_eq!(pairs(&world.run()), [("b", "two\n")]);
    fs::remove_file(world.path("b")).unwrap();
    assert!(world.run().is_empty(), "the other link goes on where it was");
    world.write("c", b"three\n");
    symlink(world.path("c"), world.path("1")).unwrap();
    assert_eq!(pairs(&world.run()), [("c", "three\n")]);
    assert_eq!(world.warnings().len(), 0, "{:?}", world.warnings());
}

#[test]
fn globs_follow_no_links_to_folders_without_end() {
    let mut world = World::new(&[("a/b/x.log", b"x\n"), ("a/.git/y.log", b"y\n"), ("a/b/c/z.log", b"z\n")]);
    symlink(world.path("a"), world.path("a/b/loop")).unwrap();
    symlink(world.path("a"), world.path("a/b/again")).unwrap();
    symlink(world.path("a/b"), world.path("a/latest")).unwrap();
    symlink("self", world.path("a/self")).unwrap();
    let mut read = |pattern: &str| {
        world.position = Position::default();
        let mut reader = world.reader(pattern, false);
        world.drain(&mut reader).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(read("a/**/*.log"), ["a/b/c/z.log", "a/b/x.log"]);
    assert_eq!(read("a/**/**/x.log"), ["a/b/x.log"]);
    assert_eq!(read("a/**"), ["a/b/c/z.log", "a/b/x.log"]);
    assert_eq!(read("a/*/*.log"), ["a/b/x.log"]);
    assert_eq!(read("a/latest/x.l[o]g"), ["a/latest/x.log"]);
    assert_eq!(read("a"), ["a/b/c/z.log", "a/b/x.log"]);
}

#[test]
fn another_file_that_begins_alike_is_read_from_its_start() {
    let head = format!("{{\"schema\":\"{}\"}}\n", "x".repeat(2 * HEAD));
    let of = |lines: &[&str]| [head.as_str(), &lines.concat()].concat();
    let (old, new) = (of(&["{\"n\":1}\n", "{\"n\":2}\n"]), of(&["{\"n\":3}\n", "{\"n\":4}\n", "{\"n\":5}\n"]));
    // In its place, as another inode, compressed.
    let mut world = World::new(&[("a", old.as_bytes()), ("b", old.as_bytes()), ("c.gz", &gzip(old.as_bytes()))]);
    world.run();
    world.write("a", new.as_bytes());
    world.write("t", new.as_bytes());
    world.rename("t", "b");
    world.write("c.gz", &gzip(new.as_bytes()));
    let expected = [("a", new.as_str()), ("b", &new), ("c.gz", &new)];
    assert_eq!(pairs(&world.run()), expected);
    assert_eq!(world.warnings().len(), 3);
    // A cursor of an earlier version, which has no last bytes, goes on.
    world.position.cursors.iter_mut().for_each(|cursor| cursor.tail = None);
    world.append("a", b"{\"n\":6}\n");
    assert_eq!(pairs(&world.run()), [("a", "{\"n\":6}\n")]);
    // A compressed file that is shorter than what was exported.
    world.write("c.gz", &gzip(old.as_bytes()));
    assert_eq!(pairs(&world.run()), [("c.gz", old.as_str())]);
}

#[test]
fn a_rotated_file_that_is_compressed_goes_on_in_its_copy() {
    let mut world = World::new(&[("app.log", lines(50).as_bytes()), ("old/x.log.1", lines(3).as_bytes())]);
    world.run();
    // Renamed, added to, and compressed, all between two runs; another one whose number rose as well.
    let whole = lines(60);
    world.write("app.log.1.gz", &gzip(whole.as_bytes()));
    fs::remove_file(world.path("app.log")).unwrap();
    world.write("app.log", b"{\"n\":1}\n");
    world.write("old/x.log.1.zst", &zstd(lines(3).as_bytes()));
    fs::remove_file(world.path("old/x.log.1")).unwrap();
    let read = world.run();
    assert_eq!(pairs(&read), [("app.log", "{\"n\":1}\n"), ("app.log.1.gz", &whole[lines(50).len()..])]);
    assert!(world.run().is_empty());
    world.rename("app.log.1.gz", "app.log.2.gz");
    world.rename("app.log", "app.log.1");
    world.write("app.log.1.gz", &gzip(b"{\"n\":1}\n"));
    fs::remove_file(world.path("app.log.1")).unwrap();
    assert!(world.run().is_empty());
}

#[test]
fn a_copy_whose_original_was_truncated_is_not_read_again() {
    let mut world = World::new(&[("app.log", lines(50).as_bytes())]);
    let mut reader = world.reader("", true);
    world.drain(&mut reader);
    world.write("app.log.1", lines(55).as_bytes());
    assert!(world.drain(&mut reader).is_empty(), "it may be a copy under way");
    world.write("app.log", b"{\"n\":1}\n");
    assert_eq!(
        pairs(&world.drain(&mut reader)),
        [("app.log", "{\"n\":1}\n"), ("app.log.1", &lines(55)[lines(50).len()..])]
    );
    // Between runs, the original having grown again.
    world.write("app.log.2", &fs::read(world.path("app.log")).unwrap());
    world.write("app.log", lines(70).as_bytes());
    assert_eq!(pairs(&world.run()), [("app.log", lines(70).as_str())]);
    assert!(world.run().is_empty());
}

#[test]
fn files_of_equal_contents_are_files_of_their_own() {
    let (small, elsewhere) = (b"{\"state\":\"ok\"}\n", tempfile::tempdir().unwrap());
    let mut world = World::new(&[("10.log", small), ("signals.10", small), ("day-20260301", small)]);
    assert_eq!(world.run().len(), 3);
    for (number, name) in
        ["11.log", "12.log.gz", "signals.11", "signals.12.gz", "day-20260302", "day-20260303.gz"].iter().enumerate()
    {
        world.write(name, small);
        // Moved away rather than removed, so that none gets another's inode.
        if let Some(old) = ["10.log", "signals.10", "day-20260301"].get(number / 2).filter(|_| number % 2 == 0) {
            fs::rename(world.path(old), elsewhere.path().join(old)).unwrap();
        }
        assert_eq!(world.run().len(), 1, "{name}");
    }
}

#[test]
fn names_that_are_not_utf_8_are_files_of_their_own() {
    let mut world = World::new(&[]);
    for byte in [0xfe, 0xff] {
        let name = std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', byte]);
        let name: std::ffi::OsString = name;
        fs::write(world.folder.path().join(name), [b'{', b'}', b'\n']).unwrap();
    }
    assert_eq!(pairs(&world.run()), [("a%FE", "{}\n"), ("a%FF", "{}\n")]);
    assert!(world.run().is_empty());
}
