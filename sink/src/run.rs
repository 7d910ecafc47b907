//! The sink from start to stop: set the tables up, join the group, then read, plan, flush.

use crate::backoff::Backoff;
use crate::client::insert_client;
use crate::columns::Tables;
use crate::config::{FlushLimits, SinkConfig};
use crate::decode::{Chunk, TOPICS};
use crate::erase::Eraser;
use crate::erased::Erased;
use crate::error::Error;
use crate::flush::{Flushed, Flusher};
use crate::measure::{Progress, Watch};
use crate::membership::Membership;
use crate::migrate::migrate_when_reachable;
use crate::plan::{Due, Planner};
use crate::readers::Readers;
use crate::recovery::recover;
use crate::store::Store;
use eventlog::{EventLog, ReadError};
use service::{Clock, ReadyFlag, Shutdown};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The consumer group of all sinks.
pub const GROUP: &str = "sink";
/// How often the sink looks whether its partitions changed.
const OWNERSHIP_CHECK: Duration = Duration::from_millis(100);

/// Runs until told to stop. `clock` dates dead letters and measures freshness; the age of a plan
/// goes by the machine's own time.
///
/// Waits for ever while ClickHouse or the log is away, except at the start
/// ([`SinkConfig::start_timeout`]); an error means that waiting does not help.
pub async fn run(
    config: SinkConfig,
    log: Arc<dyn EventLog>,
    clock: Clock,
    shutdown: Shutdown,
    ready: ReadyFlag,
) -> Result<(), Error> {
    config.validate()?;
    let migration = migrate_when_reachable(&config.clickhouse, config.start_timeout);
    let report = tokio::select! {
        report = migration => report?,
        () = shutdown.wait() => return Ok(()),
    };
    tracing::info!(
        clickhouse = config.clickhouse.url,
        database = config.clickhouse.database,
        files_applied = report.applied.len(),
        "the tables are up to date"
    );
    let progress = Progress::default();
    let _watch = Watch::start(Arc::clone(&log), Arc::clone(&progress), clock.clone());
    let client = insert_client(&config.clickhouse);
    let eraser = Eraser::new(&client, config.clickhouse.cluster.as_deref());
    let erased = Erased::default();
    // Before the first row, what was erased has to be known.
    let _following = tokio::select! {
        following = erased.follow(client.clone(), Arc::clone(&log)) => following,
        () = shutdown.wait() => return Ok(()),
    };
    let flusher = Flusher {
        store: Store {
            tables: Tables::new(client),
            is_cluster: config.clickhouse.cluster.is_some(),
            eraser,
            erased,
            log,
            clock,
        },
        shutdown,
        drain_timeout: config.drain_timeout,
    };
    let mut sink = Sink { flusher, limits: config.limits, started: Instant::now() };
    loop {
        let joined = tokio::select! {
            member = sink.join() => member?,
            () = sink.flusher.shutdown.wait() => return Ok(()),
        };
        let mut membership = Membership::new(joined, Arc::clone(&progress));
        ready.set(true);
        // A pass lasts for as long as the partitions stay the same.
        while sink.pass(&mut membership).await? == Flushed::Disturbed {}
        if sink.flusher.shutdown.is_triggered() {
            return Ok(());
        }
    }
}

struct Sink {
    flusher: Flusher,
    limits: FlushLimits,
    started: Instant,
}

impl Sink {
    async fn join(&self) -> Result<Box<dyn eventlog::GroupMember>, Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.flusher.store.log.join(GROUP, &TOPICS).await {
                Ok(member) => return Ok(member),
                Err(ReadError::Unavailable(problem)) => {
                    tracing::warn!(problem, "the event log cannot be joined; trying again");
                    backoff.wait().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Works on what is owned now: first what was left unfinished, then what is new. Comes back
    /// when that changed, when this member was left behind, or when told to stop.
    async fn pass(&mut self, membership: &mut Membership) -> Result<Flushed, Error> {
        membership.poll(OWNERSHIP_CHECK).await?;
        membership.settle();
        let recovery = recover(membership.owned().values())?;
        for plan in &recovery.plans {
            match self.flusher.replay(membership, plan).await? {
                Flushed::Done => {}
                other => return Ok(other),
            }
        }
        let (log, clock) = (&self.flusher.store.log, &self.flusher.store.clock);
        let mut readers = Readers::start(log, clock, &recovery.starts, self.limits);
        let mut planner = Planner::new(self.limits);
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut checked = Instant::now();
        loop {
            if checked.elapsed() >= OWNERSHIP_CHECK {
                membership.poll(Duration::ZERO).await?;
                checked = Instant::now();
            }
            if membership.changed() {
                return Ok(Flushed::Disturbed);
            }
            if self.flusher.shutdown.is_triggered() {
                return Ok(Flushed::Stopped);
            }
            let wait_ms = match planner.due(self.elapsed_ms()) {
                Due::Now(cause) => {
                    let plan = planner.close(uuid::Uuid::now_v7().simple().to_string());
                    let chunks = std::mem::take(&mut chunks);
                    match self.flusher.flush(membership, &plan, chunks).await? {
                        Flushed::Done => {}
                        other => return Ok(other),
                    }
                    metrics::counter!("gokart_sink_flushes_total", "cause" => cause.code())
                        .increment(1);
                    continue;
                }
                Due::At(at_ms) => at_ms.saturating_sub(self.elapsed_ms()).max(0),
                Due::Idle => i64::MAX,
            };
            let wait = Duration::from_millis(wait_ms.unsigned_abs()).min(OWNERSHIP_CHECK);
            tokio::select! {
                chunk = readers.next() => {
                    let chunk = chunk?;
                    let (rows, now_ms) = (chunk.rows.len(), self.elapsed_ms());
                    planner.add(chunk.source, chunk.range, rows, chunk.bytes, now_ms);
                    chunks.push(chunk);
                }
                () = tokio::time::sleep(wait) => {}
                () = self.flusher.shutdown.wait() => {}
            }
        }
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}
