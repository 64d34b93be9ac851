//! Who may send.

use lakeport_serve::*;

use crate::support::*;

const TOKEN: &str = "a-token-of-32-bytes-0123456789ab";

#[tokio::test]
async fn a_bearer_token_opens_its_sources_and_no_others() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("team", TOKEN).for_sources(["plain", "gone"]));
    let server = start(settings).await;
    let bearer = format!("Bearer {TOKEN}");
    let post = async |path: &str, authorization: &str| {
        server.post(path, &[LINES, ("authorization", authorization)], "{}").await
    };
    assert_eq!(post("/v1/ingest/plain", &bearer).await.status, 202);
    let wrong = post("/v1/ingest/plain", "Bearer wrong").await;
    wrong.problem(401, "unauthenticated");
    assert!(wrong.head.contains("www-authenticate: bearer"), "{}", wrong.head);
    server.lines("{}").await.problem(401, "unauthenticated");
    // A key does not tell which of the sources of others there are.
    post("/v1/ingest/other-team", &bearer).await.problem(403, "forbidden");
    post("/v1/ingest/none", &bearer).await.problem(403, "forbidden");
    post("/v1/ingest/gone", &bearer).await.problem(404, "not-found");
    assert_eq!(server.memory.kept("plain").len(), 1);
}

#[tokio::test]
async fn a_request_is_refused_before_its_body_is_read() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("team", TOKEN));
    let server = start(settings).await;
    let head = "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
    let reply = Reply::parse(&server.raw(head.as_bytes()).await);
    reply.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_rotated_while_the_server_runs() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("old", TOKEN));
    let server = start(settings).await;
    let new = "another-token-of-32-bytes-123456";
    let post = async |token: &str| {
        server.post("/v1/ingest/plain", &[LINES, ("authorization", &format!("Bearer {token}"))], "{}").await.status
    };
    assert_eq!((post(TOKEN).await, post(new).await), (202, 401));
    server.handle.reload(vec![Key::bearer("old", TOKEN), Key::bearer("new", new)]).unwrap();
    assert_eq!((post(TOKEN).await, post(new).await), (202, 202));
    server.handle.reload(vec![Key::bearer("new", new)]).unwrap();
    assert_eq!((post(TOKEN).await, post(new).await), (401, 202));
    assert!(server.handle.reload(vec![Key::bearer("new", "short")]).is_err());
    assert_eq!(post(new).await, 202);
}

#[tokio::test]
async fn an_open_address_without_authentication_is_refused() {
    for (address, is_good) in [
        ("127.0.0.1:0", true),
        ("127.9.9.9:0", true),
        ("[::1]:0", true),
        ("[::ffff:127.0.0.1]:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
        ("10.0.0.1:0", false),
        ("[::ffff:10.0.0.1]:0", false),
    ] {
        let mut settings = Settings::new(address.parse().unwrap());
        assert_eq!(settings.check().is_ok(), is_good, "{address}");
        settings.keys.push(Key::bearer("k", TOKEN));
        assert!(settings.check().is_ok(), "{address}");
    }
}

/// Signs a request as `docs/serve.md` describes it.
fn sign(secret: &str, timestamp: u64, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    sign_as("POST", secret, timestamp, target, headers, body)
}

fn sign_as(method: &str, secret: &str, timestamp: u64, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("lakeport-v1\n{method}\n{target}\n{timestamp}\n").as_bytes());
    for (name, value) in headers {
        mac.update(format!("{name}:{value}\n").as_bytes());
    }
    mac.update(b"\n");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

fn now() -> u64 {
    system_clock()().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_signed_request_is_taken_and_a_changed_one_is_not() {
    let mut settings = loopback();
    settings.keys.push(Key::hmac("signer", TOKEN).for_sources(["plain"]));
    let server = start(settings).await;
    let target = "/v1/ingest/plain?wait=durable";
    let covered = [LINES, ("idempotency-key", "i1")];
    let time = now();
    let signature = sign(TOKEN, time, target, &covered, b"{}\n");
    let time = time.to_string();
    let headers = |idempotency: &'static str, signature: &str| {
        vec![
            LINES,
            ("idempotency-key", idempotency),
            ("lakeport-key", "signer"),
            ("lakeport-timestamp", time.clone().leak()),
            ("lakeport-signature", signature.to_owned().leak()),
        ]
    };
    let good = headers("i1", &signature);
    assert_eq!(server.post(target, &good, "{}\n").await.json()["duplicates"], 0);
    // Repeated as it is, it is kept once.
    assert_eq!(server.post(target, &good, "{}\n").await.json()["duplicates"], 1);
    server.post(target, &good, "{} \n").await.problem(401, "unauthenticated");
    server.post(target, &headers("i2", &signature), "{}\n").await.problem(401, "unauthenticated");
    server.post("/v1/ingest/plain", &good, "{}\n").await.problem(401, "unauthenticated");
    let other = sign("another-secret-of-many-bytes", now(), target, &covered, b"{}\n");
    server.post(target, &headers("i1", &other), "{}\n").await.problem(401, "unauthenticated");
    assert_eq!(server.memory.kept("plain").len(), 1);
    // The secret of a signing key is no bearer token.
    server
        .post(target, &[LINES, ("authorization", &format!("Bearer {TOKEN}"))], "{}")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn metrics_and_reasons_are_for_those_whose_signature_matches() {
    let mut settings = loopback();
    settings.keys.push(Key::hmac("scraper", TOKEN).with_metrics());
    settings.keys.push(Key::bearer("sender", "another-token-of-many-bytes"));
    let server = start(settings).await;
    *server.memory.health.lock().unwrap() = Health { not_ready: vec!["a path".into()], ..Health::default() };
    let time = now();
    let signed = async |target: &str, signature: String| {
        let time = time.to_string();
        let headers =
            [("lakeport-key", "scraper"), ("lakeport-timestamp", &*time), ("lakeport-signature", &*signature)];
        server.get(target, &headers).await
    };
    let good = |target: &str| sign_as("GET", TOKEN, time, target, &[], b"");
    let forged = || format!("v1={}", "0".repeat(64));
    assert_eq!(signed("/metrics", good("/metrics")).await.status, 200);
    signed("/metrics", forged()).await.problem(401, "unauthenticated");
    signed("/metrics", good("/readyz")).await.problem(401, "unauthenticated");
    let hidden = r#"{"status":"failing"}"#;
    assert!(signed("/readyz", good("/readyz")).await.text.contains("a path"));
    assert_eq!(signed("/readyz", forged()).await.text, hidden);
    assert_eq!(server.get("/readyz", &[]).await.text, hidden);
    let sender = [("authorization", "Bearer another-token-of-many-bytes")];
    let ready = server.get("/readyz", &sender).await;
    assert_eq!((ready.status, &*ready.text), (503, hidden));
}

#[tokio::test]
async fn failed_authentications_are_counted_and_lock_nobody_out() {
    let mut settings = loopback();
    settings.keys.push(Key::bearer("sender", TOKEN).with_metrics());
    let server = start(settings).await;
    for number in 0..500 {
        let guess = format!("Bearer a-guess-of-many-bytes-{number}");
        server
            .post("/v1/ingest/plain", &[LINES, ("authorization", &guess)], "{}")
            .await
            .problem(401, "unauthenticated");
    }
    let good = format!("Bearer {TOKEN}");
    assert_eq!(server.post("/v1/ingest/plain", &[LINES, ("authorization", &good)], "{}").await.status, 202);
    let metrics = server.get("/metrics", &[("authorization", &good)]).await.text;
    assert!(metrics.contains("lakeport_serve_refusals_total{reason=\"unauthenticated\"} 500\n"), "{metrics}");
}

#[tokio::test]
async fn secrets_are_in_no_log_answer_or_debug_form() {
    crate::capture::capture();
    const CANARY: &str = "canary-bearer-7f3a9c51d2e84b06";
    const SIGNING: &str = "canary-signing-51d2e84b067f3a9c";
    let mut settings = loopback();
    settings.keys.push(Key::bearer("b", CANARY).for_sources(["plain", "gone"]).with_metrics());
    settings.keys.push(Key::hmac("s", SIGNING));
    let mut seen = format!("{settings:?}{settings:#?}");
    let doubled = Settings { keys: vec![Key::bearer("b", CANARY), Key::bearer("b", CANARY)], ..settings.clone() };
    seen += &format!("{}", doubled.check().unwrap_err());
    let server = start(settings).await;
    let bearer = format!("Bearer {CANARY}");
    let signature = sign(SIGNING, now(), "/v1/ingest/plain", &[LINES], b"{}");
    let time = now().to_string();
    let attempts: Vec<Vec<(&str, &str)>> = vec![
        vec![("authorization", &bearer)],
        vec![("authorization", CANARY)],
        vec![("authorization", &bearer), ("authorization", &bearer)],
        vec![("lakeport-key", SIGNING), ("lakeport-timestamp", &time), ("lakeport-signature", &signature)],
        vec![("lakeport-key", "s"), ("lakeport-timestamp", SIGNING), ("lakeport-signature", &signature)],
        vec![("lakeport-key", "s"), ("lakeport-timestamp", &time), ("lakeport-signature", SIGNING)],
        vec![("lakeport-key", "s"), ("lakeport-timestamp", &time), ("lakeport-signature", &signature)],
    ];
    for path in ["/v1/ingest/plain", "/v1/ingest/other-team", "/v1/ingest/gone", "/metrics", "/healthz", "/none"] {
        for headers in &attempts {
            for (kind, body) in [(LINES, "{}"), (LINES, "no"), (("content-type", "x/y"), "{}")] {
                let headers: Vec<_> = headers.iter().copied().chain([kind]).collect();
                let post = server.post(path, &headers, body).await;
                let get = server.get(path, &headers).await;
                seen += &format!("{}{}{}{}", post.head, post.text, get.head, get.text);
            }
        }
    }
    let query = format!("/v1/ingest/plain?token={CANARY}&key={SIGNING}");
    let reply = server.post(&query, &[LINES, ("authorization", &bearer)], "{}").await;
    reply.problem(400, "invalid-request");
    seen += &reply.text;
    *server.memory.refuse.lock().unwrap() = Some(Refusal::Failed("disk".into()));
    seen += &server.post("/v1/ingest/plain", &[LINES, ("authorization", &bearer)], "{}").await.text;
    let log = crate::capture::logged();
    assert!(log.contains("refused a request") && log.contains("records could not be kept"), "{log}");
    for secret in [CANARY, SIGNING] {
        assert!(!seen.contains(secret), "in an answer or a debug form");
        assert!(!log.contains(secret), "in the log");
    }
}
