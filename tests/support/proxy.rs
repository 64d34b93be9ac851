//! A proxy on loopback in front of a store: it counts what passes, and ends, delays, refuses and loses it, as a test or a seed decides.
//!
//! With a seed, what a request meets follows from it and from the request's number. Which request has that number follows from the
//! processes that send them, so that a seed that failed once may want some repetitions.

mod http;
mod plan;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{Body, Head, read_body};
use plan::{Fault, Plan};

/// Connections at a time; a further one ends at once.
const MOST_CONNECTIONS: usize = 128;
/// Serving a connection needs little.
const STACK: usize = 256 << 10;
/// How long the store may take for anything.
const STORE: Duration = Duration::from_secs(20);
/// How long requests of a process that has ended may still be under way: the longest fault, and the store's time for it.
const SETTLING: Duration = Duration::from_secs(30);

/// What becomes of all requests, where no seed decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Pass,
    /// Nothing listens: connections are refused.
    Refuse,
    /// The store answers 503 and does nothing.
    Unavailable,
    /// The next request with this method and header takes effect, and its connection ends without a response. Then as `Pass`.
    LoseResponse { method: &'static str, header: &'static str },
}

/// A request that the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query, as they were asked for.
    pub target: String,
    /// The names of its headers, in lower case.
    pub headers: Vec<String>,
    /// Bytes of its body, and of the reply's.
    pub sent: u64,
    pub received: u64,
}

/// A proxy at work. Dropping it ends its threads and connections.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    store: SocketAddr,
    /// What a seed does. Without one, a connection ends with its first request, so that a change of mode meets all that follow.
    plan: Option<Plan>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// Requests that met the mode.
    hits: usize,
    requests: u64,
    answered: Vec<Request>,
    counts: BTreeMap<&'static str, usize>,
    /// Requests that were read and of which the store has not heard yet, or is hearing.
    under_way: usize,
    is_calm: bool,
    is_over: bool,
    connections: HashMap<u64, TcpStream>,
}

/// A request whose connection has ended and which goes on all the same.
struct Late {
    after: Duration,
    head: Head,
    body: Vec<u8>,
}

impl Proxy {
    /// Starts one in front of the store at `http://127.0.0.1:PORT`, which passes everything until [`Proxy::set`] says otherwise.
    pub fn before(store: &str) -> Proxy {
        Proxy::start(store, None)
    }

    /// Starts one that does to requests what the seed decides.
    pub fn with_faults(store: &str, seed: u64) -> Proxy {
        Proxy::start(store, Some(Plan::new(seed)))
    }

    fn start(store: &str, plan: Option<Plan>) -> Proxy {
        let store = store.strip_prefix("http://").and_then(|address| address.parse().ok());
        let store = store.expect("a store is an address of loopback");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { store, plan, state: Mutex::default(), changed: Condvar::new() });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(listener, address, &shared)
        });
        Proxy { shared, address, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.shared.state().mode = mode;
        self.shared.changed.notify_all();
        // Each attempt wakes the acceptor, which stops and starts listening within moments.
        while TcpStream::connect(self.address).is_err() != (mode == Mode::Refuse) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many requests met what was set.
    pub fn hits(&self) -> usize {
        self.shared.state().hits
    }

    /// Takes the requests that the store has answered since the last call, in the order of their replies.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.state().answered)
    }

    /// Passes all further requests as they are.
    pub fn calm(&self) {
        self.shared.state().is_calm = true;
    }

    /// Waits until the store has heard of every request that it will hear of from a process that has ended. A request may be in a
    /// connection that was not accepted yet, or was not read to its end.
    pub fn settle(&self) {
        // Connections are accepted in order, so that none waits to be once this one has ended.
        let mut last = TcpStream::connect(self.address).expect("the proxy listens");
        last.shutdown(Shutdown::Write).and_then(|()| last.read_to_end(&mut Vec::new())).expect("the proxy ends it");
        let is_busy = |state: &mut State| state.under_way > 0 || !state.connections.is_empty();
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), SETTLING, is_busy);
        let (state, waited) = waited.expect("no thread of it panics");
        let (requests, connections) = (state.under_way, state.connections.len());
        assert!(!waited.timed_out(), "after {SETTLING:?}, {requests} requests and {connections} connections are left");
    }

    /// How many requests there were, and how many met which fault.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.shared.state().counts.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.is_over = true;
            for connection in state.connections.values() {
                // Fails where it has ended by itself.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut listener = Some(listener);
    for number in 0.. {
        let listens = listener.get_or_insert_with(|| TcpListener::bind(address).expect("the port is still free"));
        let client = listens.accept();
        let mut state = shared.state();
        if state.mode == Mode::Refuse && !state.is_over {
            listener = None;
            let refuses = |state: &mut State| state.mode == Mode::Refuse && !state.is_over;
            state = shared.changed.wait_while(state, refuses).expect("no thread of it panics");
            if !state.is_over {
                continue;
            }
        }
        if state.is_over {
            break;
        }
        drop(state);
        threads.retain(|thread| !thread.is_finished());
        let Ok((client, _)) = client else { continue };
        if threads.len() == MOST_CONNECTIONS {
            shared.count("one connection too many");
            continue;
        }
        if !shared.begin(number, &client) {
            continue;
        }
        let shared = shared.clone();
        let serve = thread::Builder::new().stack_size(STACK).spawn(move || shared.connection(number, client));
        threads.push(serve.expect("a thread can be started"));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of it panics")
    }

    fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// Notes a connection, before its thread begins; false where it cannot be served any more.
    fn begin(&self, number: u64, client: &TcpStream) -> bool {
        let Ok(copy) = client.try_clone() else { return false };
        let mut state = self.state();
        if !state.is_over {
            state.connections.insert(number, copy);
        }
        !state.is_over
    }

    fn connection(&self, number: u64, client: TcpStream) {
        let served = self.serve(client);
        // The last handle of the connection, which ends with it.
        drop(self.state().connections.remove(&number));
        self.changed.notify_all();
        match served {
            Ok(None) => {}
            Ok(Some(late)) => {
                self.wait(late.after);
                let _ = self.forward(&late.head, &late.body);
                self.arrived();
            }
            // The client has gone, most often since it was killed.
            Err(_) => self.count("broken connection"),
        }
    }

    /// Serves one request after another, until the connection ends.
    fn serve(&self, mut client: TcpStream) -> io::Result<Option<Late>> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client.try_clone()?);
        while let Some(head) = Head::read(&mut reader)? {
            let (fault, resets) = self.next_fault();
            let size = head.request_body();
            if let (Some(Fault::CutRequest), Body::Length(length)) = (fault, size) {
                read_body(&mut reader, Body::Length(length / 2))?;
            }
            if let Some(Fault::ResetBefore | Fault::CutRequest) = fault {
                end(&client, resets);
                return Ok(None);
            }
            let body = read_body(&mut reader, size)?;
            match fault {
                Some(Fault::LandsLate(after)) => {
                    self.state().under_way += 1;
                    end(&client, resets);
                    return Ok(Some(Late { after, head, body }));
                }
                Some(Fault::Stall(time)) => {
                    self.wait(time);
                    end(&client, resets);
                    return Ok(None);
                }
                Some(Fault::Refusal { status, retry_after }) => {
                    client.write_all(&refusal(head.method(), status, retry_after))?;
                    continue;
                }
                _ => {}
            }
            if self.is_unavailable() {
                client.write_all(&refusal(head.method(), 503, false))?;
                return Ok(None);
            }
            self.state().under_way += 1;
            if let Some(Fault::Delay(time)) = fault {
                self.wait(time);
            }
            let reply = self.forward(&head, &body);
            self.arrived();
            let (reply, closes) = reply?;
            if self.loses_reply(&head) {
                return Ok(None);
            }
            match fault {
                Some(Fault::HidesEffect) => client.write_all(&refusal(head.method(), 500, false))?,
                Some(Fault::ResetAfter | Fault::CutReply) => {
                    if fault == Some(Fault::CutReply) {
                        client.write_all(&reply[..reply.len() / 2])?;
                    }
                    end(&client, resets);
                    return Ok(None);
                }
                _ => {
                    if let Some(Fault::LateReply(time)) = fault {
                        self.wait(time);
                    }
                    client.write_all(&reply)?;
                    if closes || head.closes {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// What the next request meets, and whether its connection is reset where it ends.
    fn next_fault(&self) -> (Option<Fault>, bool) {
        let mut state = self.state();
        *state.counts.entry("requests").or_default() += 1;
        let number = state.requests;
        state.requests += 1;
        match self.plan.as_ref().and_then(|plan| plan.fault(number)).filter(|_| !state.is_calm) {
            Some((kind, fault, resets)) => {
                *state.counts.entry(kind).or_default() += 1;
                (Some(fault), resets)
            }
            None => (None, false),
        }
    }

    fn is_unavailable(&self) -> bool {
        let mut state = self.state();
        let is_so = state.mode == Mode::Unavailable;
        state.hits += usize::from(is_so);
        is_so
    }

    /// Whether the reply to this request is to be lost; the next one is not.
    fn loses_reply(&self, head: &Head) -> bool {
        let mut state = self.state();
        let Mode::LoseResponse { method, header } = state.mode else { return false };
        let loses = head.method() == method && head.headers().iter().any(|name| name == header);
        if loses {
            (state.mode, state.hits) = (Mode::Pass, state.hits + 1);
        }
        loses
    }

    /// Hands a request to the store, and answers with its whole reply, and whether that ends the connection.
    fn forward(&self, head: &Head, body: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let mut store = TcpStream::connect(self.store)?;
        store.set_nodelay(true)?;
        store.set_read_timeout(Some(STORE))?;
        let request = if self.plan.is_some() { head.bytes.clone() } else { head.closing() };
        store.write_all(&[&request, body].concat())?;
        let mut reader = BufReader::new(store);
        let reply = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = reply.reply_body(head.method());
        let answer = read_body(&mut reader, size)?;
        self.state().answered.push(Request {
            method: head.method().to_owned(),
            target: head.target().to_owned(),
            headers: head.headers(),
            sent: body.len() as u64,
            received: answer.len() as u64,
        });
        Ok(([reply.bytes, answer].concat(), reply.closes || size == Body::UntilEnd))
    }

    fn arrived(&self) {
        self.state().under_way -= 1;
        self.changed.notify_all();
    }

    /// Waits so long, or until the proxy ends.
    fn wait(&self, time: Duration) {
        let state = self.state();
        drop(self.changed.wait_timeout_while(state, time, |state| !state.is_over).expect("no thread of it panics"));
    }
}

/// Makes that the connection's last handle ends it with a reset, or plainly.
fn end(client: &TcpStream, resets: bool) {
    if resets {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the socket is open, and the option's value is read for as many bytes as it has.
        unsafe {
            let size = size_of::<libc::linger>() as libc::socklen_t;
            libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size);
        }
    }
}

/// What a gateway says in the store's place.
fn refusal(method: &str, status: u16, retry_after: bool) -> Vec<u8> {
    const BODY: &str =
        "<?xml version=\"1.0\"?><Error><Code>ServerBusy</Code><Message>Come back later.</Message></Error>";
    let wait = if retry_after { "retry-after: 1\r\n" } else { "" };
    let phrase = if status == 503 { "Service Unavailable" } else { "Busy" };
    let (length, body) = (BODY.len(), if method == "HEAD" { "" } else { BODY });
    format!(
        "HTTP/1.1 {status} {phrase}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n{wait}\r\n{body}"
    )
    .into_bytes()
}
