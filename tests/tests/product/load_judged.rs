//! The load tool against the real binary: over HTTP/1.1 in clear text and over HTTP/2 with TLS, and what
//! became of every postback judged by the documented rules. Told something else, the judge finds it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::process::built;
use tests::stack::{Stack, examples};

/// Without caps or a budget, so that everything about it is judged.
const OFFER: &str = "first-trade";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "bull-street";
const EXAMPLE: &str = "brownboots.yaml";
const MIX: &str =
    "click=25,valid=40,retry=5,duplicate=12,out-of-order=8,forged=2,malformed=5,macro=3";

fn url(answer: &Value, scheme: &str) -> Result<String> {
    let url = answer.as_str().context("no URL")?;
    let (_, rest) = url.split_once("://").context("no scheme")?;
    Ok(format!("{scheme}://{rest}"))
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends for a moment and gives the ledger.
fn load(stack: &Stack, directory: &Path, scheme: &str, more: &[&str]) -> Result<PathBuf> {
    let link = stack.gokart_json(&["tracking-link", "--offer", OFFER, "--publisher", PUBLISHER])?;
    let postback = stack.gokart_json(&["postback-url", "--advertiser", ADVERTISER, "--reveal"])?;
    let ledger = directory.join(format!("{scheme}.ledger"));
    let output = Command::new(built("loadtest")?)
        .args(["run", "--tracking-link", &url(&link["tracking_link"], scheme)?])
        .args(["--postback-url", &url(&postback["url"], scheme)?])
        .args(["--event", "SignUp", "--event", "FirstTrade", "--mix", MIX])
        .args(["--connect", &stack.ingest.to_string(), "--connections", "8"])
        .args(["--rate", "150", "--duration-s", "3", "--timeout-ms", "60000"])
        .args(["--resend", "20", "--ledger"])
        .arg(&ledger)
        .args(more)
        .output()?;
    ensure!(output.status.success(), "loadtest: {}", said(&output));
    Ok(ledger)
}

fn verify(stack: &Stack, ledgers: &[&PathBuf], config: &str, wait_s: &str) -> Result<Output> {
    let mut command = Command::new(built("loadtest")?);
    command.args(["verify", "--config", config, "--wait-s", wait_s]);
    command.args(["--clickhouse", &format!("http://{}", stack.warehouse)]);
    command.arg("--token-file").arg(stack.data().join("warehouse-read.token"));
    for ledger in ledgers {
        command.arg("--ledger").arg(ledger);
    }
    Ok(command.output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_and_amount_of_a_load_is_as_documented() -> Result<()> {
    let Some(mut stack) = Stack::local_in_real_time().await? else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let plain = load(&stack, directory.path(), "http", &[])?;

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (certificate, key) = (directory.path().join("tls.pem"), directory.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    stack.stop()?;
    stack.extra("up", &["--tls-certificate", &certificate, "--tls-key", &key]);
    stack.start_role("up").await?;
    let sealed = load(&stack, directory.path(), "https", &["--http2", "--insecure"])?;

    let ledgers = [&plain, &sealed];
    let right = verify(&stack, &ledgers, &examples(), "60")?;
    ensure!(right.status.success(), "{}", said(&right));
    let text = said(&right);
    ensure!(text.contains("every outcome and every amount is as the rules say"), "{text}");
    for outcome in ["accepted HOLD", "duplicate", "MACRO_NOT_REPLACED", "WAITING_SEQUENCE"] {
        ensure!(text.contains(outcome), "no {outcome}: {text}");
    }
    ensure!(!text.contains("NOT JUDGED"), "{text}");

    // The same under a configuration that promises another amount.
    let other = directory.path().join("other.yaml");
    let promised = std::fs::read_to_string(Path::new(&examples()).join(EXAMPLE))?;
    let changed = promised.replace("revenue: 3.00", "revenue: 3.01");
    ensure!(changed != promised, "the example has no revenue of 3.00");
    std::fs::write(&other, changed)?;
    let wrong = verify(&stack, &ledgers, &other.display().to_string(), "0")?;
    ensure!(wrong.status.code() == Some(1), "{}", said(&wrong));
    ensure!(said(&wrong).contains("not 3.01"), "{}", said(&wrong));
    Ok(())
}
