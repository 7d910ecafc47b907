//! Tells a story: starts and kills the processes, turns the switches, lets everybody run, and in
//! the end lets the dust settle. One thread, and nothing sleeps: the runtime has no timer.

use super::history::{History, SharedHistory, lock};
use super::observed::{Machine, ObservedLog, SharedMachine};
use super::offers::{self, CLICK_POOL, KEYRING, LATE_VERSION, PARTITIONS, START};
use super::sender::{Outside, Parcel, SharedOutside, send};
use super::sink::{Progress, SharedProgress, Sink};
use super::story::{INGESTERS, SINKS, Step, Story, WORKERS, Weather};
use super::table::{SharedTables, Tables};
use super::{Broken, Flaw, judge};
use bytes::Bytes;
use eventlog::simulated::{Faults, Random, SimulatedLog};
use eventlog::{EventLog, Record};
use processor::ProcessorConfig;
use schemas::codec::{parse_body, split};
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use schemas::{
    CommandKind, ConfigDocument, ConfigMarker, ConfigRecord, Conversion, Decision, Input, Postback,
    Topic, UnixMillis,
};
use service::{Clock, Readiness, ServiceError, Shutdown};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Our own repeats come within seconds; an identity is remembered for minutes.
const REPEAT_WITHIN_MS: i64 = MINUTE_MS;
/// Turns after which somebody should have got somewhere.
const PATIENCE_ROUNDS: u64 = 30_000;
/// Time that passes when the dust settles: past every grace, hold, window and lifetime.
const SETTLE_MS: [i64; 6] = [0, HOUR_MS, DAY_MS, 8 * DAY_MS, 40 * DAY_MS, 400 * DAY_MS];

struct Worker {
    machine: SharedMachine,
    process: Option<JoinHandle<Result<(), ServiceError>>>,
}

pub struct Cluster {
    pub log: Arc<SimulatedLog>,
    pub history: SharedHistory,
    pub outside: SharedOutside,
    pub tables: SharedTables,
    pub progress: SharedProgress,
    workers: Vec<Worker>,
    sinks: Vec<Option<JoinHandle<()>>>,
    wall_ms: i64,
    worker_skew_ms: [i64; WORKERS],
    config_version: u64,
    random: Random,
    flaw: Flaw,
}

/// What a story came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Of everything that was decided and stored, in order.
    pub digest: u64,
    pub postbacks: usize,
    pub revisions: usize,
    pub commits: usize,
    pub repeated_rows: usize,
    /// Reasons of postbacks, of conversions, and effects of decisions by hand.
    pub reached: BTreeSet<&'static str>,
}

/// Tells a story to its end and judges it; a panic is a law broken too, so that it gets shorter.
pub fn tell(story: &Story, flaw: Flaw) -> Result<Ending, Broken> {
    catch_unwind(|| tell_it(story, flaw)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        Err(Broken::new("nobody panics", text.unwrap_or_default()))
    })
}

fn tell_it(story: &Story, flaw: Flaw) -> Result<Ending, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Broken::new("a runtime can be made", error.to_string()))?;
    runtime.block_on(async {
        let mut cluster = Cluster::new(story.seed, flaw);
        cluster.start().await?;
        for step in &story.steps {
            cluster.step(step).await?;
            cluster.check()?;
        }
        cluster.settle().await?;
        judge::judge(&cluster).await
    })
}

impl Cluster {
    fn new(seed: u64, flaw: Flaw) -> Self {
        let log = SimulatedLog::new(PARTITIONS, seed);
        let history: SharedHistory = Arc::new(Mutex::new(History::default()));
        let worker = |n: usize| Worker {
            machine: Arc::new(Mutex::new(Machine {
                disks: BTreeMap::new(),
                is_frozen: false,
                clock: Clock::manual(START.0),
                read_faults: 0,
                random: Random::new(seed ^ (0xd15c << n)),
                flaw,
                history: Arc::clone(&history),
            })),
            process: None,
        };
        let outside = Outside {
            log: Arc::clone(&log),
            wall_ms: START.0,
            skew_ms: [0; INGESTERS],
            acknowledged: Vec::new(),
            in_flight: 0,
            ids: 0,
            flaw,
            broken: None,
        };
        Self {
            workers: (0..WORKERS).map(worker).collect(),
            sinks: (0..SINKS).map(|_| None).collect(),
            outside: Arc::new(Mutex::new(outside)),
            tables: Arc::new(Mutex::new(Tables::new(seed, flaw != Flaw::RowsAreNotCollapsed))),
            progress: Arc::new(Mutex::new(Progress::default())),
            wall_ms: START.0,
            worker_skew_ms: [0; WORKERS],
            config_version: 0,
            random: Random::new(seed ^ 0xc1a5_7e12),
            log,
            history,
            flaw,
        }
    }

    async fn start(&mut self) -> Result<(), Broken> {
        self.apply().await?;
        for n in 0..WORKERS - 1 {
            self.start_worker(n);
        }
        self.start_sink(0);
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Broken> {
        match *step {
            Step::Send { click, event, transaction, rejects } => {
                // A click of an offer that is not there yet was never minted.
                if CLICK_POOL[click].resolved.config_version <= self.config_version {
                    self.send(Parcel::Postback { click, event, transaction, rejects });
                }
            }
            Step::Repeat { back } => self.repeat(back),
            Step::Redecide { back, preview } => {
                let newest = self.acknowledged_postback(back);
                if let Some(postback) = newest {
                    self.send(Parcel::Redecide { postback: Box::new(postback), preview });
                }
            }
            Step::Unreadable { partition } => {
                let value = Bytes::from_static(b"{\"v\":1,\"postback\":}");
                self.send(Parcel::Bytes { partition, value });
            }
            Step::Details { click } => self.send(Parcel::Details { click }),
            Step::Command { nth, approve, over_limit } => {
                let kind = match approve {
                    true => CommandKind::Approve { over_limit },
                    false => CommandKind::Reject,
                };
                if let Some(conversion) = self.decided_conversion(nth) {
                    self.send(Parcel::Command { conversion: Box::new(conversion), kind });
                }
            }
            Step::Apply => self.apply().await?,
            Step::Advance { ms } => self.advance(ms).await?,
            Step::IngesterClock { ingester, skew_ms } => {
                lock(&self.outside).skew_ms[ingester] = skew_ms;
            }
            Step::WorkerClock { worker, skew_ms } => {
                self.worker_skew_ms[worker] = skew_ms;
                self.set_clocks();
            }
            Step::Weather(weather) => self.set_weather(weather),
            Step::StartWorker(n) => self.start_worker(n),
            Step::CrashWorker(n) => self.crash_worker(n),
            Step::PauseWorker(n) => lock(&self.workers[n].machine).is_frozen = true,
            Step::ResumeWorker(n) => lock(&self.workers[n].machine).is_frozen = false,
            Step::LoseDisk(n) => {
                self.crash_worker(n);
                lock(&self.workers[n].machine).disks.clear();
            }
            Step::Move { partition, nth } => self.log.move_partition(partition, nth),
            Step::StartSink(n) => self.start_sink(n),
            Step::CrashSink(n) => self.crash_sink(n),
            Step::CrashEverything => self.crash_everything(),
            Step::Run { rounds } => run(rounds).await,
        }
        Ok(())
    }

    /// What must hold all the time: nobody died of itself, no law was broken on the way.
    fn check(&mut self) -> Result<(), Broken> {
        let broken = [
            lock(&self.history).broken.clone(),
            lock(&self.outside).broken.clone(),
            lock(&self.progress).broken.clone(),
        ];
        if let Some(broken) = broken.into_iter().flatten().next() {
            return Err(broken);
        }
        let ended = |worker: &Worker| worker.process.as_ref().is_some_and(JoinHandle::is_finished);
        match self.workers.iter_mut().find(|worker| ended(worker)) {
            None => Ok(()),
            Some(worker) => Err(Broken::new(
                "a processor stops only when it is told to",
                format!("{:?}", worker.process.take().map(futures_util::FutureExt::now_or_never)),
            )),
        }
    }

    fn send(&self, parcel: Parcel) {
        lock(&self.outside).in_flight += 1;
        drop(tokio::spawn(send(Arc::clone(&self.outside), parcel)));
    }

    fn repeat(&self, back: u64) {
        let outside = lock(&self.outside);
        let newest = outside.acknowledged.iter().rev().nth(back as usize).cloned();
        let wall_ms = outside.wall_ms;
        drop(outside);
        if let Some(it) = newest
            && wall_ms - it.received_at.0 <= REPEAT_WITHIN_MS
        {
            self.send(Parcel::Bytes { partition: it.partition, value: it.value });
        }
    }

    /// The newest postback but `back` that was acknowledged.
    fn acknowledged_postback(&self, back: u64) -> Option<Postback> {
        let outside = lock(&self.outside);
        let mut postbacks =
            outside.acknowledged.iter().rev().filter_map(|it| {
                match Input::decode(&it.value).ok()? {
                    Input::Postback(postback) => Some(postback),
                    _ => None,
                }
            });
        postbacks.nth(back as usize)
    }

    /// Some conversion among those decided so far.
    fn decided_conversion(&self, nth: u64) -> Option<Conversion> {
        let mut history = lock(&self.history);
        let outputs = (0..PARTITIONS)
            .flat_map(|p| history.past(p).taken.clone())
            .flat_map(|taken| taken.outputs)
            .filter(|(topic, ..)| *topic == Topic::Decisions);
        let conversions: Vec<_> =
            outputs.flat_map(|(.., value)| decision(&value).conversions).collect();
        let index = nth.checked_rem(conversions.len() as u64)?;
        conversions.into_iter().nth(index as usize)
    }

    /// Applies the next version of the configuration; the admin does not give up.
    async fn apply(&mut self) -> Result<(), Broken> {
        self.config_version += 1;
        let version = self.config_version;
        let documents = offers::documents(version, &mut self.random);
        let at = UnixMillis(self.wall_ms);
        let count = documents.len() as u32;
        let marker =
            ConfigMarker { version, apply: None, base: None, documents: count, applied_at: at };
        let documents = documents.into_iter().map(|document| {
            let document = document.at_version(version);
            ConfigRecord::Document(ConfigDocument { version, apply: None, document })
        });
        let record = |record: ConfigRecord| {
            let (key, value) = record.encode();
            Record { key: key.into(), value: value.into(), at }
        };
        let records: Vec<_> = documents.chain([ConfigRecord::Marker(marker)]).map(record).collect();
        for _ in 0..100 {
            if self.log.append(Topic::Config, 0, records.clone()).await.is_ok() {
                return Ok(());
            }
        }
        Err(Broken::new("an apply gets through", format!("version {version}")))
    }

    /// A request takes seconds: those under way end before more than that passes.
    async fn advance(&mut self, ms: i64) -> Result<(), Broken> {
        if ms >= MINUTE_MS {
            self.wait_for_senders().await?;
        }
        self.wall_ms += ms;
        self.set_clocks();
        Ok(())
    }

    async fn wait_for_senders(&self) -> Result<(), Broken> {
        for _ in 0..PATIENCE_ROUNDS {
            if lock(&self.outside).in_flight == 0 {
                return Ok(());
            }
            run(1).await;
        }
        Err(Broken::new("senders come to an end", "some request is never answered"))
    }

    fn set_clocks(&self) {
        lock(&self.outside).wall_ms = self.wall_ms;
        for (worker, skew_ms) in self.workers.iter().zip(self.worker_skew_ms) {
            lock(&worker.machine).clock.set(self.wall_ms + skew_ms);
        }
    }

    fn set_weather(&self, weather: Weather) {
        self.log.set_faults(Faults {
            append_unavailable: weather.append / 4,
            append_ack_lost: weather.append / 4,
            append_lost: weather.append / 4,
            append_ack_delayed: weather.append / 4,
            commit_unavailable: weather.commit / 3,
            commit_ack_lost: weather.commit / 3,
            commit_lost: weather.commit / 3,
        });
        for worker in &self.workers {
            lock(&worker.machine).read_faults = weather.read;
        }
        lock(&self.tables).faults = weather.insert;
    }

    fn start_worker(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if worker.process.is_some() {
            return;
        }
        lock(&worker.machine).is_frozen = false;
        let clock = lock(&worker.machine).clock.clone();
        let log = Arc::new(ObservedLog {
            inner: Arc::clone(&self.log) as Arc<dyn EventLog>,
            machine: Arc::clone(&worker.machine),
            catalog: Arc::default(),
        });
        let (keyring, ready) = (Arc::clone(&KEYRING), Readiness::new().condition("processor"));
        worker.process = Some(tokio::spawn(processor::run(
            ProcessorConfig::default(),
            log,
            keyring,
            clock,
            Shutdown::new(),
            ready,
        )));
    }

    fn crash_worker(&mut self, n: usize) {
        if let Some(process) = self.workers[n].process.take() {
            process.abort();
        }
    }

    fn start_sink(&mut self, n: usize) {
        let sink = Sink {
            log: Arc::clone(&self.log),
            tables: Arc::clone(&self.tables),
            progress: Arc::clone(&self.progress),
            commits_first: self.flaw == Flaw::SinkCommitsFirst,
        };
        self.sinks[n].get_or_insert_with(|| tokio::spawn(sink.run()));
    }

    fn crash_sink(&mut self, n: usize) {
        if let Some(process) = self.sinks[n].take() {
            process.abort();
        }
    }

    /// The log comes up again by itself; processors and sinks as the story has it.
    fn crash_everything(&mut self) {
        for n in 0..WORKERS {
            self.crash_worker(n);
        }
        for n in 0..SINKS {
            self.crash_sink(n);
        }
        self.log = self.log.crash();
        lock(&self.outside).log = Arc::clone(&self.log);
    }

    /// Everything is well again; whatever can happen by itself happens, until nothing does.
    async fn settle(&mut self) -> Result<(), Broken> {
        self.set_weather(Weather { append: 0, commit: 0, read: 0, insert: 0 });
        for n in 0..WORKERS {
            self.start_worker(n);
            lock(&self.workers[n].machine).is_frozen = false;
        }
        for n in 0..SINKS {
            self.start_sink(n);
        }
        self.wait_for_senders().await?;
        for ms in SETTLE_MS {
            self.advance(ms).await?;
            self.wait_for_quiet().await?;
        }
        Ok(())
    }

    /// Until every partition has been decided to its end at the present time, and stored.
    async fn wait_for_quiet(&mut self) -> Result<(), Broken> {
        let mut state = Vec::new();
        for _ in 0..PATIENCE_ROUNDS / 10 {
            run(10).await;
            self.check()?;
            state.clear();
            for partition in 0..PARTITIONS {
                state.push(self.unrest(partition).await?);
            }
            if state.iter().all(Option::is_none) {
                return Ok(());
            }
        }
        Err(Broken::new("the pipeline gets to the end of its work", format!("{state:?}")))
    }

    /// What is still to be done in a partition.
    async fn unrest(&self, partition: u32) -> Result<Option<String>, Broken> {
        let lost = |error: eventlog::ReadError| Broken::new("the log answers", error.to_string());
        let input = self.log.bounds(Topic::Postbacks, partition).await.map_err(lost)?.end;
        let output = self.log.bounds(Topic::Decisions, partition).await.map_err(lost)?.end;
        let (decided, quiet_at) = {
            let mut history = lock(&self.history);
            let past = history.past(partition);
            (past.taken.last().map_or(0, |taken| taken.next), past.quiet_at())
        };
        let stored = lock(&self.progress).done.get(&partition).copied().unwrap_or(0);
        // Processors' clocks differ; each has at least caught up with the slowest.
        let slowest = self.worker_skew_ms.iter().min().copied().unwrap_or(0);
        let now = UnixMillis(self.wall_ms + slowest);
        Ok(if decided < input {
            Some(format!("partition {partition}: decided {decided} of {input} records"))
        } else if quiet_at.is_none_or(|at| at < now) {
            Some(format!("partition {partition}: nobody looks at its timers"))
        } else if stored < output {
            Some(format!("partition {partition}: stored {stored} of {output} decisions"))
        } else {
            None
        })
    }

    /// A partition's state on every disk that is up to date, without the runtime's own keys.
    pub fn final_states(&self, partition: u32) -> Vec<BTreeMap<Vec<u8>, Vec<u8>>> {
        let written = lock(&self.history).past(partition).changelog.len();
        let mut states = Vec::new();
        for worker in &self.workers {
            let machine = lock(&worker.machine);
            if let Some(disk) = machine.disks.get(&partition) {
                let disk = lock(disk);
                if disk.applied == written {
                    let own = disk.entries.iter().filter(|(key, _)| key.first() != Some(&0));
                    states.push(own.map(|(key, value)| (key.clone(), value.clone())).collect());
                }
            }
        }
        states
    }
}

/// Lets everybody take so many turns.
async fn run(rounds: u64) {
    for _ in 0..rounds {
        tokio::task::yield_now().await;
    }
}

/// A record of the topic `decisions`.
pub fn decision(value: &[u8]) -> Decision {
    split(value)
        .and_then(|(version, _, body)| parse_body(version, body))
        .expect("the simulation reads only what encode wrote")
}

const _: () = assert!(LATE_VERSION > 1);
