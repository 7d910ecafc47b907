//! What the deliverer shows of itself. No label names a publisher: there can be any number.

use super::gates::Overview;
use eventlog::{EventLog, Offset};
use schemas::{Topic, UnixMillis};
use std::sync::Arc;

pub fn record_overview(overview: &Overview) {
    metrics::gauge!("gokart_delivery_in_flight").set(overview.in_flight as f64);
    metrics::gauge!("gokart_delivery_disabled").set(overview.disabled as f64);
    for (state, count) in
        [("closed", overview.closed), ("open", overview.open), ("half_open", overview.half_open)]
    {
        metrics::gauge!("gokart_delivery_breakers", "state" => state).set(count as f64);
    }
}

/// The age of the oldest delivery that waits, over the partitions of this process.
pub fn record_oldest(oldest: Option<UnixMillis>, now: UnixMillis) {
    let age_ms = oldest.map_or(0, |oldest| now.since(oldest));
    metrics::gauge!("gokart_delivery_oldest_waiting_seconds").set(age_ms as f64 / 1_000.0);
}

/// Shows how many decisions each partition is behind.
pub async fn record_lag(log: Arc<dyn EventLog>, positions: Vec<(u32, Offset)>) {
    for (partition, next_offset) in positions {
        // One that cannot be asked now keeps its last value.
        if let Ok(bounds) = log.bounds(Topic::Decisions, partition).await {
            let lag = bounds.end.saturating_sub(next_offset);
            metrics::gauge!("gokart_delivery_lag_records", "partition" => partition.to_string())
                .set(lag as f64);
        }
    }
}
