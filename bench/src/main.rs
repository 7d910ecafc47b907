//! `make bench`: measures the areas asked for, and draws the page of results.

use anyhow::{Context as _, Result, bail};
use bench::context::Context;
use bench::{areas, render, results};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Fewest runs whose median and spread mean something.
const DEFAULT_RUNS: usize = 5;

/// Measure gokart against its baselines and write bench/results.md.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Example: make bench ONLY=sink RUNS=7\nBuild with --release: a debug build measures nothing."
)]
struct Arguments {
    /// Areas to measure; all when none is named.
    #[arg(long, value_delimiter = ',', value_name = "AREA")]
    only: Vec<String>,
    /// Runs of each side, interleaved.
    #[arg(long, default_value_t = DEFAULT_RUNS, value_name = "N")]
    runs: usize,
    /// Name the areas and end.
    #[arg(long)]
    list: bool,
    /// Only draw bench/results.md anew from the results that are there.
    #[arg(long)]
    render: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
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
        if cfg!(debug_assertions) {
            bail!("this is a debug build, whose numbers mean nothing; run `make bench`");
        }
        for name in chosen(&arguments.only)? {
            measure_area(name, arguments.runs, &directory).await?;
        }
    }
    render::write(&directory)
}

async fn measure_area(name: &'static str, runs: usize, directory: &Path) -> Result<()> {
    let context = Context::new(name, runs)?;
    let lines = areas::measure(name, &context).await.with_context(|| format!("area {name}"))?;
    results::write(directory, &results::Area::new(name, lines)?)
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
