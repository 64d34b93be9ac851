//! SQS queues, objects in S3, Firehose.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::json;

use crate::events::{QUEUES, all_taken, failures, firehose, message, notification, sqs};
use crate::support::lambda::{Answer, Deployed, Instance};
use crate::support::random::Random;

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
fn a_partition_that_cannot_go_on_fails_its_own_messages() {
    let deployed = Deployed::new(&QUEUES.replace("[sources.orders]", "[sources.orders]\npartitions = 2"));
    let mut instance = Instance::start(&deployed);
    let ids: Vec<_> = (0..12).map(|n| format!("id-{n}")).collect();
    let messages: Vec<_> = ids.iter().map(|id| (id.as_str(), json!({"id": id, "name": "Order"}))).collect();
    assert_eq!(instance.invoke(sqs("orders", &messages[..6])).response(), all_taken());
    instance.kill();
    // What stands in the log of one of them is none of its commits.
    for entry in std::fs::read_dir(deployed.path().join("lake/_lakeport/orders/1/log")).unwrap() {
        std::fs::write(entry.unwrap().path(), "no commit").unwrap();
    }
    let mut instance = Instance::start(&deployed);
    let answer = instance.invoke_within(sqs("orders", &messages[6..]), Duration::from_secs(4)).response();
    let failed = answer["batchItemFailures"].as_array().unwrap();
    let failed: Vec<_> = failed.iter().map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect();
    let written = deployed.ids();
    assert!((1..6).contains(&failed.len()), "{failed:?}");
    for id in &ids[6..] {
        assert_eq!(written.contains_key(id), !failed.contains(id), "{id}: {failed:?}");
    }
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
fn messages_that_come_in_any_order_to_instances_that_are_killed_are_in_the_lake_once() {
    let deployed = Deployed::new(QUEUES);
    let total = 100;
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let deployed = &deployed;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut instance = Instance::start(deployed);
                let mut left: Vec<u64> = (0..total).collect();
                while !left.is_empty() {
                    // What the platform deletes it may deliver once more.
                    let mut batch: Vec<u64> = (0..random.within(1..=10))
                        .map(|_| left[random.within(0..=left.len() as u64 - 1) as usize])
                        .collect();
                    batch.push(random.within(0..=total - 1));
                    batch.sort_unstable();
                    batch.dedup();
                    let ids: Vec<_> = batch.iter().map(|n| format!("id-{n}")).collect();
                    let messages: Vec<_> =
                        ids.iter().map(String::as_str).zip(batch.iter().copied().map(message)).collect();
                    if random.within(0..=9) == 0 {
                        instance.begin(sqs("orders", &messages), Duration::from_secs(60));
                        std::thread::sleep(Duration::from_millis(random.within(0..=100)));
                        instance.kill();
                        instance = Instance::start(deployed);
                    } else if let Answer::Response(answer) = instance.invoke(sqs("orders", &messages)) {
                        assert_eq!(answer, all_taken());
                        left.retain(|n| !batch.contains(n));
                    }
                }
            });
        }
    });
    assert_eq!(deployed.ids(), (0..total).map(|n| (format!("m{n}"), 1)).collect());
}
