//! The servers and loops that the product is measured against: the same libraries with nothing
//! of the product in them. Each runs as a process of its own, this binary with another word.

pub mod copy;
pub mod server;
pub mod shell;

use crate::work;
use anyhow::{Context as _, Result};
use clap::Subcommand;
use std::path::Path;
use std::process::Command;
use tests::process::Process;

/// What this binary can be instead of a measuring one.
#[derive(Debug, Subcommand)]
pub enum Side {
    /// A bare hyper server.
    #[command(hide = true)]
    Server(server::Arguments),
    /// A bare transactional copy loop on Apache Kafka.
    #[command(hide = true)]
    Copy(copy::Arguments),
    /// The product's HTTP server with nothing behind it.
    #[command(hide = true)]
    Shell(shell::Arguments),
    /// One piece of a postback's way, again and again.
    #[command(hide = true)]
    Work(work::Arguments),
}

impl Side {
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Server(arguments) => server::run(&arguments).await,
            Self::Copy(arguments) => copy::run(&arguments).await,
            Self::Shell(arguments) => shell::run(arguments).await,
            Self::Work(arguments) => work::run(&arguments),
        }
    }
}

/// Starts a side as a process of its own; it ends with the value.
pub fn start(name: &str, directory: &Path, arguments: &[&str]) -> Result<Process> {
    let this = std::env::current_exe().context("this binary cannot be found")?;
    Process::spawn(name, directory, Command::new(this).args(arguments))
}
