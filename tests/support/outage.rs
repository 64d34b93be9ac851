//! A proxy in front of a store that is away when a test says so.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Nothing listens: connections are refused.
    Refuse,
    /// The store answers 503 and does nothing.
    Unavailable,
    /// The next request with this method and header takes effect, and its connection ends without a response. Then as `Pass`.
    LoseResponse {
        method: &'static str,
        header: &'static str,
    },
}

/// A proxy at work.
pub struct Outage {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    store: String,
    mode: Mutex<Mode>,
    hits: AtomicUsize,
    is_over: AtomicBool,
}

impl Outage {
    /// Starts one in front of the store at `http://127.0.0.1:PORT`.
    pub fn before(store: &str) -> Outage {
        let store = store.strip_prefix("http://").expect("an address of loopback").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            store,
            mode: Mutex::new(Mode::Pass),
            hits: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || serving.listen(listener, address));
        Outage { address, shared }
    }

    /// `http://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("no thread panics") = mode;
        // Listening stops and starts within moments.
        let refused = || TcpStream::connect(self.address).is_err();
        while refused() != (mode == Mode::Refuse) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many requests met what was set.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().expect("no thread panics")
    }

    fn listen(self: Arc<Self>, listener: TcpListener, address: SocketAddr) {
        let mut listener = Some(listener);
        while !self.is_over.load(Ordering::Relaxed) {
            if self.mode() == Mode::Refuse {
                listener = None;
            } else {
                let listener =
                    listener.get_or_insert_with(|| TcpListener::bind(address).expect("the port is still free"));
                listener.set_nonblocking(true).expect("a socket of this process");
                if let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(false).expect("a socket of this process");
                    let shared = self.clone();
                    // A connection that breaks is the client's to notice.
                    thread::spawn(move || shared.serve(&client));
                    continue;
                }
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Serves one request; the connection ends with it.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let mut head = String::new();
        let mut length = 0;
        loop {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[start..].trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mode = self.mode();
        if mode == Mode::Unavailable {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return (&*client)
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        let response = self.forward(&head, &body)?;
        if let Mode::LoseResponse { method, header } = mode
            && head.starts_with(method)
            && head.to_ascii_lowercase().contains(&format!("\r\n{header}:"))
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            *self.mode.lock().expect("no thread panics") = Mode::Pass;
            return client.shutdown(Shutdown::Both);
        }
        (&*client).write_all(&response)
    }

    fn forward(&self, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut store = TcpStream::connect(&self.store)?;
        let (first, rest) = head.split_once("\r\n").ok_or(io::ErrorKind::InvalidData)?;
        store.write_all(format!("{first}\r\nconnection: close\r\n{rest}").as_bytes())?;
        store.write_all(body)?;
        let mut response = Vec::new();
        store.read_to_end(&mut response)?;
        Ok(response)
    }
}
