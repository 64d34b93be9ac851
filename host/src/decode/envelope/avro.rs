//! Records of Avro container files.
//!
//! What Event Hubs Capture and IoT Hub's routing write is brought into the form of a line, without the body, and goes on as
//! one; any other record is its own body, as JSON. A dead letter keeps a datum's bytes, or the block's where it cannot be
//! decompressed; of a block whose data end too early or are not what the schema says, the rest is one dead letter, as it is of
//! blocks that come to too much.

use std::ops::Range;

use apache_avro::Codec;
use bytes::Bytes;

use super::datum::{Stop, Writer, branch, skip};
use super::decompress::decompress;
use super::gathered::Gathered;
use super::iot_hub::{CAPTURE, IotHub, ROUTING};
use super::row::{Inherited, Inherits, Known, Row};
use crate::decode::reason;
use crate::decode::requests::Wanted;
use crate::error::Result;
use crate::record::Attribute;
use crate::source::avro::{Block, Cursor, Header, LONGEST_BLOCK, Shape, Trouble, Type};

/// A block of data without bytes holds no more records than this: nothing would bound them.
const MOST_EMPTY: u64 = 1 << 20;
/// What the blocks of a chunk may come to, with their records as JSON: they are held until all are decoded. Bytes.
const MOST: usize = 512 << 20;
/// What a record comes to besides that. Bytes.
const EACH: usize = 128;

/// Opens records of container files.
pub struct Avro {
    capture: IotHub,
    routing: IotHub,
    source: String,
    scratch: Scratch,
    /// What the chunk's records came to so far.
    held: usize,
}

/// The record under way.
#[derive(Default)]
struct Scratch {
    /// As JSON, without the body where that is `body`.
    json: Vec<u8>,
    body: Option<Range<usize>>,
}

impl Avro {
    /// Opens records; `source` is that of those that name none.
    pub fn new(wanted: &Wanted, source: &str) -> Result<Avro> {
        let capture = IotHub::new(&CAPTURE, wanted, source)?;
        let routing = IotHub::new(&ROUTING, wanted, source)?;
        Ok(Avro { capture, routing, source: source.to_owned(), scratch: Scratch::default(), held: 0 })
    }

    /// Decodes every block of a chunk.
    pub fn decode(&mut self, gathered: &mut Gathered<'_>, inherited: &Inherited, header: &Header) {
        let chunk = gathered.chunk;
        self.held = 0;
        for block in header.blocks(&chunk.data, chunk.extent.first) {
            if self.held > MOST {
                gathered.refuse(too_many(block.records), block.start, block.end);
                continue;
            }
            match decompress(header.codec, &chunk.data[block.data.clone()], LONGEST_BLOCK) {
                Ok(data) => {
                    self.held += data.len();
                    self.decode_block(gathered, inherited, header, &block, &data);
                }
                Err(reason) => gathered.refuse(reason, block.start, block.end),
            }
        }
    }

    fn decode_block(
        &mut self,
        gathered: &mut Gathered<'_>,
        inherited: &Inherited,
        header: &Header,
        block: &Block,
        data: &[u8],
    ) {
        let first = gathered.chunk.extent.first;
        let offset = |at: usize| match header.codec {
            Codec::Null => first + (block.data.start + at) as u64,
            _ => first + block.start as u64,
        };
        let rest = |at: usize| Bytes::copy_from_slice(&data[at..]);
        if block.records > (data.len() as u64).max(MOST_EMPTY) {
            let reason = format!("a block of {} bytes that should hold {} records", data.len(), block.records);
            return gathered.refuse_copy(reason, rest(0), offset(0));
        }
        let limit = gathered.decoder.max_record_size;
        let mut cursor = Cursor::new(data, 0);
        for number in 0..block.records {
            let at = cursor.at;
            if self.held > MOST {
                return gathered.refuse_copy(too_many(block.records - number), rest(at), offset(at));
            }
            let whole = match self.scratch.read_or_skip(header, &mut cursor, limit) {
                Ok(whole) => whole,
                Err(trouble) => {
                    let found = match trouble {
                        Trouble::End => format!("the block's {} bytes end in the middle of it", data.len()),
                        Trouble::Wrong(reason) => reason,
                    };
                    let left = block.records - number;
                    let reason =
                        format!("an Avro record that does not fit its schema: {found}; {left} records are left here");
                    return gathered.refuse_copy(reason, rest(at), offset(at));
                }
            };
            let raw = &data[at..cursor.at];
            self.held += self.scratch.json.len() + EACH;
            let opened = match raw.len() as u64 {
                size if size > limit => Err(reason::too_large(size, limit, 0)),
                _ => whole.and_then(|()| gathered.take(inherited, None, |row| self.open(header, data, row))),
            };
            match opened {
                Ok(()) => gathered.keep_copy(raw, offset(at)),
                Err(reason) => gathered.refuse_copy(reason, Bytes::copy_from_slice(raw), offset(at)),
            }
        }
        if cursor.at < data.len() {
            let reason = format!("{} bytes after the last record of a block, expected none", data.len() - cursor.at);
            gathered.refuse_copy(reason, rest(cursor.at), offset(cursor.at));
        }
    }

    /// Takes out the record that was read last; `data`: its block.
    fn open(&mut self, header: &Header, data: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let Scratch { json, body } = &self.scratch;
        let hub = match header.shape {
            Shape::Capture => &mut self.capture,
            Shape::Routing => &mut self.routing,
            Shape::Other => {
                row.body_bytes(json);
                row.content = Known::Text;
                row.inherits = Inherits::Everything;
                row.text(Attribute::Source, &self.source);
                return Ok(());
            }
        };
        hub.open_attributes(json, 0, json.len(), row)?;
        if let Some(body) = body {
            row.body_bytes(&data[body.clone()]);
        }
        Ok(())
    }
}

/// Why records are not looked at.
fn too_many(left: u64) -> String {
    format!(
        "Avro blocks that come to more than {MOST} bytes with their records as JSON: write smaller ones; {left} records \
         are left here"
    )
}

impl Scratch {
    /// Reads the record at the cursor, or goes past it and says why it is refused.
    fn read_or_skip(
        &mut self,
        header: &Header,
        cursor: &mut Cursor<'_>,
        limit: u64,
    ) -> Result<Result<(), String>, Trouble> {
        let start = cursor.at;
        match self.read(header, cursor, limit) {
            Ok(()) => Ok(Ok(())),
            Err(Stop::Trouble(trouble)) => Err(trouble),
            Err(Stop::Over(reason)) => {
                cursor.at = start;
                skip(&header.types, header.types.root(), cursor)?;
                Ok(Err(reason))
            }
        }
    }

    /// Reads the record at the cursor.
    fn read(&mut self, header: &Header, cursor: &mut Cursor<'_>, limit: u64) -> Result<(), Stop> {
        self.json.clear();
        self.body = None;
        // Base64 and escapes make text longer; a body that is too long is refused later, with the record's own bytes.
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(6).min(MOST);
        let writer = Writer { types: &header.types, limit };
        let Type::Record { fields, .. } = header.types.root() else {
            return Err(Trouble::Wrong("its schema is no record".into()).into());
        };
        self.json.push(b'{');
        for field in fields {
            if header.shape != Shape::Other && field.name == "Body" {
                if let Type::Bytes = branch(&header.types, header.types.get(field.of), cursor)? {
                    let length = cursor.bytes()?.len();
                    self.body = Some(cursor.at - length..cursor.at);
                }
                continue;
            }
            if self.json.len() > 1 {
                self.json.push(b',');
            }
            super::row::write_string(&mut self.json, &field.name);
            self.json.push(b':');
            writer.write(field.of, cursor, &mut self.json)?;
        }
        self.json.push(b'}');
        Ok(())
    }
}
