//! Reading partitions from any offset. All readers of a process share a consumer, that is one set
//! of connections and threads; only a partition that is read twice needs a second one.

use super::config::{KafkaConfig, REQUEST_TIMEOUT};
use super::context::{QuietContext, explain};
use super::ffi::{Item, PartitionQueue};
use super::topics;
use crate::limits::record_bytes;
use crate::{Batch, Bounds, Offset, ReadError, ReadLimit, Reader, StoredRecord};
use async_trait::async_trait;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use schemas::Topic;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Items taken from a queue at once.
const TAKE_ITEMS: usize = 500;
/// A wake-up that got lost costs no more than this.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Between two questions for the end of a partition that has no leader for a moment.
const LEADER_WAIT: Duration = Duration::from_millis(100);

fn has_no_leader(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable)
    )
}

pub fn unavailable(error: &KafkaError) -> ReadError {
    ReadError::Unavailable(format!("Kafka: {}", explain(error)))
}

/// A consumer and what it reads. Ends on a thread of its own, because that takes a while.
struct Fetcher {
    consumer: Option<BaseConsumer<QuietContext>>,
    assigned: Mutex<HashSet<(Topic, u32)>>,
}

impl Fetcher {
    fn consumer(&self) -> Option<&BaseConsumer<QuietContext>> {
        self.consumer.as_ref()
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        std::thread::spawn(move || drop(consumer));
    }
}

/// The consumers of a process that read.
pub struct FetchPool {
    config: KafkaConfig,
    fetchers: Mutex<Vec<Arc<Fetcher>>>,
}

impl FetchPool {
    pub fn new(config: &KafkaConfig) -> Self {
        Self { config: config.clone(), fetchers: Mutex::new(Vec::new()) }
    }

    /// A consumer that does not read this partition yet; from now on it does.
    fn reserve(&self, topic: Topic, partition: u32) -> Result<Arc<Fetcher>, ReadError> {
        let mut fetchers = self.fetchers.lock().unwrap_or_else(PoisonError::into_inner);
        for fetcher in fetchers.iter() {
            let mut assigned = fetcher.assigned.lock().unwrap_or_else(PoisonError::into_inner);
            if assigned.insert((topic, partition)) {
                return Ok(Arc::clone(fetcher));
            }
        }
        let consumer = BaseConsumer::from_config_and_context(&self.config.fetcher(), QuietContext)
            .map_err(|error| unavailable(&error))?;
        let assigned = Mutex::new(HashSet::from([(topic, partition)]));
        let fetcher = Arc::new(Fetcher { consumer: Some(consumer), assigned });
        fetchers.push(Arc::clone(&fetcher));
        Ok(fetcher)
    }

    /// Some consumer, for questions.
    fn any(&self) -> Result<Arc<Fetcher>, ReadError> {
        let first =
            self.fetchers.lock().unwrap_or_else(PoisonError::into_inner).first().map(Arc::clone);
        match first {
            Some(fetcher) => Ok(fetcher),
            None => {
                let (topic, partition) = (Topic::Config, u32::MAX);
                let fetcher = self.reserve(topic, partition)?;
                let mut assigned = fetcher.assigned.lock().unwrap_or_else(PoisonError::into_inner);
                assigned.remove(&(topic, partition));
                drop(assigned);
                Ok(fetcher)
            }
        }
    }

    /// The readable part of a partition. The consumer reads committed records only, and librdkafka
    /// asks for the end with the same isolation level: it is the last stable offset.
    pub async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        let (fetcher, name) = (self.any()?, topics::name(&self.config, topic));
        let ask = move || {
            let deadline = Instant::now() + REQUEST_TIMEOUT;
            loop {
                let Some(consumer) = fetcher.consumer() else {
                    return Err(ReadError::Unavailable("the consumer ended".to_string()));
                };
                let number = partition_number(partition);
                match consumer.fetch_watermarks(&name, number, REQUEST_TIMEOUT) {
                    // A new topic, or one that moves: asking again finds the leader.
                    Err(error) if has_no_leader(&error) && Instant::now() < deadline => {
                        std::thread::sleep(LEADER_WAIT);
                    }
                    answer => return answer.map_err(|error| unavailable(&error)),
                }
            }
        };
        let (first, end) = blocking(ask).await?;
        let number = |offset: i64| u64::try_from(offset).unwrap_or(0);
        Ok(Bounds { first: number(first), end: number(end) })
    }

    pub async fn read_from(
        self: &Arc<Self>,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<KafkaReader, ReadError> {
        let Bounds { first, end } = self.bounds(topic, partition).await?;
        // Past the end is left to the broker: ends are not the same on all replicas at once.
        if offset < first {
            return Err(ReadError::OutOfRange { topic, partition, asked: offset, first, end });
        }
        let pool = Arc::clone(self);
        blocking(move || pool.open(topic, partition, offset)).await
    }

    fn open(
        self: &Arc<Self>,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<KafkaReader, ReadError> {
        let name = topics::name(&self.config, topic);
        let fetcher = self.reserve(topic, partition)?;
        let mut reader = KafkaReader {
            queue: None,
            fetcher,
            pool: Arc::clone(self),
            name,
            topic,
            partition,
            fetched: Fetched::from(offset),
        };
        let Some(consumer) = reader.fetcher.consumer() else {
            return Err(ReadError::Unavailable("the consumer ended".to_string()));
        };
        let number = partition_number(partition);
        // SAFETY: the reader holds the consumer's `Arc` and drops the queue first (field order).
        let queue =
            unsafe { PartitionQueue::split(consumer.client().native_ptr(), &reader.name, number) };
        let start = rdkafka::Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&reader.name, number, start)
            .and_then(|()| consumer.incremental_assign(&list))
            .map_err(|error| unavailable(&error))?;
        reader.queue = queue;
        Ok(reader)
    }
}

pub fn partition_number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Runs a call of librdkafka that waits for the brokers.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(ReadError::Unavailable(format!("the call was cut short: {error}"))),
    }
}

/// Reads one partition; only copies what has been fetched already, so it does not block.
pub struct KafkaReader {
    /// Before `fetcher`: the queue goes before the consumer does.
    queue: Option<PartitionQueue>,
    fetcher: Arc<Fetcher>,
    pool: Arc<FetchPool>,
    name: String,
    topic: Topic,
    partition: u32,
    fetched: Fetched,
}

/// What came from a partition's queue, in its order.
struct Fetched {
    /// Not looked at yet.
    items: VecDeque<Item>,
    /// Past the records below.
    position: Offset,
    /// Looked at and not given out yet.
    records: VecDeque<StoredRecord>,
    /// The end was met and nothing came since.
    at_end: bool,
}

impl Fetched {
    fn from(position: Offset) -> Self {
        Self { items: VecDeque::new(), position, records: VecDeque::new(), at_end: false }
    }

    /// Looks at the items, up to and including a first error. What follows an error is kept: a
    /// reader that is used on must not miss it.
    fn look(&mut self) -> Result<(), RDKafkaRespErr> {
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Record(stored) => {
                    self.position = stored.offset + 1;
                    self.at_end = false;
                    self.records.push_back(stored);
                }
                Item::End(offset) => {
                    self.position = self.position.max(offset);
                    self.at_end = true;
                }
                Item::Error(code) => return Err(code),
            }
        }
        Ok(())
    }

    /// The next records.
    fn give(&mut self, limit: ReadLimit) -> Batch {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.records.front() {
            bytes += record_bytes(&next.record);
            let enough = records.len() >= limit.records || bytes > limit.bytes;
            if enough && !records.is_empty() {
                break;
            }
            records.extend(self.records.pop_front());
        }
        let next_offset = self.records.front().map_or(self.position, |next| next.offset);
        Batch { records, next_offset, at_end: self.at_end && self.records.is_empty() }
    }
}

impl KafkaReader {
    /// Takes over what has been fetched.
    async fn fill(&mut self) -> Result<(), ReadError> {
        if let Some(consumer) = self.fetcher.consumer() {
            // Errors of the client as a whole; the context logs them.
            let _ = consumer.poll(Duration::ZERO);
        }
        if self.fetched.items.is_empty()
            && let Some(queue) = &mut self.queue
        {
            self.fetched.items.extend(queue.take(TAKE_ITEMS));
        }
        match self.fetched.look() {
            Ok(()) => Ok(()),
            Err(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
            ) => Err(self.out_of_range().await),
            Err(code) => Err(unavailable(&KafkaError::MessageConsumption(code.into()))),
        }
    }

    async fn out_of_range(&self) -> ReadError {
        let (topic, partition, asked) = (self.topic, self.partition, self.fetched.position);
        match self.pool.bounds(topic, partition).await {
            Ok(Bounds { first, end }) => {
                ReadError::OutOfRange { topic, partition, asked, first, end }
            }
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        let deadline = Instant::now() + limit.wait;
        loop {
            let told = (self.fetched.position, self.fetched.at_end);
            if self.fetched.records.len() < limit.records.min(TAKE_ITEMS) {
                self.fill().await?;
            }
            // That the end has been met is news too, past a transaction's marker for instance.
            let fetched = &self.fetched;
            let news = fetched.at_end && told != (fetched.position, fetched.at_end);
            if !fetched.records.is_empty() || news || Instant::now() >= deadline {
                return Ok(self.fetched.give(limit));
            }
            let Some(queue) = &self.queue else {
                return Err(ReadError::Unavailable(format!("{} cannot be read", self.name)));
            };
            let until = deadline.min(Instant::now() + LOOK_AGAIN);
            // Woken or not, the queue is looked at again.
            let _ = tokio::time::timeout_at(until, queue.arrived().notified()).await;
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.queue = None;
        let fetcher = Arc::clone(&self.fetcher);
        let (name, topic, partition) = (self.name.clone(), self.topic, self.partition);
        // Unassigning waits for librdkafka's thread, which is no business of a runtime's thread.
        std::thread::spawn(move || {
            let mut list = TopicPartitionList::new();
            list.add_partition(&name, partition_number(partition));
            if let Some(consumer) = fetcher.consumer()
                && let Err(error) = consumer.incremental_unassign(&list)
            {
                tracing::debug!("{name}/{partition} was not unassigned: {}", explain(&error));
            }
            let mut assigned = fetcher.assigned.lock().unwrap_or_else(PoisonError::into_inner);
            assigned.remove(&(topic, partition));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use schemas::UnixMillis;

    const LIMIT: ReadLimit = ReadLimit { records: 10, bytes: 1_000, wait: Duration::ZERO };

    fn record(offset: Offset) -> Item {
        let record = Record { key: "".into(), value: "v".into(), at: UnixMillis(0) };
        Item::Record(StoredRecord { offset, record })
    }

    #[test]
    fn an_error_between_records_loses_none() {
        let passing = || Item::Error(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        let mut fetched = Fetched::from(3);
        fetched.items.extend([record(3), passing(), record(4), Item::End(6)]);
        let mut offsets = Vec::new();
        assert!(fetched.look().is_err());
        assert!(fetched.look().is_ok());
        let batch = fetched.give(LIMIT);
        offsets.extend(batch.records.iter().map(|stored| stored.offset));
        assert_eq!((offsets, batch.next_offset, batch.at_end), (vec![3, 4], 6, true));
    }

    #[test]
    fn what_is_left_is_where_to_read_on() {
        let mut fetched = Fetched::from(0);
        fetched.items.extend([record(0), record(2), Item::End(4)]);
        assert!(fetched.look().is_ok());
        let first = fetched.give(ReadLimit { records: 1, ..LIMIT });
        assert_eq!((first.records.len(), first.next_offset, first.at_end), (1, 2, false));
        let rest = fetched.give(LIMIT);
        assert_eq!((rest.records.len(), rest.next_offset, rest.at_end), (1, 4, true));
    }
}
