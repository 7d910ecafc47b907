//! Connections to the target: HTTP/1.1 with one request at a time, or HTTP/2 with several; made
//! again when they are lost.

use crate::http1::Http1;
use crate::limit::Limit;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{LOCATION, USER_AGENT};
use hyper::http::response::Parts;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Answers are a line of JSON or nothing; a longer one is a wrong target.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections that may close just when a request is to be sent.
const ATTEMPTS_MAX: u32 = 3;
pub const AGENT: &str = "gokart-loadtest";

/// Makes byte streams to the target.
pub trait Connect: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn connect(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

/// Where a request goes, in the forms in which it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What an HTTP/1 request has after its path and query.
    pub head: Arc<str>,
    /// What an HTTP/2 request has before them.
    pub origin: Arc<str>,
}

impl Place {
    pub fn new(scheme: &str, authority: &str) -> Self {
        let head = format!(" HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {AGENT}\r\n\r\n");
        Self { head: head.into(), origin: format!("{scheme}://{authority}").into() }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Bytes,
}

/// No answer: the connection could not be made, broke, or broke off. The text names no URL.
#[derive(Debug)]
pub struct Lost(pub String);

/// An HTTP/2 connection of several users.
type Shared = Arc<Mutex<Option<SendRequest<Empty<Bytes>>>>>;

/// A connection to the target, or the wish for one.
pub struct Connection<C: Connect> {
    connect: C,
    line: Line<C::Stream>,
    limit: Limit,
}

enum Line<S> {
    One(Option<Http1<S>>),
    Many(Shared),
}

impl<C: Connect> Connection<C> {
    /// `timeout` is that of each request.
    pub fn http1(connect: C, timeout: Duration) -> Self {
        Self { connect, line: Line::One(None), limit: Limit::new(timeout) }
    }

    /// So many users of one HTTP/2 connection.
    pub fn http2(connect: C, timeout: Duration, users: u64) -> impl Iterator<Item = Self> {
        let shared = Shared::default();
        (0..users).map(move |_| Self {
            connect: connect.clone(),
            line: Line::Many(Arc::clone(&shared)),
            limit: Limit::new(timeout),
        })
    }

    /// Sends one GET and reads the answer; the time for it counts from `start`. After an error, or
    /// when this future was dropped half-way, the connection is in an unknown state: call
    /// [`Self::give_up`] then.
    pub async fn get(
        &mut self,
        start: Instant,
        place: &Place,
        path_and_query: &str,
    ) -> Result<Answer, Lost> {
        let answer = self.line.get(&self.connect, place, path_and_query);
        let in_time = self.limit.keep(start, answer).await;
        in_time.unwrap_or_else(|| Err(Lost("no answer in time".to_owned())))
    }

    /// Sends one GET and goes away before its answer, as a sender whose answer is lost.
    pub async fn abandon(
        &mut self,
        start: Instant,
        place: &Place,
        path_and_query: &str,
    ) -> Result<(), Lost> {
        let sent = self.line.abandon(&self.connect, place, path_and_query);
        let in_time = self.limit.keep(start, sent).await;
        in_time.unwrap_or_else(|| Err(Lost("not sent in time".to_owned())))
    }

    /// Forgets the connection; the next request makes a new one. Others' requests on an HTTP/2
    /// connection go on: only this one's stream is reset.
    pub fn give_up(&mut self) {
        if let Line::One(line) = &mut self.line {
            *line = None;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line<S> {
    async fn get(
        &mut self,
        connect: &impl Connect<Stream = S>,
        place: &Place,
        path_and_query: &str,
    ) -> Result<Answer, Lost> {
        match self {
            Self::One(line) => {
                let mut http1 = open(connect, line).await?;
                let (answer, reusable) = http1.get(path_and_query, &place.head).await?;
                *line = reusable.then_some(http1);
                Ok(answer)
            }
            Self::Many(shared) => {
                let (head, body) = ask(connect, shared, place, path_and_query).await?;
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
                let broke_off = |error| Lost(format!("the answer broke off: {error}"));
                let body = body.map_err(broke_off)?.to_bytes();
                let location = head.headers.get(LOCATION).and_then(|it| it.to_str().ok());
                let location = location.map(str::to_owned);
                Ok(Answer { status: head.status.as_u16(), location, body })
            }
        }
    }

    async fn abandon(
        &mut self,
        connect: &impl Connect<Stream = S>,
        place: &Place,
        path_and_query: &str,
    ) -> Result<(), Lost> {
        match self {
            Self::One(line) => {
                let mut http1 = open(connect, line).await?;
                // Dropped at the end, and with it the connection.
                http1.send(path_and_query, &place.head).await
            }
            Self::Many(shared) => {
                let mut sender = open_shared(connect, shared).await?;
                let mut answer = pin!(sender.send_request(request(place, path_and_query)?));
                // Once, to hand it over; then its stream is reset.
                std::future::poll_fn(|cx| {
                    let _ = answer.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }
}

/// Asks over a shared connection. A request that came to nothing because the peer closes the
/// connection was never sent, and goes over the next one.
async fn ask<C: Connect>(
    connect: &C,
    shared: &Shared,
    place: &Place,
    path_and_query: &str,
) -> Result<(Parts, Incoming), Lost> {
    let mut attempts = 0..ATTEMPTS_MAX;
    loop {
        let mut sender = open_shared(connect, shared).await?;
        attempts.next();
        match sender.send_request(request(place, path_and_query)?).await {
            Ok(answer) => return Ok(answer.into_parts()),
            Err(error) if error.is_canceled() && !attempts.is_empty() => {}
            Err(error) => return Err(lost(&error)),
        }
    }
}

/// Takes the connection there is, or makes one.
async fn open<C: Connect>(
    connect: &C,
    line: &mut Option<Http1<C::Stream>>,
) -> Result<Http1<C::Stream>, Lost> {
    if let Some(mut http1) = line.take()
        && http1.is_open().await
    {
        return Ok(http1);
    }
    Ok(Http1::new(stream(connect).await?))
}

async fn open_shared<C: Connect>(
    connect: &C,
    shared: &Shared,
) -> Result<SendRequest<Empty<Bytes>>, Lost> {
    let mut shared = shared.lock().await;
    if let Some(sender) = shared.as_mut()
        && sender.ready().await.is_ok()
    {
        return Ok(sender.clone());
    }
    let stream = TokioIo::new(stream(connect).await?);
    let made = http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, driver) = made.map_err(|error| lost(&error))?;
    // Ends by itself when the senders are dropped or the peer closes.
    tokio::spawn(async move {
        let _ = driver.await;
    });
    *shared = Some(sender.clone());
    Ok(sender)
}

async fn stream<C: Connect>(connect: &C) -> Result<C::Stream, Lost> {
    connect.connect().await.map_err(|error| Lost(format!("cannot connect: {error}")))
}

fn request(place: &Place, path_and_query: &str) -> Result<hyper::Request<Empty<Bytes>>, Lost> {
    hyper::Request::get(format!("{}{path_and_query}", place.origin))
        .header(USER_AGENT, AGENT)
        .body(Empty::new())
        .map_err(|error| Lost(format!("the request cannot be made: {error}")))
}

fn lost(error: &hyper::Error) -> Lost {
    Lost(format!("the connection was lost: {error}"))
}
