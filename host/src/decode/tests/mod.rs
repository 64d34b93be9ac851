//! What decoding promises, as sentences: lines, dead letters, columns; and its agreement with serde_json.

mod agreement;
mod avro;
mod columns;
mod dataverse;
mod debezium;
mod envelopes;
mod lines;
mod odata;
mod tables;
mod wal2json;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;

use crate::plan::{Mapping, Place, TimeUnit};
use crate::record::{ColumnRequest, ColumnType};
use crate::source::{Chunk, Extent, Framing, Origin};

use super::{Decoded, Decoder};

const LIMIT: u64 = 1 << 20;

fn mapping() -> Mapping {
    Mapping { enqueued_time: Place::Nowhere, ..Mapping::plain() }
}

fn chunk(first: u64, data: impl Into<Vec<u8>>) -> Chunk {
    let data = Bytes::from(data.into());
    let origin = Origin { name: "/in/a.ndjson".into(), inode: 7, hashed: 0, hash: String::new() };
    let next = first + data.len() as u64;
    let extent = Extent::new(Arc::new(origin), first, next);
    Chunk { data, extent, framing: Framing::Lines }
}

/// Decodes one chunk of an origin's first bytes.
fn decode(data: impl Into<Vec<u8>>) -> Decoded {
    decoder(vec![]).decode(&chunk(0, data), 0)
}

fn decoder(columns: Vec<ColumnRequest>) -> Decoder {
    Decoder::new(&mapping(), "signals", columns, LIMIT).unwrap()
}

/// The one column of `as_type` that `pointer` gives for records, each put into an object with a name.
fn column(pointer: &str, as_type: ColumnType, records: &[&str]) -> ArrayRef {
    let decoded = decoder(vec![ColumnRequest::pointer(pointer, as_type)]).decode(&chunk(0, records.join("\n")), 0);
    assert!(decoded.dead.is_empty(), "{:?}", decoded.dead);
    decoded.batches[0].columns[0].clone()
}

fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    array.as_string_view().iter().map(|text| text.map(str::to_string)).collect()
}

fn bodies(decoded: &Decoded) -> Vec<String> {
    let bodies = decoded.batches.iter().flat_map(|batch| batch.bodies.iter().map(|body| body.unwrap().to_vec()));
    bodies.map(|body| String::from_utf8(body).unwrap()).collect()
}

fn offsets(decoded: &Decoded) -> Vec<u64> {
    decoded.batches.iter().flat_map(|batch| batch.offsets.values().to_vec()).collect()
}

/// The only dead letter's reason.
fn reason(data: impl Into<Vec<u8>>) -> String {
    let decoded = decode(data);
    assert_eq!((decoded.records, decoded.dead.len(), decoded.batches.len()), (1, 1, 0), "{decoded:?}");
    decoded.dead[0].reason.clone()
}

fn rows(decoded: &Decoded) -> usize {
    decoded.batches.iter().map(|batch| batch.rows()).sum()
}

/// Every array of a batch has a value for every row.
fn assert_rows_align(decoded: &Decoded) {
    for batch in &decoded.batches {
        assert!(batch.columns.iter().all(|column| column.len() == batch.rows()));
        assert_eq!((batch.bodies.len(), batch.raw.len()), (batch.rows(), batch.rows()));
    }
}
