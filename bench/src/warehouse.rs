//! A ClickHouse for a benchmark: the embedded one in a process of its own, so that its CPU time can
//! be told from ours.

use crate::process::cpu_seconds;
use anyhow::{Context as _, Result, ensure};
use sink::ClickHouseConfig;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::process::{Process, free_address};

/// More than two merges and an insert of the largest blocks need at once.
const MEMORY: &str = "8GiB";
const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Ends with this value.
pub struct Warehouse {
    process: Process,
    address: SocketAddr,
    data: PathBuf,
}

impl Warehouse {
    /// Starts `gokart warehouse` with its data in `directory`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When `gokart` is not built beside this program, or does not get ready within two minutes.
    pub async fn start(directory: &Path) -> Result<Self> {
        let (address, data) = (free_address()?, directory.join("data"));
        let arguments = [
            "warehouse",
            "--data",
            &data.display().to_string(),
            "--warehouse-listen",
            &address.to_string(),
            "--warehouse-memory",
            MEMORY,
            "--metrics-listen",
            "127.0.0.1:0",
        ]
        .map(str::to_owned);
        let process = Process::start("warehouse", directory, &arguments)?;
        let mut warehouse = Self { process, address, data };
        let began = Instant::now();
        while !warehouse.answers().await {
            warehouse.process.check_alive()?;
            ensure!(began.elapsed() < READY_WITHIN, "the embedded ClickHouse does not answer");
            tokio::time::sleep(POLL).await;
        }
        Ok(warehouse)
    }

    async fn answers(&self) -> bool {
        let Ok(config) = self.config() else { return false };
        let client = sink::client::statement_client(&config);
        client.query("SELECT 1").fetch_one::<u8>().await.is_ok()
    }

    /// Where it keeps its tables and tokens.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How to write to it.
    pub fn config(&self) -> Result<ClickHouseConfig> {
        let file = self.data.join("warehouse-write.token");
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let mut config = ClickHouseConfig::new(&format!("http://{}", self.address));
        config.password = Some(token.trim().to_owned());
        Ok(config)
    }

    /// Its CPU time so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.process.pid())
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the embedded ClickHouse ended with {status}");
        Ok(())
    }
}
