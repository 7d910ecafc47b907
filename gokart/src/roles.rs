//! One role of a cluster as a process: its log on Kafka, its metrics, its end.

use crate::cli::{flags, roles};
use crate::data_dir::DataDir;
use crate::kafka_log::{brokers, with_log_when_there};
use crate::settings;
use service::{Clock, Readiness, ServiceError, Shutdown, bind, install_metrics};
use std::sync::Arc;
use warehouse::{Limits, WarehouseConfig};

/// What every long-running process begins with.
pub struct Base {
    pub clock: Clock,
    pub data: DataDir,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
}

impl Base {
    /// Opens the data directory, listens for signals, and serves `/metrics`, `/healthz` and
    /// `/readyz`.
    pub async fn start(
        role: &str,
        data: &flags::Data,
        metrics: &flags::Metrics,
    ) -> Result<Self, ServiceError> {
        let clock = settings::clock(data)?;
        let directory = DataDir::open(&data.data)?;
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        shutdown
            .on_signals()
            .map_err(|error| ServiceError::Failed(format!("no signal handlers: {error}")))?;
        let listener = bind(metrics.metrics_listen, "metrics", "--metrics-listen").await?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, role, "metrics and health listen");
        }
        // They outlive the role's own shutdown, so that its draining can be watched.
        tokio::spawn(install_metrics()?.serve(listener, readiness.clone(), Shutdown::new()));
        Ok(Self { clock, data: directory, readiness, shutdown })
    }
}

pub async fn ingest(role: roles::Ingest) -> Result<(), ServiceError> {
    brokers(&role.log)?;
    let keyring = Arc::new(settings::keyring(&role.keys, None)?);
    let config = settings::ingest(&role.ingest, &role.domains);
    let base = Base::start("ingest", &role.data, &role.metrics).await?;
    let ready = base.readiness.condition(settings::INGEST_READY);
    with_log_when_there(&role.log, &base, Some(role.ingest.max_postback_wait), |events| {
        ingest::run(config, events, keyring, base.clock.clone(), ready, base.shutdown.clone())
    })
    .await
}

pub async fn processor(role: roles::Processor) -> Result<(), ServiceError> {
    brokers(&role.log)?;
    let keyring = Arc::new(settings::keyring(&role.keys, None)?);
    let config = settings::processor(&role.processor);
    let base = Base::start("processor", &role.data, &role.metrics).await?;
    let ready = base.readiness.condition(settings::PROCESSOR_READY);
    with_log_when_there(&role.log, &base, None, |events| {
        processor::run(config, events, keyring, base.clock.clone(), base.shutdown.clone(), ready)
    })
    .await
}

pub async fn sink(role: roles::Sink) -> Result<(), ServiceError> {
    brokers(&role.log)?;
    let config = settings::sink(&role.sink, settings::clickhouse(&role.clickhouse)?);
    let keyring = match role.keys.is_given() {
        true => Some(Arc::new(settings::keyring(&role.keys, None)?)),
        false => None,
    };
    let delivering = settings::deliverer(&role.publishers);
    let base = Base::start("sink", &role.data, &role.metrics).await?;
    let Base { clock, shutdown, readiness, .. } = &base;
    let ready = readiness.condition(settings::SINK_READY);
    let Some(keyring) = keyring else {
        tracing::warn!(
            "no master keys, so this sink tells no publishers: it only stores; give it the master keys (--master-key-file) to have it sign and send publisher postbacks"
        );
        return with_log_when_there(&role.log, &base, None, |events| async move {
            Ok(sink::run(config, events, clock.clone(), shutdown.clone(), ready).await?)
        })
        .await;
    };
    let delivery_ready = readiness.condition(settings::DELIVERER_READY);
    with_log_when_there(&role.log, &base, None, |events| async move {
        let (log, clock) = (events.clone(), clock.clone());
        let storing = async {
            let outcome = sink::run(config, events, clock.clone(), shutdown.clone(), ready).await;
            shutdown.trigger();
            outcome
        };
        let (log, stop) = (log.clone(), shutdown.clone());
        let telling = async {
            let clock = clock.clone();
            let outcome =
                sink::publishers::run(delivering, log, keyring, clock, stop, delivery_ready).await;
            shutdown.trigger();
            outcome
        };
        let (stored, told) = tokio::join!(storing, telling);
        Ok(stored.and(told)?)
    })
    .await
}

pub async fn admin(role: roles::Admin) -> Result<(), ServiceError> {
    brokers(&role.log)?;
    let keyring = Arc::new(settings::keyring(&role.keys, None)?);
    let clickhouse = settings::clickhouse(&role.clickhouse)?;
    let base = Base::start("admin", &role.data, &role.metrics).await?;
    let ready = base.readiness.condition(settings::ADMIN_READY);
    let config = settings::admin(&role.admin, &role.domains, clickhouse, &base.data, None)?;
    with_log_when_there(&role.log, &base, None, |events| {
        admin::run(config, events, keyring, base.clock.clone(), ready, base.shutdown.clone())
    })
    .await
}

pub async fn warehouse(role: roles::Warehouse) -> Result<(), ServiceError> {
    let base = Base::start("warehouse", &role.data, &role.metrics).await?;
    let settings = &role.warehouse;
    let tokens = settings::warehouse_tokens(settings, &base.data)?;
    let config = WarehouseConfig {
        library: settings::engine_library(settings.engine_library.as_deref())?,
        data_dir: base.data.join("clickhouse"),
        listen: settings.warehouse_listen,
        host_names: settings.warehouse_hosts.clone(),
        read_token: tokens.read,
        write_token: tokens.write,
        tokens_chosen: settings.warehouse_read_token_file.is_some()
            && settings.warehouse_write_token_file.is_some(),
        exit_with_stdin: role.stop_with_parent,
        limits: Limits { server_memory_bytes: settings.warehouse_memory, ..Limits::default() },
        readiness: base.readiness,
    };
    warehouse::run(config, base.shutdown).await.map_err(|error| match error.exit_code() {
        78 => ServiceError::Configuration(error.to_string()),
        _ => ServiceError::Failed(error.to_string()),
    })
}
