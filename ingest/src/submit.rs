//! Writing to the event log, for no longer than a request can wait.

use eventlog::{AppendError, EventLog, Offset, Record};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use schemas::{Message, Topic, UnixMillis, codec};
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// An append that is under way.
pub type Pending = Pin<Box<dyn Future<Output = Result<Offset, AppendError>> + Send>>;

/// What is known about an append when the wait for it is over.
pub enum Submitted {
    Durable,
    /// The log said no, or did not confirm.
    NotTaken,
    /// No word yet. It may still be written.
    StillPending(Pending),
}

/// The log, as requests use it.
pub struct Submitter {
    log: Arc<dyn EventLog>,
    /// A log that is down is said so once in a while, not once a request.
    complaints: DefaultDirectRateLimiter,
}

impl Submitter {
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        let complaints = RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN));
        Self { log, complaints }
    }

    #[must_use]
    pub fn partitions(&self, topic: Topic) -> u32 {
        self.log.partitions(topic).max(1)
    }

    /// Begins an append.
    #[must_use]
    pub fn append(&self, topic: Topic, partition: u32, record: Record) -> Pending {
        self.log.append(topic, partition, vec![record])
    }

    /// Appends one record and waits for it to be durable, for at most `wait`.
    pub async fn submit(
        &self,
        topic: Topic,
        partition: u32,
        record: Record,
        wait: Duration,
    ) -> Submitted {
        let mut pending = self.append(topic, partition, record);
        match tokio::time::timeout(wait, &mut pending).await {
            Ok(Ok(_)) => Submitted::Durable,
            Ok(Err(error)) => {
                self.complain(topic, &error.to_string());
                Submitted::NotTaken
            }
            Err(_) => {
                self.complain(topic, "no confirmation in time");
                Submitted::StillPending(pending)
            }
        }
    }

    fn complain(&self, topic: Topic, error: &str) {
        metrics::counter!("gokart_ingest_append_failures_total", "topic" => topic.name())
            .increment(1);
        if self.complaints.check().is_ok() {
            tracing::warn!(%topic, error, "the event log does not take records; senders are told to come back");
        }
    }
}

/// A message as a record of a topic that is not compacted.
#[must_use]
pub fn record<M: Message>(message: &M, at: UnixMillis) -> Record {
    Record { key: bytes::Bytes::new(), value: codec::encode(message).into(), at }
}
