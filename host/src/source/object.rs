//! An object of a store, read like a file that does not change: by ranges, plain or compressed, as lines or Avro blocks.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use super::avro::Blocks;
use super::content::{Content, Encoding};
use super::cutter::Cutter;
use super::lines::{Lines, Run};
use super::{Chunk, Extent, Origin, Tail};
use crate::error::{Error, Result};
use crate::lake::{Lake, Meta};
use crate::plan::Envelope;

/// Bytes of one request.
const RANGE: u64 = 4 << 20;

/// An object that is being read.
pub struct Object {
    content: Content<Ranges>,
    cutter: Box<dyn Cutter>,
    /// The last bytes that were handed on.
    last: VecDeque<u8>,
    origin: Arc<Origin>,
}

/// What [`Object::read_next`] found.
#[derive(Debug)]
pub enum ObjectRead {
    Chunk(Chunk),
    /// It was read to its end.
    End,
    /// It was deleted or replaced while it was read: what is left cannot be read any more.
    Gone,
}

impl Object {
    /// Opens the version of an object that `meta` speaks of, at the offset `at` of its decompressed bytes. A line is held up to
    /// `longest` bytes. Requests are made on `runtime`, by the thread that reads.
    ///
    /// # Errors
    /// Of kind `Source` where it is of a kind that cannot be read, `Lake`. `None` where it is gone.
    pub fn open(
        (lake, meta): (&Lake, &Meta),
        runtime: Handle,
        at: u64,
        (envelope, longest): (Envelope, usize),
    ) -> Result<Option<Object>> {
        let origin = Arc::new(origin(lake, meta));
        let mut ranges = Ranges::new(lake.clone(), meta.clone(), runtime);
        let mut head = Vec::new();
        if let Err(error) = (&mut ranges).take(8).read_to_end(&mut head) {
            return ranges.stopped(&error).map(|_| None);
        }
        ranges.rewind().map_err(|error| Error::internal(error.to_string()))?;
        if let Some(what) = Encoding::foreign(&head) {
            let message = format!("`{}` is {what}, expected lines of text or an Avro container file", ranges.url());
            return Err(Error::source(message).with_help("plain, gzip and zstd are read: store it as one of these"));
        }
        let (content, _) = Content::new(ranges).map_err(|error| Error::internal(error.to_string()))?;
        let (cutter, last) = (Box::new(Lines::new(at, longest)), VecDeque::new());
        let mut object = Object { content, cutter, last, origin };
        match object.go_to(at, envelope) {
            Ok(()) => Ok(Some(object)),
            Err(error) => object.content.file().stopped(&error).map(|_| None),
        }
    }

    fn go_to(&mut self, at: u64, envelope: Envelope) -> io::Result<()> {
        let mut read = 0;
        if envelope == Envelope::Avro {
            let mut blocks = Blocks::default();
            blocks.read_header(&[], &mut self.content)?;
            read = blocks.end();
            let must_skip = at > 0 && blocks.skip_to(at);
            self.cutter = Box::new(blocks);
            if !must_skip {
                return Ok(());
            }
        }
        self.content.skip_to(at, read, &mut self.last).map(drop)
    }

    /// The next whole records. After an error, or once it is gone, nothing more comes.
    ///
    /// # Errors
    /// Of kind `Source` where it is damaged, `Lake`.
    pub fn read_next(&mut self) -> Result<ObjectRead> {
        loop {
            if let Some(run) = self.cutter.take() {
                return Ok(ObjectRead::Chunk(self.chunk(run)));
            }
            let filled = self.cutter.fill(&mut self.content);
            if self.content.file().failure.is_some() || filled.is_err() {
                let error = filled.err().unwrap_or_else(|| io::ErrorKind::Other.into());
                return self.content.file().stopped(&error);
            }
            if filled.is_ok_and(|filled| filled == 0) {
                return self.end();
            }
        }
    }

    fn end(&mut self) -> Result<ObjectRead> {
        let damage = self.content.damage.as_ref().map(ToString::to_string);
        let fault = self.cutter.fault().map(|fault| fault.reason.clone());
        if let Some(why) = damage.or(fault) {
            return Err(self.damaged(&why));
        }
        if let Some(run) = self.cutter.finish() {
            return Ok(ObjectRead::Chunk(self.chunk(run)));
        }
        match self.cutter.rest() {
            [] => Ok(ObjectRead::End),
            _ => Err(self.damaged(&format!("it ends within a {}", self.cutter.unit()))),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        let (url, at) = (self.content.file().url(), self.cutter.offset());
        Error::source(format!("`{url}` is damaged at byte {at}: {why}"))
            .with_help("what comes before is exported; replace the object, and it is read anew")
    }

    fn chunk(&mut self, run: Run) -> Chunk {
        let tail = match run.dropped {
            0 => Tail::push(&mut self.last, &run.data),
            _ => {
                self.last.clear();
                None
            }
        };
        let extent = Extent { dropped: run.dropped, tail, ..Extent::new(self.origin.clone(), run.first, run.next) };
        Chunk { data: run.data, extent, framing: self.cutter.framing() }
    }
}

/// What the offsets of one version of an object count in.
pub fn origin(lake: &Lake, meta: &Meta) -> Origin {
    let name = format!("object:{}", lake.url(&meta.key));
    Origin { hash: meta.version.as_str().to_owned(), ..Origin::named(name) }
}

/// One version of an object, from any byte on.
struct Ranges {
    lake: Lake,
    meta: Meta,
    runtime: Handle,
    /// Where the next byte is, and those that are there already.
    at: u64,
    buffer: Bytes,
    failure: Option<Failure>,
}

/// Why there are no more bytes.
enum Failure {
    Gone,
    Failed(Error),
}

impl Ranges {
    fn new(lake: Lake, meta: Meta, runtime: Handle) -> Ranges {
        Ranges { lake, meta, runtime, at: 0, buffer: Bytes::new(), failure: None }
    }

    fn url(&self) -> String {
        self.lake.url(&self.meta.key)
    }

    /// What came of a failed read: that it is gone, or the store's error; else `error` of whoever was reading.
    fn stopped(&self, error: &io::Error) -> Result<ObjectRead> {
        match &self.failure {
            Some(Failure::Gone) => Ok(ObjectRead::Gone),
            Some(Failure::Failed(error)) => Err(error.clone()),
            None => Err(Error::source(format!("cannot read `{}`: {error}", self.url()))),
        }
    }
}

impl Read for Ranges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.at < self.meta.size {
            let range = self.at..self.meta.size.min(self.at + RANGE);
            let read = self.runtime.block_on(self.lake.get_range_of(&self.meta, range));
            self.failure = match read {
                Ok(Some(bytes)) if bytes.is_empty() => {
                    let (url, at, size) = (self.url(), self.at, self.meta.size);
                    Some(Failure::Failed(Error::lake(format!(
                        "the store gave nothing of `{url}` from byte {at}, of {size}"
                    ))))
                }
                Ok(Some(bytes)) => {
                    self.buffer = bytes;
                    None
                }
                Ok(None) => Some(Failure::Gone),
                Err(error) => Some(Failure::Failed(error)),
            };
            if self.failure.is_some() {
                return Err(io::Error::other("the object cannot be read on"));
            }
        }
        let count = into.len().min(self.buffer.len());
        self.buffer.copy_to_slice(&mut into[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Ranges {
    /// Goes to an offset from the start; others are not asked for.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        match at.checked_sub(self.at).and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead <= self.buffer.len() => self.buffer.advance(ahead),
            _ => self.buffer = Bytes::new(),
        }
        self.at = at;
        Ok(at)
    }
}
