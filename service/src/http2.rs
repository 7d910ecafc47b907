//! One HTTP/2 connection with its bounds. What a client can make the server hold is bounded by the
//! constants here and by the `h2` crate: resets that were not yet seen, and header blocks, which may
//! not grow beyond the header list (RFC 9113, 10.5).

use crate::http::{HttpLimits, Reply, reply};
use crate::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests at once on one connection; the least that RFC 9113 (6.5.2) recommends.
const STREAMS_MAX: u32 = 100;
/// What a client may send of one body before it is read; the longest body of an ingester fits.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// … and of all bodies of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
/// Largest frame that is taken: the least there can be (RFC 9113, 4.2).
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Table of header fields that is kept between requests: the default (RFC 9113, 6.5.2).
const HEADER_TABLE_BYTES: u32 = 4096;
/// What may wait to be sent of one answer.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Requests that their client has taken back before they were looked at; more end the connection
/// ("rapid reset", CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
/// Requests that were reset here for being wrong; more end the connection.
const RESETS_LOCAL_MAX: usize = 1024;

/// Answers the requests of one connection until it ends. A connection without a request for
/// `header_timeout` is closed: whether its client is quiet, slow to send or slow to read.
pub(crate) async fn serve_connection<S, H, F>(
    stream: S,
    peer: SocketAddr,
    limits: HttpLimits,
    shutdown: Shutdown,
    handler: H,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| {
            let working = Working::begin(&activity);
            let fits = request.headers().len() <= limits.headers;
            let answering = fits.then(|| handler(request, peer));
            async move {
                let mut reply = match answering {
                    Some(answering) => answering.await,
                    None => too_many_headers(),
                };
                // HTTP/2 has no such field, but the wish behind it can be met.
                if reply.headers_mut().remove(CONNECTION).is_some_and(|it| it == "close") {
                    working.0.close();
                }
                Ok::<_, Infallible>(reply)
            }
        })
    };
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .header_table_size(HEADER_TABLE_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_LOCAL_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut look_at = Instant::now() + limits.header_timeout;
    let mut is_closing = false;
    loop {
        let close = tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.wait(), if !is_closing => true,
            () = activity.closing(), if !is_closing => true,
            () = tokio::time::sleep_until(look_at) => {
                if is_closing {
                    // What is not finished by now is cut off.
                    return Ok(());
                }
                look_at = activity.quiet_since() + limits.header_timeout;
                look_at <= Instant::now()
            }
        };
        if close {
            is_closing = true;
            look_at = Instant::now() + limits.drain_timeout;
            connection.as_mut().graceful_shutdown();
        }
    }
}

fn too_many_headers() -> Reply {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    reply(status, "text/plain; charset=utf-8", "too many header fields\n")
}

/// What goes on on one connection.
struct Activity {
    in_work: AtomicUsize,
    /// When the last answer was ready; the beginning before.
    last: Mutex<Instant>,
    close: Notify,
}

impl Activity {
    fn new() -> Self {
        Self {
            in_work: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            close: Notify::new(),
        }
    }

    fn close(&self) {
        self.close.notify_one();
    }

    async fn closing(&self) {
        self.close.notified().await;
    }

    /// Since when nothing is asked for; now while something is in work.
    fn quiet_since(&self) -> Instant {
        if self.in_work.load(Ordering::Relaxed) > 0 {
            return Instant::now();
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in work.
struct Working(Arc<Activity>);

impl Working {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.in_work.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_work.fetch_sub(1, Ordering::Relaxed);
    }
}
