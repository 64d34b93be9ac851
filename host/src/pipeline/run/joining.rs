//! Tables that were linked when their source had been read already: a second reader brings their records, from the beginning,
//! while the first one goes on with the records of the others.
//!
//! When the second reader has come to its end, and is nowhere behind the first, it is not needed any more: from where it was on,
//! the first reader's records are those tables' too.

use std::sync::mpsc;

use super::dataset::Dataset;
use super::spans::Run;
use crate::dataset::{Joining, TableEntry};
use crate::error::Result;
use crate::pipeline::feed::{Event, Feed};
use crate::plan::{Input, SourcePlan};
use crate::source::{Chunk, Cursor, Extent, Origin, Position, ReadOptions, is_gone};

/// Whose records of a chunk are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Takes {
    #[default]
    All,
    /// Those of tables that catch up are not.
    Others,
    /// Only those of tables that catch up are.
    Joining,
}

/// The second reader.
pub(super) struct Second {
    feed: Option<Feed>,
    /// It was opened when the first one stood still already.
    last: bool,
}

impl Second {
    /// The next event; pending for ever where there is none. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Event> {
        match &mut self.feed {
            Some(feed) => feed.next().await,
            None => std::future::pending().await,
        }
    }

    /// Whether tables are still catching up.
    pub fn is_at_work(&self) -> bool {
        self.feed.is_some()
    }
}

impl Dataset {
    /// Lets tables that are new catch up, where the others have read something. `new`: their names; `now`: when their
    /// files' place is taken.
    pub(super) fn let_join(&mut self, new: Vec<String>, source: &SourcePlan, read: &Position, now: i64) {
        if new.is_empty() || read.cursors.is_empty() || !matches!(source.input, Input::Files(_)) {
            return;
        }
        // Those that are not where the others are begin once more, so that all of them are at one place.
        let mut joining = self.state.joining.take().unwrap_or_default();
        joining.tables.extend(new);
        for name in &joining.tables {
            if let (Some(entry), Some(plan)) = (self.state.tables.get_mut(name), self.plan.tables.get(name)) {
                let before = std::mem::replace(entry, TableEntry::new(name, plan));
                self.obsolete.extend(before.state_objects().map(str::to_owned));
                entry.inherit_files(before, now);
            }
        }
        self.state.joining = Some(Joining { tables: joining.tables, ..Joining::default() });
    }

    /// The tables that catch up, where they have not arrived yet.
    fn catching_up(&self) -> Option<&Joining> {
        self.state.joining.as_ref().filter(|joining| !joining.arrived)
    }

    /// Whether a table's records of such a chunk are taken.
    pub(super) fn takes(&self, table: &str, takes: Takes) -> bool {
        let joins = self.state.joining.as_ref().is_some_and(|joining| joining.tables.contains(table));
        match takes {
            Takes::All => true,
            Takes::Others => !joins,
            Takes::Joining => joins,
        }
    }

    /// The part of a chunk of the first reader that tables which have arrived had already, and the rest of it.
    pub(super) fn divide(&self, chunk: Chunk) -> Vec<(Chunk, Takes)> {
        let Some(joining) = &self.state.joining else { return vec![(chunk, Takes::All)] };
        if !joining.arrived {
            return vec![(chunk, Takes::Others)];
        }
        let Extent { first, next, .. } = chunk.extent;
        match find(&joining.position, &chunk.extent.origin).map_or(0, |cursor| cursor.next) {
            had if had <= first => vec![(chunk, Takes::All)],
            had if had >= next => vec![(chunk, Takes::Others)],
            had => match chunk.split_at(had) {
                (before, Some(after)) => vec![(before, Takes::Others), (after, Takes::All)],
                (whole, None) => vec![(whole, Takes::Others)],
            },
        }
    }

    /// Nothing is left to catch up with once the first reader is where the second one was.
    pub(super) fn settle(&mut self, position: &Position) {
        let is_passed = |joining: &mut Joining| joining.arrived && covers(position, &joining.position);
        let _ = self.state.joining.take_if(is_passed);
    }
}

impl Run<'_> {
    /// The second reader, where tables have to catch up.
    ///
    /// # Errors
    /// Of kind `Source`.
    pub(super) fn second(&self) -> Result<Second> {
        let catching_up = self.dataset.as_ref().filter(|_| self.replay.is_none()).and_then(Dataset::catching_up);
        let feed = match catching_up {
            None => None,
            Some(joining) => {
                let read = ReadOptions { live: Default::default(), ..self.read.clone() };
                let reader = self.source.open(&self.plan, &joining.position, read)?;
                // Nothing of it is ever final: the first reader keeps what has to be kept.
                let (_, finals) = mpsc::channel();
                Some(Feed::start(reader, finals, self.plan.flush.bytes)?)
            }
        };
        Ok(Second { feed, last: false })
    }

    /// Takes in an event of the second reader. Answers whether the first one has to wait for it.
    ///
    /// What the second reader says of its end may be older than what the first one has read since, for events wait in a queue. So
    /// it is opened once more, while the first one stands still: what it says then holds for all that the first one had.
    ///
    /// # Errors
    /// Of kind `Source`.
    pub(super) fn caught(&mut self, event: Event, second: &mut Second) -> Result<bool> {
        if let Event::Chunk(chunk) = event {
            self.send_to_joining(chunk);
            return Ok(second.last && !self.arrive(second, false));
        }
        if !self.arrive(second, second.last) {
            *second = self.second()?;
            second.last = true;
        }
        Ok(second.last && second.is_at_work())
    }

    fn send_to_joining(&mut self, chunk: Chunk) {
        let bytes = chunk.data.len() as u64;
        let span = self.span_under_way();
        span.encoded += bytes;
        let context = span.context.clone();
        if let Some(joining) = self.dataset.as_mut().and_then(|dataset| dataset.state.joining.as_mut()) {
            joining.position.advance(&chunk.extent);
        }
        self.lanes.send(chunk, Takes::Joining, context);
    }

    /// Notes that the tables have caught up, where the second reader is nowhere behind the first, or `anyway`.
    fn arrive(&mut self, second: &mut Second, anyway: bool) -> bool {
        let Some(dataset) = &mut self.dataset else { return true };
        let Some(joining) = dataset.state.joining.as_mut().filter(|joining| !joining.arrived) else { return true };
        if anyway || covers(&joining.position, &self.position) {
            joining.arrived = true;
            dataset.unsaved = true;
            second.feed = None;
        }
        joining.arrived
    }
}

/// Whether a reader at `position` has read all that one at `other` had, but for files that are gone.
fn covers(position: &Position, other: &Position) -> bool {
    other.cursors.iter().all(|cursor| {
        let reached = find(position, &cursor.origin).is_some_and(|known| known.next >= cursor.next);
        reached || is_gone(&cursor.origin.name)
    })
}

/// How far `origin` was read, under whatever name it had.
fn find<'p>(position: &'p Position, origin: &Origin) -> Option<&'p Cursor> {
    position.cursors.iter().find(|cursor| cursor.origin.is_same(origin))
}
