//! Roles that start while Kafka is away wait for it, and say so; what is wrong ends them at once.

use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::http;
use tests::kafka::{Kafka, can_run};
use tests::process::{Process, free_address, run};

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
const ROLES: [&str; 3] = ["ingest", "processor", "admin"];
const PARTITIONS: &str = "2";

/// A role on brokers at `log`, with a directory of its own.
fn arguments(role: &str, directory: &Path, log: &str, metrics: SocketAddr) -> Result<Vec<String>> {
    let path = |name: &str| directory.join(name).display().to_string();
    let mut all = vec![role.to_owned()];
    let mut push = |name: &str, value: String| all.extend([name.to_owned(), value]);
    push("--data", path(role));
    push("--log", log.to_owned());
    push("--partitions", PARTITIONS.to_owned());
    push("--replication", "1".to_owned());
    push("--metrics-listen", metrics.to_string());
    push("--master-key-file", path("master-keys"));
    match role {
        "ingest" => push("--listen", free_address()?.to_string()),
        "admin" => push("--admin-listen", free_address()?.to_string()),
        _ => {}
    }
    Ok(all)
}

async fn ready(metrics: SocketAddr) -> Result<(bool, String)> {
    let answer = http::get(metrics, "localhost", "/readyz").await?;
    Ok((answer.status == hyper::StatusCode::OK, answer.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_wait_for_brokers_and_not_for_wrong_settings() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    std::fs::write(
        directory.path().join("master-keys"),
        "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
    )?;
    let broker = free_address()?;
    let log = format!("kafka://{broker}");
    let mut processes = Vec::new();
    for role in ROLES {
        let metrics = free_address()?;
        let arguments = arguments(role, directory.path(), &log, metrics)?;
        processes.push((role, Process::start(role, directory.path(), &arguments)?, metrics));
    }
    // Each says that it goes on trying, and none is ready.
    for (role, process, metrics) in &mut processes {
        let began = Instant::now();
        while !process.output().contains("Kafka cannot be used; trying again") {
            process.check_alive()?;
            ensure!(began.elapsed() < PATIENCE, "it says nothing: {}", process.output());
            tokio::time::sleep(POLL).await;
        }
        let (is_ready, waiting) = ready(*metrics).await?;
        ensure!(!is_ready && waiting.contains("Kafka"), "{waiting}");
        // Its own condition stands there already, so that it is not called ready while it begins.
        ensure!(waiting.contains(&format!("{role}: configuration read")), "{waiting}");
    }
    // Told to stop while it waits, one stops and nothing has failed.
    let (_, mut told, _) = processes.remove(0);
    ensure!(told.stop()?.success(), "{}", told.output());

    let Some(kafka) = Kafka::start_own(&["--port", &broker.port().to_string()])? else {
        return Ok(());
    };
    for (_, process, metrics) in &mut processes {
        let began = Instant::now();
        while !matches!(ready(*metrics).await, Ok((true, _))) {
            process.check_alive()?;
            ensure!(began.elapsed() < PATIENCE, "never ready: {}", process.output());
            tokio::time::sleep(POLL).await;
        }
    }
    // Topics that are otherwise than was asked for are nothing to wait for.
    let mut wrong = arguments("ingest", directory.path(), &kafka.url, free_address()?)?;
    let at = wrong.iter().position(|it| it == "--partitions").map_or(0, |at| at + 1);
    wrong[at] = "4".to_owned();
    let output = run(&wrong.iter().map(String::as_str).collect::<Vec<_>>())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(78) && errors.contains("partitions"), "{errors}");
    for (_, process, _) in &mut processes {
        ensure!(process.stop()?.success(), "{}", process.output());
    }
    Ok(())
}
