//! Cuts a stream of bytes into runs of whole lines.
//!
//! Between a file and its chunks. Nothing here looks at a line: a buffer is filled with one large read, cut after its last line
//! feed and handed on as it is; only the few bytes after that are copied. A line that does not fit makes the buffer double, so
//! that reading it stays linear, up to the largest record that is taken, after which the rest of the line is counted and dropped.

use std::io::{self, Read};

use bytes::Bytes;

/// Bytes of a usual chunk.
pub const CHUNK: usize = 1 << 20;
/// Most bytes of a line that holds many records, and of a block.
pub const LONGEST_LINE: usize = 128 << 20;

/// A buffer of bytes that are not handed on yet.
pub struct Lines {
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    offset: u64,
    /// So many first bytes of the buffer hold no line feed.
    searched: usize,
    /// Bytes dropped of the line in the buffer; it is being dropped where this is not 0.
    dropped: u64,
    chunk: usize,
    longest: usize,
}

/// Whole lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub data: Bytes,
    pub first: u64,
    pub next: u64,
    pub dropped: u64,
}

impl Lines {
    /// An empty buffer for what is read from `offset` on. A line is held up to `longest` bytes.
    pub fn new(offset: u64, longest: usize) -> Self {
        Self::with_sizes(offset, CHUNK, longest)
    }

    fn with_sizes(offset: u64, chunk: usize, longest: usize) -> Self {
        Lines { buffer: Vec::new(), offset, searched: 0, dropped: 0, chunk, longest }
    }

    /// Offset of the first byte that was not handed on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset after the last byte that was read.
    pub fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64 + self.dropped
    }

    /// The beginning of a line whose end was not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether bytes of the line in the buffer were dropped.
    pub fn is_cut(&self) -> bool {
        self.dropped > 0
    }

    /// Adds what `source` has, as much as fits into a chunk; 0 is its end.
    pub fn fill(&mut self, source: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        let space = self.space();
        self.buffer.reserve(space);
        source.take(space as u64).read_to_end(&mut self.buffer)
    }

    /// Adds bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Counts bytes of the current line that were dropped elsewhere.
    pub fn skip(&mut self, bytes: u64) {
        let surplus = self.buffer.len().saturating_sub(self.longest);
        self.buffer.truncate(self.longest);
        self.dropped += surplus as u64 + bytes;
    }

    /// Whole lines: all there are, but that one which lost its end comes alone.
    pub fn take(&mut self) -> Option<Run> {
        if self.dropped > 0 {
            return self.take_dropped();
        }
        match memchr::memrchr(b'\n', &self.buffer[self.searched..]) {
            Some(at) => Some(self.cut(self.searched + at + 1)),
            None => {
                self.searched = self.buffer.len();
                if self.searched > self.longest {
                    self.dropped = (self.searched - self.longest) as u64;
                    self.buffer.truncate(self.longest);
                }
                None
            }
        }
    }

    /// Everything, as the last line, though it has no terminator; call it where [`Lines::take`] has nothing.
    pub fn finish(&mut self) -> Option<Run> {
        if self.buffer.is_empty() { None } else { Some(self.cut(self.buffer.len())) }
    }

    /// How many bytes to read next: up to a chunk, then as many again as are held.
    fn space(&self) -> usize {
        match self.buffer.len() {
            _ if self.dropped > 0 => self.chunk,
            held if held < self.chunk / 2 => self.chunk - held,
            // One byte more than a line may have shows that it is longer.
            held => held.min(self.longest + 1 - held.min(self.longest)).max(1),
        }
    }

    /// The line that is being dropped, once its end was read.
    fn take_dropped(&mut self) -> Option<Run> {
        let Some(at) = memchr::memchr(b'\n', &self.buffer[self.longest..]) else {
            self.dropped += (self.buffer.len() - self.longest) as u64;
            self.buffer.truncate(self.longest);
            return None;
        };
        self.dropped += at as u64;
        self.buffer.drain(self.longest..self.longest + at);
        Some(self.cut(self.longest + 1))
    }

    /// Takes the first `len` bytes.
    fn cut(&mut self, len: usize) -> Run {
        let rest = self.buffer[len..].to_vec();
        let mut data = std::mem::replace(&mut self.buffer, rest);
        data.truncate(len);
        // A small run must not keep a large buffer in memory.
        let data = if len < data.capacity() / 2 { Bytes::copy_from_slice(&data) } else { Bytes::from(data) };
        let run =
            Run { data, first: self.offset, next: self.offset + len as u64 + self.dropped, dropped: self.dropped };
        self.offset = run.next;
        self.dropped = 0;
        self.searched = 0;
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(input: &[u8], chunk: usize, longest: usize) -> Vec<Run> {
        let mut lines = Lines::with_sizes(0, chunk, longest);
        let (mut source, mut runs) = (input, Vec::new());
        loop {
            while let Some(run) = lines.take() {
                runs.push(run);
            }
            if lines.fill(&mut source).unwrap() == 0 {
                break;
            }
        }
        runs.extend(lines.finish());
        runs
    }

    #[test]
    fn runs_end_at_line_feeds_and_only_the_last_may_lack_one() {
        let runs = read_all(b"one\ntwo\nthree\nfour", 9, 100);
        let data: Vec<_> = runs.iter().map(|run| (&run.data[..], run.first, run.next)).collect();
        assert_eq!(data, [(&b"one\ntwo\n"[..], 0, 8), (b"three\n", 8, 14), (b"four", 14, 18)]);
    }

    #[test]
    fn a_line_as_long_as_the_limit_is_whole_and_a_longer_one_loses_its_end() {
        let input = [&[b'a'; 20][..], b"\n", &[b'b'; 23], b"\nnext\n", &[b'c'; 50]].concat();
        let runs = read_all(&input, 8, 20);
        let lines: Vec<_> = runs.iter().map(|run| (run.data.len(), run.first, run.next, run.dropped)).collect();
        assert_eq!(lines, [(21, 0, 21, 0), (21, 21, 45, 3), (5, 45, 50, 0), (20, 50, 100, 30)]);
        assert_eq!(&runs[1].data[..], [&[b'b'; 20][..], b"\n"].concat());
    }

    #[test]
    fn a_long_line_is_read_in_linear_time() {
        struct Counted<'a>(&'a [u8], usize);
        impl Read for Counted<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.1 += 1;
                self.0.read(buf)
            }
        }
        let mut input = vec![b'x'; 64 << 20];
        input.push(b'\n');
        let (mut lines, mut source, mut fills) = (Lines::new(0, LONGEST_LINE), Counted(&input, 0), 0);
        let run = loop {
            if let Some(run) = lines.take() {
                break run;
            }
            fills += 1;
            assert!(lines.fill(&mut source).unwrap() > 0);
        };
        assert_eq!(run.data.len(), input.len());
        assert!(fills <= 8, "the buffer doubles: {fills}");
    }

    proptest! {
        #[test]
        fn every_byte_is_handed_on_once_whatever_the_sizes(
            lines in proptest::collection::vec(0usize..40, 0..20), last in 0usize..40, chunk in 2usize..32, longest in 1usize..64,
        ) {
            let mut input: Vec<u8> = lines.iter().flat_map(|&n| [vec![b'x'; n], vec![b'\n']].concat()).collect();
            input.extend(vec![b'y'; last]);
            let runs = read_all(&input, chunk, longest);
            let mut offset = 0;
            for run in &runs {
                prop_assert_eq!(run.first, offset);
                prop_assert_eq!(run.next - run.first, run.data.len() as u64 + run.dropped);
                if run.dropped == 0 {
                    prop_assert_eq!(&run.data[..], &input[run.first as usize..run.next as usize]);
                }
                prop_assert!(run.data.split(|&byte| byte == b'\n').all(|line| line.len() <= longest || longest < chunk));
                offset = run.next;
            }
            prop_assert_eq!(offset, input.len() as u64);
            for run in runs.iter().rev().skip(1) {
                prop_assert!(run.data.ends_with(b"\n"));
            }
        }
    }
}
