//! What a span has written so far, file by file, and what becomes of the files when it ends. Pure: the bytes are elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::entry::{Part, Pending, Series, Tail};
use super::files::{File, forget_old};
use crate::plan::Files;
use crate::plugin::FileId;

/// Counts for every file of one span.
#[derive(Debug, Default)]
pub struct Ledger {
    files: BTreeMap<FileId, Written>,
}

#[derive(Debug)]
struct Written {
    file: Arc<File>,
    rows: u64,
    header: u64,
    length: u64,
}

/// How a span ends.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    pub mode: Files,
    /// [`Series::format`] of what the span wrote.
    pub format: &'a str,
    /// Where the span's files are staged, by id.
    pub stage_folder: &'a str,
    /// The commit's. Microseconds since 1970-01-01T00:00:00Z.
    pub write_time: i64,
    /// Sealed files whose period ended up to here are put together, and all that wait where `mode` seals none. Microseconds
    /// since 1970-01-01T00:00:00Z.
    pub due: i64,
}

/// What becomes of a span's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Files with at least one row, in the order in which they were begun.
    pub files: BTreeMap<FileId, Fate>,
    /// Files that are put together from segments of this span and of earlier ones.
    pub seals: Vec<Seal>,
    /// Rows and bytes that were encoded, and files that readers will see appear or grow.
    pub rows: u64,
    pub bytes: u64,
    pub visible: u64,
}

/// What becomes of one file, and how many rows this span wrote to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fate {
    pub rows: u64,
    pub publication: FatePublication,
}

/// How one file of a span becomes visible.
#[derive(Debug, PartialEq, Eq)]
pub enum FatePublication {
    /// At a key of its own.
    New(String),
    /// As a part that is final.
    Part(Part),
    /// As a part that may grow, in the place of what it extends.
    Grow(Part),
    /// Not yet.
    Segment,
}

/// A file to be put together.
#[derive(Debug, PartialEq, Eq)]
pub struct Seal {
    pub part: Part,
    pub segments: Vec<Pending>,
}

impl Ledger {
    /// Notes `rows` and `length` bytes that were encoded for `file`.
    pub fn add(&mut self, file: &Arc<File>, rows: u32, length: usize) {
        let written = self.written(file);
        written.rows += u64::from(rows);
        written.length += length as u64;
    }

    /// Notes the length of the header that `file` has where it begins an object.
    pub fn add_header(&mut self, file: &Arc<File>, length: usize) {
        self.written(file).header = length as u64;
    }

    fn written(&mut self, file: &Arc<File>) -> &mut Written {
        let none = || Written { file: file.clone(), rows: 0, header: 0, length: 0 };
        self.files.entry(file.id).or_insert_with(none)
    }

    /// How many rows were written to a file.
    pub fn rows(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, |written| written.rows)
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The series of files with rows that `state` knows nothing of.
    pub fn unknown<'a>(&'a self, state: &'a BTreeMap<String, Series>, mode: Files) -> impl Iterator<Item = &'a str> {
        let files = self.files.values().filter(move |written| written.rows > 0 && mode != Files::Once);
        files.map(|written| written.file.series.as_str()).filter(|series| !state.contains_key(*series))
    }

    /// Ends the span: moves `series` on to the state after it, and says what becomes of its files.
    ///
    /// `extended` are the parts that files go on with. `series` knows every series, at least how many parts it has.
    pub fn close(
        self,
        series: &mut BTreeMap<String, Series>,
        extended: &HashMap<FileId, Tail>,
        ending: Ending<'_>,
    ) -> Closing {
        let Ending { mode, format, stage_folder, write_time, due } = ending;
        let mut closing = Closing::default();
        for (id, Written { file, rows, header, length }) in self.files {
            if rows == 0 {
                // Nothing but a beginning: every record was rejected. No empty files.
                continue;
            }
            if mode == Files::Once {
                let publication = FatePublication::New(file.series.clone());
                closing.note(id, Fate { rows, publication }, header + length);
                continue;
            }
            let state = series.entry(file.series.clone()).or_default();
            let is_collecting = state.is_collecting(mode, format);
            if !state.pending.is_empty() && !is_collecting {
                closing.seals.push(seal(&file.series, state));
                closing.visible += 1;
            }
            (state.ends, state.touched) = (file.ends, write_time);
            let tail = extended.get(&id);
            let length = if tail.is_some() || is_collecting { length } else { header + length };
            let part = Part { series: file.series.clone(), part: tail.map_or(state.parts, |tail| tail.part) };
            let publication = match mode {
                Files::Rolling => {
                    state.parts = part.part + 1;
                    FatePublication::Part(part)
                }
                Files::Growing { roll_size } => {
                    let whole = length + tail.map_or(0, |tail| tail.length);
                    let header = tail.map_or(Some(header), |tail| tail.header);
                    state.parts = state.parts.max(part.part + 1);
                    state.tail = (whole < roll_size).then_some(Tail { part: part.part, length: whole, header });
                    FatePublication::Grow(part)
                }
                Files::Once => unreachable!("dealt with above"),
                Files::Sealed { .. } => {
                    state.pending.push(Pending { staged: staged_key(stage_folder, id), length, rows });
                    FatePublication::Segment
                }
            };
            state.note_format(format);
            closing.note(id, Fate { rows, publication }, length);
        }
        closing.seal(series, stage_folder, sealed_up_to(mode, due));
        forget_old(series, write_time);
        closing
    }
}

impl Closing {
    fn note(&mut self, id: FileId, fate: Fate, length: u64) {
        self.rows += fate.rows;
        self.bytes += length;
        self.visible += u64::from(fate.publication != FatePublication::Segment);
        self.files.insert(id, fate);
    }

    fn seal(&mut self, series: &mut BTreeMap<String, Series>, stage_folder: &str, due: i64) {
        for (path, state) in series.iter_mut().filter(|(_, state)| !state.pending.is_empty() && state.ends <= due) {
            let seal = seal(path, state);
            self.visible += 1;
            // One segment, and it is of this very span: it is the file.
            let own = |id: FileId| seal.segments.len() == 1 && seal.segments[0].staged == staged_key(stage_folder, id);
            match self.files.iter_mut().find(|(id, _)| own(**id)) {
                Some((_, fate)) => fate.publication = FatePublication::Part(seal.part),
                None => self.seals.push(seal),
            }
        }
    }
}

impl Series {
    /// Remembers what its unfinished file is encoded with, as long as there is one.
    fn note_format(&mut self, format: &str) {
        let is_unfinished = self.tail.is_some() || !self.pending.is_empty();
        self.format = if is_unfinished { format.to_owned() } else { String::new() };
    }
}

/// Makes the next part of what waits in `state`.
fn seal(series: &str, state: &mut Series) -> Seal {
    let part = Part { series: series.to_owned(), part: state.parts };
    state.parts += 1;
    let segments = std::mem::take(&mut state.pending);
    state.note_format("");
    Seal { part, segments }
}

/// Whether a sealed file is due, so that a commit without records is worth making.
pub fn any_due(series: &BTreeMap<String, Series>, mode: Files, due: i64) -> bool {
    let due = sealed_up_to(mode, due);
    series.values().any(|state| !state.pending.is_empty() && state.ends <= due)
}

/// Segments of periods that ended up to here wait no longer. Where files are not sealed any more, none does.
fn sealed_up_to(mode: Files, due: i64) -> i64 {
    match mode {
        Files::Sealed { lateness } => due.saturating_sub(i64::try_from(lateness.as_micros()).unwrap_or(i64::MAX)),
        Files::Growing { .. } | Files::Rolling | Files::Once => i64::MAX,
    }
}

/// Where a file of a span is staged.
pub fn staged_key(stage_folder: &str, id: FileId) -> String {
    format!("{stage_folder}/{id}")
}
