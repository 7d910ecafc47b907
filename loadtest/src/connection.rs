//! One keep-alive HTTP/1.1 connection, made again when it is lost.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Answers are a line of JSON or nothing; a longer one is a wrong target.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Makes byte streams to the target.
pub trait Connect: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn connect(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

/// TCP, without Nagle's delay, to several addresses in turn: a connection that was lost is made
/// again to the next one.
#[derive(Debug, Clone)]
pub struct Tcp {
    addresses: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
}

impl Tcp {
    /// There must be one address at least.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses: addresses.into(), next: Arc::default() }
    }
}

impl Connect for Tcp {
    type Stream = TcpStream;

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
        let stream = TcpStream::connect(self.addresses[turn]).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
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

/// A connection to the target, or the wish for one.
pub struct Connection<C> {
    connect: C,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl<C: Connect> Connection<C> {
    pub fn new(connect: C) -> Self {
        Self { connect, sender: None }
    }

    /// Sends one GET and reads the answer. Dropping this future half-way leaves the connection in an
    /// unknown state: call [`Self::give_up`] then.
    pub async fn get(&mut self, authority: &str, path_and_query: &str) -> Result<Answer, Lost> {
        let request = hyper::Request::get(path_and_query)
            .header(HOST, authority)
            .header(USER_AGENT, "gokart-loadtest")
            .body(Empty::new())
            .map_err(|error| Lost(format!("the request cannot be made: {error}")))?;
        let mut sender = match self.sender.take() {
            Some(sender) if sender.is_ready() => sender,
            _ => self.open().await?,
        };
        let answer = sender.send_request(request).await.map_err(|error| lost(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Lost(format!("the answer broke off: {error}")))?.to_bytes();
        let closes = head.headers.get(CONNECTION).is_some_and(|it| it.as_bytes() == b"close");
        if !closes && sender.ready().await.is_ok() {
            self.sender = Some(sender);
        }
        let location = head.headers.get(LOCATION).and_then(|it| it.to_str().ok());
        Ok(Answer { status: head.status.as_u16(), location: location.map(str::to_owned), body })
    }

    async fn open(&self) -> Result<SendRequest<Empty<Bytes>>, Lost> {
        let stream = self.connect.connect().await;
        let stream = stream.map_err(|error| Lost(format!("cannot connect: {error}")))?;
        let (sender, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        // Ends by itself when the sender is dropped or the peer closes.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(sender)
    }

    /// Forgets the connection; the next request makes a new one.
    pub fn give_up(&mut self) {
        self.sender = None;
    }
}

fn lost(error: &hyper::Error) -> Lost {
    Lost(format!("the connection was lost: {error}"))
}
