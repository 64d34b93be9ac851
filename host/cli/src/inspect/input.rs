//! A file's decompressed bytes, and how many of them were read.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;

use lakeport::error::{Error, Result};
use lakeport::source::content::{Content, Damage, Encoding};

/// Why reading ended early.
#[derive(Debug)]
pub enum Stop {
    /// The bytes at `offset` are not what they should be, for a `reason` that says what was expected.
    Damaged { offset: u64, reason: String },
    /// The file system says so.
    Unreadable(io::Error),
}

impl Stop {
    /// Something else than what was `expected`, at `offset`.
    pub fn damaged(offset: u64, expected: impl Display) -> Self {
        Stop::Damaged { offset, reason: format!("expected {expected}") }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Unreadable(error)
    }
}

/// A file that is read from its first byte on.
pub struct Input {
    bytes: Chain<Cursor<Vec<u8>>, BufReader<Content>>,
    offset: u64,
    encoding: Encoding,
    size: u64,
}

/// How many bytes are looked at before anything is read.
const HEAD: u64 = 4096;
const BUFFER: usize = 256 << 10;

impl Input {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self> {
        let unusable = |error: io::Error| {
            let error = error.to_string().to_lowercase();
            Error::config(format!("cannot inspect `{}`: {error}", path.display())).with_help("name a file")
        };
        let file = File::open(path).map_err(unusable)?;
        let metadata = file.metadata().map_err(unusable)?;
        if metadata.is_dir() {
            return Err(Error::config(format!("cannot inspect `{}`: it is a folder", path.display()))
                .with_help("name a file in it"));
        }
        let (content, encoding) = Content::new(file).map_err(unusable)?;
        let mut content = BufReader::with_capacity(BUFFER, content);
        let mut head = Vec::new();
        content.by_ref().take(HEAD).read_to_end(&mut head).map_err(unusable)?;
        Ok(Input { bytes: Cursor::new(head).chain(content), offset: 0, encoding, size: metadata.len() })
    }

    /// The first bytes.
    pub fn head(&self) -> &[u8] {
        self.bytes.get_ref().0.get_ref()
    }

    /// How many decompressed bytes were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How the file is compressed.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The file's own size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Why the compressed bytes ended where they did.
    pub fn damage(&self) -> Option<&Damage> {
        self.bytes.get_ref().1.get_ref().damage.as_ref()
    }

    /// Adds the next bytes to `buffer`, as many as it has and no fewer than some; answers with how many.
    pub fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // Doubled, so that reading stays linear, and no faster: a length that is wrong costs no more memory than the file has bytes.
        let more = buffer.len().max(BUFFER) as u64;
        self.take(more).read_to_end(buffer)
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buf)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
        self.offset += amount as u64;
    }
}
