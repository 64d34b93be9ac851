//! Messages of SQS queues.

use lakeport::error::Result;
use lakeport::plan::SourcePlan;
use lakeport::source::MessageId;
use lakeport_engine::Message;
use serde::Deserialize;

use crate::source::Resource;

/// A message, as a batch brings it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueMessage {
    pub message_id: String,
    #[serde(default)]
    pub body: String,
    #[serde(rename = "eventSourceARN")]
    arn: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    /// In a queue that keeps an order: the group whose order it is.
    #[serde(default)]
    message_group_id: Option<String>,
}

impl QueueMessage {
    /// Whether both come from one queue.
    pub fn is_of_queue(&self, other: &QueueMessage) -> bool {
        self.arn == other.arn
    }

    /// The queue, without the `.fifo` that the names of some end with.
    ///
    /// # Errors
    /// Of kind `Source`: the message names none.
    pub fn queue(&self) -> Result<Resource<'_>> {
        let queue = Resource::parse(&self.arn)?;
        Ok(Resource { name: queue.name.trim_end_matches(".fifo"), ..queue })
    }

    /// Whether the queue keeps an order.
    pub fn is_ordered(&self) -> bool {
        self.arn.ends_with(".fifo")
    }

    /// The body as a record.
    pub fn record(&self, source: &SourcePlan) -> Message {
        let group = self.attributes.message_group_id.as_ref().filter(|_| self.is_ordered());
        let group = group.map(|group| MessageId::of(&[b"group", self.arn.as_bytes(), group.as_bytes()]));
        Message { group, ..Message::of_queue(source, Some(self.message_id.as_bytes()), self.body.as_bytes()) }
    }
}
