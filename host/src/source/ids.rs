//! IDs of messages that come in no order: a partition's position holds the last ones, so that whoever reads on recognises them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A hash of 128 bits that names a message within its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// Hashes an ID that consists of `parts`. Each has its length before it, so that parts cannot run into each other.
    pub fn of(parts: &[&[u8]]) -> MessageId {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        MessageId(*digest.first_chunk().expect("a digest has 32 bytes"))
    }

    /// The partition of `partitions` that the message belongs to; the same wherever it is delivered.
    pub fn partition(&self, partitions: u32) -> u32 {
        let number = u64::from_be_bytes(*self.0.last_chunk().expect("an ID has 16 bytes"));
        u32::try_from(number % u64::from(partitions.max(1))).expect("a remainder of 32 bits has no more")
    }
}

/// The IDs of the last messages of a partition, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentIds(Vec<MessageId>);

impl RecentIds {
    /// How many are kept; more where one delivery has more.
    pub const WINDOW: usize = 4096;

    /// Adds the IDs of a delivery, and forgets the oldest ones beyond [`RecentIds::WINDOW`].
    pub fn push(&mut self, ids: &[MessageId]) {
        self.0.extend_from_slice(ids);
        let surplus = self.0.len().saturating_sub(RecentIds::WINDOW.max(ids.len()));
        self.0.drain(..surplus);
    }

    /// Iterates over them.
    pub fn iter(&self) -> impl Iterator<Item = MessageId> {
        self.0.iter().copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for RecentIds {
    /// As base64 of all of them, end to end.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|id| id.0).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for RecentIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        let (ids, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(serde::de::Error::custom(format!("IDs of {} bytes, expected 16 each", bytes.len())));
        }
        Ok(RecentIds(ids.iter().copied().map(MessageId).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> MessageId {
        MessageId::of(&[&n.to_le_bytes()])
    }

    #[test]
    fn the_last_ones_are_kept_and_all_of_one_delivery() {
        let mut recent = RecentIds::default();
        (0..RecentIds::WINDOW + 10).for_each(|n| recent.push(&[id(n)]));
        assert_eq!(recent.iter().count(), RecentIds::WINDOW);
        assert_eq!(recent.iter().next(), Some(id(10)));
        let many: Vec<_> = (0..10_000).map(id).collect();
        recent.push(&many);
        assert!(recent.iter().eq(many));
        recent.push(&[id(1)]);
        assert_eq!(recent.iter().count(), RecentIds::WINDOW);
    }

    #[test]
    fn they_are_read_as_they_were_written() {
        let mut recent = RecentIds::default();
        recent.push(&[id(1), id(2)]);
        let text = serde_json::to_string(&recent).unwrap();
        assert_eq!(serde_json::from_str::<RecentIds>(&text).unwrap(), recent);
        let cut = format!("{}\"", &text[..5]);
        assert!(serde_json::from_str::<RecentIds>(&cut).unwrap_err().to_string().contains("expected 16 each"));
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_partitions_are_evenly_used() {
        assert_ne!(MessageId::of(&[b"ab", b"c"]), MessageId::of(&[b"a", b"bc"]));
        let mut used = [0; 4];
        (0..4_000).for_each(|n| used[id(n).partition(4) as usize] += 1);
        assert!(used.iter().all(|count| (800..1200).contains(count)), "{used:?}");
        assert_eq!(id(7).partition(1), 0);
    }
}
