//! Reading a partition of the simulation.

use super::Handle;
use crate::limits::record_bytes;
use crate::{Batch, Offset, ReadError, ReadLimit, Reader, StoredRecord};
use async_trait::async_trait;
use schemas::Topic;

pub struct SimulatedReader {
    handle: Handle,
    topic: Topic,
    partition: u32,
    position: Offset,
}

impl SimulatedReader {
    pub fn open(
        handle: Handle,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Self, ReadError> {
        let reader = Self { handle, topic, partition, position: offset };
        reader.check_in_range()?;
        Ok(reader)
    }

    fn check_in_range(&self) -> Result<(), ReadError> {
        let (topic, partition, asked) = (self.topic, self.partition, self.position);
        let bounds = self.handle.with(|world| world.bounds(topic, partition))?;
        if (bounds.first..=bounds.end).contains(&asked) {
            return Ok(());
        }
        let (first, end) = (bounds.first, bounds.end);
        Err(ReadError::OutOfRange { topic, partition, asked, first, end })
    }

    /// What there is now; `None` when there are no records.
    fn take(&self, limit: ReadLimit) -> Result<Option<Batch>, ReadError> {
        self.check_in_range()?;
        let (topic, partition, from) = (self.topic, self.partition, self.position);
        self.handle.with(|world| {
            let part = world.parts.get(&(topic, partition))?;
            let mut batch = Batch { records: Vec::new(), next_offset: part.next, at_end: true };
            let mut bytes = 0;
            for (offset, record) in part.records.range(from..) {
                bytes += record_bytes(record);
                let enough = batch.records.len() >= limit.records || bytes > limit.bytes;
                if enough && !batch.records.is_empty() {
                    (batch.next_offset, batch.at_end) = (*offset, false);
                    break;
                }
                batch.records.push(StoredRecord { offset: *offset, record: record.clone() });
            }
            (!batch.records.is_empty()).then_some(batch)
        })
    }
}

#[async_trait]
impl Reader for SimulatedReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        let look = || self.take(limit);
        let batch = match self.handle.wait_for(limit.wait, look).await? {
            Some(batch) => batch,
            None => {
                let end = self.handle.with(|world| world.bounds(self.topic, self.partition).end)?;
                Batch { records: Vec::new(), next_offset: end.max(self.position), at_end: true }
            }
        };
        self.position = batch.next_offset;
        Ok(batch)
    }
}
