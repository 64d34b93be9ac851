//! Taking records: formats, answers, idempotency.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use lakeport_serve::*;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn lines_are_kept_as_they_came() {
    let server = start(loopback()).await;
    let reply = server.lines("\u{feff}{\"a\": 1.50}\r\n\r\n  \t\n{\"b\":\"\\ud800\"}\n{\"c\":1e400}").await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(reply.json(), json!({"position": "3", "records": 3, "duplicates": 0}));
    assert_eq!(server.memory.kept("plain"), ["{\"a\": 1.50}", "{\"b\":\"\\ud800\"}", "{\"c\":1e400}"]);
}

#[tokio::test]
async fn an_object_or_an_array_becomes_lines() {
    let server = start(loopback()).await;
    let reply = server.post("/v1/ingest/plain", &[JSON], "{\n \"a\": \"x\\ny\"\r\n}\n").await;
    assert_eq!((reply.status, &reply.json()["records"]), (202, &json!(1)));
    let reply = server.post("/v1/ingest/hub", &[JSON], " [ {\"a\":[1,\n2]} ,{} ] ").await;
    assert_eq!((reply.status, &reply.json()["records"]), (202, &json!(2)));
    assert_eq!(server.memory.kept("plain"), ["{  \"a\": \"x\\ny\"  }"]);
    assert_eq!(server.memory.kept("hub"), ["{\"a\":[1, 2]}", "{}"]);
}

#[tokio::test]
async fn one_connection_serves_many_requests_of_a_plain_client() {
    let server = start(loopback()).await;
    let stream = server.connect().await;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for number in 1..=20 {
        let request = hyper::Request::post("/v1/ingest/plain")
            .header("host", "x")
            .header("content-type", "application/x-ndjson")
            .body(Full::new(Bytes::from("{}\n{}\n")))
            .unwrap();
        client.ready().await.unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 202);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let taken: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(taken["position"], (2 * number).to_string());
    }
    drop(client);
    assert_eq!(server.metric("lakeport_serve_accepted_connections_total").await, 2.0);
}

#[tokio::test]
async fn an_invalid_record_refuses_the_request_and_is_named() {
    let server = start(loopback()).await;
    let reply = server.lines("{\"a\":1}\n\n{\"a\":}\n[1]\n{}{}\n\"\u{e4}\"\n").await;
    let detail = reply.problem(400, "invalid-records");
    assert!(
        detail.starts_with("4 of 5 records are refused, nothing was kept: not valid JSON: expected value"),
        "{detail}"
    );
    let problem = reply.json();
    assert_eq!(problem["failed"], 4);
    let errors: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["index"].as_u64().unwrap()).collect();
    assert_eq!(errors, [1, 2, 3, 4]);
    assert_eq!(problem["errors"][1]["detail"], "not a JSON object: starts with `[`");
    assert!(server.memory.kept("plain").is_empty());
}

#[tokio::test]
async fn many_invalid_records_are_listed_up_to_a_limit() {
    let server = start(loopback()).await;
    let problem = server.lines("x\n".repeat(5000)).await.json();
    assert_eq!((problem["failed"].as_u64(), problem["errors"].as_array().unwrap().len()), (Some(5000), 20));
}

#[tokio::test]
async fn partial_keeps_the_valid_records_and_names_the_others() {
    let server = start(loopback()).await;
    let reply = server.post("/v1/ingest/plain?partial=allow", &[LINES], "{}\nnope\n{}\n").await;
    assert_eq!(reply.status, 202);
    let taken = reply.json();
    assert_eq!((&taken["records"], &taken["rejected"]["failed"]), (&json!(2), &json!(1)));
    assert_eq!(taken["rejected"]["errors"], json!([{"index": 1, "detail": "not a JSON object: starts with `n`"}]));
    assert_eq!(server.memory.kept("plain").len(), 2);
    server.post("/v1/ingest/plain?partial=allow", &[LINES], "nope\n").await.problem(400, "invalid-records");
}

#[tokio::test]
async fn bodies_that_are_no_records_are_refused() {
    let server = start(loopback()).await;
    for empty in ["", "\n\r\n \n", "\u{feff}"] {
        assert_eq!(server.lines(empty).await.problem(400, "invalid-body"), "the body has no records");
    }
    let json = async |body: &'static [u8]| server.post("/v1/ingest/plain", &[JSON], body).await;
    assert_eq!(json(b"[]").await.problem(400, "invalid-body"), "the body has no records");
    for (body, expected) in [
        (&b"1"[..], "the body starts with `1`, expected a JSON object or an array of objects"),
        (b"[{},", "the array is not valid JSON, at or after its element 1: EOF"),
        (b"[{}]]", "the array is not valid JSON, at or after its element 1: trailing characters"),
        (b"[{}] {}", "the array is not valid JSON, at or after its element 1: trailing characters"),
        (b"\xff", "not UTF-8 at byte 1"),
    ] {
        let detail = json(body).await.problem(400, "invalid-body");
        assert!(detail.starts_with(expected), "{detail}");
    }
    let two = json(b"{}\n{}").await.problem(400, "invalid-records");
    assert!(two.contains("trailing characters"), "{two}");
    let utf8 = server.lines(b"{}\n{\"a\":\"\xff\"}\n").await;
    assert!(utf8.problem(400, "invalid-records").ends_with("not UTF-8 at byte 7"));
    let bom = server.lines("{}\n\u{feff}{}\n").await;
    assert!(bom.problem(400, "invalid-records").contains(r"starts with `\xef`"));
    assert!(server.memory.kept("plain").is_empty());
}

#[tokio::test]
async fn records_and_bodies_have_limits() {
    let mut settings = loopback();
    settings.limits.body_bytes = 5000;
    settings.limits.decoded_bytes = 6000;
    settings.limits.records = 100;
    let server = start(settings).await;
    let record = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    assert_eq!(server.lines(record(1000)).await.status, 202);
    let large = server.lines(format!("{{}}\n{}\n", record(1001))).await;
    let detail = large.problem(413, "record-too-large");
    assert!(detail.ends_with("the record has 1001 bytes, expected at most 1000"), "{detail}");
    assert_eq!(large.json()["errors"][0]["index"], 1);
    assert_eq!(server.lines("{}\n".repeat(100)).await.status, 202);
    server.lines("{}\n".repeat(101)).await.problem(413, "too-many-records");
    let array = format!("[{}]", ["{}"; 101].join(","));
    server.post("/v1/ingest/plain", &[JSON], array).await.problem(413, "too-many-records");
    server.lines("{}\n".repeat(2000)).await.problem(413, "body-too-large");
    assert_eq!(server.memory.kept("plain").len(), 101);
}

#[tokio::test]
async fn an_idempotency_key_is_good_for_one_body() {
    let server = start(loopback()).await;
    let post =
        async |path: &str, key: &str, body: &str| server.post(path, &[LINES, ("idempotency-key", key)], body).await;
    let plain = "/v1/ingest/plain";
    assert_eq!(post(plain, "\"k1\"", "{}\n{}").await.json()["duplicates"], 0);
    assert_eq!(post(plain, "k1", "{}\r\n{}\n").await.json(), json!({"position": "2", "records": 2, "duplicates": 2}));
    post(plain, "k1", "{}").await.problem(422, "idempotency-key-reused");
    assert_eq!(post(plain, "k2", "{}").await.json()["duplicates"], 0);
    assert_eq!(post("/v1/ingest/hub", "k1", "{}").await.json()["duplicates"], 0);
    post(plain, "k 1", "{}").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn wait_commit_answers_when_the_records_are_in_the_lake() {
    let server = start(loopback()).await;
    assert_eq!(server.post("/v1/ingest/plain?wait=commit", &[LINES], "{}").await.status, 200);
    assert_eq!(server.post("/v1/ingest/plain?wait=durable", &[LINES], "{}").await.status, 202);
    server.post("/v1/ingest/plain?wait=comit", &[LINES], "{}").await.problem(400, "invalid-request");
    let mut settings = loopback();
    settings.timeouts.commit = Duration::from_millis(50);
    let slow = start_with(settings, Memory { never_commits: true, ..Memory::new() }).await;
    let reply = slow.post("/v1/ingest/plain?wait=commit", &[LINES], "{}").await;
    assert_eq!((reply.status, &reply.json()["position"]), (202, &json!("1")));
}

#[tokio::test]
async fn refusals_of_the_intake_become_answers() {
    let server = start(loopback()).await;
    let retry_after = Duration::from_millis(2500);
    for (refusal, status, reason, retry) in [
        (Refusal::Busy { retry_after }, 429, "busy", true),
        (Refusal::Full { retry_after }, 503, "full", true),
        (Refusal::NotReady { retry_after }, 503, "not-ready", true),
        (Refusal::TooLarge, 413, "body-too-large", false),
        (Refusal::Failed("/secret/path".into()), 500, "storage-failed", false),
    ] {
        *server.memory.refuse.lock().unwrap() = Some(refusal);
        let reply = server.lines("{}").await;
        let detail = reply.problem(status, reason);
        assert!(!detail.contains("secret"));
        assert_eq!(reply.head.contains("retry-after: 3"), retry, "{}", reply.head);
        assert_eq!(server.metric(&format!("lakeport_serve_refusals_total{{reason=\"{reason}\"}}")).await, 1.0);
    }
}

#[tokio::test]
async fn other_paths_methods_and_types_are_refused() {
    let server = start(loopback()).await;
    for path in ["/v1/ingest/none", "/v1/ingest/", "/v1/ingest/plain/", "/v1/ingest/..", "/v2", "/"] {
        server.post(path, &[LINES], "{}").await.problem(404, "not-found");
    }
    let get = server.get("/v1/ingest/plain", &[]).await;
    get.problem(405, "method-not-allowed");
    assert!(get.head.contains("\r\nallow: post, options"), "{}", get.head);
    assert!(server.post("/healthz", &[], "").await.head.contains("\r\nallow: get, head"));
    server.post("/v1/ingest/plain", &[("content-type", "text/plain")], "{}").await.problem(415, "unsupported-type");
    server.post("/v1/ingest/plain", &[], "{}").await.problem(415, "unsupported-type");
    server
        .post("/v1/ingest/plain", &[LINES, ("content-encoding", "br")], "{}")
        .await
        .problem(415, "unsupported-encoding");
    let long = format!("/v1/ingest/{}", "a".repeat(2000));
    server.post(&long, &[LINES], "{}").await.problem(414, "target-too-long");
}
