//! CloudEvents and Event Grid.

use serde_json::{Value, json};

use crate::support::*;

const EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json; charset=utf-8");

fn event(id: u32) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/plants/7","type":"brew","data":{{"t":92.50}}}}"#)
}

#[tokio::test]
async fn an_event_is_kept_once_whatever_it_comes_in() {
    let server = start(loopback()).await;
    let post = async |headers: &[(&str, &str)], body: &str| {
        let reply = server.post("/v1/ingest/events", headers, body).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        reply.json()
    };
    let batch = format!("[{},\n {}]", event(1), event(2));
    assert_eq!(post(&[EVENT], &event(1)).await["duplicates"], 0);
    assert_eq!(post(&[BATCH], &batch).await["duplicates"], 1);
    assert_eq!(post(&[LINES], &format!("{}\n{}\n", event(2), event(3))).await["duplicates"], 1);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/plants/7"),
        ("ce-type", "brew"),
        ("content-type", "application/json"),
    ];
    assert_eq!(post(&binary, "{}").await["duplicates"], 1);
    assert_eq!(server.memory.kept("events"), [event(1), event(2), event(3)]);
}

#[tokio::test]
async fn binary_mode_becomes_one_structured_line() {
    let server = start(loopback()).await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "caf%C3%A9"),
        ("ce-source", "/plants/7"),
        ("ce-type", "brew"),
        ("ce-traceparent", "00-1"),
        ("content-type", "application/vnd.brew+json"),
    ];
    assert_eq!(server.post("/v1/ingest/events", &headers, "{\r\n\"t\": 92.50\n}").await.status, 202);
    let kept = server.memory.kept("events").remove(0);
    assert!(kept.ends_with(r#""data":{  "t": 92.50 }}"#), "{kept}");
    let event: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        event,
        json!({"specversion": "1.0", "id": "café", "source": "/plants/7", "type": "brew", "traceparent": "00-1",
               "datacontenttype": "application/vnd.brew+json", "data": {"t": 92.5}})
    );
}

#[tokio::test]
async fn what_makes_no_event_is_named() {
    let server = start(loopback()).await;
    let post = async |headers: &[(&str, &str)], body: &str| server.post("/v1/ingest/events", headers, body).await;
    let missing = post(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t"), JSON], "{}").await;
    let detail = missing.problem(400, "invalid-records");
    assert!(detail.contains("missing field `source`"), "{detail}");
    let twice = post(&[("ce-id", "1"), ("ce-id", "2"), JSON], "{}").await;
    assert_eq!(twice.problem(400, "invalid-request"), "the header `ce-id` is there twice");
    let data = post(&[("ce-specversion", "1.0"), JSON], "{").await;
    assert!(data.problem(400, "invalid-records").contains("the data is not JSON"));
    let batch = post(&[BATCH], &format!("[{},{{}}]", event(1))).await;
    assert!(batch.problem(400, "invalid-records").starts_with("1 of 2 records are refused"));
    assert_eq!(batch.json()["errors"][0]["index"], 1);
    let picture = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "t"),
        ("content-type", "image/png"),
    ];
    let large = post(&picture, &"x".repeat(1001)).await.problem(413, "record-too-large");
    assert!(large.ends_with("the record has 1001 bytes, expected at most 1000"), "{large}");
    let grown = post(&picture, &"x".repeat(800)).await.problem(413, "record-too-large");
    assert!(grown.contains("the record has 1"), "{grown}");
    post(&[BATCH], &event(1)).await.problem(400, "invalid-body");
    post(&[EVENT], &format!("[{}]", event(1))).await.problem(400, "invalid-records");
    assert!(server.memory.kept("events").is_empty());
}

#[tokio::test]
async fn a_batch_may_be_empty() {
    let server = start(loopback()).await;
    let post = async |body: &'static str| server.post("/v1/ingest/events", &[BATCH], body).await;
    for empty in ["[]", " [ ]\n"] {
        let reply = post(empty).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"position": "", "records": 0, "duplicates": 0})));
    }
    let partial = server.post("/v1/ingest/events?partial=allow", &[BATCH], "[]").await;
    assert_eq!((partial.status, partial.json()["rejected"]["failed"].as_u64()), (200, Some(0)));
    // Nothing at all is no batch.
    for none in ["", "[", "[]]"] {
        post(none).await.problem(400, "invalid-body");
    }
    assert!(server.memory.kept("events").is_empty());
}

#[tokio::test]
async fn events_are_for_their_sources() {
    let server = start(loopback()).await;
    server.post("/v1/ingest/plain", &[EVENT], event(1)).await.problem(415, "unsupported-type");
    // The attributes of an event would be lost.
    server.post("/v1/ingest/plain", &[("ce-id", "1"), JSON], "{}").await.problem(415, "unsupported-type");
}

#[tokio::test]
async fn event_grid_delivers_arrays_and_is_answered() {
    let server = start(loopback()).await;
    let grid = |id: u32| {
        format!(
            r#"{{"id":"{id}","topic":"/t","subject":"s","eventType":"x","eventTime":"2026-03-01T12:00:00Z","data":{{}}}}"#
        )
    };
    let notification = [JSON, ("aeg-event-type", "Notification")];
    let post = async |headers: &[(&str, &str)], body: String| server.post("/v1/ingest/grid", headers, body).await;
    assert_eq!(post(&notification, format!("[{}]", grid(1))).await.json()["duplicates"], 0);
    assert_eq!(post(&notification, format!("[{},{}]", grid(1), grid(2))).await.json()["duplicates"], 1);
    assert_eq!(server.memory.kept("grid"), [grid(1), grid(2)]);
    post(&notification, "[{\"id\":\"1\"}]".into()).await.problem(400, "invalid-records");

    let validation = r#"[{"id":"v","topic":"/t","subject":"","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime":"2026-03-01T12:00:00Z","data":{"validationCode":"512d38b6","validationUrl":"http://127.0.0.1:1/never"}}]"#;
    let reply = post(&[JSON, ("aeg-event-type", "SubscriptionValidation")], validation.into()).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"validationResponse": "512d38b6"})));
    let farewell = post(&[JSON, ("aeg-event-type", "SubscriptionDeletion")], "[]".into()).await;
    assert_eq!(farewell.status, 200);
    assert_eq!(server.memory.kept("grid").len(), 2);
}

#[tokio::test]
async fn a_webhook_of_an_allowed_origin_may_send() {
    let mut settings = loopback();
    settings.webhook_origins.push("eventgrid.azure.net".into());
    let server = start(settings).await;
    let options = async |headers: &[(&str, &str)]| server.request("OPTIONS", "/v1/ingest/events", headers, "").await;
    let allowed = options(&[("WebHook-Request-Origin", "eventgrid.azure.net"), ("WebHook-Request-Rate", "120")]).await;
    assert_eq!(allowed.status, 200);
    for header in ["webhook-allowed-origin: eventgrid.azure.net\r\n", "webhook-allowed-rate: *", "allow: post, options"]
    {
        assert!(allowed.head.contains(header), "{}", allowed.head);
    }
    for other in ["evil.example", "EventGrid.azure.net", ""] {
        options(&[("WebHook-Request-Origin", other)]).await.problem(403, "origin-not-allowed");
    }
    let bare = options(&[]).await;
    assert!(bare.status == 200 && bare.head.contains("allow: post, options") && !bare.head.contains("webhook"));
}
