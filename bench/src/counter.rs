//! A receiver of publisher postbacks that does as little as can be: it answers, or keeps silent,
//! and counts what it was told.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const POLL: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Shared {
    is_silent: AtomicBool,
    /// Hashes of the targets that were answered.
    told: Mutex<HashSet<u64>>,
}

impl Shared {
    fn told(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on loopback that ends with this value.
pub struct Counter {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Counter {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared: Arc<Shared> = Arc::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    #[must_use]
    pub fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// From now on requests are taken and not answered, or answered again.
    pub fn set_silent(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Different targets that were answered so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shared.told().len() as u64
    }

    /// Waits until so many different targets were answered.
    pub async fn until(&self, count: u64, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while self.count() < count {
            let there = self.count();
            ensure!(began.elapsed() < patience, "{there} of {count} deliveries in {patience:?}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            // The other side is killed now and then.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    if shared.is_silent.load(Ordering::Relaxed) {
        return std::future::pending().await;
    }
    let mut hash = DefaultHasher::new();
    request.uri().hash(&mut hash);
    shared.told().insert(hash.finish());
    Ok(Response::new(Empty::new()))
}
