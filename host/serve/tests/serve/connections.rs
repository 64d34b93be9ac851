//! Limits of connections, headers and time, and the end of a server.

use std::time::Duration;

use lakeport_serve::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::support::*;

fn quick() -> Settings {
    let mut settings = loopback();
    settings.timeouts.header = Duration::from_millis(300);
    settings.timeouts.idle = Duration::from_millis(600);
    settings.timeouts.body_idle = Duration::from_millis(300);
    settings.timeouts.body = Duration::from_secs(2);
    settings.timeouts.stop = Duration::from_millis(500);
    settings
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_told_so() {
    let mut settings = loopback();
    settings.limits.connections = 2;
    let server = start(settings).await;
    let held = [server.connect().await, server.connect().await];
    let reply = loop {
        let mut stream = server.connect().await;
        let mut reply = Vec::new();
        if timeout(Duration::from_millis(500), stream.read_to_end(&mut reply)).await.is_ok() {
            break Reply::parse(&reply);
        }
    };
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("retry-after: 1"));
    drop(held);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.lines("{}").await.status, 202);
    assert!(server.metric("lakeport_serve_connection_failures_total{reason=\"too-many\"}").await >= 1.0);
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_closed() {
    let server = start(quick()).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let dripping = async {
        for byte in b"POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\n" {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        read_to_close(&mut slow).await
    };
    assert_eq!(tokio::join!(read_to_close(&mut silent), dripping), (0, 0));
    assert_eq!(server.metric("lakeport_serve_connection_failures_total{reason=\"header-timeout\"}").await, 2.0);

    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Longer than the time for a header: the connection is idle, and closed after the time for that.
    assert!(read_to_close(&mut idle).await > 0);
    assert_eq!(server.metric("lakeport_serve_connection_failures_total{reason=\"idle-timeout\"}").await, 1.0);
}

/// Reads until the server closes, and returns the number of bytes.
async fn read_to_close(stream: &mut tokio::net::TcpStream) -> usize {
    let mut read = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut read)).await.expect("the server closes");
    read.len()
}

#[tokio::test]
async fn slow_bodies_are_refused() {
    let server = start(quick()).await;
    let head = b"POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 100000\r\n\r\n";
    let mut silent = server.connect().await;
    silent.write_all(head).await.unwrap();
    Reply::parse(&read_all(&mut silent).await).problem(408, "body-timeout");

    // Never silent for long, but below the rate.
    let mut dripping = server.connect().await;
    dripping.write_all(head).await.unwrap();
    let reply = async {
        for _ in 0..100 {
            sleep(Duration::from_millis(30)).await;
            if dripping.write_all(b" ").await.is_err() {
                break;
            }
        }
        Reply::parse(&read_all(&mut dripping).await)
    };
    reply.await.problem(408, "body-timeout");
    assert_eq!(server.metric("lakeport_serve_held_bytes").await, 0.0);
}

#[tokio::test]
async fn heads_have_limits() {
    let server = start(loopback()).await;
    let many = (0..100).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = format!("x: {}\r\n", "y".repeat(20 << 10));
    for headers in [many, long] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        assert_eq!(Reply::parse(&server.raw(request.as_bytes()).await).status, 431);
    }
    assert_eq!(server.metric("lakeport_serve_connection_failures_total{reason=\"head-too-large\"}").await, 2.0);
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_new_ones() {
    let mut server = start_with(loopback(), Memory { gate: Some(Semaphore::new(0)), ..Memory::new() }).await;
    let mut stream = server.connect().await;
    let head =
        "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut idle = server.connect().await;
    sleep(Duration::from_millis(100)).await;
    server.begin_stop();
    // An idle connection is closed at once.
    assert_eq!(read_to_close(&mut idle).await, 0);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    server.memory.gate.as_ref().unwrap().add_permits(1);
    assert_eq!(Reply::parse(&read_all(&mut stream).await).status, 202);
    assert_eq!(server.stop().await, Stopped { cut_off: 0 });
}

#[tokio::test]
async fn a_stop_cuts_off_what_takes_too_long() {
    let server = start_with(quick(), Memory { gate: Some(Semaphore::new(0)), ..Memory::new() }).await;
    let mut stream = server.connect().await;
    let head =
        "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.stop().await, Stopped { cut_off: 1 });
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_its_records() {
    let server = start_with(loopback(), Memory { gate: Some(Semaphore::new(0)), ..Memory::new() }).await;
    let mut stream = server.connect().await;
    let head =
        "POST /v1/ingest/plain HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    sleep(Duration::from_millis(100)).await;
    server.memory.gate.as_ref().unwrap().add_permits(1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.memory.kept("plain").len(), 1);
}
