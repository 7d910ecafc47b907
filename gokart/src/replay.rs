//! `gokart replay`: what would have been decided of the postbacks of a time, under the configuration
//! of now or another one, in tables of its own.
//!
//! The records are read beside everybody else and decided with the processor's own
//! [`processor::pipeline`], on state in a log of the replay's own; the real sink moves the decisions
//! into a database of the replay's own. Nothing that is live is written to.

mod decide;
mod rows;
mod sets;
mod source;
mod span;
mod summary;

use crate::cli::flags::Logging;
use crate::cli::replay::Replay;
use crate::data_dir::DataDir;
use crate::engine::{Engine, is_answering};
use crate::kafka_log::{open_error, with_log};
use crate::settings;
use crate::up::logging_arguments;
use decide::Work;
use eventlog::EventLog;
use eventlog::local::{LocalConfig, LocalLog, RetentionTable};
use keyring::Keyring;
use processor::ProcessorConfig;
use processor::pipeline::Context;
use schemas::{Topic, UnixMillis};
use service::{Clock, ServiceError, Shutdown};
use sink::ClickHouseConfig;
use span::Span;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that does not depend on where the log is.
struct Given<'a> {
    ask: &'a Replay,
    span: Span,
    data: &'a DataDir,
    clock: Clock,
    stop: Shutdown,
}

/// Does what was asked.
pub async fn run(ask: Replay, logging: &Logging) -> Result<(), ServiceError> {
    let stop = Shutdown::new();
    stop.on_signals()
        .map_err(|error| ServiceError::Failed(format!("no signal handlers: {error}")))?;
    let data = DataDir::open(&ask.data.data)?;
    let span = Span::read(ask.from.as_deref(), ask.to.as_deref())?;
    let clock = settings::clock(&ask.data)?;
    let given = Given { ask: &ask, span, data: &data, clock, stop };
    if ask.log.log == "local" {
        return local(given, logging).await;
    }
    let clickhouse = settings::clickhouse(&ask.clickhouse)?;
    if asks_about_sets(&ask) {
        return sets(&given, &clickhouse).await;
    }
    let keyring = Arc::new(settings::keyring(&ask.keys, None)?);
    let given = &given;
    with_log(&ask.log, &data, |events| replay(given, events, keyring, clickhouse)).await
}

fn asks_about_sets(ask: &Replay) -> bool {
    ask.list || ask.drop.is_some()
}

async fn sets(given: &Given<'_>, live: &ClickHouseConfig) -> Result<(), ServiceError> {
    match &given.ask.drop {
        Some(name) => sets::drop_set(name, given.data, live).await,
        None => sets::list(live, given.ask.format).await,
    }
}

/// On the local log and the embedded ClickHouse, which the engine's own process serves.
async fn local(given: Given<'_>, logging: &Logging) -> Result<(), ServiceError> {
    let Given { ask, data, .. } = &given;
    let tokens = settings::warehouse_tokens(&ask.warehouse, data)?;
    let listen = ask.warehouse.warehouse_listen;
    let clickhouse = ClickHouseConfig {
        password: Some(tokens.write),
        ..ClickHouseConfig::new(&format!("http://{listen}"))
    };
    if asks_about_sets(ask) && is_answering(listen).await {
        return sets(&given, &clickhouse).await;
    }
    let mut warehouse = ask.warehouse.clone();
    let library = settings::engine_library(warehouse.engine_library.as_deref())?;
    warehouse.engine_library = Some(library);
    // First the log: what has it is told best by its own lock.
    let log = match asks_about_sets(ask) {
        true => None,
        false => Some(open_live(ask, data)?),
    };
    let engine = Engine::new(data.path(), &warehouse, &logging_arguments(logging));
    let outcome = async {
        service::http::check_free(listen, "the warehouse", "--warehouse-listen")?;
        let keyring = Arc::new(settings::keyring(&ask.keys, Some(data))?);
        let engine = engine.start().await?;
        let outcome = match log.clone() {
            Some(log) => replay(&given, log, keyring, clickhouse).await,
            None => sets(&given, &clickhouse).await,
        };
        engine.stop().await;
        outcome
    }
    .await;
    if let Some(log) = log {
        log.close().await;
    }
    outcome
}

/// The installation's log, to be read: nothing is forgotten from it meanwhile.
fn open_live(ask: &Replay, data: &DataDir) -> Result<Arc<LocalLog>, ServiceError> {
    let directory = data.join("log");
    if !directory.exists() {
        return Err(ServiceError::Configuration(format!(
            "there is no log in {}; name the installation's directory with --data, or its cluster with --log",
            data.path().display()
        )));
    }
    let mut config = LocalConfig::new(directory, ask.log.topics.partitions);
    config.retention = RetentionTable::everything();
    LocalLog::open(config).map_err(|error| match open_error(error) {
        ServiceError::Failed(text) => ServiceError::Failed(format!(
            "{text}; the local log belongs to one process: stop `gokart up` for the time of the replay"
        )),
        wrong => wrong,
    })
}

async fn replay(
    given: &Given<'_>,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    live: ClickHouseConfig,
) -> Result<(), ServiceError> {
    let Given { ask, span, data, clock, stop } = given;
    let now = UnixMillis(clock.now());
    let name = ask.into.clone().unwrap_or_else(|| sets::name_at(now));
    let own = ClickHouseConfig { database: sets::database(&live, &name)?, ..live.clone() };
    sets::check_unused(&own, &name).await?;
    // The ends first: whatever is before them was made with a configuration that is read after.
    let stretches = source::stretches(&*log, *span, ask.history).await?;
    let catalog = source::catalog(&*log, &ask.documents, now).await?;
    let partitions = log.partitions(Topic::Postbacks);
    let directory = sets::directory(data, &name);
    remove(&directory)?;
    let mut config = LocalConfig::new(&directory, partitions);
    // Lost with the machine, it is made again.
    config.fsync = false;
    let scratch = LocalLog::open(config).map_err(open_error)?;
    let context = Context {
        keyring,
        catalog: watch::Sender::new(Arc::new(catalog)).subscribe(),
        clock: clock.clone(),
        config: ProcessorConfig { clock_allowance_ms: 0 },
        partitions,
    };
    let work = Work { log, scratch: scratch.clone(), context, stop: stop.clone() };
    let bar = decide::bar(&stretches);
    let outcome = async {
        rows::prepare(&*work.log, &*scratch, &live, &own).await?;
        let decided = Shutdown::new();
        let deciding = async {
            let read = decide::all(&work, &stretches, &bar).await;
            decided.trigger();
            read
        };
        let (read, moved) = tokio::join!(deciding, rows::move_all(&scratch, &own, &decided));
        let read = read?;
        moved?;
        Ok(read)
    }
    .await;
    bar.finish_and_clear();
    scratch.close().await;
    drop((work, scratch));
    let removed = remove(&directory);
    let read = outcome.map_err(|error: ServiceError| match error {
        ServiceError::Failed(text) => ServiceError::Failed(format!(
            "{text}; the replay is not whole: `gokart replay --drop {name}` removes what there is of it"
        )),
        wrong => wrong,
    })?;
    removed?;
    summary::print(&live, &own, *span, read, ask.format).await
}

fn remove(directory: &Path) -> Result<(), ServiceError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ServiceError::Failed(format!("{} cannot be removed: {error}", directory.display())))
        }
        _ => Ok(()),
    }
}
