//! Connections to publishers. The address is checked where the connection is made, after the name
//! was resolved, so a name that resolves to something else a moment later gains nothing; and
//! addresses written into a URL are checked all the same.

use super::address::may_call;
use super::config::DelivererConfig;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use schemas::DeliveryProblem;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

/// Names resolved at once. Each may keep a thread for as long as the system's resolver likes.
const LOOKUPS: usize = 32;
const FOUND_KEPT: Duration = Duration::from_secs(60);
const NOT_FOUND_KEPT: Duration = Duration::from_secs(15);
/// Names remembered; beyond that all are forgotten.
const NAMES_KEPT: usize = 20_000;
/// Addresses of a name that are tried.
const ADDRESSES_TRIED: usize = 4;

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.text())]
pub struct ConnectError(pub DeliveryProblem);

type Found = (Instant, Arc<[IpAddr]>);
type Lookup = dyn Fn(String) -> BoxFuture<'static, Vec<IpAddr>> + Send + Sync;

/// Who turns names into addresses, and how long what was found holds.
#[derive(Clone)]
pub struct Names {
    lookup: Arc<Lookup>,
    kept: Duration,
}

impl Names {
    /// None found and nobody asked are the same: no addresses.
    pub fn new(
        kept: Duration,
        lookup: impl Fn(String) -> BoxFuture<'static, Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), kept }
    }
}

impl Default for Names {
    /// The system's resolver.
    fn default() -> Self {
        Self::new(FOUND_KEPT, |name| {
            Box::pin(async move {
                match tokio::net::lookup_host((name.as_str(), 0)).await {
                    Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                    Err(_) => Vec::new(),
                }
            })
        })
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    allow: Arc<[IpNet]>,
    timeout: Duration,
    names: Names,
    lookups: Arc<Semaphore>,
    known: Arc<Mutex<HashMap<String, Found>>>,
}

impl Connector {
    #[must_use]
    pub fn new(config: &DelivererConfig) -> Self {
        Self {
            allow: config.allow.as_slice().into(),
            timeout: config.connect_timeout,
            names: config.names.clone(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            known: Arc::default(),
        }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let connecting = async {
            let host = uri.host().ok_or(ConnectError(DeliveryProblem::Url))?;
            let is_tls = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            let addresses = self.resolve(host).await?;
            let mut callable = Vec::with_capacity(addresses.len());
            callable.extend(addresses.iter().copied().filter(|it| may_call(*it, &self.allow)));
            if callable.is_empty() {
                return Err(ConnectError(DeliveryProblem::Address));
            }
            for address in callable.into_iter().take(ADDRESSES_TRIED) {
                if let Ok(stream) = TcpStream::connect(SocketAddr::new(address, port)).await {
                    // A request is written at once and waited for.
                    let _ = stream.set_nodelay(true);
                    return Ok(TokioIo::new(stream));
                }
            }
            Err(ConnectError(DeliveryProblem::Connect))
        };
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError(DeliveryProblem::Timeout)),
        }
    }

    async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, ConnectError> {
        let plain = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = plain.parse::<IpAddr>() {
            return Ok([address].into());
        }
        let failed = ConnectError(DeliveryProblem::Resolve);
        if let Some(known) = self.known(host) {
            return if known.is_empty() { Err(failed) } else { Ok(known) };
        }
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(|_| failed)?;
        let (name, known) = (host.to_owned(), Arc::clone(&self.known));
        let lookup = (self.names.lookup)(name.clone());
        // On its own: whoever asked may give up, the lookup keeps its permit until it ends.
        let lookup = tokio::spawn(async move {
            let found: Arc<[IpAddr]> = lookup.await.into();
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= NAMES_KEPT {
                known.clear();
            }
            known.insert(name, (Instant::now(), Arc::clone(&found)));
            drop(permit);
            found
        });
        match lookup.await {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(failed),
        }
    }

    fn known(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = known.get(host)?;
        let kept = if found.is_empty() { NOT_FOUND_KEPT } else { self.names.kept };
        (at.elapsed() < kept).then(|| Arc::clone(found))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
