//! A ClickHouse for a benchmark: the embedded one in a process of its own, so that its CPU time can be
//! told from ours.

use crate::process::cpu_seconds;
use anyhow::{Context as _, Result, bail, ensure};
use sink::ClickHouseConfig;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Ends with this value.
pub struct Warehouse {
    child: Child,
    url: String,
    data: PathBuf,
}

impl Warehouse {
    /// Starts `gokart warehouse` with its data in `directory`, and waits until it answers.
    pub async fn start(directory: &Path) -> Result<Self> {
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let bench = std::env::current_exe()?;
        let binary = bench.parent().context("no target directory")?.join("gokart");
        ensure!(binary.is_file(), "{} is not built; run `make bench`", binary.display());
        let data = directory.join("warehouse");
        let log = std::fs::File::create(directory.join("warehouse.log"))?;
        let child = Command::new(binary)
            .args(["warehouse", "--warehouse-memory", "4GiB", "--metrics-listen", "127.0.0.1:0"])
            .args(["--warehouse-listen", &listen.to_string()])
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut warehouse = Self { child, url: format!("http://{listen}"), data };
        let began = Instant::now();
        loop {
            let answers = match warehouse.token() {
                Ok(_) => {
                    let client = sink::client::statement_client(&warehouse.config());
                    client.query("SELECT 1").fetch_one::<u8>().await.is_ok()
                }
                Err(_) => false,
            };
            if answers {
                return Ok(warehouse);
            }
            if let Some(status) = warehouse.child.try_wait()? {
                let said = std::fs::read_to_string(directory.join("warehouse.log"))?;
                bail!("the embedded ClickHouse ended with {status}: {said}");
            }
            ensure!(began.elapsed() < READY_WITHIN, "the embedded ClickHouse does not answer");
            tokio::time::sleep(POLL).await;
        }
    }

    fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data.join("warehouse-write.token"))?.trim().to_owned())
    }

    /// How to write to it.
    #[must_use]
    pub fn config(&self) -> ClickHouseConfig {
        let mut config = ClickHouseConfig::new(&self.url);
        config.password = self.token().ok();
        config
    }

    /// Its CPU time so far.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        while self.child.try_wait()?.is_none() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
