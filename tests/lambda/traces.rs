//! Traces of invocations, by OTLP.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::events::{FLEET, all_taken, schedule, telemetry};
use crate::support::collector::Collector;
use crate::support::lambda::{Deployed, Instance};

/// The text of a span's attribute.
fn attribute(span: &Value, name: &str) -> Option<String> {
    let found = span["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == name)?;
    found["value"]["stringValue"].as_str().map(str::to_owned)
}

#[test]
fn an_invocation_and_its_commits_are_traced_before_it_is_answered() {
    let collector = Collector::start();
    let deployed = Deployed::new(FLEET);
    let endpoint = format!("http://{}", collector.address);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "brewery"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=collector%20key"),
    ];
    let mut instance = Instance::start_with(&deployed, &variables);
    assert_eq!(instance.invoke(telemetry("shardId-0", 0..3)).response(), all_taken());
    // Whoever is answered stands still, maybe for ever: what there was to tell was told.
    let invocations = || collector.spans().into_iter().filter(|span| span["name"] == "invoke").collect::<Vec<_>>();
    let first = invocations();
    assert_eq!(first.len(), 1, "{first:#?}");
    assert_eq!(attribute(&first[0], "faas.trigger").as_deref(), Some("pubsub"));
    assert_eq!((attribute(&first[0], "faas.invocation_id").is_some(), &first[0]["kind"]), (true, &2.into()));
    assert!(instance.invoke(json!({"key1": "value1"})).error().contains("key1"));
    assert_eq!(instance.invoke(schedule()).response(), json!({}));
    let all = invocations();
    assert_eq!(all.len(), 3, "{all:#?}");
    assert_eq!((&all[1]["status"]["code"], &all[1]["status"]["message"]), (&2.into(), &"Source".into()));
    assert_eq!(attribute(&all[2], "faas.trigger").as_deref(), Some("timer"));
    assert!(all.iter().all(|span| span["traceId"].as_str().is_some_and(|id| id.len() == 32)));
    assert!(instance.stop().success());
    let commits: Vec<_> = collector.spans().into_iter().filter(|span| span["name"] == "commit").collect();
    assert!(
        commits.iter().any(|span| attribute(span, "lakeport.export").as_deref() == Some("telemetry")),
        "{commits:?}"
    );
    let text = collector.text();
    assert!(text.contains(r#""service.name","value":{"stringValue":"brewery"}"#), "{text}");
    assert!(text.contains("api-key: collector key"), "{text}");
}

#[test]
fn a_collector_that_is_silent_delays_an_answer_by_a_second_at_most() {
    // It accepts connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let deployed = Deployed::new(FLEET);
    let mut instance = Instance::start_with(&deployed, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]);
    assert_eq!(instance.invoke(telemetry("shardId-0", 0..3)).response(), all_taken());
    let begun = Instant::now();
    // It has two seconds, and most of them are left.
    let answer = instance.invoke_within(telemetry("shardId-0", 0..3), Duration::from_secs(2));
    assert_eq!(answer.response(), all_taken());
    assert!(begun.elapsed() < Duration::from_millis(1_900), "{:?}", begun.elapsed());
    assert_eq!(deployed.ids().len(), 3);
}
