//! What was decided becomes rows: the sink itself, on the replay's own log and database.

use super::source::failed;
use eventlog::local::LocalLog;
use eventlog::{EventLog, GroupEvent, Offset, ReadLimit};
use schemas::Topic;
use service::{Clock, Readiness, ServiceError, Shutdown};
use sink::{ClickHouseConfig, SinkConfig, tell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the sink works before it is asked how far it is.
const TURN: Duration = Duration::from_secs(10);
/// The same once everything is decided.
const LAST_TURN: Duration = Duration::from_millis(400);
/// Rows wait so long for others; shorter than a turn.
const FLUSH_AGE_MS: i64 = 100;
/// For the positions of the replay's own sink.
const POSITIONS_WAIT: Duration = Duration::from_millis(200);
const COPY: ReadLimit =
    ReadLimit { records: 1_000, bytes: 4 << 20, wait: Duration::from_millis(200) };

/// Makes the tables, and lets them know what was erased: the log still holds it.
pub async fn prepare(
    live_log: &dyn EventLog,
    scratch: &dyn EventLog,
    live: &ClickHouseConfig,
    own: &ClickHouseConfig,
) -> Result<(), ServiceError> {
    sink::migrate(own).await?;
    let copy = format!(
        "INSERT INTO `{}`.erased_clicks SELECT * FROM `{}`.erased_clicks",
        own.database, live.database
    );
    tell(own, "the list of erased clicks", &copy).await?;
    let bounds = live_log.bounds(Topic::Erasures, 0).await.map_err(failed)?;
    let mut reader = live_log.read_from(Topic::Erasures, 0, bounds.first).await.map_err(failed)?;
    let mut at = bounds.first;
    while at < bounds.end {
        let batch = reader.read(COPY).await.map_err(failed)?;
        at = batch.next_offset;
        let records: Vec<_> = batch.records.into_iter().map(|stored| stored.record).collect();
        if !records.is_empty() {
            let appended = scratch.append(Topic::Erasures, 0, records).await;
            appended.map_err(|error| ServiceError::Failed(error.to_string()))?;
        }
    }
    Ok(())
}

/// Moves rows while more are made, so that the replay's own log stays small, until `decided` says
/// that there are no more and all of them have been moved.
pub async fn move_all(
    scratch: &Arc<LocalLog>,
    own: &ClickHouseConfig,
    decided: &Shutdown,
) -> Result<(), ServiceError> {
    loop {
        let stop = Shutdown::new();
        let switch = stop.clone();
        let ready = Readiness::new().condition("replay: tables ready");
        let mut config = SinkConfig::new(own.clone());
        config.limits.age_ms = FLUSH_AGE_MS;
        let ran = sink::run(config, scratch.clone(), Clock::System, stop, ready);
        let (ran, ()) = tokio::join!(ran, async move {
            let done = async {
                decided.wait().await;
                tokio::time::sleep(LAST_TURN).await;
            };
            let _ = tokio::time::timeout(TURN, done).await;
            switch.trigger();
        });
        ran?;
        if decided.is_triggered() && is_moved(&**scratch).await? {
            return Ok(());
        }
    }
}

async fn is_moved(scratch: &dyn EventLog) -> Result<bool, ServiceError> {
    let topics = sink::decode::TOPICS;
    let mut member = scratch.join(sink::GROUP, &topics).await.map_err(failed)?;
    let mut positions: BTreeMap<(Topic, u32), Offset> = BTreeMap::new();
    while let Some(event) = member.next_event(POSITIONS_WAIT).await.map_err(failed)? {
        if let GroupEvent::Assigned(all) = event {
            let all = all.into_iter();
            positions.extend(all.map(|it| ((it.topic, it.partition), it.next_offset)));
        }
    }
    for topic in topics {
        for partition in 0..scratch.partitions(topic) {
            let bounds = scratch.bounds(topic, partition).await.map_err(failed)?;
            let position = positions.get(&(topic, partition)).copied();
            if position.unwrap_or_default() < bounds.end {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
