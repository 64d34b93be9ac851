//! Format `avro`: Avro object container files of device messages, devices, device templates, or records of any schema.
//!
//! Files may be extended: what `encode` returns is whole blocks, and the sync marker that ends each one comes from the
//! file's seed. A record that is rejected is in no block.
//!
//! `settings` → `message`, `device` or `schema` (a record as bytes) → `container` (blocks, headers) with `codec`;
//! `binary`, `json`, `pen`, `number`, `clock` and `misfit` are what they share.

mod binary;
mod clock;
mod codec;
mod container;
mod device;
mod json;
mod message;
mod misfit;
mod number;
mod pen;
mod schema;
mod settings;

#[cfg(test)]
mod tests;

use lakeport_plugin::Rejected;
use lakeport_plugin::prelude::*;

use container::{Blocks, Sync};
use device::Document;
use message::{Message, Messages};
use schema::Plan;

pub use codec::Codec;
pub use settings::{BlockSize, Config, RecordKind};

/// The format.
pub struct Avro {
    codec: Codec,
    block_size: usize,
    schema: String,
    records: Records,
    /// The file's; known from its header on.
    sync: Option<Sync>,
}

/// How a record becomes bytes.
enum Records {
    Message(Message),
    Document(Document),
    Schema(Plan),
}

impl Format for Avro {
    type Config = Config;

    fn open(config: Config) -> Result<Self> {
        let block_size = config.block_size.checked()?;
        let given = config.schema_text()?;
        let (schema, records) = match (config.record, given) {
            (_, Some(text)) => {
                let plan = schema::compile(&text)?;
                (text, Records::Schema(plan))
            }
            (RecordKind::Device, None) => document(Document::Device),
            (RecordKind::DeviceTemplate, None) => document(Document::DeviceTemplate),
            (RecordKind::Message | RecordKind::Schema, None) => {
                (message::SCHEMA.to_owned(), Records::Message(Message::default()))
            }
        };
        Ok(Avro { codec: config.codec, block_size, schema, records, sync: None })
    }

    fn columns(&self) -> Columns {
        match self.records {
            Records::Message(_) => message::columns(),
            Records::Document(_) => Document::columns(),
            Records::Schema(_) => columns![json(Attribute::Body)],
        }
    }

    fn file_type(&self) -> FileType {
        FileType { extension: "avro".into(), content_type: "application/avro".into(), appendable: true }
    }

    fn header(&mut self, file: &FileContext) -> Result<Vec<u8>> {
        let sync = container::sync_marker(file)?;
        self.sync = Some(sync);
        Ok(container::header(self.codec, &self.schema, sync))
    }

    /// The record alone, without a block.
    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        match &mut self.records {
            Records::Message(message) => message.write(&Messages::of(row.batch()), row.index(), out),
            Records::Document(document) => Ok(document.write(body(row)?, row.text(1), out)?),
            Records::Schema(plan) => Ok(schema::encode(plan, body(row)?, out)?),
        }
    }

    fn encode(&mut self, batch: &Batch) -> Result<Segment> {
        let sync = self.sync.ok_or_else(|| Error::Other("records came before the file's header".into()))?;
        let mut blocks = Blocks::new(self.codec, sync, self.block_size);
        let mut rejected = Vec::new();
        let mut refuse = |row: usize, reason: Rejection| rejected.push(Rejected { row: row as u32, reason: reason.0 });
        if let Records::Message(message) = &mut self.records {
            let messages = Messages::of(batch);
            blocks.reserve(messages.size(batch.rows()));
            for row in 0..batch.rows() {
                if let Err(reason) = blocks.record(|out| message.write(&messages, row, out))? {
                    refuse(row, reason);
                }
            }
        } else {
            for row in batch.iter() {
                if let Err(reason) = blocks.record(|out| self.write(row, out))? {
                    refuse(row.index(), reason);
                }
            }
        }
        let rows = (batch.rows() - rejected.len()) as u32;
        Ok(Segment { bytes: blocks.finish()?, rows, rejected })
    }
}

fn document(document: Document) -> (String, Records) {
    (document.schema().to_owned(), Records::Document(document))
}

fn body(row: Row<'_>) -> Result<&[u8], Rejection> {
    row.bytes(0).ok_or_else(|| "the record has no JSON body".into())
}

lakeport_plugin::export_format!(Avro, name = "avro");
