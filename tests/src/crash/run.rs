//! One story from the first broker to the verdict.

use super::check;
use super::director::{Director, Told};
use super::evidence::{Evidence, Witness};
use super::installation::{Installation, MASTER_KEYS};
use super::load::{Load, Sent};
use super::offers;
use super::probe::{Probe, Probed};
use super::story::{Member, Story};
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use keyring::Keyring;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Past every hold and grace.
const EIGHT_DAYS_MS: i64 = 8 * 24 * 60 * 60 * 1000;
/// Longest time for everything to be decided and shown once everything is well again.
const SETTLE_WITHIN: Duration = Duration::from_secs(180);
/// Longest time for the last postbacks to be taken once everything is well again; as long as the
/// story on top, for everything may have piled up in it.
const LAST_WITHIN: Duration = Duration::from_secs(120);
/// A load that ends so much before its time has failed.
const EARLY: Duration = Duration::from_secs(2);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// What to tell, and with what.
pub struct Settings {
    pub story: Story,
    /// Requests a second.
    pub rate: u64,
    pub binary: PathBuf,
    pub other_binary: PathBuf,
    pub engine: PathBuf,
    /// Where everything is kept.
    pub directory: PathBuf,
}

/// What a story came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub seed: u64,
    pub faults: usize,
    pub killed_inserting: usize,
    pub ended_by_themselves: usize,
    /// Sent for the first time, sent again, and answered 503 or not at all the first time.
    pub sent: u64,
    pub sent_again: u64,
    pub refused_at_first: u64,
    /// In the log, decided and shown.
    pub postbacks: usize,
    /// Records that a producer wrote again, and that were dropped when they were read.
    pub repeated_inputs: usize,
    pub revisions: usize,
    /// Rows that lie in ClickHouse more than once.
    pub repeated_rows: usize,
    pub rows: usize,
    pub ingest_memory_kib: u64,
    pub seconds: u64,
}

/// A difference, or something that went wrong on the way: what to print.
pub struct Failure(pub String);

/// Tells a story. `Err` has everything that is needed to look into it.
pub async fn tell(settings: &Settings) -> std::result::Result<Outcome, Failure> {
    let bar = ProgressBar::new(settings.story.end_ms / 1000);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {wide_msg}") {
        bar.set_style(style);
    }
    let mut told = Told::default();
    let result = tell_it(settings, &bar, &mut told).await;
    bar.finish_and_clear();
    result.map_err(|error| {
        let story: String = settings.story.events.iter().map(|it| format!("{it}\n")).collect();
        Failure(format!(
            "seed {}: {error:#}\n\nthe story:\n{story}\nwhat happened:\n{}\n\nthe logs of all \
             processes are kept in {}",
            settings.story.seed,
            told.lines.join("\n"),
            settings.directory.display()
        ))
    })
}

async fn tell_it(settings: &Settings, bar: &ProgressBar, told: &mut Told) -> Result<Outcome> {
    let began = Instant::now();
    let Settings { story, directory, .. } = settings;
    bar.set_message("starting Kafka and everything else");
    let mut here = Installation::prepare(directory, &settings.engine, &settings.binary)?;
    start(&mut here).await?;
    apply(&here, directory)?;
    let witness = Witness::connect(&here).await?;

    let duration = Duration::from_millis(story.end_ms);
    let mut load = Load::start(&here, story.seed, settings.rate, duration)?;
    let probe = Probe::start(&here)?;
    let mut director = Director::new(story, here.hosts.are_apart(), settings.other_binary.clone());
    let happened = direct(&mut director, &mut here, &mut load, bar, duration).await;
    *told = director.told;
    happened?;

    let sent = load.report()?;
    let probed = probe.finish().await;
    probed.keeps_the_promise(story)?;
    let ingest_memory_kib = memory(&mut here);

    bar.set_message("everything is decided and shown");
    settle(&mut here, &witness, false).await?;
    // Held conversions fire while a processor is away and another one takes over.
    let away = Member::Processor((story.seed % 2) as usize);
    here.kill(away)?;
    here.clock.advance_ms(EIGHT_DAYS_MS);
    here.start(away)?;
    bar.set_message("eight days later");
    let evidence = settle(&mut here, &witness, true).await?;
    let (all_there, said) = load.verify(&here)?;
    if !all_there {
        bail!("accepted postbacks are not in ClickHouse exactly once:\n{said}");
    }
    let outcome = Outcome {
        seed: story.seed,
        faults: told.faults,
        killed_inserting: told.killed_inserting,
        ended_by_themselves: told.ended_by_themselves,
        ingest_memory_kib,
        seconds: began.elapsed().as_secs(),
        ..outcome(&sent, &evidence)
    };
    println!("{}\n{said}\n{}", summary(&outcome), probed.summary(story));
    for member in Member::all().into_iter().rev().filter(|it| it.is_gokart()) {
        here.stop(member).await?;
    }
    Ok(outcome)
}

fn outcome(sent: &Sent, evidence: &Evidence) -> Outcome {
    let (postbacks, revisions) = (evidence.postbacks.len(), evidence.conversions.len());
    let rows = evidence.physical.0 + evidence.physical.1;
    Outcome {
        sent: sent.postbacks,
        sent_again: sent.resent,
        refused_at_first: sent.shed + sent.failed,
        postbacks,
        repeated_inputs: check::repeated_inputs(evidence),
        revisions,
        repeated_rows: rows - postbacks - revisions,
        rows,
        ..Outcome::default()
    }
}

/// What people read about a story that ended well.
#[must_use]
pub fn summary(it: &Outcome) -> String {
    format!(
        "seed {}: {} faults ({} times ClickHouse was killed inside an insert, {} processes ended by \
         themselves and were started again), {} s\n\
         {} postbacks sent, {} not taken at first, {} sent again; {} in the log ({} of them written \
         again by a producer), decided and shown exactly once, {} revisions as the naive rules say\n\
         {} physical rows, {} of them repeats (ratio {:.6}); ingesters took {} MiB at most",
        it.seed,
        it.faults,
        it.killed_inserting,
        it.ended_by_themselves,
        it.seconds,
        it.sent,
        it.refused_at_first,
        it.sent_again,
        it.postbacks,
        it.repeated_inputs,
        it.revisions,
        it.rows,
        it.repeated_rows,
        it.repeated_rows as f64 / it.rows.max(1) as f64,
        it.ingest_memory_kib / 1024,
    )
}

async fn start(here: &mut Installation) -> Result<()> {
    let all = Member::all();
    let (ours, brokers): (Vec<Member>, Vec<Member>) =
        all.into_iter().partition(|member| member.is_gokart());
    for members in [&brokers, &ours] {
        for member in members {
            here.start(*member)?;
            // The first of ours makes the topics and the tables.
            if matches!(member, Member::Warehouse | Member::Admin | Member::Sink(0)) {
                here.wait_ready(*member).await?;
            }
        }
        for member in members {
            here.wait_ready(*member).await?;
        }
    }
    Ok(())
}

fn apply(here: &Installation, directory: &Path) -> Result<()> {
    let path = directory.join("offers.yaml");
    std::fs::write(&path, offers::documents())?;
    here.ask(&["apply", &path.display().to_string()])?;
    Ok(())
}

async fn direct(
    director: &mut Director,
    here: &mut Installation,
    load: &mut Load,
    bar: &ProgressBar,
    duration: Duration,
) -> Result<()> {
    loop {
        let is_over = director.tick(here).await? && director.elapsed() >= duration;
        bar.set_position(director.elapsed().as_secs());
        if let Some(last) = director.told.lines.last() {
            bar.set_message(last.clone());
        }
        match (is_over, load.is_over()?) {
            (true, true) => return Ok(()),
            // It was too early, and its report says why.
            (false, true) if director.elapsed() + EARLY < duration => return Ok(()),
            _ => {}
        }
        ensure!(
            director.elapsed() < 2 * duration + LAST_WITHIN,
            "postbacks are still not taken {} s after everything was well again",
            (duration + LAST_WITHIN).as_secs()
        );
    }
}

/// The most that an ingester took.
fn memory(here: &mut Installation) -> u64 {
    let ingesters = Member::all().into_iter().filter(|it| matches!(it, Member::Ingest(_)));
    ingesters.filter_map(|it| here.memory_kib(it)).map(|(_, most)| most).max().unwrap_or_default()
}

/// Waits until everything is decided and shown, and everybody agrees; at the end nothing may be
/// pending any more.
async fn settle(here: &mut Installation, witness: &Witness, is_end: bool) -> Result<Evidence> {
    let keyring = Arc::new(Keyring::parse(MASTER_KEYS).context("the master keys")?);
    let began = Instant::now();
    loop {
        // A process may still end because of what happened before.
        for member in Member::all() {
            if here.take_ended(member)?.is_some() {
                here.start(member)?;
            }
        }
        let found = match witness.collect(here).await {
            Err(error) => vec![format!("{error:#}")],
            Ok(evidence) => {
                let mut found = check::differences(&evidence, &keyring);
                let pending = check::pending(&evidence);
                if is_end && pending > 0 {
                    found.push(format!("{pending} conversions are still pending"));
                }
                if found.is_empty() {
                    return Ok(evidence);
                }
                found
            }
        };
        if began.elapsed() > SETTLE_WITHIN {
            bail!("the first differences are\n{}", found.join("\n"));
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// The binaries of a run; the other one is the same unless it is named.
pub fn binaries(other: Option<PathBuf>) -> Result<(PathBuf, PathBuf)> {
    let binary = process::gokart_binary()?;
    let other = other.unwrap_or_else(|| binary.clone());
    let other = other.canonicalize().with_context(|| format!("no binary {}", other.display()))?;
    Ok((binary, other))
}

impl Probed {
    /// What people read about the time without brokers; empty when there was none.
    fn summary(&self, story: &Story) -> String {
        self.without_brokers(story).map_or(String::new(), |it| it.to_string())
    }
}
