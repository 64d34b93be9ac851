//! Avro object container files: their headers, and where their blocks begin and end.
//!
//! What a reader and the decoder both know of such a file (Avro 1.12, “Object Container Files”). A chunk of one is whole blocks,
//! after the header where it is the file's first. Nothing here decompresses or looks at records.

mod blocks;
mod cursor;
mod schema;

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::{self, FromStr};

use apache_avro::Codec;

use super::lines::LONGEST_LINE;

pub use blocks::Blocks;
pub use cursor::{Cursor, Trouble};
pub use schema::{Field, Type, Types};

/// What a container file begins with.
pub const MAGIC: &[u8] = b"Obj\x01";
const MARKER: usize = 16;
/// A block has at most this many bytes, as it is stored and decompressed.
pub const LONGEST_BLOCK: usize = LONGEST_LINE;
/// A header is held whole up to this many bytes.
const LONGEST_HEADER: usize = 16 << 20;

/// The header of a container file as it stands, whether or not what it says can be understood.
#[derive(Debug)]
pub struct Preamble<'a> {
    /// Its own length in bytes.
    pub len: usize,
    pub codec: Option<&'a [u8]>,
    pub schema: Option<&'a [u8]>,
    /// Of all metadata.
    pub keys: BTreeSet<&'a [u8]>,
    pub marker: [u8; MARKER],
}

/// The header of a container file.
#[derive(Debug)]
pub struct Header {
    /// Its own length in bytes.
    pub len: usize,
    pub codec: Codec,
    pub types: Types,
    pub shape: Shape,
    marker: [u8; MARKER],
}

/// Whose records a file holds, told by its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Event Hubs Capture's.
    Capture,
    /// IoT Hub routing's.
    Routing,
    /// Anyone's.
    Other,
}

/// One block, as indices into the bytes it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub start: usize,
    pub records: u64,
    /// What is stored, compressed or not.
    pub data: Range<usize>,
    pub end: usize,
}

impl<'a> Preamble<'a> {
    /// The header at the start of `bytes`; `None` where they end before it does.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let head = &bytes[..bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(head) {
            return Err(format!(
                "it begins with {}, expected `Obj` and a byte 1: it is no Avro container file",
                show(head)
            ));
        }
        match Preamble::read(&mut Cursor::new(bytes, head.len())) {
            Ok(preamble) => Ok(Some(preamble)),
            Err(Trouble::End) if bytes.len() > LONGEST_HEADER => {
                Err(format!("its header has more than {LONGEST_HEADER} bytes"))
            }
            Err(Trouble::End) => Ok(None),
            Err(Trouble::Wrong(reason)) => Err(reason),
        }
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Trouble> {
        let (mut codec, mut schema, mut keys) = (None, None, BTreeSet::new());
        while let Some(entries) = cursor.items()? {
            for _ in 0..entries {
                let key = cursor.bytes()?;
                let value = cursor.bytes()?;
                match key {
                    b"avro.codec" => codec = Some(value),
                    b"avro.schema" => schema = Some(value),
                    _ => {}
                }
                keys.insert(key);
            }
        }
        let marker = *cursor.take(MARKER)?.first_chunk().expect("so many were taken");
        Ok(Preamble { len: cursor.at, codec, schema, keys, marker })
    }
}

impl Header {
    /// The header at the start of `bytes`, of a file that holds records; `None` where they end before it does.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, String> {
        let Some(preamble) = Preamble::parse(bytes)? else { return Ok(None) };
        let header = Header::new(&preamble)?;
        match header.types.root() {
            Type::Record { .. } => Ok(Some(header)),
            _ => Err("its schema: its type is no `record`: a file holds records".into()),
        }
    }

    /// What a header says, of a file that may hold anything.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn new(preamble: &Preamble<'_>) -> Result<Header, String> {
        // A writer may leave it out.
        let codec = preamble.codec.map_or(Ok(Codec::Null), codec_named)?;
        let schema = preamble.schema.ok_or("its header has no `avro.schema`")?;
        let types = Types::parse(schema).map_err(|reason| format!("its schema: {reason}"))?;
        let shape = shape_of(&types);
        Ok(Header { len: preamble.len, codec, types, shape, marker: preamble.marker })
    }

    /// The block at `at`; `None` where the bytes end before it does.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn block(&self, bytes: &[u8], at: usize) -> Result<Option<Block>, String> {
        let mut cursor = Cursor::new(bytes, at);
        let mut read = || {
            let records = cursor.long()?;
            let records = u64::try_from(records)
                .map_err(|_| Trouble::Wrong(format!("a block of {records} records, expected 0 or more")))?;
            let size = cursor.long()?;
            let size = usize::try_from(size)
                .ok()
                .filter(|size| *size <= LONGEST_BLOCK)
                .ok_or_else(|| Trouble::Wrong(format!("a block of {size} bytes, expected 0 to {LONGEST_BLOCK}")))?;
            let start = cursor.at;
            cursor.take(size)?;
            if cursor.take(MARKER)? != self.marker {
                let expected = hex::encode(self.marker);
                return Err(Trouble::Wrong(format!("a block does not end with the file's sync marker `{expected}`")));
            }
            Ok(Block { start: at, records, data: start..start + size, end: cursor.at })
        };
        match read() {
            Ok(block) => Ok(Some(block)),
            Err(Trouble::End) => Ok(None),
            Err(Trouble::Wrong(reason)) => Err(reason),
        }
    }

    /// The blocks of a chunk, which was cut by [`Blocks`], from the origin's offset `first` on.
    pub fn blocks<'a>(&'a self, chunk: &'a [u8], first: u64) -> impl Iterator<Item = Block> + 'a {
        let mut at = self.len.saturating_sub(usize::try_from(first).unwrap_or(usize::MAX));
        std::iter::from_fn(move || {
            let block = if at < chunk.len() { self.block(chunk, at).ok().flatten() } else { None }?;
            at = block.end;
            Some(block)
        })
    }
}

fn codec_named(name: &[u8]) -> Result<Codec, String> {
    let name = str::from_utf8(name).unwrap_or("?");
    Codec::from_str(name)
        .map_err(|_| format!("its codec is `{name}`, expected `null`, `deflate`, `zstandard` or `snappy`"))
}

fn show(head: &[u8]) -> String {
    let text = head.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
    format!("`{}`", text.collect::<String>())
}

/// Told by the record's name, and by its having what is needed.
fn shape_of(types: &Types) -> Shape {
    let Type::Record { name, fields } = types.root() else { return Shape::Other };
    let shape = match name.as_str() {
        "Microsoft.ServiceBus.Messaging.EventData" | "EventData" => Shape::Capture,
        "Microsoft.Azure.Devices.Message" => Shape::Routing,
        _ => return Shape::Other,
    };
    let is = |field: &str, accept: &dyn Fn(&Type) -> bool| {
        fields.iter().any(|known| known.name == field && accept(types.get(known.of)))
    };
    let may_be_bytes = |of: &Type| match of {
        Type::Bytes => true,
        Type::Union(branches) => branches.iter().all(|of| matches!(types.get(*of), Type::Null | Type::Bytes)),
        _ => false,
    };
    let whole = is("EnqueuedTimeUtc", &|of| matches!(of, Type::Text))
        && is("Properties", &|of| matches!(of, Type::Map(_)))
        && is("SystemProperties", &|of| matches!(of, Type::Map(_)))
        && is("Body", &may_be_bytes);
    if whole { shape } else { Shape::Other }
}

#[cfg(test)]
mod tests;
