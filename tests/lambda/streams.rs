//! Kinesis data streams.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::events::{FLEET, STREAM, all_taken, kinesis, sequence, telemetry};
use crate::support::lambda::{Answer, Deployed, Instance};
use crate::support::random::Random;

fn expected(shards: &[(&str, Range<u64>)]) -> BTreeMap<String, usize> {
    let ids = |(shard, numbers): &(&str, Range<u64>)| {
        let (shard, numbers) = ((*shard).to_owned(), numbers.clone());
        numbers.map(move |number| (format!("{shard}-{number}"), 1))
    };
    shards.iter().flat_map(ids).collect()
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

/// An event with the records of these numbers only.
fn only(shard: &str, numbers: &[u64]) -> Value {
    let mut event = telemetry(shard, 0..20);
    let mut number = 0..;
    event["Records"].as_array_mut().unwrap().retain(|_| numbers.contains(&number.next().unwrap()));
    event
}

#[test]
fn a_shard_that_comes_back_goes_on_behind_what_another_instance_has_committed() {
    let deployed = Deployed::new(FLEET);
    let (mut one, mut other) = (Instance::start(&deployed), Instance::start(&deployed));
    assert_eq!(one.invoke(only("shardId-0", &[0, 2, 4])).response(), all_taken());
    assert_eq!(other.invoke(only("shardId-0", &[5, 6, 7])).response(), all_taken());
    // To what the first one knows, this comes out of order; it is the last one that the other took, and the next.
    assert_eq!(one.invoke(only("shardId-0", &[3, 5, 7, 8])).response(), all_taken());
    assert_eq!(other.invoke(only("shardId-0", &[9, 10])).response(), all_taken());
    assert_eq!(one.invoke(only("shardId-0", &[11])).response(), all_taken());
    let taken: Vec<_> = deployed.ids().into_keys().collect();
    let mut expected: Vec<_> = [0, 2, 4, 5, 6, 7, 8, 9, 10, 11].map(|n| format!("shardId-0-{n}")).to_vec();
    expected.sort();
    assert_eq!(taken, expected);
}

#[test]
fn two_instances_that_share_a_checkpoint_take_what_follows_it_once() {
    let deployed = Deployed::new(FLEET);
    let total = 150;
    // Everything before it is in the lake.
    let checkpoint = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (deployed, checkpoint) = (&deployed, &checkpoint);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let mut instance = Instance::start(deployed);
                loop {
                    let at = checkpoint.load(Ordering::SeqCst);
                    if at >= total {
                        break;
                    }
                    let first = at - if random.happens(300) { random.within(0..=at.min(10)) } else { 0 };
                    let end = first + random.within(1..=10);
                    assert_eq!(instance.invoke(telemetry("shardId-0", first..end)).response(), all_taken());
                    checkpoint.fetch_max(end, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(deployed.ids(), expected(&[("shardId-0", 0..checkpoint.into_inner())]));
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
    assert_eq!(instance.invoke(only("shardId-0", &[1, 3, 5])).response(), all_taken());
    let error = instance.invoke(only("shardId-0", &[2, 4, 6])).error();
    assert!(error.contains("they come out of order") && error.contains("`ParallelizationFactor`"), "{error}");
    assert_eq!(instance.invoke(only("shardId-0", &[3, 5, 7])).response(), all_taken());
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
fn a_record_that_can_never_be_exported_does_not_stop_its_shard() {
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start(&deployed);
    let mut event = telemetry("0", 0..5);
    event["Records"][2]["kinesis"]["data"] = STANDARD.encode("no JSON\nat all").into();
    for _ in 0..2 {
        assert_eq!(instance.invoke(event.clone()).response(), all_taken());
    }
    assert_eq!(deployed.ids(), expected(&[("0", 0..2), ("0", 3..5)]));
    assert_eq!(deployed.letters("telemetry"), 1);
}
