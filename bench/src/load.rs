//! Realistic load by the load tool: clicks and the events of one offer, in order.

use crate::context::Context;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tests::process::built;
use tests::stack::Stack;

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
const CONNECTIONS: &str = "128";
/// A click id as long as gokart's.
const CLICK_ID_CHARS: usize = 120;

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

/// Where a bare server sends every click: to an app, with a click id as long as the product's.
#[must_use]
pub fn bare_location() -> String {
    format!("https://app.test/?id={}", "c".repeat(CLICK_ID_CHARS))
}

/// Whom the load tool asks, and for what.
struct Asked<'a> {
    tracking_link: String,
    postback_url: String,
    /// The product's, whatever host the links name.
    connect: Option<SocketAddr>,
    mix: &'a str,
}

/// Runs the load tool for so many seconds on a bare server that sends clicks to [`bare_location`],
/// with nothing but clicks, and gives its report.
///
/// # Errors
///
/// When an answer was not what it should be, with what the tool said.
pub fn load_bare(
    context: &Context,
    server: SocketAddr,
    pace: Pace,
    seconds: u64,
    seed: usize,
) -> Result<Value> {
    let base = format!("http://localhost:{}", server.port());
    let asked = Asked {
        tracking_link: format!("{base}/c/x"),
        postback_url: format!("{base}/p?signature=s&cnv_event_id=e"),
        connect: None,
        mix: "click=1",
    };
    run(context, &asked, pace, seconds, seed, None)
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
    let tracking_link = address(&stack.gokart_json(&link)?["tracking_link"])?;
    let url = ["postback-url", "--advertiser", ADVERTISER, "--reveal"];
    let postback_url = address(&stack.gokart_json(&url)?["url"])?;
    let (connect, mix) = (Some(stack.ingest), "click=1,valid=2,duplicate=1");
    run(context, &Asked { tracking_link, postback_url, connect, mix }, pace, seconds, seed, ledger)
}

fn run(
    context: &Context,
    asked: &Asked<'_>,
    pace: Pace,
    seconds: u64,
    seed: usize,
    ledger: Option<&Path>,
) -> Result<Value> {
    let report = context.scratch().join(format!("load-{}-{seed}.json", std::process::id()));
    let mut tool = Command::new(built("loadtest")?);
    tool.args(["run", "--tracking-link", &asked.tracking_link])
        .args(["--postback-url", &asked.postback_url, "--connections", CONNECTIONS])
        .args(["--event", "Install", "--event", "s2s_level 200"])
        .args(["--mix", asked.mix, "--seed", &seed.to_string()])
        .args(["--duration-s", &seconds.to_string(), "--json", &report.display().to_string()]);
    if let Some(connect) = asked.connect {
        tool.args(["--connect", &connect.to_string()]);
    }
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
