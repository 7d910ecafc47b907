//! A deliverer on a log of its own: what is configured, what is decided, what it wrote.

use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{EventLog, ReadLimit, Record};
use keyring::Keyring;
use schemas::codec::{decode, encode};
use schemas::{
    ConfigDocument, ConfigMarker, ConfigRecord, Conversion, Decision, DeliveryAttempt, Document,
    Topic, UnixMillis,
};
use serde_json::{Value, json};
use service::{Clock, Readiness, Shutdown};
use sink::DelivererConfig;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longest time for something that must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub const START: i64 = 1_700_000_000_000;
pub const MASTER: &str = "1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";

pub struct World {
    /// Removed in the end.
    _dir: TempDir,
    pub log: Arc<LocalLog>,
    pub clock: Clock,
    pub config: DelivererConfig,
    version: u64,
}

pub struct Running {
    stop: Shutdown,
    task: JoinHandle<Result<(), sink::Error>>,
}

impl Running {
    pub async fn stop(self) {
        self.stop.trigger();
        self.task.await.unwrap().unwrap();
    }

    /// Ends without finishing anything.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn open(dir: &TempDir) -> Arc<LocalLog> {
    let mut config = LocalConfig::new(dir.path(), 2);
    config.fsync = false;
    config.min_free_disk_bytes = 0;
    LocalLog::open(config).unwrap()
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = DelivererConfig {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            connect_timeout: Duration::from_millis(500),
            answer_timeout: Duration::from_millis(500),
            drain_timeout: Duration::from_millis(100),
            ..DelivererConfig::default()
        };
        Self { log: open(&dir), _dir: dir, clock: Clock::manual(START), config, version: 0 }
    }

    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    pub fn advance(&self, ms: i64) {
        self.clock.set(self.clock.now() + ms);
    }

    pub fn start(&self) -> Running {
        let stop = Shutdown::new();
        let keyring = Arc::new(Keyring::parse(MASTER).unwrap());
        let ready = Readiness::new().condition("deliverer");
        let log: Arc<dyn EventLog> = self.log.clone();
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let task =
            tokio::spawn(sink::publishers::run(config, log, keyring, clock, stop.clone(), ready));
        Running { stop, task }
    }

    /// Puts a publisher `p` with these postbacks in force, an offer `offer` with the events `e`
    /// and `f` and the private event `secret`, and a share `s` with further postbacks.
    pub async fn configure(&mut self, publisher: Value, share: Value) {
        self.configure_many(vec![("p".to_owned(), publisher)], share).await;
    }

    pub async fn configure_many(&mut self, publishers: Vec<(String, Value)>, share: Value) {
        self.version += 1;
        let documents = documents(publishers, share);
        let count = u32::try_from(documents.len()).unwrap();
        let mut records = Vec::new();
        for document in documents {
            let version = self.version;
            records.push(ConfigRecord::Document(ConfigDocument { version, apply: None, document }));
        }
        let applied_at = UnixMillis(self.now());
        records.push(ConfigRecord::Marker(ConfigMarker {
            apply: None,
            base: None,
            version: self.version,
            documents: count,
            applied_at,
        }));
        let record = |it: ConfigRecord| {
            let (key, value) = it.encode();
            Record { key: key.into(), value: value.into(), at: applied_at }
        };
        let records = records.into_iter().map(record).collect();
        self.log.append(Topic::Config, 0, records).await.unwrap();
    }

    /// The processor decides.
    pub async fn decide(&self, conversions: Vec<Conversion>) {
        self.append(Decision { conversions, ..Decision::default() }).await;
    }

    pub async fn append(&self, mut decision: Decision) {
        // The version makes the deliverer wait until it has read that configuration.
        decision.postback = serde_json::from_value(json!({
            "postback_id": "01890a5d-ac96-774b-bcce-b302099a8057", "tenant": "t",
            "advertiser_id": "a", "received_at": 1, "click_id": "", "event_id": "",
            "outcome": "accepted", "parameters": [], "test": false, "config_version": self.version
        }))
        .unwrap();
        let record =
            Record { key: "".into(), value: encode(&decision).into(), at: UnixMillis(self.now()) };
        self.log.append(Topic::Decisions, 1, vec![record]).await.unwrap();
    }

    pub async fn attempts(&self) -> Vec<DeliveryAttempt> {
        let bounds = self.log.bounds(Topic::Deliveries, 1).await.unwrap();
        let mut reader = self.log.read_from(Topic::Deliveries, 1, bounds.first).await.unwrap();
        let limit = ReadLimit { records: 100_000, bytes: 1 << 30, wait: Duration::ZERO };
        let batch = reader.read(limit).await.unwrap();
        batch.records.iter().map(|stored| decode(&stored.record.value).unwrap()).collect()
    }

    /// Waits for real until so many attempts (or ends) have this outcome.
    pub async fn until(&self, outcome: &str, count: usize) -> Vec<DeliveryAttempt> {
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let attempts = self.attempts().await;
            if attempts.iter().filter(|it| it.outcome.code() == outcome).count() >= count {
                return attempts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not {count} {outcome}: {:#?}", self.attempts().await);
    }
}

/// Publishers with their postbacks, an offer `offer`, and a share `s` of the first one.
pub fn documents(publishers: Vec<(String, Value)>, share: Value) -> Vec<Document> {
    let event = |id: &str, private: bool| {
        json!({"id": id, "name": id, "sequence": null, "pending_ms": 0, "deadline_ms": 1,
               "minimum_ms": 0, "revenue": 0, "payout": 0, "reward": 0, "repeatable": false,
               "private": private})
    };
    let mut documents = vec![json!({"offer": {
        "id": "offer", "tenant": "t", "advertiser": "a", "root": "offer", "name": "The Offer",
        "integration": "custom", "link": "https://a.io/", "state": "live", "launch_at": 0,
        "currency": "USD", "budget": null, "epc": null,
        "events": [event("e", false), event("f", false), event("secret", true)],
        "sequence_rule": "any", "sequence_grace_ms": 0, "attribution_window_ms": 1,
        "honour_ms": 1, "reversal_window_ms": 1, "amounts_at": "click", "time_zone": "UTC"}})];
    for (index, (id, postbacks)) in publishers.into_iter().enumerate() {
        documents.push(json!({"publisher": {
            "id": id, "tenant": "t", "name": id, "postbacks": postbacks,
            "secret_versions": [1, 2]}}));
        if index == 0 {
            documents.push(json!({"share": {"id": "s", "tenant": "t", "offer": "offer",
                "publisher": id, "state": "live", "postbacks": share}}));
        }
    }
    documents.into_iter().map(|it| serde_json::from_value(it).unwrap()).collect()
}

/// A conversion number `n` of the event `e`, in the publisher's partition.
pub fn conversion(n: u32, revision: u32, status: &str) -> Conversion {
    serde_json::from_value(json!({
        "conversion_id": format!("offer.{n:0>26}"), "revision": revision,
        "click_id": format!("click-{n}"), "clicked_at": START - 5_000, "tenant": "t",
        "advertiser_id": "a", "offer_id": "offer", "root_offer_id": "offer", "share_id": "s",
        "publisher_id": "p", "event_id": "e", "event_name": "Event", "sequence": null,
        "status": status, "received_at": START - 1_000, "decided_at": START, "revenue": 9_990_000,
        "payout": 1_250_000, "currency": "USD", "reward": 0, "sale_amount": 7_770_000,
        "sale_currency": "USD", "offer_version": 1, "test": false,
        "subs": [format!("user {n}&x=\r\n1"), null, null, null, null, null, null, null, null, null,
                 null, null, null, null, null],
    }))
    .unwrap()
}

pub fn get(name: &str, url: &str) -> Value {
    json!({"name": name, "url": url, "form": "get", "statuses": ["Success"], "in_flight": 8,
           "per_second": 1000})
}
