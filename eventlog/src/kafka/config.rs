//! What the Kafka log is opened with, and the librdkafka settings made of it.

use super::properties;
use super::security::Security;
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
pub const MESSAGE_BYTES_MAX: usize = 1_048_588;
/// Read ahead of one partition.
const READ_AHEAD_KBYTES: usize = 4_096;
/// With so many records read ahead no further fetch begins: the client needs some 300 bytes for each,
/// which its limit of bytes does not count.
const READ_AHEAD_RECORDS: usize = 10_000;
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

/// Settings of a [`super::KafkaLog`].
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Before the name of every topic and group, so that several systems can share a cluster.
    pub topic_prefix: String,
    /// Partitions of `postbacks`; the topics must have been made with the same.
    pub partitions: u32,
    /// Copies of each partition that new topics get, and that topics must have at least.
    pub replication_factor: u32,
    /// How long topics keep records at least, read or not (those that are not compacted). `None`: as
    /// the brokers are set. Kafka does not wait for slow consumers; what is gone before it was read
    /// is an error there, never a jump.
    pub retention_ms: Option<i64>,
    /// Who this process is among its like, through restarts. `None`: made up once, and kept in
    /// `state_dir`.
    pub instance_id: Option<String>,
    /// TLS and SASL.
    pub security: Security,
    /// Further librdkafka settings; those that something rests on are refused. The others come
    /// last, so that they stand above ours.
    pub properties: Vec<(String, String)>,
    /// Where stages keep their copies of the state. Used by `join_stage` only.
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
            security: Security::default(),
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
        self.security.check()?;
        properties::check(&self.properties)
    }

    fn base(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("client.id", "gokart").set("reconnect.backoff.max.ms", "1000");
        client.set_log_level(RDKafkaLogLevel::Warning);
        client.set("bootstrap.servers", &self.brokers);
        self.security.apply(&mut client);
        client
    }

    /// The user's own properties, above ours.
    fn finish(&self, mut client: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }

    /// A client that asks and administers.
    pub(super) fn client(&self) -> ClientConfig {
        self.finish(self.base())
    }

    fn any_producer(&self) -> ClientConfig {
        let mut client = self.base();
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
        self.finish(client)
    }

    /// It tells of each connection that breaks.
    pub(super) fn transactional_producer(&self, id: &str) -> ClientConfig {
        let mut client = self.any_producer();
        client.set_log_level(RDKafkaLogLevel::Info);
        client
            .set("transactional.id", format!("{}{id}", self.topic_prefix))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("message.timeout.ms", TRANSACTION_MESSAGE_TIMEOUT.as_millis().to_string());
        self.finish(client)
    }

    /// Consumers never skip: no automatic reset, no automatic commit, committed records only.
    fn any_consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.base();
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
            .set("queued.min.messages", READ_AHEAD_RECORDS.to_string())
            .set("queued.max.messages.kbytes", READ_AHEAD_KBYTES.to_string());
        self.finish(client)
    }

    /// A consumer that is a member of a group and never fetches.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut client = self.any_consumer(group);
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string());
        self.finish(client)
    }
}

/// Names of the properties only: nobody knows what is in their values.
impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic_prefix", &self.topic_prefix)
            .field("partitions", &self.partitions)
            .field("security", &self.security)
            .field("properties", &properties)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_properties_stand_above_ours_and_are_not_shown() {
        let mut config = KafkaConfig::new("127.0.0.1:1", 1, "state");
        config.properties = vec![("linger.ms".to_string(), "12345".to_string())];
        assert_eq!(config.producer().get("linger.ms"), Some("12345"));
        assert_eq!(config.transactional_producer("a").get("linger.ms"), Some("12345"));
        assert!(!format!("{config:?}").contains("12345"));
    }
}
