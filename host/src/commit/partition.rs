//! One partition's log in a lake: carries out what `protocol.rs` decides.
//!
//! Objects, below the log folder of the lake:
//!
//! ```text
//! {export}/{partition}/log/{slot:020}.json             created once, never changed: fence | commit
//! {export}/{partition}/boundary/{slot:020}             created once: everything up to the greatest is deleted
//! {export}/{partition}/stage/{epoch:010}-{nonce}/{n}   waiting to be published; unique to one attempt
//! ```
//!
//! The boundary is a marker per move, and the greatest counts: creating is the one conditional write that every store has, and
//! an overwritten boundary could be moved back by an owner that slept.

mod opening;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::entry::{Commit, Entry, FORMAT_VERSION, Fence, Object, Publication, Series, SpanEntry, Totals};
use super::log::{Newest, lost, read_boundary, read_newest, read_slot, slot_key, slot_of};
use super::presence::{Author, Sign};
use super::protocol::{Owner, Reply, Request, Slot};
use super::publish::{AT_ONCE, Publisher};
use super::withdrawal::Withdrawal;
use crate::dataset::DatasetState;
use crate::error::{Error, Result};
use crate::fail;
use crate::lake::{Created, Lake};
use crate::source::Position;
use crate::table::TableState;

pub use opening::Standing;

/// Slots that may stand before older ones are deleted.
const SLACK: u64 = 32;

/// Who an owner is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Tells owners apart: random, handed in.
    pub nonce: u128,
    /// Host and process, for people.
    pub writer: String,
    /// How others recognise whether this owner is at work.
    pub author: Author,
}

/// What a span wants committed; the partition adds who, where and after what.
#[derive(Debug, Clone)]
pub struct Draft {
    pub write_time: DateTime<Utc>,
    pub seed: u64,
    pub configuration: String,
    pub plugins: std::collections::BTreeMap<String, String>,
    pub span: SpanEntry,
    pub position: Position,
    pub objects: Vec<Object>,
    pub obsolete: Vec<String>,
    pub series: std::collections::BTreeMap<String, Series>,
    pub table: Option<TableState>,
    pub dataset: Option<DatasetState>,
    pub totals: Totals,
}

/// How an attempt went. A lost race is not an error.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Another owner has taken over; nothing was committed, or it was and that owner publishes it.
    Overtaken,
}

/// An owner's hold on one partition of an export, or its look at it.
pub struct Partition {
    lake: Lake,
    export: String,
    partition: String,
    folder: String,
    owner: Owner,
    identity: Identity,
    /// What the newest entry says of its owner: its nonce, and when it was at work.
    newest: Option<(u128, Option<Sign>)>,
    /// The last commit, and the SHA-256 of its bytes.
    last: Option<(Commit, String)>,
    /// The commit that is being made, and its bytes.
    waiting: Option<(Commit, Bytes)>,
    acknowledge: Box<dyn Fn(&Position) + Send + Sync>,
    /// A catalog that was changed by others was left as it is.
    has_passed_over: AtomicBool,
}

impl Partition {
    /// The last commit.
    pub fn last(&self) -> Option<&Commit> {
        self.last.as_ref().map(|(commit, _)| commit)
    }

    /// Whether the last commit's catalog was not published, since others had changed the one that is there.
    pub fn has_passed_over(&self) -> bool {
        self.has_passed_over.load(Ordering::Relaxed)
    }

    /// Whether this owner may commit.
    pub fn is_taken_over(&self) -> bool {
        self.owner.request() == Request::Wait
    }

    /// This owner's epoch, once it has taken over.
    pub fn epoch(&self) -> u64 {
        self.owner.epoch()
    }

    /// Where this owner stages: a folder of its own.
    pub fn stage_root(&self) -> String {
        format!("{}/stage/{:010}-{:032x}", self.folder, self.owner.epoch(), self.identity.nonce)
    }

    /// This owner, where another one has replaced it.
    pub fn withdrawal(&self) -> Withdrawal<'_> {
        let nonce = self.identity.nonce;
        Withdrawal { lake: &self.lake, export: &self.export, partition: &self.partition, nonce }
    }

    /// The folder of this partition's log, stage and dead letters.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Refuses a write time that is further ahead of the store's clock than `tolerance`. A store whose clock is not known refuses none.
    ///
    /// # Errors
    /// Of kind `Lake`.
    pub async fn check_clock(&mut self, write_time: DateTime<Utc>, tolerance: Duration) -> Result<()> {
        let is_ahead = |time: DateTime<Utc>| write_time > time + tolerance;
        // Where the last commit is ahead, the next one has to be.
        let is_forced = self.last().is_some_and(|last| write_time <= last.write_time + Duration::from_secs(1));
        if is_forced || !self.lake.store_time().is_some_and(is_ahead) {
            return Ok(());
        }
        self.lake.read_clock().await?;
        let Some(time) = self.lake.store_time().filter(|time| is_ahead(*time)) else { return Ok(()) };
        let shown = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (clock, store) = (shown(write_time), shown(time));
        Err(Error::lake(format!("the clock of this machine shows `{clock}`, and that of the lake's store `{store}`"))
            .with_help("set this machine's clock, then run again: nothing was committed at the wrong time"))
    }

    /// Makes `draft` final: commits, publishes, acknowledges, cleans up.
    ///
    /// # Errors
    /// Of kind `Lake`. The commit may have been made all the same: open the partition again to find out.
    pub async fn commit(&mut self, draft: Draft) -> Result<Outcome> {
        let commit = Commit {
            version: FORMAT_VERSION,
            epoch: self.owner.epoch(),
            nonce: self.identity.nonce,
            writer: self.identity.writer.clone(),
            author: Some(self.identity.author.clone()),
            previous: self.last.as_ref().map(|(_, digest)| digest.clone()),
            write_time: draft.write_time,
            seed: draft.seed,
            configuration: draft.configuration,
            plugins: draft.plugins,
            span: draft.span,
            position: draft.position,
            objects: draft.objects,
            obsolete: draft.obsolete,
            series: draft.series,
            table: draft.table,
            dataset: draft.dataset,
            published_through: self.owner.last_commit(),
            totals: draft.totals,
        };
        let entry = Entry::Commit(Box::new(commit));
        let bytes = entry.to_bytes();
        let Entry::Commit(commit) = entry else { unreachable!("made two lines above") };
        self.waiting = Some((*commit, bytes));
        self.owner.commit();
        self.drive().await
    }

    async fn drive(&mut self) -> Result<Outcome> {
        loop {
            match self.owner.request() {
                Request::Decide | Request::Wait => return Ok(Outcome::Done),
                Request::Stop => return Ok(Outcome::Overtaken),
                Request::Lost { boundary } => return Err(lost(&self.lake, &self.folder, boundary)),
                request => {
                    let name = request.name();
                    fail::point(name);
                    let reply = self.perform(request).await?;
                    fail::point(name);
                    self.owner.observe(reply);
                }
            }
        }
    }

    async fn perform(&mut self, request: Request) -> Result<Reply> {
        Ok(match request {
            Request::ReadBoundary | Request::CheckBoundary => {
                Reply::Boundary(read_boundary(&self.lake, &self.folder).await?)
            }
            Request::ReadNewest { after } => {
                let mut lost = None;
                loop {
                    let Some(Newest { slot, entry, bytes, time }) =
                        read_newest(&self.lake, &self.folder, after).await?
                    else {
                        self.newest = None;
                        break Reply::Newest(None);
                    };
                    let seen = entry.seen(slot);
                    self.newest = Some((seen.nonce, Sign::of_entry(&entry, time)));
                    if self.remember(entry, &bytes).await? {
                        break Reply::Newest(Some((slot, seen)));
                    }
                    // The last commit is deleted only where there are newer ones: the log has moved on since it was listed.
                    if lost.replace(slot) == Some(slot) {
                        let key = slot_key(&self.folder, seen.last_commit);
                        let message = format!("`{}`, the last commit, is not there", self.lake.url(&key));
                        let help = "restore it from a backup: the log is what knows what was exported";
                        return Err(Error::lake(message).with_help(help));
                    }
                }
            }
            Request::CreateFence { slot, epoch, last_commit } => {
                let fence = Fence {
                    version: FORMAT_VERSION,
                    epoch,
                    nonce: self.identity.nonce,
                    writer: self.identity.writer.clone(),
                    author: Some(self.identity.author.clone()),
                    last_commit,
                };
                self.create(slot, Entry::Fence(fence).to_bytes()).await?
            }
            Request::CreateCommit { slot, .. } => {
                let (_, bytes) = self.waiting.as_ref().expect("a commit waits while it is created");
                let bytes = bytes.clone();
                self.create(slot, bytes).await?
            }
            Request::ReadSlot { slot } => match read_slot(&self.lake, &self.folder, slot).await? {
                Some((entry, bytes)) => {
                    let seen = entry.seen(slot);
                    if self.waiting.is_none() {
                        self.remember(entry, &bytes).await?;
                    }
                    Reply::Slot(Some(seen))
                }
                None => Reply::Slot(None),
            },
            Request::Publish { slot } => {
                if let Some((commit, bytes)) = self.waiting.take() {
                    self.last = Some((commit, hex::encode(Sha256::digest(&bytes))));
                }
                match self.publish(slot).await? {
                    true => Reply::Done,
                    false => Reply::Replaced,
                }
            }
            Request::Acknowledge { .. } => {
                let (commit, _) = self.last.as_ref().expect("what was published is the last commit");
                (self.acknowledge)(&commit.position);
                Reply::Done
            }
            Request::Discard { .. } => {
                let (commit, _) = self.last.as_ref().expect("what was published is the last commit");
                // What was staged for anything else is deleted as soon as that is published.
                let is_catalog = |object: &&Object| matches!(object.publication, Publication::Replace(_));
                let catalogs = commit.objects.iter().filter(is_catalog).filter_map(Object::staged_key);
                self.delete_all(catalogs.chain(commit.obsolete.iter().map(String::as_str))).await?;
                Reply::Done
            }
            Request::SweepOrphans { epoch } => {
                self.sweep(epoch).await?;
                Reply::Done
            }
            Request::MoveBoundary { through } => {
                let folder = format!("{}/boundary", self.folder);
                let _ = self.lake.create(&format!("{folder}/{through:020}"), Bytes::new()).await?;
                let newest = format!("{folder}/{through:020}");
                let markers = self.lake.list(&folder).await?;
                self.delete_all(markers.iter().map(|marker| &*marker.key).filter(|key| **key < *newest)).await?;
                Reply::Done
            }
            Request::DeleteLog { through } => {
                let slots = self.lake.list(&format!("{}/log", self.folder)).await?;
                let is_old = |key: &&str| slot_of(key).is_some_and(|slot| slot <= through);
                self.delete_all(slots.iter().map(|slot| &*slot.key).filter(is_old)).await?;
                Reply::Done
            }
            Request::Decide | Request::Wait | Request::Stop | Request::Lost { .. } | Request::SweepOwn => {
                unreachable!("the driver stops at these")
            }
        })
    }

    /// Creates a slot. An error may hide a success: then the outcome is unknown, and the protocol reads the slot.
    async fn create(&mut self, slot: Slot, bytes: Bytes) -> Result<Reply> {
        let key = slot_key(&self.folder, slot);
        match self.lake.create(&key, bytes).await {
            Ok(Created::Created) => Ok(Reply::Created),
            Ok(Created::Exists) => Ok(Reply::Exists),
            Err(error) => match self.lake.head(&key).await {
                Ok(Some(_)) => Ok(Reply::Unknown),
                _ => Err(error),
            },
        }
    }

    /// Keeps the last commit that a log entry speaks of; false where that is gone.
    async fn remember(&mut self, entry: Entry, bytes: &[u8]) -> Result<bool> {
        let (commit, bytes) = match entry {
            Entry::Commit(commit) => (commit, Bytes::copy_from_slice(bytes)),
            Entry::Fence(fence) if fence.last_commit == 0 => {
                self.last = None;
                return Ok(true);
            }
            Entry::Fence(fence) => match read_slot(&self.lake, &self.folder, fence.last_commit).await? {
                Some((Entry::Commit(commit), bytes)) => (commit, bytes),
                _ => return Ok(false),
            },
        };
        self.last = Some((*commit, hex::encode(Sha256::digest(&bytes))));
        Ok(true)
    }

    /// Makes the objects of the last commit visible, and notes where they are; false where another owner has to.
    async fn publish(&mut self, slot: Slot) -> Result<bool> {
        let (commit, _) = self.last.as_mut().expect("what is published was committed or read");
        let publisher = Publisher {
            lake: &self.lake,
            folder: &self.folder,
            nonce: self.identity.nonce,
            slot,
            recovers: self.owner.recovers(),
            has_passed_over: &self.has_passed_over,
        };
        let Some(elsewhere) = publisher.publish(commit).await? else { return Ok(false) };
        for part in elsewhere {
            part.correct(&mut commit.series);
        }
        Ok(true)
    }

    /// Deletes objects, in any order.
    async fn delete_all(&self, keys: impl Iterator<Item = &str>) -> Result<()> {
        let deleted: Vec<_> = keys.map(|key| self.delete(key)).collect();
        stream::iter(deleted).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        fail::point("delete-object");
        self.lake.delete(key).await
    }

    async fn sweep(&self, epoch: u64) -> Result<()> {
        // The last owner may have died before it had deleted what its last commit made superfluous.
        let obsolete = self.last().into_iter().flat_map(|commit| &commit.obsolete);
        self.delete_all(obsolete.map(String::as_str)).await?;
        let folder = format!("{}/stage", self.folder);
        let staged = self.lake.list(&folder).await?;
        let needed: HashSet<&str> = self.last().into_iter().flat_map(Commit::needed).collect();
        let is_orphan = |key: &&str| {
            let owner = key.strip_prefix(&folder).and_then(|rest| rest.get(1..11)?.parse::<u64>().ok());
            owner.is_some_and(|owner| owner < epoch) && !needed.contains(*key)
        };
        let orphans = staged.iter().map(|object| &*object.key).filter(is_orphan);
        self.delete_all(orphans).await
    }
}
