//! Cuts an Avro container file into runs of whole blocks.
//!
//! What [`super::super::lines::Lines`] is for lines. The file's header is read first, wherever reading goes on; the first run of
//! a file begins with it. A block that is not all there yet waits, one that is wrong ends the file.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use super::Header;
use crate::source::cutter::Cutter;
use crate::source::lines::{CHUNK, LONGEST_LINE, Run};
use crate::source::{Fault, Framing};

/// Bytes of a container file that are not handed on yet.
#[derive(Default)]
pub struct Blocks {
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    offset: u64,
    /// So many first bytes of the buffer are the header or whole blocks.
    whole: usize,
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

    /// Goes past every whole block that is held.
    fn advance(&mut self) -> bool {
        let Some(header) = &self.header else { return false };
        let before = self.whole;
        while self.fault.is_none() && self.whole < self.buffer.len() {
            match header.block(&self.buffer, self.whole, LONGEST_LINE) {
                Ok(Some(block)) => self.whole = block.end,
                Ok(None) => break,
                Err(reason) => self.fault = Some(Fault { offset: self.offset + self.whole as u64, reason }),
            }
        }
        self.whole > before
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
        let space = CHUNK.saturating_sub(self.buffer.len()).max(self.buffer.len()).max(1);
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
        if !self.advance() {
            return None;
        }
        let rest = self.buffer[self.whole..].to_vec();
        let mut data = std::mem::replace(&mut self.buffer, rest);
        data.truncate(self.whole);
        let (first, next) = (self.offset, self.offset + self.whole as u64);
        (self.offset, self.whole) = (next, 0);
        Some(Run { data: Bytes::from(data), first, next, dropped: 0 })
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
