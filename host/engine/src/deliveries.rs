//! Partitions whose records somebody hands over and waits until they are in the lake: a function's trigger, a request.
//!
//! The log of each (export, partition) says what came before: the sequence number of the last event, the IDs of the last
//! messages, the objects that were read. What is done already is answered at once; see [`crate::inbox`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use lakeport::error::Result;
use lakeport::plan::{ExportPlan, Input};
use lakeport::source::{Local, Origin, Position, ReadOptions, Reader, Source};
use tokio::sync::{Notify, oneshot};

use crate::delivery::{Delivery, Refused, Taken};
use crate::inbox::Inbox;
use crate::stats::Stats;

/// Deliveries of a partition that may wait for their turn.
const WAITING: usize = 256;

/// A delivery on its way to a reader.
pub(crate) struct Handed {
    delivery: Arc<Mutex<Option<Delivery>>>,
    /// Readers with this number or a higher one were opened after it came, so that they know what others had committed by then.
    pub(crate) since: u64,
    pub(crate) done: Done,
}

impl Handed {
    /// The delivery; `None` where nobody waits for it any more.
    pub(crate) fn take(&self) -> Option<Delivery> {
        self.delivery.lock().expect("nothing panics while it is held").take()
    }
}

/// Takes a delivery back that no reader has taken, once nobody waits for it any more: its bytes are held by nobody then.
struct Withdraw(Arc<Mutex<Option<Delivery>>>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        drop(self.0.lock().map(|mut delivery| delivery.take()));
    }
}

/// Told what became of a delivery.
pub(crate) type Done = oneshot::Sender<std::result::Result<Taken, Refused>>;

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
    stats: Arc<Stats>,
}

/// An export's name and a partition's.
pub(crate) type Key = (String, Arc<str>);

/// What is known of a partition that is at work, or about to be.
#[derive(Default)]
struct Partition {
    /// The number of its reader.
    reader: Option<u64>,
    /// The reader's inbox, where it takes deliveries.
    inbox: Option<SyncSender<Handed>>,
    /// What is in the lake, as far as is known: of each origin everything before an offset.
    published: HashMap<Arc<str>, u64>,
    waiting: Vec<Waiting>,
}

/// Somebody who waits for the lake.
struct Waiting {
    origin: Arc<Origin>,
    /// Everything of the origin before this offset must be there.
    up_to: u64,
    taken: Taken,
    done: Done,
}

impl Partition {
    fn has(&self, origin: &Origin, up_to: u64) -> bool {
        up_to == 0 || self.published.get(&origin.name).is_some_and(|published| up_to <= *published)
    }
}

impl Deliveries {
    /// Deliveries to other runs, which are counted with those to these.
    #[must_use]
    pub fn anew(&self) -> Deliveries {
        Deliveries(Arc::new(Shared { stats: self.0.stats.clone(), ..Shared::default() }))
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<Key, Partition>> {
        self.0.partitions.lock().expect("nothing panics while it is held")
    }

    /// Counts of what was delivered.
    pub(crate) fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// The inbox of a partition, where a run of it is at work.
    fn inbox(&self, key: &Key) -> Option<SyncSender<Handed>> {
        self.partitions().get(key)?.inbox.clone()
    }

    /// Whether a run of the partition takes deliveries.
    pub(crate) fn is_open(&self, export: &ExportPlan) -> bool {
        self.inbox(&key(export)).is_some()
    }

    /// Waits until a run of the partition takes deliveries.
    pub(crate) async fn opened(&self, export: &ExportPlan) {
        loop {
            let opened = self.0.opened.notified();
            if self.is_open(export) {
                return;
            }
            opened.await;
        }
    }

    /// The number of the reader that is opened next.
    pub(crate) fn next_reader(&self) -> u64 {
        self.0.readers.load(Ordering::Relaxed)
    }

    /// Hands a delivery over to the run of a partition, and waits until it is in the lake. A reader with a number below `since` says
    /// that it may be stale where the delivery does not fit to what it knows, and is replaced.
    pub(crate) async fn deliver(
        &self,
        export: &ExportPlan,
        delivery: Delivery,
        since: u64,
    ) -> std::result::Result<Taken, Refused> {
        let Some(inbox) = self.inbox(&key(export)) else { return Err(Refused::Ended) };
        let (done, answer) = oneshot::channel();
        let delivery = Arc::new(Mutex::new(Some(delivery)));
        let _withdraw = Withdraw(delivery.clone());
        match inbox.try_send(Handed { delivery, since, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Refused::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(Refused::Ended),
        }
        drop(inbox);
        answer.await.unwrap_or(Err(Refused::Ended))
    }

    /// Tells `done` once everything of an origin before `up_to` is in the lake.
    /// Where the reader `number` is no longer the partition's, `done` is dropped.
    pub(crate) fn when_published(
        &self,
        (key, number): (&Key, u64),
        (origin, up_to): (&Arc<Origin>, u64),
        taken: Taken,
        done: Done,
    ) {
        let mut partitions = self.partitions();
        let is_own = |partition: &&mut Partition| partition.reader == Some(number);
        let Some(partition) = partitions.get_mut(key).filter(is_own) else { return };
        match partition.has(origin, up_to) {
            // Who does not wait any more is delivered to again, and told at once.
            true => _ = done.send(Ok(taken)),
            false => partition.waiting.push(Waiting { origin: origin.clone(), up_to, taken, done }),
        }
    }

    /// Hands nothing more to the reader `number`: it ends once it has read what it was handed, and those who wait are told.
    pub(crate) fn retire(&self, key: &Key, number: u64) {
        if let Some(partition) = self.partitions().get_mut(key).filter(|partition| partition.reader == Some(number)) {
            partition.inbox = None;
        }
    }

    /// Lets go of a partition whose reader `number` has ended: those who wait hear that what they delivered is not in the lake, as
    /// far as is known.
    pub(crate) fn close(&self, key: &Key, number: u64) {
        let mut partitions = self.partitions();
        let is_own = |partition: &Partition| partition.reader.is_none_or(|own| own == number);
        if partitions.get(key).is_some_and(is_own) {
            partitions.remove(key);
        }
    }
}

fn key(export: &ExportPlan) -> Key {
    (export.name.clone(), export.partition.clone())
}

impl Source for Deliveries {
    fn open(&self, export: &ExportPlan, from: &Position, options: ReadOptions) -> Result<Box<dyn Reader>> {
        if export.source.input != Input::Http {
            return Local.open(export, from, options);
        }
        let (sender, receiver) = sync_channel(WAITING);
        let number = self.0.readers.fetch_add(1, Ordering::Relaxed);
        let key = key(export);
        let inbox = Inbox::new(self.clone(), (key.clone(), number), receiver, export, from, options.longest);
        // Who waits for a reader before this one hears that it has ended: this one counts anew.
        let partition = Partition { reader: Some(number), inbox: Some(sender), ..Partition::default() };
        self.partitions().insert(key, partition);
        self.0.opened.notify_waiters();
        Ok(Box::new(inbox))
    }

    fn published(&self, export: &ExportPlan, position: &Position) {
        let mut partitions = self.partitions();
        let partition = partitions.entry(key(export)).or_default();
        let of = |cursor: &lakeport::source::Cursor| (cursor.origin.name.clone(), cursor.next);
        partition.published = position.cursors.iter().map(of).collect();
        let (published, waiting) = (&partition.published, &mut partition.waiting);
        let is_there = |one: &mut Waiting| published.get(&one.origin.name).is_some_and(|next| one.up_to <= *next);
        for Waiting { taken, done, .. } in waiting.extract_if(.., is_there) {
            let _ = done.send(Ok(taken));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_was_replaced_answers_nobody() {
        let (deliveries, origin) = (Deliveries::default(), Arc::new(Origin::named("messages:s/0".to_owned())));
        let key: Key = ("e".to_owned(), "0".into());
        deliveries.partitions().insert(key.clone(), Partition { reader: Some(1), ..Partition::default() });
        let wait = |number| {
            let (done, answer) = oneshot::channel();
            deliveries.when_published((&key, number), (&origin, 5), Taken::default(), done);
            answer
        };
        assert!(wait(0).await.is_err(), "another reader has the partition");
        let mut waits = wait(1);
        assert!(waits.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        deliveries.close(&key, 1);
        assert!(waits.await.is_err());
    }

    #[tokio::test]
    async fn a_delivery_that_nobody_waits_for_is_held_by_nobody() {
        let delivery = Arc::new(Mutex::new(Some(Delivery::Messages(Arc::default()))));
        let (done, answer) = oneshot::channel();
        let handed = Handed { delivery: delivery.clone(), since: 0, done };
        drop((Withdraw(delivery), answer));
        assert!(handed.take().is_none());
    }
}
