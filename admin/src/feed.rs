//! The configuration as this process sees it, followed in the background, with the highest version
//! that any record carries: an apply that died half-way has used its version up.

use eventlog::follow::Follower;
use eventlog::patience::retried;
use eventlog::{EventLog, ReadError};
use schemas::{Catalog, CatalogReader, ConfigRecord, Topic};
use service::{ReadyFlag, ServiceError, Shutdown};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long following rests after an error that may pass.
const RETRY: Duration = Duration::from_millis(500);

/// What has been read so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub catalog: Arc<Catalog>,
    pub highest_version: u64,
    /// Of the markers alone: an apply whose marker was read is in force, or never will be.
    pub highest_marker: u64,
}

/// Follows the topic `config`.
pub struct ConfigFeed {
    follower: Follower,
    reader: CatalogReader,
    seen: watch::Sender<Seen>,
}

impl ConfigFeed {
    /// Reads all the configuration there is before it returns, and waits while it cannot be read.
    pub async fn start(log: &dyn EventLog) -> Result<Self, ReadError> {
        retried("the configuration cannot be read", || Self::try_start(log)).await
    }

    async fn try_start(log: &dyn EventLog) -> Result<Self, ReadError> {
        let follower = Follower::start(log, Topic::Config).await?;
        let reader = CatalogReader::default();
        let mut feed = Self { follower, reader, seen: watch::Sender::new(Seen::default()) };
        while !feed.follower.is_caught_up() {
            feed.advance().await?;
        }
        Ok(feed)
    }

    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    async fn advance(&mut self) -> Result<(), ReadError> {
        for value in self.follower.next().await? {
            if value.is_empty() {
                continue;
            }
            let record = ConfigRecord::decode(&value)
                .map_err(|error| ReadError::Damaged(format!("topic config: {error}")))?;
            let (version, marker) = match &record {
                ConfigRecord::Document(it) => (it.version, 0),
                ConfigRecord::Marker(it) => (it.version, it.version),
            };
            let catalog = self.reader.read(record).cloned().map(Arc::new);
            self.seen.send_modify(|seen| {
                seen.highest_version = seen.highest_version.max(version);
                seen.highest_marker = seen.highest_marker.max(marker);
                if let Some(catalog) = catalog {
                    seen.catalog = catalog;
                }
            });
        }
        Ok(())
    }

    /// Follows until told to stop, or until the log says something that will not pass.
    pub async fn run(mut self, ready: ReadyFlag, shutdown: Shutdown) -> Result<(), ServiceError> {
        loop {
            let outcome = tokio::select! {
                () = shutdown.wait() => return Ok(()),
                outcome = self.advance() => outcome,
            };
            match outcome {
                Ok(()) => ready.set(true),
                Err(ReadError::Unavailable(reason)) => {
                    ready.set(false);
                    tracing::warn!(reason, "the configuration cannot be read now; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    return Err(ServiceError::Failed(format!("admin: the configuration: {error}")));
                }
            }
        }
    }
}
