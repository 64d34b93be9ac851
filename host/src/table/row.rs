//! Rows: documents with a head that says when they were written, and which partition of their table they are in.
//!
//! A row is in the partition of its creation, for as long as it is there.

use bytes::Bytes;

use super::patch::Patcher;

/// Bytes of a head.
const LENGTH: usize = 4 + 8 + 8 + 1;

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
        let mut out = Vec::with_capacity(LENGTH + row.len());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&self.modified.to_le_bytes());
        out.push(u8::from(self.deleted));
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
            deleted: *rest.first()? != 0,
        })
    }

    /// The row of a document with a head.
    pub fn row(document: &[u8]) -> &[u8] {
        &document[LENGTH..]
    }

    /// [`Head::row`], as a part of the same memory.
    pub fn shared_row(document: &Bytes) -> Bytes {
        document.slice(LENGTH..)
    }
}

/// A row without the members that are null in rows written before a time; `None` where it has to lose none. `gone`: those times, in
/// microseconds since 1970-01-01T00:00:00Z, and names.
pub fn without(row: &[u8], modified: i64, gone: &[(i64, String)]) -> Option<Vec<u8>> {
    let gone = gone.iter().filter(|(since, _)| modified < *since);
    let nulls: serde_json::Map<_, _> = gone.map(|(_, name)| (name.clone(), serde_json::Value::Null)).collect();
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
        let gone = [(5, "a".to_owned()), (i64::MAX, "b".to_owned())];
        assert_eq!(without(br#"{"a":1,"b":2,"c":3}"#, 4, &gone).unwrap(), br#"{"c":3}"#);
        assert_eq!(without(br#"{"a":1,"b":2,"c":3}"#, 5, &gone).unwrap(), br#"{"a":1,"c":3}"#);
        assert_eq!(without(br#"{"a":1}"#, 5, &gone[..1]), None);
    }

    #[test]
    fn a_head_stands_before_its_row() {
        let head = Head { partition: -3, created: i64::MIN, modified: 7, deleted: true };
        let document = head.before(b"{}");
        assert_eq!(Head::of(&document), Some(head));
        assert_eq!((Head::row(&document), Head::shared_row(&document).as_ref()), (&b"{}"[..], &b"{}"[..]));
        assert_eq!(Head::of(&document[..LENGTH - 1]), None);
    }
}
