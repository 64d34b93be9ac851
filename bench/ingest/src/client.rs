//! Clients that send requests one after the other, each on a connection that stays open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A connection that is kept.
pub struct Client {
    reader: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Client { reader: BufReader::new(stream), address }
    }

    /// Sends lines and returns the status.
    pub fn post(&mut self, target: &str, body: &[u8]) -> u16 {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.reader.get_mut().write_all(&request).expect("send");
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("status");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("header");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        self.reader.read_exact(&mut vec![0; length]).expect("body");
        status
    }
}

/// The requests that clients sent in a while, as they measured them.
pub struct Rate {
    pub requests_per_second: f64,
    /// Sorted.
    pub latencies: Vec<Duration>,
    /// Requests that were answered with 429 or 503, and sent again.
    pub refused: u64,
}

impl Rate {
    pub fn latency(&self, share: f64) -> Duration {
        let at = ((self.latencies.len() - 1) as f64 * share).round() as usize;
        self.latencies[at]
    }
}

/// Has `clients` send `body` for `time`.
pub fn load(address: SocketAddr, target: &str, body: &[u8], clients: usize, time: Duration) -> Rate {
    let start = Barrier::new(clients + 1);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    start.wait();
                    let began = Instant::now();
                    let (mut latencies, mut refused) = (Vec::new(), 0);
                    while began.elapsed() < time {
                        let sent = Instant::now();
                        match client.post(target, body) {
                            202 => latencies.push(sent.elapsed()),
                            429 | 503 => {
                                refused += 1;
                                thread::sleep(Duration::from_millis(50));
                            }
                            status => panic!("status {status}"),
                        }
                    }
                    (latencies, refused)
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let (mut latencies, mut refused) = (Vec::new(), 0);
        for client in clients {
            let (seen, turned_away) = client.join().expect("a client");
            latencies.extend(seen);
            refused += turned_away;
        }
        let requests_per_second = latencies.len() as f64 / began.elapsed().as_secs_f64();
        latencies.sort_unstable();
        Rate { requests_per_second, latencies, refused }
    })
}
