//! One flush: write the plan down, insert, commit. At every point a crash leaves either nothing or
//! a plan that the next owner finds and brings to its end ([`crate::bring`]).

use crate::decode::{Chunk, Rows};
use crate::error::Error;
use crate::measure::record_flush;
use crate::membership::{Committed, Membership};
use crate::plan::Plan;
use crate::readers::read_range;
use crate::store::Store;
use eventlog::Position;
use service::Shutdown;
use std::time::Duration;
use tokio::time::Instant;

/// How often a flush that takes long looks whether it still owns what it works on.
const OWNERSHIP_CHECK: Duration = Duration::from_millis(100);

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The rows are there and the offsets are committed.
    Done,
    /// A partition of the plan was taken away: begin again with what is left.
    Disturbed,
    /// The group went on without this member: join again.
    Fenced,
    /// Told to stop, and ClickHouse did not take the rows, or the log the positions, in time. What
    /// was written down of the plan stays.
    Stopped,
}

/// What every flush needs.
pub struct Flusher {
    pub store: Store,
    pub shutdown: Shutdown,
    pub drain_timeout: Duration,
}

impl Flusher {
    /// Carries out a plan whose records have just been read.
    pub async fn flush(
        &self,
        membership: &mut Membership,
        plan: &Plan,
        chunks: Vec<Chunk>,
    ) -> Result<Flushed, Error> {
        let mut rows = in_log_order(chunks);
        let begun = Instant::now();
        if !rows.is_empty() {
            match self.commit(membership, plan.written_down()).await? {
                Flushed::Done => {}
                other => return Ok(other),
            }
            let stored = async {
                self.store.anonymise(&mut rows).await;
                self.store.put(plan, &rows).await;
                Ok(())
            };
            if let Interruption::Yes(how) = self.guard(membership, plan, stored).await? {
                return Ok(how);
            }
        }
        let flushed = self.commit(membership, plan.done()).await?;
        if flushed == Flushed::Done {
            record_flush(&rows, begun.elapsed(), self.store.clock.now());
        }
        Ok(flushed)
    }

    /// Carries out a plan that was found written down.
    pub async fn replay(&self, membership: &mut Membership, plan: &Plan) -> Result<Flushed, Error> {
        tracing::info!(plan = plan.id, "repeating a flush that was not finished");
        let work = async {
            let mut chunks = Vec::new();
            for (&source, &range) in &plan.ranges {
                chunks.push(read_range(&*self.store.log, &self.store.clock, source, range).await?);
            }
            let mut rows = in_log_order(chunks);
            self.store.anonymise(&mut rows).await;
            self.store.put_again(plan, &rows).await;
            Ok(())
        };
        if let Interruption::Yes(how) = self.guard(membership, plan, work).await? {
            return Ok(how);
        }
        metrics::counter!("gokart_sink_flushes_total", "cause" => "replay").increment(1);
        self.commit(membership, plan.done()).await
    }

    /// Stores positions, for as long as it takes; after the signal to stop for a bounded time only,
    /// because a log that is away or has failed may never take them. What is not stored then is
    /// found and done again by the next start.
    async fn commit(
        &self,
        membership: &mut Membership,
        positions: Vec<Position>,
    ) -> Result<Flushed, Error> {
        let out_of_time = async {
            self.shutdown.wait().await;
            tokio::time::sleep(self.drain_timeout).await;
        };
        tokio::select! {
            biased;
            committed = membership.commit(positions) => Ok(match committed? {
                Committed::Yes => Flushed::Done,
                Committed::Fenced => Flushed::Fenced,
            }),
            () = out_of_time => Ok(Flushed::Stopped),
        }
    }

    /// Lets `work` go on for as long as this member owns what the plan is about.
    async fn guard(
        &self,
        membership: &mut Membership,
        plan: &Plan,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<Interruption, Error> {
        tokio::pin!(work);
        let mut stop_at = None;
        loop {
            tokio::select! {
                done = &mut work => {
                    done?;
                    return Ok(Interruption::No);
                }
                () = tokio::time::sleep(OWNERSHIP_CHECK) => {}
            }
            membership.poll(Duration::ZERO).await?;
            if membership.lost(plan.ranges.keys()) {
                return Ok(Interruption::Yes(Flushed::Disturbed));
            }
            if self.shutdown.is_triggered() {
                let stop_at = stop_at.get_or_insert_with(|| Instant::now() + self.drain_timeout);
                if Instant::now() >= *stop_at {
                    return Ok(Interruption::Yes(Flushed::Stopped));
                }
            }
        }
    }
}

enum Interruption {
    No,
    Yes(Flushed),
}

/// All rows in the order (topic, partition, offset), so that a plan's rows are the same sequence
/// at every attempt, in whatever order its partitions were read.
fn in_log_order(mut chunks: Vec<Chunk>) -> Rows {
    chunks.sort_by_key(|chunk| (chunk.source, chunk.range.from));
    let mut rows = Rows::default();
    for chunk in chunks {
        rows.append(chunk.rows);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::insert_client;
    use crate::columns::Tables;
    use crate::config::ClickHouseConfig;
    use crate::erase::Eraser;
    use crate::erased::Erased;
    use crate::measure::Progress;
    use crate::plan::OffsetRange;
    use eventlog::EventLog;
    use eventlog::simulated::{Faults, SimulatedLog};
    use schemas::Topic;
    use service::Clock;
    use std::collections::BTreeMap;

    /// So long that a test which needs it has failed.
    const TOO_LONG: Duration = Duration::from_secs(20);

    /// A flush after the signal to stop, with a log of which so many commits in a thousand fail.
    async fn check(commit_lost: u32, expected: Flushed) {
        let log = SimulatedLog::new(1, 1);
        let member = log.join("sink", &[Topic::Clicks]).await.unwrap();
        let mut membership = Membership::new(member, Progress::default());
        membership.poll(Duration::ZERO).await.unwrap();
        log.set_faults(Faults { commit_lost, ..Faults::default() });
        let client = insert_client(&ClickHouseConfig::new("http://127.0.0.1:1"));
        let (eraser, erased) = (Eraser::new(&client, None), Erased::default());
        let tables = Tables::new(client);
        let clock = Clock::manual(0);
        let store = Store { tables, is_cluster: false, eraser, erased, log, clock };
        let shutdown = Shutdown::new();
        shutdown.trigger();
        let flusher = Flusher { store, shutdown, drain_timeout: Duration::ZERO };
        let range = OffsetRange { from: 0, end: 1 };
        let plan =
            Plan { id: "p".to_owned(), ranges: BTreeMap::from([((Topic::Clicks, 0), range)]) };
        let flush = flusher.flush(&mut membership, &plan, Vec::new());
        let flushed = tokio::time::timeout(TOO_LONG, flush).await.expect("it ends");
        assert_eq!(flushed, Ok(expected));
    }

    #[tokio::test]
    async fn a_log_that_takes_no_positions_does_not_keep_a_sink_from_stopping() {
        check(0, Flushed::Done).await;
        check(1_000, Flushed::Stopped).await;
    }
}
