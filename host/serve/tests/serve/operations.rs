//! Health, metrics, TLS, and a custom handler of Azure Functions.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lakeport_serve::functions::{Binding, DataType, Functions, Invocation, Reply as Outcome, Trigger, done, failed};
use lakeport_serve::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::support::*;

#[tokio::test]
async fn health_has_reasons() {
    let server = start(loopback()).await;
    assert_eq!(server.get("/healthz", &[]).await.text, r#"{"status":"ok"}"#);
    assert_eq!(server.request("HEAD", "/readyz", &[], "").await.status, 200);
    *server.memory.health.lock().unwrap() =
        Health { not_ready: vec!["the lake does not answer".into()], ..Health::default() };
    assert_eq!(server.get("/healthz", &[]).await.status, 200);
    let ready = server.get("/readyz", &[]).await;
    assert_eq!((ready.status, &*ready.text), (503, r#"{"status":"failing","reasons":["the lake does not answer"]}"#));
}

#[tokio::test]
async fn metrics_are_the_servers_and_the_products() {
    let server = start(loopback()).await;
    server.lines("{}\n{}").await;
    server.request("BREW", "/teapot", &[], "").await.problem(404, "not-found");
    let reply = server.get("/metrics", &[]).await;
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    for line in [
        "# TYPE http_server_request_duration_seconds histogram",
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",http_route=\"/v1/ingest/{source}\",http_response_status_code=\"202\"} 1",
        "http_server_request_duration_seconds_bucket{http_request_method=\"_OTHER\",http_route=\"\",http_response_status_code=\"404\",le=\"+Inf\"} 1",
        "http_server_active_requests 1",
        "lakeport_serve_records_total{source=\"plain\"} 2",
        "lakeport_serve_refusals_total{reason=\"not-found\"} 1",
        "lakeport_serve_body_bytes_total 5",
        "lakeport_serve_held_bytes 0",
        "lakeport_lag_records{export=\"x\"} 7",
    ] {
        assert!(reply.text.lines().any(|text| text == line), "{line}\n{}", reply.text);
    }
}

#[tokio::test]
async fn metrics_may_have_an_address_and_need_a_key_that_is_good_for_them() {
    let token = "a-token-of-32-bytes-0123456789ab";
    let keys =
        vec![Key::bearer("producer", "another-token-of-many-bytes"), Key::bearer("scraper", token).with_metrics()];
    let mut settings = loopback();
    settings.keys = keys;
    let server = start(settings.clone()).await;
    let scrape =
        async |token: &str| server.get("/metrics", &[("authorization", &format!("Bearer {token}"))]).await.status;
    assert_eq!((scrape(token).await, scrape("another-token-of-many-bytes").await), (200, 403));
    server.get("/metrics", &[]).await.problem(401, "unauthenticated");

    let address = "127.0.0.1:0".parse().unwrap();
    for (open, status) in [(true, 200), (false, 401)] {
        settings.metrics = Some(MetricsAddress { listen: address, open });
        let mut server = start(settings.clone()).await;
        server.get("/metrics", &[]).await.problem(404, "not-found");
        server.address = server.metrics.unwrap();
        assert_eq!(server.get("/metrics", &[]).await.status, status);
        assert_eq!(server.get("/healthz", &[]).await.status, 200);
        server.lines("{}").await.problem(404, "not-found");
    }
    let everywhere = Some(MetricsAddress { listen: "0.0.0.0:0".parse().unwrap(), open: false });
    assert!(Settings { metrics: everywhere.clone(), ..loopback() }.check().is_err());
    assert!(Settings { metrics: everywhere, ..settings }.check().is_ok());
}

#[tokio::test]
async fn the_description_is_served() {
    let server = start(loopback()).await;
    assert_eq!(server.get("/v1/openapi.json", &[]).await.json()["openapi"], "3.1.0");
}

fn pem(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/serve/tls", name].iter().collect()
}

/// Asks for health over TLS.
async fn ask(server: &Running, client: Option<&str>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(name) => {
            let certificate = CertificateDer::from_pem_file(pem(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(String::from_utf8(reply).unwrap())
}

#[tokio::test]
async fn tls_has_a_certificate_and_may_ask_for_one() {
    let mut settings = loopback();
    let tls = Tls { certificate: pem("server.pem"), key: pem("server.key"), client_ca: None };
    settings.tls = Some(tls.clone());
    let server = start(settings.clone()).await;
    assert!(ask(&server, None).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    server.handle.reload(Vec::new()).unwrap();
    assert!(ask(&server, None).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    // Plain HTTP gets no answer in it.
    assert!(!server.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with(b"HTTP"));

    settings.tls = Some(Tls { client_ca: Some(pem("ca.pem")), ..tls.clone() });
    settings.listen = "0.0.0.0:0".parse().unwrap();
    settings.check().expect("certificates are authentication");
    settings.listen = "127.0.0.1:0".parse().unwrap();
    let mutual = start(settings.clone()).await;
    assert!(ask(&mutual, Some("client")).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(ask(&mutual, None).await.is_err());
    assert!(ask(&mutual, Some("server")).await.is_err(), "a server's certificate is not a client's");

    for (certificate, key, expected) in [
        ("none.pem", "server.key", "no certificate can be read from"),
        ("server.pem", "client.key", "do not belong together"),
        ("server.key", "server.key", "has no certificate"),
        ("server.pem", "server.pem", "no private key can be read from"),
    ] {
        settings.tls = Some(Tls { certificate: pem(certificate), key: pem(key), client_ca: None });
        let error = Server::bind(settings.clone(), Arc::new(Memory::new()), system_clock()).await.err().unwrap();
        assert!(error.message.contains(expected), "{error}");
    }
}

/// Notes the events that it is invoked with.
#[derive(Default)]
struct Hub(Mutex<Vec<u64>>);

#[async_trait]
impl Functions for Hub {
    fn binding(&self, function: &str) -> Option<Binding> {
        let trigger = Trigger::EventHub(DataType::String);
        (function == "telemetry").then(|| Binding::new("events", trigger))
    }

    fn forwarded(&self, _: &str) -> Option<String> {
        None
    }

    fn function_at(&self, _: &str) -> Option<String> {
        None
    }

    async fn invoke(&self, _: &str, id: &str, invocation: Invocation) -> Outcome {
        assert_eq!(id, "i-1");
        match invocation {
            Invocation::Events(events) => {
                self.0.lock().unwrap().extend(events.events.iter().map(|event| event.sequence));
                done()
            }
            other => failed(&format!("{other:?}")),
        }
    }
}

#[tokio::test]
async fn a_custom_handler_answers_its_host() {
    let hub = Arc::new(Hub::default());
    let server = start_functions(loopback(), hub.clone()).await;
    assert_eq!(server.get("/", &[]).await.status, 200);
    let body = r#"{"Data":{"events":"[\"{}\",\"{}\"]"},"Metadata":{"PartitionContext":{"EventHubName":"h","ConsumerGroup":"$Default","PartitionId":"3"},"SequenceNumberArray":"[17,18]"}}"#;
    let id = [JSON, ("x-azure-functions-invocationid", "i-1")];
    let reply = server.post("/telemetry", &id, body).await;
    assert_eq!((reply.status, &*reply.text), (200, r#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#));
    assert!(reply.head.contains("content-type: application/json"));
    assert_eq!(*hub.0.lock().unwrap(), [17, 18]);
    let invalid = server.post("/telemetry", &id, "{}").await;
    assert_eq!(invalid.status, 500);
    assert!(invalid.json()["error"].as_str().unwrap().contains("missing field `Data`"));
    server.post("/other", &id, body).await.problem(404, "not-found");
    server.get("/telemetry", &[]).await.problem(405, "method-not-allowed");
    server.lines("{}").await.problem(404, "not-found");
}
