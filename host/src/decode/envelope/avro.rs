//! Records of Avro container files.
//!
//! What Event Hubs Capture and IoT Hub's routing write is brought into the form of a line, without the body, and goes on as
//! one; any other record is its own body, as JSON. A dead letter keeps a datum's bytes, or the block's where it cannot be
//! decompressed; of a block whose data end too early or are not what the schema says, the rest is one dead letter.

use std::borrow::Cow;
use std::ops::Range;

use apache_avro::Codec;
use bytes::Bytes;

use super::datum::{Writer, branch};
use super::gathered::Gathered;
use super::iot_hub::{CAPTURE, IotHub, ROUTING};
use super::row::{Inherited, Inherits, Known, Row};
use crate::decode::reason;
use crate::decode::requests::Wanted;
use crate::error::Result;
use crate::record::Attribute;
use crate::source::avro::{Block, Cursor, Header, Shape, Trouble, Type};

/// A block of data without bytes holds no more records than this: nothing would bound them.
const MOST_EMPTY: u64 = 1 << 20;

/// Opens records of container files.
pub struct Avro {
    capture: IotHub,
    routing: IotHub,
    source: String,
    scratch: Scratch,
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
        Ok(Avro { capture, routing, source: source.to_owned(), scratch: Scratch::default() })
    }

    /// Decodes every block of a chunk.
    pub fn decode(&mut self, gathered: &mut Gathered<'_>, inherited: &Inherited, header: &Header) {
        let chunk = gathered.chunk;
        for block in header.blocks(&chunk.data, chunk.extent.first) {
            match decompress(header.codec, &chunk.data[block.data.clone()]) {
                Ok(data) => self.decode_block(gathered, inherited, header, &block, &data),
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
            if let Err(trouble) = self.scratch.read(header, &mut cursor, limit) {
                let found = match trouble {
                    Trouble::End => format!("the block's {} bytes end in the middle of it", data.len()),
                    Trouble::Wrong(reason) => reason,
                };
                let left = block.records - number;
                let reason =
                    format!("an Avro record that does not fit its schema: {found}; {left} records are left here");
                return gathered.refuse_copy(reason, rest(at), offset(at));
            }
            let raw = &data[at..cursor.at];
            let opened = match raw.len() as u64 {
                size if size > limit => Err(reason::too_large(size, limit, 0)),
                _ => gathered.take(inherited, |row| self.open(header, data, row)),
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

impl Scratch {
    /// Reads the record at the cursor.
    fn read(&mut self, header: &Header, cursor: &mut Cursor<'_>, limit: u64) -> Result<(), Trouble> {
        self.json.clear();
        self.body = None;
        // Base64 and escapes make text longer; a body that is too long is refused later, with the record's own bytes.
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(6);
        let writer = Writer { types: &header.types, limit };
        let Type::Record { fields, .. } = header.types.root() else {
            return Err(Trouble::Wrong("its schema is no record".into()));
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

fn decompress(codec: Codec, stored: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if codec == Codec::Null {
        return Ok(Cow::Borrowed(stored));
    }
    let mut data = stored.to_vec();
    match codec.decompress(&mut data) {
        Ok(()) => Ok(Cow::Owned(data)),
        Err(error) => {
            let name: &str = codec.into();
            Err(format!("an Avro block that cannot be decompressed, expected `{name}` data: {error}"))
        }
    }
}
