//! `make bench`: measures the areas asked for, and draws the page of results.

use anyhow::{Context as _, Result, bail};
use bench::bare::Side;
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
        for name in chosen(&arguments.only)? {
            measure_area(name, arguments, &directory).await?;
        }
    }
    if arguments.scale > 1 {
        return Ok(());
    }
    render::write(&directory)
}

async fn measure_area(name: &'static str, arguments: &Arguments, directory: &Path) -> Result<()> {
    let context = Context::new(name, arguments.runs, arguments.scale)?;
    let lines = areas::measure(name, &context).await.with_context(|| format!("area {name}"))?;
    if arguments.scale > 1 {
        println!("{}", render::table(&lines));
        return Ok(());
    }
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
