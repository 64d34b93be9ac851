//! A chunk's lines: where each begins and ends.

use bytes::Bytes;

use super::scan::{Scanner, Span};
use super::stops::Stops;
use crate::source::Chunk;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line that is not blank, without its terminator.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub start: usize,
    pub end: usize,
    /// Bytes of it that were never held.
    pub dropped: u64,
}

/// The lines of `chunk`, blank ones left out, as is a byte order mark at the start of an origin.
#[inline]
pub fn of(chunk: &Chunk) -> impl Iterator<Item = Line> {
    let data = &chunk.data;
    let mut next = if chunk.extent.first == 0 && data.starts_with(BOM) { BOM.len() } else { 0 };
    std::iter::from_fn(move || {
        while next < data.len() {
            let start = next;
            next = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at + 1);
            let end = line_end(data, start, next);
            if !is_blank(&data[start..end]) {
                // Only a chunk's last line can have lost bytes.
                let dropped = if next == data.len() { chunk.extent.dropped } else { 0 };
                return Some(Line { start, end, dropped });
            }
        }
        None
    })
}

/// Whether `line` is one whole JSON object, or an array where those are records too: a record, even if nothing ends its line.
pub fn is_whole(line: &[u8], arrays: bool) -> bool {
    let line = line.strip_prefix(BOM).unwrap_or(line);
    let scanned = Scanner::new(line, line.len(), &mut Stops::default()).document(0, |_, _| {});
    let is_record = |body: Span| match line[body.start as usize] {
        b'{' => true,
        b'[' => arrays,
        _ => false,
    };
    scanned.is_ok_and(is_record) && simdutf8::basic::from_utf8(line).is_ok()
}

/// Where the line that `[start, next)` holds ends, its terminator (LF or CR LF) left out.
fn line_end(data: &[u8], start: usize, next: usize) -> usize {
    let line = &data[start..next];
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    start + line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Whether a line is nothing but JSON's white space.
fn is_blank(line: &[u8]) -> bool {
    line.first() != Some(&b'{') && line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// A record's bytes for a dead letter: a copy where a few bytes would keep the whole chunk in memory.
pub fn keep(data: &Bytes, start: usize, end: usize) -> Bytes {
    if (end - start) * 2 > data.len() { data.slice(start..end) } else { Bytes::copy_from_slice(&data[start..end]) }
}

/// `[start, end)`, which ends before 4 GiB.
pub fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32, escaped: false }
}
