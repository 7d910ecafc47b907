//! ClickHouse in one process: `libchdb.so`, loaded at run time, behind the part of ClickHouse's
//! HTTP interface that real clients use. It runs as a process of its own, so that a crash of the
//! engine ends nothing else; a cluster uses a real ClickHouse and not this.
//!
//! The way of a statement: `handler` (who asks, what for) → `pool` (wait for a thread) →
//! `execute` (read the text, refuse what may not be, run it) → `session` (the engine's C calls)
//! and back in chunks. Nothing a client sends is held without a bound, and nobody waits for ever.
//!
//! What keeps statements inside: grants and fixed settings that the engine enforces
//! (`engine_files`), `readonly` for whoever may only read (`engine`), and a look at the text for
//! the few things that the engine does not ask a grant for (`guard`).

mod access;
mod body;
mod compression;
mod config;
mod engine;
mod engine_files;
mod error;
mod exception;
mod execute;
mod form;
mod guard;
mod handler;
mod lexer;
mod library;
mod pool;
mod repeated_header;
mod request;
mod session;
mod statement;

pub use config::{Limits, WarehouseConfig};
pub use error::WarehouseError;

use engine::Engine;
use handler::Server;
use pool::Pool;
use service::{HttpLimits, Shutdown};
use std::io::Read;
use std::sync::Arc;

/// Longest request line and headers; statements with their parameters come in URLs.
const HEADER_BYTES: usize = 128 * 1024;
const HEADER_BYTES_HYPER_MIN: usize = 8 * 1024;
const CONNECTIONS: usize = 512;
const _: () = assert!(HEADER_BYTES >= HEADER_BYTES_HYPER_MIN);

/// Runs the warehouse until told to stop; then finishes what was begun and closes the engine.
///
/// The port is taken before the engine is started, so that a second process gives up before it
/// touches the data.
pub async fn run(config: WarehouseConfig, shutdown: Shutdown) -> Result<(), WarehouseError> {
    config.validate()?;
    let ready = config.readiness.condition("warehouse: engine");
    let listener = service::bind(config.listen, "the warehouse", "--warehouse-listen").await?;
    let local = listener.local_addr().map_err(|error| {
        WarehouseError::Failed(format!("the warehouse has no address: {error}"))
    })?;
    if config.exit_with_stdin {
        stop_with_stdin(shutdown.clone())?;
    }
    let limits = config.limits;
    let starting = config.clone();
    let engine = blocking(move || Engine::start(&starting)).await??;
    let version = engine.version();
    let pool = Pool::start(engine, limits).map_err(|error| {
        WarehouseError::Failed(format!("the warehouse's threads do not start: {error}"))
    })?;
    let server = Arc::new(Server::new(&config, local, pool));
    tracing::info!(address = %local, engine = version, "the warehouse listens");
    ready.set(true);
    let http = HttpLimits {
        connections: CONNECTIONS,
        header_bytes: HEADER_BYTES,
        drain_timeout: limits.drain,
        stall_timeout: limits.stall,
        ..HttpLimits::default()
    };
    let handler = Arc::clone(&server);
    service::serve(listener, http, shutdown, move |request, _peer| {
        Arc::clone(&handler).answer(request)
    })
    .await;
    ready.set(false);
    stop(server, limits).await
}

/// Connections that did not end in time hold the server a moment longer than `serve`.
async fn stop(server: Arc<Server>, limits: Limits) -> Result<(), WarehouseError> {
    let late = || {
        WarehouseError::Failed(
            "the warehouse stops in the middle of a statement that did not end in time; what was acknowledged is kept".to_owned(),
        )
    };
    let deadline = tokio::time::Instant::now() + limits.drain;
    let mut server = server;
    let server = loop {
        match Arc::try_unwrap(server) {
            Ok(server) => break server,
            Err(shared) if tokio::time::Instant::now() < deadline => {
                server = shared;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Err(_) => return Err(late()),
        }
    };
    match blocking(move || server.pool.stop()).await? {
        true => Ok(()),
        false => Err(late()),
    }
}

/// The other end of standard input is the parent's: when it closes, the parent is gone.
fn stop_with_stdin(shutdown: Shutdown) -> Result<(), WarehouseError> {
    let watch = move || {
        let mut buffer = [0; 64];
        while matches!(std::io::stdin().read(&mut buffer), Ok(count) if count > 0) {}
        tracing::info!("stopping: the parent process has closed the pipe, or is gone");
        shutdown.trigger();
    };
    let thread = std::thread::Builder::new().name("parent-watch".to_owned()).spawn(watch);
    thread.map(|_| ()).map_err(|error| {
        WarehouseError::Failed(format!("the warehouse's threads do not start: {error}"))
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WarehouseError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| WarehouseError::Failed(format!("the warehouse's thread died: {error}")))
}
