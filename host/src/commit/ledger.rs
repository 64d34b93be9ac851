//! What a span has written so far, file by file, and what becomes of the files when it ends. Pure: the bytes are elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{Pending, Series, Tail};
use super::files::{File, forget_old};
use crate::layout::part_key;
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
    length: u64,
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
    /// It replaces the version it extends.
    Over,
    /// Not yet.
    Segment,
}

/// A file to be put together.
#[derive(Debug, PartialEq, Eq)]
pub struct Seal {
    pub key: String,
    pub segments: Vec<Pending>,
}

impl Ledger {
    /// Notes `rows` and `length` bytes that were encoded for `file`.
    pub fn add(&mut self, file: &Arc<File>, rows: u32, length: usize) {
        let written = self.files.entry(file.id).or_insert_with(|| Written { file: file.clone(), rows: 0, length: 0 });
        written.rows += u64::from(rows);
        written.length += length as u64;
    }

    /// How many rows were written to a file.
    pub fn rows(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, |written| written.rows)
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Ends the span: moves `series` on to the state after it, and says what becomes of its files.
    ///
    /// `stage_folder` is where the span's files are staged, by id. Sealed files whose period ended at or before
    /// `due` are put together, and all that wait where `mode` seals none. Times are microseconds since 1970-01-01T00:00:00Z.
    pub fn close(
        self,
        series: &mut BTreeMap<String, Series>,
        mode: Files,
        stage_folder: &str,
        write_time: i64,
        due: i64,
    ) -> Closing {
        let mut closing = Closing::default();
        for (id, Written { file, rows, length }) in self.files {
            if rows == 0 {
                // Nothing but a beginning: every record was rejected. No empty files.
                continue;
            }
            if mode == Files::Once {
                closing.note(id, Fate { rows, publication: FatePublication::New(file.key.clone()) }, length);
                continue;
            }
            let state =
                series.entry(file.series.clone()).or_insert_with(|| Series { parts: file.part, ..Series::default() });
            let goes_on = state.format == *file.format && matches!(mode, Files::Sealed { .. });
            if !state.pending.is_empty() && !goes_on {
                closing.seals.push(seal(&file.series, state));
                closing.visible += 1;
            }
            (state.ends, state.touched) = (file.ends, write_time);
            let publication = match mode {
                Files::Rolling => {
                    state.parts = file.part + 1;
                    FatePublication::New(file.key.clone())
                }
                Files::Growing { roll_size } => {
                    let length = length + file.tail.as_ref().map_or(0, |tail| tail.length);
                    state.parts = file.part + 1;
                    state.tail = (length < roll_size).then_some(Tail { part: file.part, length });
                    FatePublication::Over
                }
                Files::Once => unreachable!("dealt with above"),
                Files::Sealed { .. } => {
                    state.pending.push(Pending { staged: staged_key(stage_folder, id), length, rows });
                    FatePublication::Segment
                }
            };
            state.note_format(&file.format);
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
                Some((_, fate)) => fate.publication = FatePublication::New(seal.key),
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
    let key = part_key(series, state.parts);
    state.parts += 1;
    let segments = std::mem::take(&mut state.pending);
    state.note_format("");
    Seal { key, segments }
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
