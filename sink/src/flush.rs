//! One flush: write the plan down, insert, commit. At every point a crash leaves either nothing or
//! a plan that the next owner carries out again with the same rows and the same token.

use crate::decode::{Chunk, Rows};
use crate::error::Error;
use crate::measure::record_flush;
use crate::membership::{Committed, Membership};
use crate::plan::Plan;
use crate::readers::read_range;
use crate::store::Store;
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
    /// Told to stop, and ClickHouse did not take the rows in time; the plan stays written down.
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
        let rows = in_log_order(chunks);
        let begun = Instant::now();
        if !rows.is_empty() {
            if membership.commit(plan.written_down()).await? == Committed::Fenced {
                return Ok(Flushed::Fenced);
            }
            let stored = self.store.put(plan, &rows);
            if let Interruption::Yes(how) = self.guard(membership, plan, stored).await? {
                return Ok(how);
            }
        }
        let flushed = commit_done(membership, plan).await?;
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
            self.store.put(plan, &in_log_order(chunks)).await
        };
        if let Interruption::Yes(how) = self.guard(membership, plan, work).await? {
            return Ok(how);
        }
        metrics::counter!("gokart_sink_flushes_total", "cause" => "replay").increment(1);
        commit_done(membership, plan).await
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

async fn commit_done(membership: &mut Membership, plan: &Plan) -> Result<Flushed, Error> {
    Ok(match membership.commit(plan.done()).await? {
        Committed::Yes => Flushed::Done,
        Committed::Fenced => Flushed::Fenced,
    })
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
