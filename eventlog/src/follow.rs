//! Reading a one-partition topic from its beginning, for ever (configuration, availability).

use crate::{EventLog, Offset, ReadError, ReadLimit, Reader};
use schemas::Topic;
use std::time::Duration;

const FOLLOW_LIMIT: ReadLimit =
    ReadLimit { records: 1_000, bytes: 4 << 20, wait: Duration::from_millis(500) };

/// Follows partition 0 of a compacted topic from its oldest record.
pub struct Follower {
    reader: Box<dyn Reader>,
    /// The end of the topic when following began: past it, the follower is caught up.
    target: Offset,
    position: Offset,
}

impl Follower {
    pub async fn start(log: &dyn EventLog, topic: Topic) -> Result<Self, ReadError> {
        let bounds = log.bounds(topic, 0).await?;
        let reader = log.read_from(topic, 0, bounds.first).await?;
        Ok(Self { reader, target: bounds.end, position: bounds.first })
    }

    /// Everything that was there when following began has been given out.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.position >= self.target
    }

    /// The values that came, in order; empty after about half a second without any.
    pub async fn next(&mut self) -> Result<Vec<bytes::Bytes>, ReadError> {
        let batch = self.reader.read(FOLLOW_LIMIT).await?;
        self.position = self.position.max(batch.next_offset);
        Ok(batch.records.into_iter().map(|stored| stored.record.value).collect())
    }
}
