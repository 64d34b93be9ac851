//! The job as a plain Rust program does it: one thread, IoT Hub's JSON lines to one Avro file, codec null, with Apache's own
//! writer. Each line is parsed by sonic-rs into borrowed parts, so that the parsing is a small part of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use apache_avro::{Codec, Schema, Writer};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use sonic_rs::LazyValue;

/// The same as Lakeport's.
const BLOCK_BYTES: usize = 64 << 10;

/// A message as a line has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    #[serde(borrow)]
    enqueued_time_utc: &'a str,
    #[serde(borrow)]
    properties: BTreeMap<&'a str, &'a str>,
    #[serde(borrow)]
    system_properties: BTreeMap<&'a str, &'a str>,
    #[serde(borrow)]
    body: LazyValue<'a>,
}

/// A message as the file has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    enqueued_time_utc: &'a str,
    properties: &'a BTreeMap<&'a str, &'a str>,
    system_properties: &'a BTreeMap<&'a str, &'a str>,
    body: Option<&'a Bytes>,
}

/// Writes `folder`'s only file from the lines of `input`; how many records it has.
pub fn run(input: &Path, folder: &Path) -> io::Result<u64> {
    let schema = Schema::parse_str(include_str!("../compare/message.avsc")).map_err(io::Error::other)?;
    let mut lines = BufReader::with_capacity(1 << 20, File::open(input)?);
    let out = BufWriter::with_capacity(1 << 20, File::create(folder.join("00.avro"))?);
    let mut writer = Writer::builder()
        .schema(&schema)
        .writer(out)
        .codec(Codec::Null)
        .block_size(BLOCK_BYTES)
        .build()
        .map_err(io::Error::other)?;
    let mut text = Vec::new();
    let mut records = 0;
    while lines.read_until(b'\n', &mut text)? > 0 {
        let line: Line = sonic_rs::from_slice(&text).map_err(io::Error::other)?;
        let body = line.body.as_raw_str().as_bytes();
        let message = Message {
            enqueued_time_utc: line.enqueued_time_utc,
            properties: &line.properties,
            system_properties: &line.system_properties,
            body: Some(Bytes::new(body)),
        };
        writer.append_ser(message).map_err(io::Error::other)?;
        records += 1;
        text.clear();
    }
    writer.into_inner().map_err(io::Error::other)?.flush()?;
    Ok(records)
}
