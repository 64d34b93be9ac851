//! Rows: documents with a head that says when they were written, and which partition of their table they are in.
//!
//! A row is in the partition of its creation, for as long as it is there. A head may be followed by a [`Trace`].

use bytes::Bytes;

use super::patch::Patcher;
use super::trace::Trace;

/// Bytes of a head.
const LENGTH: usize = 4 + 8 + 8 + 1;

/// The row went with this version.
const DELETED: u8 = 1;
/// The length of a trace (4 bytes) and the trace stand between head and row.
const TRACED: u8 = 2;

/// What is known of a row besides its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of its partition; what it counts is the caller's.
    pub partition: i32,
    /// The write time of the commits that first had it, and that changed it last. Microseconds since 1970-01-01T00:00:00Z.
    pub created: i64,
    pub modified: i64,
    /// Of a version: the row went with it.
    pub deleted: bool,
}

impl Head {
    /// A document's bytes: the head, then the row.
    pub fn before(&self, row: &[u8]) -> Bytes {
        self.before_traced(&Trace::default(), row)
    }

    /// A document's bytes: the head, the trace where there is one, then the row.
    pub fn before_traced(&self, trace: &Trace, row: &[u8]) -> Bytes {
        let trace = trace.to_bytes();
        let flag = |flag: u8, set: bool| if set { flag } else { 0 };
        let mut out = Vec::with_capacity(LENGTH + 4 + trace.len() + row.len());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&self.modified.to_le_bytes());
        out.push(flag(DELETED, self.deleted) | flag(TRACED, !trace.is_empty()));
        if !trace.is_empty() {
            out.extend_from_slice(&(trace.len() as u32).to_le_bytes());
            out.extend_from_slice(&trace);
        }
        out.extend_from_slice(row);
        out.into()
    }

    /// The head of a document; `None` where it has none.
    pub fn of(document: &[u8]) -> Option<Head> {
        let (partition, rest) = document.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (modified, rest) = rest.split_first_chunk()?;
        Some(Head {
            partition: i32::from_le_bytes(*partition),
            created: i64::from_le_bytes(*created),
            modified: i64::from_le_bytes(*modified),
            deleted: *rest.first()? & DELETED != 0,
        })
    }

    /// The row of a document with a head.
    pub fn row(document: &[u8]) -> &[u8] {
        &document[trace_end(document)..]
    }

    /// [`Head::row`], as a part of the same memory.
    pub fn shared_row(document: &Bytes) -> Bytes {
        document.slice(trace_end(document)..)
    }

    /// Whether a document is what patches say of a row that has not come yet.
    pub fn is_partial(document: &[u8]) -> bool {
        Head::trace(document).partial.is_some()
    }

    /// The trace of a document; an empty one where it has none.
    pub fn trace(document: &[u8]) -> Trace {
        let end = trace_end(document);
        if end <= LENGTH { Trace::default() } else { Trace::from_bytes(&document[LENGTH + 4..end]) }
    }
}

/// Where the row of a document begins.
fn trace_end(document: &[u8]) -> usize {
    let is_traced = document.get(LENGTH - 1).is_some_and(|flags| flags & TRACED != 0);
    let length = document.get(LENGTH..).filter(|_| is_traced).and_then(<[u8]>::first_chunk);
    let end = length.map_or(LENGTH, |length| LENGTH + 4 + u32::from_le_bytes(*length) as usize);
    end.min(document.len())
}

/// A member that is null in the rows of an earlier time: its column was dropped, or had another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    pub name: String,
    /// In rows that were written before. Microseconds since 1970-01-01T00:00:00Z.
    pub since: i64,
    /// In rows of lower versions, where that is known: versions say more than the order of reading.
    pub below: Option<i64>,
}

impl Gone {
    fn is_gone(&self, modified: i64, version: Option<i64>) -> bool {
        match (version, self.below) {
            (Some(version), Some(below)) if version != below => version < below,
            _ => modified < self.since,
        }
    }
}

/// A row without the members that are gone; `None` where it has to lose none. `modified`: [`Head::modified`].
pub fn without(row: &[u8], modified: i64, version: Option<i64>, gone: &[Gone]) -> Option<Vec<u8>> {
    let gone = gone.iter().filter(|gone| gone.is_gone(modified, version));
    let nulls: serde_json::Map<_, _> = gone.map(|gone| (gone.name.clone(), serde_json::Value::Null)).collect();
    if nulls.is_empty() {
        return None;
    }
    let patch = serde_json::Value::Object(nulls).to_string();
    // A row that cannot be read is refused by whoever reads it next.
    Patcher::default().replace_members(Some(row), patch.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gone_when_a_row_was_written_is_taken_away() {
        let gone = |name: &str, since, below| Gone { name: name.into(), since, below };
        let all = [gone("a", 5, None), gone("b", i64::MAX, None)];
        assert_eq!(without(br#"{"a":1,"b":2,"c":3}"#, 4, None, &all).unwrap(), br#"{"c":3}"#);
        assert_eq!(without(br#"{"a":1,"b":2,"c":3}"#, 5, None, &all).unwrap(), br#"{"a":1,"c":3}"#);
        assert_eq!(without(br#"{"a":1}"#, 5, None, &all[..1]), None);
        // Versions count before times, and where they are equal the time decides.
        let versioned = [gone("a", 5, Some(8))];
        for (modified, version, is_kept) in
            [(9, 7, false), (1, 9, true), (4, 8, false), (5, 8, true)].map(|(m, v, k)| (m, Some(v), k))
        {
            let row = without(br#"{"a":1}"#, modified, version, &versioned);
            assert_eq!(row.is_none(), is_kept, "{modified} {version:?}");
        }
    }

    #[test]
    fn a_head_stands_before_its_row() {
        let head = Head { partition: -3, created: i64::MIN, modified: 7, deleted: true };
        let document = head.before(b"{}");
        assert_eq!(Head::of(&document), Some(head));
        assert_eq!((Head::row(&document), Head::shared_row(&document).as_ref()), (&b"{}"[..], &b"{}"[..]));
        assert_eq!(Head::of(&document[..LENGTH - 1]), None);
        assert_eq!((document.len(), Head::trace(&document)), (LENGTH + 2, Trace::default()), "as it always was");
    }

    #[test]
    fn a_trace_stands_between_a_head_and_its_row() {
        let head = Head { partition: 2020, created: 1, modified: 2, deleted: false };
        let trace = Trace { position: Some(3), applied: vec![u64::MAX, 1], ..Trace::default() };
        let document = head.before_traced(&trace, b"{}");
        assert_eq!((Head::of(&document), Head::trace(&document)), (Some(head), trace));
        assert_eq!(Head::row(&document), b"{}");
    }
}
