//! Reading a partition's log: its slots, by number, and where it begins.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::entry::{Commit, Entry};
use super::presence::Sign;
use super::protocol::Slot;
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::layout::{decode_segment, encode_segment};
use crate::plan::SOLE_PARTITION;

/// The folder beside those of an export's partitions in which it is exported again.
pub const AGAIN: &str = "again";

/// The last commit of a partition, for people who look; takes nothing over. `None` where there is none.
///
/// # Errors
/// Of kind `Lake`.
pub async fn read_last(lake: &Lake, export: &str, partition: &str) -> Result<Option<(Slot, Commit)>> {
    let folder = partition_folder(lake, export, partition);
    let boundary = read_boundary(lake, &folder).await?;
    match read_newest(lake, &folder, boundary).await?.map(|newest| (newest.slot, newest.entry)) {
        None if boundary > 0 => Err(lost(lake, &folder, boundary)),
        None => Ok(None),
        Some((slot, Entry::Commit(commit))) => Ok(Some((slot, *commit))),
        Some((_, Entry::Fence(fence))) => {
            Ok(read_slot(lake, &folder, fence.last_commit).await?.and_then(|(entry, _)| match entry {
                Entry::Commit(commit) => Some((fence.last_commit, *commit)),
                Entry::Fence(_) => None,
            }))
        }
    }
}

/// The commits that the log still has, oldest first; takes nothing over.
///
/// # Errors
/// Of kind `Lake`.
pub async fn read_commits(lake: &Lake, export: &str, partition: &str) -> Result<Vec<Commit>> {
    let folder = partition_folder(lake, export, partition);
    let mut commits = Vec::new();
    for slot in lake.list(&format!("{folder}/log")).await?.iter().filter_map(|slot| slot_of(&slot.key)) {
        if let Some((Entry::Commit(commit), _)) = read_slot(lake, &folder, slot).await? {
            commits.push(*commit);
        }
    }
    Ok(commits)
}

/// The owner that wrote the newest entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestOwner {
    pub nonce: u128,
    /// Host and process, for people.
    pub writer: String,
    /// `None` where the entry is of an earlier version.
    pub sign: Option<Sign>,
}

/// A partition's newest owner; `None` where it never had one.
///
/// # Errors
/// Of kind `Lake`.
pub async fn newest_owner(lake: &Lake, export: &str, partition: &str) -> Result<Option<NewestOwner>> {
    let newest = read_newest(lake, &partition_folder(lake, export, partition), 0).await?;
    Ok(newest.map(|Newest { entry, time, .. }| {
        let sign = Sign::of_entry(&entry, time);
        let (nonce, writer) = match entry {
            Entry::Fence(fence) => (fence.nonce, fence.writer),
            Entry::Commit(commit) => (commit.nonce, commit.writer),
        };
        NewestOwner { nonce, writer, sign }
    }))
}

/// The partitions of an export that have a log in the lake, sorted; the sole one where there is none.
///
/// # Errors
/// Of kind `Lake`.
pub async fn read_partitions(lake: &Lake, export: &str) -> Result<Vec<String>> {
    let folders = lake.folders(&format!("{}/{}", lake.log_folder(), encode_segment(export))).await?;
    let logs = folders.iter().filter(|folder| *folder != AGAIN);
    let mut partitions: Vec<_> = logs.filter_map(|folder| decode_segment(folder)).collect();
    // Numbers by their values.
    partitions.sort_by_key(|partition| (partition.len(), partition.clone()));
    if partitions.is_empty() {
        partitions.push(SOLE_PARTITION.to_owned());
    }
    Ok(partitions)
}

/// The folder of a partition's log, stage and dead letters.
pub fn partition_folder(lake: &Lake, export: &str, partition: &str) -> String {
    format!("{}/{}/{}", lake.log_folder(), encode_segment(export), encode_segment(partition))
}

/// The key of a slot.
pub(super) fn slot_key(folder: &str, slot: Slot) -> String {
    format!("{folder}/log/{slot:020}.json")
}

/// The slot of a key, where it has one.
pub(super) fn slot_of(key: &str) -> Option<Slot> {
    key.rsplit_once('/')?.1.strip_suffix(".json")?.parse().ok()
}

/// Everything up to this slot is deleted, or about to be.
pub(super) async fn read_boundary(lake: &Lake, folder: &str) -> Result<Slot> {
    let markers = lake.list(&format!("{folder}/boundary")).await?;
    Ok(markers.iter().filter_map(|marker| marker.key.rsplit_once('/')?.1.parse().ok()).max().unwrap_or(0))
}

/// The newest entry of a log.
pub(super) struct Newest {
    pub slot: Slot,
    pub entry: Entry,
    pub bytes: Bytes,
    /// When it was written, by the store's clock.
    pub time: DateTime<Utc>,
}

/// The newest entry after a slot.
pub(super) async fn read_newest(lake: &Lake, folder: &str, after: Slot) -> Result<Option<Newest>> {
    loop {
        let slots = lake.list(&format!("{folder}/log")).await?;
        let Some(slot) = slots.iter().filter_map(|slot| slot_of(&slot.key)).filter(|slot| *slot > after).max() else {
            return Ok(None);
        };
        // Deleted between the two requests: there are newer ones.
        if let Some(newest) = read_entry(lake, folder, slot).await? {
            return Ok(Some(newest));
        }
    }
}

/// One slot's entry, and its bytes.
pub(super) async fn read_slot(lake: &Lake, folder: &str, slot: Slot) -> Result<Option<(Entry, Bytes)>> {
    Ok(read_entry(lake, folder, slot).await?.map(|read| (read.entry, read.bytes)))
}

async fn read_entry(lake: &Lake, folder: &str, slot: Slot) -> Result<Option<Newest>> {
    let key = slot_key(folder, slot);
    let Some(object) = lake.get(&key).await? else { return Ok(None) };
    match Entry::parse(&object.bytes) {
        Ok(entry) => Ok(Some(Newest { slot, entry, bytes: object.bytes, time: object.modified })),
        Err(why) => Err(Error::new(Kind::Lake, format!("`{}` is not a log entry: {why}", lake.url(&key)))
            .with_help("a newer lakeport wrote it, or someone edited it")),
    }
}

/// The error for a log that is empty behind its boundary: the newest slots are never deleted, so somebody has removed them.
pub(super) fn lost(lake: &Lake, folder: &str, boundary: Slot) -> Error {
    let log = lake.url(&format!("{folder}/log/"));
    let message = format!("`{log}` holds no entry after number {boundary}, and it had some: it was emptied or lost");
    Error::lake(message).with_help(format!(
        "restore it from a backup: the log is what knows what was exported. To export everything once more instead, remove \
         `{}` and the files that the export wrote",
        lake.url(folder)
    ))
}
