//! What an ingester knows: the configuration with the credentials it implies, and what is used up.
//! Followed in the background; requests see whole versions only.

use crate::credentials::CredentialTable;
use crate::liveness::UsedUp;
use arc_swap::ArcSwap;
use eventlog::follow::Follower;
use eventlog::follow::catalog::CatalogFeed;
use eventlog::{EventLog, ReadError};
use keyring::Keyring;
use schemas::{Availability, Catalog, DecodeError, Topic, codec};
use service::{ServiceError, Shutdown};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long reading rests after the log could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

const UNREADABLE: &str = "the configuration cannot be read";

/// One whole version of the configuration.
#[derive(Debug, Default)]
pub struct World {
    pub catalog: Arc<Catalog>,
    pub credentials: CredentialTable,
}

impl World {
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, keyring: &Keyring) -> Self {
        Self { credentials: CredentialTable::new(&catalog, keyring), catalog }
    }
}

/// What requests look at.
#[derive(Default)]
pub struct Known {
    pub world: ArcSwap<World>,
    pub used_up: ArcSwap<UsedUp>,
}

/// Both topics, read up to their ends.
pub struct Feeds {
    catalog: CatalogFeed,
    availability: Follower,
}

impl Feeds {
    /// Reads all there is of both topics; tries again while the log cannot be read. None when told
    /// to stop meanwhile.
    pub async fn catch_up(
        log: &dyn EventLog,
        keyring: &Keyring,
        known: &Known,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, ServiceError> {
        let start = || CatalogFeed::start(log);
        let Some(catalog) = retried(shutdown, UNREADABLE, start).await? else { return Ok(None) };
        let whole = Arc::clone(&catalog.subscribe().borrow());
        known.world.store(Arc::new(World::new(whole, keyring)));
        let start = || async {
            let mut follower = Follower::start(log, Topic::Availability).await?;
            while !follower.is_caught_up() {
                advance_availability(&mut follower, known).await?;
            }
            Ok(follower)
        };
        let Some(availability) = retried(shutdown, UNREADABLE, start).await? else {
            return Ok(None);
        };
        Ok(Some(Self { catalog, availability }))
    }

    /// Follows both topics; ends when told to stop, or when one cannot be followed any more.
    pub async fn follow(
        mut self,
        keyring: &Keyring,
        known: &Known,
        shutdown: &Shutdown,
    ) -> Result<(), ServiceError> {
        let mut versions = self.catalog.subscribe();
        let catalog = async {
            loop {
                keep_going(self.catalog.advance().await).await?;
                if versions.has_changed().unwrap_or(false) {
                    let whole = Arc::clone(&versions.borrow_and_update());
                    tracing::info!(version = whole.version, "the configuration changed");
                    known.world.store(Arc::new(World::new(whole, keyring)));
                }
            }
        };
        let availability = async {
            loop {
                keep_going(advance_availability(&mut self.availability, known).await).await?;
            }
        };
        tokio::select! {
            () = shutdown.wait() => Ok(()),
            ended = catalog => ended,
            ended = availability => ended,
        }
    }
}

async fn advance_availability(follower: &mut Follower, known: &Known) -> Result<(), ReadError> {
    let values = follower.next().await?;
    if values.is_empty() {
        return Ok(());
    }
    let mut used_up = UsedUp::clone(&known.used_up.load());
    for value in values.iter().filter(|value| !value.is_empty()) {
        match codec::decode::<Availability>(value) {
            Ok(availability) if availability.exhausted.is_none() => {
                used_up.remove(&availability.scope);
            }
            Ok(availability) => {
                used_up.insert(availability.scope.clone(), availability);
            }
            // A click too many is sent on; caps are kept by the processor all the same.
            Err(DecodeError::Malformed(error)) => {
                tracing::error!(%error, "skipped a record of the topic availability");
                let topic = Topic::Availability.name();
                metrics::counter!("gokart_dead_letters_total", "topic" => topic).increment(1);
            }
            Err(error @ DecodeError::UnknownVersion { .. }) => {
                return Err(ReadError::Damaged(format!("topic availability: {error}")));
            }
        }
    }
    known.used_up.store(Arc::new(used_up));
    Ok(())
}

/// Waits a little after an error that may pass; gives back one that will not.
async fn keep_going(outcome: Result<(), ReadError>) -> Result<(), ServiceError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error @ ReadError::Unavailable(_)) => {
            tracing::warn!(%error, "the configuration cannot be followed; trying again");
            tokio::time::sleep(RETRY_PAUSE).await;
            Ok(())
        }
        Err(error) => Err(ServiceError::Failed(format!("ingest stops: {error}"))),
    }
}

/// Tries until the log can be read; none when told to stop meanwhile.
pub async fn retried<T, F: Future<Output = Result<T, ReadError>>>(
    shutdown: &Shutdown,
    what: &str,
    attempt: impl FnMut() -> F,
) -> Result<Option<T>, ServiceError> {
    tokio::select! {
        () = shutdown.wait() => Ok(None),
        outcome = eventlog::patience::retried(what, attempt) => match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error) => Err(ServiceError::Failed(format!("ingest stops: {error}"))),
        }
    }
}
