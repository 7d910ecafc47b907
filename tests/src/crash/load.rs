//! The load: `loadtest run`, as a tracker sends, and what it reported.

use super::installation::Installation;
use super::offers::{ADVERTISER, EVENTS, PUBLISHER, ids};
use crate::process::{self, Process};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Connections, and requests a second for each further one: while an ingester hangs, each request
/// to it holds one for [`SENDER_TIMEOUT`], and the others must go on.
const CONNECTIONS_MIN: u64 = 48;
const RATE_A_CONNECTION: u64 = 4;
/// As the most patient: what cannot be delivered for minutes is still sent.
const RESENDS: &str = "400";
/// How long a sender waits for an answer; Branch gives up after two seconds.
pub const SENDER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is sent: each click has its events, in order and not; most are sent again.
const MIX: &str = "click=22,valid=52,duplicate=10,out-of-order=6,forged=2,malformed=5,macro=3";

/// A load that is under way.
pub struct Load {
    process: Process,
    ledger: PathBuf,
    report: PathBuf,
}

/// What the load tool saw.
#[derive(Debug, Clone)]
pub struct Sent {
    pub postbacks: u64,
    pub clicks: u64,
    pub shed: u64,
    pub failed: u64,
    pub resent: u64,
    pub given_up: u64,
}

impl Load {
    /// Begins to send so many requests a second for so long.
    pub fn start(
        installation: &Installation,
        seed: u64,
        rate: u64,
        duration: Duration,
    ) -> Result<Self> {
        let ledger = installation.directory.join("ledger");
        let report = installation.directory.join("load.json");
        let url = installation.ask(&["postback-url", "--advertiser", ADVERTISER, "--reveal"])?;
        let url = url["url"].as_str().context("no postback URL")?;
        let (address, query) = url.split_once('?').context("no parameters")?;
        let signature =
            query.split('&').find(|it| it.starts_with("signature=")).context("no signature")?;
        let mut command = Command::new(process::built("loadtest")?);
        command.arg("run").args(["--postback-url", &format!("{address}?{signature}")]);
        for event in EVENTS {
            command.args(["--event", event]);
        }
        for offer in ids() {
            let asked = ["tracking-link", "--offer", offer, "--publisher", PUBLISHER];
            let link = installation.ask(&asked)?;
            command.args(["--tracking-link", link["tracking_link"].as_str().context("no link")?]);
        }
        for address in installation.ingesters() {
            command.args(["--connect", &address.to_string()]);
        }
        let connections = (rate / RATE_A_CONNECTION).max(CONNECTIONS_MIN);
        command
            .args(["--allow-remote", "--mix", MIX, "--connections", &connections.to_string()])
            .args(["--resend", RESENDS, "--resend-after-ms", "500"])
            .args(["--timeout-ms", &SENDER_TIMEOUT.as_millis().to_string()])
            .args(["--rate", &rate.to_string(), "--seed", &seed.to_string()])
            .args(["--duration-s", &duration.as_secs().max(1).to_string()])
            .arg("--ledger")
            .arg(&ledger)
            .arg("--json")
            .arg(&report);
        let process = Process::spawn("loadtest", &installation.directory, &mut command)?;
        Ok(Self { process, ledger, report })
    }

    /// Whether everything was sent, and taken.
    pub fn is_over(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// What was reported once it is over. Every postback must have been accepted in the end, and
    /// answered as its kind should be.
    pub fn report(&self) -> Result<Sent> {
        let text = std::fs::read_to_string(&self.report)
            .with_context(|| format!("loadtest reported nothing: {}", self.process.output()))?;
        let report: Value = serde_json::from_str(&text)?;
        sent(&report)
    }

    /// Whether every accepted postback is in ClickHouse exactly once; what the tool said.
    pub fn verify(&self, installation: &Installation) -> Result<(bool, String)> {
        let output = Command::new(process::built("loadtest")?)
            .arg("verify")
            .arg("--ledger")
            .arg(&self.ledger)
            .args(["--clickhouse", &format!("http://{}", installation.warehouse())])
            .args(["--token-file", &installation.token_file(), "--wait-s", "0", "--allow-remote"])
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
    }
}

fn sent(report: &Value) -> Result<Sent> {
    let kinds = report["kinds"].as_object().context("no kinds in the report")?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let mut sent = Sent { postbacks: 0, clicks: 0, shed: 0, failed: 0, resent: 0, given_up: 0 };
    for (kind, line) in kinds {
        let requests = number(&line["requests"]) - number(&line["unsent"]);
        match kind.as_str() {
            // A used-up offer sends its users to the fallback link, which has no click id.
            "click" => sent.clicks += requests,
            "forged" => {}
            _ => sent.postbacks += requests,
        }
        let surprises = number(&line["surprise"]);
        ensure!(
            kind == "click" || surprises == 0,
            "{surprises} answers to {kind} postbacks were not what they should be: {}",
            report["surprises"]
        );
        sent.shed += number(&line["shed"]);
        sent.failed += number(&line["failed"]);
    }
    (sent.resent, sent.given_up) = (number(&report["resent"]), number(&report["given_up"]));
    ensure!(sent.given_up == 0, "{} postbacks were never taken", sent.given_up);
    Ok(sent)
}
