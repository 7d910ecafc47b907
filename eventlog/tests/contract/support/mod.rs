//! The three logs as the contract's cases see them, and the broker for one of them.

pub mod broker;
pub mod secure_broker;

use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::simulated::SimulatedLog;
use eventlog::{
    Batch, EventLog, Offset, OwnedPartition, ProcessorEvent, ProcessorMember, ReadLimit, Record,
    Stage, StoredRecord,
};
use schemas::{Topic, UnixMillis};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

pub const PARTITIONS: u32 = 2;
/// When records happened.
pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Rounds of waiting before a test gives up; each takes [`ROUND`] at most.
const ROUNDS: u32 = 300;
pub const ROUND: Duration = Duration::from_millis(200);
/// For records that are certain to come, on however busy a machine.
pub const PATIENT: ReadLimit = ReadLimit { wait: Duration::from_secs(10), ..LIMIT };
pub const LIMIT: ReadLimit = ReadLimit { records: 1_000, bytes: 8 << 20, wait: ROUND };

enum Kind {
    Local,
    Simulated(Mutex<Arc<SimulatedLog>>),
    Kafka { brokers: String, prefix: String },
}

/// A place where a log lives, through restarts.
pub struct World {
    kind: Kind,
    dir: TempDir,
}

/// A log as one process has it.
pub struct Process {
    pub log: Arc<dyn EventLog>,
    local: Option<Arc<LocalLog>>,
}

impl Process {
    pub fn on(log: Arc<dyn EventLog>) -> Self {
        Self { log, local: None }
    }
}

impl World {
    fn new(kind: Kind) -> Self {
        Self { kind, dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn local() -> Self {
        Self::new(Kind::Local)
    }

    pub fn simulated() -> Self {
        Self::new(Kind::Simulated(Mutex::new(SimulatedLog::new(PARTITIONS, 1))))
    }

    /// `None` when there is no broker and none can be started; it has been said aloud then.
    pub fn kafka() -> Option<Self> {
        let brokers = broker::address()?;
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Some(Self::new(Kind::Kafka { brokers, prefix: format!("test-{random:016x}-") }))
    }

    /// The log as process `name` opens it.
    pub async fn start(&self, name: &str) -> Process {
        match &self.kind {
            Kind::Local => {
                let mut config = LocalConfig::new(self.dir.path().join("log"), PARTITIONS);
                config.min_free_disk_bytes = 0;
                let log = LocalLog::open(config).expect("the log opens");
                Process { log: Arc::clone(&log) as Arc<dyn EventLog>, local: Some(log) }
            }
            Kind::Simulated(log) => {
                let log = Arc::clone(&log.lock().unwrap());
                Process { log, local: None }
            }
            Kind::Kafka { .. } => {
                let config = self.kafka_config(name);
                let log = KafkaLog::connect(config).await.expect("the log opens");
                Process { log, local: None }
            }
        }
    }

    /// Settings of process `name` on Kafka.
    pub fn kafka_config(&self, name: &str) -> KafkaConfig {
        let Kind::Kafka { brokers, prefix } = &self.kind else { panic!("not on Kafka") };
        let mut config = KafkaConfig::new(brokers, PARTITIONS, self.path(name));
        config.topic_prefix = prefix.clone();
        config
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A further process beside the first; on the local log there is only one.
    pub async fn start_another(&self, first: &Process, name: &str) -> Process {
        match &self.kind {
            Kind::Local => Process { log: Arc::clone(&first.log), local: first.local.clone() },
            Kind::Simulated(_) | Kind::Kafka { .. } => self.start(name).await,
        }
    }

    /// The process ends without a word and starts again.
    pub async fn restart(&self, process: Process, name: &str) -> Process {
        match &self.kind {
            Kind::Local => {
                if let Some(local) = &process.local {
                    local.close().await;
                }
            }
            Kind::Simulated(log) => {
                let mut log = log.lock().unwrap();
                *log = log.crash();
            }
            Kind::Kafka { .. } => {}
        }
        drop(process);
        self.start(name).await
    }
}

pub fn record(key: &str, value: &str) -> Record {
    Record { key: key.to_string().into(), value: value.to_string().into(), at: NOW }
}

pub fn values(records: &[StoredRecord]) -> Vec<String> {
    let text = |stored: &StoredRecord| String::from_utf8_lossy(&stored.record.value).into_owned();
    records.iter().map(text).collect()
}

/// Everything of a partition from an offset to the end that it has now.
pub async fn read_all(
    log: &dyn EventLog,
    topic: Topic,
    partition: u32,
    from: Offset,
) -> Vec<StoredRecord> {
    let end = log.bounds(topic, partition).await.expect("bounds").end;
    let mut reader = log.read_from(topic, partition, from).await.expect("a reader");
    let mut records = Vec::new();
    let mut next = from;
    for _ in 0..ROUNDS {
        if next >= end {
            return records;
        }
        let batch: Batch = reader.read(LIMIT).await.expect("a batch");
        assert!(batch.next_offset >= next, "reading never goes back");
        next = batch.next_offset;
        records.extend(batch.records);
    }
    panic!("{topic}/{partition} was not read to its end {end}, only to {next}");
}

/// A processor with what it owns.
pub struct Owner {
    pub member: Box<dyn ProcessorMember>,
    pub owned: BTreeMap<u32, Box<dyn OwnedPartition>>,
    /// Handles of partitions that were revoked.
    pub lost: BTreeMap<u32, Box<dyn OwnedPartition>>,
}

impl Owner {
    pub async fn join(process: &Process) -> Self {
        Self::join_stage(process, Stage::Processor).await
    }

    pub async fn join_stage(process: &Process, stage: Stage) -> Self {
        let mut tries = 0;
        let member = loop {
            // The directory of a process that has just ended is let go of by its last thread.
            match process.log.join_stage(stage).await {
                Ok(member) => break member,
                Err(error) => {
                    tries += 1;
                    assert!(tries < 50, "{error}");
                    tokio::time::sleep(ROUND).await;
                }
            }
        };
        Self { member, owned: BTreeMap::new(), lost: BTreeMap::new() }
    }

    /// Takes notice of what happens within `wait`.
    pub async fn step(&mut self, wait: Duration) {
        match self.member.next_event(wait).await.expect("an event") {
            None => {}
            Some(ProcessorEvent::Assigned(partition)) => {
                self.lost.remove(&partition.partition());
                self.owned.insert(partition.partition(), partition);
            }
            Some(ProcessorEvent::Revoked(partition)) => {
                if let Some(handle) = self.owned.remove(&partition) {
                    self.lost.insert(partition, handle);
                }
            }
        }
    }

    pub async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..ROUNDS {
            if done(self) {
                return;
            }
            self.step(ROUND).await;
        }
        panic!("did not happen; owned: {:?}", self.owned.keys());
    }

    pub async fn joined_with_all(process: &Process) -> Self {
        Self::joined_stage_with_all(process, Stage::Processor).await
    }

    pub async fn joined_stage_with_all(process: &Process, stage: Stage) -> Self {
        let mut owner = Self::join_stage(process, stage).await;
        owner.until(|owner| owner.owned.len() == PARTITIONS as usize).await;
        owner
    }
}
