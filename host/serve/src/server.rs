//! The accept loop: who gets in, and how it ends.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::auth::{Key, KeyRing};
use crate::budget::Budget;
use crate::connection;
use crate::error::{Error, Result};
use crate::functions::Functions;
use crate::intake::{ExportHealth, Health, Intake};
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::settings::{Clock, Settings};
use crate::tls::Tls;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) intake: Arc<dyn Intake>,
    /// Set where the server is a custom handler.
    pub(crate) functions: OnceLock<Arc<dyn Functions>>,
    tls: Option<RwLock<TlsAcceptor>>,
    pub(crate) clock: Clock,
    pub(crate) keys: KeyRing,
    pub(crate) budget: Arc<Budget>,
    /// Bodies that are decompressed and parsed at a time.
    pub(crate) decoders: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) refusals: Refusals,
    is_stopping: AtomicBool,
}

impl Shared {
    /// How the product is, and whether the server stops.
    pub(crate) fn health(&self) -> Health {
        let mut health = self.intake.health();
        if self.is_stopping.load(Ordering::Relaxed) {
            health.not_ready.push("the server is stopping".to_owned());
        }
        let unready = health.exports.iter().filter(|export| !export.is_ready);
        health.not_ready.extend(unready.map(|export| {
            let ExportHealth { name, state, reason, .. } = export;
            let reason = reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("export `{name}` is {state}{reason}")
        }));
        health
    }
}

/// The routes of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    All,
    /// Without metrics: they have an address of their own.
    Ingest,
    /// Metrics and health.
    Metrics,
    /// Of a custom handler of Azure Functions: invocations, metrics and health.
    Functions,
}

impl Face {
    pub(crate) fn has_ingest(self) -> bool {
        matches!(self, Face::All | Face::Ingest)
    }

    pub(crate) fn has_metrics(self) -> bool {
        self != Face::Ingest
    }
}

/// A server that listens.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    metrics: Option<TcpListener>,
}

/// Changes a server that runs.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were closed before their requests had ended.
    pub cut_off: usize,
}

impl Server {
    /// Checks the settings and listens. Connections wait until [`Server::run`].
    ///
    /// # Errors
    /// What is wrong with the settings, or why the address cannot be had.
    pub async fn bind(settings: Settings, intake: Arc<dyn Intake>, clock: Clock) -> Result<Server> {
        settings.check()?;
        let listener = listen(settings.listen).await?;
        let address =
            listener.local_addr().map_err(|error| Error::new(format!("no address of the socket: {error}")))?;
        let metrics = match &settings.metrics {
            Some(metrics) => Some(listen(metrics.listen).await?),
            None => None,
        };
        let tls = settings.tls.as_ref().map(|tls| tls.acceptor()).transpose()?.map(RwLock::new);
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Shared {
            keys: KeyRing::new(settings.keys.clone()),
            budget: Budget::new(settings.limits.held_bytes),
            decoders: Arc::new(Semaphore::new(processors)),
            metrics: Metrics::default(),
            refusals: Refusals::default(),
            is_stopping: AtomicBool::new(false),
            settings,
            intake,
            functions: OnceLock::new(),
            tls,
            clock,
        };
        Ok(Server { shared: Arc::new(shared), listener, address, metrics })
    }

    /// Makes the server a custom handler of Azure Functions: it takes invocations, and no records from clients.
    pub fn with_functions(self, functions: Arc<dyn Functions>) -> Server {
        // Set once: the server is handed in and out.
        let _ = self.shared.functions.set(functions);
        self
    }

    /// Returns where records are taken; the port is the one that the system chose, where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where metrics are read, where they have an address of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// Returns a handle that changes the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Serves until `stop` ends; then takes no more connections, lets requests end, and cuts off those that take too long.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Stopped {
        const METRICS_CONNECTIONS: usize = 32;
        let (stopping, watched) = watch::channel(false);
        let shared = &self.shared;
        let face = match (shared.functions.get(), &self.metrics) {
            (Some(_), _) => Face::Functions,
            (None, Some(_)) => Face::Ingest,
            (None, None) => Face::All,
        };
        let accepting = accept(shared, self.listener, face, shared.settings.limits.connections, watched.clone());
        let metrics = async {
            match self.metrics {
                Some(listener) => accept(shared, listener, Face::Metrics, METRICS_CONNECTIONS, watched).await,
                None => 0,
            }
        };
        let stop = async {
            stop.await;
            shared.is_stopping.store(true, Ordering::Relaxed);
            let _ = stopping.send(true);
        };
        let (cut_off, metrics, ()) = tokio::join!(accepting, metrics, stop);
        Stopped { cut_off: cut_off + metrics }
    }
}

impl Handle {
    /// Replaces the keys, and reads the files of TLS again: both, or neither. Requests that are being read go on with the old keys, and
    /// connections that are open with the old certificate.
    ///
    /// # Errors
    /// What is wrong with the keys or the files; the old ones stay then.
    pub fn reload(&self, keys: Vec<Key>) -> Result<()> {
        let mut settings = self.0.settings.clone();
        settings.keys = keys;
        settings.check()?;
        let acceptor = settings.tls.as_ref().map(Tls::acceptor).transpose()?;
        if let (Some(tls), Some(acceptor)) = (&self.0.tls, acceptor) {
            *tls.write().expect("no panic while it is held") = acceptor;
        }
        self.0.keys.replace(settings.keys);
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(format!("cannot listen on `{address}`: {error}"))
            .with_help("end the process that has it, or choose another port")
    })
}

/// Accepts connections until it is told to stop, and returns how many were cut off.
async fn accept(
    shared: &Arc<Shared>,
    listener: TcpListener,
    face: Face,
    cap: usize,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let watched = stop.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => break,
            Some(ended) = connections.join_next() => note_panic(shared, ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= cap => refuse(shared, stream),
                Ok((stream, _)) => {
                    // A short answer is sent at once; where this fails the connection is gone.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(admit(shared.clone(), stream, face, watched.clone()));
                }
                Err(error) => failed(shared, &error).await,
            },
        }
    }
    drop(listener);
    let ending = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(shared, ended);
        }
    };
    match timeout(shared.settings.timeouts.stop, ending).await {
        Ok(()) => 0,
        Err(_) => {
            let cut_off = connections.len();
            tracing::warn!(cut_off, "cut off connections whose requests had not ended in time");
            connections.shutdown().await;
            cut_off
        }
    }
}

/// Makes a connection one of TLS, where that is set, and serves it.
async fn admit(shared: Arc<Shared>, stream: TcpStream, face: Face, stop: watch::Receiver<bool>) {
    let tls = shared.tls.as_ref().filter(|_| face != Face::Metrics);
    let Some(tls) = tls.map(|tls| tls.read().expect("no panic while it is held").clone()) else {
        return connection::serve(shared, stream, face, stop).await;
    };
    let reason = match timeout(shared.settings.timeouts.header, tls.accept(stream)).await {
        Ok(Ok(stream)) => return connection::serve(shared, stream, face, stop).await,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            "tls-failed"
        }
        Err(_) => "tls-timeout",
    };
    shared.metrics.connection_end(reason);
}

/// Ends when the server stops.
#[expect(clippy::disallowed_methods, reason = "the guard is dropped at once")]
pub(crate) async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Refuses a connection beyond the cap, without a task of its own.
fn refuse(shared: &Shared, stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    shared.metrics.connection_end("too-many");
    // The buffer of a new connection has room for it. A client that is gone reads nothing.
    let _ = stream.into_std().and_then(|mut stream| stream.write(ANSWER));
}

/// Waits where the system has no more files or memory: the next attempt would fail, too.
async fn failed(shared: &Shared, error: &std::io::Error) {
    shared.metrics.connection_end("accept-failed");
    tracing::error!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn note_panic(shared: &Shared, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        shared.metrics.connection_end("panic");
        tracing::error!(%error, "a connection failed: a defect");
    }
}
