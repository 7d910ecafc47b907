//! A run from its arguments to its report.

use crate::cli::RunArguments;
use crate::connection::{Connect, Tcp};
use crate::ledger::Ledger;
use crate::pool::Pool;
use crate::record::Recorder;
use crate::report::Report;
use crate::request::Links;
use crate::resend::{self, Resends};
use crate::schedule::{Pace, Schedule};
use crate::target;
use crate::template::Template;
use crate::worker::{Shared, lock, work};
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often the bar moves, and the ledger is written out.
const TICK: Duration = Duration::from_millis(200);

/// A run whose arguments fit each other.
pub struct Plan {
    arguments: RunArguments,
    links: Links,
    addresses: Vec<SocketAddr>,
}

impl Plan {
    /// Checks everything before anything is sent.
    pub fn new(arguments: RunArguments) -> Result<Self> {
        let tracking =
            arguments.tracking_link.iter().map(|url| Template::parse("the tracking link", url));
        ensure!(
            arguments.event.is_empty() || arguments.postback_url.len() == 1,
            "give one --postback-url for all --event, or one for each event and no --event"
        );
        let links = Links {
            tracking: tracking.collect::<Result<_>>()?,
            postbacks: postback_templates(&arguments)?,
            click_id_parameter: arguments.click_id_parameter.clone(),
        };
        let addresses = addresses(&links, &arguments)?;
        Ok(Self { arguments, links, addresses })
    }

    /// Runs; `false` when an answer was not what it should be, or nothing came at all.
    pub async fn execute(self) -> Result<bool> {
        let Self { arguments, links, addresses } = self;
        let ledger = arguments.ledger.as_deref().map(Ledger::create).transpose()?;
        let pace = arguments.rate.map_or(Pace::AsFastAsPossible, Pace::Rate);
        let duration = Duration::from_secs(arguments.duration_s);
        let shared = Arc::new(Shared {
            links,
            mix: arguments.mix,
            seed: arguments.seed,
            timeout: Duration::from_millis(arguments.timeout_ms),
            schedule: Schedule::new(Instant::now(), pace, duration, arguments.count),
            pool: Mutex::new(Pool::default()),
            recorder: Mutex::new(Recorder::new()),
            ledger: ledger.map(Mutex::new),
            resends: Resends::new(
                arguments.resend,
                Duration::from_millis(arguments.resend_after_ms),
            ),
            stopped: AtomicBool::new(false),
        });
        let watcher = tokio::spawn(watch(Arc::clone(&shared)));
        let sent = send(&shared, Tcp::new(addresses), arguments.connections).await;
        watcher.abort();
        if let Some(ledger) = &shared.ledger {
            lock(ledger).flush().context("the ledger cannot be written")?;
        }
        sent?;

        let report =
            Report::of(&lock(&shared.recorder), arguments.rate, shared.schedule.start().elapsed());
        println!("{}", report.table());
        if let Some(path) = &arguments.json {
            write_json(&report, path)?;
        }
        Ok(report.is_sound())
    }
}

/// One template an event, in order.
fn postback_templates(arguments: &RunArguments) -> Result<Vec<Template>> {
    let urls = &arguments.postback_url;
    if arguments.event.is_empty() {
        return urls.iter().map(|url| Template::parse_postback(url, None)).collect();
    }
    let of_event = |event: &String| Template::parse_postback(&urls[0], Some(event));
    arguments.event.iter().map(of_event).collect()
}

/// Where to connect: as told, else every URL must lead to one place.
fn addresses(links: &Links, arguments: &RunArguments) -> Result<Vec<SocketAddr>> {
    if !arguments.connect.is_empty() {
        let told = arguments.connect.iter();
        return told.map(|it| target::check(*it, arguments.allow_remote)).collect();
    }
    let authorities = links.tracking.iter().chain(&links.postbacks).map(|it| &it.authority);
    let addresses = authorities.map(|it| target::address_of(it, arguments.allow_remote));
    let addresses = addresses.collect::<Result<Vec<_>>>()?;
    let first = *addresses.first().context("no URL was given")?;
    ensure!(
        addresses.iter().all(|it| *it == first),
        "the URLs lead to different addresses; name one with --connect"
    );
    Ok(vec![first])
}

/// Runs the connections until each is done, and what is to be sent again has been.
pub async fn send<C: Connect>(shared: &Arc<Shared>, connect: C, connections: u64) -> Result<()> {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (shared, connect) = (Arc::clone(shared), connect.clone());
        workers.spawn(async move { work(&shared, connect).await });
    }
    let mut again = JoinSet::new();
    if shared.resends.is_on() {
        // As many again: what has piled up must not wait behind what is new, nor hold it up.
        for _ in 0..connections {
            let (shared, connect) = (Arc::clone(shared), connect.clone());
            again.spawn(async move { resend::work(&shared, connect).await });
        }
    }
    let joined = join_all(&mut workers).await;
    shared.resends.last_call();
    joined.and(join_all(&mut again).await)?;
    // The user wanted no more.
    lock(&shared.recorder).given_up += shared.resends.open() as u64;
    Ok(())
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
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    loop {
        tokio::time::sleep(TICK).await;
        let elapsed = shared.schedule.start().elapsed();
        bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        bar.set_message(progress(&shared, elapsed));
        if let Some(ledger) = &shared.ledger {
            // An error shows again at the end, where it is reported.
            let _ = lock(ledger).flush();
        }
    }
}

fn progress(shared: &Shared, elapsed: Duration) -> String {
    let taken = shared.schedule.taken();
    let recorder = lock(&shared.recorder);
    let per_second = recorder.all.total() as f64 / elapsed.as_secs_f64().max(0.001);
    let p99_ms = recorder.all.latency_micros.value_at_quantile(0.99) as f64 / 1000.0;
    let again = match shared.resends.open() {
        0 => String::new(),
        open => format!(", {open} to be sent again"),
    };
    format!("{taken} sent, {per_second:.0}/s, p99 {p99_ms:.1} ms, {} late{again}", recorder.late)
}

fn write_json(report: &Report, path: &PathBuf) -> Result<()> {
    let text = serde_json::to_string_pretty(report).context("the results are not JSON")?;
    std::fs::write(path, text + "\n")
        .with_context(|| format!("the results cannot be written to {}", path.display()))
}
