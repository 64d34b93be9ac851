//! One open file: its first bytes, its records, where it is.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::known::{HEAD, hash};
use super::list::Stamp;
use crate::plan::Envelope;
use crate::source::avro::{Blocks, Preamble};
use crate::source::content::{Content, Damage, Encoding};
use crate::source::cutter::Cutter;
use crate::source::lines::{Lines, Run};
use crate::source::{Chunk, Cursor, Extent, Fault, Framing, Origin, Tail};

/// A file that is being read.
pub struct Open {
    pub path: PathBuf,
    pub name: Arc<str>,
    /// What it looked like before it was read last.
    pub stamp: Stamp,
    pub encoding: Encoding,
    content: Content,
    /// Its first bytes: [`HEAD`], of a container file at least its header, as far as they are there.
    head: Vec<u8>,
    /// How many of them tell it from others.
    telling: usize,
    cutter: Box<dyn Cutter>,
    /// The last bytes that were handed on, as far as they are known.
    last: VecDeque<u8>,
    origin: Option<Arc<Origin>>,
}

impl Open {
    /// Opens a file and reads its first bytes; [`Open::start`] comes next.
    pub fn at(path: PathBuf, name: Arc<str>, envelope: Envelope) -> io::Result<Open> {
        let file = File::open(&path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let (mut content, encoding) = Content::new(file)?;
        let mut head = Vec::with_capacity(HEAD);
        (&mut content).take(HEAD as u64).read_to_end(&mut head)?;
        // Files of one schema differ in the marker that ends the header, which may be far behind.
        while envelope == Envelope::Avro && matches!(Preamble::parse(&head), Ok(None)) {
            if (&mut content).take(head.len() as u64).read_to_end(&mut head)? == 0 {
                break;
            }
        }
        let telling = match Preamble::parse(&head) {
            _ if envelope != Envelope::Avro => HEAD,
            Ok(Some(preamble)) => preamble.len.max(HEAD),
            // Not whole yet, or none at all.
            _ => usize::MAX,
        };
        let (cutter, last) = (Box::new(Lines::new(0, 0)), VecDeque::new());
        Ok(Open { path, name, stamp, encoding, content, head, telling, cutter, last, origin: None })
    }

    /// Its first bytes, as far as they were read.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Its length, where that counts in the same bytes as its offsets.
    pub fn size(&self) -> Option<u64> {
        (self.encoding == Encoding::Plain).then_some(self.stamp.size)
    }

    /// Goes to `offset` to read from there, a line of up to `longest` bytes whole. False where the bytes before `offset` are not
    /// those of `tail`: it is another file. Once: a container file's header is read first.
    pub fn start(&mut self, offset: u64, envelope: Envelope, longest: usize, tail: Option<&Tail>) -> io::Result<bool> {
        self.origin = None;
        self.last.clear();
        if self.encoding == Encoding::Plain && !self.load_last(offset)? {
            return Ok(false);
        }
        if envelope == Envelope::Avro {
            self.start_blocks(offset)?;
        } else {
            let mut lines = Lines::new(offset, longest);
            let read = self.head.len() as u64;
            if self.encoding == Encoding::Plain {
                self.content.skip_to(offset, read, &mut self.last)?;
            } else if offset < read {
                // The decoder is past it already.
                self.last.extend(&self.head[..offset as usize]);
                lines.push(&self.head[offset as usize..]);
            } else {
                self.last.extend(&self.head);
                let is_there = self.content.skip_to(offset, read, &mut self.last)?;
                if !is_there {
                    // What is cut off may be on its way.
                    return Ok(self.content.damage.is_some());
                }
            }
            self.cutter = Box::new(lines);
        }
        // Of a compressed container file, whose header tells it from others, the last bytes are not known.
        Ok(tail.is_none_or(|tail| self.last.is_empty() || tail.is_of(self.last.make_contiguous())))
    }

    /// Reads the last bytes before `offset`. False where they are not there.
    fn load_last(&mut self, offset: u64) -> io::Result<bool> {
        let mut last = vec![0; offset.min(HEAD as u64) as usize];
        let from = offset - last.len() as u64;
        match self.content.file().read_exact_at(&mut last, from) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        self.last = last.into();
        Ok(true)
    }

    fn start_blocks(&mut self, offset: u64) -> io::Result<()> {
        let mut blocks = Blocks::default();
        blocks.read_header(&self.head, &mut self.content)?;
        let read = blocks.end();
        if offset > 0 && blocks.skip_to(offset) {
            self.content.skip_to(offset, read, &mut VecDeque::new())?;
        }
        self.cutter = Box::new(blocks);
        Ok(())
    }

    /// The next whole records; none at the end of what is there now.
    pub fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if let Some(run) = self.cutter.take() {
                return Ok(Some(self.chunk(run)));
            }
            if self.cutter.fill(&mut self.content)? == 0 {
                return Ok(None);
            }
        }
    }

    /// What is left after the last record's end, as a record, where it may be one.
    pub fn finish(&mut self) -> Option<Chunk> {
        self.cutter.finish().map(|run| self.chunk(run))
    }

    /// What is left after the last record's end.
    pub fn rest(&self) -> &[u8] {
        self.cutter.rest()
    }

    /// Whether the rest is a line that is too long to be a record.
    pub fn is_cut(&self) -> bool {
        self.cutter.is_cut()
    }

    /// Offset of the first byte of the rest.
    pub fn offset(&self) -> u64 {
        self.cutter.offset()
    }

    /// What keeps the records from being told apart.
    pub fn fault(&self) -> Option<&Fault> {
        self.cutter.fault()
    }

    /// What the rest is the beginning of.
    pub fn unit(&self) -> &'static str {
        self.cutter.unit()
    }

    /// Why compressed bytes could not be read to their end.
    pub fn damage(&self) -> Option<&Damage> {
        self.content.damage.as_ref()
    }

    /// A chunk without bytes, where `cursor` is.
    fn marker(&mut self, cursor: &Cursor) -> Chunk {
        let (offset, tail) = (cursor.next, cursor.tail.clone());
        let extent = Extent { tail, ..Extent::new(self.origin(offset), offset, offset) };
        Chunk { data: Bytes::new(), extent, framing: self.cutter.framing() }
    }

    /// A chunk without bytes: it only says that the origin, which was exported as far as `cursor` says, has another name now.
    pub fn renamed_marker(&mut self, cursor: &Cursor) -> Chunk {
        let mut marker = self.marker(cursor);
        marker.extent.ends = Some(cursor.origin.name.clone());
        marker
    }

    /// A chunk without bytes: it only says that this is a copy of what was exported as far as `cursor` says.
    pub fn copy_marker(&mut self, cursor: &Cursor) -> Chunk {
        let mut marker = self.marker(cursor);
        marker.extent.copy_of = Some(cursor.origin.name.clone());
        marker
    }

    /// Takes another name.
    pub fn rename(&mut self, path: PathBuf, name: Arc<str>) {
        self.path = path;
        self.name = name;
        self.origin = None;
    }

    /// Whether the file has no name any more.
    pub fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.content.file().metadata()?.nlink() == 0)
    }

    /// Whether it was written to since it was looked at last.
    pub fn has_changed(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.content.file().metadata()?) != self.stamp)
    }

    /// Looks at the open file again. False where it is not the one that was being read: it lost bytes, or has other first or
    /// last ones.
    pub fn refresh(&mut self) -> io::Result<bool> {
        self.stamp = Stamp::of(&self.content.file().metadata()?);
        if self.stamp.size < self.cutter.end() {
            return Ok(false);
        }
        let mut now = vec![0; self.head.len()];
        let mut last = vec![0; self.last.len()];
        let file = self.content.file();
        let read = file.read_exact_at(&mut now, 0).and_then(|()| {
            let from = self.cutter.offset().saturating_sub(last.len() as u64);
            file.read_exact_at(&mut last, from)
        });
        match read {
            // It shrinks while it is looked at.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| now == self.head && self.last == last),
        }
    }

    fn chunk(&mut self, run: Run) -> Chunk {
        self.extend_head(&run);
        let origin = self.origin(run.next);
        let tail = match run.dropped {
            0 => Tail::push(&mut self.last, &run.data),
            // What was dropped is in the file still, where that is not compressed.
            _ => {
                self.last.clear();
                let is_there = self.encoding == Encoding::Plain && self.load_last(run.next).unwrap_or(false);
                if is_there { Tail::of(self.last.make_contiguous()) } else { None }
            }
        };
        let extent = Extent { dropped: run.dropped, tail, ..Extent::new(origin, run.first, run.next) };
        Chunk { data: run.data, extent, framing: self.cutter.framing() }
    }

    /// A file that was short when it was opened has more first bytes now.
    fn extend_head(&mut self, run: &Run) {
        let wanted = match self.cutter.framing() {
            Framing::Lines | Framing::Numbered(_) => HEAD,
            Framing::Avro(header) => header.len.max(HEAD),
        };
        let known = self.head.len();
        // A line that lost its end has its terminator elsewhere.
        let len = run.data.len() - usize::from(run.dropped > 0 && run.data.ends_with(b"\n"));
        if let Framing::Avro(_) = self.cutter.framing() {
            self.telling = wanted;
        }
        if known < wanted && (run.first..run.first + len as u64).contains(&(known as u64)) {
            let more = &run.data[(known as u64 - run.first) as usize..len];
            self.head.extend_from_slice(&more[..more.len().min(wanted - known)]);
        }
    }

    /// The origin, recognisable by no byte at `next` or after it.
    fn origin(&mut self, next: u64) -> Arc<Origin> {
        let hashed = self.head.len().min(self.telling).min(usize::try_from(next).unwrap_or(usize::MAX));
        match &self.origin {
            Some(origin) if origin.hashed as usize == hashed => origin.clone(),
            _ => {
                let origin = Arc::new(Origin {
                    name: self.name.clone(),
                    inode: self.stamp.inode,
                    hashed: hashed as u32,
                    hash: hash(&self.head[..hashed]),
                });
                self.origin = Some(origin.clone());
                origin
            }
        }
    }
}
