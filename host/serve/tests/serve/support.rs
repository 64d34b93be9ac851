//! A server in front of memory, and clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lakeport_serve::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// Keeps records in memory.
pub struct Memory {
    pub state: Mutex<State>,
    /// Appends wait for a permit, where it is set.
    pub gate: Option<Semaphore>,
    /// Commits never end.
    pub never_commits: bool,
    pub refuse: Mutex<Option<Refusal>>,
    pub health: Mutex<Health>,
}

#[derive(Default)]
pub struct State {
    kept: BTreeMap<String, Vec<String>>,
    keys: BTreeSet<IdempotencyKey>,
    requests: BTreeMap<IdempotencyKey, [u8; 16]>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory {
            state: Mutex::default(),
            gate: None,
            never_commits: false,
            refuse: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// Returns the records of a source.
    pub fn kept(&self, source: &str) -> Vec<String> {
        self.state.lock().unwrap().kept.get(source).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Intake for Memory {
    fn source(&self, name: &str) -> Option<SourceInfo> {
        let envelope = match name {
            "plain" | "other-team" => Envelope::Plain,
            "events" => Envelope::CloudEvents,
            "grid" => Envelope::EventGrid,
            "hub" => Envelope::Other,
            _ => return None,
        };
        Some(SourceInfo { envelope, max_record_size: 1000 })
    }

    async fn append(&self, source: &str, batch: Batch) -> Result<Accepted, Refusal> {
        if let Some(refusal) = self.refuse.lock().unwrap().clone() {
            return Err(refusal);
        }
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let mut state = self.state.lock().unwrap();
        let records: Vec<_> = batch.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        assert_eq!(records.len(), batch.records as usize);
        let fresh: Vec<bool> = match &batch.identity {
            Identity::None => records.iter().map(|_| true).collect(),
            Identity::Records(keys) => {
                assert_eq!(keys.len(), records.len());
                keys.iter().map(|key| state.keys.insert(*key)).collect()
            }
            Identity::Request { key, content } => {
                let known = state.requests.insert(*key, *content);
                if known.is_some_and(|known| known != *content) {
                    return Err(Refusal::KeyReused);
                }
                records.iter().map(|_| known.is_none()).collect()
            }
        };
        let kept = state.kept.entry(source.to_owned()).or_default();
        kept.extend(records.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(record, _)| record.clone()));
        let duplicates = fresh.iter().filter(|fresh| !**fresh).count() as u32;
        Ok(Accepted { position: kept.len().to_string(), records: batch.records, duplicates, committed: false })
    }

    async fn committed(&self, _: &str, _: &str) -> Result<(), Refusal> {
        match self.never_commits {
            true => std::future::pending().await,
            false => Ok(()),
        }
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    fn metrics(&self) -> Vec<Family> {
        let sample = Sample { suffix: "", labels: vec![("export".into(), "x".into())], value: 7.0 };
        let family = |name: &str| Family {
            name: name.to_owned(),
            help: "A number.".to_owned(),
            kind: FamilyKind::Gauge,
            samples: vec![sample.clone()],
        };
        vec![family("lakeport_lag_records")]
    }
}

/// A server that runs until it is stopped or dropped.
pub struct Running {
    pub address: SocketAddr,
    pub memory: Arc<Memory>,
    pub handle: Handle,
    pub metrics: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Stopped>,
}

pub fn loopback() -> Settings {
    Settings::new("127.0.0.1:0".parse().unwrap())
}

/// Starts a server with these settings.
pub async fn start(settings: Settings) -> Running {
    start_with(settings, Memory::new()).await
}

pub async fn start_with(settings: Settings, memory: Memory) -> Running {
    let memory = Arc::new(memory);
    let server = Server::bind(settings, memory.clone(), system_clock()).await.unwrap();
    run(server, memory)
}

/// Starts a custom handler.
pub async fn start_functions(settings: Settings, functions: Arc<dyn functions::Functions>) -> Running {
    let memory = Arc::new(Memory::new());
    let server = Server::bind(settings, memory.clone(), system_clock()).await.unwrap();
    run(server.with_functions(functions), memory)
}

fn run(server: Server, memory: Arc<Memory>) -> Running {
    let (stop, stopped) = oneshot::channel();
    let (address, metrics, handle) = (server.address(), server.metrics_address(), server.handle());
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, memory, handle, metrics, stop: Some(stop), task }
}

impl Running {
    /// Tells the server to stop, without waiting.
    pub fn begin_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Stops the server and returns how it ended.
    pub async fn stop(mut self) -> Stopped {
        if self.stop.is_some() {
            self.begin_stop();
        }
        (&mut self.task).await.unwrap()
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", path, headers, body).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.request("GET", path, headers, "").await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        if !body.is_empty() || method == "POST" {
            request += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut request = request.into_bytes();
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        Reply::parse(&self.raw(&request).await)
    }

    /// Posts lines to the source `plain`.
    pub async fn lines(&self, body: impl AsRef<[u8]>) -> Reply {
        self.post("/v1/ingest/plain", &[LINES], body).await
    }

    /// Sends bytes and returns all that comes back until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // The server may refuse before it has read all.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Returns the number of a metric.
    pub async fn metric(&self, line: &str) -> f64 {
        let reply = self.get("/metrics", &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let found = reply.text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }
}

pub const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// Reads until the end, or a reset after something has come.
pub async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut reply)).await;
    match read.expect("the server closes the connection") {
        Ok(_) => reply,
        Err(_) if !reply.is_empty() => reply,
        Err(error) => panic!("{error}"),
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        Reply { status, head: head.to_ascii_lowercase(), text: body.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks status and reason of a problem, and returns its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, reason: &str) -> String {
        let json = self.json();
        assert_eq!(
            (self.status, &json["type"]),
            (status, &Value::from(format!("urn:lakeport:problem:{reason}"))),
            "{json}"
        );
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        assert_eq!(json["status"], status);
        json["detail"].as_str().unwrap().to_owned()
    }
}
