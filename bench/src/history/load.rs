//! Puts a history into the real tables, in the order of time, as the sink would have.

use super::sql::Filled;
use super::{CLICKS, DAYS, History};
use anyhow::{Context as _, Result, ensure};
use clickhouse::Client;
use indicatif::ProgressBar;
use std::path::Path;

/// What a full load leaves free on the disk: other work on the machine needs some, too.
pub const KEEP_FREE_BYTES: u64 = 25 << 30;
/// What the tables take at full size while parts are being merged.
const FULL_BYTES: u64 = 24 << 30;
/// Clicks of one statement.
const CLICKS_AT_ONCE: u64 = 2_000_000;
/// Days of events in one statement.
const DAYS_AT_ONCE: i64 = 4;
/// Of so many rows, one is there twice.
const ONCE_MORE: u64 = 5_000;
/// Rows of a part as it comes; as many as fit into the memory that one statement may take.
const BLOCK_ROWS: u64 = 100_000;
/// Statements at once: one for each core that a laptop has.
const AT_ONCE: usize = 2;

const TABLES: [&str; 4] = ["clicks", "conversions", "conversions_latest", "postbacks"];

impl History {
    /// All inserts, in the order of time.
    #[must_use]
    pub fn statements(&self) -> Vec<Filled> {
        let mut all = Vec::new();
        let mut from = 0;
        while from < self.clicks {
            let to = (from + CLICKS_AT_ONCE).min(self.clicks);
            all.push(self.clicks_statement(from, to, 1));
            from = to;
        }
        let mut day = 0;
        while day < DAYS {
            let days = (day, (day + DAYS_AT_ONCE).min(DAYS));
            all.push(self.conversions_statement(days, 1));
            all.push(self.postbacks_statement(days, 1));
            day = days.1;
        }
        // What a rebalance in the middle of an insert brings again.
        all.push(self.clicks_statement(0, self.clicks, ONCE_MORE));
        all.push(self.conversions_statement((0, DAYS), ONCE_MORE));
        all.push(self.postbacks_statement((0, DAYS), ONCE_MORE));
        all
    }

    /// Fills the tables behind `client`; `directory` is on the disk where they are, of which
    /// `keep_free` bytes stay free.
    ///
    /// # Errors
    ///
    /// When there is not enough room on the disk, or ClickHouse fails.
    pub async fn load(
        &self,
        client: &Client,
        directory: &Path,
        keep_free: u64,
        progress: impl FnOnce(u64) -> ProgressBar,
    ) -> Result<()> {
        let wanted = FULL_BYTES / (CLICKS / self.clicks.min(CLICKS)).max(1);
        ensure_room(directory, keep_free + wanted)?;
        for table in TABLES {
            // Parts that were merged leave the disk soon, not after eight minutes. Nobody waits for
            // these rows to be safe from a loss of power.
            let setting = format!(
                "ALTER TABLE {table} MODIFY SETTING old_parts_lifetime = 5, fsync_after_insert = 0, \
                 fsync_part_directory = 0"
            );
            client.query(&setting).execute().await?;
        }
        let statements = self.statements();
        let progress = progress(statements.len() as u64);
        let queue = std::sync::Mutex::new(statements.iter());
        let work = async || -> Result<()> {
            loop {
                let next = queue.lock().ok().and_then(|mut queue| queue.next());
                let Some(next) = next else { return Ok(()) };
                progress.set_message(next.table);
                ensure_room(directory, keep_free)?;
                run(client, next).await?;
                progress.inc(1);
            }
        };
        let both: [_; AT_ONCE] = [work(), work()];
        let [one, two] = both;
        tokio::try_join!(one, two)?;
        progress.finish_and_clear();
        Ok(())
    }
}

/// Runs one insert, in blocks of the size of the sink's larger plans.
async fn run(client: &Client, filled: &Filled) -> Result<()> {
    client
        .query(&filled.insert())
        .with_setting("max_insert_threads", "1")
        .with_setting("max_threads", "1")
        .with_setting("max_block_size", "8192")
        .with_setting("min_insert_block_size_rows", BLOCK_ROWS.to_string())
        .with_setting("min_insert_block_size_bytes", "0")
        .with_setting("max_execution_time", "300")
        .with_setting("max_partitions_per_insert_block", "100")
        .execute()
        .await
        .with_context(|| format!("rows for {}", filled.table))
}

fn ensure_room(directory: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(directory)?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(
        free >= bytes,
        "the disk of {} has {} GiB free, and {} GiB are wanted; make room, or choose a greater \
         --scale",
        directory.display(),
        free >> 30,
        bytes.div_ceil(1 << 30)
    );
    Ok(())
}
