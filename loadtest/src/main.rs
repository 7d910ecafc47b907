//! `loadtest run` sends seeded clicks and postbacks to a gokart over HTTP, at a rate fixed in
//! advance or as fast as it goes, and remembers every postback that was accepted.
//! `loadtest verify` then looks each of them up in ClickHouse.
//!
//! Reading order: `cli` → `plan` → `run` → `schedule`, `mix`, `pool` → `worker` → `request` →
//! `connection` → `limit`, `http1`, `tcp` → `resend` → `record` → `report`, `html`; then `ledger` and `verify`.

use clap::Parser;
use std::process::ExitCode;

mod cli;
mod clickhouse;
mod connection;
mod expect;
mod html;
mod http1;
mod judge;
mod ledger;
mod limit;
mod mix;
mod plan;
mod plot;
mod pool;
mod record;
mod report;
mod request;
mod resend;
mod run;
mod schedule;
mod series;
mod target;
mod tcp;
mod template;
mod verify;
mod worker;

#[cfg(test)]
mod stall_test;

/// What went in did not come out as it should.
const EXIT_FAILED: u8 = 1;
/// The arguments do not fit each other, as clap answers for those that it checks itself.
const EXIT_USAGE: u8 = 2;

// One thread: those that send have runtimes of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Run(arguments) => match plan::Plan::new(*arguments) {
            Ok(plan) => run::execute(plan).await,
            Err(error) => {
                eprintln!("loadtest: {error:#}");
                return ExitCode::from(EXIT_USAGE);
            }
        },
        cli::Command::Verify(arguments) => verify::verify(&arguments).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
