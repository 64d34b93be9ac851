//! What the function is invoked with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lakeport::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::source::shown;
use crate::{firehose, kinesis, s3, sqs};

/// An event that is taken.
#[derive(Debug)]
pub enum Event {
    Kinesis(Vec<kinesis::Record>),
    Sqs(Vec<sqs::QueueMessage>),
    S3(Vec<s3::Notification>),
    Firehose(firehose::Batch),
    /// It is time to run exports.
    Schedule,
}

/// The members that tell events apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    #[serde(borrow, default, rename = "Records")]
    records: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    delivery_stream_arn: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "detail-type")]
    detail_type: Option<Cow<'a, str>>,
    /// Of what S3 sends once when notifications are set up.
    #[serde(borrow, default, rename = "Event")]
    event: Option<Cow<'a, str>>,
}

/// The member that tells records apart. SNS writes it in a way of its own.
#[derive(Deserialize)]
struct RecordOutline<'a> {
    #[serde(borrow, rename = "eventSource", alias = "EventSource")]
    event_source: Cow<'a, str>,
}

impl Event {
    /// What invokes the function, in OpenTelemetry's words.
    pub fn trigger(&self) -> &'static str {
        match self {
            Event::Kinesis(_) | Event::Sqs(_) => "pubsub",
            Event::S3(_) => "datasource",
            Event::Firehose(_) => "other",
            Event::Schedule => "timer",
        }
    }

    /// Reads the payload of an invocation.
    ///
    /// # Errors
    /// Of kind `Source`: an event that is not taken, by its name; or one that lacks something.
    pub fn parse(payload: &str) -> Result<Event> {
        let outline: Outline = serde_json::from_str(payload).map_err(|_| unknown(payload))?;
        if let Some(records) = &outline.records {
            let first = records.first().ok_or_else(|| Error::source("the event has no records"))?;
            let kind: RecordOutline = serde_json::from_str(first.get()).map_err(|_| unknown(payload))?;
            return match &*kind.event_source {
                "aws:kinesis" => Ok(Event::Kinesis(read("a Kinesis record", records)?)),
                "aws:sqs" => Ok(Event::Sqs(read("an SQS message", records)?)),
                "aws:s3" => Ok(Event::S3(s3::notifications(payload)?)),
                other => Err(not_taken(&format!("records of `{}`", shown(other)))),
            };
        }
        if outline.delivery_stream_arn.is_some() {
            let batch = serde_json::from_str(payload);
            return batch.map(Event::Firehose).map_err(|error| invalid("a batch of Firehose", &error));
        }
        match (outline.source.as_deref(), outline.detail_type.as_deref()) {
            (Some("aws.events" | "aws.scheduler"), Some("Scheduled Event")) => Ok(Event::Schedule),
            (Some("aws.s3"), _) => Ok(Event::S3(s3::notifications(payload)?)),
            (Some(source), Some(kind)) => {
                Err(not_taken(&format!("an EventBridge event `{}` of `{}`", shown(kind), shown(source))))
            }
            _ if outline.event.as_deref() == Some(s3::TEST) => Ok(Event::S3(s3::notifications(payload)?)),
            _ => Err(unknown(payload)),
        }
    }
}

/// Reads each record.
fn read<T: DeserializeOwned>(what: &str, records: &[&RawValue]) -> Result<Vec<T>> {
    let one = |(at, record): (usize, &&RawValue)| {
        let read = serde_json::from_str(record.get());
        read.map_err(|error| invalid(what, &error).context(format_args!("record {at}")))
    };
    records.iter().enumerate().map(one).collect()
}

fn invalid(what: &str, error: &serde_json::Error) -> Error {
    Error::source(format!("not {what}: {error}"))
}

/// The error of an event that has a name.
fn not_taken(what: &str) -> Error {
    Error::source(format!("the function was invoked with {what}, which it does not take")).with_help(
        "it takes events of Kinesis streams, SQS queues, S3 buckets, Firehose streams and schedules; docs/lambda.md says in which forms",
    )
}

/// The error of an event that has none: its members tell what it may be.
fn unknown(payload: &str) -> Error {
    type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;
    let what = match serde_json::from_str::<Members>(payload) {
        Ok(members) if members.is_empty() => "an empty object".to_owned(),
        Ok(members) => {
            let names: Vec<_> = members.keys().take(10).map(|name| format!("`{}`", shown(name))).collect();
            format!("an object with the members {}", names.join(", "))
        }
        Err(_) => "what is no JSON object".to_owned(),
    };
    not_taken(&what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(payload: &str) -> String {
        Event::parse(payload).unwrap_err().to_string()
    }

    #[test]
    fn both_kinds_of_schedules_are_taken() {
        // The detail of a rule is an object, that of a scheduler's target a text.
        for (source, detail) in [("aws.events", "{}"), ("aws.scheduler", "\"{}\"")] {
            let payload = format!(
                r#"{{"version":"0","id":"1","detail-type":"Scheduled Event","source":"{source}","account":"123456789012",
                "time":"2026-11-21T00:00:00Z","region":"eu-central-1","resources":["arn:aws:events:eu-central-1:123456789012:rule/r"],"detail":{detail}}}"#
            );
            assert!(matches!(Event::parse(&payload).unwrap(), Event::Schedule));
        }
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let stream = r#"{"Records":[{"eventSource":"aws:dynamodb","dynamodb":{}}]}"#;
        assert!(error(stream).contains("records of `aws:dynamodb`"), "{}", error(stream));
        let topic = r#"{"Records":[{"EventSource":"aws:sns","Sns":{}}]}"#;
        assert!(error(topic).contains("records of `aws:sns`"), "{}", error(topic));
        let change =
            r#"{"version":"0","detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","detail":{}}"#;
        assert!(error(change).contains("`EC2 Instance State-change Notification` of `aws.ec2`"), "{}", error(change));
        // Names of members, and never what they hold.
        let secret = r#"{"httpMethod":"GET","headers":{"authorization":"hunter2"}}"#;
        assert!(error(secret).contains("the members `headers`, `httpMethod`"), "{}", error(secret));
        assert!(!error(secret).contains("hunter2"));
        for other in
            ["{}", "[]", "null", "\"text\"", "17", r#"{"Records":[]}"#, r#"{"Records":[17]}"#, r#"{"Records":{}}"#]
        {
            assert!(Event::parse(other).is_err(), "{other}");
        }
        assert!(error("{}").contains("an empty object"));
    }
}
