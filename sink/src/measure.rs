//! What the sink counts.

use crate::decode::Rows;
use crate::plan::Source;
use eventlog::{EventLog, Offset};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Freshness is recorded in steps of this: thousands of rows in a few calls.
const FRESHNESS_STEP_MS: i64 = 5;

/// Counts a flush that is visible at `now_ms`, and how long its rows took to get there since they
/// reached us. Conversions are not among them: a held one is meant to come late.
pub fn record_flush(rows: &Rows, took: Duration, now_ms: i64) {
    metrics::histogram!("gokart_sink_flush_seconds").record(took.as_secs_f64());
    let clicks = rows.clicks.iter().map(|row| row.message.clicked_at.0);
    let postbacks = rows.postbacks.iter().map(|row| row.message.received_at.0);
    let mut steps: BTreeMap<i64, usize> = BTreeMap::new();
    for received_at in clicks.chain(postbacks) {
        let age_ms = now_ms.saturating_sub(received_at).max(0);
        *steps.entry(age_ms / FRESHNESS_STEP_MS).or_default() += 1;
    }
    let histogram = metrics::histogram!("gokart_sink_freshness_seconds");
    for (step, count) in steps {
        histogram.record_many((step * FRESHNESS_STEP_MS) as f64 / 1_000.0, count);
    }
}

/// Shows how many offsets each partition is behind its end.
pub async fn record_lag(log: Arc<dyn EventLog>, committed: Vec<(Source, Offset)>) {
    for ((topic, partition), next_offset) in committed {
        // One that cannot be asked now keeps its last value.
        if let Ok(bounds) = log.bounds(topic, partition).await {
            let labels = [("topic", topic.name().to_owned()), ("partition", partition.to_string())];
            let lag = bounds.end.saturating_sub(next_offset);
            metrics::gauge!("gokart_sink_lag_records", &labels).set(lag as f64);
        }
    }
}
