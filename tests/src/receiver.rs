//! A publisher's server: takes requests over real HTTP, remembers them in the order in which they
//! came, and answers as it is told.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// How often a request that waits looks for its answer.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Status(u16),
    /// Taken, and not answered before the mood changes.
    Silent,
}

/// A request as it came.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Exactly as it was received, without the `?`.
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Seen {
    /// What stays the same over all attempts of one delivery.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A parameter of the query, as it stands there.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

#[derive(Default)]
struct Shared {
    seen: Vec<Seen>,
    /// By the beginning of the path; the others get 200.
    moods: BTreeMap<String, Mood>,
}

/// A server that ends with this value.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    #[must_use]
    pub fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// How requests whose path begins so are answered from now on.
    pub fn answer(&self, path: &str, mood: Mood) {
        lock(&self.shared).moods.insert(path.to_owned(), mood);
    }

    /// Every request so far whose path begins so.
    #[must_use]
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let shared = lock(&self.shared);
        shared.seen.iter().filter(|it| it.path.starts_with(path)).cloned().collect()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    // Dropped with this task: no connection outlives the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(move |request| take(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            // The other side may be killed at any moment.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn take(
    shared: Arc<Mutex<Shared>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let path = parts.uri.path().to_owned();
    let seen = Seen {
        method: parts.method.to_string(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.iter().map(|(name, it)| (name.to_string(), text(it))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        path: path.clone(),
    };
    lock(&shared).seen.push(seen);
    loop {
        match mood(&shared, &path) {
            Mood::Silent => tokio::time::sleep(LOOK_AGAIN).await,
            Mood::Status(status) => {
                let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
                *response.status_mut() =
                    hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::OK);
                return Ok(response);
            }
        }
    }
}

/// The mood of the longest beginning that is known.
fn mood(shared: &Mutex<Shared>, path: &str) -> Mood {
    let shared = lock(shared);
    let found = shared.moods.iter().rev().find(|(prefix, _)| path.starts_with(*prefix));
    found.map_or(Mood::Status(200), |(_, mood)| *mood)
}
