//! One connection: hyper's HTTP/1.1 with timers of our own, and an end that lets the client read its answer.
//!
//! hyper's timer for headers runs while a connection is idle, too, so both would share one limit. [`Activity`] tells them apart.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::route;
use crate::server::{Face, Shared, told_to_stop};
use crate::settings::Timeouts;

/// How often a connection is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Serves a connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, stream: S, face: Face, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = shared.metrics.connection();
    let activity = Arc::new(Activity::new());
    let service = service_fn(|request| {
        let (shared, activity) = (shared.clone(), activity.clone());
        Box::pin(async move {
            activity.set(Phase::Answering);
            let answer = route::handle(&shared, face, request).await;
            activity.set(Phase::Idle);
            Ok::<_, Infallible>(answer)
        })
    });
    let limits = &shared.settings.limits;
    let io = TokioIo::new(Observed { stream, activity: activity.clone() });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(64 << 10))
        .serve_connection(io, service);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
            _ = tick.tick() => if let Some(reason) = activity.overdue(&shared.settings.timeouts) {
                shared.metrics.connection_end(reason);
                tracing::debug!(reason, "closed a connection");
                return;
            },
            () = told_to_stop(&mut stop), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Err(error) = &ended {
        shared.metrics.connection_end(reason_of(error));
        tracing::debug!(%error, "a connection failed");
    }
    linger(connection.into_parts().io.into_inner().stream).await;
}

/// Why hyper ended a connection.
fn reason_of(error: &hyper::Error) -> &'static str {
    match () {
        () if error.is_parse_too_large() => "head-too-large",
        () if error.is_parse() => "invalid-head",
        () if error.is_incomplete_message() => "cut-off",
        () => "failed",
    }
}

/// Closes our side and reads on for a moment: closing both at once while the client still sends takes its answer away from it.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    const LONGEST: Duration = Duration::from_secs(1);
    const MOST: usize = 256 << 10;
    let _ = timeout(LONGEST, async {
        stream.shutdown().await?;
        let mut buffer = vec![0; 8 << 10];
        let mut read = 0;
        while read < MOST {
            match stream.read(&mut buffer).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        io::Result::Ok(())
    })
    .await;
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request's head comes in.
    Head,
    /// A request is read and answered; the handler has timers of its own.
    Answering,
    /// There is an answer to be read, or no request.
    Idle,
}

/// What a connection is doing, and since when.
#[derive(Debug)]
struct Activity(Mutex<(Phase, Instant)>);

impl Activity {
    /// A new connection owes a request.
    fn new() -> Activity {
        Activity(Mutex::new((Phase::Head, Instant::now())))
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().expect("no panic while it is held") = (phase, Instant::now());
    }

    /// Bytes came in.
    fn read(&self) {
        let mut activity = self.0.lock().expect("no panic while it is held");
        if activity.0 == Phase::Idle {
            *activity = (Phase::Head, Instant::now());
        }
    }

    /// Returns why the connection has to end.
    fn overdue(&self, timeouts: &Timeouts) -> Option<&'static str> {
        let (phase, since) = *self.0.lock().expect("no panic while it is held");
        let (most, reason) = match phase {
            Phase::Head => (timeouts.header, "header-timeout"),
            Phase::Idle => (timeouts.idle, "idle-timeout"),
            Phase::Answering => return None,
        };
        (since.elapsed() > most).then_some(reason)
    }
}

/// A stream that tells when bytes come in.
struct Observed<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
