//! Partitions of streams whose events somebody hands over: a function's trigger, which waits until they are in the lake.
//!
//! Events have sequence numbers, and the log of each (export, partition) says which came last. What is done already is answered
//! at once, an overlap is cut, and a gap is refused, so that the platform delivers what is missing first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use lakeport::error::Result;
use lakeport::plan::{ExportPlan, Input};
use lakeport::source::{Chunk, Extent, Framing, Local, Origin, Position, Read, ReadOptions, Reader, Source, Tail};
use tokio::sync::{Notify, oneshot};

/// Deliveries of a partition that may wait for their turn.
const WAITING: usize = 64;
/// A partition that nothing was delivered for this long is let go of.
const IDLE: Duration = Duration::from_secs(300);

/// Events of one partition, one after the other.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The sequence number of the first event; the others follow without a gap.
    pub first: u64,
    /// The number of the event before it, where that is known: between the two there is none.
    pub follows: Option<u64>,
    /// One event a line, each with its line feed.
    pub lines: Bytes,
    /// Where each line begins.
    pub starts: Arc<[u32]>,
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Events are missing before it: the next one is expected to be this.
    Gap { expected: u64 },
    /// Too many deliveries of the partition wait already.
    Busy,
    /// The export ended before the events were in the lake; its log says why.
    Ended,
}

/// A delivery on its way to a reader.
struct Handed {
    delivery: Delivery,
    done: Done,
}

/// Told what became of a delivery.
type Done = oneshot::Sender<std::result::Result<(), Refused>>;

/// The partitions that are delivered to, of all exports: a source for their runs.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Shared>);

#[derive(Default)]
struct Shared {
    partitions: Mutex<HashMap<Key, Partition>>,
    /// Told when a partition takes deliveries.
    opened: Notify,
    /// Readers that were opened: each has a number.
    readers: AtomicU64,
}

/// An export's name and a partition's.
type Key = (String, Arc<str>);

/// What is known of a partition that is at work, or about to be.
#[derive(Default)]
struct Partition {
    /// The number of its reader, and the reader's inbox.
    inbox: Option<(u64, SyncSender<Handed>)>,
    /// Everything before this sequence number is in the lake, as far as is known.
    published: u64,
    /// Who waits for the lake, and up to which sequence number.
    waiting: Vec<(u64, Done)>,
}

impl Deliveries {
    fn partitions(&self) -> MutexGuard<'_, HashMap<Key, Partition>> {
        self.0.partitions.lock().expect("nothing panics while it is held")
    }

    /// The inbox of a partition, where a run of it is at work.
    fn inbox(&self, key: &Key) -> Option<SyncSender<Handed>> {
        self.partitions().get(key)?.inbox.as_ref().map(|(_, inbox)| inbox.clone())
    }

    /// Whether a run of the partition takes deliveries.
    pub fn is_open(&self, export: &ExportPlan) -> bool {
        self.inbox(&key(export)).is_some()
    }

    /// Waits until a run of the partition takes deliveries.
    pub async fn opened(&self, export: &ExportPlan) {
        loop {
            let opened = self.0.opened.notified();
            if self.is_open(export) {
                return;
            }
            opened.await;
        }
    }

    /// Hands events over to the run of a partition, and waits until they are in the lake. `None` where no run takes them.
    pub async fn deliver(&self, export: &ExportPlan, delivery: Delivery) -> Option<std::result::Result<(), Refused>> {
        let inbox = self.inbox(&key(export))?;
        let (done, answer) = oneshot::channel();
        match inbox.try_send(Handed { delivery, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Some(Err(Refused::Busy)),
            Err(TrySendError::Disconnected(_)) => return None,
        }
        Some(answer.await.unwrap_or(Err(Refused::Ended)))
    }
}

fn key(export: &ExportPlan) -> Key {
    (export.name.clone(), export.partition.clone())
}

/// What sequence numbers of a partition count in.
fn origin(export: &ExportPlan) -> Arc<Origin> {
    let name = format!("partition:{}/{}", export.source.name, export.partition).into();
    Arc::new(Origin { name, inode: 0, hashed: 0, hash: String::new() })
}

impl Source for Deliveries {
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
        if export.source.input != Input::Http {
            return Local.open(export, from, options);
        }
        let (sender, inbox) = sync_channel(WAITING);
        let number = self.0.readers.fetch_add(1, Ordering::Relaxed);
        let origin = origin(export);
        let next = from.cursors.iter().find(|cursor| cursor.origin.name == origin.name).map(|cursor| cursor.next);
        let key = key(export);
        self.partitions().entry(key.clone()).or_default().inbox = Some((number, sender));
        self.0.opened.notify_waiters();
        Ok(Box::new(Inbox {
            deliveries: self.clone(),
            key,
            origin,
            inbox,
            next,
            asks: false,
            accepts_gaps: export.source.accepts_gaps,
            number,
            idle: IDLE,
        }))
    }

    fn published(&self, export: &ExportPlan, position: &Position) {
        let origin = origin(export);
        let Some(cursor) = position.cursors.iter().find(|cursor| cursor.origin.name == origin.name) else { return };
        let mut partitions = self.partitions();
        let partition = partitions.entry(key(export)).or_default();
        partition.published = cursor.next;
        for (_, done) in partition.waiting.extract_if(.., |(at, _)| *at <= cursor.next) {
            // Who does not wait any more is delivered to again, and told at once.
            let _ = done.send(Ok(()));
        }
    }
}

/// Reads what is delivered to one partition.
struct Inbox {
    deliveries: Deliveries,
    key: Key,
    origin: Arc<Origin>,
    inbox: Receiver<Handed>,
    /// The next sequence number; `None` where there never was one.
    next: Option<u64>,
    /// The commit of what was read is to be asked for.
    asks: bool,
    accepts_gaps: bool,
    number: u64,
    /// How long to wait for a delivery before the run ends.
    idle: Duration,
}

impl Inbox {
    /// Cuts what was read already off a delivery; `None` where nothing is left. Whoever delivered it waits for the lake.
    fn take(&mut self, Handed { delivery, done }: Handed) -> Option<Chunk> {
        let Delivery { first, follows, lines, starts } = delivery;
        let end = first + starts.len() as u64;
        let mut next = self.next.unwrap_or(first);
        if first > next {
            if !self.accepts_gaps && follows.is_none_or(|before| before >= next) {
                let _ = done.send(Err(Refused::Gap { expected: next }));
                return None;
            }
            if follows.is_none_or(|before| before >= next) {
                let name = &self.origin.name;
                tracing::warn!("`{name}`: events {next} to {} were never delivered, and gaps are accepted", first - 1);
            }
            next = first;
        }
        {
            let mut partitions = self.deliveries.partitions();
            let partition = partitions.entry(self.key.clone()).or_default();
            match end <= partition.published {
                true => _ = done.send(Ok(())),
                false => partition.waiting.push((end, done)),
            }
        }
        if end <= next {
            return None;
        }
        self.asks = true;
        // No more events than have a place in memory.
        let known = (next - first) as usize;
        let cut = starts[known];
        let starts = starts[known..].iter().map(|start| start - cut).collect();
        self.next = Some(end);
        let data = lines.slice(cut as usize..);
        let extent = Extent {
            origin: self.origin.clone(),
            first: next,
            next: end,
            dropped: 0,
            tail: Tail::of(&data),
            copy_of: None,
        };
        Some(Chunk { data, extent, framing: Framing::Numbered(starts) })
    }
}

impl Reader for Inbox {
    fn read(&mut self, wait: Duration) -> Result<Read> {
        if std::mem::take(&mut self.asks) {
            return Ok(Read::Commit);
        }
        Ok(match self.inbox.recv_timeout(wait) {
            Ok(handed) => {
                self.idle = IDLE;
                self.take(handed).map_or(Read::Commit, Read::Chunk)
            }
            Err(RecvTimeoutError::Disconnected) => Read::End,
            Err(RecvTimeoutError::Timeout) => {
                self.idle = self.idle.saturating_sub(wait);
                if self.idle.is_zero() { Read::End } else { Read::Idle }
            }
        })
    }

    /// [`Source::published`] tells those who wait.
    fn committed(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Drop for Inbox {
    /// The run has ended: those who wait hear that their events are not in the lake, as far as is known.
    fn drop(&mut self) {
        let mut partitions = self.deliveries.partitions();
        let is_own = |partition: &Partition| partition.inbox.as_ref().is_none_or(|(number, _)| *number == self.number);
        if partitions.get(&self.key).is_some_and(is_own) {
            partitions.remove(&self.key);
        }
    }
}
