//! A source that is read as far as an export has read it, and no further.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::files::hash;
use super::{Chunk, Cursor, Extent, Origin, Position, Read, ReadOptions, Reader, Source, Tail, is_gone};
use crate::error::{Error, Result};
use crate::plan::ExportPlan;

/// The most names in a message.
const MOST_NAMES: usize = 5;

/// Reads files from their beginnings up to the cursors of a position. Its readers fail at the end where a file does not hold any more what came before
/// its cursor.
pub struct Bounded {
    source: Arc<dyn Source>,
    until: Position,
}

impl Bounded {
    /// Reads `source` up to `until`.
    pub fn new(source: Arc<dyn Source>, until: Position) -> Self {
        Bounded { source, until }
    }
}

impl Source for Bounded {
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
        let reader = self.source.open(export, from, options)?;
        Ok(Box::new(BoundedReader::new(reader, &self.until)))
    }
}

struct BoundedReader {
    reader: Box<dyn Reader>,
    bounds: Vec<Bound>,
    /// The first chunks of a file, until they hold enough of it to compare it with what was exported under its name.
    held: Vec<Chunk>,
    /// Chunks of files that were compared.
    ready: VecDeque<Chunk>,
    has_ended: bool,
}

/// How far one file is read.
struct Bound {
    cursor: Cursor,
    /// The name of the file that it is for, once that was met.
    name: Option<Arc<str>>,
    /// The bytes of the file that has the cursor's name, where it is too short to be that of the cursor.
    short: Option<u64>,
    /// Where reading is.
    at: u64,
    /// The first bytes, as far as the cursor tells what they were.
    head: Vec<u8>,
    /// The last bytes before that.
    last: VecDeque<u8>,
}

impl Bound {
    fn all(until: &Position) -> Vec<Bound> {
        let bound = |cursor: &Cursor| Bound {
            cursor: cursor.clone(),
            name: None,
            short: None,
            at: 0,
            head: Vec::new(),
            last: VecDeque::new(),
        };
        until.cursors.iter().map(bound).collect()
    }

    /// Whether everything before the cursor was read. What was copied is read from its copy.
    fn is_reached(&self) -> bool {
        self.cursor.copied || self.at >= self.cursor.next
    }

    /// Takes what of `chunk` comes before the cursor.
    fn cut(&mut self, chunk: Chunk) -> Result<Option<Chunk>> {
        let end = self.cursor.next;
        if self.cursor.copied || chunk.data.is_empty() || chunk.extent.first >= end {
            return Ok(None);
        }
        let mut chunk = if chunk.extent.next > end { chunk.split_at(end).0 } else { chunk };
        self.at = chunk.extent.next;
        Tail::extend(&mut self.last, &chunk.data);
        let Origin { hashed, hash: expected, .. } = &*self.cursor.origin;
        let hashed = *hashed as usize;
        let missing = hashed.saturating_sub(self.head.len());
        self.head.extend_from_slice(&chunk.data[..chunk.data.len().min(missing)]);
        let begins = missing == 0 || self.head.len() < hashed || hash(&self.head) == *expected;
        let ends = self.cursor.tail.as_ref().is_none_or(|tail| tail.is_of(self.last.make_contiguous()));
        // A record that the cursor goes through is none that was exported.
        if !begins || self.at > end || self.at == end && !ends {
            return Err(lost(&[format!("`{}` was changed", chunk.extent.origin.name)]));
        }
        // What was said of its records names the file as it was called then.
        chunk.extent.origin = self.cursor.origin.clone();
        Ok(Some(chunk))
    }

    /// Says what became of the file; `None` where it is as it was.
    fn fault(&self) -> Option<String> {
        let (name, expected) = (&self.cursor.origin.name, self.cursor.next);
        match &self.name {
            _ if self.is_reached() => None,
            Some(found) => Some(format!("`{found}` has {} of {expected} bytes", self.at)),
            None if let Some(bytes) = self.short => {
                Some(format!("`{name}` has {bytes} of {expected} bytes: it was truncated, or is another file now"))
            }
            None if is_gone(name) => Some(format!("`{name}` is gone")),
            None => Some(format!("`{name}` is not read any more, or is another file now")),
        }
    }
}

impl BoundedReader {
    fn new(reader: Box<dyn Reader>, until: &Position) -> BoundedReader {
        BoundedReader { reader, bounds: Bound::all(until), held: Vec::new(), ready: VecDeque::new(), has_ended: false }
    }

    /// Takes a chunk in. The first one of a compressed file may be short: it is held until there is more of the file.
    fn take(&mut self, chunk: Chunk) {
        if self.held.first().is_some_and(|first| first.extent.origin.name != chunk.extent.origin.name) {
            self.end_held();
        }
        let is_met = self.is_met(&chunk.extent.origin.name);
        self.held.push(chunk);
        let (first, bytes) = (&self.held[0].extent, self.held_bytes());
        let may_be = |known: &Origin| known.name == first.origin.name || is_inode_of(known, &first.origin);
        let is_longer = |known: &Origin| bytes < u64::from(known.hashed);
        let is_short = |Bound { name, cursor: Cursor { origin, .. }, .. }: &Bound| {
            name.is_none() && may_be(origin) && is_longer(origin)
        };
        if !is_met && first.first == 0 && self.bounds.iter().any(is_short) {
            return;
        }
        if !is_met {
            self.meet();
        }
        self.ready.extend(self.held.drain(..));
    }

    fn held_bytes(&self) -> u64 {
        self.held.iter().map(|chunk| chunk.data.len() as u64).sum()
    }

    fn is_met(&self, name: &Arc<str>) -> bool {
        self.bounds.iter().any(|bound| bound.name.as_ref() == Some(name))
    }

    /// Ends a file that is shorter than one that it might have been: it is another one of those that were exported, or none.
    fn end_held(&mut self) {
        let Some(first) = self.held.first() else { return };
        let (name, bytes) = (first.extent.origin.name.clone(), self.held_bytes());
        self.meet();
        if self.is_met(&name) {
            return self.ready.extend(self.held.drain(..));
        }
        self.held.clear();
        let is_named = |bound: &&mut Bound| bound.cursor.origin.name == name;
        self.bounds.iter_mut().filter(is_named).for_each(|bound| bound.short = Some(bytes));
    }

    /// Finds the bound of the file whose first chunks are held. There is none where none of it was exported.
    fn meet(&mut self) {
        let Extent { first, origin, .. } = &self.held[0].extent;
        let most = self.bounds.iter().map(|bound| bound.cursor.origin.hashed as usize).max().unwrap_or(0);
        let head: Vec<u8> = self.held.iter().flat_map(|chunk| &chunk.data).take(most).copied().collect();
        let begins = |known: &Origin| match head.get(..known.hashed as usize) {
            _ if *first > 0 => false,
            _ if known.hashed == origin.hashed => known.hash == origin.hash,
            head => head.is_some_and(|head| hash(head) == known.hash),
        };
        let place = |is_meant: &dyn Fn(&Origin) -> bool| {
            let is_it =
                |bound: &Bound| bound.name.is_none() && is_meant(&bound.cursor.origin) && begins(&bound.cursor.origin);
            self.bounds.iter().position(is_it)
        };
        let named = place(&|known| known.name == origin.name);
        // It has another name since it was exported last.
        let at = named.or_else(|| place(&|known| is_inode_of(known, origin)));
        if let Some(at) = at {
            self.bounds[at].name = Some(origin.name.clone());
        }
    }
}

impl Reader for BoundedReader {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        loop {
            while let Some(chunk) = self.ready.pop_front() {
                let is_of = |bound: &&mut Bound| bound.name.as_ref() == Some(&chunk.extent.origin.name);
                if let Some(bound) = self.bounds.iter_mut().find(is_of)
                    && let Some(chunk) = bound.cut(chunk)?
                {
                    return Ok(Read::Chunk(chunk));
                }
            }
            if self.bounds.iter().all(Bound::is_reached) {
                return Ok(Read::End);
            }
            let read = if self.has_ended { Read::End } else { self.reader.read(wait)? };
            match read {
                // A file that was renamed is met with its first bytes.
                Read::Chunk(chunk) if chunk.data.is_empty() => {}
                Read::Chunk(chunk) => self.take(chunk),
                Read::End => {
                    self.has_ended = true;
                    self.end_held();
                    if !self.ready.is_empty() {
                        continue;
                    }
                    let faults: Vec<_> = self.bounds.iter().filter_map(Bound::fault).collect();
                    return if faults.is_empty() { Ok(Read::End) } else { Err(lost(&faults)) };
                }
                other => return Ok(other),
            }
        }
    }

    fn committed(&mut self, position: &Position) -> Result<()> {
        self.reader.committed(position)
    }

    fn warnings(&mut self) -> Vec<String> {
        self.reader.warnings()
    }
}

/// Tells whether a file has the inode of one that was exported. Not every source has inodes.
fn is_inode_of(known: &Origin, found: &Origin) -> bool {
    known.inode == found.inode && found.inode != 0
}

/// The error for files that do not hold any more what was exported of them.
fn lost(faults: &[String]) -> Error {
    let shown = faults.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more =
        if faults.len() > MOST_NAMES { format!(", and {} more", faults.len() - MOST_NAMES) } else { String::new() };
    Error::source(format!("what was exported cannot be read again: {shown}{more}"))
        .with_help("put those files back as they were when they were exported, then run again")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::Framing;

    /// Hands out chunks, then ends.
    struct Chunks(VecDeque<Chunk>);

    impl Reader for Chunks {
        fn read(&mut self, _wait: Duration) -> Result<Read> {
            Ok(self.0.pop_front().map_or(Read::End, Read::Chunk))
        }

        fn committed(&mut self, _position: &Position) -> Result<()> {
            Ok(())
        }

        fn warnings(&mut self) -> Vec<String> {
            Vec::new()
        }
    }

    fn origin(name: &str, inode: u64, head: &str) -> Arc<Origin> {
        Arc::new(Origin { name: name.into(), inode, hashed: head.len() as u32, hash: hash(head.as_bytes()) })
    }

    fn chunk(origin: Arc<Origin>, first: u64, text: &'static str) -> Chunk {
        let extent = Extent::new(origin, first, first + text.len() as u64);
        Chunk { data: Bytes::from_static(text.as_bytes()), extent, framing: Framing::Lines }
    }

    fn cursor(origin: Arc<Origin>, before: &str) -> Cursor {
        let (next, tail) = (before.len() as u64, Tail::of(before.as_bytes()));
        Cursor { origin, next, tail, copied: false, mark: None, ids: Default::default() }
    }

    /// The texts that are read of `chunks` up to `until`.
    fn read(until: Vec<Cursor>, chunks: Vec<Chunk>) -> Result<Vec<Bytes>> {
        Ok(read_chunks(until, chunks)?.into_iter().map(|chunk| chunk.data).collect())
    }

    fn read_chunks(until: Vec<Cursor>, chunks: Vec<Chunk>) -> Result<Vec<Chunk>> {
        let mut reader = BoundedReader::new(Box::new(Chunks(chunks.into())), &Position { cursors: until });
        let mut chunks = Vec::new();
        while let Read::Chunk(chunk) = reader.read(Duration::ZERO)? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[test]
    fn what_came_after_the_position_is_not_read() {
        let (a, b) = (origin("/in/a", 1, "1\n"), origin("/in/b", 2, "x\n"));
        let texts = read(
            vec![cursor(a.clone(), "1\n2\n3\n")],
            vec![chunk(a.clone(), 0, "1\n2\n"), chunk(a.clone(), 4, "3\n4\n"), chunk(b, 0, "x\n"), chunk(a, 8, "5\n")],
        );
        assert_eq!(texts.unwrap(), ["1\n2\n", "3\n"]);
    }

    #[test]
    fn a_renamed_file_is_read_and_one_that_has_its_name_is_not() {
        let before = cursor(origin("/in/a", 1, "1\n"), "1\n2\n");
        let chunks = vec![
            chunk(origin("/in/a", 2, "new"), 0, "new\n"),
            chunk(origin("/in/a.1", 1, "1\n2\n3\n"), 0, "1\n2\n3\n"),
        ];
        let read = read_chunks(vec![before.clone()], chunks).unwrap();
        assert_eq!(read.iter().map(|chunk| &chunk.data[..]).collect::<Vec<_>>(), [b"1\n2\n"]);
        assert_eq!(read[0].extent.origin, before.origin, "under the name that it had");
    }

    #[test]
    fn nothing_is_read_behind_the_last_bound() {
        let a = origin("/in/a", 1, "1\n");
        let until = Position { cursors: vec![cursor(a.clone(), "1\n")] };
        let chunks = Chunks([chunk(a.clone(), 0, "1\n"), chunk(a, 2, "2\n")].into());
        let mut reader = BoundedReader::new(Box::new(chunks), &until);
        assert!(matches!(reader.read(Duration::ZERO), Ok(Read::Chunk(_))));
        assert!(matches!(reader.read(Duration::ZERO), Ok(Read::End)));
        assert!(matches!(reader.reader.read(Duration::ZERO), Ok(Read::Chunk(_))), "it was left unread");
    }

    #[test]
    fn a_file_that_comes_in_short_pieces_is_compared_once_there_is_enough_of_it() {
        let (known, first) = (origin("/in/a.gz", 1, "1\n2\n3\n"), origin("/in/a.gz", 9, "1\n"));
        let until = || vec![cursor(known.clone(), "1\n2\n3\n4\n")];
        let pieces = |second| vec![chunk(first.clone(), 0, "1\n"), chunk(first.clone(), 2, second)];
        assert_eq!(read(until(), pieces("2\n3\n4\n5\n")).unwrap(), ["1\n", "2\n3\n4\n"]);
        assert!(read(until(), pieces("0\n3\n4\n5\n")).unwrap_err().message.ends_with("`/in/a.gz` is gone"));
    }

    #[test]
    fn a_short_file_is_not_taken_for_the_one_that_had_its_name() {
        let (old, new) = (origin("/in/a", 1, "1\n2\n3\n"), origin("/in/a", 2, "1\n"));
        let until = || vec![cursor(old.clone(), "1\n2\n3\n4\n")];
        let renamed = chunk(origin("/in/a.1", 1, "1\n2\n3\n"), 0, "1\n2\n3\n4\n");
        for chunks in [vec![chunk(new.clone(), 0, "1\n"), renamed.clone()], vec![renamed, chunk(new.clone(), 0, "1\n")]]
        {
            assert_eq!(read(until(), chunks).unwrap(), ["1\n2\n3\n4\n"]);
        }
        let error = read(until(), vec![chunk(new, 0, "1\n")]).unwrap_err();
        assert!(
            error.message.ends_with("`/in/a` has 2 of 8 bytes: it was truncated, or is another file now"),
            "{error}"
        );
    }

    #[test]
    fn a_renamed_file_that_comes_in_short_pieces_is_met_once_there_is_enough_of_it() {
        let (known, found) = (origin("/in/a.gz", 1, "1\n2\n3\n"), origin("/in/b.gz", 1, "1\n2\n3\n4\n"));
        let pieces = vec![chunk(found.clone(), 0, "1\n"), chunk(found, 2, "2\n3\n4\n")];
        assert_eq!(read(vec![cursor(known, "1\n2\n3\n")], pieces).unwrap(), ["1\n", "2\n3\n"]);
    }

    #[test]
    fn a_renamed_file_that_is_shorter_than_the_one_that_had_its_name_is_met() {
        let (a, first) = (origin("/in/a", 1, "1\n"), origin("/in/a.1", 2, "5\n6\n7\n"));
        let until = || vec![cursor(a.clone(), "1\n"), cursor(first.clone(), "5\n6\n7\n")];
        let (renamed, second) = (origin("/in/a.1", 1, "1\n"), origin("/in/a.2", 2, "5\n6\n7\n"));
        let (renamed, second) = (chunk(renamed, 0, "1\n"), chunk(second, 0, "5\n6\n7\n"));
        assert_eq!(read(until(), vec![renamed.clone(), second.clone()]).unwrap(), ["1\n", "5\n6\n7\n"]);
        assert_eq!(read(until(), vec![second, renamed]).unwrap(), ["5\n6\n7\n", "1\n"]);
    }

    #[test]
    fn what_was_copied_is_read_from_its_copy() {
        let (old, copy) = (origin("/in/a", 1, "1\n"), origin("/in/a.1", 2, "1\n"));
        let copied = Cursor { copied: true, ..cursor(old.clone(), "1\n") };
        let chunks = vec![chunk(old, 0, "1\n"), chunk(copy.clone(), 0, "1\n2\n")];
        assert_eq!(read(vec![copied, cursor(copy, "1\n2\n")], chunks).unwrap(), ["1\n2\n"]);
    }

    #[test]
    fn files_that_do_not_hold_what_they_held_are_named() {
        let a = origin("/in/a", 1, "1\n");
        let until = || vec![cursor(a.clone(), "1\n2\n3\n")];
        for (chunks, fault) in [
            (vec![], "`/in/a` is gone"),
            (vec![chunk(a.clone(), 0, "1\n2\n")], "`/in/a` has 4 of 6 bytes"),
            (vec![chunk(a.clone(), 0, "1\n2\n4\n5\n")], "`/in/a` was changed"),
            (vec![chunk(a.clone(), 0, "2\n2\n3\n")], "`/in/a` was changed"),
            (vec![chunk(origin("/in/a", 1, "2\n"), 0, "2\n2\n3\n")], "`/in/a` is gone"),
        ] {
            let error = read(until(), chunks).unwrap_err();
            assert!(error.message.ends_with(fault), "{error}");
        }
    }
}
