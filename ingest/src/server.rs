//! An ingester's life: catch up, check the clock, listen, answer, drain.

use crate::config::IngestConfig;
use crate::handler::Ingest;
use crate::late_clicks::LateClicks;
use crate::limits::Limits;
use crate::meters::Meters;
use crate::refusals::{Lister, Refusals};
use crate::skew::check_clock;
use crate::submit::Submitter;
use crate::world::{Feeds, Known};
use eventlog::EventLog;
use keyring::Keyring;
use service::{Clock, ReadyFlag, ServiceError, Shutdown, bind, serve_protocols};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// For click records and refusals that are still to be written when the last request is answered.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two sweeps of the tables of addresses.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// An ingester that has caught up and holds its port; requests wait in the kernel's queue until
/// [`Server::serve`].
pub struct Server {
    ingest: Arc<Ingest>,
    listener: TcpListener,
    address: SocketAddr,
    feeds: Feeds,
    lister: Lister,
    ready: ReadyFlag,
    shutdown: Shutdown,
}

/// Runs an ingester until told to stop. Returns at once when its settings are wrong, its port is
/// taken or its clock is, and later only when the configuration cannot be followed any more.
pub async fn run(
    config: IngestConfig,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    clock: Clock,
    ready: ReadyFlag,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    match Server::start(config, log, keyring, clock, ready, shutdown).await? {
        Some(server) => server.serve().await,
        None => Ok(()),
    }
}

impl Server {
    /// Catches up with the configuration, checks the clock and takes the port, in this order. None
    /// when told to stop meanwhile.
    pub async fn start(
        config: IngestConfig,
        log: Arc<dyn EventLog>,
        keyring: Arc<Keyring>,
        clock: Clock,
        ready: ReadyFlag,
        shutdown: Shutdown,
    ) -> Result<Option<Self>, ServiceError> {
        let settings = config.check()?;
        let known = Arc::new(Known::default());
        let Some(feeds) = Feeds::catch_up(&*log, &keyring, &known, &shutdown).await? else {
            return Ok(None);
        };
        if check_clock(&*log, &clock, &shutdown).await?.is_none() {
            return Ok(None);
        }
        let listener = bind(settings.config.listen, "ingest", "--listen").await?;
        let address = listener.local_addr().map_err(|error| {
            ServiceError::Failed(format!("ingest cannot tell the address it listens on: {error}"))
        })?;
        let (refusals, lister) = Refusals::new(&settings);
        let ingest = Arc::new(Ingest {
            limits: Limits::new(&settings),
            submitter: Arc::new(Submitter::new(log)),
            late_clicks: LateClicks::new(settings.config.late_click_records),
            refusals,
            settings,
            keyring,
            clock,
            known,
            meters: Meters::default(),
        });
        Ok(Some(Self { ingest, listener, address, feeds, lister, ready, shutdown }))
    }

    /// Where it listens, with the port that a configured port 0 became.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until told to stop, then finishes what was begun.
    pub async fn serve(self) -> Result<(), ServiceError> {
        let Self { ingest, listener, address, feeds, lister, ready, shutdown } = self;
        tracing::info!(%address, "ingest listens for tracking links and postbacks");
        let listing =
            tokio::spawn(lister.run(Arc::clone(&ingest.submitter), Arc::clone(&ingest.known)));
        let sweeping = tokio::spawn(sweep(Arc::clone(&ingest)));
        ready.set(true);

        let limits = ingest.settings.config.http;
        let protocols = ingest.settings.protocols.clone();
        let handler = {
            let ingest = Arc::clone(&ingest);
            move |request, peer| Arc::clone(&ingest).handle(request, peer)
        };
        let following = async {
            let ended = feeds.follow(&ingest.keyring, &ingest.known, &shutdown).await;
            // Answering with a configuration that is no longer followed would be guessing.
            shutdown.trigger();
            ended
        };
        let (ended, ()) = tokio::join!(
            following,
            serve_protocols(listener, protocols, limits, shutdown.clone(), handler)
        );

        ready.set(false);
        sweeping.abort();
        ingest.late_clicks.drain(DRAIN_TIMEOUT).await;
        finish_listing(ingest, listing).await;
        ended
    }
}

/// The lister ends when the last sender of refusals is gone, which `ingest` holds.
async fn finish_listing(ingest: Arc<Ingest>, listing: tokio::task::JoinHandle<()>) {
    drop(ingest);
    if tokio::time::timeout(DRAIN_TIMEOUT, listing).await.is_err() {
        tracing::warn!("stopped before every refusal was listed");
    }
}

async fn sweep(ingest: Arc<Ingest>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        ingest.limits.sweep();
    }
}
