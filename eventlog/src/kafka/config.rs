//! What the Kafka log is opened with, and the librdkafka settings made of it.

use crate::OpenError;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use std::path::PathBuf;
use std::time::Duration;

/// Records that may wait for their acknowledgement.
pub const IN_FLIGHT_RECORDS: usize = 100_000;
/// Bytes of records that may wait for their acknowledgement.
pub const IN_FLIGHT_BYTES: usize = 64 << 20;
/// librdkafka's own limits stand above ours, so that an append is refused before any of it is
/// queued, never in the middle.
const QUEUE_RECORDS: usize = 2 * IN_FLIGHT_RECORDS;
const QUEUE_KBYTES: usize = 2 * IN_FLIGHT_BYTES / 1024;

/// Kafka's default limit of a batch of records.
const MESSAGE_BYTES_MAX: usize = 1_048_588;
/// Read ahead of one partition.
const READ_AHEAD_KBYTES: usize = 4_096;
/// How long a broker holds a fetch that finds nothing. The end of a partition is noticed then.
const FETCH_WAIT_MS: u32 = 100;

/// How long a broker lets a transaction stand open.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
const TRANSACTION_MESSAGE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long one request to the brokers may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A member that is not heard of for so long loses its partitions.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(2);

const _: () = assert!(TRANSACTION_MESSAGE_TIMEOUT.as_millis() < TRANSACTION_TIMEOUT.as_millis());
const _: () = assert!(HEARTBEAT.as_millis() * 3 < SESSION_TIMEOUT.as_millis());
const _: () = assert!(crate::limits::RECORD_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(MESSAGE_BYTES_MAX < READ_AHEAD_KBYTES * 1024);

/// What the promises rest on, and what nobody may therefore set.
const RESERVED: [&str; 13] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Settings of a [`super::KafkaLog`].
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Before the name of every topic and group, so that several systems can share a cluster.
    pub topic_prefix: String,
    /// Partitions of `postbacks`; the topics must have been made with the same.
    pub partitions: u32,
    /// Copies of each partition that new topics get.
    pub replication_factor: u32,
    /// How long new topics keep records, read or not (those that are not compacted). `None`: as
    /// the brokers are set. Kafka does not wait for slow consumers; what is gone before it was read
    /// is an error there, never a jump.
    pub retention_ms: Option<i64>,
    /// Who this process is among its like, through restarts. `None`: made up once, and kept in
    /// `state_dir`.
    pub instance_id: Option<String>,
    /// Further librdkafka settings (TLS, SASL and the like); those that the promises rest on
    /// are refused.
    pub properties: Vec<(String, String)>,
    /// Where the processor keeps its copy of the state. Used by `join_processors` only.
    pub state_dir: PathBuf,
    /// An append is answered within this; stay below the HTTP answer's time-out.
    pub message_timeout: Duration,
    /// How long the producer waits for more records of a batch.
    pub linger_ms: u32,
    /// How long `connect` tries to reach a broker.
    pub connect_timeout: Duration,
}

impl KafkaConfig {
    /// The defaults for a cluster.
    #[must_use]
    pub fn new(brokers: impl Into<String>, partitions: u32, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            brokers: brokers.into(),
            topic_prefix: String::new(),
            partitions,
            replication_factor: 1,
            retention_ms: None,
            instance_id: None,
            properties: Vec::new(),
            state_dir: state_dir.into(),
            message_timeout: Duration::from_secs(5),
            linger_ms: 1,
            connect_timeout: Duration::from_secs(10),
        }
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let wrong = |why: String| Err(OpenError::Configuration(why));
        if self.brokers.trim().is_empty() {
            return wrong("no Kafka broker is named; use kafka://host:port[,host:port…]".into());
        }
        if self.partitions == 0 || self.replication_factor == 0 {
            return wrong("partitions and replication factor must be at least 1".into());
        }
        for (name, _) in &self.properties {
            if RESERVED.contains(&name.as_str()) {
                return wrong(format!(
                    "the Kafka property {name} cannot be set: exactly-once processing rests on it"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("client.id", "gokart").set("reconnect.backoff.max.ms", "1000");
        client.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    fn any_producer(&self) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", self.linger_ms.to_string())
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("queue.buffering.max.messages", QUEUE_RECORDS.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string());
        client
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.any_producer();
        client.set("message.timeout.ms", self.message_timeout.as_millis().to_string());
        client
    }

    pub(super) fn transactional_producer(&self, instance: &str) -> ClientConfig {
        let mut client = self.any_producer();
        client
            .set("transactional.id", format!("{}processor-{instance}", self.topic_prefix))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("message.timeout.ms", TRANSACTION_MESSAGE_TIMEOUT.as_millis().to_string());
        client
    }

    /// Consumers never skip: no automatic reset, no automatic commit, committed records only.
    fn any_consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", format!("{}{group}", self.topic_prefix))
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        client
    }

    /// A consumer that fetches and belongs to no group (librdkafka wants a name all the same).
    pub(super) fn fetcher(&self) -> ClientConfig {
        let mut client = self.any_consumer("no-group");
        client
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            // Its default of a second would halt a reader that is briefly slower than the broker.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.message.max.bytes", (MESSAGE_BYTES_MAX + 4096).to_string())
            .set("queued.max.messages.kbytes", READ_AHEAD_KBYTES.to_string());
        client
    }

    /// A consumer that is a member of a group and never fetches.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut client = self.any_consumer(group);
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string());
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(property: &str, allowed: bool) {
        let mut config = KafkaConfig::new("127.0.0.1:1", 1, "state");
        config.properties = vec![(property.to_string(), "x".to_string())];
        assert_eq!(config.check().is_ok(), allowed, "{property}");
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_set() {
        check("security.protocol", true);
        check("linger.ms", true);
        check("isolation.level", false);
        check("acks", false);
        check("transactional.id", false);
    }
}
