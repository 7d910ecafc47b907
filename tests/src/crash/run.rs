//! One story from the first broker to the verdict.

use super::check;
use super::counted::Counted;
use super::director::{Director, Told};
use super::evidence::{Evidence, Witness};
use super::installation::{Installation, MASTER_KEYS};
use super::load::Load;
use super::offers;
use super::probe::{Probe, Probed};
use super::story::{Member, Story};
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use keyring::Keyring;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// ClickHouse merges nothing, so that every repeat can be counted in the end.
    pub keep_repeats: bool,
    pub binary: PathBuf,
    pub other_binary: PathBuf,
    pub engine: PathBuf,
    /// Where everything is kept.
    pub directory: PathBuf,
}

/// What a story came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub seed: u64,
    /// Everything held. Otherwise what was not found out is zero.
    pub ended_well: bool,
    pub faults: usize,
    /// The same, each kind by itself.
    pub faults_by_kind: BTreeMap<String, usize>,
    /// Whether hosts could be cut off; if not, those were suspended.
    pub could_cut: bool,
    /// Postbacks that were answered 2xx, and those of them that the views show exactly once.
    pub accepted: u64,
    pub there_once: u64,
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

/// A difference, or something that went wrong on the way: what to print, and what is known.
pub struct Failure {
    pub text: String,
    pub outcome: Box<Outcome>,
}

/// Tells a story. `Err` has everything that is needed to look into it.
pub async fn tell(settings: &Settings) -> std::result::Result<Outcome, Failure> {
    let bar = ProgressBar::new(settings.story.end_ms / 1000);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {wide_msg}") {
        bar.set_style(style);
    }
    let mut told = Told::default();
    let mut outcome = Outcome { seed: settings.story.seed, ..Outcome::default() };
    let result = tell_it(settings, &bar, &mut told, &mut outcome).await;
    bar.finish_and_clear();
    match result {
        Ok(()) => Ok(Outcome { ended_well: true, ..outcome }),
        Err(error) => {
            let story: String = settings.story.events.iter().map(|it| format!("{it}\n")).collect();
            let text = format!(
                "seed {}: {error:#}\n\nthe story:\n{story}\nwhat happened:\n{}\n\nthe logs of \
                 all processes are kept in {}",
                settings.story.seed,
                told.lines.join("\n"),
                settings.directory.display()
            );
            Err(Failure { text, outcome: Box::new(outcome) })
        }
    }
}

async fn tell_it(
    settings: &Settings,
    bar: &ProgressBar,
    told: &mut Told,
    outcome: &mut Outcome,
) -> Result<()> {
    let began = Instant::now();
    let Settings { story, directory, .. } = settings;
    bar.set_message("starting Kafka and everything else");
    let mut here = Installation::prepare(directory, &settings.engine, &settings.binary)?;
    start(&mut here).await?;
    if settings.keep_repeats {
        keep_repeats(&here).await?;
    }
    apply(&here, directory)?;
    let witness = Witness::connect(&here).await?;

    let duration = Duration::from_millis(story.end_ms);
    let mut load = Load::start(&here, story.seed, settings.rate, duration)?;
    let probe = Probe::start(&here)?;
    outcome.could_cut = here.hosts.are_apart();
    let mut director = Director::new(story, outcome.could_cut, settings.other_binary.clone());
    let happened = direct(&mut director, &mut here, &mut load, bar, duration).await;
    *told = director.told;
    happened?;
    outcome.faults = told.faults;
    outcome.killed_inserting = told.killed_inserting;
    outcome.ended_by_themselves = told.ended_by_themselves;
    for event in &story.events {
        *outcome.faults_by_kind.entry(event.fault.kind().to_owned()).or_default() += 1;
    }

    let sent = load.report()?;
    outcome.sent = sent.postbacks;
    outcome.sent_again = sent.resent;
    outcome.refused_at_first = sent.shed + sent.failed;
    let probed = probe.finish().await;
    outcome.ingest_memory_kib = memory(&mut here);
    let judged = judge(story, &mut here, &witness, &probed, bar).await;
    // Whatever else is wrong, what was accepted and what is there can be counted.
    let (all_there, said) = load.verify(&here)?;
    if let Some(Counted { accepted, there_once }) = Counted::read(&said) {
        (outcome.accepted, outcome.there_once) = (accepted, there_once);
    }
    add_evidence(outcome, &judged?);
    if !all_there {
        bail!("accepted postbacks are not in ClickHouse exactly once:\n{said}");
    }
    outcome.seconds = began.elapsed().as_secs();
    println!("{}\n{said}\n{}", summary(outcome), probed.summary(story));
    for member in Member::all().into_iter().rev().filter(|it| it.is_gokart()) {
        here.stop(member).await?;
    }
    Ok(())
}

/// Waits until everything is decided and shown; and again eight days later.
async fn judge(
    story: &Story,
    here: &mut Installation,
    witness: &Witness,
    probed: &Probed,
    bar: &ProgressBar,
) -> Result<Evidence> {
    probed.keeps_the_promise(story)?;
    bar.set_message("everything is decided and shown");
    settle(here, witness, false).await?;
    // Held conversions fire while a processor is away and another one takes over.
    let away = Member::Processor((story.seed % 2) as usize);
    here.kill(away)?;
    here.clock.advance_ms(EIGHT_DAYS_MS);
    here.start(away)?;
    bar.set_message("eight days later");
    settle(here, witness, true).await
}

/// Parts of tables stay as they were inserted, also when ClickHouse is started again.
async fn keep_repeats(here: &Installation) -> Result<()> {
    for table in ["postbacks", "conversions"] {
        here.sql(&format!(
            "ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, \
             max_bytes_to_merge_at_min_space_in_pool = 1, parts_to_delay_insert = 1000000, \
             parts_to_throw_insert = 1000000"
        ))
        .await?;
    }
    Ok(())
}

fn add_evidence(outcome: &mut Outcome, evidence: &Evidence) {
    outcome.postbacks = evidence.postbacks.len();
    outcome.revisions = evidence.conversions.len();
    outcome.rows = evidence.physical.0 + evidence.physical.1;
    outcome.repeated_inputs = check::repeated_inputs(evidence);
    outcome.repeated_rows = outcome.rows - outcome.postbacks - outcome.revisions;
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
