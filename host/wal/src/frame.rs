//! The form of a segment: a header, then frames. Numbers are little-endian; checksums are CRC-32C.
//!
//! The checksum of a header begins with the log's identity. So a frame of another log is not taken for one of this log, and a
//! producer cannot send bytes that look like a frame.

use crc_fast::{CrcAlgorithm, Digest};

use crate::id::LogId;

/// Bytes of a segment's header without the lines in it.
pub(crate) const SEGMENT_HEADER: usize = 40;
/// The most bytes of lines that a segment's header repeats, and that [`Wal::tail`](crate::Wal::tail) returns.
pub(crate) const TAIL: usize = 1024;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 52;
/// Bytes of a key.
pub(crate) const KEY: usize = 16;
/// The most bytes of a frame without its header.
pub(crate) const MAX_BODY: u64 = crate::options::MAX_BATCH;

/// A flag of a frame: see [`FrameHeader::has_content`].
const HAS_CONTENT: u32 = 1;
const SEGMENT_MAGIC: [u8; 8] = *b"LPWAL\0\0\x01";
/// What every frame begins with.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"\xf1LP\x01";

/// What precedes the keys and the lines of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the lines.
    pub(crate) lines: u32,
    /// How many keys come before the lines, the hash of the content among them.
    pub(crate) keys: u32,
    /// After the key of the batch comes a hash of its content.
    pub(crate) has_content: bool,
    /// How many lines there are.
    pub(crate) records: u32,
    /// CRC-32C of keys and lines.
    pub(crate) body: u32,
    /// The offset of the first line.
    pub(crate) first: u64,
    /// The offset up to which the log was durable when the frame was written: what is below was acknowledged.
    pub(crate) durable: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) time: u64,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// They are not what was written, or not all of it.
    Bytes(&'static str),
    /// They are what was written, by a version that knows more.
    Version,
}

impl Invalid {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Invalid::Bytes(reason) => reason,
            Invalid::Version => "a later version of Lakeport wrote the frame",
        }
    }
}

impl FrameHeader {
    pub(crate) fn encode(&self, id: LogId) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        let flags = if self.has_content { HAS_CONTENT } else { 0 };
        for (at, number) in [(4, flags), (8, self.lines), (12, self.keys), (16, self.records), (20, self.body)] {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [(24, self.first), (32, self.durable), (40, self.time)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(&[&id.0, &bytes[..48]]);
        bytes[48..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`.
    pub(crate) fn decode(bytes: &[u8], id: LogId) -> Result<Self, Invalid> {
        let bytes: &[u8; FRAME_HEADER] = bytes
            .get(..FRAME_HEADER)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(Invalid::Bytes("a frame's header is cut"))?;
        if bytes[..4] != FRAME_MAGIC {
            return Err(Invalid::Bytes("expected the beginning of a frame"));
        }
        if checksum(&[&id.0, &bytes[..48]]) != u32_at(bytes, 48) {
            return Err(Invalid::Bytes("the checksum of a frame's header does not match"));
        }
        let flags = u32_at(bytes, 4);
        if flags & !HAS_CONTENT != 0 {
            return Err(Invalid::Version);
        }
        let header = FrameHeader {
            lines: u32_at(bytes, 8),
            keys: u32_at(bytes, 12),
            has_content: flags & HAS_CONTENT != 0,
            records: u32_at(bytes, 16),
            body: u32_at(bytes, 20),
            first: u64_at(bytes, 24),
            durable: u64_at(bytes, 32),
            time: u64_at(bytes, 40),
        };
        if header.body_bytes() > MAX_BODY || (header.has_content && header.keys != 2) {
            return Err(Invalid::Version);
        }
        Ok(header)
    }

    /// Bytes of keys and lines.
    pub(crate) fn body_bytes(&self) -> u64 {
        u64::from(self.lines) + u64::from(self.keys) * KEY as u64
    }

    /// Bytes of the whole frame.
    pub(crate) fn bytes(&self) -> u64 {
        FRAME_HEADER as u64 + self.body_bytes()
    }

    /// The offset after the last line.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::from(self.lines)
    }
}

/// The header of the segment that begins at `first`, with the last bytes of the lines before it.
pub(crate) fn segment_header(first: u64, tail: &[u8], id: LogId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER + tail.len());
    bytes.extend_from_slice(&SEGMENT_MAGIC);
    bytes.extend_from_slice(&id.0);
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&(tail.len() as u32).to_le_bytes());
    let sum = checksum(&[&bytes, tail]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(tail);
    bytes
}

/// The last bytes of the lines before the segment that begins at `first`, out of the segment's header at the beginning of `bytes`.
/// Nothing where it is not the header of that segment of that log.
pub(crate) fn segment_tail(bytes: &[u8], first: u64, id: LogId) -> Option<&[u8]> {
    let length = bytes.get(32..36).map(|length| u32::from_le_bytes(length.try_into().expect("four bytes")))?;
    let tail = bytes.get(SEGMENT_HEADER..SEGMENT_HEADER.checked_add(length as usize)?)?;
    (tail.len() <= TAIL && bytes[..SEGMENT_HEADER + tail.len()] == segment_header(first, tail, id)).then_some(tail)
}

/// Bytes of a segment's header with the lines before it, as its beginning says.
pub(crate) fn header_bytes(header: &[u8; SEGMENT_HEADER]) -> u64 {
    SEGMENT_HEADER as u64 + u64::from(u32_at(header, 32))
}

/// CRC-32C of `parts`, one after the other.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // A 32-bit checksum in 64 bits.
    digest.finalize() as u32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
