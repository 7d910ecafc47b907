//! Click records that were not durable when their redirect went out. They are tried again in the
//! background: at worst a row of the analytics is missing, never a user.

use crate::submit::{Pending, Submitter};
use eventlog::{AppendError, Record};
use schemas::Topic;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Pauses before each further attempt. A repeat of a record that was written after all collapses
/// downstream, since it has the same click id.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// The records being tried again: a bounded number of them.
pub struct LateClicks {
    slots: Arc<Semaphore>,
    limit: u32,
}

impl LateClicks {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        Self { slots: Arc::new(Semaphore::new(limit as usize)), limit }
    }

    /// Goes on with a record whose first append is `pending` or, without one, has failed.
    pub fn take_over(
        &self,
        submitter: &Arc<Submitter>,
        partition: u32,
        record: Record,
        pending: Option<Pending>,
    ) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            count("lost");
            return;
        };
        let submitter = Arc::clone(submitter);
        tokio::spawn(async move {
            let mut outcome = match pending {
                Some(pending) => pending.await,
                None => Err(AppendError::Unavailable(String::new())),
            };
            for pause in PAUSES {
                match outcome {
                    Ok(_) | Err(AppendError::Refused(_)) => break,
                    Err(_) => {
                        tokio::time::sleep(pause).await;
                        outcome = submitter.append(Topic::Clicks, partition, record.clone()).await;
                    }
                }
            }
            count(if outcome.is_ok() { "late" } else { "lost" });
            drop(slot);
        });
    }

    /// Waits for the records that are still being tried, for at most `timeout`.
    pub async fn drain(&self, timeout: Duration) {
        let all = self.slots.acquire_many(self.limit);
        if tokio::time::timeout(timeout, all).await.is_err() {
            let records = self.limit as usize - self.slots.available_permits();
            tracing::warn!(records, "stopped with click records that the event log did not take");
        }
    }
}

/// Counts a click record by how it ended: `durable`, `late`, `lost`, or `over_quota`.
pub fn count(outcome: &'static str) {
    metrics::counter!("gokart_ingest_click_records_total", "outcome" => outcome).increment(1);
}
