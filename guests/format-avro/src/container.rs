//! Object container files (specification, "Object Container Files"): a header, then blocks that end with the file's
//! sync marker.
//!
//! Records are encoded into the segment that is returned, behind a gap for their block's header, so that without a
//! codec they are written once and never moved. Every segment is whole blocks, and no block is empty: segments can be
//! laid end to end.

use lakeport_plugin::Error;
use lakeport_plugin::prelude::*;

use crate::binary::{put_bytes, put_long};
use crate::codec::Codec;

const MAGIC: &[u8; 4] = b"Obj\x01";

/// A file's sync marker.
pub type Sync = [u8; 16];

/// The sync marker of a file: its seed, so that segments of one file fit together whoever writes them, and when.
///
/// # Errors
/// Where the seed is not 16 bytes.
pub fn sync_marker(file: &FileContext) -> Result<Sync> {
    let marker = Sync::try_from(file.seed.as_slice());
    marker.map_err(|_| Error::Other(format!("the file's seed is {} bytes, expected 16", file.seed.len())))
}

/// What a file begins with: which codec and schema its blocks have.
pub fn header(codec: Codec, schema: &str, sync: Sync) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_long(2, &mut out);
    for (key, value) in [("avro.codec", codec.name()), ("avro.schema", schema)] {
        put_bytes(key.as_bytes(), &mut out);
        put_bytes(value.as_bytes(), &mut out);
    }
    put_long(0, &mut out);
    out.extend_from_slice(&sync);
    out
}

/// The usual header of a block: a count of two bytes and a size of three.
const GAP: usize = 5;

/// The blocks of one segment.
pub struct Blocks {
    codec: Codec,
    sync: Sync,
    /// A block of so many bytes, uncompressed, is closed.
    size: usize,
    out: Vec<u8>,
    /// Where the open block begins; its records begin [`GAP`] bytes later.
    start: usize,
    /// The open block's records.
    count: usize,
}

impl Blocks {
    /// No blocks yet.
    pub fn new(codec: Codec, sync: Sync, size: usize) -> Self {
        Blocks { codec, sync, size, out: Vec::new(), start: 0, count: 0 }
    }

    /// Makes room for records that take up to `bytes`, and the blocks around them.
    pub fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes + (bytes / self.size + 2) * 64);
    }

    /// Adds a record, which `write` encodes at the end of what it is given; of one that it refuses nothing is kept.
    ///
    /// # Errors
    /// As the codec.
    #[inline]
    pub fn record<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Result<(), E>> {
        if self.count == 0 {
            self.start = self.out.len();
            self.out.extend_from_slice(&[0; GAP]);
        }
        let before = self.out.len();
        if let Err(reason) = write(&mut self.out) {
            self.out.truncate(if self.count == 0 { self.start } else { before });
            return Ok(Err(reason));
        }
        self.count += 1;
        if self.out.len() - self.start - GAP >= self.size {
            self.close()?;
        }
        Ok(Ok(()))
    }

    /// Ends the open block, which has a record.
    fn close(&mut self) -> Result<()> {
        let records = self.start + GAP;
        if let Some(compressed) = self.codec.compress(&self.out[records..])? {
            self.out.truncate(records);
            self.out.extend_from_slice(&compressed);
        }
        let size = self.out.len() - records;
        let mut header = Vec::with_capacity(GAP);
        put_long(self.count as i64, &mut header);
        put_long(size as i64, &mut header);
        match header.len() {
            GAP => self.out[self.start..records].copy_from_slice(&header),
            _ => drop(self.out.splice(self.start..records, header)),
        }
        self.out.extend_from_slice(&self.sync);
        self.count = 0;
        Ok(())
    }

    /// The blocks' bytes; nothing where there were no records.
    ///
    /// # Errors
    /// As the codec.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        if self.count > 0 {
            self.close()?;
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::long;
    use std::convert::Infallible;

    const SYNC: Sync = *b"0123456789abcdef";

    fn add(blocks: &mut Blocks, record: &[u8]) {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(record);
            Ok::<(), Infallible>(())
        };
        let Ok(()) = blocks.record(write).unwrap();
    }

    /// Each block's count and data.
    fn read(mut bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let (count, size) = (long(&mut bytes), long(&mut bytes));
            let (data, rest) = bytes.split_at(size as usize);
            let (sync, rest) = rest.split_at(16);
            assert_eq!(sync, SYNC);
            blocks.push((count, data.to_vec()));
            bytes = rest;
        }
        blocks
    }

    #[test]
    fn a_header_is_magic_metadata_and_marker() {
        let header = header(Codec::Null, "\"int\"", SYNC);
        assert_eq!(header, b"Obj\x01\x04\x14avro.codec\x08null\x16avro.schema\x0a\"int\"\x000123456789abcdef");
    }

    #[test]
    fn a_block_is_closed_when_it_has_reached_its_size() {
        let mut blocks = Blocks::new(Codec::Null, SYNC, 10);
        [&b"aaaa"[..], b"bbbbbb", b"cccccccccccccccccccc", b"d"].iter().for_each(|record| add(&mut blocks, record));
        let counts: Vec<(i64, usize)> =
            read(&blocks.finish().unwrap()).iter().map(|(count, data)| (*count, data.len())).collect();
        assert_eq!(counts, [(2, 10), (1, 20), (1, 1)]);
    }

    #[test]
    fn nothing_of_a_refused_record_is_kept() {
        let mut blocks = Blocks::new(Codec::Null, SYNC, 100);
        let refuse = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"half");
            Err("no")
        };
        assert_eq!(blocks.record(refuse).unwrap(), Err("no"));
        add(&mut blocks, b"a");
        assert_eq!(blocks.record(refuse).unwrap(), Err("no"));
        add(&mut blocks, b"b");
        assert_eq!(read(&blocks.finish().unwrap()), [(2, b"ab".to_vec())]);
    }

    #[test]
    fn without_records_there_are_no_bytes() {
        let mut blocks = Blocks::new(Codec::Deflate, SYNC, 100);
        assert_eq!(blocks.record(|_| Err("no")).unwrap(), Err("no"));
        assert_eq!(blocks.finish().unwrap(), b"");
    }

    #[test]
    fn a_blocks_header_may_be_of_any_length() {
        for count in [1, 63, 64, 8_191, 8_192, 70_000] {
            let mut blocks = Blocks::new(Codec::Null, SYNC, 1 << 24);
            (0..count).for_each(|_| add(&mut blocks, b"0123456789abcdef"));
            assert_eq!(read(&blocks.finish().unwrap()), [(count, b"0123456789abcdef".repeat(count as usize))]);
        }
    }

    #[test]
    fn a_seed_that_is_no_marker_is_an_error() {
        let error = sync_marker(&FileContext { seed: vec![0; 3], resumed: false }).unwrap_err();
        assert_eq!(error.to_string(), "the file's seed is 3 bytes, expected 16");
    }
}
