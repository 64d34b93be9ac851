//! Reads what is delivered to one partition.
//!
//! - Events have sequence numbers: what is known is cut off. Where the numbers count the events, a gap is refused, so that what is
//!   missing comes first.
//! - Messages come in no order and are recognised by their IDs, of which the position holds the last ones.
//! - An object is read to its end; then it is recognised by its URL and version, as a message is by its ID.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use lakeport::error::Result;
use lakeport::plan::ExportPlan;
use lakeport::source::{Chunk, Extent, Framing, MessageId, Origin, Position, Read, Reader, RecentIds, Tail};

use crate::deliveries::{Deliveries, Done, Handed, Key};
use crate::delivery::{Delivery, EventRun, Message, Refused, Taken};
use crate::events::Events;
use crate::objects::{Begun, Objects, Step};

/// A partition that nothing was delivered for this long is let go of.
const IDLE: Duration = Duration::from_secs(300);
/// So many deliveries that wait already are committed together.
const TOGETHER: u32 = 128;

/// The reader of a partition's deliveries.
pub(crate) struct Inbox {
    deliveries: Deliveries,
    key: Key,
    number: u64,
    inbox: Receiver<Handed>,
    events: Events,
    messages: Arc<Origin>,
    next_message: u64,
    known: Known,
    objects: Objects,
    /// Who waits for the object that is being read.
    reading: Option<Done>,
    /// Deliveries whose commit is to be asked for.
    uncommitted: u32,
    /// How long to wait for a delivery before the run ends.
    idle: Duration,
}

impl Inbox {
    pub(crate) fn new(
        deliveries: Deliveries,
        (key, number): (Key, u64),
        inbox: Receiver<Handed>,
        export: &ExportPlan,
        from: &Position,
        longest: usize,
    ) -> Inbox {
        let place = format!("{}/{}", export.source.name, export.partition);
        let messages = Arc::new(Origin::named(format!("messages:{place}")));
        let read = from.cursor(&messages.name);
        Inbox {
            events: Events::new(&place, from, export.source.accepts_gaps),
            next_message: read.map_or(0, |cursor| cursor.next),
            known: Known::new(read.map(|cursor| &cursor.ids)),
            objects: Objects::new(export, &place, from, longest),
            deliveries,
            key,
            number,
            inbox,
            messages,
            reading: None,
            uncommitted: 0,
            idle: IDLE,
        }
    }

    /// Begins with a delivery. Whoever delivered it waits for the lake; there is no chunk where nothing in it is new.
    fn take(&mut self, handed: Handed) -> Option<Chunk> {
        let delivery = handed.take()?;
        let done = handed.done;
        match delivery {
            Delivery::Events(events) => self.take_events(events, handed.since, done),
            Delivery::Messages(messages) => self.take_messages(&messages, done),
            Delivery::Object(object) => {
                match self.objects.begin(&object) {
                    Begun::Reading => self.reading = Some(done),
                    Begun::Known => self.await_objects(done),
                    Begun::Gone { why, chunk } => {
                        self.deliveries.stats().object_gone();
                        tracing::warn!("{why}: it is passed over");
                        self.await_objects(done);
                        return chunk;
                    }
                    Begun::Failed(error) => _ = done.send(Err(Refused::Failed(error))),
                }
                None
            }
        }
    }

    fn take_events(&mut self, run: EventRun, since: u64, done: Done) -> Option<Chunk> {
        match self.events.take(run, self.number >= since, self.deliveries.stats()) {
            Ok(placed) => {
                let up_to = (self.events.origin(), placed.up_to);
                self.deliveries.when_published((&self.key, self.number), up_to, Taken::default(), done);
                placed.chunk
            }
            Err(refused) => {
                if matches!(refused, Refused::Stale) {
                    self.deliveries.retire(&self.key, self.number);
                }
                let _ = done.send(Err(refused));
                None
            }
        }
    }

    fn take_messages(&mut self, messages: &[Message], done: Done) -> Option<Chunk> {
        let (mut lines, mut starts, mut ids) = (BytesMut::new(), Vec::new(), Vec::new());
        let mut duplicates = 0;
        for message in messages {
            if let Some(id) = message.id {
                if !self.known.insert(id) {
                    duplicates += 1;
                    continue;
                }
                ids.push(id);
            }
            for line in message.lines.split_inclusive(|byte| *byte == b'\n') {
                // What is delivered at once fits into a request.
                starts.push(lines.len() as u32);
                lines.put_slice(line);
            }
            if !lines.ends_with(b"\n") && !message.lines.is_empty() {
                lines.put_u8(b'\n');
            }
        }
        let first = self.next_message;
        self.next_message += starts.len() as u64;
        // What came before may be a duplicate that is not in the lake yet.
        let position = format!("{}/{}", self.key.1, self.next_message);
        let up_to = (&self.messages, self.next_message);
        self.deliveries.when_published((&self.key, self.number), up_to, Taken { duplicates, position }, done);
        if !ids.is_empty() {
            self.known.trim(ids.len());
        }
        if starts.is_empty() {
            return None;
        }
        let extent = Extent { ids: ids.into(), ..Extent::new(self.messages.clone(), first, self.next_message) };
        let data = lines.freeze();
        let extent = Extent { tail: Tail::of(&data), ..extent };
        Some(Chunk { data, extent, framing: Framing::Numbered(starts.into()) })
    }

    /// The next chunk of the object that is being read, where there is one.
    fn read_object(&mut self, done: Done) -> Option<Chunk> {
        match self.objects.step() {
            Step::Chunk(chunk) => {
                self.reading = Some(done);
                Some(chunk)
            }
            Step::End { chunk, gone } => {
                if let Some(why) = gone {
                    self.deliveries.stats().object_gone();
                    tracing::warn!("{why}: what was read of it is kept");
                }
                self.await_objects(done);
                self.uncommitted += 1;
                Some(chunk)
            }
            Step::Failed(error) => {
                let _ = done.send(Err(Refused::Failed(error)));
                None
            }
        }
    }

    fn commit(&mut self) -> Read {
        self.uncommitted = 0;
        Read::Commit
    }

    /// Tells `done` once everything of all objects that were done with is in the lake.
    fn await_objects(&self, done: Done) {
        let done_with = self.objects.done_with();
        self.deliveries.when_published((&self.key, self.number), done_with, Taken::default(), done);
    }
}

impl Reader for Inbox {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        if let Some(done) = self.reading.take() {
            self.idle = IDLE;
            return Ok(match self.read_object(done) {
                Some(chunk) => Read::Chunk(chunk),
                // What was read of it is not read again.
                None => self.commit(),
            });
        }
        let wait = match self.uncommitted {
            0 => wait,
            1..TOGETHER => Duration::ZERO,
            TOGETHER.. => return Ok(self.commit()),
        };
        Ok(match self.inbox.recv_timeout(wait) {
            Ok(handed) => {
                self.idle = IDLE;
                match self.take(handed) {
                    Some(chunk) => {
                        self.uncommitted += 1;
                        Read::Chunk(chunk)
                    }
                    // It may wait for what was read and is not committed.
                    None => self.commit(),
                }
            }
            Err(RecvTimeoutError::Disconnected) => Read::End,
            Err(RecvTimeoutError::Timeout) if self.uncommitted > 0 => self.commit(),
            Err(RecvTimeoutError::Timeout) => {
                self.idle = self.idle.saturating_sub(wait);
                if self.idle.is_zero() { Read::End } else { Read::Idle }
            }
        })
    }

    /// [`lakeport::source::Source::published`] tells those who wait.
    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.deliveries.close(&self.key, self.number);
    }
}

/// The IDs of the last messages, to find one by.
pub(crate) struct Known {
    ids: HashSet<MessageId>,
    /// The oldest first.
    order: VecDeque<MessageId>,
}

impl Known {
    /// Some more than the log has: those that are not committed yet.
    const MOST: usize = 4 * RecentIds::WINDOW;

    pub(crate) fn new(recent: Option<&RecentIds>) -> Known {
        let order: VecDeque<_> = recent.into_iter().flat_map(RecentIds::iter).collect();
        Known { ids: order.iter().copied().collect(), order }
    }

    pub(crate) fn has(&self, id: &MessageId) -> bool {
        self.ids.contains(id)
    }

    /// Adds an ID; false where it was there.
    pub(crate) fn insert(&mut self, id: MessageId) -> bool {
        let is_new = self.ids.insert(id);
        if is_new {
            self.order.push_back(id);
        }
        is_new
    }

    /// Forgets the oldest IDs, but not those of the last delivery, which had `last` new ones.
    pub(crate) fn trim(&mut self, last: usize) {
        while self.order.len() > Known::MOST.max(last)
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_is_larger_than_the_window_is_recognised_whole() {
        let ids: Vec<MessageId> = (0..5 * Known::MOST as u128).map(|id| MessageId(id.to_le_bytes())).collect();
        let mut known = Known::new(None);
        assert!(ids.iter().all(|id| known.insert(*id)));
        known.trim(ids.len());
        for _ in 0..2 {
            assert!(!ids.iter().any(|id| known.insert(*id)), "it came again");
        }
        // The next one pushes it out.
        assert!(known.insert(MessageId([255; 16])));
        known.trim(1);
        assert_eq!((known.order.len(), known.ids.len()), (Known::MOST, Known::MOST));
        assert!(!known.has(&ids[0]) && known.has(&ids[ids.len() - 1]));
    }
}
