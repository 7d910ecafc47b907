//! A run from its plan to its report.

use crate::connection::{Connect, Connection};
use crate::html;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::record::Recorder;
use crate::report::Report;
use crate::resend::{self, Resends};
use crate::schedule::Schedule;
use crate::worker::{Shard, Shared, lock, work};
use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often the bar moves, and the ledger is written out.
const TICK: Duration = Duration::from_millis(500);
/// Threads do not begin at the same moment; the schedule begins when they have.
const BEGIN_AFTER: Duration = Duration::from_millis(50);

/// How many connections a run has, and of which kind.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    pub connections: u64,
    /// Requests at once on each HTTP/2 connection; none: HTTP/1.1.
    pub streams: Option<u64>,
}

/// Runs; `false` when an answer was not what it should be, or nothing came at all.
pub async fn execute(plan: Plan) -> Result<bool> {
    let names = plan.names();
    let Plan { arguments, links, connect, pace, duration } = plan;
    let ledger =
        arguments.ledger.as_deref().map(|path| Ledger::create(path, &names)).transpose()?;
    let schedule = Schedule::new(Instant::now() + BEGIN_AFTER, pace, duration, arguments.count);
    let lines = Lines {
        connections: arguments.connections,
        streams: arguments.http2.then_some(arguments.streams),
    };
    let threads = arguments.threads.unwrap_or_else(half_of_the_cores).min(lines.connections) as u8;
    let shard = |number| Shard {
        number,
        pool: Mutex::new(Pool::default()),
        recorder: Mutex::new(Recorder::new(duration, &schedule.parts())),
        resends: Resends::new(arguments.resend, Duration::from_millis(arguments.resend_after_ms)),
    };
    let shared = Arc::new(Shared {
        links,
        mix: arguments.mix,
        seed: arguments.seed,
        timeout: Duration::from_millis(arguments.timeout_ms),
        shards: (0..threads).map(shard).collect(),
        schedule,
        ledger: ledger.map(Mutex::new),
        stopped: AtomicBool::new(false),
    });
    let watcher = tokio::spawn(watch(Arc::clone(&shared)));
    let cpu_before = cpu_time();
    let sent = send_by_threads(&shared, &connect, lines).await;
    let cpu = cpu_time().saturating_sub(cpu_before);
    watcher.abort();
    if let Some(ledger) = &shared.ledger {
        lock(ledger).flush().context("the ledger cannot be written")?;
    }
    sent?;

    let elapsed = shared.schedule.start().elapsed();
    let bound = Duration::from_millis(arguments.knee_p999_ms);
    let report = Report::of(&shared.recorded(), arguments.rate, elapsed, cpu, bound);
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).context("the results are not JSON")?;
        write(path, &(text + "\n"))?;
    }
    if let Some(path) = &arguments.html {
        write(path, &html::page(&report))?;
    }
    Ok(report.is_sound())
}

/// CPU time of this process and all its threads so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn half_of_the_cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |it| (it.get() as u64 / 2).clamp(1, 64))
}

/// Runs each shard in a thread of its own, with its part of the connections.
async fn send_by_threads<C: Connect>(
    shared: &Arc<Shared>,
    connect: &C,
    lines: Lines,
) -> Result<()> {
    let count = shared.shards.len() as u64;
    let mut threads = JoinSet::new();
    for number in 0..shared.shards.len() {
        let share =
            lines.connections / count + u64::from((number as u64) < lines.connections % count);
        let (shared, connect) = (Arc::clone(shared), connect.clone());
        let lines = Lines { connections: share, ..lines };
        let (ended, wait) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name(format!("sender {number}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let done = match runtime {
                Ok(runtime) => runtime.block_on(send(&shared, number, connect, lines)),
                Err(error) => Err(error.into()),
            };
            let _ = ended.send(done);
        })?;
        threads.spawn(wait);
    }
    let mut outcome = Ok(());
    while let Some(ended) = threads.join_next().await {
        let ended = ended?.map_err(|_| anyhow!("a thread that sends broke"));
        outcome = outcome.and(ended.flatten());
    }
    outcome
}

/// Runs the connections of one shard until each is done, and what is to be sent again has been.
pub async fn send<C: Connect>(
    shared: &Arc<Shared>,
    shard: usize,
    connect: C,
    lines: Lines,
) -> Result<()> {
    let mut workers = JoinSet::new();
    for connection in connections(&connect, shared.timeout, lines) {
        let shared = Arc::clone(shared);
        workers.spawn(async move { work(&shared, &shared.shards[shard], connection).await });
    }
    let resends = &shared.shards[shard].resends;
    let mut again = JoinSet::new();
    if resends.is_on() {
        // As many again: what has piled up must not wait behind what is new, nor hold it up.
        for connection in connections(&connect, shared.timeout, lines) {
            let shared = Arc::clone(shared);
            again.spawn(
                async move { resend::work(&shared, &shared.shards[shard], connection).await },
            );
        }
    }
    let joined = join_all(&mut workers).await;
    resends.last_call();
    joined.and(join_all(&mut again).await)?;
    // The user wanted no more.
    lock(&shared.shards[shard].recorder).given_up += resends.open() as u64;
    Ok(())
}

fn connections<C: Connect>(
    connect: &C,
    timeout: Duration,
    lines: Lines,
) -> impl Iterator<Item = Connection<C>> {
    (0..lines.connections).flat_map(move |_| match lines.streams {
        Some(streams) => Connection::http2(connect.clone(), timeout, streams).collect::<Vec<_>>(),
        None => vec![Connection::http1(connect.clone(), timeout)],
    })
}

async fn join_all(workers: &mut JoinSet<std::io::Result<()>>) -> Result<()> {
    while let Some(ended) = workers.join_next().await {
        ended.context("a connection's task broke")?.context("the ledger cannot be written")?;
    }
    Ok(())
}

/// Moves the bar when a person is looking, writes the ledger out, and stops at Ctrl-C.
async fn watch(shared: Arc<Shared>) {
    let stop = Arc::clone(&shared);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stopped.store(true, Ordering::Relaxed);
        }
    });
    let millis = u64::try_from((shared.schedule.end() - shared.schedule.start()).as_millis());
    // Hidden by itself when standard error is not a terminal.
    let bar = ProgressBar::new(millis.unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    loop {
        tokio::time::sleep(TICK).await;
        if !bar.is_hidden() {
            let elapsed = shared.schedule.start().elapsed();
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(progress(&shared));
        }
        if let Some(ledger) = &shared.ledger {
            // An error shows again at the end, where it is reported.
            let _ = lock(ledger).flush();
        }
    }
}

/// How it goes, by the last whole second.
fn progress(shared: &Shared) -> String {
    let recorder = shared.recorded();
    let intervals = recorder.series.intervals();
    let last = intervals.len().checked_sub(2).and_then(|at| intervals.get(at));
    let now = last.map_or(String::new(), |it| {
        let (rate, p50, p99) = (it.answered_per_s, it.p50_ms, it.p99_ms);
        format!(", {rate:.0}/s, p50 {p50:.1} ms, p99 {p99:.1} ms")
    });
    let again = match shared.shards.iter().map(|it| it.resends.open()).sum::<usize>() {
        0 => String::new(),
        open => format!(", {open} to be sent again"),
    };
    format!("{} sent{now}, {} late{again}", shared.schedule.taken(), recorder.late)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)
        .with_context(|| format!("the results cannot be written to {}", path.display()))
}
