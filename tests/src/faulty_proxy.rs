//! A TCP proxy that breaks connections at seeded places: before anything was sent, in the middle
//! of a request, and after a request got through but before its answer came back.

use crate::random::Random;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Waits of 5 ms for a connection before giving up on it: the client may have had no need for one.
const WAITS: usize = 200;

/// Where a connection breaks.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    AtOnce,
    /// After so many bytes of requests were passed on.
    InRequest(usize),
    /// Everything is passed on, but so many answers only.
    AfterAnswers(u64),
}

#[derive(Default)]
struct Shared {
    faulty: AtomicBool,
    connections: AtomicU64,
    faults: AtomicU64,
}

/// Listens on loopback until it is dropped with its runtime.
pub struct FaultyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FaultyProxy {
    /// Stands before an `http://host:port`.
    pub async fn start(upstream: &str, seed: u64) -> Result<Self> {
        let upstream = upstream.strip_prefix("http://").context("not an http address")?;
        let upstream: SocketAddr = upstream.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut random = Random(seed);
            while let Ok((client, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::SeqCst);
                let fate = if state.faulty.load(Ordering::SeqCst) {
                    fate(&mut random)
                } else {
                    Fate::Whole
                };
                tokio::spawn(carry(client, upstream, fate, Arc::clone(&state)));
            }
        });
        Ok(Self { address, shared })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether new connections may break.
    pub fn set_faulty(&self, faulty: bool) {
        self.shared.faulty.store(faulty, Ordering::SeqCst);
    }

    /// How many connections were broken.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }

    /// Waits for some more connections, or for a while.
    pub async fn wait_for_connections(&self, more: u64) {
        let until = self.shared.connections.load(Ordering::SeqCst) + more;
        for _ in 0..WAITS {
            if self.shared.connections.load(Ordering::SeqCst) >= until {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn fate(random: &mut Random) -> Fate {
    let z = random.number();
    match z % 6 {
        0 => Fate::Whole,
        1 => Fate::AtOnce,
        2 | 3 => Fate::InRequest((z >> 8) as usize % 100_000),
        _ => Fate::AfterAnswers((z >> 8) % 3),
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, fate: Fate, shared: Arc<Shared>) {
    if matches!(fate, Fate::AtOnce) {
        shared.faults.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async move {
        let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
        loop {
            let Ok(count @ 1..) = from_client.read(&mut buffer).await else { return false };
            let count = match fate {
                Fate::InRequest(end) if passed + count > end => end - passed,
                _ => count,
            };
            passed += count;
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return false;
            }
            if matches!(fate, Fate::InRequest(end) if passed >= end) {
                return true;
            }
        }
    };
    let answers = async move {
        let (mut buffer, mut answers) = (vec![0; 16 * 1024], 0);
        loop {
            let Ok(count @ 1..) = from_server.read(&mut buffer).await else { return false };
            // Good enough for the small answers of inserts: one read, one answer.
            if matches!(fate, Fate::AfterAnswers(end) if answers >= end) {
                return true;
            }
            answers += 1;
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return false;
            }
        }
    };
    // Both directions end together: the connection is closed when this returns.
    let broken = tokio::select! {
        broken = requests => broken,
        broken = answers => broken,
    };
    if broken {
        shared.faults.fetch_add(1, Ordering::SeqCst);
    }
}
