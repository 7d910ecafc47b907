//! A whole gokart for a benchmark: `gokart up` with its ClickHouse, asked over HTTP.

use crate::history::END_MS;
use crate::process::peak_resident_bytes;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clickhouse::Client;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use sink::ClickHouseConfig;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::process::{Process, free_address};

/// What merging the largest parts takes, with room for a report.
const ENGINE_MEMORY: &str = "8GiB";
/// Longer than any report should take, so that a slow one is measured and not refused.
const QUERY_TIMEOUT: &str = "300s";
const READY_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);
/// Half a day after the last row.
const NOW_MS: i64 = END_MS + 12 * 3_600_000;

/// Ends with this value.
pub struct Installation {
    process: Process,
    data: PathBuf,
    admin: SocketAddr,
    warehouse: SocketAddr,
}

impl Installation {
    /// Starts it in `directory` with these documents, at the end of the history.
    ///
    /// # Errors
    ///
    /// When `gokart` is not built beside this program, or does not get ready within three minutes.
    pub async fn start(directory: &Path, documents: &str) -> Result<Self> {
        let (config, clock) = (directory.join("config.yaml"), directory.join("clock"));
        std::fs::write(&config, documents)?;
        std::fs::write(&clock, NOW_MS.to_string())?;
        let data = directory.join("data");
        let (admin, warehouse, metrics) = (free_address()?, free_address()?, free_address()?);
        let arguments = [
            ("--data", data.display().to_string()),
            ("--config", config.display().to_string()),
            ("--clock-file", clock.display().to_string()),
            ("--listen", free_address()?.to_string()),
            ("--admin-listen", admin.to_string()),
            ("--warehouse-listen", warehouse.to_string()),
            ("--metrics-listen", metrics.to_string()),
            ("--warehouse-memory", ENGINE_MEMORY.to_owned()),
            ("--query-timeout", QUERY_TIMEOUT.to_owned()),
            // The rows are of fixed days, whenever this runs.
            ("--table-retention", "clicks=forever,postbacks=forever".to_owned()),
        ];
        let arguments: Vec<String> = std::iter::once("up".to_owned())
            .chain(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]))
            .collect();
        let process = Process::start("up", directory, &arguments)?;
        let mut installation = Self { process, data, admin, warehouse };
        let began = Instant::now();
        while !matches!(tests::http::get(metrics, "localhost", "/readyz").await, Ok(it) if it.status == 200)
        {
            installation.process.check_alive()?;
            ensure!(began.elapsed() < READY_WITHIN, "gokart up does not get ready");
            tokio::time::sleep(POLL).await;
        }
        Ok(installation)
    }

    fn token(&self, file: &str) -> Result<String> {
        let file = self.data.join(file);
        let token = std::fs::read_to_string(&file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(token.trim().to_owned())
    }

    /// A client that may write to its ClickHouse.
    pub fn client(&self) -> Result<Client> {
        let mut config = ClickHouseConfig::new(&format!("http://{}", self.warehouse));
        config.password = Some(self.token("warehouse-write.token")?);
        Ok(sink::client::statement_client(&config).with_database(&config.database))
    }

    async fn begin(&self, path: &str, body: Option<&str>) -> Result<Response<Incoming>> {
        let stream = tokio::net::TcpStream::connect(self.admin).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(if body.is_some() { Method::POST } else { Method::GET })
            .uri(format!("/api/v1/{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token("admin.token")?))
            .body(Full::new(Bytes::from(body.unwrap_or_default().to_owned())))?;
        Ok(sender.send_request(request).await?)
    }

    /// What the admin API answers, read whole; with a body, asked as a POST.
    pub async fn answer(&self, path: &str, body: Option<&str>) -> Result<(StatusCode, Bytes)> {
        let response = self.begin(path, body).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// The same; an error unless it is what was asked for.
    pub async fn ask(&self, path: &str, body: Option<&str>) -> Result<Bytes> {
        let (status, answer) = self.answer(path, body).await?;
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(500)]);
        ensure!(status.is_success(), "{path}: {status} {shown}");
        Ok(answer)
    }

    /// Takes an export as fast as it comes and keeps nothing of it; gives the rows that it was said
    /// to have.
    pub async fn drain(&self, path: &str) -> Result<u64> {
        let response = self.begin(path, None).await?;
        ensure!(response.status().is_success(), "{path}: {}", response.status());
        let rows = response.headers().get(admin::report::export::ROWS_HEADER);
        let rows = rows.context("no number of rows")?.to_str()?.parse()?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.with_context(|| format!("{path} broke off"))?;
        }
        Ok(rows)
    }

    /// Starts [`Self::peak_resident_bytes`] anew.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5")?)
    }

    /// Greatest resident memory of `gokart up`, without its ClickHouse.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        peak_resident_bytes(self.process.pid())
    }

    /// What is in the tables: rows, bytes on disk, parts.
    pub async fn size(&self, client: &Client) -> Result<String> {
        let tables: Vec<(String, u64, u64, u64)> = client
            .query(
                "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts \
                 WHERE active AND database = currentDatabase() GROUP BY table \
                 HAVING sum(rows) > 1000 ORDER BY table",
            )
            .fetch_all()
            .await?;
        let each = tables.iter().map(|(table, rows, bytes, parts)| {
            format!("{table} {rows} rows, {} MiB in {parts} parts", bytes >> 20)
        });
        Ok(each.collect::<Vec<_>>().join("; "))
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "gokart up ended with {status}");
        Ok(())
    }
}
