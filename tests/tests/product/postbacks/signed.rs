//! The official `standardwebhooks` package judges what the real binary sent.

use super::support::{ALLOW, PUBLISHER, configure};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tests::receiver::{Receiver, Seen};
use tests::stack::Stack;

/// Exit code of the script where the package cannot be had.
const SKIPPED: i32 = 77;

/// Samples to every test URL, as they arrived, and the publisher's newest secret.
fn sampled(stack: &Stack, receiver: &Receiver) -> Result<(Vec<Seen>, String)> {
    let before = receiver.seen("/test").len();
    let arguments = ["publisher-postback", "--publisher", PUBLISHER, "--test", "--reveal"];
    let answer = stack.gokart_json(&arguments)?;
    let secret = answer["secret"].as_str().context("a secret")?.to_owned();
    let seen = receiver.seen("/test").split_off(before);
    ensure!(seen.len() == 3, "{answer}");
    Ok((seen, secret))
}

/// A request with the secrets that must find it authentic, and those that must not.
fn case(seen: &Seen, good: &[&str], bad: &[&str]) -> Value {
    let signed = if seen.method == "GET" { &seen.query } else { &seen.body };
    json!({"headers": seen.headers, "signed": signed, "good": good, "bad": bad})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_library_verifies_what_is_sent() -> Result<()> {
    let Some(mut stack) = Stack::local_telling(ALLOW).await? else { return Ok(()) };
    let receiver = Receiver::start().await?;
    configure(&stack, &receiver, "[1]")?;
    let (with_old, old) = sampled(&stack, &receiver)?;
    configure(&stack, &receiver, "[1, 2]")?;
    let (with_both, new) = sampled(&stack, &receiver)?;
    configure(&stack, &receiver, "[2]")?;
    let (with_new, same) = sampled(&stack, &receiver)?;
    ensure!(new == same && new != old);
    stack.stop()?;
    let cases: Vec<Value> = (with_old.iter().map(|it| case(it, &[&old], &[&new])))
        .chain(with_both.iter().map(|it| case(it, &[&old, &new], &[])))
        .chain(with_new.iter().map(|it| case(it, &[&new], &[&old])))
        .collect();
    let file = stack.data().join("requests.json");
    std::fs::write(&file, serde_json::to_string(&cases)?)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("standard_webhooks/run.sh");
    let output = Command::new(script).arg(&file).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match output.status.code() {
        Some(0) => ensure!(said.contains("9 requests verified"), "{said}"),
        Some(SKIPPED) => eprintln!("{said}"),
        _ => anyhow::bail!("{said}"),
    }
    Ok(())
}
