//! What a log holds that is not released, told without opening it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use memchr::memchr_iter;

use crate::block::Blocks;
use crate::error::{Error, Result};
use crate::folder;
use crate::frame::{SEGMENT_HEADER, TAIL, segment_tail};
use crate::id::LogId;

/// What of a log is not released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Lines.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Counts what the log in `folder` holds that is not released; nothing where there is no log. The log may be open elsewhere: it is
/// read as it is at this time. What was released shortly before a power failure may count as pending.
///
/// # Errors
/// [`Error::Io`], [`Error::Damaged`].
pub fn pending(folder: impl AsRef<Path>) -> Result<Pending> {
    let folder = folder.as_ref();
    let mut pending = Pending::default();
    let Some(id) = folder::identity_of(folder)? else { return Ok(pending) };
    let (released, firsts) = (folder::released(folder), folder::segments(folder)?);
    for (number, first) in firsts.iter().enumerate() {
        // What follows says where this one ends.
        if firsts.get(number + 1).is_none_or(|next| *next > released) {
            let is_last = number + 1 == firsts.len();
            pending.count(&folder::segment(folder, *first), *first, released, id, is_last)?;
        }
    }
    Ok(pending)
}

impl Pending {
    /// Adds what a segment holds after `released`. The last one may end with a write that was cut.
    fn count(&mut self, path: &Path, first: u64, released: u64, id: LogId, is_last: bool) -> Result<()> {
        let failed = |error| Error::io("read", path, error);
        let file = match File::open(path) {
            // It was released meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        let end = file.metadata().map_err(failed)?.len();
        let mut blocks = Blocks::new(file);
        let header = blocks.get(0, (SEGMENT_HEADER + TAIL) as u64, end).map_err(failed)?;
        let Some(tail) = segment_tail(&header, first, id) else {
            return match is_last {
                true => Ok(()),
                false => Err(Error::damaged(path, 0, "the header is not that of this segment of this log")),
            };
        };
        let (mut at, mut offset) = ((SEGMENT_HEADER + tail.len()) as u64, first);
        while at < end {
            let header = match blocks.header(at, end, offset, id).map_err(failed)? {
                Ok(header) => header,
                Err(_) if is_last => break,
                Err(invalid) => return Err(Error::damaged(path, at, invalid.reason())),
            };
            if offset >= released {
                self.records += u64::from(header.records);
                self.bytes += u64::from(header.lines);
            } else if header.next() > released {
                let frame = blocks.frame(at, end, offset, id).map_err(failed)?;
                let frame = frame.map_err(|invalid| Error::damaged(path, at, invalid.reason()))?;
                // Bounded by the frame.
                let rest = frame.lines().slice((released - offset) as usize..);
                self.records += memchr_iter(b'\n', &rest).count() as u64;
                self.bytes += rest.len() as u64;
            }
            at += header.bytes();
            offset = header.next();
        }
        Ok(())
    }
}
