//! Realistic load by the load tool: clicks and the events of one offer, in order.

use crate::context::Context;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tests::process::built;
use tests::stack::Stack;

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
const CONNECTIONS: &str = "128";

/// How fast.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Requests a second, whatever the answers do.
    Rate(u64),
    AsFastAsPossible,
}

/// Starts the role that listens again without a limit for each advertiser: one of them sends
/// everything here.
pub async fn without_rate(stack: &mut Stack, role: &'static str) -> Result<()> {
    stack.process(role)?.stop()?;
    stack.extra(role, &["--advertiser-rate", "10000000"]);
    stack.start_role(role).await
}

/// Runs the load tool for so many seconds and gives its report.
///
/// # Errors
///
/// When an answer was not what it should be, with what the tool said.
pub fn load(
    context: &Context,
    stack: &Stack,
    pace: Pace,
    seconds: u64,
    seed: usize,
    ledger: Option<&Path>,
) -> Result<Value> {
    let link = ["tracking-link", "--offer", OFFER, "--publisher", PUBLISHER];
    let link = address(&stack.gokart_json(&link)?["tracking_link"])?;
    let url = ["postback-url", "--advertiser", ADVERTISER, "--reveal"];
    let url = address(&stack.gokart_json(&url)?["url"])?;
    let report = context.scratch().join(format!("load-{}-{seed}.json", std::process::id()));
    let mut tool = Command::new(built("loadtest")?);
    tool.args(["run", "--tracking-link", &link, "--postback-url", &url])
        .args(["--connect", &stack.ingest.to_string(), "--connections", CONNECTIONS])
        .args(["--event", "Install", "--event", "s2s_level 200"])
        .args(["--mix", "click=1,valid=2,duplicate=1", "--seed", &seed.to_string()])
        .args(["--duration-s", &seconds.to_string(), "--json", &report.display().to_string()]);
    match pace {
        Pace::Rate(rate) => tool.args(["--rate", &rate.to_string()]),
        Pace::AsFastAsPossible => tool.arg("--as-fast-as-possible"),
    };
    if let Some(ledger) = ledger {
        tool.arg("--ledger").arg(ledger);
    }
    let output = tool.output().context("loadtest cannot be run")?;
    let said = || {
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    anyhow::ensure!(output.status.success(), "loadtest: {}", said());
    let text = std::fs::read_to_string(&report).with_context(|| format!("loadtest: {}", said()))?;
    Ok(serde_json::from_str(&text)?)
}

/// A URL as it is spoken on this machine: in front of gokart there is no TLS here.
fn address(url: &Value) -> Result<String> {
    let url = url.as_str().context("no URL")?;
    Ok(url.replacen("https://", "http://", 1))
}
