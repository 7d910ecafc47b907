//! Looking at Apache Kafka's topics from outside.

use anyhow::{Context as _, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
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
    let partitions = i32::try_from(partitions)?;
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| topic(name, partitions)).collect();
    make(brokers, &topics).await
}

fn topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

async fn make(brokers: &str, topics: &[NewTopic<'_>]) -> Result<()> {
    let admin: AdminClient<_> = client(brokers).create()?;
    for made in admin.create_topics(topics, &AdminOptions::new()).await? {
        made.map_err(|(name, code)| anyhow::anyhow!("topic {name} was not made: {code}"))?;
    }
    Ok(())
}

/// Makes a compacted topic of one partition that holds these values by their keys.
pub async fn create_table(
    brokers: &str,
    name: &str,
    rows: impl Iterator<Item = (String, String)>,
) -> Result<()> {
    make(brokers, &[topic(name, 1).set("cleanup.policy", "compact")]).await?;
    let producer: FutureProducer = client(brokers).set("acks", "all").create()?;
    for (key, value) in rows {
        let record = FutureRecord::to(name).key(&key).payload(&value);
        producer.send(record, WITHIN).await.map_err(|(error, _)| error)?;
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

/// The offsets that a consumer group has committed.
pub struct Group {
    consumer: BaseConsumer,
    places: TopicPartitionList,
}

impl Group {
    /// Looks at a group that this does not join.
    pub fn new(brokers: &str, name: &str, topic: &str, partitions: u32) -> Result<Self> {
        let consumer = client(brokers)
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            // What a transaction is about to commit is not waited for.
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let mut places = TopicPartitionList::new();
        places.add_partition_range(topic, 0, i32::try_from(partitions)? - 1);
        Ok(Self { consumer, places })
    }

    /// Records from these offsets, one a partition, to what was committed.
    pub fn passed(&self, from: &[i64]) -> Result<u64> {
        let committed = self.consumer.committed_offsets(self.places.clone(), WITHIN)?;
        let passed = committed.elements().into_iter().zip(from).map(|(place, from)| {
            // Nothing yet in a partition is no offset at all.
            place.offset().to_raw().map_or(0, |at| u64::try_from(at - from).unwrap_or(0))
        });
        Ok(passed.sum())
    }
}

/// Everything that was committed to a topic from these offsets to now.
pub fn written(brokers: &str, topic: &str, from: &[i64]) -> Result<Written> {
    read(brokers, topic, from, |_| Ok(()))
}

/// The same, handing over each record's value.
pub fn read(
    brokers: &str,
    topic: &str,
    from: &[i64],
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Written> {
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
                each(message.payload().unwrap_or_default())?;
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(found.records > 0, "nothing came to {topic}");
    Ok(found)
}
