//! What files hold, and in which order it is read.

use super::*;

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
fn archives_are_named_as_what_they_are() {
    let mut world = World::new(&[("x.zip", b"PK\x03\x04\x14\0\0\0"), ("y", b"y\n")]);
    assert_eq!(world.error("x.zip"), format!("`/x.zip` is a zip archive, expected plain, gzip or zstd data"));
    assert_eq!(pairs(&world.run()), [("y", "y\n")]);
    assert_eq!(world.warnings(), ["skipped: `x.zip` is a zip archive, expected plain, gzip or zstd data"]);
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
fn an_empty_folder_has_nothing_to_read() {
    let mut world = World::new(&[("empty", b"")]);
    assert!(world.run().is_empty());
    fs::remove_file(world.path("empty")).unwrap();
    assert!(world.run().is_empty());
}
