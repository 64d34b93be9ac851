//! Opening: what is in the segments, and where a write was cut.
//!
//! A frame that cannot be read was either never acknowledged, and is cut off with what follows it, or it is damaged. A later frame
//! tells: it says up to where the log was durable when it was written. A segment is only begun once the one before it is durable.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};

use memchr::memmem;

use crate::block::Blocks;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::frame::{FRAME_HEADER, FRAME_MAGIC, FrameHeader, Invalid, SEGMENT_HEADER, TAIL, segment_tail};
use crate::id::LogId;
use crate::keys::Keys;
use crate::marks::Marks;
use crate::shared::Segment;

/// What a log's folder holds.
pub(crate) struct Recovered {
    pub(crate) segments: VecDeque<Segment>,
    /// The last segment, to append to.
    pub(crate) active: Option<File>,
    /// Where the log goes on if there is no segment.
    pub(crate) next: u64,
    /// Bytes of the file that were cut off, with what the operator should know.
    pub(crate) torn: Option<(u64, String)>,
    pub(crate) marks: Marks,
}

/// Reads all segments of `folder`, and cuts off what was never acknowledged.
pub(crate) fn recover(folder: &Folder, keys: &mut Keys, now: u64) -> Result<Recovered> {
    let firsts = folder.segments()?;
    let mut found = Recovered { segments: VecDeque::new(), active: None, next: 0, torn: None, marks: Marks::default() };
    for (number, first) in firsts.iter().copied().enumerate() {
        let path = folder.segment(first);
        if let Some(before) = found.segments.back().filter(|before| before.next != first) {
            let reason = format!(
                "the file before it ends at offset {}, so that a file is missing or of another log",
                before.next
            );
            return Err(Error::damaged(&path, 0, reason));
        }
        let is_last = number + 1 == firsts.len();
        let file =
            OpenOptions::new().read(true).append(true).open(&path).map_err(|error| Error::io("open", &path, error))?;
        let mut scan = Scan::new(folder, first, file)?;
        match scan.run(keys, &mut found.marks, now, is_last)? {
            Some(segment) => {
                if is_last {
                    found.torn = scan.cut(segment.bytes)?;
                    // Whole frames may be there that were never flushed.
                    scan.blocks.file().sync_all().map_err(|error| Error::io("flush", &path, error))?;
                    found.active = Some(scan.blocks.into_file());
                }
                found.segments.push_back(segment);
            }
            None => {
                found.torn = Some((scan.end, format!("`{}` had no header yet; it is deleted", path.display())));
                fs::remove_file(&path).map_err(|error| Error::io("delete", &path, error))?;
                found.next = first;
                if let Some(last) = found.segments.back() {
                    let path = folder.segment(last.first);
                    let file = OpenOptions::new().read(true).append(true).open(&path);
                    found.active = Some(file.map_err(|error| Error::io("open", &path, error))?);
                }
            }
        }
    }
    folder.sync()?;
    Ok(found)
}

/// One segment that is being read.
struct Scan {
    path: std::path::PathBuf,
    id: LogId,
    first: u64,
    blocks: Blocks,
    /// Bytes of the file.
    end: u64,
}

impl Scan {
    fn new(folder: &Folder, first: u64, file: File) -> Result<Scan> {
        let path = folder.segment(first);
        let end = file.metadata().map_err(|error| Error::io("read", &path, error))?.len();
        Ok(Scan { path, id: folder.id, first, blocks: Blocks::new(file), end })
    }

    /// Reads all frames. Nothing where the segment has no header yet.
    fn run(&mut self, keys: &mut Keys, marks: &mut Marks, now: u64, is_last: bool) -> Result<Option<Segment>> {
        let header = self.blocks.get(0, (SEGMENT_HEADER + TAIL) as u64, self.end);
        let header = header.map_err(|error| Error::io("read", &self.path, error))?;
        let Some(tail) = segment_tail(&header, self.first, self.id) else {
            // The header is durable before the first frame is written.
            let may_be_cut = is_last && self.end <= (SEGMENT_HEADER + TAIL) as u64;
            if !may_be_cut || self.later(0, self.first)?.is_some() {
                return Err(Error::damaged(&self.path, 0, "the header is not that of this segment of this log"));
            }
            return Ok(None);
        };
        let header_bytes = (SEGMENT_HEADER + tail.len()) as u64;
        let mut segment = Segment { first: self.first, next: self.first, bytes: header_bytes, header_bytes };
        while segment.bytes < self.end {
            let frame = self.blocks.frame(segment.bytes, self.end, segment.next, self.id);
            match frame.map_err(|error| Error::io("read", &self.path, error))? {
                Ok(frame) => {
                    segment.bytes += frame.bytes();
                    segment.next = frame.header.next();
                    marks.push(segment.next, u64::from(frame.header.records), frame.header.time);
                    if !keys.is_expired(frame.header.time, now) {
                        let (of_frame, content) = frame.keys();
                        of_frame.for_each(|key| keys.insert(key, content, segment.next, frame.header.time));
                    }
                }
                Err(invalid) => {
                    let acknowledged = match is_last && invalid != Invalid::Version {
                        true => self.later(segment.bytes + 1, segment.next + 1)?,
                        false => Some(segment.bytes),
                    };
                    match acknowledged {
                        Some(_) => return Err(Error::damaged(&self.path, segment.bytes, invalid.reason())),
                        None => break,
                    }
                }
            }
        }
        Ok(Some(segment))
    }

    /// Where a frame begins, from byte `from` on, that was written when the log was durable up to `durable` or further.
    fn later(&mut self, mut from: u64, durable: u64) -> Result<Option<u64>> {
        const WINDOW: u64 = 1 << 20;
        let magic = memmem::Finder::new(&FRAME_MAGIC);
        while from < self.end {
            let window =
                self.blocks.get(from, WINDOW, self.end).map_err(|error| Error::io("read", &self.path, error))?;
            for at in magic.find_iter(&window) {
                let frame = FrameHeader::decode(&window[at..], self.id);
                if frame.is_ok_and(|frame| frame.durable >= durable) {
                    return Ok(Some(from + at as u64));
                }
            }
            // A header may lie across two windows.
            from += (window.len() as u64).saturating_sub(FRAME_HEADER as u64 - 1).max(1);
        }
        Ok(None)
    }

    /// Cuts off what follows the last whole frame.
    fn cut(&mut self, bytes: u64) -> Result<Option<(u64, String)>> {
        let torn = self.end - bytes;
        if torn == 0 {
            return Ok(None);
        }
        self.blocks.file().set_len(bytes).map_err(|error| Error::io("shorten", &self.path, error))?;
        let path = self.path.display();
        Ok(Some((
            torn,
            format!(
                "the last {torn} bytes of `{path}` are cut off: they were being written when the process or the machine stopped, and were not acknowledged"
            ),
        )))
    }
}
