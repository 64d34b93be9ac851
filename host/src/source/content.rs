//! What is in a file: plain, gzip or zstd, told apart by its first bytes, read as plain bytes.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

use super::Tail;
use crate::error::{Error, Result};

/// How a file's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl Encoding {
    /// The encoding of a file that begins with `head`; four bytes tell.
    pub fn of(head: &[u8]) -> Encoding {
        match head {
            [0x1f, 0x8b, ..] => Encoding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
            // A skippable frame may come first (RFC 8878, section 3.1.2).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
            _ => Encoding::Plain,
        }
    }

    /// What a file that begins with `head` is, where it is something else that cannot be read: a name with its article.
    pub fn foreign(head: &[u8]) -> Option<&'static str> {
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some("a zip archive"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Some("a bzip2 file"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("an xz file"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some("a 7z archive"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some("an lz4 file"),
            [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
            _ => None,
        }
    }

    /// What a stream that begins with `head` is, where it is no lines, and what to do about it.
    pub fn foreign_stream(head: &[u8]) -> Option<(&'static str, &'static str)> {
        let what = match Encoding::of(head) {
            Encoding::Gzip => "gzip data",
            Encoding::Zstd => "zstd data",
            Encoding::Plain if head.starts_with(b"Obj\x01") => "an Avro container file",
            Encoding::Plain => Encoding::foreign(head)?,
        };
        let help = match what {
            "gzip data" => "unpack it on the way, `zcat FILE | lakeport run`, or name the file: `files = \"…\"`",
            "zstd data" => "unpack it on the way, `zstdcat FILE | lakeport run`, or name the file: `files = \"…\"`",
            "an Avro container file" => "name the file instead: `files = \"…\"`, `envelope = \"avro\"`",
            "a Parquet file" => "send its rows as lines of JSON",
            "a zip archive" => "unpack it on the way: `unzip -p FILE | lakeport run`",
            "a bzip2 file" => "unpack it on the way: `bzcat FILE | lakeport run`",
            "an xz file" => "unpack it on the way: `xzcat FILE | lakeport run`",
            "an lz4 file" => "unpack it on the way: `lz4cat FILE | lakeport run`",
            _ => "unpack it, and send what was in it",
        };
        Some((what, help))
    }

    /// As people and machines read it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Plain => "plain",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }
}

/// Looks at what a stream begins with, which is to be lines.
#[derive(Default)]
pub struct Beginning {
    head: Vec<u8>,
}

impl Beginning {
    /// So many bytes tell.
    const LONGEST: usize = 8;

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// Of kind `Source`, where it is compressed or of another kind.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.head.len() == Beginning::LONGEST {
            return Ok(());
        }
        let missing = Beginning::LONGEST - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        match Encoding::foreign_stream(&self.head) {
            Some((what, help)) => {
                Err(Error::source(format!("standard input is {what}, expected lines of text")).with_help(help))
            }
            None => Ok(()),
        }
    }
}

/// A file's decompressed bytes, in order; or those of something else that can be read from anywhere.
pub struct Content<F = File> {
    stream: Stream<F>,
    /// Why the compressed bytes could not be read on; what came before them is good.
    pub damage: Option<Damage>,
}

/// What is wrong with compressed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// They end too early; more may be on the way.
    CutOff(Encoding),
    Corrupt(Encoding, String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::CutOff(encoding) => write!(f, "the {} data is cut off", encoding.name()),
            Damage::Corrupt(encoding, error) => write!(f, "the {} data is corrupt ({error})", encoding.name()),
        }
    }
}

enum Stream<F> {
    Plain(F),
    Gzip(Box<MultiGzDecoder<BufReader<F>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<F>>>),
}

/// Compressed bytes read at once.
const BUFFER: usize = 256 << 10;

impl<F: Read + Seek> Content<F> {
    /// What `file` holds, from its first byte on.
    pub fn new(mut file: F) -> io::Result<(Content<F>, Encoding)> {
        let mut head = Vec::new();
        (&mut file).take(4).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        let encoding = Encoding::of(&head);
        let stream = match encoding {
            Encoding::Plain => Stream::Plain(file),
            Encoding::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file)))),
            Encoding::Zstd => {
                Stream::Zstd(Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, file))?))
            }
        };
        Ok((Content { stream, damage: None }, encoding))
    }

    /// The file itself.
    pub fn file(&self) -> &F {
        match &self.stream {
            Stream::Plain(file) => file,
            Stream::Gzip(gzip) => gzip.get_ref().get_ref(),
            Stream::Zstd(zstd) => zstd.get_ref().get_ref(),
        }
    }

    /// Goes on at `offset`, having read `read` bytes so far; not back, where it is compressed. `last` gets the last bytes that
    /// were decompressed on the way. False where it ends before.
    pub fn skip_to(&mut self, offset: u64, read: u64, last: &mut VecDeque<u8>) -> io::Result<bool> {
        if let Stream::Plain(file) = &mut self.stream {
            return file.seek(SeekFrom::Start(offset)).map(|_| true);
        }
        let mut distance = offset.saturating_sub(read);
        let mut buffer = vec![0; 64 << 10];
        while distance > 0 {
            let most = usize::try_from(distance).unwrap_or(usize::MAX).min(buffer.len());
            match self.read(&mut buffer[..most]) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    Tail::extend(last, &buffer[..read]);
                    distance -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl<F: Read> Read for Content<F> {
    /// Ends where compressed bytes are cut off or damaged, and says so in `damage`.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.damage.is_some() {
            return Ok(0);
        }
        let (read, encoding) = match &mut self.stream {
            Stream::Plain(file) => return file.read(buf),
            Stream::Gzip(gzip) => (gzip.read(buf), Encoding::Gzip),
            Stream::Zstd(zstd) => (zstd.read(buf), Encoding::Zstd),
        };
        read.or_else(|error| match error.kind() {
            io::ErrorKind::Interrupted => Err(error),
            // What the disk says about reading is an error as for a plain file; what the decoder says is damage.
            _ if error.raw_os_error().is_some() => Err(error),
            io::ErrorKind::UnexpectedEof => {
                self.damage = Some(Damage::CutOff(encoding));
                Ok(0)
            }
            _ => {
                self.damage = Some(Damage::Corrupt(encoding, error.to_string()));
                Ok(0)
            }
        })
    }
}
