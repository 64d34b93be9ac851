//! What cuts a file's bytes into runs of whole records: lines, or blocks of a container file.

use std::io::{self, Read};

use super::Framing;
use super::lines::{Lines, Run};

/// A buffer of bytes that are not handed on yet. Nothing here waits.
pub trait Cutter: Send {
    /// Offset of the first byte of [`Cutter::rest`].
    fn offset(&self) -> u64;

    /// The beginning of something whose end was not read yet.
    fn rest(&self) -> &[u8];

    /// Offset after the last byte that was read.
    fn end(&self) -> u64;

    /// Adds what `source` has, as much as fits into a chunk; 0 is its end, or that more would be in vain.
    fn fill(&mut self, source: &mut dyn Read) -> io::Result<usize>;

    /// Adds bytes that were read elsewhere.
    fn push(&mut self, bytes: &[u8]);

    /// What is whole: all there is of it.
    fn take(&mut self) -> Option<Run>;

    /// The rest, where it counts as whole at the end of a file.
    fn finish(&mut self) -> Option<Run>;

    /// Whether the rest is longer than what is held: it is refused, whatever comes.
    fn is_cut(&self) -> bool {
        false
    }

    /// How runs are to be read.
    fn framing(&self) -> Framing;

    /// What keeps it from going on.
    fn fault(&self) -> Option<&Fault>;

    /// What a rest is the beginning of.
    fn unit(&self) -> &'static str;
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub offset: u64,
    /// What was found and what was expected.
    pub reason: String,
}

impl Cutter for Lines {
    fn offset(&self) -> u64 {
        Lines::offset(self)
    }

    fn rest(&self) -> &[u8] {
        Lines::rest(self)
    }

    fn end(&self) -> u64 {
        Lines::end(self)
    }

    fn fill(&mut self, source: &mut dyn Read) -> io::Result<usize> {
        Lines::fill(self, source)
    }

    fn push(&mut self, bytes: &[u8]) {
        Lines::push(self, bytes);
    }

    fn take(&mut self) -> Option<Run> {
        Lines::take(self)
    }

    fn finish(&mut self) -> Option<Run> {
        Lines::finish(self)
    }

    fn is_cut(&self) -> bool {
        Lines::is_cut(self)
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn fault(&self) -> Option<&Fault> {
        None
    }

    fn unit(&self) -> &'static str {
        "line"
    }
}
