//! An HTTP server whose every wait and every buffer has a bound, and that drains when told to
//! stop. The roles bring a handler; connections, time-outs and limits are here, once.

use crate::first_bytes::{Rewound, Speaks};
use crate::linger::Lingering;
use crate::tls::{Tls, is_http2};
use crate::{ServiceError, Shutdown, http2};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// A reply's body: whole or streamed. An error in it closes the connection.
pub type ReplyBody = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Reply = Response<ReplyBody>;

/// What one server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Connections at once; a further one waits in the kernel's queue.
    pub connections: usize,
    /// For the whole head of a request, from when the server begins to wait for it; so it is also
    /// how long an idle connection is kept, and how long a TLS handshake may take.
    pub header_timeout: Duration,
    /// Without a byte moving in either direction while one is wanted.
    pub stall_timeout: Duration,
    /// The request line and headers together; more is 431.
    pub header_bytes: usize,
    /// Header fields; more is 431.
    pub headers: usize,
    /// For requests in flight after the stop signal.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            header_bytes: 40 * 1024,
            headers: 100,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What a server speaks on its one port. HTTP/1.1 always; in clear text unless there is TLS.
#[derive(Debug, Clone, Default)]
pub struct Protocols {
    /// Also HTTP/2 in clear text, by prior knowledge.
    pub http2: bool,
    /// HTTP/1.1 and HTTP/2 by ALPN, and nothing in clear text.
    pub tls: Option<Tls>,
}

/// How long accepting rests after an error of the machine's (no file descriptors left).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// For a client that forgot the `s` of `https`.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 45\r\n\
    Connection: close\r\n\r\nonly TLS is spoken here; begin with https://\n";
/// hyper's smallest read buffer.
const HEADER_BYTES_MIN: usize = 8 * 1024;

/// A reply with a whole body.
#[must_use]
pub fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

/// A whole body.
#[must_use]
pub fn full(body: impl Into<Bytes>) -> ReplyBody {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Why a request's body could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    TimedOut,
    #[error("the body broke off")]
    Broken,
}

/// Reads a body of at most `limit_bytes`, all of it within `timeout`.
pub async fn read_body<B>(
    body: B,
    limit_bytes: usize,
    timeout: Duration,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A declared length says it before a byte is read.
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(BodyError::TooLarge(limit_bytes));
    }
    let limited = http_body_util::Limited::new(body, limit_bytes);
    match tokio::time::timeout(timeout, limited.collect()).await {
        Err(_) => Err(BodyError::TimedOut),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(BodyError::TooLarge(limit_bytes))
        }
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// Opens a listening socket. `what` names it in the error, `flag` the setting that changes it.
pub async fn bind(
    address: SocketAddr,
    what: &str,
    flag: &str,
) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, what, flag, &error))
}

/// Says what [`bind`] would, without keeping the address.
pub fn check_free(address: SocketAddr, what: &str, flag: &str) -> Result<(), ServiceError> {
    // The standard library sets SO_REUSEADDR as tokio does, so closing connections do not count.
    std::net::TcpListener::bind(address)
        .map(drop)
        .map_err(|error| cannot_listen(address, what, flag, &error))
}

fn cannot_listen(
    address: SocketAddr,
    what: &str,
    flag: &str,
    error: &std::io::Error,
) -> ServiceError {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("another process has it; stop that or choose another with {flag}")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("it needs more rights; choose a port above 1023 with {flag}")
        }
        _ => format!("choose another with {flag}"),
    };
    ServiceError::Failed(format!("{what} cannot listen on {address}: {error}; {hint}"))
}

/// Serves HTTP/1.1 in clear text until told to stop; see [`serve_protocols`].
pub async fn serve<H, F>(listener: TcpListener, limits: HttpLimits, shutdown: Shutdown, handler: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    serve_protocols(listener, Protocols::default(), limits, shutdown, handler).await;
}

/// Serves until told to stop, then finishes what is in flight, for at most `drain_timeout`.
pub async fn serve_protocols<H, F>(
    listener: TcpListener,
    protocols: Protocols,
    limits: HttpLimits,
    shutdown: Shutdown,
    handler: H,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    if let Some(tls) = &protocols.tls {
        tokio::spawn(tls.clone().follow(shutdown.clone()));
    }
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            // A slot first: beyond the limit, connections stay in the kernel's bounded queue.
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => accepted,
        };
        let (slot, stream, peer) = match accepted {
            (Ok(slot), Ok((stream, peer))) => (slot, stream, peer),
            (_, Err(error)) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
            (Err(_), _) => break,
        };
        // Replies are small and awaited: they must not wait for more.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.stall_timeout));
        let stream = Rewound::new(Lingering::new(stream, slot));
        let shutdown = shutdown.clone();
        let conversation = Conversation {
            limits,
            peer,
            watcher: graceful.watcher(),
            shutdown,
            handler: handler.clone(),
        };
        let protocols = protocols.clone();
        tokio::spawn(async move {
            // What goes wrong on one connection is its client's affair: hyper has answered what
            // can be answered (400, 408, 431).
            if let Err(error) = conversation.hold(stream, protocols).await {
                tracing::debug!(%error, "a connection ended with an error");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not finish in time and were closed");
    }
}

/// One connection, from what it speaks to its end.
struct Conversation<H> {
    limits: HttpLimits,
    peer: SocketAddr,
    /// The server waits for it when it stops.
    watcher: Watcher,
    shutdown: Shutdown,
    handler: H,
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl<H, F> Conversation<H>
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    async fn hold(self, mut stream: Rewound<Lingering>, protocols: Protocols) -> Ended {
        let Protocols { http2, tls } = protocols;
        if !http2 && tls.is_none() {
            return self.http1(stream).await;
        }
        let Some(speaks) = self.before_stop(stream.look()).await? else { return Ok(()) };
        match (tls, speaks) {
            (None, Speaks::Http2) if http2 => self.http2(stream).await,
            (None, _) => self.http1(stream).await,
            (Some(tls), Speaks::Tls) => {
                let handshake = async { tls.acceptor().accept(stream).await.map(Some) };
                let Some(stream) = self.before_stop(handshake).await? else { return Ok(()) };
                match is_http2(stream.get_ref().1.alpn_protocol()) {
                    true => self.http2(stream).await,
                    false => self.http1(stream).await,
                }
            }
            (Some(_), _) => Ok(stream.write_all(NOT_TLS).await?),
        }
    }

    /// What comes before the first request: there is nothing to finish yet when the server stops,
    /// and it has as long as a request's head has.
    async fn before_stop<T>(
        &self,
        future: impl Future<Output = std::io::Result<Option<T>>>,
    ) -> std::io::Result<Option<T>> {
        tokio::select! {
            biased;
            done = tokio::time::timeout(self.limits.header_timeout, future) => done?,
            () = self.shutdown.wait() => Ok(None),
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) -> Ended {
        let Self { limits, peer, watcher, handler, .. } = self;
        let service = service_fn(move |request| {
            let reply = handler(request, peer);
            async move { Ok::<_, Infallible>(reply.await) }
        });
        // Not `pipeline_flush`: with it hyper never sends the answer to a malformed request, since
        // it waits for the unread bytes to become a further request.
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes.max(HEADER_BYTES_MIN))
            .max_headers(limits.headers)
            .serve_connection(TokioIo::new(stream), service);
        Ok(watcher.watch(connection).await?)
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) -> Ended {
        let Self { limits, peer, watcher, shutdown, handler } = self;
        let ended = http2::serve_connection(stream, peer, limits, shutdown, handler).await;
        drop(watcher);
        Ok(ended?)
    }
}
