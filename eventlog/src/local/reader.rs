//! Reading one partition.

use super::shared::{PartitionView, Shared};
use super::store::Scan;
use crate::limits::record_bytes;
use crate::{Batch, Offset, ReadError, ReadLimit, Reader, StoredRecord};
use async_trait::async_trait;
use schemas::Topic;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

pub struct LocalReader {
    shared: Arc<Shared>,
    topic: Topic,
    partition: u32,
    position: Offset,
    end: watch::Receiver<Offset>,
}

impl LocalReader {
    pub fn open(
        shared: &Arc<Shared>,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Self, ReadError> {
        let view = view(shared, topic, partition)?;
        let reader = Self {
            shared: Arc::clone(shared),
            topic,
            partition,
            position: offset,
            end: view.watch_end(),
        };
        reader.check_in_range()?;
        Ok(reader)
    }

    fn check_in_range(&self) -> Result<(), ReadError> {
        let bounds = view(&self.shared, self.topic, self.partition)?.bounds();
        if (bounds.first..=bounds.end).contains(&self.position) {
            return Ok(());
        }
        Err(ReadError::OutOfRange {
            topic: self.topic,
            partition: self.partition,
            asked: self.position,
            first: bounds.first,
            end: bounds.end,
        })
    }

    /// What there is from the position up to `end`. On a blocking thread: old records come from
    /// the disk, and decoding a full batch takes milliseconds even when they do not.
    async fn take(&self, end: Offset, limit: ReadLimit) -> Result<Batch, ReadError> {
        let (topic, partition, from) = (self.topic, self.partition, self.position);
        let shared = Arc::clone(&self.shared);
        let scan = move || {
            let mut batch = Batch { records: Vec::new(), next_offset: end, at_end: true };
            let mut bytes = 0;
            let taken = shared.store.scan(topic, partition, (from, end), |offset, record| {
                bytes += record_bytes(&record);
                let enough = batch.records.len() >= limit.records || bytes > limit.bytes;
                if enough && !batch.records.is_empty() {
                    batch.next_offset = offset;
                    batch.at_end = false;
                    return Scan::Stop;
                }
                batch.records.push(StoredRecord { offset, record });
                Scan::Go
            });
            taken.map(|()| batch).map_err(ReadError::Damaged)
        };
        match tokio::task::spawn_blocking(scan).await {
            Ok(result) => result,
            Err(error) => Err(ReadError::Unavailable(format!("reading was cut short: {error}"))),
        }
    }
}

#[async_trait]
impl Reader for LocalReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        let deadline = Instant::now() + limit.wait;
        loop {
            let end = *self.end.borrow_and_update();
            if self.position < end {
                let batch = self.take(end, limit).await?;
                // Whatever retention removed meanwhile was announced before it was removed.
                self.check_in_range()?;
                self.position = batch.next_offset;
                if !batch.records.is_empty() {
                    return Ok(batch);
                }
            } else {
                self.check_in_range()?;
            }
            match tokio::time::timeout_at(deadline, self.end.changed()).await {
                Ok(Ok(())) => {}
                // Timed out, or the log is closed and nothing will come any more.
                Ok(Err(_)) | Err(_) => {
                    let (records, next_offset) = (Vec::new(), self.position);
                    return Ok(Batch { records, next_offset, at_end: true });
                }
            }
        }
    }
}

pub fn view(shared: &Shared, topic: Topic, partition: u32) -> Result<&PartitionView, ReadError> {
    shared
        .view(topic, partition)
        .ok_or_else(|| ReadError::Unavailable(format!("{topic} has no partition {partition}")))
}
