//! A file's decompressed bytes, and how many of them were read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;

use crate::error::{Error, Result};
use crate::source::content::{Content, Damage, Encoding};

/// Why reading ended early.
#[derive(Debug)]
pub enum Stop {
    /// The bytes at `offset` are not what they should be.
    Damaged { offset: u64, expected: String },
    /// The file system says so.
    Unreadable(io::Error),
}

impl Stop {
    /// Something else than what was `expected`, at `offset`.
    pub fn damaged(offset: u64, expected: impl Into<String>) -> Self {
        Stop::Damaged { offset, expected: expected.into() }
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

    /// Whether all was read.
    pub fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill_buf()?.is_empty())
    }

    /// The next `length` bytes, which are `what`.
    pub fn exactly(&mut self, length: u64, what: &str) -> Result<Vec<u8>, Stop> {
        let (start, mut bytes) = (self.offset, Vec::new());
        // Not all at once: a length that is wrong costs no more memory than the file has bytes.
        self.by_ref().take(length).read_to_end(&mut bytes)?;
        match bytes.len() as u64 {
            found if found == length => Ok(bytes),
            found => Err(Stop::damaged(start, format!("{length} bytes of {what}, found {found} before the end"))),
        }
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
