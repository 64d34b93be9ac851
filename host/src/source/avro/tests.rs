use super::*;
use crate::source::cutter::Cutter;
use proptest::prelude::*;

const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[{"name":"s","type":"string"}]}"#;

/// A container file with two blocks of one record of type `string` each, and its header's length.
fn file(codec: &str) -> (Vec<u8>, usize) {
    file_of(codec, SCHEMA)
}

fn file_of(codec: &str, schema: &str) -> (Vec<u8>, usize) {
    let mut bytes = MAGIC.to_vec();
    bytes.push(4);
    for (key, value) in [(&b"avro.codec"[..], codec.as_bytes()), (b"avro.schema", schema.as_bytes())] {
        for text in [key, value] {
            let length = text.len() as u64 * 2;
            bytes.extend(if length < 128 {
                vec![length as u8]
            } else {
                vec![length as u8 | 0x80, (length >> 7) as u8]
            });
            bytes.extend_from_slice(text);
        }
    }
    bytes.push(0);
    bytes.extend_from_slice(&[7; MARKER]);
    let header = bytes.len();
    for text in ["one", "two"] {
        bytes.extend_from_slice(&[2, 8, 6]);
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(&[7; MARKER]);
    }
    (bytes, header)
}

#[test]
fn a_header_says_what_its_file_holds() {
    let (bytes, len) = file("null");
    let header = Header::parse(&bytes).unwrap().unwrap();
    assert_eq!((header.len, header.codec, header.shape), (len, Codec::Null, Shape::Other));
    let blocks: Vec<_> = header.blocks(&bytes, 0).map(|block| (block.records, bytes[block.data].to_vec())).collect();
    assert_eq!(blocks, [(1, b"\x06one".to_vec()), (1, b"\x06two".to_vec())]);
    let later: Vec<_> = header.blocks(&bytes[len..], len as u64).collect();
    assert_eq!((later.len(), later[0].start), (2, 0));
}

#[test]
fn half_a_header_is_awaited_and_another_file_refused() {
    let (bytes, len) = file("deflate");
    for end in 0..len {
        assert!(Header::parse(&bytes[..end]).unwrap().is_none(), "{end}");
    }
    let reason = |bytes: &[u8]| Header::parse(bytes).unwrap_err();
    assert_eq!(
        reason(b"{\"name\":1}"),
        "it begins with `{\"na`, expected `Obj` and a byte 1: it is no Avro container file"
    );
    let of_text = file_of("null", r#""string""#).0;
    assert_eq!(reason(&of_text), "its schema: its type is no `record`: a file holds records");
    let preamble = Preamble::parse(&of_text).unwrap().unwrap();
    assert_eq!(preamble.keys, [&b"avro.codec"[..], b"avro.schema"].into());
    assert!(matches!(Header::new(&preamble).unwrap().types.root(), Type::Text), "other readers may take it");
    assert_eq!(reason(&file("lzo").0), "its codec is `lzo`, expected `null`, `deflate`, `zstandard` or `snappy`");
}

#[test]
fn a_block_that_does_not_end_with_the_marker_is_refused() {
    let (mut bytes, len) = file("null");
    let header = Header::parse(&bytes).unwrap().unwrap();
    let last = bytes.len() - 1;
    bytes[last] = 8;
    let second = header.block(&bytes, len).unwrap().unwrap().end;
    let reason = header.block(&bytes, second).unwrap_err();
    assert_eq!(reason, format!("a block does not end with the file's sync marker `{}`", "07".repeat(16)));
    assert_eq!(header.block(&bytes[..last], second).unwrap(), None, "it is not all there yet");
}

#[test]
fn named_types_are_found_across_namespaces() {
    let schema = br#"{"type":"record","name":"a.b.Outer","fields":[
        {"name":"x","type":{"type":"fixed","name":"F","size":2}},
        {"name":"y","type":["null","F"]},
        {"name":"next","type":["null","a.b.Outer"]},
        {"name":"z","type":{"type":"enum","name":"c.E","symbols":["A","B"]}},
        {"name":"w","type":{"type":"array","items":"c.E"}}]}"#;
    let types = Types::parse(schema).unwrap();
    let Type::Record { name, fields } = types.root() else { panic!() };
    assert_eq!((name.as_str(), fields.len()), ("a.b.Outer", 5));
    assert!(matches!(types.get(fields[4].of), Type::Array(of) if matches!(types.get(*of), Type::Enum(_))));
    for (schema, expected) in [
        (&br#"{"type":"record","name":"r","fields":[{"name":"x","type":"nope"}]}"#[..], "there is no type `nope`"),
        (b"{", "no JSON"),
    ] {
        let reason = Types::parse(schema).unwrap_err();
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn compressed_blocks_come_in_smaller_chunks_that_are_the_file() {
    for (codec, most) in [("null", 1 << 20), ("deflate", 64 << 10)] {
        let (mut bytes, header) = file(codec);
        let block = [&[2, 0x80, 0x7d][..], &[5; 8_000], &[7; MARKER]].concat();
        // One that makes the buffer double, with many behind it.
        bytes.extend([&[2, 0x80, 0x80, 0x80, 2][..], &vec![6; 2 << 20], &[7; MARKER]].concat());
        (0..400).for_each(|_| bytes.extend_from_slice(&block));
        bytes.extend_from_slice(&block[..100]);
        let (mut blocks, mut source) = (Blocks::default(), &bytes[10..]);
        blocks.read_header(&bytes[..10], &mut source).unwrap();
        let (mut read, mut largest) = (Vec::new(), 0);
        loop {
            while let Some(run) = blocks.take() {
                assert_eq!((run.first, run.next), (read.len() as u64, (read.len() + run.data.len()) as u64));
                read.extend_from_slice(&run.data);
                let chunk = Header::parse(&bytes).unwrap().unwrap();
                let sizes: Vec<_> = chunk.blocks(&run.data, run.first).map(|block| block.end - block.start).collect();
                assert!(sizes.len() == 1 || run.data.len() - sizes[sizes.len() - 1] < most.max(header), "{codec}");
                largest = largest.max(sizes.len());
            }
            if blocks.fill(&mut source).unwrap() == 0 {
                break;
            }
        }
        assert!(largest > 5, "{codec}: chunks of single blocks");
        assert_eq!((read.len(), blocks.rest().len()), (bytes.len() - 100, 100));
        assert!(bytes.starts_with(&read) && blocks.fault().is_none());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..4)) {
        let _ = Header::parse(&bytes);
        let (mut file, _) = file("null");
        for (at, byte) in flips {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Ok(Some(header)) = Header::parse(&file) {
            header.blocks(&file, 0).for_each(drop);
        }
    }
}
