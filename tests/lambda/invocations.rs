//! Schedules, time, and what all events have in common.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::events::{FLEET, QUEUES, all_taken, firehose, message, notification, schedule, sqs, telemetry};
use crate::support::lambda::{Answer, Deployed, Instance};

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
    let mut answer = instance.invoke_within(schedule(), Duration::from_millis(50));
    let mut unfinished = 0;
    while let Answer::Error(error) = answer {
        assert!(error["errorMessage"].as_str().unwrap().contains("time was nearly over"), "{error}");
        unfinished += 1;
        answer = instance.invoke_within(schedule(), Duration::from_secs(10 * unfinished));
    }
    assert_eq!(answer.response(), json!({}));
    assert!(unfinished > 0, "the first one had hardly the time to begin");
    let ids = deployed.ids();
    assert!(ids.len() as u64 == total && ids.values().all(|count| *count == 1), "{}", ids.len());
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
fn a_schedule_writes_the_files_of_periods_that_are_over() {
    let hourly = "files = \"sealed\"\ngranularity = \"hour\"\nlateness = \"0s\"\n";
    let deployed = Deployed::new(&QUEUES.replace("timestamp", &format!("{hourly}timestamp")));
    let mut instance = Instance::start(&deployed);
    assert_eq!(instance.invoke(sqs("orders", &[("a", message(0))])).response(), all_taken());
    assert_eq!(instance.invoke(schedule()).response(), json!({}));
    assert!(deployed.files().is_empty(), "its hour is not over");
    assert!(instance.stop().success());
    let mut later = Instance::start_with(&deployed, &[("LAKEPORT_CLOCK_AHEAD", "7200")]);
    for _ in 0..2 {
        assert_eq!(later.invoke(schedule()).response(), json!({}));
        assert_eq!(deployed.ids(), [("m0".to_owned(), 1)].into());
    }
}
