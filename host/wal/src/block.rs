//! Frames out of a segment's file, read a block at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use crate::frame::{self, FRAME_HEADER, FrameHeader, Invalid, KEY};
use crate::id::LogId;

/// Bytes that are read at once; of a larger frame all.
const BLOCK: u64 = 256 << 10;

/// A segment's file and the bytes of it that were read last.
pub(crate) struct Blocks {
    file: File,
    block: Bytes,
    /// Where `block` begins in the file.
    at: u64,
}

/// A frame of a segment.
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    /// Keys and lines.
    body: Bytes,
}

impl Frame {
    /// The keys, and the hash of the content where there is one.
    pub(crate) fn keys(&self) -> (impl Iterator<Item = u128>, Option<u128>) {
        let keys = self.body[..self.header.keys as usize * KEY].chunks_exact(KEY);
        let mut keys = keys.map(|key| u128::from_le_bytes(key.try_into().expect("sixteen bytes")));
        let content = if self.header.has_content { keys.next_back() } else { None };
        (keys, content)
    }

    pub(crate) fn lines(&self) -> Bytes {
        self.body.slice(self.header.keys as usize * KEY..)
    }

    /// Bytes of the frame in the file.
    pub(crate) fn bytes(&self) -> u64 {
        FRAME_HEADER as u64 + self.body.len() as u64
    }
}

impl Blocks {
    pub(crate) fn new(file: File) -> Self {
        Blocks { file, block: Bytes::new(), at: 0 }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Up to `bytes` bytes from `at` on, less only where the file ends, of which nothing at or after `end` is looked at.
    pub(crate) fn get(&mut self, at: u64, bytes: u64, end: u64) -> io::Result<Bytes> {
        let bytes = bytes.min(end.saturating_sub(at));
        let held = self.at..self.at + self.block.len() as u64;
        if !(held.start <= at && at + bytes <= held.end) {
            // Bounded by a frame's limit.
            let mut block = vec![0; bytes.max(BLOCK.min(end.saturating_sub(at))) as usize];
            let mut filled = 0;
            while filled < block.len() {
                match self.file.read_at(&mut block[filled..], at + filled as u64) {
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            block.truncate(filled);
            (self.block, self.at) = (block.into(), at);
        }
        let from = (at - self.at) as usize;
        Ok(self.block.slice(from..(from + bytes as usize).min(self.block.len())))
    }

    /// The header of the frame at `at`, whose first line has the offset `first`.
    pub(crate) fn header(
        &mut self,
        at: u64,
        end: u64,
        first: u64,
        id: LogId,
    ) -> io::Result<Result<FrameHeader, Invalid>> {
        let bytes = self.get(at, FRAME_HEADER as u64, end)?;
        Ok(FrameHeader::decode(&bytes, id).and_then(|header| match header.first == first {
            true => Ok(header),
            false => Err(Invalid::Bytes("a frame is not where it was written")),
        }))
    }

    /// The frame at `at`, whose first line has the offset `first`.
    pub(crate) fn frame(&mut self, at: u64, end: u64, first: u64, id: LogId) -> io::Result<Result<Frame, Invalid>> {
        let header = match self.header(at, end, first, id)? {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let body = self.get(at + FRAME_HEADER as u64, header.body_bytes(), end)?;
        Ok(if (body.len() as u64) < header.body_bytes() {
            Err(Invalid::Bytes("a frame is cut"))
        } else if frame::checksum(&[&body]) != header.body {
            Err(Invalid::Bytes("the checksum of a frame does not match"))
        } else {
            Ok(Frame { header, body })
        })
    }
}
