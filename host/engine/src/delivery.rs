//! What triggers deliver, in a form that no platform shows in.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use lakeport::error::Error;
use lakeport::plan::SourcePlan;
use lakeport::source::MessageId;
use lakeport_serve::key_of;

use crate::intake::envelope;
use crate::lines::put_line;
use crate::numbers::Numbers;

/// Events of one partition of a stream, one after the other.
#[derive(Debug, Clone)]
pub struct EventRun {
    pub numbers: Numbers,
    /// One event a line, each with its line feed.
    pub lines: Bytes,
    /// Where each line begins.
    pub starts: Arc<[u32]>,
}

/// A message of a queue, or a record of a request.
#[derive(Debug, Clone)]
pub struct Message {
    /// By which it is recognised when it comes again. Without one, it is in the lake at least once.
    pub id: Option<MessageId>,
    /// The messages of a group stay in the order in which they are delivered: they go to one partition.
    pub group: Option<MessageId>,
    /// Its records, one a line. The last line feed may be missing.
    pub lines: Bytes,
}

impl Message {
    /// A message of a queue: one record, known as the source's envelope says, else by what the queue calls it.
    pub fn of_queue(source: &SourcePlan, id: Option<&[u8]>, body: &[u8]) -> Message {
        let mut line = BytesMut::with_capacity(body.len());
        put_line(body, &mut line);
        let key = key_of(&source.name, envelope(source.mapping.envelope), &line);
        let id = id.map(|id| MessageId::of(&[b"queue", source.name.as_bytes(), id]));
        Message { id: key.map(MessageId).or(id), group: None, lines: line.freeze() }
    }
}

/// An object that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// A container of Azure, or a bucket.
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
    /// It does not fit to what its reader knows. Another instance may have gone on meanwhile: a reader that was opened since knows.
    Stale,
    /// Events are missing before it: the next one is expected to be this.
    Gap { expected: u64 },
    /// Some of its events lie before the last one that was taken, some after it, and it is not among them: they come out of order.
    OutOfOrder { taken: Arc<str> },
    /// The partition holds events of another stream.
    OtherStream { known: Arc<str>, given: Arc<str> },
    /// Event `number` has the number of one that was taken, and came after the last one that was taken: the stream counts anew.
    Anew { number: u64, enqueued: DateTime<Utc>, last: DateTime<Utc> },
    /// Too many deliveries of the partition wait already.
    Busy,
    /// The export ended before it was in the lake; its log says why.
    Ended,
    /// It cannot be read.
    Failed(Error),
}
