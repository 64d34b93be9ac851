//! `lakeport functions`: each event of a hub's partition is in the lake once, whatever the platform delivers.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use crate::support::functions::{Instance, events};
use crate::support::lake_folder::Installation;
use crate::support::random::Random;

const FLEET: &str = "[sources.telemetry]\nhttp = true\nenvelope = \"iot-hub\"\n\n\
                     [exports.telemetry]\nsource = \"telemetry\"\nflush = { every = \"1h\" }\n\
                     path = \"{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}\"\n";
const TRIGGER: &str = r#"{"bindings":[{"type":"eventHubTrigger","name":"events","direction":"in","cardinality":"many",
    "eventHubName":"hub","connection":"HUB","dataType":"string"}]}"#;

/// A function app with the handler of the events of a hub.
fn app(configuration: &str) -> Installation {
    let app = Installation::new(configuration);
    app.write("telemetry/function.json", TRIGGER);
    app
}

/// Delivers events, and wants them to be taken.
fn deliver(instance: &Instance, partition: &str, numbers: Range<u64>) {
    instance.succeed("telemetry", &events(partition, numbers));
}

fn expected(partitions: &[(&str, Range<u64>)]) -> BTreeMap<String, usize> {
    partitions
        .iter()
        .flat_map(|(partition, numbers)| numbers.clone().map(move |n| (format!("{partition}-{n}"), 1)))
        .collect()
}

/// How often each event is in the lake: its ID is in the body.
fn found(app: &Installation) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in app.lines() {
        let line: Value = serde_json::from_slice(&line).unwrap();
        let body = line.get("Body").or_else(|| line.get("body")).unwrap_or(&line);
        *found.entry(body["id"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn events_are_in_the_lake_when_the_invocation_is_answered() {
    let app = app(FLEET);
    let instance = Instance::start(&app);
    deliver(&instance, "3", 17..20);
    assert_eq!(found(&app), expected(&[("3", 17..20)]));
    deliver(&instance, "5", 0..2);
    assert_eq!(found(&app), expected(&[("3", 17..20), ("5", 0..2)]));
    assert!(app.files().keys().all(|path| path.contains("telemetry/3/") || path.contains("telemetry/5/")));
    instance.stop();
    // Each partition has a log of its own.
    let status: Value = serde_json::from_str(&app.run_ok(&["status", "--json"])).unwrap();
    let partitions: Vec<_> =
        status["exports"].as_array().unwrap().iter().map(|of| (&of["partition"], &of["records"])).collect();
    assert_eq!(partitions, [(&json!("3"), &json!(3)), (&json!("5"), &json!(2))]);
    assert!(app.run_ok(&["status"]).contains("telemetry/5"));
}

#[test]
fn what_is_done_is_answered_an_overlap_is_cut_and_a_gap_is_refused() {
    let app = app(FLEET);
    let instance = Instance::start(&app);
    deliver(&instance, "3", 10..20);
    deliver(&instance, "3", 10..20);
    deliver(&instance, "3", 12..15);
    deliver(&instance, "3", 15..25);
    let refused = instance.call("telemetry", &events("3", 30..35));
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.body).contains("event 30 was delivered, and 25 is next"), "{refused:?}");
    deliver(&instance, "3", 25..35);
    assert_eq!(found(&app), expected(&[("3", 10..35)]));
    // Another instance finds all of this in the lake.
    instance.kill();
    let instance = Instance::start(&app);
    deliver(&instance, "3", 20..36);
    assert_eq!(found(&app), expected(&[("3", 10..36)]));
}

#[test]
fn a_gap_is_passed_over_where_the_source_says_so_or_the_hub_has_no_events_between() {
    let accepting = app(&FLEET.replace("http = true", "http = true\ngaps = \"accept\""));
    let instance = Instance::start(&accepting);
    deliver(&instance, "3", 0..2);
    deliver(&instance, "3", 7..9);
    assert_eq!(found(&accepting), expected(&[("3", 0..2), ("3", 7..9)]));
    let app = app(FLEET);
    let instance = Instance::start(&app);
    deliver(&instance, "3", 0..2);
    // One delivery with a gap: there are no events between.
    let mut both = events("3", 2..4);
    both["Metadata"]["SequenceNumberArray"] = "[2,9]".into();
    assert_eq!(instance.call("telemetry", &both).status, 200);
    deliver(&instance, "3", 10..11);
    assert_eq!(found(&app).len(), 5);
}

#[test]
fn two_instances_that_are_given_the_same_events_in_any_order_write_them_once() {
    let app = app(FLEET);
    let instances = [Instance::start(&app), Instance::start(&app)];
    let total = 120;
    std::thread::scope(|scope| {
        for (seed, instance) in instances.iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(seed as u64);
                let mut at = 0;
                while at < total {
                    // What the platform delivers begins at a checkpoint, which may be old.
                    let first = at - random.within(0..=at.min(10));
                    let end = (first + random.within(1..=25)).min(total);
                    if instance.call("telemetry", &events("0", first..end)).status == 200 {
                        at = at.max(end);
                    }
                }
            });
        }
    });
    assert_eq!(found(&app), expected(&[("0", 0..total)]));
}

#[test]
fn several_partitions_without_a_place_of_their_own_are_refused() {
    let app = app(&FLEET.replace("{partition}/", ""));
    let instance = Instance::start(&app);
    let refused = instance.call("telemetry", &events("3", 0..2));
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.body).contains("its path has no `{partition}`"), "{refused:?}");
    assert!(app.files().is_empty());
}

#[test]
fn a_function_without_a_source_and_a_trigger_that_is_not_taken_are_refused_at_the_start() {
    let start = |app: &Installation| {
        let output = app.command(&["functions"]).env("FUNCTIONS_CUSTOMHANDLER_PORT", "1").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = app(&FLEET.replace("telemetry", "others"));
    assert!(
        start(&unknown).contains("function `telemetry`: no export reads a source of this name"),
        "{}",
        start(&unknown)
    );
    let other = app(FLEET);
    other.write("telemetry/function.json", r#"{"bindings":[{"type":"kafkaTrigger","name":"q"}]}"#);
    assert!(start(&other).contains("the trigger `kafkaTrigger` is not taken"), "{}", start(&other));
    other.write("telemetry/function.json", r#"{"bindings":[{"type":"blobTrigger","name":"b"}]}"#);
    assert!(start(&other).contains("source `telemetry` has no `lake`"), "{}", start(&other));
    let outside = app(FLEET).run(&["functions"]);
    assert!(String::from_utf8_lossy(&outside.stderr).contains("FUNCTIONS_CUSTOMHANDLER_PORT is ``"));
}
