//! A grossly wrong clock is found out before it does harm: click times, caps and timers all begin
//! with an ingester's clock.

use crate::world::retried;
use eventlog::{EventLog, ReadError, ReadLimit};
use schemas::time::MINUTE_MS;
use schemas::{Topic, UnixMillis};
use service::{Clock, ServiceError, Shutdown};
use std::time::Duration;

/// How far behind the newest record a clock may be.
const BEHIND_MS_MAX: i64 = 5 * MINUTE_MS;
const UNREADABLE: &str = "the event log cannot be read to compare clocks";
/// Records looked at at the end of a partition; the last places may hold no record (Kafka).
const TAIL: u64 = 8;
const LIMIT: ReadLimit =
    ReadLimit { records: TAIL as usize, bytes: 1 << 20, wait: Duration::from_millis(200) };

/// Refuses a clock that is behind what has already been written; waits while the log cannot be read.
/// None when told to stop meanwhile.
pub async fn check_clock(
    log: &dyn EventLog,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<Option<()>, ServiceError> {
    let mut newest = None;
    for topic in [Topic::Config, Topic::Postbacks, Topic::Clicks] {
        for partition in 0..log.partitions(topic) {
            let look = || newest_in(log, topic, partition);
            let Some(found) = retried(shutdown, UNREADABLE, look).await? else { return Ok(None) };
            newest = newest.max(found);
        }
    }
    let now = UnixMillis(clock.now());
    match newest {
        Some(newest) if newest.since(now) > BEHIND_MS_MAX => Err(ServiceError::Failed(format!(
            "this machine's clock says {now}, but the event log already holds a record of {newest}; set the clock (NTP) here, or on the machine that wrote it, and start again"
        ))),
        _ => Ok(Some(())),
    }
}

async fn newest_in(
    log: &dyn EventLog,
    topic: Topic,
    partition: u32,
) -> Result<Option<UnixMillis>, ReadError> {
    let bounds = log.bounds(topic, partition).await?;
    if bounds.first >= bounds.end {
        return Ok(None);
    }
    let from = bounds.end.saturating_sub(TAIL).max(bounds.first);
    let batch = log.read_from(topic, partition, from).await?.read(LIMIT).await?;
    Ok(batch.records.iter().map(|stored| stored.record.at).max())
}
