//! The least that exactly-once processing on Apache Kafka costs: read, write as many records and
//! bytes as the product would, commit both in one transaction, compute nothing.

use crate::process::cpu_seconds;
use anyhow::{Context as _, Result};
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TRANSACTION_WITHIN: Duration = Duration::from_secs(30);
/// Longest pause of the input before this counts as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    #[arg(long)]
    partitions: i32,
    /// Where outputs go: topic, records for each thousand inputs, and bytes of each record.
    #[arg(long = "to", value_name = "TOPIC:PER_THOUSAND:BYTES")]
    to: Vec<Output>,
    /// Offset of each partition to begin at, in order.
    #[arg(long, value_delimiter = ',')]
    offsets: Vec<i64>,
    /// Inputs to copy.
    #[arg(long)]
    count: u64,
    /// Inputs in one transaction, at most.
    #[arg(long, default_value_t = 4_000)]
    batch: u64,
    #[arg(long)]
    transactional_id: String,
}

#[derive(Debug, Clone)]
struct Output {
    topic: String,
    per_thousand: u64,
    bytes: usize,
}

impl std::str::FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, ':');
        let mut next = || parts.next().ok_or(format!("{text:?} is not TOPIC:PER_THOUSAND:BYTES"));
        let number = |it: &str| it.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        let (bytes, per_thousand) = (number(next()?)?, number(next()?)?);
        Ok(Self { topic: next()?.to_owned(), per_thousand, bytes: bytes as usize })
    }
}

/// Copies, prints the seconds from the first input to the last commit and the CPU-seconds of all,
/// and ends.
pub async fn run(arguments: &Arguments) -> Result<()> {
    // Blocking from here: this process does nothing else.
    tokio::task::block_in_place(|| copy(arguments))
}

fn copy(arguments: &Arguments) -> Result<()> {
    let consumer = consumer(arguments)?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("transactional.id", &arguments.transactional_id)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .context("no producer")?;
    producer.init_transactions(TRANSACTION_WITHIN)?;
    let value = vec![b'x'; arguments.to.iter().map(|it| it.bytes).max().unwrap_or(0)];
    let (mut copied, mut key) = (0, Vec::new());
    let mut owed = vec![0; arguments.to.len()];
    let mut began = None;
    while copied < arguments.count {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut batch = 0;
        while batch < arguments.batch && copied + batch < arguments.count {
            // What is there is taken; nothing waits for a batch to be full.
            let wait = if batch == 0 { PATIENCE } else { Duration::ZERO };
            let Some(message) = consumer.poll(wait) else {
                anyhow::ensure!(batch > 0, "no input within {PATIENCE:?}");
                break;
            };
            let message = message?;
            if batch == 0 {
                began.get_or_insert_with(Instant::now);
                producer.begin_transaction()?;
            }
            key.clear();
            key.extend_from_slice(message.key().unwrap_or_default());
            key.extend_from_slice(&message.offset().to_be_bytes());
            for (output, owed) in arguments.to.iter().zip(&mut owed) {
                *owed += output.per_thousand;
                while *owed >= 1_000 {
                    *owed -= 1_000;
                    let record = BaseRecord::to(&output.topic)
                        .partition(message.partition())
                        .key(&key)
                        .payload(&value[..output.bytes]);
                    producer.send(record).map_err(|(error, _)| error)?;
                }
            }
            next.insert(message.partition(), message.offset() + 1);
            batch += 1;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset(&arguments.from, partition, Offset::Offset(offset))?;
        }
        let group = consumer.group_metadata().context("no group")?;
        producer.send_offsets_to_transaction(&offsets, &group, TRANSACTION_WITHIN)?;
        producer.commit_transaction(TRANSACTION_WITHIN)?;
        copied += batch;
    }
    let seconds = began.map_or(0.0, |it| it.elapsed().as_secs_f64());
    println!("{seconds} {}", cpu_seconds(std::process::id())?);
    Ok(())
}

fn consumer(arguments: &Arguments) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", &arguments.transactional_id)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .context("no consumer")?;
    let mut places = TopicPartitionList::new();
    for partition in 0..arguments.partitions {
        let at = arguments.offsets.get(partition as usize).copied().unwrap_or(0);
        places.add_partition_offset(&arguments.from, partition, Offset::Offset(at))?;
    }
    consumer.assign(&places)?;
    Ok(consumer)
}
