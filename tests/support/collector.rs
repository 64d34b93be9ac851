//! A collector of traces: takes OTLP in JSON over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A collector at work.
pub struct Collector {
    pub address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    /// Heads and bodies of requests.
    requests: Vec<(String, Value)>,
}

impl Collector {
    pub fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Taken::default())));
        let kept = taken.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if let Some(request) = take(stream) {
                    kept.lock().unwrap().requests.push(request);
                }
            }
        });
        Collector { address, taken }
    }

    /// The spans that came, in their order, with the resource's attributes.
    pub fn spans(&self) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        let of = |body: &Value| {
            let resources = body["resourceSpans"].as_array().unwrap().clone();
            let scopes = resources.into_iter().flat_map(|resource| resource["scopeSpans"].as_array().unwrap().clone());
            scopes.flat_map(|scope| scope["spans"].as_array().unwrap().clone()).collect::<Vec<_>>()
        };
        taken.requests.iter().flat_map(|(_, body)| of(body)).collect()
    }

    /// All that came, as text.
    pub fn text(&self) -> String {
        let taken = self.taken.lock().unwrap();
        taken.requests.iter().map(|(head, body)| format!("{head}{body}\n")).collect()
    }
}

/// Reads a request and answers it.
fn take(mut stream: TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").ok()?;
    Some((head, serde_json::from_slice(&body).unwrap()))
}
