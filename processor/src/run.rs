//! One processor: follows the configuration, joins the group, and runs a loop for each partition
//! that it is given.

use crate::outputs::show_violations;
use crate::pipeline::{Context, run_partition};
use crate::{ProcessorConfig, ProcessorError};
use eventlog::follow::catalog::CatalogFeed;
use eventlog::patience::retried;
use eventlog::{EventLog, OwnedPartition, ProcessorEvent, ProcessorMember, ReadError, Stage};
use keyring::Keyring;
use schemas::Topic;
use service::{Clock, ReadyFlag, ServiceError, Shutdown};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// How often the group is asked for changes.
const MEMBERSHIP_WAIT: Duration = Duration::from_millis(100);
/// How often the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// Before a partition that was interrupted is asked for again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// Runs the processor until told to stop. `ready` is met once the configuration is read and the
/// group is joined. Nothing is decided before the configuration is caught up.
pub async fn run(
    config: ProcessorConfig,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    clock: Clock,
    shutdown: Shutdown,
    ready: ReadyFlag,
) -> Result<(), ServiceError> {
    let failed = |error: ReadError| ServiceError::Failed(format!("the processor: {error}"));
    let starting = async {
        let feed =
            retried("the configuration cannot be read", || CatalogFeed::start(&*log)).await?;
        let join = || log.join_stage(Stage::Processor);
        Ok((feed, retried("the processors cannot be joined", join).await?))
    };
    let (mut feed, member) = tokio::select! {
        () = shutdown.wait() => return Ok(()),
        started = starting => started.map_err(failed)?,
    };
    let context = Context {
        keyring,
        catalog: feed.subscribe(),
        clock,
        config,
        partitions: log.partitions(Topic::Postbacks),
    };
    show_violations();
    ready.set(true);
    let mut group = Group {
        log: Arc::clone(&log),
        member,
        context,
        shutdown: shutdown.clone(),
        running: BTreeMap::new(),
        to_reopen: BTreeSet::new(),
        tasks: JoinSet::new(),
        last_turn: 0,
        lag: tokio::spawn(async {}),
    };
    let following = async {
        while !shutdown.is_triggered() {
            match feed.advance().await {
                Ok(()) => {}
                // Passing, as it is for a partition: decisions go on with the configuration there is.
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(%reason, "the configuration cannot be read; trying again");
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    };
    // Both end together: without configuration no deciding, without deciding no process.
    let deciding = async {
        let outcome = group.serve().await;
        shutdown.trigger();
        outcome
    };
    let (followed, decided) = tokio::join!(
        async {
            let outcome = following.await;
            shutdown.trigger();
            outcome
        },
        deciding
    );
    ready.set(false);
    followed.and(decided)
}

/// Which loop ended, and how.
struct Ended {
    partition: u32,
    turn: u64,
    outcome: Result<(), ProcessorError>,
}

/// A partition's loop, seen from outside.
struct Running {
    /// Counts the loops of this process. A partition that comes back soon has a new loop before
    /// the old one, still in its last commit, has ended.
    turn: u64,
    stop: Shutdown,
    position: Arc<AtomicU64>,
}

struct Group {
    log: Arc<dyn EventLog>,
    member: Box<dyn ProcessorMember>,
    context: Context,
    shutdown: Shutdown,
    running: BTreeMap<u32, Running>,
    /// Interrupted, and not yet asked for again.
    to_reopen: BTreeSet<u32>,
    tasks: JoinSet<Ended>,
    last_turn: u64,
    /// The last measurement of the lag.
    lag: JoinHandle<()>,
}

/// Shows the records between each partition's position and its end.
async fn record_lag(log: Arc<dyn EventLog>, positions: Vec<(u32, Arc<AtomicU64>)>) {
    for (partition, position) in positions {
        // One that cannot be asked now keeps its last value.
        if let Ok(bounds) = log.bounds(Topic::Postbacks, partition).await {
            let lag = bounds.end.saturating_sub(position.load(Ordering::Relaxed));
            metrics::gauge!("gokart_processor_lag_records", "partition" => partition.to_string())
                .set(lag as f64);
        }
    }
}

impl Group {
    async fn serve(&mut self) -> Result<(), ServiceError> {
        let outcome = self.follow_group().await;
        for running in self.running.values() {
            running.stop.trigger();
        }
        // Each loop ends after its commit in flight.
        while self.tasks.join_next().await.is_some() {}
        outcome
    }

    async fn follow_group(&mut self) -> Result<(), ServiceError> {
        let mut last_lag = Instant::now();
        while !self.shutdown.is_triggered() {
            if last_lag.elapsed() >= LAG_INTERVAL && self.lag.is_finished() {
                last_lag = Instant::now();
                self.observe_lag();
            }
            self.reopen_interrupted().await?;
            while let Some(ended) = self.tasks.try_join_next() {
                self.partition_ended(ended)?;
            }
            match self.member.next_event(MEMBERSHIP_WAIT).await {
                Ok(Some(ProcessorEvent::Assigned(owned))) => self.start(owned),
                Ok(Some(ProcessorEvent::Revoked(partition))) => self.stop(partition),
                Ok(None) => {}
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(%reason, "the event log cannot be reached; trying again");
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                Err(error) => return Err(ServiceError::Failed(format!("the processor: {error}"))),
            }
        }
        Ok(())
    }

    fn start(&mut self, owned: Box<dyn OwnedPartition>) {
        let partition = owned.partition();
        tracing::info!(partition, offset = owned.next_offset(), "deciding a partition");
        let stop = Shutdown::new();
        let position = Arc::new(AtomicU64::new(owned.next_offset()));
        self.last_turn += 1;
        let turn = self.last_turn;
        let running = Running { turn, stop: stop.clone(), position: Arc::clone(&position) };
        if let Some(before) = self.running.insert(partition, running) {
            before.stop.trigger();
        }
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let outcome = run_partition(owned, context, position, stop).await;
            Ended { partition, turn, outcome }
        });
        self.report();
    }

    fn stop(&mut self, partition: u32) {
        tracing::info!(partition, "letting go of a partition");
        self.to_reopen.remove(&partition);
        if let Some(running) = self.running.remove(&partition) {
            running.stop.trigger();
        }
        self.report();
    }

    fn report(&self) {
        metrics::gauge!("gokart_processor_partitions").set(self.running.len() as f64);
    }

    /// Starts measuring how far each partition is behind. Beside the loop: a broker that is away
    /// answers after seconds for each partition, and neither the group nor the signal to stop waits.
    fn observe_lag(&mut self) {
        let positions: Vec<(u32, Arc<AtomicU64>)> = self
            .running
            .iter()
            .map(|(partition, running)| (*partition, Arc::clone(&running.position)))
            .collect();
        self.lag = tokio::spawn(record_lag(Arc::clone(&self.log), positions));
    }

    async fn reopen_interrupted(&mut self) -> Result<(), ServiceError> {
        let Some(partition) = self.to_reopen.pop_first() else { return Ok(()) };
        match self.member.reopen(partition).await {
            Ok(()) => Ok(()),
            Err(ReadError::Unavailable(reason)) => {
                tracing::warn!(partition, %reason, "the partition cannot be taken again yet");
                self.to_reopen.insert(partition);
                tokio::time::sleep(REOPEN_PAUSE).await;
                Ok(())
            }
            Err(error) => Err(ServiceError::Failed(format!("the processor: {error}"))),
        }
    }

    fn partition_ended(&mut self, ended: Result<Ended, JoinError>) -> Result<(), ServiceError> {
        let Ended { partition, turn, outcome } = ended.map_err(|error| {
            ServiceError::Failed(format!("the processor stops: a partition's loop died: {error}"))
        })?;
        let is_superseded = self.running.get(&partition).is_some_and(|now| now.turn != turn);
        match outcome {
            Ok(()) => {}
            // What became of the loop before says nothing about the one that has the partition now.
            Err(ProcessorError::Lost { .. } | ProcessorError::Interrupted { .. })
                if is_superseded => {}
            Err(error @ ProcessorError::Lost { .. }) => {
                tracing::info!(%error, "letting go");
                self.stop(partition);
            }
            Err(error @ ProcessorError::Interrupted { .. }) => {
                tracing::warn!(%error, "taking the partition again");
                metrics::counter!("gokart_processor_interruptions_total").increment(1);
                self.stop(partition);
                self.to_reopen.insert(partition);
            }
            Err(error @ ProcessorError::Fatal { .. }) => {
                return Err(ServiceError::Failed(error.to_string()));
            }
        }
        Ok(())
    }
}
