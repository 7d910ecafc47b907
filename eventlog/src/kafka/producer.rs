//! Appending: an idempotent producer, and the requests that wait for its delivery reports.
//!
//! Reports come many at a time. The task that takes them ([`take_reports`]) is woken once for all
//! that have come, and answers the requests from inside the runtime: no thread stands between, and no
//! request is woken across threads by itself (ADR 162).

use super::config::{IN_FLIGHT_BYTES, IN_FLIGHT_RECORDS, KafkaConfig, REQUEST_TIMEOUT};
use super::context::{client_error, explain, log_line};
use super::ffi;
use super::watched_producer::WatchedProducer;
use crate::{AppendError, Offset, OpenError, Record};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext};
use schemas::Topic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// Beyond librdkafka's own time-out, which it looks after once in a while only.
const ANSWER_GRACE: Duration = Duration::from_millis(1_500);

/// Room for records on their way.
#[derive(Default)]
struct InFlight {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

struct Room {
    in_flight: Arc<InFlight>,
    records: usize,
    bytes: usize,
}

impl Room {
    fn take(in_flight: &Arc<InFlight>, records: usize, bytes: usize) -> Option<Self> {
        let records_before = in_flight.records.fetch_add(records, Ordering::Relaxed);
        let bytes_before = in_flight.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Self { in_flight: Arc::clone(in_flight), records, bytes };
        let fits = records_before + records <= IN_FLIGHT_RECORDS
            && bytes_before + bytes <= IN_FLIGHT_BYTES;
        fits.then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.in_flight.records.fetch_sub(self.records, Ordering::Relaxed);
        self.in_flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One append, completed by the delivery reports of its records.
pub struct Append(Mutex<Progress>);

struct Progress {
    remaining: usize,
    delivered: usize,
    first: Option<Offset>,
    failure: Option<AppendError>,
    reply: Option<oneshot::Sender<Result<Offset, AppendError>>>,
    _room: Room,
}

impl Append {
    /// `count` records of it have come to an end, all in the same way.
    fn complete(&self, count: usize, outcome: Result<Offset, AppendError>) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.remaining = progress.remaining.saturating_sub(count);
        match outcome {
            Ok(offset) => {
                progress.delivered += count;
                progress.first = Some(progress.first.map_or(offset, |first| first.min(offset)));
            }
            Err(error) => progress.failure = Some(progress.failure.take().unwrap_or(error)),
        }
        if progress.remaining > 0 {
            return;
        }
        let result = match (progress.failure.take(), progress.first) {
            (None, Some(first)) => Ok(first),
            (None, None) => Err(AppendError::Unknown("no delivery report".to_string())),
            (Some(failure), _) if progress.delivered == 0 => Err(failure),
            (Some(failure), _) => {
                Err(AppendError::Unknown(format!("only a part was written: {failure}")))
            }
        };
        if let Some(reply) = progress.reply.take() {
            // A caller that has gone needs no answer.
            let _ = reply.send(result);
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
    type DeliveryOpaque = Arc<Append>;

    fn delivery(&self, result: &DeliveryResult<'_>, append: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(message) => u64::try_from(message.offset())
                .map_err(|_| AppendError::Unknown("delivered without an offset".to_string())),
            Err((error, message)) => {
                Err(append_error(error, ffi::certainly_not_persisted(message)))
            }
        };
        append.complete(1, outcome);
    }
}

fn append_error(error: &KafkaError, certainly_not_persisted: bool) -> AppendError {
    use RDKafkaErrorCode as Code;
    let why = explain(error);
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::InvalidTimestamp,
        ) => AppendError::Refused(why),
        _ if certainly_not_persisted => AppendError::Unavailable(why),
        _ => AppendError::Unknown(why),
    }
}

type Delivering = WatchedProducer<Deliveries>;

/// Reports are looked for so often even if nothing says that there are any.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Events taken before others of the runtime get a turn.
const EVENTS_PER_TURN: usize = 64;

/// Takes delivery reports as they come, until the producer is gone.
fn take_reports(delivering: &Arc<Delivering>) {
    let arrived = Arc::clone(delivering.arrived());
    let delivering = Arc::downgrade(delivering);
    tokio::spawn(async move {
        loop {
            // Either way there may be something.
            let _ = tokio::time::timeout(LOOK_INTERVAL, arrived.notified()).await;
            loop {
                let Some(delivering) = delivering.upgrade() else { return };
                delivering.hear(EVENTS_PER_TURN);
                if !delivering.has_news() {
                    break;
                }
                drop(delivering);
                tokio::task::yield_now().await;
            }
        }
    });
}

/// How often it is shown how much waits.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how much waits for the brokers, until the appender is gone.
fn show_in_flight(in_flight: Weak<InFlight>) {
    tokio::spawn(async move {
        while let Some(in_flight) = in_flight.upgrade() {
            let shown = |value: &AtomicUsize| value.load(Ordering::Relaxed) as f64;
            metrics::gauge!("gokart_log_in_flight_records").set(shown(&in_flight.records));
            metrics::gauge!("gokart_log_in_flight_bytes").set(shown(&in_flight.bytes));
            drop(in_flight);
            tokio::time::sleep(SHOW_INTERVAL).await;
        }
    });
}

/// The producer of a process.
pub struct Appender {
    config: KafkaConfig,
    producer: RwLock<Arc<Delivering>>,
    in_flight: Arc<InFlight>,
}

impl Appender {
    pub fn new(config: &KafkaConfig) -> Result<Self, OpenError> {
        let producer = new_producer(config)
            .map_err(|error| OpenError::Configuration(format!("Kafka: {}", explain(&error))))?;
        take_reports(&producer);
        let in_flight = Arc::default();
        show_in_flight(Arc::downgrade(&in_flight));
        Ok(Self { config: config.clone(), producer: RwLock::new(producer), in_flight })
    }

    /// Queues the records at once, in the order of the calls. There is at least one, and together
    /// they count for `bytes`.
    pub fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: &[Record],
        bytes: usize,
    ) -> impl Future<Output = Result<Offset, AppendError>> + Send + 'static + use<> {
        let (reply, answer) = oneshot::channel();
        match Room::take(&self.in_flight, records.len(), bytes) {
            Some(room) => self.send(topic, partition, records, reply, room),
            None => {
                let full = AppendError::Unavailable("too much waits for Kafka".to_string());
                let _ = reply.send(Err(full));
            }
        }
        let within = self.config.message_timeout + ANSWER_GRACE;
        async move {
            match tokio::time::timeout(within, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(AppendError::Unknown("the producer ended".to_string())),
                Err(_) => {
                    let ms = within.as_millis();
                    Err(AppendError::Unknown(format!("Kafka did not confirm within {ms} ms")))
                }
            }
        }
    }

    fn send(
        &self,
        topic: Topic,
        partition: u32,
        records: &[Record],
        reply: oneshot::Sender<Result<Offset, AppendError>>,
        room: Room,
    ) {
        let producer = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        let append = Arc::new(Append(Mutex::new(Progress {
            remaining: records.len(),
            delivered: 0,
            first: None,
            failure: None,
            reply: Some(reply),
            _room: room,
        })));
        for (sent, record) in records.iter().enumerate() {
            let record = (&record.key[..], &record.value[..], record.at);
            let queued = producer.produce(topic, partition, record, Arc::clone(&append));
            let Err(error) = queued else { continue };
            // Refused before it was queued: certainly not written.
            append.complete(records.len() - sent, Err(append_error(&error, true)));
            if producer.client().fatal_error().is_some() {
                self.replace(&producer);
            }
            return;
        }
    }

    /// A producer with a fatal error sends nothing any more; the next append gets a new one.
    fn replace(&self, broken: &Arc<Delivering>) {
        let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&producer, broken) {
            return;
        }
        match new_producer(&self.config) {
            Ok(new) => {
                take_reports(&new);
                let old = std::mem::replace(&mut *producer, new);
                // Its end waits for what is under way.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!("no new Kafka producer: {}", explain(&error)),
        }
    }

    /// Waits until what was sent is delivered or given up.
    pub async fn flush(&self) {
        let producer = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        let within = REQUEST_TIMEOUT.min(self.config.message_timeout + ANSWER_GRACE);
        let flush = move || producer.flush(within);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(flush).await {
            tracing::warn!("some records were not delivered: {}", explain(&error));
        }
    }
}

fn new_producer(config: &KafkaConfig) -> Result<Arc<Delivering>, KafkaError> {
    WatchedProducer::new(config, &config.producer(), Deliveries).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: RDKafkaErrorCode, not_persisted: bool, expected: &str) {
        let error = append_error(&KafkaError::MessageProduction(code), not_persisted);
        assert!(format!("{error:?}").starts_with(expected), "{code:?}: {error:?}");
    }

    #[test]
    fn a_failure_is_certain_or_unknown() {
        check(RDKafkaErrorCode::MessageTimedOut, true, "Unavailable");
        check(RDKafkaErrorCode::MessageTimedOut, false, "Unknown");
        check(RDKafkaErrorCode::QueueFull, true, "Unavailable");
        check(RDKafkaErrorCode::MessageSizeTooLarge, true, "Refused");
    }

    #[tokio::test]
    async fn a_producer_that_is_broken_for_good_is_replaced() {
        let mut config = KafkaConfig::new("127.0.0.1:1", 1, "unused");
        config.message_timeout = Duration::from_millis(200);
        let appender = Appender::new(&config).unwrap();
        let producer = || Arc::clone(&appender.producer.read().unwrap());
        let first = producer();
        // SAFETY: the producer is held here.
        unsafe { ffi::break_for_good(first.client().native_ptr()) };
        let record = Record { key: "".into(), value: "v".into(), at: schemas::UnixMillis(0) };
        let append = || appender.append(Topic::Postbacks, 0, std::slice::from_ref(&record), 1);
        assert!(append().await.is_err());
        let second = producer();
        assert!(!Arc::ptr_eq(&first, &second), "the next append gets a new producer");
        assert!(second.client().fatal_error().is_none());
        // It is as good as any without a broker.
        assert!(matches!(append().await, Err(AppendError::Unavailable(_))));
        assert!(Arc::ptr_eq(&second, &producer()));
    }
}
