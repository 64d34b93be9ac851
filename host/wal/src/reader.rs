//! Reading: whole lines from any offset on, never one that is not durable.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};

use crate::Wal;
use crate::block::{Blocks, Frame};
use crate::error::{Error, Result};
use crate::frame::{FrameHeader, SEGMENT_HEADER, TAIL, segment_tail};
use crate::shared::{Segment, Shared};

/// Reads the lines of a log in order, and follows it. Any number of readers are at places of their own. A reader keeps the log open.
pub struct Reader {
    wal: Wal,
    /// The offset of the next line.
    at: u64,
    place: Option<Place>,
    /// Lines of the frame before `place` that were not handed on, at `at`.
    rest: Bytes,
}

/// Lines that a [`Reader`] read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The offset of the first byte.
    pub first: u64,
    /// Whole lines, each with its `\n`.
    pub data: Bytes,
}

impl Lines {
    /// The offset after the last byte: where the next lines begin.
    pub fn next(&self) -> u64 {
        self.first + self.data.len() as u64
    }
}

impl Reader {
    pub(crate) fn open(wal: Wal, from: u64) -> Result<Reader> {
        let segment = wal.shared().state().segment_of(from)?;
        let mut reader = Reader { wal, at: from, place: None, rest: Bytes::new() };
        let mut place = Place::open(reader.wal.shared(), segment)?;
        if let Some(frame) = place.seek(segment, from)? {
            let lines = frame.lines();
            // Bounded by the frame.
            let skipped = (from - frame.header.first) as usize;
            if lines[skipped - 1] != b'\n' {
                return Err(Error::NotALine { asked: from });
            }
            reader.rest = lines.slice(skipped..);
        }
        reader.place = Some(place);
        Ok(reader)
    }

    /// The offset of the line that is read next.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next lines, of up to `max_bytes` bytes or one line if that is longer. Waits up to `wait` where there are none yet, and
    /// returns `None` if none came.
    ///
    /// # Errors
    /// [`Error::Released`] where the next lines were deleted, [`Error::Damaged`] where they are not what was written.
    pub fn read(&mut self, max_bytes: usize, wait: Duration) -> Result<Option<Lines>> {
        if self.rest.is_empty() {
            let at = self.at;
            self.wal.shared().wait_until(wait, |state| state.next() > at);
        }
        let first = self.at;
        let mut parts: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes.max(1) {
            if self.rest.is_empty() {
                match self.next_frame() {
                    Ok(true) => {}
                    // What was read before an error is handed on first.
                    Err(error) if parts.is_empty() => return Err(error),
                    Ok(false) | Err(_) => break,
                }
            }
            let cut = cut(&self.rest, max_bytes - bytes, parts.is_empty());
            if cut == 0 {
                break;
            }
            let part = self.rest.split_to(cut);
            bytes += part.len();
            self.at += part.len() as u64;
            parts.push(part);
        }
        Ok(match parts.len() {
            0 => None,
            1 => parts.pop().map(|data| Lines { first, data }),
            _ => {
                let mut data = BytesMut::with_capacity(bytes);
                parts.iter().for_each(|part| data.extend_from_slice(part));
                Some(Lines { first, data: data.freeze() })
            }
        })
    }

    /// Fills `rest` with the frame at `at`; false where none is durable.
    fn next_frame(&mut self) -> Result<bool> {
        let segment = {
            let state = self.wal.shared().state();
            let segment = state.segment_of(self.at)?;
            if state.next() == self.at {
                return Ok(false);
            }
            segment
        };
        let place = match self.place.take().filter(|place| place.first == segment.first) {
            Some(place) => self.place.insert(place),
            None => self.place.insert(Place::open(self.wal.shared(), segment)?),
        };
        self.rest = place.frame(segment, self.at)?.lines();
        Ok(true)
    }
}

/// Where to cut `lines` so that up to `limit` bytes come before, whole lines; after the first line where `must` and it is longer.
fn cut(lines: &[u8], limit: usize, must: bool) -> usize {
    if lines.len() <= limit {
        return lines.len();
    }
    match memrchr(b'\n', &lines[..limit]) {
        Some(at) => at + 1,
        None if must => memchr(b'\n', lines).map_or(lines.len(), |at| at + 1),
        None => 0,
    }
}

/// A place between two frames of a segment.
struct Place {
    shared: Arc<Shared>,
    /// The offset at which the segment begins.
    first: u64,
    blocks: Blocks,
    /// Where in the file.
    at: u64,
}

impl Place {
    fn open(shared: &Arc<Shared>, segment: Segment) -> Result<Place> {
        let path = shared.folder.segment(segment.first);
        let file = File::open(&path).map_err(|error| match shared.state().first() {
            // It was deleted between asking for it and opening it.
            first if first > segment.first => Error::Released { asked: segment.first, first },
            _ => Error::io("open", &path, error),
        })?;
        Ok(Place { shared: shared.clone(), first: segment.first, blocks: Blocks::new(file), at: segment.header_bytes })
    }

    /// The frame here, whose first line is at `offset`; moves on past it.
    fn frame(&mut self, segment: Segment, offset: u64) -> Result<Frame> {
        let path = self.shared.folder.segment(self.first);
        let frame = self.blocks.frame(self.at, segment.bytes, offset, self.shared.folder.id);
        let frame = frame.map_err(|error| Error::io("read", &path, error))?;
        let frame = frame.map_err(|invalid| Error::damaged(&path, self.at, invalid.reason()))?;
        self.at += frame.bytes();
        Ok(frame)
    }

    /// Moves to the frame that begins at `offset`, or past the one that contains it, and returns that.
    fn seek(&mut self, segment: Segment, offset: u64) -> Result<Option<Frame>> {
        if offset == segment.next {
            self.at = segment.bytes;
            return Ok(None);
        }
        let mut first = segment.first;
        while first < offset {
            let header = self.header(segment, first)?;
            if header.next() > offset {
                return self.frame(segment, first).map(Some);
            }
            self.at += header.bytes();
            first = header.next();
        }
        Ok(None)
    }

    fn header(&mut self, segment: Segment, first: u64) -> Result<FrameHeader> {
        let path = self.shared.folder.segment(self.first);
        let header = self.blocks.header(self.at, segment.bytes, first, self.shared.folder.id);
        let header = header.map_err(|error| Error::io("read", &path, error))?;
        header.map_err(|invalid| Error::damaged(&path, self.at, invalid.reason()))
    }

    /// The last bytes of the lines before the segment.
    fn tail(&mut self, segment: Segment) -> Result<Bytes> {
        let path = self.shared.folder.segment(self.first);
        let header = self.blocks.get(0, (SEGMENT_HEADER + TAIL) as u64, segment.bytes);
        let header = header.map_err(|error| Error::io("read", &path, error))?;
        let tail = segment_tail(&header, segment.first, self.shared.folder.id);
        tail.map(Bytes::copy_from_slice).ok_or_else(|| Error::damaged(&path, 0, "the header does not match"))
    }
}

/// Up to [`TAIL`] bytes of the lines before `at`.
pub(crate) fn tail(shared: &Arc<Shared>, at: u64) -> Result<Bytes> {
    let segment = shared.state().segment_of(at)?;
    let mut place = Place::open(shared, segment)?;
    let mut bytes = BytesMut::from(&place.tail(segment)?[..]);
    let from = at.saturating_sub(TAIL as u64).max(segment.first);
    let mut first = segment.first;
    // Frames before `from` are skipped.
    while first < at {
        let header = place.header(segment, first)?;
        match header.next() <= from {
            true => place.at += header.bytes(),
            false => {
                let lines = place.frame(segment, first)?.lines();
                bytes.extend_from_slice(&lines[..lines.len().min((at - first) as usize)]);
            }
        }
        first = header.next();
    }
    let surplus = bytes.len().saturating_sub(TAIL);
    Ok(bytes.split_off(surplus).freeze())
}
