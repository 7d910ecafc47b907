//! The one binary: reads the command line and hands over to a role or a command.

mod cli;
mod client;
mod commands;
mod data_dir;
mod engine;
mod kafka_log;
mod rekey;
mod replay;
mod roles;
mod settings;
mod up;
mod welcome;

use clap::Parser;
use cli::{Cli, Command, flags};
use service::ServiceError;
use service::logging::{self, LogFormat};
use std::process::ExitCode;
use std::time::Duration;

/// Requests and records are many small allocations that one thread makes and another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long blocking calls may still take when everything has been stopped.
const ABANDON_AFTER: Duration = Duration::from_secs(2);

/// What is logged by a command that people wait for.
const QUIET: &str = "warn";

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gokart: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, ServiceError> {
    let format = match cli.logging.log_format {
        flags::LogFormat::Text => LogFormat::Text,
        flags::LogFormat::Json => LogFormat::Json,
    };
    let filter = match (&cli.command, cli.logging.log_filter.as_str()) {
        // It borrows the roles, and people look at its progress.
        (Command::Replay(_) | Command::Rekey(_), flags::LOG_FILTER) => QUIET,
        (_, filter) => filter,
    };
    logging::init(format, filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| ServiceError::Failed(format!("no async runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Up(it) => up::run(*it, &cli.logging).await?,
            Command::Ingest(it) => roles::ingest(*it).await?,
            Command::Processor(it) => roles::processor(*it).await?,
            Command::Sink(it) => roles::sink(*it).await?,
            Command::Admin(it) => roles::admin(*it).await?,
            Command::Warehouse(it) => roles::warehouse(*it).await?,
            Command::Rekey(it) => rekey::run(*it).await?,
            Command::Replay(it) => replay::run(*it, &cli.logging).await?,
            Command::Ask(ask) => return Ok(commands::run(ask).await),
        }
        Ok(ExitCode::SUCCESS)
    });
    // Whatever is worth waiting for has been waited for; a call to a broker that is away is not.
    runtime.shutdown_timeout(ABANDON_AFTER);
    outcome
}
