//! What the platform invokes the function with, and configurations that take it.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub const FLEET: &str = "[sources.telemetry]\nhttp = true\ntime = false\n\n\
                     [exports.telemetry]\nsource = \"telemetry\"\ntimestamp = \"write\"\nflush = { every = \"1h\" }\n\
                     path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";

/// Queues, a bucket and a Firehose stream; what the bucket `raw` holds is in the folder of its name.
pub const QUEUES: &str = "[lakes.lake]\nurl = \"./lake\"\n[lakes.raw]\nurl = \"./raw\"\n\n\
                      [sources.orders]\nhttp = true\ntime = false\n[sources.raw]\nhttp = true\ntime = false\nlake = \"raw\"\n\n\
                      [exports.orders]\nsource = \"orders\"\nlake = \"lake\"\ntimestamp = \"write\"\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n\
                      [exports.objects]\nsource = \"raw\"\nlake = \"lake\"\ntimestamp = \"write\"\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";

pub const STREAM: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/telemetry";

/// A record's sequence number: beyond 64 bits, and with gaps.
pub fn sequence(number: u64) -> String {
    format!("4959033827149025660855969253836157{:018}", number * 7 + 3)
}

/// An event with the records of these numbers, as an event source mapping sends it.
pub fn kinesis(stream: &str, shard: &str, numbers: Range<u64>) -> Value {
    let record = |number: u64| {
        let data = format!(r#"{{"id":"{shard}-{number}","name":"Reading"}}"#);
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": "key", "sequenceNumber": sequence(number),
                "data": STANDARD.encode(data), "approximateArrivalTimestamp": 1545084650.987
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("{shard}:{}", sequence(number)),
            "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda",
            "awsRegion": "eu-central-1", "eventSourceARN": stream
        })
    };
    json!({"Records": numbers.map(record).collect::<Vec<_>>()})
}

pub fn telemetry(shard: &str, numbers: Range<u64>) -> Value {
    kinesis(STREAM, shard, numbers)
}

/// The event of an EventBridge rule.
pub fn schedule() -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "account": "123456789012",
        "time": "2026-11-21T00:00:00Z", "region": "eu-central-1", "detail": {},
        "resources": ["arn:aws:events:eu-central-1:123456789012:rule/lakeport"]
    })
}

/// Messages of a queue, as an event source mapping sends them. A body that is a text is sent as it is.
pub fn sqs(queue: &str, messages: &[(&str, Value)]) -> Value {
    let record = |(id, body): &(&str, Value)| {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        json!({
            "messageId": id, "receiptHandle": "AQEB", "body": body, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"}, "messageAttributes": {},
            "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
            "eventSourceARN": format!("arn:aws:sqs:eu-central-1:123456789012:{queue}")
        })
    };
    json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
}

pub fn message(n: u64) -> Value {
    json!({"id": format!("m{n}"), "name": "Order"})
}

/// A notification of S3, in its own form.
pub fn notification(event: &str, bucket: &str, key: &str) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1", "eventTime": "2026-11-21T00:00:00.000Z",
        "eventName": event, "userIdentity": {"principalId": "A1"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "all",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A1"}, "arn": format!("arn:aws:s3:::{bucket}")},
            "object": {"key": key, "size": 10, "sequencer": "0055AED6DCD90281E5"}
        }
    }]})
}

/// Records of a Firehose stream that lets the function transform them.
pub fn firehose(stream: &str, records: &[(String, Vec<u8>)]) -> Value {
    let record = |(id, data): &(String, Vec<u8>)| json!({"recordId": id, "approximateArrivalTimestamp": 1495072949453_u64, "data": STANDARD.encode(data)});
    json!({
        "invocationId": "invoked123", "region": "eu-central-1", "records": records.iter().map(record).collect::<Vec<_>>(),
        "deliveryStreamArn": format!("arn:aws:firehose:eu-central-1:123456789012:deliverystream/{stream}")
    })
}

pub fn all_taken() -> Value {
    json!({"batchItemFailures": []})
}

pub fn failures(ids: &[&str]) -> Value {
    json!({"batchItemFailures": ids.iter().map(|id| json!({"itemIdentifier": id})).collect::<Vec<_>>()})
}
