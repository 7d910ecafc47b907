//! The promise on Apache Kafka: everything is replaced one by one, Kafka is away for a while, then
//! anything may happen, all under load; in the end nothing is lost, doubled or decided wrongly.
//! `make crash` tells longer stories of other seeds.

use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};

const SEED: &str = "1";
/// How long anything may happen; everything around it takes two minutes more.
const SECONDS: &str = "25";

#[test]
fn whatever_happens_nothing_is_lost_or_doubled() -> Result<()> {
    let status = Command::new(env!("CARGO_BIN_EXE_crash"))
        .args(["--story", "all", "--seed", SEED, "--seconds", SECONDS])
        .stdin(Stdio::null())
        .status()
        .context("the harness cannot be run")?;
    ensure!(status.success(), "the harness ended with {status}; what it says is above");
    Ok(())
}
