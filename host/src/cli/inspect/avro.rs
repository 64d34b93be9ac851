//! Avro object container files: the header, then every block, each record of it decoded.
//!
//! The container is read here and not by the library, which neither says where something is wrong nor tells a file that is cut
//! off inside a block's header from one that is whole. Records are decoded by the library.

use std::collections::BTreeSet;
use std::str::FromStr;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Codec, Schema};
use serde::de::IgnoredAny;

use super::LONGEST;
use super::input::{Input, Stop};

/// What a container file begins with.
pub const MAGIC: &[u8] = b"Obj\x01";

/// The most bytes of a block, as it lies in the file; the library has the same limit for decompressed ones.
const LARGEST_BLOCK: u64 = 512 << 20;

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
    pub first: Vec<Value>,
}

impl Avro {
    /// Reads a whole file, and keeps the first `most` records.
    pub fn read(&mut self, input: &mut Input, most: usize) -> Result<(), Stop> {
        if input.exactly(MAGIC.len() as u64, "`Obj\\x01`, with which an Avro file begins")? != MAGIC {
            return Err(Stop::damaged(0, "`Obj\\x01`, with which an Avro file begins"));
        }
        let start = input.offset();
        self.read_metadata(input)?;
        if self.schema.is_empty() {
            return Err(Stop::damaged(start, "metadata with `avro.schema`"));
        }
        // Known before anything can be wrong with the schema.
        let sync = input.exactly(16, "a sync marker")?.try_into().expect("sixteen were asked for");
        self.sync = Some(sync);
        // A writer may leave it out.
        let codec = self.codec.get_or_insert_with(|| "null".to_owned());
        let codec = Codec::from_str(codec).map_err(|_| {
            Stop::damaged(start, format!("the codec null, deflate, snappy or zstandard, found `{codec}`"))
        })?;
        let bad_schema = |error| Stop::damaged(start, format!("an Avro schema in `avro.schema` ({error})"));
        let schema = Schema::parse_str(&self.schema).map_err(bad_schema)?;
        let reader = GenericDatumReader::builder(&schema).build().map_err(bad_schema)?;
        while !input.is_at_end()? {
            self.read_block(input, codec, &sync, &reader, most)?;
        }
        Ok(())
    }

    fn read_metadata(&mut self, input: &mut Input) -> Result<(), Stop> {
        let start = input.offset();
        loop {
            let mut count = long(input, "a count of metadata")?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // A negative count is followed by the bytes that the pairs have (Avro 1.12, Maps).
                long(input, "a size of metadata")?;
                count = count.saturating_neg();
            }
            for _ in 0..count {
                let key = String::from_utf8_lossy(&sized(input, LONGEST, "a metadata key")?).into_owned();
                let at = input.offset();
                let value = sized(input, LONGEST, "metadata")?;
                if input.offset() - start > LONGEST {
                    return Err(Stop::damaged(start, format!("at most {LONGEST} bytes of metadata")));
                }
                match key.as_str() {
                    "avro.schema" => {
                        self.schema = String::from_utf8(value)
                            .ok()
                            .filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
                            .ok_or_else(|| Stop::damaged(at, "a schema as JSON in `avro.schema`"))?;
                    }
                    "avro.codec" => self.codec = Some(String::from_utf8_lossy(&value).into_owned()),
                    _ => {}
                }
                self.metadata.insert(key);
            }
        }
    }

    fn read_block(
        &mut self,
        input: &mut Input,
        codec: Codec,
        sync: &[u8; 16],
        reader: &GenericDatumReader<'_>,
        most: usize,
    ) -> Result<(), Stop> {
        let start = input.offset();
        let count = long(input, "a block's count of records")?;
        let count = u64::try_from(count)
            .map_err(|_| Stop::damaged(start, format!("a block's count of records, found {count}")))?;
        let mut bytes = sized(input, LARGEST_BLOCK, &format!("a block of {count} records"))?;
        let end = input.offset();
        let marker = input.exactly(16, "the sync marker behind a block")?;
        if marker != sync {
            let (sync, marker) = (hex::encode(sync), hex::encode(marker));
            return Err(Stop::damaged(end, format!("the sync marker {sync} behind a block, found {marker}")));
        }
        let wrong = |what: String| Stop::damaged(start, format!("a block of {count} records, but {what}"));
        codec.decompress(&mut bytes).map_err(|error| wrong(format!("it cannot be decompressed ({error})")))?;
        let mut left = bytes.as_slice();
        for number in 1..=count {
            let before = left.len();
            let record = reader
                .read_value(&mut left)
                .map_err(|error| wrong(format!("record {number} of it cannot be decoded ({error})")))?;
            self.records += 1;
            if self.first.len() < most {
                self.first.push(record);
            }
            if before == 0 && self.first.len() == most {
                // Records without bytes are all the same, and a few bytes can claim to be any number of them.
                self.records += count - number;
                break;
            }
        }
        if !left.is_empty() {
            return Err(wrong(format!("behind them it has {} more bytes", left.len())));
        }
        self.blocks += 1;
        Ok(())
    }
}

/// A variable-length number: seven bits a byte, zigzag.
fn long(input: &mut Input, what: &str) -> Result<i64, Stop> {
    let start = input.offset();
    let mut number = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = input.exactly(1, what)?[0];
        number |= u64::from(byte & 0x7f) << shift.min(63);
        if byte < 0x80 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    Err(Stop::damaged(start, format!("{what}, found a number of more than ten bytes")))
}

/// Bytes with their length before them.
fn sized(input: &mut Input, most: u64, what: &str) -> Result<Vec<u8>, Stop> {
    let start = input.offset();
    let length = long(input, &format!("the size of {what}"))?;
    match u64::try_from(length) {
        Ok(length) if length <= most => input.exactly(length, what),
        _ => Err(Stop::damaged(start, format!("the size of {what}, at most {most}, found {length}"))),
    }
}
