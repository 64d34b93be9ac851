//! Cuts an Avro container file into runs of whole blocks.
//!
//! What [`super::super::lines::Lines`] is for lines. The file's header is read first, wherever reading goes on; the first run of
//! a file begins with it. A block that is not all there yet waits, one that is wrong ends the file.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use apache_avro::Codec;

use super::Header;
use crate::source::cutter::Cutter;
use crate::source::lines::{CHUNK, Run};
use crate::source::{Fault, Framing};

/// Bytes of a usual chunk of blocks that are compressed: they stand for many more.
const COMPRESSED_CHUNK: usize = 64 << 10;

/// Bytes of a container file that are not handed on yet.
#[derive(Default)]
pub struct Blocks {
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    offset: u64,
    /// So many first bytes of the buffer are the header or whole blocks.
    whole: usize,
    /// Taken out of the buffer, and not handed on yet.
    ready: VecDeque<Run>,
    header: Option<Arc<Header>>,
    fault: Option<Fault>,
}

impl Blocks {
    /// Reads the header from the start of a file, of which `head` was read already.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read_header(&mut self, head: &[u8], source: &mut dyn Read) -> io::Result<()> {
        self.push(head);
        loop {
            self.begin();
            if self.header.is_some() || self.fill(source)? == 0 {
                return Ok(());
            }
        }
    }

    /// Goes on at `offset`, never back behind what was handed on. Answers whether the source has to go there as well.
    pub fn skip_to(&mut self, offset: u64) -> bool {
        if self.header.is_none() && self.fault.is_none() {
            self.fault = Some(Fault { offset, reason: "the file's header is not all there any more".into() });
        }
        let held = usize::try_from(offset - self.offset).ok().filter(|held| *held <= self.buffer.len());
        (self.offset, self.whole) = (offset, 0);
        match held {
            Some(held) => self.buffer.drain(..held),
            None => self.buffer.drain(..),
        };
        held.is_none()
    }

    /// Looks for the header, at the start of the buffer.
    fn begin(&mut self) {
        match Header::parse(&self.buffer) {
            Ok(Some(header)) => {
                self.whole = header.len;
                self.header = Some(Arc::new(header));
            }
            Ok(None) => {}
            Err(reason) => self.fault = Some(Fault { offset: 0, reason }),
        }
    }

    /// Bytes of a usual chunk.
    fn chunk(&self) -> usize {
        match &self.header {
            Some(header) if header.codec != Codec::Null => COMPRESSED_CHUNK,
            _ => CHUNK,
        }
    }

    /// Goes past every whole block that is held; answers where to cut them into chunks.
    fn advance(&mut self) -> Vec<usize> {
        let most = self.chunk();
        let Some(header) = &self.header else { return Vec::new() };
        let (mut cuts, before) = (Vec::new(), self.whole);
        while self.fault.is_none() && self.whole < self.buffer.len() {
            if self.whole - cuts.last().unwrap_or(&before) >= most {
                cuts.push(self.whole);
            }
            match header.block(&self.buffer, self.whole) {
                Ok(Some(block)) => self.whole = block.end,
                Ok(None) => break,
                Err(reason) => self.fault = Some(Fault { offset: self.offset + self.whole as u64, reason }),
            }
        }
        if self.whole > *cuts.last().unwrap_or(&before) {
            cuts.push(self.whole);
        }
        cuts
    }
}

impl Cutter for Blocks {
    fn offset(&self) -> u64 {
        self.offset + self.whole as u64
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.whole..]
    }

    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    fn fill(&mut self, source: &mut dyn Read) -> io::Result<usize> {
        if self.fault.is_some() {
            return Ok(0);
        }
        // A block that does not fit makes the buffer double, so that reading it stays linear.
        let space = self.chunk().saturating_sub(self.buffer.len()).max(self.buffer.len()).max(1);
        self.buffer.reserve(space);
        source.take(space as u64).read_to_end(&mut self.buffer)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn take(&mut self) -> Option<Run> {
        if self.header.is_none() && self.fault.is_none() {
            self.begin();
        }
        if self.ready.is_empty() {
            let cuts = self.advance();
            if !cuts.is_empty() {
                let rest = self.buffer[self.whole..].to_vec();
                let mut data = std::mem::replace(&mut self.buffer, rest);
                data.truncate(self.whole);
                self.whole = 0;
                let data = Bytes::from(data);
                let mut start = 0;
                for end in cuts {
                    let (first, next) = (self.offset, self.offset + (end - start) as u64);
                    self.ready.push_back(Run { data: data.slice(start..end), first, next, dropped: 0 });
                    (self.offset, start) = (next, end);
                }
            }
        }
        self.ready.pop_front()
    }

    fn finish(&mut self) -> Option<Run> {
        // Half a block is no record.
        None
    }

    fn framing(&self) -> Framing {
        self.header.clone().map_or(Framing::Lines, Framing::Avro)
    }

    fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    fn unit(&self) -> &'static str {
        if self.header.is_some() { "block" } else { "header" }
    }
}
