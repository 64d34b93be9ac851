//! `lakeport functions`: each event of a hub's partition is in the lake once, whatever the platform delivers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::functions::{Instance, events, silent_lake};
use crate::support::http::request;
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
fn a_partition_that_comes_back_goes_on_behind_what_another_instance_has_committed() {
    for gaps in ["refuse", "accept"] {
        let app = app(&FLEET.replace("http = true", &format!("http = true\ngaps = \"{gaps}\"")));
        let (one, other) = (Instance::start(&app), Instance::start(&app));
        deliver(&one, "3", 0..10);
        deliver(&other, "3", 10..20);
        deliver(&one, "3", 20..30);
        deliver(&other, "3", 30..40);
        // What is missing is refused, or passed over, by whoever is asked and has looked.
        let behind_a_gap = one.call("telemetry", &events("3", 50..60)).status;
        assert_eq!(behind_a_gap, if gaps == "accept" { 200 } else { 500 });
        let expected = match gaps {
            "accept" => expected(&[("3", 0..40), ("3", 50..60)]),
            _ => expected(&[("3", 0..40)]),
        };
        assert_eq!(found(&app), expected);
        let gaps = |instance: &Instance| instance.metric("lakeport_delivery_gaps_total");
        assert_eq!((gaps(&one), gaps(&other)), (1.0, 0.0), "one gap is none that another instance has filled");
    }
}

#[test]
fn two_instances_that_share_a_checkpoint_take_what_follows_it_and_nothing_behind_a_gap() {
    let app = app(FLEET);
    let total = 150;
    // Everything before it is in the lake.
    let checkpoint = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (app, checkpoint) = (&app, &checkpoint);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                let instance = Instance::start(app);
                loop {
                    let at = checkpoint.load(Ordering::SeqCst);
                    if at >= total {
                        break;
                    }
                    let first = match random.within(0..=3) {
                        0 => at - random.within(0..=at.min(10)),
                        1 => at + random.within(1..=5),
                        _ => at,
                    };
                    let end = first + random.within(1..=10);
                    let answer = instance.call("telemetry", &events("0", first..end));
                    match answer.status {
                        200 => _ = checkpoint.fetch_max(end, Ordering::SeqCst),
                        // The other instance may have filled the gap meanwhile, and nothing else makes a difference.
                        _ => assert!(first > at, "{first} to {end} behind {at}: {answer:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(found(&app), expected(&[("0", 0..checkpoint.into_inner())]));
}

/// Events of another hub, or of another namespace; or some that were enqueued another day.
fn of(mut events: Value, hub: &str, namespace: Option<&str>, day: &str) -> Value {
    let times = events["Metadata"]["EnqueuedTimeUtcArray"].as_str().unwrap().replace("2026-11-21", day);
    events["Metadata"]["EnqueuedTimeUtcArray"] = times.into();
    let context = &mut events["Metadata"]["PartitionContext"];
    context["EventHubName"] = hub.into();
    if let Some(namespace) = namespace {
        context["FullyQualifiedNamespace"] = namespace.into();
    }
    events
}

#[test]
fn another_hub_and_one_that_was_made_anew_are_refused_by_name() {
    const DAY: &str = "2026-11-21";
    let app = app(FLEET);
    let instance = Instance::start(&app);
    deliver(&instance, "3", 100..110);
    instance.succeed("telemetry", &of(events("3", 105..115), "Hub", Some("contoso.servicebus.windows.net"), DAY));
    instance.kill();
    let instance = Instance::start(&app);
    let refused = |events: Value, expected: &[&str]| {
        let answer = instance.call("telemetry", &events);
        let error = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 500 && expected.iter().all(|expected| error.contains(expected)), "{answer:?} {error}");
    };
    let known = "`sb://contoso.servicebus.windows.net/hub`";
    refused(of(events("3", 0..5), "other", None, DAY), &[known, "`sb:///other`", "a source of its own"]);
    refused(of(events("3", 0..5), "hub", Some("fabrikam"), DAY), &[known, "`sb://fabrikam/hub`"]);
    let anew = of(events("3", 0..5), "hub", None, "2026-11-22");
    refused(anew, &["event 0 of 2026-11-22 00:00:00.025 UTC", "the hub was made anew", "give the export another name"]);
    // Other partitions are not concerned, and the right hub goes on.
    deliver(&instance, "4", 0..5);
    deliver(&instance, "3", 110..120);
    assert_eq!(found(&app), expected(&[("3", 100..120), ("4", 0..5)]));
}

#[test]
fn an_instance_that_is_told_to_end_ends_though_its_lake_does_not_answer() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let app = app(&format!("{FLEET}lake = \"main\"\n\n[server]\nstop-within = \"2s\"\n\n{}", silent_lake(&silent)));
    let instance = Instance::start_with(&app, &[("LAKE_KEY", "secret")]);
    let address = instance.address;
    let waiting = std::thread::spawn(move || {
        let body = events("3", 0..3).to_string();
        request(address, "POST", "/telemetry", &[("Content-Type", "application/json")], body.as_bytes())
    });
    let (_connection, _) = silent.accept().unwrap();
    let begun = std::time::Instant::now();
    instance.end();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(waiting.join().unwrap().is_err(), "what is not in the lake is not answered");
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
