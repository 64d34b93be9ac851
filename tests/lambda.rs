//! The AWS Lambda function: what streams, queues and buckets bring is in the lake once, whatever the platform delivers.
//!
//! A binary of its own, for Cargo builds the function for the tests of its package only.

mod support {
    pub mod lambda;
    pub mod ministack;
    #[expect(dead_code, reason = "other suites need the rest")]
    pub mod random;
    pub mod tools;
}

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use support::lambda::{Answer, BOOTSTRAP, Deployed, Instance, command};
use support::ministack::Ministack;
use support::random::Random;
use support::tools::{python, root};

const FLEET: &str = "[sources.telemetry]\nhttp = true\ntime = false\n\n\
                     [exports.telemetry]\nsource = \"telemetry\"\ntimestamp = \"write\"\nflush = { every = \"1h\" }\n\
                     path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";
/// Queues, a bucket and a Firehose stream; what the bucket `raw` holds is in the folder of its name.
const QUEUES: &str = "[lakes.lake]\nurl = \"./lake\"\n[lakes.raw]\nurl = \"./raw\"\n\n\
                      [sources.orders]\nhttp = true\ntime = false\n[sources.raw]\nhttp = true\ntime = false\nlake = \"raw\"\n\n\
                      [exports.orders]\nsource = \"orders\"\nlake = \"lake\"\ntimestamp = \"write\"\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n\
                      [exports.objects]\nsource = \"raw\"\nlake = \"lake\"\ntimestamp = \"write\"\n\
                      path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";
const STREAM: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/telemetry";

/// A record's sequence number: beyond 64 bits, and with gaps.
fn sequence(number: u64) -> String {
    format!("4959033827149025660855969253836157{:018}", number * 7 + 3)
}

/// An event with the records of these numbers, as an event source mapping sends it.
fn kinesis(stream: &str, shard: &str, numbers: Range<u64>) -> Value {
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

fn telemetry(shard: &str, numbers: Range<u64>) -> Value {
    kinesis(STREAM, shard, numbers)
}

fn expected(shards: &[(&str, Range<u64>)]) -> BTreeMap<String, usize> {
    let ids = |(shard, numbers): &(&str, Range<u64>)| {
        let (shard, numbers) = ((*shard).to_owned(), numbers.clone());
        numbers.map(move |number| (format!("{shard}-{number}"), 1))
    };
    shards.iter().flat_map(ids).collect()
}

/// The event of an EventBridge rule.
fn schedule() -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "account": "123456789012",
        "time": "2026-11-21T00:00:00Z", "region": "eu-central-1", "detail": {},
        "resources": ["arn:aws:events:eu-central-1:123456789012:rule/lakeport"]
    })
}

fn all_taken() -> Value {
    json!({"batchItemFailures": []})
}

#[test]
fn records_of_a_stream_are_in_the_lake_when_the_invocation_is_answered() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start(&deployed);
    assert_eq!(instance.invoke(telemetry("shardId-000000000000", 0..20)).response(), all_taken());
    assert_eq!(deployed.ids(), expected(&[("shardId-000000000000", 0..20)]));
    // The same again, an overlap, and another shard.
    assert_eq!(instance.invoke(telemetry("shardId-000000000000", 0..20)).response(), all_taken());
    assert_eq!(instance.invoke(telemetry("shardId-000000000000", 15..25)).response(), all_taken());
    assert_eq!(instance.invoke(telemetry("shardId-000000000001", 3..5)).response(), all_taken());
    // What the platform has given up in between is no gap.
    assert_eq!(instance.invoke(telemetry("shardId-000000000000", 40..41)).response(), all_taken());
    let all =
        expected(&[("shardId-000000000000", 0..25), ("shardId-000000000000", 40..41), ("shardId-000000000001", 3..5)]);
    assert_eq!(deployed.ids(), all);
    assert!(
        deployed.files().keys().all(|path| path.starts_with("telemetry/shardId-000000000000")
            || path.starts_with("telemetry/shardId-000000000001"))
    );
    assert!(instance.stop().success());
    // Another instance finds in the lake where the shards are.
    let mut instance = Instance::start(&deployed);
    assert_eq!(instance.invoke(telemetry("shardId-000000000000", 0..41)).response(), all_taken());
    assert_eq!(instance.invoke(telemetry("shardId-000000000001", 4..7)).response(), all_taken());
    assert_eq!(
        deployed.ids(),
        expected(&[("shardId-000000000000", 0..25), ("shardId-000000000000", 40..41), ("shardId-000000000001", 3..7)])
    );
}

#[test]
fn two_instances_that_are_killed_and_given_the_same_records_write_them_once() {
    let deployed = Deployed::new(FLEET);
    let total = 150;
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let deployed = &deployed;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut instance = Instance::start(deployed);
                let mut at = 0;
                while at < total {
                    // The platform delivers from its checkpoint on, which may be old.
                    let first = at - random.within(0..=at.min(10));
                    let end = (first + random.within(1..=25)).min(total);
                    let event = telemetry("shardId-0", first..end);
                    if random.within(0..=9) == 0 {
                        instance.begin(event, Duration::from_secs(60));
                        std::thread::sleep(Duration::from_millis(random.within(0..=100)));
                        instance.kill();
                        instance = Instance::start(deployed);
                    } else if let Answer::Response(answer) = instance.invoke(event) {
                        assert_eq!(answer, all_taken());
                        at = at.max(end);
                    }
                }
            });
        }
    });
    assert_eq!(deployed.ids(), expected(&[("shardId-0", 0..total)]));
}

#[test]
fn an_event_of_several_shards_names_what_has_to_come_again() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start(&deployed);
    let others = "arn:aws:kinesis:eu-central-1:210987654321:stream/telemetry";
    let mut both = telemetry("shardId-0", 0..3);
    let unknown = kinesis("arn:aws:kinesis:eu-central-1:123456789012:stream/orders", "shardId-0", 5..7);
    both["Records"].as_array_mut().unwrap().extend(unknown["Records"].as_array().unwrap().clone());
    let answer = instance.invoke(both).response();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": sequence(5)}]}));
    assert_eq!(deployed.ids(), expected(&[("shardId-0", 0..3)]));
    // Where nothing was taken, the invocation fails.
    let error = instance.invoke(unknown).error();
    assert!(error.contains("no export reads a source `orders` with `http = true`"), "{error}");
    assert!(error.contains("LAKEPORT_SOURCE") && error.contains("`telemetry`"), "{error}");
    // A stream of the same name in another account has numbers of its own.
    let error = instance.invoke(kinesis(others, "shardId-0", 5..7)).error();
    assert!(error.contains(&format!("holds events of the stream `{STREAM}`")), "{error}");
    assert_eq!(deployed.ids(), expected(&[("shardId-0", 0..3)]));
}

#[test]
fn batches_of_a_shard_that_come_side_by_side_are_refused() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start(&deployed);
    let only = |numbers: &[u64]| {
        let mut event = telemetry("shardId-0", 0..20);
        let mut at = 0;
        event["Records"].as_array_mut().unwrap().retain(|_| {
            at += 1;
            numbers.contains(&(at - 1))
        });
        event
    };
    assert_eq!(instance.invoke(only(&[1, 3, 5])).response(), all_taken());
    let error = instance.invoke(only(&[2, 4, 6])).error();
    assert!(error.contains("they come out of order") && error.contains("`ParallelizationFactor`"), "{error}");
    assert_eq!(instance.invoke(only(&[3, 5, 7])).response(), all_taken());
    assert_eq!(deployed.ids().len(), 4);
}

#[test]
fn the_setting_names_the_source_of_everything() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start_with(&deployed, &[("LAKEPORT_SOURCE", "telemetry")]);
    // Through a consumer, the stream is the same one.
    let stream = "arn:aws:kinesis:eu-central-1:123456789012:stream/stack-Stream-1X2Y";
    let consumer = format!("{stream}/consumer/lakeport:1700000000");
    assert_eq!(instance.invoke(kinesis(&consumer, "s", 0..3)).response(), all_taken());
    assert_eq!(instance.invoke(kinesis(stream, "s", 0..4)).response(), all_taken());
    assert_eq!(deployed.ids(), expected(&[("s", 0..4)]));
}

#[test]
fn a_schedule_runs_the_exports_of_files() {
    let deployed = Deployed::new(&format!(
        "{FLEET}\n[sources.signals]\nfiles = \"*.ndjson\"\ntime = false\n[exports.signals]\nsource = \"signals\"\ntimestamp = \"write\"\n"
    ));
    deployed.write("signals.ndjson", "{\"id\":\"a\",\"name\":\"s\"}\n{\"id\":\"b\",\"name\":\"s\"}\n");
    let mut instance = Instance::start(&deployed);
    assert_eq!(instance.invoke(schedule()).response(), json!({}));
    assert_eq!(deployed.ids(), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    deployed.write("later.ndjson", "{\"id\":\"c\",\"name\":\"s\"}\n");
    assert_eq!(instance.invoke(schedule()).response(), json!({}));
    assert_eq!(deployed.ids().len(), 3);
}

#[test]
fn a_schedule_ends_in_time_and_the_next_one_goes_on() {
    let deployed = Deployed::new(&format!(
        "{FLEET}\n[sources.signals]\nfiles = \"signals.ndjson\"\ntime = false\n[exports.signals]\nsource = \"signals\"\n\
         timestamp = \"write\"\nflush = {{ every = \"100ms\" }}\n"
    ));
    let total = 400_000;
    let lines =
        |numbers: Range<u64>| numbers.map(|n| format!("{{\"id\":\"{n}\",\"name\":\"s\"}}\n")).collect::<String>();
    deployed.write("signals.ndjson", &lines(0..total));
    let mut instance = Instance::start(&deployed);
    let mut answer = instance.invoke_within(schedule(), Duration::from_millis(500));
    let mut unfinished = 0;
    while let Answer::Error(error) = answer {
        assert!(error["errorMessage"].as_str().unwrap().contains("time was nearly over"), "{error}");
        unfinished += 1;
        answer = instance.invoke_within(schedule(), Duration::from_secs(10 * unfinished));
    }
    assert_eq!(answer.response(), json!({}));
    assert!(unfinished > 0, "the first one had half a second");
    let ids = deployed.ids();
    assert!(ids.len() as u64 == total && ids.values().all(|count| *count == 1), "{}", ids.len());
}

/// Messages of a queue, as an event source mapping sends them. A body that is a text is sent as it is.
fn sqs(queue: &str, messages: &[(&str, Value)]) -> Value {
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

fn message(n: u64) -> Value {
    json!({"id": format!("m{n}"), "name": "Order"})
}

/// A notification of S3, in its own form.
fn notification(event: &str, bucket: &str, key: &str) -> Value {
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

fn failures(ids: &[&str]) -> Value {
    json!({"batchItemFailures": ids.iter().map(|id| json!({"itemIdentifier": id})).collect::<Vec<_>>()})
}

#[test]
fn messages_of_a_queue_are_in_the_lake_once() {
    let deployed = Deployed::new(QUEUES);
    let mut instance = Instance::start(&deployed);
    let batch: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().zip((0..5).map(message)).collect();
    assert_eq!(instance.invoke(sqs("orders", &batch[..3])).response(), all_taken());
    // Some come again, for the platform delivers at least once; to any instance.
    assert_eq!(instance.invoke(sqs("orders", &batch[1..])).response(), all_taken());
    instance.kill();
    let mut instance = Instance::start(&deployed);
    let reversed: Vec<_> = batch.iter().rev().cloned().collect();
    assert_eq!(instance.invoke(sqs("orders", &reversed)).response(), all_taken());
    let all: BTreeMap<_, _> = (0..5).map(|n| (format!("m{n}"), 1)).collect();
    assert_eq!(deployed.ids(), all);
    // One that can never be exported is kept with the reason, and comes no more.
    let poison = [("p", json!("no JSON\nat all")), batch[0].clone()];
    assert_eq!(instance.invoke(sqs("orders", &poison)).response(), all_taken());
    assert_eq!(deployed.ids(), all);
    assert_eq!(deployed.letters("orders"), 1);
    // Where nothing was taken, the invocation fails, whether the platform looks at the answer or not.
    let error = instance.invoke(sqs("unknown", &batch[..2])).error();
    assert!(error.contains("no export reads a source `unknown`"), "{error}");
}

#[test]
fn messages_of_a_group_keep_their_order() {
    let deployed = Deployed::new(&QUEUES.replace("[sources.orders]", "[sources.orders]\npartitions = 3"));
    let mut instance = Instance::start(&deployed);
    let groups = ["north", "south", "east", "west"];
    let deliver = |instance: &mut Instance, numbers: Range<usize>| {
        let ids: Vec<_> = numbers.clone().map(|n| format!("id-{n}")).collect();
        let body = |n: usize| json!({"id": format!("{}-{n:03}", groups[n % 4]), "name": "Order"});
        let messages: Vec<_> = numbers.clone().map(|n| (ids[n - numbers.start].as_str(), body(n))).collect();
        let mut event = sqs("orders.fifo", &messages);
        for (n, record) in numbers.zip(event["Records"].as_array_mut().unwrap()) {
            record["attributes"]["MessageGroupId"] = groups[n % 4].into();
        }
        assert_eq!(instance.invoke(event).response(), all_taken());
    };
    deliver(&mut instance, 0..40);
    deliver(&mut instance, 20..80);
    assert_eq!(deployed.ids().len(), 80);
    assert!(deployed.ids().values().all(|count| *count == 1));
    let files = deployed.files();
    assert!(files.len() > 1, "groups are divided: {:?}", files.keys());
    for group in groups {
        let of_group =
            |file: &String| file.lines().filter(|line| line.contains(group)).map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<_> = files.values().map(of_group).filter(|lines| !lines.is_empty()).collect();
        assert!(lines.len() == 1 && lines[0].len() == 20 && lines[0].is_sorted(), "{group}: {lines:?}");
    }
}

#[test]
fn of_messages_that_tell_of_objects_those_that_fail_come_again() {
    let deployed = Deployed::new(QUEUES);
    for name in ["a", "b", "c"] {
        deployed.write(&format!("raw/{name}.ndjson"), &format!("{}\n", json!({"id": name, "name": "s"})));
    }
    let created = |bucket: &str, name: &str| notification("ObjectCreated:Put", bucket, &format!("{name}.ndjson"));
    let messages = [
        ("1", created("raw", "a")),
        ("2", created("elsewhere", "a")),
        ("3", json!("no JSON")),
        ("4", created("raw", "b")),
        ("5", created("raw", "gone")),
    ];
    let mut instance = Instance::start(&deployed);
    assert_eq!(instance.invoke(sqs("raw", &messages)).response(), failures(&["2", "3"]));
    assert_eq!(deployed.ids(), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    let error = instance.invoke(sqs("raw", &messages[1..2])).error();
    assert!(error.contains("`a.ndjson` of `elsewhere` is not in lake `raw`"), "{error}");
    // A queue that keeps an order delivers what follows again, too: none of it is taken.
    let ordered = [messages[0].clone(), messages[1].clone(), ("6", created("raw", "c"))];
    assert_eq!(instance.invoke(sqs("raw.fifo", &ordered)).response(), failures(&["2", "6"]));
    assert_eq!(deployed.ids(), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    assert_eq!(instance.invoke(sqs("raw.fifo", &ordered[2..])).response(), all_taken());
    assert_eq!(deployed.ids().len(), 3);
}

#[test]
fn objects_are_read_once_however_they_are_announced() {
    let deployed = Deployed::new(QUEUES);
    let record = |id: &str| json!({"id": id, "name": "s"}).to_string() + "\n";
    deployed.write("raw/in/a b+c.ndjson", &(record("a") + &record("b")));
    let mut instance = Instance::start(&deployed);
    let direct = notification("ObjectCreated:Put", "raw", "in/a+b%2Bc.ndjson");
    let bus = json!({
        "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "account": "123456789012",
        "time": "2026-11-21T00:00:00Z", "region": "eu-central-1", "resources": ["arn:aws:s3:::raw"],
        "detail": {"version": "0", "bucket": {"name": "raw"}, "reason": "PutObject",
                   "object": {"key": "in/a b+c.ndjson", "size": 22, "sequencer": "1"}}
    });
    let topic = json!({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:r:1:t", "Message": direct.to_string()});
    assert_eq!(instance.invoke(direct.clone()).response(), json!({}));
    let both = [("a".to_owned(), 1), ("b".to_owned(), 1)];
    assert_eq!(deployed.ids(), both.clone().into());
    for again in [direct.clone(), bus.clone()] {
        assert_eq!(instance.invoke(again).response(), json!({}));
    }
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T00:00:00Z", "Bucket": "raw", "RequestId": "1", "HostId": "2"});
    let removed = notification("ObjectRemoved:Delete", "raw", "in/a+b%2Bc.ndjson");
    let through_queue = [("1", direct.clone()), ("2", topic), ("3", test.clone()), ("4", removed.clone()), ("5", bus)];
    assert_eq!(instance.invoke(sqs("raw", &through_queue)).response(), all_taken());
    assert_eq!(instance.invoke(test).response(), json!({}));
    assert_eq!(instance.invoke(removed).response(), json!({}));
    instance.kill();
    assert_eq!(deployed.ids(), both.into());
    // Another version of it is another file.
    let mut instance = Instance::start(&deployed);
    deployed.write("raw/in/a b+c.ndjson", &record("another"));
    assert_eq!(instance.invoke(direct).response(), json!({}));
    assert_eq!((deployed.ids().len(), deployed.ids().get("another")), (3, Some(&1)));
    // A bucket without a source, and a source that is not told where objects are.
    let error = instance.invoke(notification("ObjectCreated:Put", "other", "a")).error();
    assert!(error.contains("`arn:aws:s3:::other`: no export reads a source `other`"), "{error}");
    let error = instance.invoke(notification("ObjectCreated:Put", "orders", "a")).error();
    assert!(error.contains("source `orders` is told of an object, and has no `lake`"), "{error}");
}

/// Records of a Firehose stream that lets the function transform them.
fn firehose(stream: &str, records: &[(String, Vec<u8>)]) -> Value {
    let record = |(id, data): &(String, Vec<u8>)| json!({"recordId": id, "approximateArrivalTimestamp": 1495072949453_u64, "data": STANDARD.encode(data)});
    json!({
        "invocationId": "invoked123", "region": "eu-central-1", "records": records.iter().map(record).collect::<Vec<_>>(),
        "deliveryStreamArn": format!("arn:aws:firehose:eu-central-1:123456789012:deliverystream/{stream}")
    })
}

#[test]
fn records_of_firehose_are_handed_back_as_they_were() {
    let deployed = Deployed::new(QUEUES);
    let mut instance = Instance::start(&deployed);
    let record = |n: u64| (format!("4954{n}"), message(n).to_string().into_bytes());
    let mut event = firehose("orders", &[record(0), record(9), record(1)]);
    event["records"][1]["data"] = "not base64!".into();
    let expected = json!({"records": [
        {"recordId": "49540", "result": "Ok", "data": event["records"][0]["data"]},
        {"recordId": "49549", "result": "ProcessingFailed", "data": "not base64!"},
        {"recordId": "49541", "result": "Ok", "data": event["records"][2]["data"]},
    ]});
    assert_eq!(instance.invoke(event).response(), expected);
    instance.invoke(firehose("orders", &[record(1), record(2)])).response();
    assert_eq!(deployed.ids(), (0..3).map(|n| (format!("m{n}"), 1)).collect());
}

#[test]
fn one_configuration_and_plugin_give_the_same_files_however_the_records_come() {
    let record = |n: u64| {
        let (hour, minute) = (n / 40, n % 40);
        json!({"id": format!("s{n}"), "name": if n.is_multiple_of(3) { "Alarm" } else { "Reading" }, "signalTime": format!("2026-11-21T0{hour}:{minute:02}:00Z")})
    };
    let records: Vec<String> = (0..100).map(|n| record(n).to_string()).collect();
    let lines: String = records.iter().map(|record| record.clone() + "\n").collect();
    let deploy = |input: &str| {
        let deployed = Deployed::new(&format!(
            "[plugins.odd]\npath = \"{}\"\n\n[lakes.lake]\nurl = \"./lake\"\n\n[lakes.raw]\nurl = \"./raw\"\n\n\
             [sources.signals]\n{input}\n\n[exports.signals]\nsource = \"signals\"\nlake = \"lake\"\n\
             transforms = [{{ plugin = \"odd\", mode = \"duplicate\" }}]\nflush = {{ every = \"1h\" }}\n\
             path = \"{{export}}/{{kind}}/{{partition}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\n",
            test_guests::TRANSFORM
        ));
        deployed.write("raw/signals.ndjson", &lines);
        deployed
    };
    let files = |input: &str, event: Value| {
        let deployed = deploy(input);
        let mut instance = Instance::start_with(
            &deployed,
            &[("LAKEPORT_SOURCE", if input.starts_with("http") { "signals" } else { "" })],
        );
        instance.invoke(event).response();
        deployed.files()
    };
    let ids: Vec<String> = (0..100).map(|n| format!("id-{n:03}")).collect();
    let mut of_shard = telemetry("0", 0..100);
    for (record, delivered) in records.iter().zip(of_shard["Records"].as_array_mut().unwrap()) {
        delivered["kinesis"]["data"] = STANDARD.encode(record).into();
    }
    let messages: Vec<_> = ids.iter().map(String::as_str).zip(records.iter().map(|record| json!(record))).collect();
    let of_firehose: Vec<_> =
        ids.iter().cloned().zip(records.iter().map(|record| record.clone().into_bytes())).collect();
    let expected = files("files = \"raw/signals.ndjson\"", schedule());
    assert!(expected.len() > 4, "{:?}", expected.keys());
    for (how, input, event) in [
        ("Kinesis", "http = true", of_shard),
        ("SQS", "http = true", sqs("queue", &messages)),
        ("Firehose", "http = true", firehose("stream", &of_firehose)),
        ("S3", "http = true\nlake = \"raw\"", notification("ObjectCreated:Put", "raw", "signals.ndjson")),
    ] {
        let found = files(input, event);
        assert!(found == expected, "{how}: {:?}", found.keys());
    }
}

#[test]
fn an_invocation_is_answered_before_its_time_is_over() {
    // A lake that does not answer: it accepts connections and is silent.
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let lake = format!(
        "\n[lakes.main]\nurl = \"s3://bucket/lake/\"\nendpoint = \"http://{}\"\nregion = \"eu-central-1\"\n\
         access-key-id = \"id\"\nsecret-access-key = \"env:LAKE_KEY\"\n",
        silent.local_addr().unwrap()
    );
    let deployed = Deployed::new(&format!("{FLEET}lake = \"main\"\n{lake}"));
    let mut instance = Instance::start_with(&deployed, &[("LAKE_KEY", "secret")]);
    let error = instance.invoke_within(telemetry("shardId-0", 0..3), Duration::from_secs(2)).error();
    assert!(error.contains("has not committed what was delivered in time"), "{error}");
}

#[test]
fn what_is_not_taken_is_named_and_the_next_invocation_is_answered() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start(&deployed);
    let error =
        instance.invoke(json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "hunter2"}}]})).error();
    assert!(error.contains("records of `aws:sns`") && !error.contains("hunter2"), "{error}");
    assert!(instance.invoke(json!({"key1": "value1"})).error().contains("an object with the members `key1`"));
    assert_eq!(instance.invoke(telemetry("s", 0..1)).response(), all_taken());
}

#[test]
fn a_platform_delivers_a_stream_and_queues_to_the_function() {
    let platform = Ministack::start("lambda,kinesis,sqs,s3,iam");
    let lake = |name: &str, url: &str| {
        format!(
            "\n[lakes.{name}]\nurl = \"{url}\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
             access-key-id = \"env:AWS_ACCESS_KEY_ID\"\nsecret-access-key = \"env:AWS_SECRET_ACCESS_KEY\"\n",
            platform.url()
        )
    };
    let source = |name: &str, more: &str| {
        FLEET.replace("telemetry", name).replace("http = true", &format!("http = true\n{more}")) + "lake = \"main\"\n\n"
    };
    let (main, incoming) = (lake("main", "s3://exports/lake/"), lake("incoming", "s3://incoming/"));
    let sources = source("telemetry", "") + &source("orders", "") + &source("incoming", "lake = \"incoming\"");
    let folder = tempfile::tempdir().unwrap();
    let arguments = [platform.url(), BOOTSTRAP.to_owned(), sources + &main + &incoming];
    let printed: Value = serde_json::from_str(&python(folder.path(), "lambda_platform.py", &arguments)).unwrap();
    let ids: BTreeMap<String, usize> = serde_json::from_value(printed["ids"].clone()).unwrap();
    let expected = [("k", 300), ("m", 30), ("o", 5)];
    assert_eq!(
        ids,
        expected.iter().flat_map(|(kind, count)| (0..*count).map(move |n| (format!("{kind}{n}"), 1))).collect()
    );
    assert_eq!(printed["put_aside"], json!(["of no object"]));
    assert_eq!(printed["schedule"], json!({"error": null, "answer": {}}));
}

#[test]
fn the_example_is_right_once_it_names_a_bucket() {
    let folder = root().join("examples/aws-lambda");
    let text = std::fs::read_to_string(folder.join("lakeport.toml")).unwrap();
    let parse =
        |text: &str| lakeport::config::parse(text, &folder.join("lakeport.toml"), &|_| Some("secret".to_owned()));
    let plan = parse(&text.replace("LAKE-BUCKET", "contoso-lake")).unwrap();
    assert_eq!(plan.exports[0].source.name, "telemetry");
    // The one that it has is none.
    assert!(parse(&text).unwrap_err().to_string().contains("not a bucket's name"));
}

#[test]
fn a_start_that_cannot_work_says_why() {
    let start = |deployed: &Deployed, variables: &[(&str, &str)], without: &str| {
        let mut command = command(deployed, SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        let output =
            command.envs(variables.iter().copied()).env_remove(without).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let deployed = Deployed::new(FLEET);
    let error = start(&deployed, &[], "AWS_LAMBDA_RUNTIME_API");
    assert!(error.contains("AWS_LAMBDA_RUNTIME_API is not set") && error.contains("provided.al2023"), "{error}");
    let error = start(&deployed, &[("LAKEPORT_SOURCE", "telemetri")], "");
    assert!(error.contains("LAKEPORT_SOURCE is `telemetri`") && error.contains("did you mean `telemetry`?"), "{error}");
    let error = start(&deployed, &[("LAKEPORT_CONFIG", "other.toml")], "");
    assert!(error.contains("other.toml"), "{error}");
}
