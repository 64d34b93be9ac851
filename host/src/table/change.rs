//! What happens to a document: changes as they come in, checked, and documents as they go out.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Gone, Head, Patcher, trace, twin, without};
use crate::decode::reason;
use crate::decode::scan::{MAX_DEPTH, Scanner};
use crate::decode::stops::Stops;

/// What a document is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub source: String,
    pub kind: String,
    pub subject: String,
}

/// What a change does, and what a document's changes since the last snapshot amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The body is the whole document.
    Create,
    /// The body is the whole document.
    Update,
    /// The body is a merge patch (RFC 7396) of the document.
    Patch,
    /// The document goes; there is no body.
    Delete,
}

/// What bodies are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Documents and their patches.
    #[default]
    Document,
    /// Device twins of an IoT hub and their changes, kept as device documents.
    Twin,
    /// Rows of a table, kept with a [`Head`]. A patch replaces whole members.
    Row,
}

/// A change that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub(super) key: Key,
    pub(super) shape: Shape,
    pub(super) operation: Operation,
    pub(super) version: Option<i64>,
    pub(super) time: Option<i64>,
    pub(super) body: Bytes,
    /// Of a row: the partition of its creation, where that is known.
    pub(super) partition: Option<i32>,
    /// Where it stands in an event that changes several rows.
    pub(super) position: Option<u32>,
    /// No other change of the row has its version: an equal one is the same change once more.
    pub(super) has_own_version: bool,
    /// Of a delete: a hash of what it said of the document.
    pub(super) said: Option<u64>,
    /// How many changes of the columns came before it with the same commit.
    pub(super) after: u32,
    /// Its [`trace::digest`] as it was received, where it has been changed since.
    digest: Option<u64>,
    /// Of a row: what is to be kept of it, with its head and trace; nothing where it is to be forgotten.
    pub(super) kept: Option<Bytes>,
}

/// A document, or that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub key: Key,
    /// Create if it was not there at the last snapshot, delete if it is gone, else update.
    pub operation: Operation,
    /// The newest that was given.
    pub version: Option<i64>,
    /// Of its last change; microseconds since 1970-01-01T00:00:00Z.
    pub time: Option<i64>,
    /// None where it is gone.
    pub body: Option<Bytes>,
}

impl Change {
    /// Checks a change. A change without `version` always applies; `time` is in microseconds since 1970-01-01T00:00:00Z. What a
    /// delete has for a body only tells it from other deletes.
    ///
    /// # Errors
    ///
    /// The reason for a dead letter.
    pub fn new(
        shape: Shape,
        key: Key,
        operation: Operation,
        version: Option<i64>,
        time: Option<i64>,
        body: Bytes,
    ) -> Result<Change, String> {
        if key.subject.is_empty() {
            return Err("no key: the subject is absent or empty; set `subject` to where records have it".into());
        }
        let said = (operation == Operation::Delete && !body.is_empty()).then(|| xxh3_64(&body));
        let body = match (operation, shape) {
            (Operation::Delete, _) => Bytes::new(),
            (_, Shape::Document | Shape::Row) => check_object(body)?,
            (_, Shape::Twin) => {
                let mapped = twin::map(&check_object(body)?, operation != Operation::Patch)?;
                // One level deeper than the twin was.
                check_object(mapped.into())?
            }
        };
        Ok(Change { shape, time, version, said, ..Change::plain(key, operation, body) })
    }

    fn plain(key: Key, operation: Operation, body: Bytes) -> Change {
        Change {
            key,
            shape: Shape::Document,
            operation,
            version: None,
            time: None,
            body,
            partition: None,
            position: None,
            has_own_version: false,
            said: None,
            after: 0,
            digest: None,
            kept: None,
        }
    }

    /// Keeps under `subject` what was kept of a row under another key, a deletion as well: unless what is there is as new. `row` is
    /// of [`super::Emit::Kept`].
    pub fn moved_to(subject: String, row: Document) -> Change {
        let Document { key, operation, version, time, body } = row;
        let change = Change::plain(Key { subject, ..key }, operation, Bytes::new());
        Change { shape: Shape::Row, version, time, kept: body, ..change }
    }

    /// A whole row.
    pub(super) fn row(key: Key, version: Option<i64>, body: Bytes) -> Change {
        Change { shape: Shape::Row, version, ..Change::plain(key, Operation::Create, body) }
    }

    /// Forgets a row that is kept under another key now, without a deletion.
    pub fn moved_from(key: Key) -> Change {
        let change = Change::plain(key, Operation::Delete, Bytes::new());
        Change { shape: Shape::Row, kept: Some(Bytes::new()), ..change }
    }

    /// The change of a row, which came to be in `partition`, where that is known.
    pub fn in_partition(self, partition: Option<i32>) -> Change {
        Change { partition, ..self }
    }

    /// The change of a row by an event that changes several: where it stands among them, as far as that is known.
    pub fn at_position(self, position: Option<u32>) -> Change {
        Change { position, ..self }
    }

    /// Says whether no other change of the document can have its version.
    pub fn set_own_version(&mut self, own: bool) {
        self.has_own_version = own;
    }

    /// The same after `count` changes of its table's columns in the same commit: rows of before are told from it by their times.
    pub fn set_after(&mut self, count: u32) {
        self.after = count;
    }

    /// Tells whether a document that has the change's version has taken it in. A delete names the version that it takes away.
    pub(super) fn repeats_at_its_version(&self) -> bool {
        self.has_own_version && !self.is_delete()
    }

    /// Tells whether the document goes.
    pub fn is_delete(&self) -> bool {
        self.operation == Operation::Delete
    }

    /// The newest version that the document had when the change was made.
    pub fn version(&self) -> Option<i64> {
        self.version
    }

    /// Tells the change from others of its key and version.
    pub(super) fn digest(&self) -> u64 {
        self.digest.unwrap_or_else(|| trace::digest(self))
    }

    /// The version of a row that `document` was: what a table of versions takes in. `number` tells versions of a row apart, and
    /// orders them.
    pub fn of_version(document: Document, number: u64) -> Change {
        let Document { key, version, time, body, .. } = document;
        let key = Key { source: format!("{number:016x}"), ..key };
        Change { version, time, ..Change::plain(key, Operation::Create, body.unwrap_or_default()) }
    }

    /// What the document is known by, within its source and kind.
    pub fn subject(&self) -> &str {
        &self.key.subject
    }

    /// Says what the document is known by.
    pub fn set_subject(&mut self, subject: String) {
        self.key.subject = subject;
    }

    /// Makes a patch of the row that `document` was under another key the whole row; the row stays in the partition that it was in.
    /// `gone`: as of [`without()`].
    ///
    /// # Errors
    /// Of [`crate::Kind::Internal`], where the document is no row.
    pub fn base_on(&mut self, document: &Bytes, gone: &[Gone]) -> crate::Result<()> {
        let broken = || crate::Error::internal("a table holds a row that cannot be read");
        let head = Head::of(document).ok_or_else(broken)?;
        if self.operation == Operation::Patch {
            self.digest = Some(self.digest());
            let rest = without(Head::row(document), head.modified, None, gone);
            let stored = rest.as_deref().unwrap_or(Head::row(document));
            let row = Patcher::default().replace_members(Some(stored), &self.body);
            self.body = row.map_err(|_| broken())?.into();
            self.operation = Operation::Create;
        }
        self.partition = Some(head.partition);
        Ok(())
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        let Key { source, kind, subject } = &self.key;
        size_of::<Change>() + self.body.len() + source.len() + kind.len() + subject.len()
    }
}

/// Refuses a body that is not one JSON object.
fn check_object(body: Bytes) -> Result<Bytes, String> {
    let say = |reason| format!("the body of the change is {reason}");
    if body.is_empty() {
        return Err(say("empty, expected a JSON object".into()));
    }
    if body.len() > u32::MAX as usize {
        return Err(say(format!("{} bytes, at most {} are possible", body.len(), u32::MAX)));
    }
    reason::check_utf8(&body, false).map_err(say)?;
    let scan = |text: &[u8]| {
        Scanner::new(text, text.len(), &mut Stops::default())
            .document(0, |_, _| {})
            .map_err(|fault| say(reason::fault(text, 0, text.len(), fault)))
    };
    let first = body[scan(&body)?.start as usize];
    if body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() >= MAX_DEPTH {
        // A snapshot puts it into a record, one level deeper.
        scan(&[br#"{"body":"#, &*body, b"}"].concat())?;
    }
    match first {
        b'{' => Ok(body),
        other => Err(say(reason::no_object(other))),
    }
}

impl Operation {
    /// As records have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    /// The reason for a dead letter.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Operation::Create, Operation::Update, Operation::Patch, Operation::Delete];
        let known = all.into_iter().find(|operation| operation.as_str() == text);
        known.ok_or_else(|| {
            format!(
                "the operation `{text}` changes no document: expected `create`, `update`, `patch` or `delete`; leave \
                 other messages out with the filter `select`"
            )
        })
    }
}
