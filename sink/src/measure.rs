//! What the sink counts.

use crate::decode::Rows;
use crate::plan::Source;
use eventlog::{EventLog, Offset, ReadLimit};
use service::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

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

/// The committed offset of everything owned, as the rest of the sink keeps it up to date.
pub type Progress = Arc<Mutex<BTreeMap<Source, Offset>>>;

/// How often the log is asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// For looking at the first record that waits.
const READ_WAIT: Duration = Duration::from_millis(100);

/// What is measured again and again for as long as this lives, whatever the sink itself is doing:
/// a flush that hangs is what has to show.
pub struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    #[must_use]
    pub fn start(log: Arc<dyn EventLog>, progress: Progress, clock: Clock) -> Self {
        let task = tokio::spawn(async move {
            let mut waiting = Waiting::default();
            loop {
                let owned = progress.lock().map(|owned| owned.clone()).unwrap_or_default();
                waiting.look(&*log, &owned).await;
                let age_ms = waiting.oldest_age_ms(clock.now());
                metrics::gauge!("gokart_sink_oldest_waiting_seconds").set(age_ms as f64 / 1_000.0);
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { task }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// For each partition, when the first record was written that is not visible yet.
#[derive(Debug, Default)]
pub struct Waiting {
    since: BTreeMap<Source, (Offset, i64)>,
}

impl Waiting {
    /// Asks the log how far each partition's end is from what is committed, and for the first
    /// record between them. One that cannot be asked now keeps what was known, so that an age goes
    /// on growing while the log is away.
    pub async fn look(&mut self, log: &dyn EventLog, owned: &BTreeMap<Source, Offset>) {
        self.since.retain(|source, _| owned.contains_key(source));
        for (&source, &committed) in owned {
            let ((topic, partition), known) = (source, self.since.get(&source).copied());
            let Ok(bounds) = log.bounds(topic, partition).await else { continue };
            let labels = [("topic", topic.name().to_owned()), ("partition", partition.to_string())];
            let lag = bounds.end.saturating_sub(committed);
            metrics::gauge!("gokart_sink_lag_records", &labels).set(lag as f64);
            match known {
                _ if lag == 0 => drop(self.since.remove(&source)),
                Some((offset, _)) if offset == committed => {}
                _ => {
                    if let Some(at) = written_at(log, source, committed).await {
                        self.since.insert(source, (committed, at));
                    }
                }
            }
        }
    }

    /// How long the oldest record has been waiting, in milliseconds; 0 when none is.
    #[must_use]
    pub fn oldest_age_ms(&self, now_ms: i64) -> i64 {
        let oldest = self.since.values().map(|(_, at)| *at).min();
        oldest.map_or(0, |at| now_ms.saturating_sub(at).max(0))
    }
}

/// When the first record from `offset` on was written; none when there is none or it cannot be read.
async fn written_at(log: &dyn EventLog, (topic, partition): Source, offset: Offset) -> Option<i64> {
    let mut reader = log.read_from(topic, partition, offset).await.ok()?;
    let limit = ReadLimit { records: 1, bytes: 1, wait: READ_WAIT };
    let batch = reader.read(limit).await.ok()?;
    batch.records.first().map(|stored| stored.record.at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventlog::Record;
    use eventlog::simulated::SimulatedLog;
    use schemas::{Topic, UnixMillis};

    const CLICKS: Source = (Topic::Clicks, 0);

    #[tokio::test]
    async fn the_oldest_record_that_is_not_visible() {
        let log = SimulatedLog::new(1, 1);
        let records = [1_000, 4_000].map(|at| Record {
            key: bytes::Bytes::new(),
            value: bytes::Bytes::from_static(b"x"),
            at: UnixMillis(at),
        });
        log.append(Topic::Clicks, 0, records.to_vec()).await.unwrap();
        let mut waiting = Waiting::default();
        for (committed, expected) in [(0, 9_000), (1, 6_000), (2, 0)] {
            waiting.look(&*log, &BTreeMap::from([(CLICKS, committed)])).await;
            assert_eq!(waiting.oldest_age_ms(10_000), expected, "{committed}");
        }
        waiting.look(&*log, &BTreeMap::from([(CLICKS, 0)])).await;
        waiting.look(&*log, &BTreeMap::new()).await;
        assert_eq!(waiting.oldest_age_ms(10_000), 0, "it went to another sink");
    }
}
