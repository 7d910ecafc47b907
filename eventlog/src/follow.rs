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

/// The configuration as this process sees it, followed in the background.
pub mod catalog {
    use super::Follower;
    use crate::{EventLog, ReadError};
    use schemas::{Catalog, CatalogReader, ConfigRecord, DecodeError, Topic};
    use std::sync::Arc;
    use tokio::sync::watch;

    /// Follows the topic `config`; `current` changes over at whole versions only.
    pub struct CatalogFeed {
        follower: Follower,
        reader: CatalogReader,
        current: watch::Sender<Arc<Catalog>>,
    }

    impl CatalogFeed {
        /// Reads all the configuration there is before it returns.
        pub async fn start(log: &dyn EventLog) -> Result<Self, ReadError> {
            let follower = Follower::start(log, Topic::Config).await?;
            let current = watch::Sender::new(Arc::new(Catalog::default()));
            let mut feed = Self { follower, reader: CatalogReader::default(), current };
            while !feed.follower.is_caught_up() {
                feed.advance().await?;
            }
            Ok(feed)
        }

        /// The newest whole version, now and whenever it changes.
        #[must_use]
        pub fn subscribe(&self) -> watch::Receiver<Arc<Catalog>> {
            self.current.subscribe()
        }

        /// Reads what came next; waits about half a second when nothing does. A record that cannot
        /// be read is an error: half a configuration is worse than none.
        pub async fn advance(&mut self) -> Result<(), ReadError> {
            let damaged = |error: DecodeError| ReadError::Damaged(format!("topic config: {error}"));
            for value in self.follower.next().await? {
                if value.is_empty() {
                    continue;
                }
                let record = ConfigRecord::decode(&value).map_err(damaged)?;
                if let Some(catalog) = self.reader.read(record) {
                    self.current.send_replace(Arc::new(catalog.clone()));
                }
            }
            Ok(())
        }
    }
}
