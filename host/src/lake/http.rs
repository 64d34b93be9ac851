//! The HTTP client of lakes: timeouts that follow from a request's size, and network errors in words.
//!
//! A total timeout would make large files impossible on slow lines, and without any a dead connection would be waited for
//! forever. The response must begin within [`IDLE_TIMEOUT`] plus the time that the request's body takes at [`MIN_RATE`]; after
//! that, [`IDLE_TIMEOUT`] may pass between two pieces of it.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The longest time without a byte from the store.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The slowest upload that is waited for, in bytes a second.
const MIN_RATE: u64 = 128 << 10;

/// The same for requests that move bytes inside the store: copies, and completing an upload of parts.
const SERVER_SIDE: Duration = Duration::from_secs(600);

/// The options of every HTTP client of a lake.
pub(super) fn client_options(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        // For emulators and stores in the user's own network.
        .with_allow_http(endpoint.is_some_and(|e| e.starts_with("http://")))
}

/// Makes the HTTP clients of lakes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(TimedClient { inner, idle_timeout: IDLE_TIMEOUT, min_rate: MIN_RATE }))
    }
}

/// Sends requests with timeouts.
#[derive(Debug)]
struct TimedClient {
    inner: HttpClient,
    idle_timeout: Duration,
    min_rate: u64,
}

#[async_trait]
impl HttpService for TimedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host: Arc<str> = request.uri().authority().map_or("the store", |authority| authority.as_str()).into();
        let limit = self.limit(&request);
        let response = match timeout(limit, self.inner.execute(request)).await {
            Ok(response) => response.map_err(|e| explain(&host, e))?,
            Err(_) => return Err(silent(&host, limit)),
        };
        let (head, body) = response.into_parts();
        let timer = Box::pin(sleep(self.idle_timeout));
        let body = TimedBody { body, host, idle_timeout: self.idle_timeout, timer, waits: false };
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

impl TimedClient {
    /// Returns how long the response may take to begin.
    fn limit(&self, request: &HttpRequest) -> Duration {
        let copies = request.headers().keys().any(|name| name.as_str().ends_with("copy-source"));
        let completes = request.uri().query().is_some_and(|query| {
            request.method().as_str() == "POST" && query.contains("uploadId=") || query.contains("comp=blocklist")
        });
        let line = Duration::from_secs(request.body().content_length() as u64 / self.min_rate);
        line + if copies || completes { self.idle_timeout.max(SERVER_SIDE) } else { self.idle_timeout }
    }
}

/// A response body that fails when no byte comes for too long.
struct TimedBody {
    body: HttpResponseBody,
    host: Arc<str>,
    idle_timeout: Duration,
    timer: Pin<Box<Sleep>>,
    /// The timer runs.
    waits: bool,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.waits = false;
                Poll::Ready(frame.map(|frame| frame.map_err(|e| explain(&this.host, e))))
            }
            Poll::Pending => {
                if !std::mem::replace(&mut this.waits, true) {
                    this.timer.as_mut().reset(Instant::now() + this.idle_timeout);
                }
                std::task::ready!(this.timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(silent(&this.host, this.idle_timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request without a complete response.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct NetworkError {
    pub(super) kind: NetworkErrorKind,
    words: String,
    #[source]
    source: Option<HttpError>,
}

/// Why there is no complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkErrorKind {
    /// The host name does not exist.
    UnknownHost,
    /// The name server does not answer.
    NameServer,
    /// Nothing listens at the address.
    Refused,
    /// No route, or no answer to the connection attempt.
    Unreachable,
    /// The certificate is not trusted.
    Certificate,
    /// The connection was closed or reset.
    Closed,
    /// A timeout.
    Timeout,
    Other,
}

fn silent(host: &str, time: Duration) -> HttpError {
    let words = format!("`{host}` did not answer within {}", humantime::format_duration(time));
    HttpError::new(HttpErrorKind::Timeout, NetworkError { kind: NetworkErrorKind::Timeout, words, source: None })
}

/// Names the kind of an error, and the host.
fn explain(host: &str, error: HttpError) -> HttpError {
    let (http, kind) = (error.kind(), kind(&error));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let words = match kind {
        NetworkErrorKind::UnknownHost => format!("the name `{name}` does not exist"),
        NetworkErrorKind::NameServer => {
            format!("the name `{name}` cannot be looked up: the name server does not answer")
        }
        NetworkErrorKind::Refused => format!("`{host}` refuses the connection"),
        NetworkErrorKind::Unreachable => format!("`{host}` cannot be reached"),
        NetworkErrorKind::Certificate => format!("the certificate of `{host}` is not accepted: {}", innermost(&error)),
        NetworkErrorKind::Closed => format!("`{host}` closed the connection before its answer was complete"),
        NetworkErrorKind::Timeout => format!("`{host}` did not answer in time"),
        NetworkErrorKind::Other => format!("the request to `{host}` failed: {}", innermost(&error)),
    };
    HttpError::new(http, NetworkError { kind, words, source: Some(error) })
}

/// Returns the kind of an error. Neither reqwest nor hyper have a type for all of them: some only show in the text.
fn kind(error: &HttpError) -> NetworkErrorKind {
    let (mut names, mut connects) = (false, false);
    for cause in causes(error) {
        let text = cause.to_string();
        names |= text.starts_with("dns error");
        connects |= text.contains("(Connect)");
        if text.contains("invalid peer certificate") {
            return NetworkErrorKind::Certificate;
        }
        let Some(io) = cause.downcast_ref::<io::Error>() else { continue };
        if names || text.contains("failed to lookup address") {
            let passes = text.contains("Temporary failure") || text.contains("try again");
            return if passes { NetworkErrorKind::NameServer } else { NetworkErrorKind::UnknownHost };
        }
        match io.kind() {
            io::ErrorKind::ConnectionRefused => return NetworkErrorKind::Refused,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => return NetworkErrorKind::Unreachable,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => return NetworkErrorKind::Closed,
            _ => {}
        }
    }
    match error.kind() {
        HttpErrorKind::Timeout if connects => NetworkErrorKind::Unreachable,
        HttpErrorKind::Timeout => NetworkErrorKind::Timeout,
        HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode => NetworkErrorKind::Closed,
        _ => NetworkErrorKind::Other,
    }
}

fn causes(error: &HttpError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&e| e.source())
}

fn innermost(error: &HttpError) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::lake::direct::request;

    const IDLE_TIMEOUT: Duration = Duration::from_millis(300);

    fn client() -> TimedClient {
        let inner = ReqwestConnector::default().connect(&client_options(Some("http://"))).unwrap();
        TimedClient { inner, idle_timeout: IDLE_TIMEOUT, min_rate: 64 << 10 }
    }

    /// A server of one connection.
    async fn serve<F: Future<Output = ()> + Send + 'static>(
        answer: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { answer(listener.accept().await.unwrap().0).await });
        format!("http://{address}/key")
    }

    /// Takes the beginning of a request.
    async fn hear(stream: &mut TcpStream) {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    }

    async fn put(url: &str, bytes: usize) -> Result<Bytes, (NetworkErrorKind, String)> {
        let request = request("PUT", url, "x".repeat(bytes), url).unwrap();
        let answer = async { client().call(request).await?.into_body().bytes().await };
        answer.await.map_err(|error| {
            let error = causes(&error).find_map(|cause| cause.downcast_ref::<NetworkError>()).unwrap();
            (error.kind, error.to_string())
        })
    }

    /// Takes a request of so many bytes, waits twice as long as the silence that is allowed, and answers.
    async fn slowly(mut stream: TcpStream, bytes: usize) {
        let mut taken = vec![0; bytes];
        stream.read_exact(&mut taken).await.unwrap();
        tokio::time::sleep(IDLE_TIMEOUT * 2).await;
        // The client may have gone.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }

    #[tokio::test]
    async fn what_is_large_has_the_time_that_its_size_takes() {
        let large = 128 << 10;
        assert_eq!(put(&serve(move |stream| slowly(stream, large)).await, large).await.unwrap(), "ok");
        let (kind, words) = put(&serve(|stream| slowly(stream, 1)).await, 1).await.unwrap_err();
        assert_eq!(kind, NetworkErrorKind::Timeout);
        assert!(words.ends_with("did not answer within 300ms"), "{words}");
    }

    #[tokio::test]
    async fn an_answer_may_take_long_and_must_go_on() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
        let steady = serve(async move |mut stream: TcpStream| {
            hear(&mut stream).await;
            stream.write_all(head).await.unwrap();
            for _ in 0..6 {
                tokio::time::sleep(IDLE_TIMEOUT / 2).await;
                stream.write_all(b"x").await.unwrap();
            }
        });
        assert_eq!(put(&steady.await, 0).await.unwrap(), "xxxxxx");
        let stalls = serve(async move |mut stream: TcpStream| {
            hear(&mut stream).await;
            stream.write_all(head).await.unwrap();
            tokio::time::sleep(IDLE_TIMEOUT * 3).await;
            let _ = stream.write_all(b"xxxxxx").await;
        });
        assert_eq!(put(&stalls.await, 0).await.unwrap_err().0, NetworkErrorKind::Timeout);
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let cut = serve(async |mut stream: TcpStream| {
            hear(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nxx").await.unwrap();
        });
        let (kind, words) = put(&cut.await, 0).await.unwrap_err();
        assert_eq!(kind, NetworkErrorKind::Closed, "{words}");
        let (kind, words) =
            put(&serve(async |mut stream: TcpStream| hear(&mut stream).await).await, 0).await.unwrap_err();
        assert_eq!(kind, NetworkErrorKind::Closed, "{words}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let (kind, words) = put(&format!("http://{nobody}/key"), 0).await.unwrap_err();
        assert_eq!((kind, words), (NetworkErrorKind::Refused, format!("`{nobody}` refuses the connection")));

        let (kind, words) = put("http://no-such-host.invalid/key", 0).await.unwrap_err();
        // Without a network, no name server says so.
        assert!(matches!(kind, NetworkErrorKind::UnknownHost | NetworkErrorKind::NameServer), "{kind:?}");
        assert!(words.starts_with("the name `no-such-host.invalid` "), "{words}");
    }

    #[tokio::test]
    async fn what_the_store_does_inside_of_itself_may_take_longer() {
        let limit = |method, url, headers: &[&'static str]| {
            let mut request = request(method, url, String::new(), url).unwrap();
            for name in headers {
                request.headers_mut().insert(*name, object_store::HeaderValue::from_static("/a/b"));
            }
            client().limit(&request)
        };
        assert_eq!(limit("PUT", "http://h/k", &[]), IDLE_TIMEOUT);
        assert_eq!(limit("PUT", "http://h/k", &["x-amz-copy-source"]), SERVER_SIDE);
        assert_eq!(limit("PUT", "http://h/k?comp=blocklist", &[]), SERVER_SIDE);
        assert_eq!(limit("POST", "http://h/k?uploadId=1", &[]), SERVER_SIDE);
        assert_eq!(limit("PUT", "http://h/k?partNumber=1&uploadId=1", &[]), IDLE_TIMEOUT);
    }
}
