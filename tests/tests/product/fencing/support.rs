//! A broker whose clients come through a proxy, and what a topic shows to those who read committed
//! records only.

use anyhow::{Context, Result, ensure};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{
    EventLog, Offset, OwnedPartition, ProcessorEvent, ProcessorMember, ReadLimit, Stage,
};
use schemas::Topic;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::kafka::Kafka;
use tests::kafka_proxy::KafkaProxy;
use tests::process::free_address;
use tokio::net::TcpListener;

/// Longest time for something that must happen, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: ReadLimit = ReadLimit { records: 1_000, bytes: 8 << 20, wait: PAUSE };

/// One broker with two ways to it.
pub struct World {
    /// `host:port` of the broker itself.
    pub direct: String,
    /// `host:port` of the proxy; a client that begins there is led there for everything.
    pub proxied: String,
    pub proxy: KafkaProxy,
    pub dir: TempDir,
    _broker: Kafka,
}

impl World {
    /// `None`, said loudly, without Java or Maven.
    pub async fn start() -> Result<Option<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxied = listener.local_addr()?;
        let upstream = free_address()?;
        let dir = tempfile::tempdir()?;
        let properties = dir.path().join("further.properties");
        std::fs::write(
            &properties,
            format!(
                "listeners=BROKER://127.0.0.1:@PORT@,CONTROLLER://127.0.0.1:@CONTROLLER_PORT@,\
                 PROXIED://{upstream}\n\
                 advertised.listeners=BROKER://127.0.0.1:@PORT@,PROXIED://{proxied}\n\
                 listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,\
                 PROXIED:PLAINTEXT\n"
            ),
        )?;
        let properties = properties.display().to_string();
        let Some(broker) = Kafka::start_own(&["--properties", &properties])? else {
            return Ok(None);
        };
        let direct = broker.url.trim_start_matches("kafka://").to_owned();
        let proxy = KafkaProxy::start(listener, upstream).await;
        let proxied = proxied.to_string();
        Ok(Some(Self { direct, proxied, proxy, dir, _broker: broker }))
    }

    /// The log of a process of this name, one partition, in topics with this prefix.
    pub async fn log(&self, brokers: &str, prefix: &str, name: &str) -> Result<Arc<KafkaLog>> {
        let mut config = KafkaConfig::new(brokers, 1, self.dir.path().join(name));
        config.topic_prefix = prefix.to_owned();
        Ok(KafkaLog::connect(config).await?)
    }
}

/// A processor and its one partition.
pub struct Owner {
    pub member: Box<dyn ProcessorMember>,
    pub partition: Box<dyn OwnedPartition>,
}

impl Owner {
    pub async fn join(log: &dyn EventLog) -> Result<Self> {
        let began = Instant::now();
        loop {
            // The directory of a process that has just ended is let go of by its last thread.
            let mut member = match log.join_stage(Stage::Processor).await {
                Ok(member) => member,
                Err(error) => {
                    ensure!(began.elapsed() < PATIENCE, "{error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            while began.elapsed() < PATIENCE {
                if let Some(ProcessorEvent::Assigned(partition)) = member.next_event(PAUSE).await? {
                    return Ok(Self { member, partition });
                }
            }
            anyhow::bail!("no partition was assigned");
        }
    }
}

/// The committed values of partition 0 of a topic, read until there are `count` of them or, when
/// `None`, to the end there is now.
pub async fn committed(
    log: &dyn EventLog,
    topic: Topic,
    count: Option<usize>,
) -> Result<Vec<Vec<u8>>> {
    let began = Instant::now();
    let end: Offset = log.bounds(topic, 0).await?.end;
    let mut reader = log.read_from(topic, 0, 0).await?;
    let (mut values, mut next) = (Vec::new(), 0);
    while count.map_or(next < end, |count| values.len() < count) {
        ensure!(began.elapsed() < PATIENCE, "{topic} has {} committed records", values.len());
        let batch = reader.read(LIMIT).await?;
        next = next.max(batch.next_offset);
        values.extend(batch.records.into_iter().map(|stored| stored.record.value.to_vec()));
    }
    Ok(values)
}

pub fn utf8(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}
