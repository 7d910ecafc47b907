//! Reads each partition's stretch and decides it, with the processor's own pipeline.

use super::source::{Stretch, failed};
use eventlog::local::LocalLog;
use eventlog::{Batch, CommitError, EventLog, OwnedPartition, ProcessorEvent, ReadLimit, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use processor::pipeline::{Asked, Context, Next, decide};
use schemas::{Topic, UnixMillis};
use service::{ServiceError, Shutdown};
use std::sync::Arc;
use std::time::Duration;

const LIMIT: ReadLimit =
    ReadLimit { records: 1_000, bytes: 4 << 20, wait: Duration::from_millis(200) };
/// Before a commit is tried again that its own log had no room for: the sink makes some.
const FULL_PAUSE: Duration = Duration::from_millis(200);
/// For the partitions of the replay's own log.
const ASSIGN_WAIT: Duration = Duration::from_secs(10);

/// What every partition is decided with.
pub struct Work {
    pub log: Arc<dyn EventLog>,
    pub scratch: Arc<LocalLog>,
    pub context: Context,
    pub stop: Shutdown,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    pub records: u64,
    /// The time of the oldest.
    pub oldest: Option<UnixMillis>,
}

/// Shown on a terminal only.
pub fn bar(stretches: &[Stretch]) -> ProgressBar {
    let bar = ProgressBar::new(stretches.iter().map(|it| it.end - it.from).sum());
    let template = "{bar:40} {pos} of {len} records, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Decides every partition, one after the other.
pub async fn all(
    work: &Work,
    stretches: &[Stretch],
    bar: &ProgressBar,
) -> Result<Read, ServiceError> {
    let mut member = work.scratch.join_stage(Stage::Processor).await.map_err(failed)?;
    let mut read = Read::default();
    for _ in stretches {
        match member.next_event(ASSIGN_WAIT).await.map_err(failed)? {
            Some(ProcessorEvent::Assigned(owned)) => {
                let stretch = stretches.iter().find(|it| it.partition == owned.partition());
                if let Some(stretch) = stretch {
                    partition(work, owned, *stretch, bar, &mut read).await?;
                }
            }
            _ => return Err(ServiceError::Failed("the replay's own log gave nothing".to_owned())),
        }
    }
    Ok(read)
}

async fn partition(
    work: &Work,
    mut owned: Box<dyn OwnedPartition>,
    stretch: Stretch,
    bar: &ProgressBar,
    read: &mut Read,
) -> Result<(), ServiceError> {
    let Stretch { partition, from, end } = stretch;
    let mut reader = work.log.read_from(Topic::Postbacks, partition, from).await.map_err(failed)?;
    let now = UnixMillis(work.context.clock.now());
    let mut at = from;
    while at < end {
        if work.stop.is_triggered() {
            return Err(ServiceError::Failed("told to stop before the end".to_owned()));
        }
        let mut batch = reader.read(LIMIT).await.map_err(failed)?;
        let read_to = batch.next_offset;
        // Its clock goes by the records until all of them are decided.
        batch.at_end = false;
        let kept = batch.records.partition_point(|stored| stored.offset < end);
        batch.records.truncate(kept);
        if let Some(first) = batch.records.first() {
            let time = first.record.at;
            read.oldest = Some(read.oldest.map_or(time, |oldest| oldest.min(time)));
        }
        read.records += kept as u64;
        commit_all(work, &mut *owned, &batch, now).await?;
        bar.inc(read_to.min(end).saturating_sub(at));
        at = read_to;
    }
    // What is due by now fires, as it has.
    let nothing = Batch { records: Vec::new(), next_offset: at, at_end: true };
    commit_all(work, &mut *owned, &nothing, now).await
}

async fn commit_all(
    work: &Work,
    owned: &mut dyn OwnedPartition,
    batch: &Batch,
    asked_at: UnixMillis,
) -> Result<(), ServiceError> {
    let mut done = 0;
    loop {
        let input = Asked { batch, asked_at };
        let step = decide(&work.context, owned.state(), owned.partition(), input, done)
            .map_err(|error| ServiceError::Failed(error.to_string()))?;
        done = step.records_done;
        if let Some(commit) = step.commit {
            loop {
                match owned.commit(commit.clone()).await {
                    Ok(()) => break,
                    Err(CommitError::Unavailable(_)) if !work.stop.is_triggered() => {
                        tokio::time::sleep(FULL_PAUSE).await;
                    }
                    Err(error) => return Err(ServiceError::Failed(error.to_string())),
                }
            }
        }
        match step.next {
            Next::Batch => return Ok(()),
            Next::SameBatch => {}
            Next::Configuration(version) => {
                return Err(ServiceError::Failed(format!(
                    "a click was made with version {version} of the configuration, which was not \
                     in force when the replay began; begin again"
                )));
            }
        }
    }
}
