//! Files as they live: appended to, rotated, truncated, compressed, cut off. Every test compares whole contents.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::source::MAX_CURSORS;

mod avro;

/// A folder of files, and what was exported of them so far.
struct World {
    folder: TempDir,
    position: Position,
    warnings: Vec<String>,
}

impl World {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let world = World { folder: tempfile::tempdir().unwrap(), position: Position::default(), warnings: vec![] };
        files.iter().for_each(|(name, data)| world.write(name, data));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn input(&self, pattern: &str) -> Vec<String> {
        vec![self.path(pattern).to_string_lossy().into_owned()]
    }

    fn write(&self, name: &str, data: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), data).unwrap();
    }

    fn append(&self, name: &str, data: &[u8]) {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap().write_all(data).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn reader(&self, pattern: &str, follow: bool) -> Files {
        Files::new(self.input(pattern), Envelope::Plain, &self.position, options(follow))
    }

    /// Everything that a run of the folder exports: file names with their bytes.
    fn run(&mut self) -> Vec<(String, String)> {
        let mut reader = self.reader("", false);
        let read = self.drain(&mut reader);
        assert!(matches!(reader.read(Duration::ZERO).unwrap(), Read::End));
        read
    }

    /// What `reader` has now, the chunks of a file one after another joined.
    fn drain(&mut self, reader: &mut Files) -> Vec<(String, String)> {
        let mut read: Vec<(String, String)> = vec![];
        loop {
            let chunk = match reader.read(Duration::from_millis(450)).unwrap() {
                Read::Chunk(chunk) => chunk,
                Read::Reached => continue,
                Read::Idle | Read::End => break,
            };
            assert_eq!(chunk.extent.next - chunk.extent.first, chunk.data.len() as u64 + chunk.extent.dropped);
            self.position.advance(&chunk.extent);
            let origin = &chunk.extent.origin;
            assert!(u64::from(origin.hashed) <= chunk.extent.next.min(1024));
            let name = Path::new(&*origin.name).strip_prefix(self.folder.path()).unwrap().display().to_string();
            let data = String::from_utf8(chunk.data.to_vec()).unwrap();
            match read.last_mut() {
                Some((last, text)) if *last == name => text.push_str(&data),
                _ => read.push((name, data)),
            }
        }
        self.warnings = reader.warnings();
        read.retain(|(_, data)| !data.is_empty());
        read
    }

    fn error(&self, pattern: &str) -> String {
        self.reader(pattern, false)
            .read(Duration::ZERO)
            .unwrap_err()
            .message
            .replace(self.folder.path().to_str().unwrap(), "")
    }

    fn warnings(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        self.warnings.iter().map(|warning| warning.replace(&folder, "")).collect()
    }
}

fn options(follow: bool) -> ReadOptions {
    ReadOptions { follow, live: Arc::default(), run: String::new(), longest: 128 << 20 }
}

fn pairs(read: &[(String, String)]) -> Vec<(&str, &str)> {
    read.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

/// `n` lines of about 100 bytes that do not compress to nothing.
fn lines(n: usize) -> String {
    (0..n)
        .map(|i| {
            format!("{{\"name\":\"n\",\"i\":{i},\"x\":\"{:064x}\"}}\n", i as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060)
        })
        .collect()
}

#[test]
fn every_file_below_a_folder_is_read_once_in_the_order_of_paths() {
    let mut world =
        World::new(&[("b", b"b\n"), ("a/z", b"az\n"), ("a/b/c", b"abc\n"), (".hidden", b"h\n"), ("a/.git/x", b"x\n")]);
    assert_eq!(pairs(&world.run()), [("a/b/c", "abc\n"), ("a/z", "az\n"), ("b", "b\n")]);
    assert!(world.run().is_empty(), "nothing is exported twice");
    world.append("a/z", b"more\n");
    world.write("a/new", b"new\n");
    assert_eq!(pairs(&world.run()), [("a/new", "new\n"), ("a/z", "more\n")]);
}

#[test]
fn globs_and_names_that_overlap_give_each_file_once() {
    let mut world = World::new(&[("a.json", b"a\n"), ("b.json", b"b\n"), ("c.txt", b"c\n"), (".d.json", b"d\n")]);
    let inputs = [world.input("*.json"), world.input("a.json"), world.input("?.json")].concat();
    let mut reader = Files::new(inputs, Envelope::Plain, &Position::default(), options(false));
    assert_eq!(pairs(&world.drain(&mut reader)), [("a.json", "a\n"), ("b.json", "b\n")]);
}

#[test]
fn a_last_line_that_is_too_long_is_handed_on_once() {
    let long = format!("{{}}\n{{\"x\":\"{}\"}}", "y".repeat(3 << 20));
    let mut world = World::new(&[("f", long.as_bytes())]);
    let mut reader = Files::new(
        world.input(""),
        Envelope::Plain,
        &Position::default(),
        ReadOptions { longest: 1000, ..options(false) },
    );
    assert_eq!(world.drain(&mut reader)[0].1.len(), 3 + 1000);
    assert_eq!((world.position.cursors[0].next, world.warnings().len()), (long.len() as u64, 0));
    assert!(world.run().is_empty());
}

#[test]
fn a_large_file_comes_in_chunks_that_end_at_line_ends() {
    let text = lines(40_000);
    let world = World::new(&[("f", text.as_bytes())]);
    let live = Arc::new(Live::default());
    let mut reader = Files::new(
        world.input(""),
        Envelope::Plain,
        &Position::default(),
        ReadOptions { live: live.clone(), ..options(false) },
    );
    let (mut all, mut chunks) = (String::new(), 0);
    while let Read::Chunk(chunk) = reader.read(Duration::ZERO).unwrap() {
        assert!(chunk.data.ends_with(b"\n") && chunk.data.len() <= 2 << 20);
        assert_eq!(chunk.extent.first, all.len() as u64);
        all.push_str(std::str::from_utf8(&chunk.data).unwrap());
        chunks += 1;
    }
    assert!(all == text && chunks >= 3);
    assert_eq!(live.bytes_total.load(Ordering::Relaxed), text.len() as u64);
}

#[test]
fn compression_is_told_by_content_and_resumed_by_decompressed_bytes() {
    let text = lines(30_000);
    let half = text.len() / 2;
    let (a, b) = text.as_bytes().split_at(half);
    let members = [gzip(a), gzip(b)].concat();
    let frames = [zstd(a), zstd(b)].concat();
    for (name, data) in [("gz.json", &members), ("zst.txt", &frames), ("plain.gz", &text.clone().into_bytes())] {
        let mut world = World::new(&[(name, data)]);
        let mut reader = world.reader("", false);
        let Read::Chunk(first) = reader.read(Duration::ZERO).unwrap() else { panic!("no chunk") };
        world.position.advance(&first.extent);
        let rest = world.run();
        let whole = [std::str::from_utf8(&first.data).unwrap(), &rest[0].1].concat();
        assert!(whole == text, "{name}");
        assert!(world.run().is_empty(), "{name}");
    }
}

#[test]
fn a_whole_object_at_the_end_of_a_compressed_file_is_a_record() {
    let mut world = World::new(&[("a", &gzip(b"one\n{}")), ("b", &zstd(b"{\"n\":1}")), ("c", &gzip(b""))]);
    assert_eq!(pairs(&world.run()), [("a", "one\n{}"), ("b", "{\"n\":1}")]);
    assert_eq!(world.warnings().len(), 0);
}

#[test]
fn compressed_data_that_is_cut_off_is_exported_as_far_as_it_goes() {
    let text = lines(30_000);
    for (data, kind) in [(gzip(text.as_bytes()), "gzip"), (zstd(text.as_bytes()), "zstd")] {
        let mut world = World::new(&[("f", &data[..data.len() / 2]), ("g", b"g\n")]);
        let read = world.run();
        let part = &read[0].1;
        assert!(text.starts_with(part) && part.ends_with('\n') && part.len() > text.len() / 4, "{}", part.len());
        assert_eq!(read[1].1, "g\n", "other files go on");
        let warning = &world.warnings()[0];
        assert!(warning.starts_with(&format!("`f`: the {kind} data is cut off after")), "{warning}");
        assert!(warning.ends_with(&format!("the {} whole ones before that are exported", part.len())), "{warning}");
        // Mended, it goes on where it stopped.
        world.write("f", &data);
        let rest = world.run();
        assert!([part.as_str(), &rest[0].1].concat() == text);
    }
}

#[test]
fn corrupt_compressed_data_is_named() {
    let mut data = gzip(lines(3000).as_bytes());
    let middle = data.len() / 2;
    data[middle..middle + 40].fill(0xff);
    let mut world = World::new(&[("f.gz", &data)]);
    world.run();
    assert!(world.warnings()[0].starts_with("`f.gz`: the gzip data is corrupt ("), "{:?}", world.warnings());
}

#[test]
fn an_unterminated_last_line_is_a_record_if_it_is_a_whole_object() {
    let mut world =
        World::new(&[("a", b"{}\n{\"name\":\"x\"} "), ("b", b"{}\n{\"name\":"), ("c", b"{}\n12"), ("d", b"{}\n  ")]);
    assert_eq!(pairs(&world.run()), [("a", "{}\n{\"name\":\"x\"} "), ("b", "{}\n"), ("c", "{}\n"), ("d", "{}\n")]);
    assert_eq!(
        world.warnings(),
        [
            "`b` ends in the middle of a line: the 8 bytes from byte 3 on are left for a later run",
            "`c` ends in the middle of a line: the 2 bytes from byte 3 on are left for a later run",
        ]
    );
    world.append("a", b"\n{\"name\":\"y\"}\n");
    world.append("b", b"\"z\"}\n");
    assert_eq!(pairs(&world.run()), [("a", "\n{\"name\":\"y\"}\n"), ("b", "{\"name\":\"z\"}\n")]);
}

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
fn a_file_that_is_written_anew_while_followed_is_read_from_its_start() {
    let mut world = World::new(&[("f", lines(100).as_bytes())]);
    let mut reader = world.reader("f", true);
    world.drain(&mut reader);
    let anew = [&lines(50), "{\"n\":1}\n", &lines(100)].concat();
    world.write("f", anew.as_bytes());
    assert_eq!(pairs(&world.drain(&mut reader)), [("f", anew.as_str())]);
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
fn archives_are_named_as_what_they_are() {
    let mut world = World::new(&[("x.zip", b"PK\x03\x04\x14\0\0\0"), ("y", b"y\n")]);
    assert_eq!(world.error("x.zip"), format!("`/x.zip` is a zip archive, expected plain, gzip or zstd data"));
    assert_eq!(pairs(&world.run()), [("y", "y\n")]);
    assert_eq!(world.warnings(), ["skipped: `x.zip` is a zip archive, expected plain, gzip or zstd data"]);
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

#[test]
fn a_line_of_100_mb_is_one_chunk() {
    let mut line = vec![b'x'; 100 << 20];
    line.push(b'\n');
    let world = World::new(&[("f", &line)]);
    let mut reader = world.reader("f", false);
    let Read::Chunk(chunk) = reader.read(Duration::ZERO).unwrap() else { panic!("no chunk") };
    assert!(chunk.data == line);
}

#[test]
fn thousands_of_files_need_few_handles() {
    let mut world = World::new(&[]);
    for i in 0..2000 {
        world.write(&format!("f{i:04}"), format!("{{\"n\":{i}}}\n").as_bytes());
    }
    let mut reader = world.reader("", true);
    let read = world.drain(&mut reader);
    assert_eq!(read.len(), 2000);
    assert_eq!(reader.tails.len(), TAILS);
    world.append("f0000", b"more\n");
    assert_eq!(pairs(&world.drain(&mut reader)), [("f0000", "more\n")]);
}

#[test]
fn errors_name_the_path_and_the_reason() {
    let world = World::new(&[("locked", b"x\n")]);
    assert_eq!(world.error("missing"), "`/missing` does not exist");
    assert_eq!(world.error("*.nothing"), "nothing matches `/*.nothing`");
    assert_eq!(
        world.error("***"),
        "`/***` is no glob: wildcards are either regular `*` or recursive `**` at character 3"
            .replace("3", &(world.folder.path().to_str().unwrap().len() + 4).to_string())
    );
    let _socket = std::os::unix::net::UnixListener::bind(world.path("sock")).unwrap();
    assert_eq!(world.error("sock"), "`/sock` is a socket, expected a file, a folder or a glob");
    fs::set_permissions(world.path("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // A superuser may read everything.
    if File::open(world.path("locked")).is_err() {
        assert_eq!(world.error("locked"), "cannot read `/locked`: permission denied");
    }
}

#[test]
fn too_many_open_files_says_which_limit_to_raise() {
    let error = unreadable(Path::new("/in/a"), &io::Error::from_raw_os_error(libc::EMFILE));
    assert_eq!(error.message, "cannot read `/in/a`: too many open files");
    assert_eq!(error.help.as_deref(), Some("raise the limit with `ulimit -n`"));
}

#[test]
fn what_is_no_file_below_a_folder_is_skipped_with_a_warning() {
    let mut world = World::new(&[("f", b"f\n")]);
    let _socket = std::os::unix::net::UnixListener::bind(world.path("sock")).unwrap();
    assert_eq!(pairs(&world.run()), [("f", "f\n")]);
    assert_eq!(world.warnings(), ["skipped: `sock` is a socket, expected a file, a folder or a glob"]);
}

#[test]
fn a_file_that_vanishes_before_it_is_opened_is_a_warning() {
    let mut world = World::new(&[("a", b"a\n"), ("b", b"b\n"), ("c", b"c\n")]);
    let mut reader = world.reader("", false);
    assert!(matches!(reader.read(Duration::ZERO).unwrap(), Read::Chunk(_)));
    fs::remove_file(world.path("b")).unwrap();
    assert_eq!(pairs(&world.drain(&mut reader)), [("c", "c\n")]);
    assert_eq!(world.warnings(), ["`b` vanished before it was read"]);
}

#[test]
fn an_empty_folder_has_nothing_to_read() {
    let mut world = World::new(&[("empty", b"")]);
    assert!(world.run().is_empty());
    fs::remove_file(world.path("empty")).unwrap();
    assert!(world.run().is_empty());
}
