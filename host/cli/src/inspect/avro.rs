//! Avro object container files: the header, then every block, each record of it walked.
//!
//! Headers, blocks and data are read as sources read them (`source::avro`, `decode::datum`): within bounds, whatever a file claims.

use std::collections::BTreeSet;
use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::LONGEST;
use super::input::{Input, Stop};
use lakeport::decode::datum::{self, Writer, branch};
use lakeport::decode::decompress::decompress;
use lakeport::source::avro::{Block, Cursor, Header, LONGEST_BLOCK, MAGIC, Preamble, Trouble, Type, Types};

/// What is in a container file.
#[derive(Debug, Default)]
pub struct Avro {
    /// JSON, as it stands in the file; empty where there is none.
    pub schema: String,
    pub codec: Option<String>,
    pub sync: Option<[u8; 16]>,
    /// The keys; maps have no order.
    pub metadata: BTreeSet<String>,
    pub blocks: u64,
    pub records: u64,
    header: Option<Header>,
    /// The first records, as they are stored.
    first: Vec<Vec<u8>>,
}

impl Avro {
    /// Reads a whole file, and keeps the first `most` records.
    pub fn read(&mut self, input: &mut Input, most: usize) -> Result<(), Stop> {
        let mut buffer = Vec::new();
        let header = loop {
            let wrong = |reason| Stop::Damaged { offset: 0, reason };
            if let Some(preamble) = Preamble::parse(&buffer).map_err(wrong)? {
                break self.understand(&preamble)?;
            }
            if input.fill(&mut buffer)? == 0 {
                return Err(Stop::damaged(input.offset(), "the rest of an Avro file's header"));
            }
        };
        let read = self.read_blocks(input, buffer, &header, most);
        self.header = Some(header);
        read
    }

    /// Takes over what a header says, as far as it makes sense.
    fn understand(&mut self, preamble: &Preamble<'_>) -> Result<Header, Stop> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.metadata = preamble.keys.iter().map(|key| text(key)).collect();
        self.sync = Some(preamble.marker);
        self.codec = Some(preamble.codec.map_or_else(|| "null".to_owned(), text));
        self.schema = preamble.schema.and_then(json).unwrap_or_default();
        Header::new(preamble).map_err(|reason| Stop::Damaged { offset: MAGIC.len() as u64, reason })
    }

    /// Reads all blocks; `buffer` is what was read of the file so far.
    fn read_blocks(
        &mut self,
        input: &mut Input,
        mut buffer: Vec<u8>,
        header: &Header,
        most: usize,
    ) -> Result<(), Stop> {
        let (mut first, mut at) = (0, header.len);
        loop {
            let start = first + at as u64;
            let wrong = |reason| Stop::Damaged { offset: start, reason };
            match header.block(&buffer, at).map_err(wrong)? {
                Some(block) => {
                    let stored = &buffer[block.data.clone()];
                    self.read_block(stored, &block, header, most).map_err(wrong)?;
                    at = block.end;
                    continue;
                }
                None => buffer.drain(..at),
            };
            (first, at) = (start, 0);
            if input.fill(&mut buffer)? == 0 {
                return match buffer.is_empty() {
                    true => Ok(()),
                    false => Err(Stop::damaged(input.offset(), format!("the rest of the block at byte {start}"))),
                };
            }
        }
    }

    fn read_block(&mut self, stored: &[u8], block: &Block, header: &Header, most: usize) -> Result<(), String> {
        let count = block.records;
        let wrong = |what: &dyn Display| format!("expected a block of {count} records, but {what}");
        let data = decompress(header.codec, stored, LONGEST_BLOCK).map_err(|found| wrong(&format!("it is {found}")))?;
        let (mut cursor, mut json) = (Cursor::new(&data, 0), Vec::new());
        for number in 1..=count {
            let before = cursor.at;
            json.clear();
            let root = header.types.root_number();
            writer(&header.types).write(root, &mut cursor, &mut json).map_err(|stop| match stop {
                datum::Stop::Trouble(Trouble::End) => {
                    wrong(&format!("its {} bytes of data end in record {number} of it", data.len()))
                }
                datum::Stop::Trouble(Trouble::Wrong(found)) => {
                    wrong(&format!("record {number} of it does not fit the schema: {found}"))
                }
                datum::Stop::Over(found) => wrong(&format!("record {number} of it is {found}")),
            })?;
            self.records += 1;
            if self.first.len() < most {
                self.first.push(data[before..cursor.at].to_vec());
            } else if cursor.at == before {
                // Records without bytes are all the same, and a few bytes can claim to be any number of them.
                self.records += count - number;
                break;
            }
        }
        if cursor.at < data.len() {
            return Err(wrong(&format!("behind them it has {} more bytes", data.len() - cursor.at)));
        }
        self.blocks += 1;
        Ok(())
    }

    /// The first records as JSON.
    pub fn first(&self) -> impl Iterator<Item = String> {
        self.kept().map(|(types, record)| json_of(types, types.root_number(), &mut Cursor::new(record, 0)))
    }

    /// The first records as rows, each text as `shown`: a column for each field of a record, otherwise one column.
    pub fn rows(&self, shown: fn(&str) -> String) -> (Vec<String>, Vec<Vec<String>>) {
        let mut titles = vec!["first records".to_owned()];
        let mut rows = Vec::new();
        for (types, record) in self.kept() {
            let columns = match types.root() {
                Type::Record { fields, .. } if !fields.is_empty() => {
                    titles = fields.iter().map(|field| field.name.clone()).collect();
                    fields.iter().map(|field| field.of).collect()
                }
                _ => vec![types.root_number()],
            };
            let mut at = 0;
            rows.push(columns.into_iter().map(|of| shown(&cell(types, of, record, &mut at))).collect());
        }
        (titles, rows)
    }

    fn kept(&self) -> impl Iterator<Item = (&Types, &[u8])> {
        self.header.iter().flat_map(|header| self.first.iter().map(|record| (&header.types, record.as_slice())))
    }
}

fn writer(types: &Types) -> Writer<'_> {
    Writer { types, limit: LONGEST as usize }
}

fn json_of(types: &Types, of: usize, cursor: &mut Cursor<'_>) -> String {
    let mut json = Vec::new();
    writer(types).write(of, cursor, &mut json).expect("the record was read before");
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// The value of a type at `at`, as text: that of strings and, where they have any, of bytes; otherwise JSON.
fn cell(types: &Types, of: usize, record: &[u8], at: &mut usize) -> String {
    let (mut kind, mut cursor) = (types.get(of), Cursor::new(record, *at));
    while let Type::Union(_) = kind {
        kind = branch(types, kind, &mut cursor).expect("the record was read before");
    }
    let mut cursor = Cursor::new(record, *at);
    let json = json_of(types, of, &mut cursor);
    *at = cursor.at;
    match (kind, serde_json::from_str::<String>(&json)) {
        (Type::Bytes | Type::Fixed(_), Ok(base64)) => {
            let bytes = STANDARD.decode(&base64).expect("it was encoded so");
            String::from_utf8(bytes).unwrap_or_else(|_| format!("base64:{base64}"))
        }
        (_, Ok(text)) => text,
        _ => json,
    }
}

/// The text of a schema, where it is JSON; nested no deeper than the library that reads it goes.
fn json(schema: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(schema).ok()?;
    serde_json::from_str::<serde_json::Value>(text).is_ok().then(|| text.to_owned())
}
