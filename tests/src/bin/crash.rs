//! Tells stories of misfortune on a real cluster of real processes, and judges what is left.
//!
//! A failing seed tells its story again with `crash --seed N` (and the same `--story`, `--seconds`).

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tests::crash::hosts::enter_namespace;
use tests::crash::run::{Settings, binaries, tell};
use tests::crash::story::{Chapter, Story};
use tests::{kafka, stack};

/// Breaks a real installation on Apache Kafka in every way, under load, and proves that nothing was
/// lost, doubled or decided wrongly.
#[derive(Debug, Parser)]
#[command(name = "crash")]
struct Cli {
    /// The story; further ones have the seeds after it.
    #[arg(long, env = "GOKART_CRASH_SEED", default_value_t = 1)]
    seed: u64,

    /// Tell stories for so long; 0: one story.
    #[arg(long, env = "GOKART_CRASH_MINUTES", value_name = "MINUTES", default_value_t = 0)]
    minutes: u64,

    /// What it is about.
    #[arg(long, env = "GOKART_CRASH_STORY", value_enum, default_value = "chaos")]
    story: Kind,

    /// How long faults come, or how long there is no broker.
    #[arg(long, env = "GOKART_CRASH_SECONDS", value_name = "SECONDS", default_value_t = 90,
          value_parser = clap::value_parser!(u64).range(1..=24 * 3600))]
    seconds: u64,

    /// Requests a second.
    #[arg(long, env = "GOKART_CRASH_RATE", value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,

    /// What processes are replaced with in a rolling restart; the same binary without it.
    #[arg(long, env = "GOKART_CRASH_OTHER_BINARY", value_name = "FILE")]
    other_binary: Option<PathBuf>,

    /// Have ClickHouse merge nothing, so that every row that was written again can be counted.
    #[arg(long)]
    keep_repeats: bool,

    /// Write what a story came to into this file, as JSON, however it ended.
    #[arg(long, env = "GOKART_CRASH_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Everything, in any order.
    Chaos,
    /// No broker at all for a while.
    Away,
    /// Every process is replaced in good order, one by one.
    Rolling,
    /// All three, one after the other.
    All,
}

impl Kind {
    fn chapters(self, seconds: u64) -> Vec<Chapter> {
        /// When all are told, the time without a broker is this share of the chaos.
        const AWAY_SHARE: u64 = 2;
        match self {
            Self::Chaos => vec![Chapter::Chaos(seconds)],
            Self::Away => vec![Chapter::Away(seconds)],
            Self::Rolling => vec![Chapter::Rolling],
            Self::All => vec![
                Chapter::Rolling,
                Chapter::Away((seconds / AWAY_SHARE).max(15)),
                Chapter::Chaos(seconds),
            ],
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = if cli.minutes > 0 { tell_many(&cli) } else { tell_one(&cli) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell_one(cli: &Cli) -> Result<()> {
    let Some(engine) = stack::engine_library() else { return Ok(()) };
    if !kafka::can_run() {
        return Ok(());
    }
    enter_namespace();
    let (binary, other_binary) = binaries(cli.other_binary.clone())?;
    let name = format!("gokart-crash-{}-{}", cli.seed, std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory)?;
    let settings = Settings {
        story: Story::of(cli.seed, &cli.story.chapters(cli.seconds)),
        rate: cli.rate,
        keep_repeats: cli.keep_repeats,
        binary,
        other_binary,
        engine,
        directory: directory.clone(),
    };
    // One thread, so that every process is a child of the one that lives as long as we do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(tell(&settings));
    let outcome = match &told {
        Ok(outcome) => outcome,
        Err(failure) => failure.outcome.as_ref(),
    };
    if let Some(path) = &cli.json {
        std::fs::write(path, serde_json::to_string(outcome)?)?;
    }
    match told {
        Ok(_) => std::fs::remove_dir_all(&directory).context("what was kept cannot be removed"),
        Err(failure) => bail!("{}\n\nagain: {}", failure.text, again(cli)),
    }
}

fn again(cli: &Cli) -> String {
    let (story, seconds, rate) = (cli.story.name(), cli.seconds, cli.rate);
    let more = if cli.keep_repeats { " --keep-repeats" } else { "" };
    format!("crash --seed {} --story {story} --seconds {seconds} --rate {rate}{more}", cli.seed)
}

/// One process a story, so that each has a network of its own.
fn tell_many(cli: &Cli) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(cli.minutes * 60);
    let json = std::env::temp_dir().join(format!("gokart-crash-{}.json", std::process::id()));
    let (mut seed, mut failed) = (cli.seed, Vec::new());
    let mut totals = [("faults", 0), ("postbacks", 0), ("rows", 0), ("repeated_rows", 0)];
    while Instant::now() < until {
        let status = one_of_many(cli, seed, &json)?;
        if status {
            let outcome: Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
            for (name, total) in &mut totals {
                *total += outcome[*name].as_u64().unwrap_or_default();
            }
        } else {
            failed.push(seed);
        }
        let sums = totals.iter().map(|(name, total)| format!("{total} {name}"));
        let told = seed - cli.seed + 1;
        println!("== {told} stories so far: {}", sums.collect::<Vec<_>>().join(", "));
        seed += 1;
    }
    let _ = std::fs::remove_file(&json);
    match failed.as_slice() {
        [] => Ok(()),
        seeds => bail!("these seeds ended badly: {seeds:?}"),
    }
}

fn one_of_many(cli: &Cli, seed: u64, json: &Path) -> Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--minutes", "0", "--seed", &seed.to_string(), "--story", &cli.story.name()])
        .args(["--seconds", &cli.seconds.to_string(), "--rate", &cli.rate.to_string()])
        .arg("--json")
        .arg(json);
    if cli.keep_repeats {
        command.arg("--keep-repeats");
    }
    if let Some(other) = &cli.other_binary {
        command.arg("--other-binary").arg(other);
    }
    Ok(command.status()?.success())
}
