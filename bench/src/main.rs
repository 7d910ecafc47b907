//! `make bench`: measures the areas asked for, and draws the page of results.

use anyhow::{Result, anyhow, bail, ensure};
use bench::bare::Side;
use bench::context::{Context, STORIES_FOR};
use bench::{areas, render, results};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Fewest runs whose median and spread mean something.
const DEFAULT_RUNS: usize = 5;

/// Measure gokart against its baselines and write bench/results.md.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Example: make bench ONLY=sink RUNS=7\n\
        Try:     cargo run --package bench -- --only log --runs 1 --scale 100"
)]
struct Arguments {
    /// Areas to measure; all when none is named.
    #[arg(long, value_delimiter = ',', value_name = "AREA")]
    only: Vec<String>,
    /// Runs of each side, interleaved.
    #[arg(long, default_value_t = DEFAULT_RUNS, value_name = "N")]
    runs: usize,
    /// Divide every size by this. Such a run is a trial: it prints its table and keeps nothing.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    scale: u64,
    /// Minutes for which `correctness` breaks things.
    #[arg(long, value_name = "N", default_value_t = STORIES_FOR.as_secs() / 60,
          value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// Name the areas and end.
    #[arg(long)]
    list: bool,
    /// Only draw bench/results.md anew from the results that are there.
    #[arg(long)]
    render: bool,
    #[command(subcommand)]
    side: Option<Side>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let done = match arguments.side.take() {
        Some(side) => side.run().await,
        None => run(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for area in areas::ALL {
            println!("{:<12} {}", area.name, area.about);
        }
        return Ok(());
    }
    let directory = directory();
    if !arguments.render {
        if cfg!(debug_assertions) && arguments.scale == 1 {
            bail!(
                "this is a debug build, whose numbers mean nothing; run `make bench`, or try an \
                 area with --scale 100"
            );
        }
        let mut incomplete = Vec::new();
        for name in chosen(&arguments.only)? {
            if !measure_area(name, arguments, &directory).await? {
                incomplete.push(name);
            }
        }
        if arguments.scale == 1 {
            render::write(&directory)?;
        }
        ensure!(incomplete.is_empty(), "NOT MEASURED in full: {}", incomplete.join(", "));
        return Ok(());
    }
    render::write(&directory)
}

/// Whether everything of an area was measured. What was is kept; an area of which there is nothing
/// keeps the results that it had.
async fn measure_area(name: &'static str, arguments: &Arguments, directory: &Path) -> Result<bool> {
    let stories_for = Duration::from_secs(arguments.minutes * 60);
    let context = Context::new(name, arguments.runs, arguments.scale)?;
    let context = context.with_stories_for(stories_for);
    let within = context.within();
    let measured = match tokio::time::timeout(within, areas::measure(name, &context)).await {
        Ok(measured) => measured,
        Err(_) => Err(anyhow!("the area's {} minutes are over", within.as_secs() / 60)),
    };
    let (lines, error) = match measured {
        Ok(lines) => (lines, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    lines.into_iter().for_each(|line| context.keep(line));
    let so_far = context.take();
    let not_measured = so_far.not_measured(error.as_ref());
    let lines = so_far.lines;
    for what in &not_measured {
        eprintln!("area {name}: NOT MEASURED: {what}");
    }
    let complete = not_measured.is_empty();
    if arguments.scale > 1 {
        println!("{}", render::table(&lines));
        for note in lines.iter().flat_map(|line| &line.notes) {
            println!("* {note}");
        }
    } else if !lines.is_empty() {
        results::write(directory, &results::Area::new(name, lines, not_measured)?)?;
    }
    Ok(complete)
}

/// The areas to measure, in the order of the list.
fn chosen(only: &[String]) -> Result<Vec<&'static str>> {
    if let Some(unknown) = only.iter().find(|name| !areas::ALL.iter().any(|it| it.name == **name)) {
        let known: Vec<&str> = areas::ALL.iter().map(|it| it.name).collect();
        bail!("there is no area {unknown:?}; there are: {}", known.join(", "));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
    Ok(areas::ALL.iter().map(|it| it.name).filter(|name| wanted(name)).collect())
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
