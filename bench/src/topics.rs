//! Looking at Apache Kafka's topics from outside.

use anyhow::{Context as _, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);

/// Records that came to a topic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
}

impl Written {
    pub fn mean_bytes(&self) -> u64 {
        self.bytes / self.records.max(1)
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client
}

/// Makes topics of one replica.
pub async fn create(brokers: &str, names: &[&str], partitions: u32) -> Result<()> {
    let admin: AdminClient<_> = client(brokers).create()?;
    let partitions = i32::try_from(partitions)?;
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
        .collect();
    for made in admin.create_topics(&topics, &AdminOptions::new()).await? {
        made.map_err(|(name, code)| anyhow::anyhow!("topic {name} was not made: {code}"))?;
    }
    Ok(())
}

/// The offset after the last record of each partition.
pub fn ends(brokers: &str, topic: &str, partitions: u32) -> Result<Vec<i64>> {
    let consumer: BaseConsumer = client(brokers).create()?;
    (0..partitions)
        .map(|partition| {
            let (_, end) = consumer.fetch_watermarks(topic, i32::try_from(partition)?, WITHIN)?;
            Ok(end)
        })
        .collect()
}

/// Everything that was committed to a topic from these offsets to now.
pub fn written(brokers: &str, topic: &str, from: &[i64]) -> Result<Written> {
    let consumer: BaseConsumer = client(brokers)
        .set("group.id", format!("{topic}-looked-at"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut places = TopicPartitionList::new();
    for (partition, offset) in (0_i32..).zip(from) {
        places.add_partition_offset(topic, partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&places)?;
    let (mut found, mut left) = (Written::default(), from.len());
    while left > 0 {
        match consumer.poll(WITHIN).context("the topic cannot be read")? {
            Ok(message) => {
                found.records += 1;
                found.bytes += (message.payload_len() + message.key_len()) as u64;
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(found.records > 0, "nothing came to {topic}");
    Ok(found)
}
