//! What a row remembers of the changes that made it, where its version alone does not say enough.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Change;

/// So many changes of one version are remembered. Of more, the earliest are forgotten.
const MOST: usize = 64;

/// Stands with the row; see [`super::Head::before_traced`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Where the last change stood in its event.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// Several events have the row's version, and each counts its positions anew: they do not order the changes.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub has_several_events: bool,
    /// The digests of the changes that were applied at the row's version: what comes again is known by them.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub applied: Vec<u64>,
    /// Set while the row consists of patches only: its creation has not been read.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
}

/// What is known of a row whose patches came before the row itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// The version of the whole row, or of its deletion, that the other members are from.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub base: Option<i64>,
    /// The members that patches gave, also those that they made null.
    #[serde(rename = "m", default)]
    pub members: BTreeSet<String>,
}

impl Trace {
    /// Nothing for an empty trace.
    pub fn to_bytes(&self) -> Vec<u8> {
        match *self == Trace::default() {
            true => Vec::new(),
            false => serde_json::to_vec(self).unwrap_or_default(),
        }
    }

    /// The trace that stands for these bytes. One that cannot be read says nothing: the shard's checksum was compared before.
    pub fn from_bytes(bytes: &[u8]) -> Trace {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// Whether a change was applied at the row's version.
    pub fn has(&self, digest: u64) -> bool {
        self.applied.contains(&digest)
    }

    /// Forgets the changes of the version before.
    pub fn begin_version(&mut self) {
        (self.position, self.has_several_events, self.applied) = (None, false, Vec::new());
    }

    /// Whether a change that was applied before stood before the last one, in the one event that has the row's version.
    pub fn is_behind(&self, position: Option<u32>) -> bool {
        let places = position.zip(self.position);
        !self.has_several_events && places.is_some_and(|(position, last)| position < last)
    }

    /// Remembers a change.
    pub fn add(&mut self, digest: u64, position: Option<u32>) {
        let is_new = !self.has(digest);
        if is_new && position.zip(self.position).is_some_and(|(position, last)| position <= last) {
            self.has_several_events = true;
        }
        self.position = position;
        if is_new {
            if self.applied.len() == MOST {
                self.applied.remove(0);
            }
            self.applied.push(digest);
        }
    }
}

/// Tells a change of a row from others of its key and version.
pub fn digest(change: &Change) -> u64 {
    let mut bytes = Vec::with_capacity(32 + change.body.len());
    bytes.extend_from_slice(change.operation.as_str().as_bytes());
    bytes.extend_from_slice(&change.time.unwrap_or(i64::MIN).to_le_bytes());
    bytes.extend_from_slice(&change.position.unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&change.body);
    bytes.extend(change.said.iter().flat_map(|said| said.to_le_bytes()));
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_comes_back_from_its_bytes() {
        assert_eq!(Trace::default().to_bytes(), b"");
        let partial = Partial { base: Some(i64::MIN), members: BTreeSet::from(["é\"".to_owned()]) };
        let trace =
            Trace { position: Some(0), has_several_events: true, applied: vec![u64::MAX], partial: Some(partial) };
        assert_eq!(Trace::from_bytes(&trace.to_bytes()), trace);
        assert_eq!(Trace::from_bytes(br#"{"later":1}"#), Trace::default());
    }

    #[test]
    fn memory_of_one_version_is_bounded() {
        let mut trace = Trace::default();
        (0..100).for_each(|digest| trace.add(digest, None));
        assert_eq!((trace.applied.len(), trace.has(35), trace.has(36)), (MOST, false, true));
    }
}
