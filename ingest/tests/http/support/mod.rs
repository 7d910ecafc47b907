//! An ingester on a free port of loopback, with a configuration, a log in memory and a clock.

pub mod log;

use eventlog::{EventLog, Record};
use ingest::{IngestConfig, Server};
use keyring::{Credentials, Keyring};
use log::MemoryLog;
use schemas::*;
use service::{Clock, Readiness, ServiceError, Shutdown};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub const KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub const HOST: &str = "api.brownboots.localhost";
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";
/// Nothing in a test takes this long; if it does, it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Running<L = MemoryLog> {
    pub address: SocketAddr,
    pub log: Arc<L>,
    pub keyring: Arc<Keyring>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    pub ended: JoinHandle<Result<(), ServiceError>>,
}

pub fn config() -> IngestConfig {
    IngestConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        country_header: Some("x-country".to_owned()),
        client_address_header: Some("x-client".to_owned()),
        // On a busy machine a test must not run into the limit it does not test.
        answer_timeout: Duration::from_millis(1_999),
        click_record_wait: PATIENCE,
        click_details_wait: PATIENCE,
        ..IngestConfig::default()
    }
}

pub async fn start() -> Running {
    start_with(config(), MemoryLog::default()).await
}

/// On a log in memory, which gets the usual configuration unless it has one.
pub async fn start_with(config: IngestConfig, log: MemoryLog) -> Running {
    if log.records(Topic::Config).is_empty() {
        apply(&log, 1, documents()).await;
    }
    start_on(config, Arc::new(log)).await
}

pub async fn start_on<L: EventLog + 'static>(config: IngestConfig, log: Arc<L>) -> Running<L> {
    let keyring = Arc::new(Keyring::parse(KEYS).unwrap());
    let (clock, readiness, shutdown) = (Clock::manual(NOW.0), Readiness::new(), Shutdown::new());
    let server = Server::start(
        config,
        Arc::clone(&log) as Arc<dyn EventLog>,
        Arc::clone(&keyring),
        clock.clone(),
        readiness.condition("ingest"),
        shutdown.clone(),
    )
    .await
    .unwrap()
    .unwrap();
    let address = server.address();
    let ended = tokio::spawn(server.serve());
    Running { address, log, keyring, clock, readiness, shutdown, ended }
}

pub async fn apply(log: &dyn EventLog, version: u64, documents: Vec<Document>) {
    let marker = ConfigMarker {
        version,
        apply: None,
        base: None,
        documents: documents.len() as u32,
        applied_at: NOW,
    };
    let documents = documents
        .into_iter()
        .map(|document| ConfigRecord::Document(ConfigDocument { version, apply: None, document }));
    let records = documents.chain([ConfigRecord::Marker(marker)]).map(|record| {
        let (key, value) = record.encode();
        Record { key: key.into(), value: value.into(), at: NOW }
    });
    log.append(Topic::Config, 0, records.collect()).await.unwrap();
}

pub async fn announce(log: &dyn EventLog, availability: Availability) {
    let record = Record {
        key: availability.scope.key().into(),
        value: codec::encode(&availability).into(),
        at: NOW,
    };
    log.append(Topic::Availability, 0, vec![record]).await.unwrap();
}

pub fn tenant(id: &str, fallback_link: Option<&str>) -> Document {
    Document::Tenant(Arc::new(Tenant {
        id: TenantId::new(id).unwrap(),
        name: id.to_owned(),
        time_zone: "UTC".to_owned(),
        fallback_link: fallback_link.map(str::to_owned),
    }))
}

pub fn advertiser(id: &str, tenant: &str) -> Document {
    Document::Advertiser(Arc::new(Advertiser {
        id: AdvertiserId::new(id).unwrap(),
        tenant: TenantId::new(tenant).unwrap(),
        name: id.to_owned(),
        credential_versions: vec![1, 2],
    }))
}

pub fn offer() -> Offer {
    Offer {
        id: OfferId::new("pet-the-dogs-ios").unwrap(),
        version: 0,
        tenant: TenantId::new("brownboots").unwrap(),
        advertiser: AdvertiserId::new("brain-games").unwrap(),
        root: OfferId::new("pet-the-dogs-ios").unwrap(),
        name: "Pet the Dogs iOS".to_owned(),
        campaign: String::new(),
        headline: String::new(),
        description: String::new(),
        categories: Vec::new(),
        creative: String::new(),
        integration: Integration::Adjust,
        custom_profile: None,
        convert_ignored: false,
        link: "https://app.adjust.com/abc?gk_click_id={gk_click_id}&s={sub1}&n={offer_name}&c={country}"
            .to_owned(),
        state: LiveState::Live,
        launch_at: UnixMillis(0),
        currency: "USD".parse().unwrap(),
        budget: None,
        epc: None,
        reward_unit: "".into(),
        targeting: Targeting {
            countries: vec!["US".to_owned(), "ZA".to_owned()],
            platforms: vec![Platform::Ios],
            ..Targeting::default()
        },
        events: Vec::new(),
        sequence_rule: SequenceRule::Any,
        sequence_grace_ms: 0,
        attribution_window_ms: 0,
        honour_ms: 0,
        reversal_window_ms: 0,
        amounts_at: AmountsAt::Click,
        time_zone: "UTC".to_owned(),
    }
}

pub fn share() -> Share {
    Share {
        id: ShareId::new("pet-acme").unwrap(),
        version: 0,
        tenant: TenantId::new("brownboots").unwrap(),
        offer: OfferId::new("pet-the-dogs-ios").unwrap(),
        publisher: PublisherId::new("acme").unwrap(),
        name: None,
        link: None,
        fallback_link: None,
        postbacks: Vec::new(),
        state: LiveState::Live,
        events: Vec::new(),
    }
}

pub fn documents() -> Vec<Document> {
    vec![
        tenant("brownboots", None),
        tenant("shoes", None),
        advertiser("brain-games", "brownboots"),
        advertiser("trade", "brownboots"),
        advertiser("other", "shoes"),
        Document::Offer(Arc::new(offer())),
        Document::Share(Arc::new(share())),
    ]
}

/// One HTTP answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In lower case, without `date`.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A connection to an ingester, on which requests are written as they go over the wire.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, request: &str) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// The next answer; none when the connection has been closed. `head`: it has no body.
    pub async fn answer(&mut self, head: bool) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read(head)).await.expect("no answer came")
    }

    async fn read(&mut self, head: bool) -> Option<Answer> {
        let end = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more().await?,
            }
        };
        let text = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| name != "date")
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = if head { 0 } else { length.map_or(0, |(_, value)| value.parse().unwrap()) };
        while self.buffer.len() < end + 4 + length {
            self.more().await?;
        }
        let body = String::from_utf8(self.buffer[end + 4..end + 4 + length].to_vec()).unwrap();
        self.buffer.drain(..end + 4 + length);
        Some(Answer { status, headers, body })
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

impl<L> Running<L> {
    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer(request.starts_with("HEAD ")).await.expect("the connection was closed")
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await
    }

    pub async fn click(&self, target: &str) -> Answer {
        self.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {IPHONE}\r\nX-Country: us\r\n\r\n"
        ))
        .await
    }

    pub fn credentials(&self, advertiser: &str, tenant: &str) -> Credentials {
        let tenant = TenantId::new(tenant).unwrap();
        self.keyring.credentials(&tenant, &AdvertiserId::new(advertiser).unwrap(), 1).remove(0)
    }

    /// `/api/v1/…/?signature=…` of Brain Games.
    pub fn postback_url(&self) -> String {
        let credentials = self.credentials("brain-games", "brownboots");
        format!(
            "/api/v1/{}/?signature={}",
            credentials.segments().join("/"),
            credentials.signature()
        )
    }
}

impl Running {
    pub fn postbacks(&self) -> Vec<(u32, Postback)> {
        let inputs = self.log.records(Topic::Postbacks).into_iter();
        inputs
            .filter_map(|(partition, record)| match Input::decode(&record.value).unwrap() {
                Input::Postback(postback) => Some((partition, postback)),
                Input::ClickDetails(_) | Input::Command(_) | Input::Redecide(_) => None,
            })
            .collect()
    }

    pub fn clicks(&self) -> Vec<Click> {
        let records = self.log.records(Topic::Clicks).into_iter();
        records.map(|(_, record)| codec::decode(&record.value).unwrap()).collect()
    }
}
