//! The role's life: read the configuration, listen, serve, drain.

use crate::access::Access;
use crate::api::Api;
use crate::config::AdminConfig;
use crate::feed::ConfigFeed;
use crate::warehouse::Warehouse;
use eventlog::EventLog;
use keyring::Keyring;
use service::{Clock, HttpLimits, ReadyFlag, ServiceError, Shutdown, bind, serve};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// Connections at once: operators and their scripts.
const CONNECTIONS: usize = 256;
/// An apply that is under way is finished when told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves the admin API until told to stop.
pub async fn run(
    config: AdminConfig,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    clock: Clock,
    ready: ReadyFlag,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    config.validate()?;
    let listener = bind(config.listen, "admin", "--admin-listen").await?;
    serve_on(listener, config, log, keyring, clock, ready, shutdown).await
}

/// The same on a socket that listens already.
pub async fn serve_on(
    listener: TcpListener,
    config: AdminConfig,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    clock: Clock,
    ready: ReadyFlag,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let public = config.validate()?;
    let feed = tokio::select! {
        () = shutdown.wait() => return Ok(()),
        feed = ConfigFeed::start(&*log) => feed
            .map_err(|error| ServiceError::Failed(format!("admin: the configuration: {error}")))?,
    };
    let api = Arc::new(Api {
        access: Access::new(&config.token, &config.host_names, config.listen),
        log,
        keyring,
        warehouse: Arc::new(Warehouse::new(&config.clickhouse, config.limits)),
        public,
        clock,
        seen: feed.subscribe(),
        applying: Mutex::new(()),
        reconciling: Mutex::new(()),
    });
    ready.set(true);
    let address = listener.local_addr().unwrap_or(config.listen);
    tracing::info!("admin listens on http://{address}");
    let limits = HttpLimits {
        connections: CONNECTIONS,
        drain_timeout: DRAIN,
        stall_timeout: config.limits.stall,
        ..HttpLimits::default()
    };
    let stop_following = Shutdown::new();
    let stop_serving = Shutdown::new();
    let sealing = {
        let api = Arc::clone(&api);
        async move { api.seal_headers().await }
    };
    let serving = async {
        serve(listener, limits, stop_serving.clone(), move |request, _peer| {
            let api = Arc::clone(&api);
            async move { api.answer(request).await }
        })
        .await;
        // What is in flight may still wait for its apply: following ends after serving.
        stop_following.trigger();
    };
    let following = async {
        let outcome = feed.run(ready, stop_following.clone()).await;
        stop_serving.trigger();
        outcome
    };
    let told = async {
        tokio::select! {
            () = shutdown.wait() => stop_serving.trigger(),
            () = stop_serving.wait() => {}
        }
    };
    let ((), outcome, (), ()) = tokio::join!(serving, following, told, sealing);
    outcome
}
