//! What triggers deliver, in a form that no platform shows in.

use std::sync::Arc;

use bytes::Bytes;
use lakeport::error::Error;
use lakeport::source::MessageId;

/// Events of one partition of a stream, one after the other.
#[derive(Debug, Clone)]
pub struct EventRun {
    /// The sequence number of the first event; the others follow without a gap.
    pub first: u64,
    /// The number of the event before it, where that is known: between the two there is none.
    pub follows: Option<u64>,
    /// One event a line, each with its line feed.
    pub lines: Bytes,
    /// Where each line begins.
    pub starts: Arc<[u32]>,
}

/// A message that comes in no order.
#[derive(Debug, Clone)]
pub struct Message {
    /// By which it is recognised when it comes again. Without one, it is in the lake at least once.
    pub id: Option<MessageId>,
    /// Its records, one a line. The last line feed may be missing.
    pub lines: Bytes,
}

/// An object that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Azure's container, or a bucket.
    pub container: String,
    /// Its name in there, as it is: nothing is decoded.
    pub name: String,
    /// Its ETag when it was announced: a version that was read already needs no request.
    pub etag: Option<String>,
}

/// What became of a delivery: everything in it is in the lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Messages that were in the lake already.
    pub duplicates: usize,
    /// Where messages are, for logs: each partition, and how many records it has up to there.
    pub position: String,
}

/// Something on its way to a reader.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    Events(EventRun),
    Messages(Arc<[Message]>),
    Object(ObjectRef),
}

/// Why a delivery was not taken.
#[derive(Debug, Clone)]
pub(crate) enum Refused {
    /// Events are missing before it: the next one is expected to be this.
    Gap { expected: u64 },
    /// Too many deliveries of the partition wait already.
    Busy,
    /// The export ended before it was in the lake; its log says why.
    Ended,
    /// It cannot be read.
    Failed(Error),
}
