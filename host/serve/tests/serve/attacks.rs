//! What the open internet sends. Each prints time and memory; what is asserted are counts.

use std::io::{Read as _, Write};
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::capture::{capture, logged};
use crate::support::*;

/// Prints how long an attack took, and the memory of the process (tests run beside each other).
struct Meter(&'static str, Instant);

impl Meter {
    fn start(name: &'static str) -> Meter {
        Meter(name, Instant::now())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = |name| status.lines().find(|line| line.starts_with(name)).unwrap_or("?").to_owned();
        println!("{}: {:.2} s, {}, {}", self.0, self.1.elapsed().as_secs_f64(), memory("VmRSS"), memory("VmHWM"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_clients_end_and_others_are_served() {
    let _meter = Meter::start("300 slow clients");
    let mut settings = loopback();
    settings.timeouts.header = Duration::from_secs(2);
    settings.timeouts.body_idle = Duration::from_secs(2);
    let server = start(settings).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..300 {
        let mut stream = server.connect().await;
        clients.spawn(async move {
            let head = "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 100000\r\n";
            let is_body = number % 2 == 0;
            let _ = stream.write_all(head.as_bytes()).await;
            if is_body {
                let _ = stream.write_all(b"\r\n").await;
            }
            // A byte now and then, for as long as the server listens.
            let (mut read, mut write) = stream.into_split();
            let dripping = async {
                while write.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(300)).await;
                }
            };
            let mut reply = Vec::new();
            tokio::select! {
                _ = read.read_to_end(&mut reply) => {}
                () = dripping => {}
            }
            (is_body, String::from_utf8_lossy(&reply).starts_with("HTTP/1.1 408 "))
        });
    }
    assert_eq!(server.lines("{}").await.status, 202);
    let ended = timeout(Duration::from_secs(30), clients.join_all()).await.expect("all of them end");
    assert_eq!(ended.len(), 300);
    let refused = server.metric("lakeport_serve_refusals_total{reason=\"body-timeout\"}").await;
    let closed = server.metric("lakeport_serve_connection_failures_total{reason=\"header-timeout\"}").await;
    assert_eq!((refused, closed), (150.0, 150.0));
    assert!(
        ended.iter().all(|(is_body, answered)| is_body == answered),
        "slow bodies are answered, slow heads are not"
    );
    assert_eq!(server.metric("lakeport_serve_held_bytes").await, 0.0);
    assert_eq!(server.memory.kept("plain").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_stop_at_the_limit() {
    let server = start(loopback()).await;
    let zstd = zstd::encode_all(std::io::repeat(b' ').take(512 << 20), 3).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..256 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let gzip = gzip.finish().unwrap();
    // Many small members: each of them is harmless.
    let members = zstd::encode_all(std::io::repeat(b' ').take(1 << 20), 3).unwrap().repeat(512);
    for (encoding, bomb, name) in
        [("zstd", zstd, "zstd bomb"), ("gzip", gzip, "gzip bomb"), ("zstd", members, "zstd frames")]
    {
        let _meter = Meter::start(name);
        println!("{name}: {} bytes", bomb.len());
        let headers = [LINES, ("content-encoding", encoding)];
        server.post("/v1/ingest/plain", &headers, &bomb).await.problem(413, "body-too-large");
        let many = futures_join(8, || server.post("/v1/ingest/plain", &headers, &bomb)).await;
        assert!(many.iter().all(|reply| matches!(reply.status, 413 | 429)), "{many:?}");
        assert_eq!(server.metric("lakeport_serve_held_bytes").await, 0.0);
    }
    // A window larger than HTTP allows is refused, not reserved.
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&vec![b' '; 1000]).unwrap();
    let wide = wide.finish().unwrap();
    server.post("/v1/ingest/plain", &[LINES, ("content-encoding", "zstd")], wide).await.problem(400, "invalid-body");
    assert!(server.memory.kept("plain").is_empty());
}

/// Makes several of a future and awaits them together.
async fn futures_join<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut pending: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn stacked_encodings_are_not_unpacked() {
    let _meter = Meter::start("stacked encodings");
    let server = start(loopback()).await;
    let once = zstd::encode_all(&b"{}\n"[..], 3).unwrap();
    let twice = zstd::encode_all(&*once, 3).unwrap();
    let post = async |encodings: &[(&str, &str)], body: &[u8]| {
        let headers: Vec<_> = [LINES].iter().chain(encodings).copied().collect();
        server.post("/v1/ingest/plain", &headers, body).await
    };
    post(&[("content-encoding", "zstd, zstd")], &twice).await.problem(415, "unsupported-encoding");
    post(&[("content-encoding", "zstd"), ("content-encoding", "zstd")], &twice)
        .await
        .problem(415, "unsupported-encoding");
    post(&[("content-encoding", "zstd")], &twice).await.problem(400, "invalid-records");
    assert_eq!(post(&[("content-encoding", "zstd")], &once).await.status, 202);
    assert_eq!(server.memory.kept("plain").len(), 1);
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let _meter = Meter::start("endless body");
    let mut settings = loopback();
    settings.limits.body_bytes = 1 << 20;
    let server = start(settings).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let (mut read, mut write) = stream.into_split();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let sending = async {
        let mut sent = 0;
        while write.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    };
    let mut reply = Vec::new();
    let reading = async {
        let _ = read.read_to_end(&mut reply).await;
    };
    let (sent, ()) = timeout(Duration::from_secs(20), async { tokio::join!(sending, reading) }).await.expect("it ends");
    Reply::parse(&reply).problem(413, "body-too-large");
    // The limit, what is read on for a moment, and what the buffers of the system take.
    assert!(sent < 32 << 20, "{sent}");
    assert_eq!(server.metric("lakeport_serve_held_bytes").await, 0.0);
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let _meter = Meter::start("smuggling");
    let server = start(loopback()).await;
    let smuggled =
        "POST /v1/ingest/hub HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 2\r\n\r\n{}";
    let long = smuggled.len();
    let chunked = format!("0\r\n\r\n{smuggled}");
    let heads = [
        // Read as chunked, and the connection is closed: what follows is not read.
        (format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", chunked.len()), &*chunked, 400),
        (format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", chunked.len()), &chunked, 400),
        (format!("content-length: 0\r\ncontent-length: {long}\r\n"), smuggled, 400),
        ("transfer-encoding: xchunked\r\n".into(), &chunked, 400),
        ("transfer-encoding: chunked, identity\r\n".into(), &chunked, 400),
        ("transfer-encoding: identity\r\n".into(), smuggled, 400),
        ("transfer-encoding: gzip, chunked\r\n".into(), &chunked, 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".into(), &chunked, 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(), &chunked, 400),
        ("transfer-encoding : chunked\r\n".into(), &chunked, 400),
        ("transfer-encoding:\u{b}chunked\r\n".into(), &chunked, 400),
        ("x: y\r\n transfer-encoding: chunked\r\n".into(), &chunked, 400),
        ("content-length: +0\r\n".into(), smuggled, 400),
        ("content-length: -1\r\n".into(), smuggled, 400),
        ("content-length: 0x0\r\n".into(), smuggled, 400),
        ("content-length: 0 0\r\n".into(), smuggled, 400),
        ("content-length: 0,\r\n".into(), smuggled, 400),
        ("content-length: 99999999999999999999\r\n".into(), smuggled, 400),
        ("content-length : 0\r\n".into(), smuggled, 400),
        ("x: \0\r\n".into(), smuggled, 400),
        ("x: y\rz: w\r\n".into(), smuggled, 400),
        ("transfer-encoding: chunked\r\n".into(), "fffffffffffffffff\r\n", 400),
        ("transfer-encoding: chunked\r\n".into(), "-1\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\n".into(), "0x2\r\n{}\r\n0\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\n".into(), "2\r\n{}0\r\n\r\n", 400),
    ];
    for (headers, body, status) in heads {
        let head =
            format!("POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n{headers}\r\n");
        println!("{headers:?}");
        let reply = server.raw(format!("{head}{body}").as_bytes()).await;
        let text = String::from_utf8_lossy(&reply);
        let answers = text.matches("HTTP/1.1 ").count();
        assert_eq!((answers, Reply::parse(&reply).status), (1, status), "{headers:?} {body:?}: {text}");
    }
    for hosts in ["", "host: x\r\nhost: x\r\n"] {
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}\r\n{smuggled}");
        let reply = server.raw(request.as_bytes()).await;
        let answers = String::from_utf8_lossy(&reply).matches("HTTP/1.1 ").count();
        assert_eq!((Reply::parse(&reply).status, answers), (400, 1), "{hosts:?}");
    }
    let old = format!(
        "POST /v1/ingest/plain HTTP/1.0\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
    );
    assert_eq!(Reply::parse(&server.raw(old.as_bytes()).await).status, 400);
    assert!(server.memory.kept("hub").is_empty() && server.memory.kept("plain").is_empty());
}

#[tokio::test]
async fn names_of_sources_lead_nowhere_else() {
    let _meter = Meter::start("names of sources");
    let server = start(loopback()).await;
    let long = "a".repeat(900);
    let names = [
        "..",
        "%2e%2e",
        "..%2fplain",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "plain%00",
        "%00",
        "plain/",
        "plain%2f",
        "./plain",
        "plain/../plain",
        "%ff%fe",
        "%c0%ae%c0%ae",
        "PLAIN",
        "plain%20",
        "%70lain%",
        "%zz",
        "plain;a=b",
        "\\..\\plain",
        "%250a",
        &long,
    ];
    for name in names {
        let reply = server.post(&format!("/v1/ingest/{name}"), &[LINES], "{}").await;
        assert!(matches!(reply.status, 400 | 404), "{name}: {}", reply.status);
    }
    // Not ASCII in the target.
    let raw = server
        .raw(b"POST /v1/ingest/\xff\xfe HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    assert!(matches!(Reply::parse(&raw).status, 400 | 404));
    assert!(["plain", "hub"].iter().all(|source| server.memory.kept(source).is_empty()));
    assert_eq!(server.post("/v1/ingest/%70lain", &[LINES], "{}").await.status, 202);
}

#[tokio::test]
async fn clients_write_no_lines_into_the_log() {
    capture();
    let _meter = Meter::start("log injection");
    let server = start(loopback()).await;
    let evil = "%1b[31m%0d%0a2026-01-01T00:00:00Z%20ERROR%20forged";
    server.post(&format!("/v1/ingest/{evil}"), &[LINES], "{}").await.problem(404, "not-found");
    let raw = server.raw(b"POST /\x1b[31mforged HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(Reply::parse(&raw).status, 400);
    let body = "\u{1b}[31m\r{\"a\":1}\n\u{9b}31m forged\n";
    server.post("/v1/ingest/plain", &[LINES], body).await.problem(400, "invalid-records");
    let event = "{\"specversion\":\"\\u001b[31m\\nforged\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}";
    server.post("/v1/ingest/events", &[LINES], event).await.problem(400, "invalid-records");
    let origin = [("webhook-request-origin", "a\u{9b}31m forged")];
    server.request("OPTIONS", "/v1/ingest/events", &origin, "").await.problem(403, "origin-not-allowed");
    server.post(&format!("/v1/ingest/plain?{evil}=x"), &[LINES], "{}").await.problem(400, "invalid-request");
    let log = logged();
    assert!(log.contains("refused a request"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\u{9b}'), "{log}");
    assert!(
        log.lines()
            .all(|line| line.is_empty()
                || line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z ERROR forged")),
        "{log}"
    );
}

#[tokio::test]
async fn ten_thousand_headers_are_refused_and_pipelined_requests_answered() {
    let _meter = Meter::start("headers and pipelining");
    let server = start(loopback()).await;
    let headers = "a: b\r\n".repeat(10_000);
    let reply = server.raw(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
    assert_eq!(Reply::parse(&reply).status, 431);
    let one =
        "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 2\r\n\r\n{}";
    let last = one.replace("host: x", "host: x\r\nconnection: close");
    let reply = server.raw(format!("{}{last}", one.repeat(499)).as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&reply).matches("HTTP/1.1 202 ").count(), 500);
    assert_eq!(server.memory.kept("plain").len(), 500);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let _meter = Meter::start("a client that does not read");
    let mut settings = loopback();
    settings.timeouts.idle = Duration::from_millis(500);
    let server = start(settings).await;
    let mut stream = server.connect().await;
    let ask = "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let sending = async { while stream.write_all(ask.as_bytes()).await.is_ok() {} };
    timeout(Duration::from_secs(20), sending).await.expect("the server closes");
    assert_eq!(server.metric("lakeport_serve_connection_failures_total{reason=\"idle-timeout\"}").await, 1.0);
}
