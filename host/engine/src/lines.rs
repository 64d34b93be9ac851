//! Records as lines, one each.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// Lines under way.
#[derive(Debug, Default)]
pub struct Lines {
    lines: BytesMut,
    starts: Vec<u32>,
}

impl Lines {
    /// Appends a record.
    pub fn push(&mut self, record: &[u8]) {
        self.push_with(|line| put_line(record, line));
    }

    /// Appends a line that `write` writes, which ends no line itself.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        // What platforms deliver at once has a few megabytes.
        self.starts.push(self.lines.len() as u32);
        write(&mut self.lines);
        self.lines.put_u8(b'\n');
    }

    /// The number of lines.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// All of them, and where each begins.
    pub fn finish(self) -> (Bytes, Arc<[u32]>) {
        (self.lines.freeze(), self.starts.into())
    }
}

/// Appends bytes as part of one line: line ends stand between tokens of JSON only, where a space means the same.
pub(crate) fn put_line(bytes: &[u8], line: &mut BytesMut) {
    line.extend(bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}
