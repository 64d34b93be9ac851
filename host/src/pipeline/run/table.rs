//! The table of an export of changes: what a span changed goes into it, and a snapshot of what is new comes out.
//!
//! A snapshot is written once a period at most, so that a key stands in a period's files once: what changes after it waits in
//! the table, and with the commit, for the first span of a later period. The first snapshot waits until the source was read to
//! its end: it holds everything there is.

use tokio::sync::mpsc;

use crate::commit::{Content, Object, Publication};
use crate::dataset::DatasetState;
use crate::error::{Error, Kind, Result};
use crate::layout::Period;
use crate::pipeline::changes;
use crate::plan::Granularity;
use crate::table::{self, Apply, Cache, Document, Emit, RowTerms, Run, TableState};

/// Bytes of dead letters of one snapshot: they wait in memory.
pub(super) const MAX_SNAPSHOT_LETTERS: usize = 64 << 20;

/// The documents of a run's export, as of the last span that ended.
pub struct Table {
    state: TableState,
    cache: Cache,
    mark_deletes: bool,
    granularity: Granularity,
    /// The state holds something that no commit does.
    unsaved: bool,
}

/// What a span made of the table.
#[derive(Debug)]
pub struct Tabled {
    pub state: Kept,
    /// The objects that it wrote besides the span's files, in the order in which they are published; and those that it made
    /// superfluous.
    pub written: Vec<Object>,
    pub obsolete: Vec<String>,
}

/// What an export keeps.
#[derive(Debug)]
pub enum Kept {
    Table(TableState),
    Dataset(Box<DatasetState>),
}

/// A file of a table's state, as its commit has it.
pub fn state_object(run: Run) -> Object {
    Object {
        key: run.key.clone(),
        content: Content::Staged(run.key),
        length: run.length,
        sha256: run.sha256,
        rows: run.entries,
        publication: Publication::Segment,
    }
}

impl Table {
    /// The table as the last commit has it. `full`: the next snapshot shall hold every document.
    pub fn new(state: TableState, mark_deletes: bool, granularity: Granularity, full: bool) -> Self {
        let unsaved = full && !state.full;
        let state = TableState { full: state.full || full, ..state };
        Table { state, cache: Cache::default(), mark_deletes, granularity, unsaved }
    }

    /// Whether a snapshot would be written at `now`, in microseconds since 1970-01-01T00:00:00Z.
    pub fn is_due(&self, now: i64) -> bool {
        self.has_news() && self.is_free(now)
    }

    /// Whether something has to be committed though nothing was read.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// What waits for the next snapshot at `now`, for people; `None` where nothing does.
    pub fn note(&self, now: i64) -> Option<String> {
        if !self.has_news() {
            return None;
        }
        let what = match self.state.full {
            true => "a full snapshot waits".to_owned(),
            false => format!("{} changed keys wait", self.state.waiting),
        };
        let Some(until) = self.state.written_until else {
            return Some(format!("{what} for the first snapshot, which needs all of the source: run again"));
        };
        let time = chrono::DateTime::from_timestamp_micros(until)?.format("%Y-%m-%dT%H:%MZ");
        let when = if now < until { format!(" at {time} or later") } else { String::new() };
        Some(format!("{what} for the next snapshot: run again{when}, or use --follow"))
    }

    fn has_news(&self) -> bool {
        self.state.full || self.state.waiting > 0
    }

    /// Whether the period of `time` has no snapshot yet.
    fn is_free(&self, time: i64) -> bool {
        self.state.written_until.is_none_or(|until| time >= until)
    }

    /// What the span that is written at `write_time` and ends now writes of the table.
    fn emit(&self, write_time: i64, now: i64, caught_up: bool, has_reached: bool, last: bool) -> Emit {
        let complete = match self.state.written_until {
            None => has_reached,
            Some(_) => caught_up || last || now >= Period::of(write_time, self.granularity).end(),
        };
        match self.state.full {
            _ if !complete || !self.is_free(write_time) => Emit::Nothing,
            true => Emit::Everything,
            false => Emit::Waiting,
        }
    }
}

impl super::spans::Run<'_> {
    /// Applies the changes of the span under way to the table, and encodes the snapshot that is due, if one is.
    ///
    /// # Errors
    /// Of kind `Lake` or `Plugin`.
    pub(super) async fn write_table(&mut self, last: bool) -> Result<Tabled> {
        let now = self.surroundings.clock.now();
        let staged_key = format!("{}/table", self.stage_folder(self.number));
        let table = self.table.as_ref().expect("the caller saw it");
        let span = self.span.as_mut().expect("the caller has begun one");
        let context = span.context.clone();
        let write_time = context.moment.write_time;
        // What is replayed waits for the snapshot of the next run.
        let emit = match self.replay {
            Some(_) => Emit::Nothing,
            None => table.emit(write_time, now, self.caught_up, self.has_reached, last),
        };
        let (documents, mut received) = mpsc::channel::<Vec<Document>>(1);
        let changes = std::mem::take(&mut span.changes);
        let mark_deletes = table.mark_deletes;
        let request = Apply { changes, emit, mark_deletes, staged_key, rows: RowTerms::default() };
        let (lake, cache, state) = (self.lake.clone(), table.cache.clone(), table.state.clone());
        let apply = async move { table::apply(&lake, &cache, &state, request, &documents).await };
        let mut apply = std::pin::pin!(apply);
        let mut applied = None;
        let mut more = true;
        while more || applied.is_none() || !self.lanes.is_empty() {
            tokio::select! {
                processed = self.lanes.next(), if !self.lanes.is_empty() => {
                    self.take(processed?).await?;
                    self.check_letters()?;
                }
                batch = received.recv(), if more && self.lanes.has_room() => match batch {
                    Some(batch) => self.lanes.write_documents(changes::chunk(&self.plan.name, &batch), context.clone()),
                    None => more = false,
                },
                done = &mut apply, if applied.is_none() => applied = Some(done?),
            }
        }
        let applied = applied.expect("the loop waits for it");
        let mut state = applied.state;
        if emit != Emit::Nothing && applied.emitted > 0 {
            state.written_until = Some(Period::of(write_time, self.plan.granularity).end());
        }
        if emit != Emit::Nothing {
            state.full = false;
        }
        let table = self.table.as_mut().expect("the caller saw it");
        table.state = state.clone();
        table.unsaved = false;
        let written = applied.written.map(state_object).into_iter().collect();
        Ok(Tabled { state: Kept::Table(state), written, obsolete: applied.obsolete })
    }

    /// A snapshot cannot be cut as a span is: it ends where more documents are refused than can be held.
    fn check_letters(&self) -> Result<()> {
        match &self.span {
            Some(span) if span.letters.len() >= MAX_SNAPSHOT_LETTERS => {
                let count = span.letter_count;
                let message = format!("{count} documents of the snapshot were refused, too many to be dead letters");
                Err(Error::new(Kind::Data, message).with_help(
                    "nothing of the snapshot was committed: let the format fit the documents, then run again",
                ))
            }
            _ => Ok(()),
        }
    }
}
