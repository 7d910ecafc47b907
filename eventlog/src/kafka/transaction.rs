//! One transaction at a time, on a thread that owns the transactional producer.

use super::changelog;
use super::config::{KafkaConfig, REQUEST_TIMEOUT};
use super::context::{client_error, explain, log_line};
use super::fetch::partition_number;
use super::producer::message;
use super::topics;
use crate::{Commit, Offset, Record, Stage};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, TopicPartitionList};
use schemas::UnixMillis;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const QUEUE_FULL_POLL: Duration = Duration::from_millis(5);
/// No offset has been reported yet.
const NOT_DELIVERED: i64 = -1;

/// What a transaction does for one partition of the stage's input.
pub struct Part {
    pub partition: u32,
    pub commit: Arc<Commit>,
    /// The time that changelog records carry.
    pub at: UnixMillis,
}

/// What became of a transaction.
pub enum Outcome {
    /// Committed; where the changelog of each part ends now, in the order of the parts.
    Committed(Vec<Offset>),
    /// Certainly not committed; the producer can go on.
    Aborted(String),
    /// Certainly not committed; the producer is of no more use.
    Broken(String),
    /// Nobody knows; the producer is of no more use.
    Unknown(String),
}

struct Job {
    parts: Vec<Part>,
    metadata: ConsumerGroupMetadata,
    reply: oneshot::Sender<Outcome>,
}

/// The thread. When this is dropped it ends after what it is doing, which may hang: it is never
/// waited for.
pub struct Worker {
    jobs: mpsc::SyncSender<Job>,
}

impl Worker {
    /// A new producer under the instance's transactional id. When this has succeeded, everything
    /// that earlier producers of the id had under way has been committed or aborted, and they can
    /// commit nothing more.
    pub async fn start(config: &KafkaConfig, stage: Stage, instance: &str) -> Result<Self, String> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(1);
        let (ready, is_ready) = oneshot::channel();
        let (config, id) = (config.clone(), format!("{}-{instance}", stage.member()));
        let work = move || {
            let started = ThreadedProducer::from_config_and_context(
                &config.transactional_producer(&id),
                Deliveries,
            )
            .and_then(|producer| producer.init_transactions(REQUEST_TIMEOUT).map(|()| producer));
            let producer = match started {
                Ok(producer) => producer,
                Err(error) => return drop(ready.send(Err(explain(&error)))),
            };
            // Whoever started us has given up waiting: then there will be no jobs either.
            let _ = ready.send(Ok(()));
            while let Ok(Job { parts, metadata, reply }) = queue.recv() {
                let _ = reply.send(run((&config, stage), &producer, &parts, &metadata));
            }
        };
        std::thread::Builder::new()
            .name("eventlog-commit".to_string())
            .spawn(work)
            .map_err(|error| format!("no thread for transactions: {error}"))?;
        match tokio::time::timeout(REQUEST_TIMEOUT * 2, is_ready).await {
            Ok(Ok(result)) => result.map(|()| Self { jobs }),
            Ok(Err(_)) => Err("the transactional producer ended".to_string()),
            Err(_) => Err("Kafka did not admit the transactional producer in time".to_string()),
        }
    }

    /// Runs a transaction. librdkafka's own time-outs are known not to hold always
    /// (`send_offsets_to_transaction`), so ours stands above them.
    pub async fn run(&self, parts: Vec<Part>, metadata: ConsumerGroupMetadata) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        if self.jobs.try_send(Job { parts, metadata, reply }).is_err() {
            return Outcome::Broken("the transactional producer is stuck".to_string());
        }
        match tokio::time::timeout(REQUEST_TIMEOUT * 3, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Unknown("the transactional producer ended".to_string()),
            Err(_) => Outcome::Unknown("Kafka did not answer in time".to_string()),
        }
    }
}

struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<AtomicI64>;

    /// Failures make the transaction fail, so only the offset matters here.
    fn delivery(&self, result: &DeliveryResult<'_>, offset: Self::DeliveryOpaque) {
        if let Ok(message) = result {
            offset.fetch_max(message.offset(), Ordering::AcqRel);
        }
    }
}

type TransactionalProducer = ThreadedProducer<Deliveries>;

fn run(
    (config, stage): (&KafkaConfig, Stage),
    producer: &TransactionalProducer,
    parts: &[Part],
    metadata: &ConsumerGroupMetadata,
) -> Outcome {
    if let Err(error) = producer.begin_transaction() {
        return Outcome::Broken(explain(&error));
    }
    let ends = match fill((config, stage), producer, parts, metadata) {
        Ok(ends) => ends,
        Err(error) => return abort(producer, &error),
    };
    match producer.commit_transaction(REQUEST_TIMEOUT) {
        Ok(()) => {}
        // The end of the transaction was not asked for yet.
        Err(error @ KafkaError::Flush(_)) => return abort(producer, &error),
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
            return abort(producer, &KafkaError::Transaction(error));
        }
        Err(error) => return Outcome::Unknown(explain(&error)),
    }
    let end = |end: &Arc<AtomicI64>| u64::try_from(end.load(Ordering::Acquire) + 1).ok();
    match ends.iter().map(end).collect::<Option<Vec<Offset>>>() {
        Some(ends) if !ends.contains(&0) => Outcome::Committed(ends),
        // It stands in the log; where, the changelog tells.
        _ => Outcome::Unknown("committed, without a delivery report".to_string()),
    }
}

/// Before the end of the transaction was asked for, it cannot have been committed.
fn abort(producer: &TransactionalProducer, cause: &KafkaError) -> Outcome {
    let why = explain(cause);
    match producer.abort_transaction(REQUEST_TIMEOUT) {
        Ok(()) => Outcome::Aborted(why),
        Err(error) => Outcome::Broken(format!("{why}; {}", explain(&error))),
    }
}

fn fill(
    (config, stage): (&KafkaConfig, Stage),
    producer: &TransactionalProducer,
    parts: &[Part],
    metadata: &ConsumerGroupMetadata,
) -> Result<Vec<Arc<AtomicI64>>, KafkaError> {
    let (inputs, changelog) =
        (topics::name(config, stage.input()), topics::name(config, stage.changelog()));
    let mut offsets = TopicPartitionList::new();
    let mut ends = Vec::new();
    for Part { partition, commit, at } in parts {
        let nowhere = Arc::new(AtomicI64::new(NOT_DELIVERED));
        for (topic, output_partition, record) in &commit.outputs {
            send(producer, &topics::name(config, *topic), *output_partition, record, &nowhere)?;
        }
        for (key, value) in &commit.state_changes {
            let record = changelog::state_record(key, value.as_deref(), *at);
            send(producer, &changelog, *partition, &record, &nowhere)?;
        }
        let end = Arc::new(AtomicI64::new(NOT_DELIVERED));
        let position = changelog::position_record(commit.next_offset, *at);
        send(producer, &changelog, *partition, &position, &end)?;
        ends.push(end);
        let next = i64::try_from(commit.next_offset).unwrap_or(i64::MAX);
        let next = rdkafka::Offset::Offset(next);
        offsets.add_partition_offset(&inputs, partition_number(*partition), next)?;
    }
    producer.send_offsets_to_transaction(&offsets, metadata, REQUEST_TIMEOUT)?;
    Ok(ends)
}

/// Waits for room in the producer's queue, which a large commit may need.
fn send(
    producer: &TransactionalProducer,
    topic: &str,
    partition: u32,
    record: &Record,
    offset: &Arc<AtomicI64>,
) -> Result<(), KafkaError> {
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let mut next =
        message(BaseRecord::with_opaque_to(topic, Arc::clone(offset)), partition, record);
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                if Instant::now() < deadline =>
            {
                next = refused;
                std::thread::sleep(QUEUE_FULL_POLL);
            }
            Err((error, _)) => return Err(error),
        }
    }
}
