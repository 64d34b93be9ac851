//! Records that a Firehose stream lets the function transform: they are handed back as they are, once they are in the lake.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakeport::error::Result;
use lakeport::plan::SourcePlan;
use lakeport_engine::Message;
use serde::{Deserialize, Serialize};

use crate::source::Resource;

/// A batch of a stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    delivery_stream_arn: String,
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    record_id: String,
    /// In base64.
    data: String,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    records: Vec<Answered<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    record_id: &'a str,
    result: Outcome,
    data: &'a str,
}

#[derive(Debug, Serialize)]
enum Outcome {
    Ok,
    /// Firehose puts it into its folder of what failed.
    ProcessingFailed,
}

impl Batch {
    /// The stream.
    ///
    /// # Errors
    /// Of kind `Source`: the batch names none.
    pub fn stream(&self) -> Result<Resource<'_>> {
        Resource::parse(&self.delivery_stream_arn)
    }

    /// The records for the lake, and the answer once they are there.
    pub fn divide(&self, source: &SourcePlan) -> (Vec<Message>, Answer<'_>) {
        let (mut messages, mut records) = (Vec::new(), Vec::new());
        for Record { record_id, data } in &self.records {
            let result = match STANDARD.decode(data) {
                Ok(record) => {
                    // Nobody promises that an ID is of one stream only.
                    let id = format!("{} {record_id}", self.delivery_stream_arn);
                    messages.push(Message::of_queue(source, Some(id.as_bytes()), &record));
                    Outcome::Ok
                }
                Err(error) => {
                    tracing::error!(
                        "a record of `{}` failed: its data is not base64: {error}",
                        self.delivery_stream_arn
                    );
                    Outcome::ProcessingFailed
                }
            };
            records.push(Answered { record_id, result, data });
        }
        (messages, Answer { records })
    }
}
