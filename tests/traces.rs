//! Traces of `lakeport serve`, by OTLP.

use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::http::{LINES, Serving};
use crate::support::lake_folder::{Installation, signal};
use crate::support::metrics::metrics;
use crate::support::process::wait_until;

const WAIT: &str = "/v1/ingest/signals?wait=commit";

/// The value of an attribute of a span.
fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == name);
    let value = found.unwrap_or_else(|| panic!("no `{name}` in {span}"))["value"].as_object().unwrap();
    value.values().next().unwrap()
}

#[test]
fn traces_continue_those_of_clients_and_a_collector_that_is_away_costs_nothing() {
    let installation = Installation::new(
        "[sources.signals]\nhttp = true\n[exports.signals]\nsource = \"signals\"\nflush = { every = \"100ms\" }\n",
    );
    let collector = Collector::start();
    let start = |endpoint: String, level: &str| {
        let mut command = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_SERVICE_NAME", "brewery");
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=collector%20key").env("LAKEPORT_TRACES", level);
        Serving::start_command(command)
    };
    let serving = start(format!("http://{}", collector.address), "debug");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let line = signal(0, 0) + "\n";
    assert_eq!(serving.post(WAIT, &[LINES, ("traceparent", parent)], line.as_bytes()).status, 200);
    let unsampled = parent.replace("-01", "-00");
    assert_eq!(serving.post(WAIT, &[LINES, ("traceparent", &unsampled)], line.as_bytes()).status, 200);
    assert_eq!(serving.post(WAIT, &[LINES, ("traceparent", "\"; forged")], line.as_bytes()).status, 200);
    assert_eq!(serving.get("/healthz").status, 200);
    // A stop waits for a busy collector for a moment only.
    wait_until("the collector has them", || {
        collector.spans().iter().filter(|span| span["name"] == "POST /v1/ingest/{source}").count() >= 2
    });
    assert!(serving.stop().success());
    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let requests = named("POST /v1/ingest/{source}");
    assert_eq!(requests.len(), 2, "one of three is not sampled: {spans:#?}");
    assert_eq!(requests[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&requests[0]["parentSpanId"], &requests[0]["kind"]), (&"b7ad6b7169203331".into(), &2.into()));
    assert_eq!(attribute(requests[0], "http.response.status_code"), "200");
    assert!(requests[1]["parentSpanId"].is_null() && requests[1]["traceId"] != requests[0]["traceId"]);
    let nanos = |span: &Value, end: &str| span[end].as_str().unwrap().parse::<u64>().unwrap();
    assert!(spans.iter().all(|span| nanos(span, "endTimeUnixNano") >= nanos(span, "startTimeUnixNano")));
    let commits = named("commit");
    assert_eq!(attribute(commits[0], "lakeport.export"), "signals");
    assert!(
        commits
            .iter()
            .map(|span| attribute(span, "lakeport.records.read").as_str().unwrap().parse::<u64>().unwrap())
            .sum::<u64>()
            == 3
    );
    let stores = named("store request");
    let in_commit =
        |span: &&&Value| span["parentSpanId"] == commits[0]["spanId"] && span["traceId"] == commits[0]["traceId"];
    assert!(stores.iter().any(|span| in_commit(&span) && attribute(span, "lakeport.store.operation") == "publish"));
    let text = collector.text();
    assert!(text.starts_with("POST /v1/traces HTTP/1.1") && text.contains("api-key: collector key"), "{text}");
    assert!(text.contains(r#""service.name","value":{"stringValue":"brewery"}"#), "{text}");

    // Nobody listens there.
    let away = start(format!("http://127.0.0.1:{}", crate::support::servers::free_port()), "info");
    for id in 0..50 {
        assert_eq!(away.ingest("signals", &(signal(id, 0) + "\n")).status, 202);
    }
    wait_until("the loss is counted", || metrics(&away, &installation)["lakeport_traces_dropped_total{}"] > 0.0);
    let log = away.log_after_stop(0);
    assert_eq!(log.matches("takes no traces").count(), 1, "{log}");
    assert!(!log.contains("collector key"), "{log}");
}
