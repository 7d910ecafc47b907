//! `gokart up`: everything on one machine, in one process, with the ClickHouse engine as a child.
//!
//! Starts in the order of what depends on what, and stops in the order of the data: first nothing
//! more comes in, then what came in is decided and stored, then the stores are closed.

use crate::cli::flags::{LogFormat, Logging};
use crate::cli::roles::Up;
use crate::engine::{self, Engine};
use crate::kafka_log::open_error;
use crate::roles::Base;
use crate::{settings, welcome};
use eventlog::EventLog;
use eventlog::local::LocalLog;
use service::{Readiness, ServiceError, Shutdown};
use sink::ClickHouseConfig;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};

/// Longest wait for every role to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// The last condition to be met: what `--config` names is in force.
const CONFIGURED: &str = "up: configuration applied";
const READY_POLL: Duration = Duration::from_millis(20);

pub async fn run(up: Up, logging: &Logging) -> Result<(), ServiceError> {
    refuse_taken_ports(&up)?;
    let library = settings::engine_library(up.warehouse.engine_library.as_deref())?;
    let documents = up.config.as_deref().map(crate::commands::read_documents).transpose()?;
    let base = Base::start("up", &up.data, &up.metrics).await?;
    let keyring = Arc::new(settings::keyring(&up.keys, Some(&base.data))?);
    let tokens = settings::warehouse_tokens(&up.warehouse, &base.data)?;
    let mut clickhouse =
        ClickHouseConfig::new(&format!("http://{}", up.warehouse.warehouse_listen));
    clickhouse.password = Some(tokens.write);
    let base_domain = up.domains.base_domains.first().map_or("localhost", String::as_str);
    let public_url = format!("{}://{base_domain}:{}", up.ingest.scheme(), up.ingest.listen.port());
    // Reports only read.
    let reading = ClickHouseConfig { password: Some(tokens.read), ..clickhouse.clone() };
    let admin = settings::admin(&up.admin, &up.domains, reading, &base.data, Some(public_url))?;
    let admin_token = admin.token.clone();
    let log =
        LocalLog::open(settings::local_log(&up, &base.data, &base.clock)).map_err(open_error)?;
    let events: Arc<dyn EventLog> = log.clone();

    let mut warehouse = up.warehouse.clone();
    warehouse.engine_library = Some(library);
    let engine = Engine::new(base.data.path(), &warehouse, &logging_arguments(logging));
    let started = tokio::select! {
        started = engine.start() => started.map(Some),
        // Dropped, the child is killed; it has not been asked for anything yet.
        () = base.shutdown.wait() => Ok(None),
    };
    let engine = match started {
        Ok(Some(engine)) => engine,
        Ok(None) => {
            log.close().await;
            return Ok(());
        }
        Err(error) => {
            log.close().await;
            return Err(error);
        }
    };

    let mut roles = Roles::default();
    let configured = base.readiness.condition(CONFIGURED);
    let sink_ready = base.readiness.condition(settings::SINK_READY);
    let deliverer_ready = base.readiness.condition(settings::DELIVERER_READY);
    let processor_ready = base.readiness.condition(settings::PROCESSOR_READY);
    let admin_ready = base.readiness.condition(settings::ADMIN_READY);
    let ingest_ready = base.readiness.condition(settings::INGEST_READY);
    roles.start("admin", |stop| {
        let (log, keys, clock) = (events.clone(), keyring.clone(), base.clock.clone());
        admin::run(admin, log, keys, clock, admin_ready, stop)
    });
    roles.start("sink", |stop| {
        let config = settings::sink(&up.sink, clickhouse);
        let ran = sink::run(config, events.clone(), base.clock.clone(), stop, sink_ready);
        async { Ok(ran.await?) }
    });
    roles.start("deliverer", |stop| {
        let config = settings::deliverer(&up.publishers);
        let (log, keys, clock) = (events.clone(), keyring.clone(), base.clock.clone());
        let ran = sink::publishers::run(config, log, keys, clock, stop, deliverer_ready);
        async { Ok(ran.await?) }
    });
    roles.start("processor", |stop| {
        let config = settings::processor(&up.processor);
        let (log, keys, clock) = (events.clone(), keyring.clone(), base.clock.clone());
        processor::run(config, log, keys, clock, stop, processor_ready)
    });
    roles.start("ingest", |stop| {
        let config = settings::ingest(&up.ingest, &up.domains);
        let (log, keys, clock) = (events.clone(), keyring.clone(), base.clock.clone());
        ingest::run(config, log, keys, clock, ingest_ready, stop)
    });

    let running = async {
        roles.until_ready(&base.readiness, &base.shutdown).await?;
        if let Some(documents) = documents {
            let admin = up.admin.admin_listen;
            tokio::select! {
                // Told to stop before the admin role was there: there is nobody to ask.
                biased;
                () = base.shutdown.wait() => return Ok(()),
                applied = crate::commands::apply_at_start(admin, &admin_token, documents) => applied?,
            }
        }
        configured.set(true);
        if !base.shutdown.is_triggered() {
            welcome::print(&up, &*events, &keyring).await?;
        }
        tokio::select! {
            outcome = roles.until_stopped(&base.shutdown) => outcome,
            // Only a new start finds out what the disk holds; until then everything would be 503.
            why = log.failed() => Err(ServiceError::Failed(why)),
        }
    }
    .await;
    let stopped = roles.stop().await;
    engine.stop().await;
    log.close().await;
    running.and(stopped)
}

/// Finds out about a taken port before anything is started; the roles still say so themselves
/// should one be taken in between.
fn refuse_taken_ports(up: &Up) -> Result<(), ServiceError> {
    let wanted: [(&str, &str, SocketAddr); 4] = [
        ("ingest", "--listen", up.ingest.listen),
        ("admin", "--admin-listen", up.admin.admin_listen),
        ("the warehouse", "--warehouse-listen", up.warehouse.warehouse_listen),
        ("metrics", "--metrics-listen", up.metrics.metrics_listen),
    ];
    let mut taken = HashMap::new();
    for (what, flag, address) in wanted {
        // Nobody asks for the metrics by a name that was printed before.
        if address.port() == 0 && flag != "--metrics-listen" {
            return Err(ServiceError::Configuration(format!(
                "{flag} {address}: {what} must be found by others, so choose a port"
            )));
        }
        // That one ends by itself, and is waited for.
        let is_predecessor = flag == "--warehouse-listen" && engine::is_running(&up.data.data);
        if address.port() != 0
            && let Some(other) = taken.insert(address, flag)
        {
            return Err(ServiceError::Configuration(format!(
                "{flag} and {other} are both {address}; choose two"
            )));
        }
        if !is_predecessor {
            service::http::check_free(address, what, flag)?;
        }
    }
    Ok(())
}

/// The child logs as we do.
pub fn logging_arguments(logging: &Logging) -> Vec<String> {
    let format = match logging.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    ["--log-format", format, "--log-filter", &logging.log_filter].map(str::to_owned).to_vec()
}

type RoleEnd = Result<(), ServiceError>;

/// The roles in this process, each with a switch of its own.
#[derive(Default)]
struct Roles {
    tasks: JoinSet<RoleEnd>,
    /// Those that have not ended.
    running: HashMap<Id, &'static str>,
    switches: Vec<(&'static str, Shutdown)>,
}

impl Roles {
    fn start<F>(&mut self, name: &'static str, role: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output = RoleEnd> + Send + 'static,
    {
        let stop = Shutdown::new();
        let task = self.tasks.spawn(role(stop.clone()));
        self.running.insert(task.id(), name);
        self.switches.push((name, stop));
    }

    /// Waits until every role can do its work (all but [`CONFIGURED`]), or until told to stop.
    async fn until_ready(&mut self, readiness: &Readiness, shutdown: &Shutdown) -> RoleEnd {
        let deadline = tokio::time::Instant::now() + READY_TIMEOUT;
        loop {
            let mut waiting = readiness.waiting_for();
            waiting.retain(|condition| *condition != CONFIGURED);
            if waiting.is_empty() || shutdown.is_triggered() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(ServiceError::Failed(format!(
                    "not ready within {} s; still waiting for {}",
                    READY_TIMEOUT.as_secs(),
                    waiting.join(", ")
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(READY_POLL) => {}
                Some(ended) = self.tasks.join_next_with_id() => self.ended_early(ended)?,
            }
        }
    }

    /// Waits for the signal to stop; a role that ends before is an error.
    async fn until_stopped(&mut self, shutdown: &Shutdown) -> RoleEnd {
        tokio::select! {
            () = shutdown.wait() => Ok(()),
            Some(ended) = self.tasks.join_next_with_id() => self.ended_early(ended),
        }
    }

    /// Takes note of a role's end: its name and outcome.
    fn ended(&mut self, ended: Result<(Id, RoleEnd), JoinError>) -> (&'static str, RoleEnd) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), Err(ServiceError::Failed(format!("a role died: {error}")))),
        };
        (self.running.remove(&id).unwrap_or("a role"), outcome)
    }

    fn ended_early(&mut self, ended: Result<(Id, RoleEnd), JoinError>) -> RoleEnd {
        let (name, outcome) = self.ended(ended);
        outcome.and(Err(ServiceError::Failed(format!("{name} ended without being told to"))))
    }

    /// Stops the roles one after the other, the last started first, and gives the first error.
    async fn stop(mut self) -> RoleEnd {
        let mut first = Ok(());
        for (name, switch) in std::mem::take(&mut self.switches).into_iter().rev() {
            switch.trigger();
            while self.running.values().any(|running| *running == name) {
                let Some(ended) = self.tasks.join_next_with_id().await else { break };
                let (_, outcome) = self.ended(ended);
                first = first.and(outcome);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn roles_stop_in_the_order_of_the_data() {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut roles = Roles::default();
        for name in ["admin", "sink", "processor", "ingest"] {
            let order = Arc::clone(&order);
            roles.start(name, |stop| async move {
                stop.wait().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        roles.stop().await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["ingest", "processor", "sink", "admin"]);
    }

    #[tokio::test]
    async fn a_role_that_fails_ends_the_process_with_its_own_error() {
        let mut roles = Roles::default();
        for name in ["admin", "ingest"] {
            roles.start(name, |stop| async move {
                stop.wait().await;
                Ok(())
            });
        }
        roles.start("sink", |_| async { Err(ServiceError::Configuration("wrong".to_owned())) });
        let outcome = roles.until_stopped(&Shutdown::new()).await;
        assert_eq!(outcome, Err(ServiceError::Configuration("wrong".to_owned())));
        // The others end, though the one that failed is not there to be waited for.
        assert_eq!(roles.stop().await, Ok(()));
    }
}
