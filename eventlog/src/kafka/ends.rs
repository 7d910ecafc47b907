//! Whether a partition of an input has more, asked for when it matters.
//!
//! librdkafka tells once that an end was met. Should the connection break then, nothing tells that
//! the end is no longer known: timers would go on by the wall clock and overtake what arrives
//! meanwhile. So an owner that hears of the end has it confirmed by the broker first. All partitions
//! of a process share a question.

use super::config::KafkaConfig;
use super::context::{QuietContext, explain};
use super::fetch::{partition_number, unavailable};
use super::topics;
use crate::{Offset, ReadError};
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::Topic;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Longest wait for the brokers' answer; without one there is no end.
const ASK_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Questions that may wait; every partition has one at most.
const QUEUE_QUESTIONS: usize = 1_024;

type Question = (u32, oneshot::Sender<Option<Offset>>);

/// Asks for the ends of one topic.
#[derive(Clone)]
pub struct Ends {
    questions: mpsc::Sender<Question>,
}

impl Ends {
    pub fn start(config: &KafkaConfig, input: Topic) -> Result<Self, ReadError> {
        let consumer = BaseConsumer::from_config_and_context(&config.fetcher(), QuietContext)
            .map_err(|error| unavailable(&error))?;
        let (questions, queue) = mpsc::channel(QUEUE_QUESTIONS);
        let name = topics::name(config, input);
        tokio::spawn(serve(Arc::new(consumer), name, queue));
        Ok(Self { questions })
    }

    /// Whether the partition has nothing from `offset` on that is committed, at some moment after
    /// this was called. False when the brokers do not say.
    pub async fn is_end(&self, partition: u32, offset: Offset) -> bool {
        let (reply, answer) = oneshot::channel();
        if self.questions.send((partition, reply)).await.is_err() {
            return false;
        }
        matches!(answer.await, Ok(Some(end)) if end <= offset)
    }
}

async fn serve(
    consumer: Arc<BaseConsumer<QuietContext>>,
    name: String,
    mut queue: mpsc::Receiver<Question>,
) {
    while let Some(question) = queue.recv().await {
        let mut questions = vec![question];
        // All that came before the brokers are asked are answered by what they say.
        while let Ok(question) = queue.try_recv() {
            questions.push(question);
        }
        let partitions: Vec<u32> = questions.iter().map(|(partition, _)| *partition).collect();
        let (consumer, name) = (Arc::clone(&consumer), name.clone());
        let ask = move || ends(&consumer, &name, &partitions);
        let ends = tokio::task::spawn_blocking(ask).await.unwrap_or_default();
        for (partition, reply) in questions {
            // An owner that has gone needs no answer.
            let _ = reply.send(ends.get(&partition).copied());
        }
    }
    // Its end waits for its threads.
    std::thread::spawn(move || drop(consumer));
}

/// The last stable offsets of some partitions; those that are not known are missing.
fn ends(
    consumer: &BaseConsumer<QuietContext>,
    name: &str,
    partitions: &[u32],
) -> HashMap<u32, Offset> {
    // Errors of the client as a whole; the context logs them.
    while consumer.poll(Duration::ZERO).is_some() {}
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        // The name and the number are those of a topic that is there.
        let _ = list.add_partition_offset(name, partition_number(*partition), rdkafka::Offset::End);
    }
    let found = match consumer.offsets_for_times(list, ASK_TIMEOUT) {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!("ends are not known now: {}", explain(&error));
            return HashMap::new();
        }
    };
    let end = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        element.error().ok()?;
        let rdkafka::Offset::Offset(offset) = element.offset() else { return None };
        Some((u32::try_from(element.partition()).ok()?, u64::try_from(offset).ok()?))
    };
    found.elements().into_iter().filter_map(end).collect()
}
