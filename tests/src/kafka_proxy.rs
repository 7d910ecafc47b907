//! A TCP proxy between Kafka's clients and a broker that knows requests by their number, and holds
//! back those that it is told to. The broker's advertised listener must lead here.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// Kafka's number of the question where a partition ends.
pub const LIST_OFFSETS: i16 = 2;
/// Kafka's numbers of the requests of a transaction.
pub const ADD_OFFSETS_TO_TXN: i16 = 25;
pub const END_TXN: i16 = 26;
pub const TXN_OFFSET_COMMIT: i16 = 28;

/// Longest wait for a request that is to be held, and for a broker's answer to it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Larger frames than Kafka's own limit are none.
const FRAME_BYTES_MAX: usize = 100 << 20;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It waits, and what follows on its connection behind it.
    Hold,
    /// It waits, and its sender sees the connection break: it will send the request again.
    HoldAndCut,
}

struct Rule {
    api_key: i16,
    fate: Fate,
}

/// A request that waits for its release.
pub struct Held {
    release: oneshot::Sender<()>,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Held {
    /// Lets it go on to the broker.
    pub fn release(self) {
        let _ = self.release.send(());
    }

    /// Lets one whose sender is gone go on, and gives the broker's answer after the correlation id.
    pub async fn release_and_hear(self) -> Result<Vec<u8>> {
        let _ = self.release.send(());
        tokio::time::timeout(PATIENCE, self.answer).await?.context("the broker did not answer")
    }
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    held: Mutex<Vec<Held>>,
    arrived: Notify,
}

impl Shared {
    fn fate(&self, api_key: i16) -> Option<Fate> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let at = rules.iter().position(|rule| rule.api_key == api_key)?;
        Some(rules.remove(at).fate)
    }

    fn hold(&self) -> (oneshot::Receiver<()>, oneshot::Sender<Vec<u8>>) {
        let (release, released) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Held { release, answer });
        self.arrived.notify_one();
        (released, answered)
    }
}

/// Listens on loopback until its runtime ends.
pub struct KafkaProxy {
    shared: Arc<Shared>,
}

impl KafkaProxy {
    /// Takes connections on `listener` for the broker at `upstream`.
    pub async fn start(listener: TcpListener, upstream: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(upstream).await {
                        let _ = carry(client, server, &state).await;
                    }
                });
            }
        });
        Self { shared }
    }

    /// The next request of this kind, on whatever connection, is treated so.
    pub fn next(&self, api_key: i16, fate: Fate) {
        let mut rules = self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push(Rule { api_key, fate });
    }

    /// The next request that is held, once it is.
    pub async fn held(&self) -> Result<Held> {
        let wait = async {
            loop {
                let next = {
                    let held = &self.shared.held;
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    (!held.is_empty()).then(|| held.remove(0))
                };
                match next {
                    Some(held) => return held,
                    None => self.shared.arrived.notified().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("no such request came")
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let length = usize::try_from(length)?;
    if length > FRAME_BYTES_MAX {
        bail!("a frame of {length} bytes");
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn pass(to: &mut OwnedWriteHalf, frame: &[u8]) -> Result<()> {
    let mut whole = i32::try_from(frame.len())?.to_be_bytes().to_vec();
    whole.extend_from_slice(frame);
    Ok(to.write_all(&whole).await?)
}

/// Passes a connection's requests on, and its answers back.
async fn carry(client: TcpStream, server: TcpStream, shared: &Shared) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let cut = Arc::new(Notify::new());
    let is_cut = Arc::clone(&cut);
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            tokio::select! {
                biased;
                () = is_cut.notified() => return Some(from_server),
                count = from_server.read(&mut buffer) => match count {
                    Ok(count @ 1..) => to_client.write_all(&buffer[..count]).await.ok()?,
                    _ => return None,
                },
            }
        }
    });
    loop {
        let Ok(request) = frame(&mut from_client).await else {
            answers.abort();
            return Ok(());
        };
        let api_key = i16::from_be_bytes([request[0], request[1]]);
        match shared.fate(api_key) {
            None => {}
            Some(Fate::Hold) => {
                let (released, _) = shared.hold();
                let _ = released.await;
            }
            Some(Fate::HoldAndCut) => {
                drop(from_client);
                // Ends the other half to the client too.
                cut.notify_one();
                let from_server = answers.await?;
                let (released, answered) = shared.hold();
                let _ = released.await;
                pass(&mut to_server, &request).await?;
                let mut from_server = from_server.context("the broker closed the connection")?;
                let answer = frame(&mut from_server).await?;
                let _ = answered.send(answer[size_of::<i32>()..].to_vec());
                return Ok(());
            }
        }
        pass(&mut to_server, &request).await?;
    }
}
