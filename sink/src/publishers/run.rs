//! The deliverer from start to stop: one loop over the partitions that it owns, and a task for each
//! request under way.

use super::client::Caller;
use super::config::{DelivererConfig, READ_LIMIT};
use super::desk::{Begin, Desk, Finished, TurnError};
use super::gates::Gates;
use super::measure::{record_lag, record_oldest, record_overview};
use super::request;
use super::schedule::Answer;
use crate::backoff::unit;
use crate::error::Error;
use eventlog::follow::catalog::CatalogFeed;
use eventlog::patience::retried;
use eventlog::{
    CommitError, EventLog, OwnedPartition, ProcessorEvent, ProcessorMember, ReadError, ReadLimit,
    Stage,
};
use futures_util::future::join_all;
use keyring::{Keyring, WebhookSecret};
use schemas::{Catalog, DeliveryProblem, UnixMillis};
use service::{Clock, ReadyFlag, Shutdown};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// How often the group is asked for changes.
const MEMBERSHIP_EVERY: Duration = Duration::from_millis(50);
/// How long a turn waits for decisions: when the one before had something to do, and when not.
const WAIT_BUSY: Duration = Duration::from_millis(2);
const WAIT_IDLE: Duration = Duration::from_millis(40);
/// How often destinations that wait for room or for their rate are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Before something that failed passingly is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until told to stop. `ready` is met once the configuration is read and the group joined.
pub async fn run(
    config: DelivererConfig,
    log: Arc<dyn EventLog>,
    keyring: Arc<Keyring>,
    clock: Clock,
    shutdown: Shutdown,
    ready: ReadyFlag,
) -> Result<(), Error> {
    config.validate()?;
    let caller = Caller::new(&config)?;
    let starting = async {
        let feed =
            retried("the configuration cannot be read", || CatalogFeed::start(&*log)).await?;
        let join = || log.join_stage(Stage::Deliverer);
        Ok((feed, retried("the deliverers cannot be joined", join).await?))
    };
    let (mut feed, member) = tokio::select! {
        () = shutdown.wait() => return Ok(()),
        started = starting => started.map_err(|error: ReadError| Error::from(error))?,
    };
    let catalog = feed.subscribe();
    let (done, answers) = mpsc::unbounded_channel();
    let context = Arc::new(Context { gates: Gates::new(&config), caller, keyring, clock, done });
    ready.set(true);
    let mut deliverer = Deliverer {
        log,
        member,
        context,
        catalog,
        answers,
        owned: BTreeMap::new(),
        to_reopen: Vec::new(),
        last_turn: 0,
        lag: None,
        stopping: false,
    };
    let working = async {
        let outcome = deliverer.serve(&shutdown, config.drain_timeout).await;
        shutdown.trigger();
        outcome
    };
    let following = async {
        while !shutdown.is_triggered() {
            match feed.advance().await {
                Ok(()) => {}
                // Passing: deliveries go on with the configuration there is.
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(%reason, "the configuration cannot be read; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    shutdown.trigger();
                    return Err(Error::from(error));
                }
            }
        }
        Ok(())
    };
    let (worked, followed) = tokio::join!(working, following);
    ready.set(false);
    worked.and(followed)
}

/// What requests are made with.
struct Context {
    gates: Gates,
    caller: Caller,
    keyring: Arc<Keyring>,
    clock: Clock,
    /// Bounded by the requests that the gates admit.
    done: mpsc::UnboundedSender<Done>,
}

impl Context {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now())
    }
}

/// A request's end, for the turn of the partition that it began in.
struct Done {
    partition: u32,
    turn: u64,
    finished: Finished,
}

/// A partition, from when it was given to this process.
struct Owned {
    partition: Box<dyn OwnedPartition>,
    desk: Desk,
    looked: Instant,
    /// Counts what this process was given: answers of an earlier time are not for this one.
    turn: u64,
    answered: Vec<Finished>,
}

/// What a turn came to.
enum Turned {
    /// Requests to make; whether it had anything to do.
    Went(Vec<Begin>, bool),
    /// Somebody else has the partition.
    Lost(String),
    /// To be taken again.
    Interrupted(String),
    Fatal(Error),
}

struct Deliverer {
    log: Arc<dyn EventLog>,
    member: Box<dyn ProcessorMember>,
    context: Arc<Context>,
    catalog: watch::Receiver<Arc<Catalog>>,
    answers: mpsc::UnboundedReceiver<Done>,
    owned: BTreeMap<u32, Owned>,
    to_reopen: Vec<u32>,
    last_turn: u64,
    lag: Option<(Instant, JoinHandle<()>)>,
    stopping: bool,
}

impl Deliverer {
    async fn serve(&mut self, shutdown: &Shutdown, drain: Duration) -> Result<(), Error> {
        let mut asked = Instant::now();
        let mut wait = WAIT_IDLE;
        while !shutdown.is_triggered() {
            if self.owned.is_empty() || asked.elapsed() >= MEMBERSHIP_EVERY {
                asked = Instant::now();
                self.follow_group().await?;
            }
            let had_work = self.turn(wait).await?;
            wait = if had_work { WAIT_BUSY } else { WAIT_IDLE };
            self.measure();
        }
        self.stopping = true;
        let deadline = Instant::now() + drain;
        while self.owned.values().any(|it| it.desk.in_flight() > 0) && Instant::now() < deadline {
            self.turn(WAIT_BUSY).await?;
            tokio::time::sleep(WAIT_BUSY).await;
        }
        Ok(())
    }

    async fn follow_group(&mut self) -> Result<(), Error> {
        for partition in std::mem::take(&mut self.to_reopen) {
            match self.member.reopen(partition).await {
                Ok(()) => {}
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(partition, %reason, "the partition cannot be taken again yet");
                    self.to_reopen.push(partition);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut wait = if self.owned.is_empty() { MEMBERSHIP_EVERY } else { Duration::ZERO };
        loop {
            match self.member.next_event(wait).await {
                Ok(None) => return Ok(()),
                Ok(Some(ProcessorEvent::Assigned(owned))) => self.take(owned)?,
                Ok(Some(ProcessorEvent::Revoked(partition))) => {
                    tracing::info!(partition, "letting go of a partition");
                    self.owned.remove(&partition);
                }
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(%reason, "the event log cannot be reached; trying again");
                    tokio::time::sleep(PAUSE).await;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            wait = Duration::ZERO;
        }
    }

    fn take(&mut self, partition: Box<dyn OwnedPartition>) -> Result<(), Error> {
        let (number, offset) = (partition.partition(), partition.next_offset());
        tracing::info!(partition = number, offset, "delivering a partition");
        let desk = Desk::open(number, offset, partition.state(), &self.context.gates)?;
        self.last_turn += 1;
        let owned = Owned {
            partition,
            desk,
            looked: Instant::now(),
            turn: self.last_turn,
            answered: Vec::new(),
        };
        self.owned.insert(number, owned);
        Ok(())
    }

    /// One turn of every partition; whether any had something to do.
    async fn turn(&mut self, wait: Duration) -> Result<bool, Error> {
        while let Ok(Done { partition, turn, finished }) = self.answers.try_recv() {
            let destination = &finished.place.destination;
            self.context.gates.finished(destination, Some(&finished.answer), self.context.now());
            // Of a partition that was lost meanwhile: its new owner asks the publisher again.
            if let Some(owned) = self.owned.get_mut(&partition)
                && owned.turn == turn
            {
                owned.answered.push(finished);
            }
        }
        let catalog = Arc::clone(&self.catalog.borrow());
        let (context, stopping) = (&self.context, self.stopping);
        let turns = self.owned.iter_mut().map(|(number, owned)| {
            let catalog = &catalog;
            async move { (*number, owned.turn, owned.turn(context, catalog, wait, stopping).await) }
        });
        let mut had_work = false;
        for (partition, turn, turned) in join_all(turns).await {
            match turned {
                Turned::Went(begun, worked) => {
                    had_work |= worked;
                    for begin in begun {
                        self.start(partition, turn, begin, &catalog);
                    }
                }
                Turned::Lost(reason) => {
                    tracing::info!(partition, reason, "letting go of a partition");
                    self.owned.remove(&partition);
                }
                Turned::Interrupted(reason) => {
                    tracing::warn!(partition, reason, "taking the partition again");
                    metrics::counter!("gokart_delivery_interruptions_total").increment(1);
                    self.owned.remove(&partition);
                    self.to_reopen.push(partition);
                }
                Turned::Fatal(error) => return Err(error),
            }
        }
        Ok(had_work)
    }

    /// Makes a request in a task of its own.
    fn start(&self, partition: u32, turn: u64, begin: Begin, catalog: &Catalog) {
        let context = Arc::clone(&self.context);
        let secrets = secrets(&context.keyring, catalog, &begin);
        let header = header_value(&context.keyring, &begin);
        tokio::spawn(async move {
            let Begin { place, order, postback } = begin;
            let began_at = context.now();
            let request = header.and_then(|header| {
                let value = header.as_ref().map(|it| it.as_str());
                request::build(&order, &postback, &secrets, value, began_at)
            });
            let answer = match request {
                Ok(request) => context.caller.call(request, began_at).await,
                Err(problem) => Answer {
                    status: None,
                    problem: Some(problem),
                    retry_after_ms: None,
                    latency_ms: 0,
                },
            };
            let seconds = f64::from(answer.latency_ms) / 1_000.0;
            metrics::histogram!("gokart_delivery_attempt_seconds").record(seconds);
            let finished = Finished { place, answer, began_at, unit: unit() };
            // The deliverer has ended: whoever comes after it asks again.
            let _ = context.done.send(Done { partition, turn, finished });
        });
    }

    fn measure(&mut self) {
        let is_due = self
            .lag
            .as_ref()
            .is_none_or(|(at, task)| at.elapsed() >= MEASURE_EVERY && task.is_finished());
        if !is_due {
            return;
        }
        let now = self.context.now();
        record_overview(&self.context.gates.overview(now));
        let oldest = |owned: &Owned| owned.desk.oldest(owned.partition.state()).ok().flatten();
        record_oldest(self.owned.values().filter_map(oldest).min(), now);
        let positions = self.owned.iter().map(|(number, it)| (*number, it.partition.next_offset()));
        let task = tokio::spawn(record_lag(Arc::clone(&self.log), positions.collect()));
        self.lag = Some((Instant::now(), task));
    }
}

/// With what a publisher's requests are signed: each live version, under each master key.
fn secrets(keyring: &Keyring, catalog: &Catalog, begin: &Begin) -> Vec<WebhookSecret> {
    let message = &begin.order.message;
    let Some(publisher) = catalog.publisher(message.publisher_id.as_str()) else {
        return Vec::new();
    };
    let versions = publisher.secret_versions.iter();
    versions
        .flat_map(|version| keyring.webhook_secrets(&message.tenant, &publisher.id, *version))
        .collect()
}

/// The fixed header's value, opened; as it stands where it has not been sealed yet.
fn header_value(
    keyring: &Keyring,
    begin: &Begin,
) -> Result<Option<Zeroizing<String>>, DeliveryProblem> {
    let Some(header) = &begin.postback.header else { return Ok(None) };
    let stored = &header.value.0;
    if !keyring::is_sealed(stored) {
        return Ok(Some(Zeroizing::new(stored.clone())));
    }
    let owner = begin.place.destination.owner();
    keyring.open_text([&owner, &header.name], stored).map(Some).ok_or(DeliveryProblem::Key)
}

impl Owned {
    async fn turn(
        &mut self,
        context: &Context,
        catalog: &Catalog,
        wait: Duration,
        stopping: bool,
    ) -> Turned {
        if self.desk.wants_records() && !stopping {
            let limit = ReadLimit { wait, ..READ_LIMIT };
            match self.partition.read(limit).await {
                Ok(batch) => self.desk.give(batch.records, batch.next_offset),
                Err(error) => return Turned::from(error),
            }
        }
        let (now, gates) = (context.now(), &context.gates);
        let answered = std::mem::take(&mut self.answered);
        let settled = self.desk.settle(self.partition.state(), answered, (catalog, gates), now);
        let mut worked = false;
        match settled {
            Ok(None) => {}
            Ok(Some(commit)) => {
                worked = true;
                if let Err(error) = self.partition.commit(commit).await {
                    return Turned::from(error);
                }
            }
            Err(error) => return Turned::from(error),
        }
        if stopping {
            return Turned::Went(Vec::new(), worked);
        }
        if self.looked.elapsed() >= LOOK_AGAIN {
            self.looked = Instant::now();
            self.desk.look_again(now);
        }
        match self.desk.begin(self.partition.state(), (catalog, gates), now) {
            Ok(begun) => {
                let worked = worked || !begun.is_empty();
                Turned::Went(begun, worked)
            }
            Err(error) => Turned::from(error),
        }
    }
}

impl From<ReadError> for Turned {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(reason) => Self::Interrupted(reason),
            other => Self::Fatal(other.into()),
        }
    }
}

impl From<CommitError> for Turned {
    fn from(error: CommitError) -> Self {
        let reason = error.to_string();
        match error {
            CommitError::Fenced(_) => Self::Lost(reason),
            CommitError::Unavailable(_) | CommitError::Unknown(_) => Self::Interrupted(reason),
        }
    }
}

impl From<TurnError> for Turned {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Read(error) => error.into(),
            TurnError::Newer { partition, offset, source } => Self::Fatal(Error::UnknownRecord {
                topic: schemas::Topic::Decisions,
                partition,
                offset,
                source,
            }),
        }
    }
}
