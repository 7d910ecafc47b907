//! A producer whose reports somebody is told of, and whose records go by handles of their topics.

use super::config::KafkaConfig;
use super::ffi::events::WatchedQueue;
use super::ffi::produce::TopicHandle;
use super::topics;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use schemas::{Topic, UnixMillis};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// For everything else it is the client's own producer.
pub struct WatchedProducer<C: ProducerContext + 'static> {
    // Before the producer, so that they are dropped before it.
    /// In the order of [`Topic::ALL`].
    topics: Vec<TopicHandle>,
    reports: WatchedQueue,
    producer: BaseProducer<C>,
}

impl<C: ProducerContext + 'static> WatchedProducer<C> {
    /// # Errors
    /// When the settings are wrong, or give a topic a name that Kafka does not allow.
    pub fn new(
        config: &KafkaConfig,
        client: &ClientConfig,
        context: C,
    ) -> Result<Self, KafkaError> {
        let producer = BaseProducer::from_config_and_context(client, context)?;
        let client = producer.client().native_ptr();
        let handle = |topic| {
            let name = topics::name(config, topic);
            // SAFETY: the producer is live, and dropped after its topics.
            unsafe { TopicHandle::new(client, &name) }.ok_or_else(|| {
                KafkaError::ClientCreation(format!("Kafka does not allow a topic {name:?}"))
            })
        };
        let topics = Topic::ALL.into_iter().map(handle).collect::<Result<_, _>>()?;
        // SAFETY: the producer is live, and dropped after its queue.
        let reports = unsafe { WatchedQueue::main(client) }.ok_or_else(|| {
            KafkaError::ClientCreation("the producer has no main queue".to_string())
        })?;
        Ok(Self { topics, reports, producer })
    }

    /// Queues a record of this key, value and time; the report about it, if it was queued, comes with
    /// `opaque`.
    pub fn produce(
        &self,
        topic: Topic,
        partition: u32,
        record: (&[u8], &[u8], UnixMillis),
        opaque: C::DeliveryOpaque,
    ) -> Result<(), KafkaError> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        self.topics[topic as usize].produce(partition, record, opaque)
    }

    /// Is told when a report or another event comes and none was there.
    pub fn arrived(&self) -> &Arc<Notify> {
        self.reports.arrived()
    }

    /// Whether there is something to hear.
    pub fn has_news(&self) -> bool {
        self.reports.holds_something()
    }

    /// Hears what has come, up to so many events; one holds the reports of a whole batch.
    pub fn hear(&self, events_max: usize) {
        for _ in 0..events_max {
            if !self.has_news() {
                return;
            }
            // One thing a call. With time to wait, it would go round and round for the last
            // millisecond, and not come back before.
            self.producer.poll(Duration::ZERO);
        }
    }
}

impl<C: ProducerContext + 'static> Deref for WatchedProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}
