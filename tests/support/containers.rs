//! Avro container files by the letter of the specification, with the freedoms that it gives writers, and with faults.

/// The sync marker of all files.
pub const MARKER: [u8; 16] = *b"sixteen bytes of";

/// A whole number.
pub fn long(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Text, or bytes.
pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [long(text.as_ref().len() as i64), text.as_ref().to_vec()].concat()
}

/// An array, or a map of pairs of name and value, in one block with its count.
pub fn items(items: &[Vec<u8>]) -> Vec<u8> {
    let count = if items.is_empty() { vec![] } else { long(items.len() as i64) };
    [count, items.concat(), long(0)].concat()
}

/// The same in blocks of at most two, each with a negative count and its size.
pub fn sized_items(items: &[Vec<u8>]) -> Vec<u8> {
    let block = |items: &[Vec<u8>]| {
        let data = items.concat();
        [long(-(items.len() as i64)), long(data.len() as i64), data].concat()
    };
    [items.chunks(2).flat_map(block).collect(), long(0)].concat()
}

/// What a file begins with; no codec is `null`.
pub fn header(schema: &str, codec: Option<&str>) -> Vec<u8> {
    header_of(&items(&entries(schema, codec)))
}

/// The same with a map in blocks of negative counts, and an entry of the writer's own.
pub fn header_in_blocks(schema: &str) -> Vec<u8> {
    let mut entries = entries(schema, Some("null"));
    entries.push([text("writer"), text("another one")].concat());
    header_of(&sized_items(&entries))
}

fn entries(schema: &str, codec: Option<&str>) -> Vec<Vec<u8>> {
    let codec = codec.map(|codec| [text("avro.codec"), text(codec)].concat());
    [Some([text("avro.schema"), text(schema)].concat()), codec].into_iter().flatten().collect()
}

fn header_of(map: &[u8]) -> Vec<u8> {
    [b"Obj\x01", map, &MARKER].concat()
}

/// A block that says to hold so many records.
pub fn block(count: i64, data: &[u8]) -> Vec<u8> {
    [long(count), long(data.len() as i64), data.to_vec(), MARKER.to_vec()].concat()
}
