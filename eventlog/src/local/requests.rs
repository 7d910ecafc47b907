//! Sending jobs to the writer and waiting for its answers.

use super::job::{Job, Room};
use super::shared::Shared;
use crate::limits::check_records;
use crate::{AppendError, CommitError, Offset, ReadError, Record};
use futures_util::future::BoxFuture;
use schemas::Topic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};

const CLOSING: &str = "the event log is closing";

/// The way to the writer.
#[derive(Clone)]
pub struct Requests {
    pub shared: Arc<Shared>,
    pub jobs: mpsc::Sender<Job>,
}

impl Requests {
    /// Queues the records at once, so that appends stand in the order of the calls.
    pub fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let (reply, answer) = oneshot::channel();
        match self.admit(topic, partition, &records) {
            Ok(Admitted::Nothing(end)) => return Box::pin(std::future::ready(Ok(end))),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
            Ok(Admitted::Queue(room)) => {
                let job = Job::Append { topic, partition, records, room, reply };
                if let Err(refused) = self.jobs.try_send(job) {
                    let why = match refused {
                        mpsc::error::TrySendError::Full(_) => "its queue is full",
                        mpsc::error::TrySendError::Closed(_) => CLOSING,
                    };
                    let error = AppendError::Unavailable(why.to_string());
                    return Box::pin(std::future::ready(Err(error)));
                }
            }
        }
        let within = self.shared.config.message_timeout;
        Box::pin(async move {
            let ms = within.as_millis();
            match tokio::time::timeout(within, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(AppendError::Unknown("the writer ended".to_string())),
                Err(_) => Err(AppendError::Unknown(format!("no answer within {ms} ms"))),
            }
        })
    }

    fn admit(
        &self,
        topic: Topic,
        partition: u32,
        records: &[Record],
    ) -> Result<Admitted, AppendError> {
        let shared = &self.shared;
        let partitions = topic.partitions(shared.config.partitions);
        let bytes = check_records(topic, partition, partitions, records)?;
        if shared.closing.load(Ordering::Acquire) {
            return Err(AppendError::Unavailable(CLOSING.to_string()));
        }
        if let Some(why) = shared.failure() {
            return Err(AppendError::Unavailable(why.to_string()));
        }
        if let Some(why) = shared.full(topic) {
            return Err(AppendError::Full(why));
        }
        if records.is_empty() {
            let end = shared.view(topic, partition).map_or(0, |view| view.bounds().end);
            return Ok(Admitted::Nothing(end));
        }
        match Room::take(shared, bytes) {
            Some(room) => Ok(Admitted::Queue(room)),
            None => Err(AppendError::Unavailable("its queue is full".to_string())),
        }
    }

    /// Waits for room in the queue and then for the answer.
    pub async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Job,
    ) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(job(reply)).await.is_err() {
            return Err(CommitError::Unavailable(CLOSING.to_string()));
        }
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(CommitError::Unknown("the writer ended".to_string())),
        }
    }
}

enum Admitted {
    /// There is nothing to write; the partition ends here.
    Nothing(Offset),
    Queue(Room),
}

pub fn unavailable(error: CommitError) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
