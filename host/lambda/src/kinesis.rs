//! Records of Kinesis data streams.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakeport::error::{Error, Result};
use lakeport_engine::{EventRun, Lines, Numbers, SequenceNumber};
use serde::Deserialize;

use crate::aggregate;
use crate::source::{Resource, shown};

/// A record, as a batch brings it.
#[derive(Debug, Deserialize)]
pub struct Record {
    #[serde(rename = "eventSourceARN")]
    arn: String,
    /// `{shard}:{sequence number}`.
    #[serde(rename = "eventID")]
    id: String,
    kinesis: Data,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    sequence_number: String,
    /// In base64.
    data: String,
}

impl Record {
    fn shard(&self) -> Result<&str> {
        let shard = self.id.split_once(':').map(|(shard, _)| shard).filter(|shard| !shard.is_empty());
        shard.ok_or_else(|| {
            Error::source(format!("the `eventID` `{}` of a Kinesis record names no shard", shown(&self.id)))
        })
    }
}

/// Records of one shard, in their order.
pub struct Batch<'a> {
    pub resource: Resource<'a>,
    pub shard: &'a str,
    records: &'a [Record],
}

impl<'a> Batch<'a> {
    /// The records of an event by their shards. The platform delivers one shard at a time; one that is there in two places is refused,
    /// for then the order of its records is not known.
    ///
    /// # Errors
    /// Of kind `Source`: a record that names no stream or no shard, a shard in two places.
    pub fn all(records: &'a [Record]) -> Result<Vec<Batch<'a>>> {
        let same_shard = |one: &Record, next: &Record| one.arn == next.arn && one.shard().ok() == next.shard().ok();
        let batch = |records: &'a [Record]| {
            let first = &records[0];
            Ok(Batch { resource: Resource::parse(&first.arn)?, shard: first.shard()?, records })
        };
        let batches: Vec<_> = records.chunk_by(same_shard).map(batch).collect::<Result<_>>()?;
        let mut known = HashSet::new();
        match batches.iter().find(|batch| !known.insert((batch.resource.arn, batch.shard))) {
            Some(batch) => Err(Error::source(format!(
                "the records of shard `{}` are in two places of one Kinesis event, expected one after the other",
                shown(batch.shard)
            ))
            .with_help("deliver a shard's records as the platform does, in one run and in their order")),
            None => Ok(batches),
        }
    }

    /// The sequence number of the first record, by which the platform knows where to deliver again.
    pub fn first(&self) -> &'a str {
        &self.records[0].kinesis.sequence_number
    }

    /// The records as lines. One that the Kinesis Producer Library put together is as many lines as it has records in it.
    ///
    /// # Errors
    /// Of kind `Source`: a sequence number that is none or does not follow the one before, or data that is not base64.
    pub fn events(&self) -> Result<EventRun> {
        let mut lines = Lines::default();
        let mut numbers: Vec<SequenceNumber> = Vec::with_capacity(self.records.len());
        for Record { kinesis: Data { sequence_number, data }, .. } in self.records {
            let wrong = |what: &str| {
                let sequence = shown(sequence_number);
                Error::source(format!("record `{sequence}` of shard `{}`: {what}", shown(self.shard)))
            };
            let number =
                SequenceNumber::parse(sequence_number).ok_or_else(|| wrong("its sequence number is no decimal"))?;
            if numbers.last().is_some_and(|last| !number.is_after(last)) {
                return Err(wrong("its sequence number does not follow the one of the record before"));
            }
            let data = STANDARD.decode(data).map_err(|error| wrong(&format!("its data is not base64: {error}")))?;
            match aggregate::records(&data) {
                Some(records) => records.iter().for_each(|record| lines.push(record)),
                None => lines.push(&data),
            }
            numbers.resize(lines.count(), number);
        }
        let numbers = Numbers::Ascending { stream: self.resource.arn.into(), numbers: Arc::from(numbers) };
        let (lines, starts) = lines.finish();
        Ok(EventRun { numbers, lines, starts })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(shard: &str, sequence: &str, data: &[u8]) -> Record {
        serde_json::from_value(json!({
            "kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "1", "sequenceNumber": sequence, "data": STANDARD.encode(data),
                        "approximateArrivalTimestamp": 1545084650.987},
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": format!("{shard}:{sequence}"),
            "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
            "awsRegion": "us-east-2", "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/telemetry"
        }))
        .unwrap()
    }

    #[test]
    fn records_are_divided_by_shard_and_become_lines() {
        let records = [
            record("shardId-0", "9", b"{\"a\":\n1}"),
            record("shardId-0", "10", b"{}"),
            record("shardId-1", "1", b"{}"),
        ];
        let batches = Batch::all(&records).unwrap();
        let shards: Vec<_> = batches.iter().map(|batch| (batch.resource.name, batch.shard, batch.first())).collect();
        assert_eq!(shards, [("telemetry", "shardId-0", "9"), ("telemetry", "shardId-1", "1")]);
        let events = batches[0].events().unwrap();
        assert_eq!((&events.lines[..], &events.starts[..]), (&b"{\"a\": 1}\n{}\n"[..], &[0, 9][..]));
    }

    #[test]
    fn a_shard_in_two_places_is_refused() {
        let records = [record("s", "9", b"{}"), record("t", "1", b"{}"), record("s", "10", b"{}")];
        let error = Batch::all(&records).err().unwrap();
        assert!(error.message.starts_with("the records of shard `s` are in two places"), "{}", error.message);
    }

    #[test]
    fn records_that_came_as_one_have_its_number() {
        let records = [
            record("s", "9", &aggregate::aggregated(&[b"{\"a\":1}", b"{\"b\":2}"])),
            record("s", "10", b"{}"),
            // Not a whole one: it is one record, which will be refused.
            record("s", "11", &aggregate::aggregated(&[b"{}"])[..20]),
        ];
        let events = Batch::all(&records).unwrap()[0].events().unwrap();
        assert!(events.lines.starts_with(b"{\"a\":1}\n{\"b\":2}\n{}\n\xf3\x89\x9a\xc2"));
        let Numbers::Ascending { stream, numbers } = events.numbers else { panic!("{:?}", events.numbers) };
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        assert_eq!(
            (&*stream, numbers),
            (
                "arn:aws:kinesis:us-east-2:123456789012:stream/telemetry",
                ["9", "9", "10", "11"].map(str::to_owned).to_vec()
            )
        );
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let error = |records: &[Record]| Batch::all(records).unwrap()[0].events().unwrap_err().to_string();
        let backwards = error(&[record("s", "10", b"{}"), record("s", "9", b"{}")]);
        assert!(backwards.contains("record `9` of shard `s`: its sequence number does not follow"), "{backwards}");
        assert!(error(&[record("s", "x", b"{}")]).contains("no decimal"));
        let mut record = record("s", "1", b"{}");
        record.kinesis.data = "not base64!".into();
        assert!(error(std::slice::from_ref(&record)).contains("its data is not base64"));
        record.id = "1".into();
        assert!(Batch::all(std::slice::from_ref(&record)).is_err());
    }
}
