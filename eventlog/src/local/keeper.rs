//! Retention and the watch on free space, on a thread of its own.

use super::disk;
use super::job::Job;
use super::requests::Requests;
use super::shared::Shared;
use super::store::Scan;
use crate::CommitError;
use crate::Offset;
use crate::limits::record_bytes;
use schemas::Topic;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const FREE_SPACE_EVERY: Duration = Duration::from_secs(1);
/// Retention runs once in so many looks at the free space.
const RETENTION_EVERY: u32 = 10;
/// Records forgotten in one job: a few milliseconds of the writer's time.
const FORGET_RECORDS: usize = 2_000;

/// Works until `stop` says so or its sender is gone.
pub fn run(requests: Requests, stop: Receiver<()>) {
    for round in 1u32.. {
        match stop.recv_timeout(FREE_SPACE_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        look_at_free_space(&requests.shared);
        if round.is_multiple_of(RETENTION_EVERY) {
            forget_old(&requests);
        }
    }
}

pub fn look_at_free_space(shared: &Shared) {
    match disk::free_bytes(&shared.config.dir) {
        Ok(free) => shared.free_bytes.store(free, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "the free space of the event log is not known"),
    }
}

/// One pass over every topic with a retention; blocks until it is done. Returns how many records
/// were forgotten.
pub fn forget_old(requests: &Requests) -> u64 {
    let shared = &requests.shared;
    let mut forgotten = 0;
    for topic in Topic::ALL {
        let Some(retention) = shared.config.retention.of(topic) else { continue };
        // Old or too much: a topic gets back below seven eighths of its quota.
        let oldest = (shared.config.now)().plus_ms(-retention.age_ms);
        let target = retention.bytes - retention.bytes / 8;
        for partition in 0..topic.partitions(shared.config.partitions) {
            loop {
                let kept = shared.topic_bytes(topic).load(Ordering::Relaxed);
                let excess = kept.saturating_sub(target);
                match forget_chunk(requests, topic, partition, oldest, excess) {
                    Ok(0) => break,
                    Ok(records) => forgotten += records,
                    Err(why) => {
                        tracing::debug!(%topic, partition, %why, "nothing more to forget");
                        break;
                    }
                }
            }
        }
    }
    forgotten
}

fn forget_chunk(
    requests: &Requests,
    topic: Topic,
    partition: u32,
    oldest: schemas::UnixMillis,
    excess: u64,
) -> Result<u64, String> {
    let shared = &requests.shared;
    let Some(view) = shared.view(topic, partition) else { return Ok(0) };
    let bounds = view.bounds();
    let limit = requests.slowest_consumer(topic, partition)?.unwrap_or(bounds.end).min(bounds.end);
    let (mut to, mut bytes, mut records) = (bounds.first, 0, 0);
    let range: (Offset, Offset) = (bounds.first, limit);
    shared.store.scan(topic, partition, range, |offset, record| {
        let wanted = record.at < oldest || bytes < excess;
        if !wanted || records == FORGET_RECORDS {
            return Scan::Stop;
        }
        bytes += record_bytes(&record) as u64;
        records += 1;
        to = offset + 1;
        Scan::Go
    })?;
    if records == 0 {
        return Ok(0);
    }
    let from = bounds.first;
    requests.ask_blocking(|reply| Job::Forget { topic, partition, from, to, bytes, reply })?;
    Ok(records as u64)
}

impl Requests {
    fn slowest_consumer(&self, topic: Topic, partition: u32) -> Result<Option<Offset>, String> {
        self.ask_blocking(|reply| Job::Slowest { topic, partition, reply })
    }

    /// Asks from a thread that may block; gives up at once when the queue is full, since retention
    /// can wait and appends cannot.
    fn ask_blocking<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, CommitError>>) -> Job,
    ) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(job(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "the queue is full".to_string(),
            mpsc::error::TrySendError::Closed(_) => "the event log is closing".to_string(),
        })?;
        match answer.blocking_recv() {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the writer ended".to_string()),
        }
    }
}
