//! Reading a partition's log: its slots, by number, and where it begins.

use bytes::Bytes;

use super::entry::{Commit, Entry};
use super::protocol::Slot;
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::layout::encode_segment;

/// The last commit of a partition, for people who look; takes nothing over. `None` where there is none.
///
/// # Errors
/// Of kind `Lake`.
pub async fn read_last(lake: &Lake, export: &str, partition: &str) -> Result<Option<(Slot, Commit)>> {
    let folder = partition_folder(lake, export, partition);
    let boundary = read_boundary(lake, &folder).await?;
    match read_newest(lake, &folder, boundary).await? {
        None => Ok(None),
        Some((slot, Entry::Commit(commit), _)) => Ok(Some((slot, *commit))),
        Some((_, Entry::Fence(fence), _)) => {
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

/// The nonce and the writer of a partition's newest owner; `None` where it never had one.
///
/// # Errors
/// Of kind `Lake`.
pub async fn newest_owner(lake: &Lake, export: &str, partition: &str) -> Result<Option<(u128, String)>> {
    let newest = read_newest(lake, &partition_folder(lake, export, partition), 0).await?;
    Ok(newest.map(|(_, entry, _)| match entry {
        Entry::Fence(fence) => (fence.nonce, fence.writer),
        Entry::Commit(commit) => (commit.nonce, commit.writer),
    }))
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

/// The newest entry after a slot, and its bytes.
pub(super) async fn read_newest(lake: &Lake, folder: &str, after: Slot) -> Result<Option<(Slot, Entry, Bytes)>> {
    loop {
        let slots = lake.list(&format!("{folder}/log")).await?;
        let Some(newest) = slots.iter().filter_map(|slot| slot_of(&slot.key)).filter(|slot| *slot > after).max() else {
            return Ok(None);
        };
        // Deleted between the two requests: there are newer ones.
        if let Some((entry, bytes)) = read_slot(lake, folder, newest).await? {
            return Ok(Some((newest, entry, bytes)));
        }
    }
}

/// One slot's entry, and its bytes.
pub(super) async fn read_slot(lake: &Lake, folder: &str, slot: Slot) -> Result<Option<(Entry, Bytes)>> {
    let key = slot_key(folder, slot);
    let Some(object) = lake.get(&key).await? else { return Ok(None) };
    match Entry::parse(&object.bytes) {
        Ok(entry) => Ok(Some((entry, object.bytes))),
        Err(why) => Err(Error::new(Kind::Lake, format!("`{}` is not a log entry: {why}", lake.url(&key)))
            .with_help("a newer lakeport wrote it, or someone edited it")),
    }
}
