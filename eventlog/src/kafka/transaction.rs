//! One transaction at a time, on a thread that owns the transactional producer.

use super::changelog;
use super::config::{KafkaConfig, REQUEST_TIMEOUT};
use super::context::{client_error, explain, log_line};
use super::fetch::partition_number;
use super::ffi::group::{Generation, send_offsets_to_transaction};
use super::topics;
use super::watched_producer::WatchedProducer;
use crate::{Commit, Offset, Stage};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext};
use rdkafka::{ClientContext, TopicPartitionList};
use schemas::{Topic, UnixMillis};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How often it is looked whether there is room in a full queue, or the end of a flush or of an
/// abort was reached, even if no report has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How often a producer without anything to do is listened to.
const IDLE_LOOK: Duration = Duration::from_millis(500);
/// Log lines and (batches of) reports that are taken together.
const EVENTS_PER_LOOK: usize = 1_000;
/// librdkafka's facility of the lines about connections that broke.
const CONNECTION_FAILED: &str = "FAIL";
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

impl Outcome {
    /// As metrics name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Committed(_) => "committed",
            Self::Aborted(_) => "aborted",
            Self::Broken(_) => "broken",
            Self::Unknown(_) => "unknown",
        }
    }
}

struct Job {
    parts: Vec<Part>,
    generation: Generation,
    reply: oneshot::Sender<Done>,
}

/// How a transaction ended.
pub struct Done {
    pub outcome: Outcome,
    /// A connection broke, so that the end may have been asked for twice. The first request may
    /// still be on its way, and brokers cannot tell it from one for the next transaction of the same
    /// producer: it must have none (ADR 0018).
    pub is_spent: bool,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, is_spent: false }
    }
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
        let runtime = Handle::current();
        let work = move || {
            let producer = match start_producer(&config, &id, runtime) {
                Ok(producer) => producer,
                Err(why) => return drop(ready.send(Err(why))),
            };
            // Whoever started us has given up waiting: then there will be no jobs either.
            let _ = ready.send(Ok(()));
            loop {
                match queue.recv_timeout(IDLE_LOOK) {
                    Ok(Job { parts, generation, reply }) => {
                        let outcome = run((&config, stage), &producer, &parts, &generation);
                        let _ = reply.send(Done { outcome, is_spent: look(&producer) });
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => drop(look(&producer)),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
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
    pub async fn run(&self, parts: Vec<Part>, generation: Generation) -> Done {
        let (reply, done) = oneshot::channel();
        if self.jobs.try_send(Job { parts, generation, reply }).is_err() {
            return Outcome::Broken("the transactional producer is stuck".to_string()).into();
        }
        match tokio::time::timeout(REQUEST_TIMEOUT * 3, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Outcome::Unknown("the transactional producer ended".to_string()).into(),
            Err(_) => Outcome::Unknown("Kafka did not answer in time".to_string()).into(),
        }
    }
}

#[derive(Default)]
struct Deliveries {
    /// Some connection broke since the producer began. Only the first such line of a kind is certain
    /// to come, so a producer that has seen one is not used for long.
    has_broken: AtomicBool,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == CONNECTION_FAILED && !matches!(level, RDKafkaLogLevel::Debug) {
            self.has_broken.store(true, Ordering::Release);
        }
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

/// Polled by the worker's thread alone, which therefore knows what it has been told.
struct TransactionalProducer {
    producer: WatchedProducer<Deliveries>,
    /// For waiting in a thread that is none of the runtime's.
    runtime: Handle,
}

impl TransactionalProducer {
    /// Hears what has come, or waits for it, for at most `within`.
    fn listen(&self, within: Duration) {
        if !self.producer.has_news() {
            let arrived = self.producer.arrived().notified();
            let _ = self.runtime.block_on(async { tokio::time::timeout(within, arrived).await });
        }
        self.producer.hear(EVENTS_PER_LOOK);
    }
}

impl std::ops::Deref for TransactionalProducer {
    type Target = WatchedProducer<Deliveries>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

fn start_producer(
    config: &KafkaConfig,
    id: &str,
    runtime: Handle,
) -> Result<TransactionalProducer, String> {
    let client = config.transactional_producer(id);
    let producer = WatchedProducer::new(config, &client, Deliveries::default())
        .map_err(|error| explain(&error))?;
    producer.init_transactions(REQUEST_TIMEOUT).map_err(|error| explain(&error))?;
    Ok(TransactionalProducer { producer, runtime })
}

/// Hears what has happened; whether a connection broke.
fn look(producer: &TransactionalProducer) -> bool {
    producer.hear(EVENTS_PER_LOOK);
    producer.client().context().has_broken.load(Ordering::Acquire)
}

/// Waits until everything is delivered. The client's own way looks every 100 ms only.
fn flush(producer: &TransactionalProducer) {
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        producer.listen(LOOK_INTERVAL);
    }
}

fn run(
    (config, stage): (&KafkaConfig, Stage),
    producer: &TransactionalProducer,
    parts: &[Part],
    generation: &Generation,
) -> Outcome {
    if let Err(error) = producer.begin_transaction() {
        return Outcome::Broken(explain(&error));
    }
    let ends = match fill((config, stage), producer, parts, generation) {
        Ok(ends) => ends,
        Err(why) => return abort(producer, why),
    };
    flush(producer);
    match producer.commit_transaction(REQUEST_TIMEOUT) {
        Ok(()) => {}
        // The end of the transaction was not asked for yet.
        Err(error @ KafkaError::Flush(_)) => return abort(producer, explain(&error)),
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
            return abort(producer, error.string());
        }
        Err(error) => return Outcome::Unknown(explain(&error)),
    }
    look(producer);
    let end = |end: &Arc<AtomicI64>| u64::try_from(end.load(Ordering::Acquire) + 1).ok();
    match ends.iter().map(end).collect::<Option<Vec<Offset>>>() {
        Some(ends) if !ends.contains(&0) => Outcome::Committed(ends),
        // It stands in the log; where, the changelog tells.
        _ => Outcome::Unknown("committed, without a delivery report".to_string()),
    }
}

/// Before the end of the transaction was asked for, it cannot have been committed.
fn abort(producer: &TransactionalProducer, why: String) -> Outcome {
    let is_done = AtomicBool::new(false);
    // Aborting waits until the reports about what is given up were taken.
    let aborted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                producer.listen(LOOK_INTERVAL);
            }
        });
        let aborted = producer.abort_transaction(REQUEST_TIMEOUT);
        is_done.store(true, Ordering::Release);
        aborted
    });
    match aborted {
        Ok(()) => Outcome::Aborted(why),
        Err(error) => Outcome::Broken(format!("{why}; {}", explain(&error))),
    }
}

fn fill(
    (config, stage): (&KafkaConfig, Stage),
    producer: &TransactionalProducer,
    parts: &[Part],
    generation: &Generation,
) -> Result<Vec<Arc<AtomicI64>>, String> {
    let inputs = topics::name(config, stage.input());
    let changelog = stage.changelog();
    let mut entry = changelog::Writer::default();
    let mut offsets = TopicPartitionList::new();
    let mut ends = Vec::new();
    for Part { partition, commit, at } in parts {
        let nowhere = Arc::new(AtomicI64::new(NOT_DELIVERED));
        for (topic, output_partition, record) in &commit.outputs {
            let record = (&record.key[..], &record.value[..], record.at);
            send(producer, *topic, *output_partition, record, &nowhere)?;
        }
        for (key, value) in &commit.state_changes {
            let (key, value) = entry.state(key, value.as_deref());
            send(producer, changelog, *partition, (key, value, *at), &nowhere)?;
        }
        let end = Arc::new(AtomicI64::new(NOT_DELIVERED));
        let (key, value) = entry.position(commit.next_offset);
        send(producer, changelog, *partition, (key, value, *at), &end)?;
        ends.push(end);
        let next = i64::try_from(commit.next_offset).unwrap_or(i64::MAX);
        let next = rdkafka::Offset::Offset(next);
        let number = partition_number(*partition);
        offsets.add_partition_offset(&inputs, number, next).map_err(|error| explain(&error))?;
    }
    // SAFETY: the producer is live.
    unsafe {
        let producer = producer.client().native_ptr();
        send_offsets_to_transaction(producer, &offsets, generation, REQUEST_TIMEOUT)?;
    }
    Ok(ends)
}

/// Waits for room in the producer's queue, which a large commit may need.
fn send(
    producer: &TransactionalProducer,
    topic: Topic,
    partition: u32,
    record: (&[u8], &[u8], UnixMillis),
    offset: &Arc<AtomicI64>,
) -> Result<(), String> {
    let mut deadline = None;
    loop {
        match producer.produce(topic, partition, record, Arc::clone(offset)) {
            Ok(()) => return Ok(()),
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
                if Instant::now()
                    < *deadline.get_or_insert_with(|| Instant::now() + REQUEST_TIMEOUT) =>
            {
                producer.listen(LOOK_INTERVAL);
            }
            Err(error) => return Err(explain(&error)),
        }
    }
}
