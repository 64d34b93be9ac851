//! Format `ndjson`: a record's line is the JSON that was sent, byte for byte.
//!
//! Line breaks between the tokens of a body, which JSON allows, become spaces, so that a record stays on its line; inside JSON
//! strings there are none. Files may be extended.

use std::mem::MaybeUninit;

use lakeport_plugin::prelude::*;
use lakeport_plugin::{Rejected, VarBytes};

/// The format.
pub struct Ndjson;

impl Format for Ndjson {
    type Config = NoSettings;

    fn open(_config: NoSettings) -> Result<Self> {
        Ok(Ndjson)
    }

    fn columns(&self) -> Columns {
        columns![json(Attribute::Body)]
    }

    fn file_type(&self) -> FileType {
        FileType { extension: "ndjson".into(), content_type: "application/x-ndjson".into(), appendable: true }
    }

    fn write(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let body = row.bytes(0).ok_or("the record has no JSON body")?;
        push_line(body, out);
        Ok(())
    }

    fn encode(&mut self, batch: &Batch) -> Result<Segment> {
        let bodies = batch.var_bytes(0);
        let mut bytes = Vec::with_capacity(bodies.data.len() + batch.rows());
        let mut rejected = Vec::new();
        if batch.validity(0).is_some() {
            for row in batch.iter() {
                if let Err(reason) = self.write(row, &mut bytes) {
                    rejected.push(Rejected { row: row.index() as u32, reason: reason.0 });
                }
            }
        } else if memchr::memchr2(b'\n', b'\r', &bodies.data).is_none() {
            push_clean_lines(bodies, &mut bytes);
        } else {
            bodies.iter().for_each(|body| push_line(body, &mut bytes));
        }
        Ok(Segment { bytes, rows: (batch.rows() - rejected.len()) as u32, rejected })
    }
}

/// The common case: no body holds a line break.
///
/// In WebAssembly a copy whose length is not known is a call out of the plugin, which costs more than a usual body's bytes do:
/// so it is made of copies of a known length, each one vector instruction.
fn push_clean_lines(bodies: &VarBytes, out: &mut Vec<u8>) {
    let before = out.len();
    let lines = bodies.data.len() + bodies.offsets.len().saturating_sub(1);
    out.reserve(lines);
    let mut free = &mut out.spare_capacity_mut()[..lines];
    let mut written = 0;
    for body in bodies.iter() {
        let (line, rest) = free.split_at_mut(body.len() + 1);
        let (end, start) = line.split_last_mut().expect("a line ends");
        copy(body, start);
        end.write(b'\n');
        written += body.len() + 1;
        free = rest;
    }
    // SAFETY: each turn of the loop wrote all of `line`, and the lines lie end to end from the first free byte.
    unsafe { out.set_len(before + written) };
}

/// Copies all of `from` to `to`, which is as long.
#[inline]
fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    const STEP: usize = 16;
    let Some((last, to_last)) = from.last_chunk::<STEP>().zip(to.last_chunk_mut::<STEP>()) else {
        to.write_copy_of_slice(from);
        return;
    };
    // What is shorter than a step at the end is part of the last step, which overlaps the one before.
    to_last.write_copy_of_slice(last);
    for (step, to) in from.as_chunks::<STEP>().0.iter().zip(to.as_chunks_mut::<STEP>().0) {
        to.write_copy_of_slice(step);
    }
}

fn push_line(body: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(body);
    for at in memchr::memchr2_iter(b'\n', b'\r', body) {
        out[start + at] = b' ';
    }
    out.push(b'\n');
}

lakeport_plugin::export_format!(Ndjson, name = "ndjson");

#[cfg(test)]
mod tests {
    use super::*;
    use lakeport_plugin::{Column, ColumnValues, testing};

    #[test]
    fn a_line_is_the_body_byte_for_byte() {
        let batch = testing::batch(&Ndjson.columns(), &[r#"{"b": 1,  "a":"é\n"}"#, "{}"]);
        assert_eq!(testing::encoded(&mut Ndjson, &batch), "{\"b\": 1,  \"a\":\"é\\n\"}\n{}\n");
    }

    fn bodies(bodies: &[&str], validity: Option<Vec<u8>>) -> Batch {
        let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
        bodies.iter().for_each(|body| values.push(body.as_bytes()));
        Batch::new(bodies.len(), vec![Column { validity, values: ColumnValues::Json(values) }])
    }

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let segment = Ndjson.encode(&bodies(&["{\r\n\"a\":\n1}", "{}"], None)).unwrap();
        assert_eq!(segment.bytes, b"{  \"a\": 1}\n{}\n");
        assert_eq!(segment.rows, 2);
    }

    #[test]
    fn bodies_without_line_breaks_stay_as_they_are() {
        let segment = Ndjson.encode(&bodies(&["{\"a\":1}", "[]", "7"], None)).unwrap();
        assert_eq!((segment.bytes.as_slice(), segment.rows), (&b"{\"a\":1}\n[]\n7\n"[..], 3));
    }

    #[test]
    fn bodies_of_every_length_are_copied_whole() {
        let all: Vec<String> = (0..100).map(|length| "0123456789abcdefghij".repeat(5)[..length].to_owned()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let segment = Ndjson.encode(&bodies(&all, None)).unwrap();
        assert_eq!(String::from_utf8(segment.bytes).unwrap(), all.join("\n") + "\n");
    }

    #[test]
    fn a_line_break_is_found_wherever_it_is() {
        for length in [1, 15, 16, 17, 40] {
            for at in 0..length {
                let body: String = (0..length).map(|n| if n == at { '\r' } else { 'x' }).collect();
                let segment = Ndjson.encode(&bodies(&[&body, "{}"], None)).unwrap();
                assert_eq!(String::from_utf8(segment.bytes).unwrap(), body.replace('\r', " ") + "\n{}\n");
            }
        }
    }

    #[test]
    fn a_record_without_a_body_is_rejected() {
        let segment = Ndjson.encode(&bodies(&["{}", "", "[]"], Some(vec![0b101]))).unwrap();
        assert_eq!((segment.bytes.as_slice(), segment.rows), (&b"{}\n[]\n"[..], 2));
        assert_eq!(segment.rejected[0].row, 1);
        assert_eq!(segment.rejected[0].reason, "the record has no JSON body");
    }
}
