//! What stands in the log: fences and commits, as JSON. Written once, never changed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::presence::Author;
use super::protocol::{Seen, Slot};
use crate::dataset::DatasetState;
use crate::lake::Version;
use crate::layout::part_key;
use crate::source::{Extent, Position};
use crate::table::TableState;

/// The version of the entries' form. A reader refuses newer ones, and goes on from older ones.
pub const FORMAT_VERSION: u32 = 2;

/// One slot of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Entry {
    Fence(Fence),
    Commit(Box<Commit>),
}

/// From here on, no owner of an older epoch can commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fence {
    pub version: u32,
    pub epoch: u64,
    #[serde(with = "nonce")]
    pub nonce: u128,
    /// Host and process, for people.
    pub writer: String,
    /// The process and its interval, by which others tell whether it is at work; `None` in entries of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// The slot of the last commit before it; 0 where there is none.
    pub last_commit: Slot,
}

/// One span's records, made final. Holds everything that the next owner needs to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Commit {
    pub version: u32,
    pub epoch: u64,
    #[serde(with = "nonce")]
    pub nonce: u128,
    pub writer: String,
    /// See [`Fence::author`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// SHA-256 of the commit before, in hexadecimal.
    pub previous: Option<String>,
    /// Rises by at least a millisecond with every commit.
    pub write_time: DateTime<Utc>,
    /// What plugins were given as chance.
    pub seed: u64,
    /// SHA-256 of the export's settings.
    pub configuration: String,
    /// SHA-256 of every plugin that took part, by name.
    pub plugins: BTreeMap<String, String>,
    pub span: SpanEntry,
    /// Where the source continues.
    pub position: Position,
    pub objects: Vec<Object>,
    /// Objects that this commit makes superfluous, once it is published: staged ones, and files that nobody reads any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obsolete: Vec<String>,
    /// The state of the files, by series: a path with `{part}` left open.
    pub series: BTreeMap<String, Series>,
    /// The documents of an export of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableState>,
    /// The tables of an export of tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetState>,
    /// Every commit up to this slot is published.
    pub published_through: Slot,
    /// Since the export began.
    pub totals: Totals,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpanEntry {
    pub extents: Vec<Extent>,
    pub records: u64,
    pub bytes: u64,
    /// XXH3-128 of the bytes, end to end, in hexadecimal.
    pub hash: String,
}

/// Counts since the export began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    pub bytes_read: u64,
    pub records_read: u64,
    pub records_written: u64,
    pub bytes_written: u64,
    pub files: u64,
    /// Every one there was, with those that were replayed.
    pub dead_letters: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replayed: u64,
    pub commits: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An object that a commit makes, its bytes pinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Object {
    /// Its final key; for a segment of a sealed file, its staged one.
    pub key: String,
    pub content: Content,
    pub length: u64,
    /// In hexadecimal.
    pub sha256: String,
    pub rows: u64,
    pub publication: Publication,
}

/// Where an object's bytes are until it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    Staged(String),
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    Inline(Bytes),
}

/// How an object becomes visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Publication {
    /// At a key that nothing else ever writes.
    New,
    /// As a part that is final. Where its key holds something else, it becomes the next part that is free.
    Part(Part),
    /// As a part that may grow later, in the place of the version it extends. Where that is not there any more, what is new
    /// becomes the next part that is free.
    Grow { part: Part, base: Option<Base> },
    /// As version 1 has it: in the place of the version it extends; `null` where the file is new.
    Over(Option<Version>),
    /// In the place of whatever is there, most likely this version: a catalog, to which others may add.
    Replace(Option<Version>),
    /// Not now: it stays staged, until its file is sealed or for as long as the table needs it.
    Segment,
}

/// One part of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    pub series: String,
    pub part: u32,
}

/// What an object extends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Base {
    pub version: Version,
    /// How many of the object's first bytes are those of the version.
    pub length: u64,
    /// How many of these are the file's header, which the next part needs as well.
    pub header: u64,
}

/// The files of one period, as far as this partition wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Series {
    /// Parts begun: the next new part has this number.
    pub parts: u32,
    /// What `tail` and `pending` were encoded with: the beginning of the SHA-256 of the format's plugin and settings, in
    /// hexadecimal. With another one the next part begins, since a file has one header. Empty where there are neither.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// The last part, where it may still grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// Segments that wait for the file to be sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
    /// When the period ends. Microseconds since 1970-01-01T00:00:00Z.
    pub ends: i64,
    /// The write time of the last commit that wrote to it: what is forgotten first.
    pub touched: i64,
}

/// A part that may still grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tail {
    pub part: u32,
    pub length: u64,
    /// How many of its first bytes are its header; version 1 does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<u64>,
}

/// A committed segment of a file that is not sealed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    pub staged: String,
    pub length: u64,
    pub rows: u64,
}

impl Entry {
    /// Parses a slot's bytes; the text says what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut entry: Entry = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let version = match &entry {
            Entry::Fence(fence) => fence.version,
            Entry::Commit(commit) => commit.version,
        };
        if version > FORMAT_VERSION {
            return Err(format!("it has version `{version}`, and this lakeport reads up to `{FORMAT_VERSION}`"));
        }
        if let Entry::Commit(commit) = &mut entry
            && commit.version == 1
        {
            commit.series.values_mut().for_each(Series::end_unlike_first);
        }
        Ok(entry)
    }

    /// The bytes that [`Entry::parse`] reads.
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("entries have string keys only").into()
    }

    /// What the protocol looks at, for the entry in `slot`.
    pub fn seen(&self, slot: Slot) -> Seen {
        match self {
            Entry::Fence(fence) => Seen { epoch: fence.epoch, nonce: fence.nonce, last_commit: fence.last_commit },
            Entry::Commit(commit) => Seen { epoch: commit.epoch, nonce: commit.nonce, last_commit: slot },
        }
    }
}

impl Part {
    /// The object's key.
    pub fn key(&self) -> String {
        part_key(&self.series, self.part)
    }
}

impl Series {
    /// Lets a file of version 1 end where it was encoded with another seed than the series' first part: nothing can be added to it.
    fn end_unlike_first(&mut self) {
        self.tail.take_if(|tail| tail.part > 0);
        if self.tail.is_none() && self.pending.is_empty() || self.parts > 0 && !self.pending.is_empty() {
            self.format.clear();
        }
    }
}

impl Commit {
    /// Staged objects that must outlive this commit: segments of files that are not sealed, and the files of its table.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let runs = self.table.iter().flat_map(|table| &table.runs).map(|run| &*run.key);
        let tables = self.dataset.iter().flat_map(|dataset| dataset.tables.values());
        let states = tables.flat_map(|table| table.state_objects());
        let pending = self.series.values().flat_map(|series| &series.pending).map(|pending| &*pending.staged);
        runs.chain(states).chain(pending)
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

/// Nonces as 32 hexadecimal digits: JSON's numbers are too small for them.
pub(super) mod nonce {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::commit) fn serialize<S: Serializer>(nonce: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{nonce:032x}"))
    }

    pub(in crate::commit) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }

    /// The same where there may be none.
    pub(in crate::commit) mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Nonce(#[serde(with = "super")] u128);

        pub(in crate::commit) fn serialize<S: Serializer>(
            nonce: &Option<u128>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            nonce.map(Nonce).serialize(serializer)
        }

        pub(in crate::commit) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u128>, D::Error> {
            Ok(Option::<Nonce>::deserialize(deserializer)?.map(|Nonce(nonce)| nonce))
        }
    }
}
