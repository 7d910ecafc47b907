//! A real Apache Kafka for tests.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A broker that ends with this value, or one that somebody else keeps.
pub struct Kafka {
    /// `kafka://host:port`
    pub url: String,
    broker: Option<Child>,
}

impl Kafka {
    /// The broker that `GOKART_TEST_KAFKA` names, or a new one. None, said loudly, where Java or
    /// Maven are missing.
    pub fn start() -> Result<Option<Self>> {
        if let Ok(url) = std::env::var("GOKART_TEST_KAFKA") {
            return Ok(Some(Self { url, broker: None }));
        }
        Self::start_own(&[])
    }

    /// As [`Kafka::start`], with the JVM as Apache Kafka's own scripts set it up: what is measured
    /// must not wait for a broker that is set up to start quickly.
    pub fn start_as_shipped() -> Result<Option<Self>> {
        if std::env::var_os("GOKART_TEST_KAFKA").is_some() {
            return Self::start();
        }
        Self::start_own(&["--as-shipped"])
    }

    /// A new broker with further arguments of `deploy/kafka/start.sh`.
    pub fn start_own(arguments: &[&str]) -> Result<Option<Self>> {
        if !can_run() {
            return Ok(None);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/start.sh");
        let mut broker = Command::new(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("deploy/kafka/start.sh cannot be run")?;
        let stdout = broker.stdout.take().context("the broker has no output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        let url = url.trim().to_owned();
        anyhow::ensure!(url.starts_with("kafka://"), "the broker did not start");
        Ok(Some(Self { url, broker: Some(broker) }))
    }
}

impl Kafka {
    /// The broker's own process, below the script that looks after it; none for a broker that
    /// somebody else keeps.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let script = self.broker.as_ref()?.id();
        let children = format!("/proc/{script}/task/{script}/children");
        let children = std::fs::read_to_string(children).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "java")
        })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(broker) = &mut self.broker {
            // SIGTERM, so that the script removes the broker and its data.
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(broker),
                rustix::process::Signal::TERM,
            );
            let _ = broker.wait();
        }
    }
}

/// Whether Kafka can be started here; if not, it is said loudly.
#[must_use]
pub fn can_run() -> bool {
    let can = is_installed("java") && is_installed("mvn");
    if !can {
        eprintln!("SKIPPED: tests on Apache Kafka need java and mvn, and one is missing");
    }
    can
}

/// Whether a program is in the path.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let probe = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    probe.is_ok_and(|output| output.status.success())
}
