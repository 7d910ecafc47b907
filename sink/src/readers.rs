//! Reading every owned partition at once, a bounded way ahead of the inserts.

use crate::backoff::Backoff;
use crate::config::{FlushLimits, READ_RECORDS_MAX};
use crate::decode::{Chunk, decode};
use crate::error::Error;
use crate::plan::{OffsetRange, Source};
use eventlog::{EventLog, Offset, ReadError, ReadLimit, Reader};
use schemas::UnixMillis;
use service::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long a read waits for a first record.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Smallest read of a partition: below it, reading costs more than what it brings.
const READ_BYTES_MIN: usize = 64 * 1024;
const READ_RECORDS_MIN: usize = 1_000;
/// Reads without anything new before it counts as certain that the log lost its end. A broker
/// that has just taken over may need a moment to show it.
const STALLED_READS_MAX: u32 = 30;

/// One reading task a partition. Each holds at most one chunk that nobody took yet, and a chunk is
/// a partition's part of a plan's limits, so all of them together hold about one plan.
pub struct Readers {
    chunks: mpsc::Receiver<Result<Chunk, Error>>,
    // Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

impl Readers {
    /// Starts reading at the given offsets.
    #[must_use]
    pub fn start(
        log: &Arc<dyn EventLog>,
        clock: &Clock,
        starts: &BTreeMap<Source, Offset>,
        limits: FlushLimits,
    ) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let limit = share(limits, starts.len());
        for (&source, &offset) in starts {
            let (log, clock, sender) = (Arc::clone(log), clock.clone(), sender.clone());
            tasks.spawn(async move {
                let Err(error) = read_all(&*log, &clock, source, offset, limit, &sender).await
                else {
                    return;
                };
                // Nobody listening any more is as good as having told.
                let _ = sender.send(Err(error)).await;
            });
        }
        Self { chunks, _tasks: tasks }
    }

    /// The next chunk of any partition; waits for ever when nothing is owned. Loses nothing when
    /// it is dropped before it is done.
    pub async fn next(&mut self) -> Result<Chunk, Error> {
        match self.chunks.recv().await {
            Some(chunk) => chunk,
            None => std::future::pending().await,
        }
    }
}

/// A partition's part of a plan.
fn share(limits: FlushLimits, partitions: usize) -> ReadLimit {
    let partitions = partitions.max(1);
    ReadLimit {
        records: (limits.rows / partitions).clamp(READ_RECORDS_MIN, READ_RECORDS_MAX),
        bytes: (limits.bytes / partitions).max(READ_BYTES_MIN),
        wait: READ_WAIT,
    }
}

async fn read_all(
    log: &dyn EventLog,
    clock: &Clock,
    source: Source,
    mut offset: Offset,
    limit: ReadLimit,
    sender: &mpsc::Sender<Result<Chunk, Error>>,
) -> Result<(), Error> {
    let mut reader = open(log, source, offset).await?;
    let mut backoff = Backoff::default();
    loop {
        let batch = match reader.read(limit).await {
            Ok(batch) => batch,
            Err(ReadError::Unavailable(problem)) => {
                unavailable(source, &problem, &mut backoff).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        backoff = Backoff::default();
        if batch.next_offset <= offset {
            continue;
        }
        let chunk = decode(source, offset, &batch, UnixMillis(clock.now()))?;
        offset = batch.next_offset;
        if sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads exactly one planned range again.
pub async fn read_range(
    log: &dyn EventLog,
    clock: &Clock,
    source: Source,
    range: OffsetRange,
) -> Result<Chunk, Error> {
    let now = UnixMillis(clock.now());
    let nothing = eventlog::Batch { next_offset: range.from, ..eventlog::Batch::default() };
    let mut whole = decode(source, range.from, &nothing, now)?;
    let limit = ReadLimit {
        records: READ_RECORDS_MAX,
        bytes: FlushLimits::default().bytes,
        wait: READ_WAIT,
    };
    let mut reader = open(log, source, range.from).await?;
    let (mut backoff, mut stalled) = (Backoff::default(), 0);
    while whole.range.end < range.end {
        let mut batch = match reader.read(limit).await {
            Ok(batch) => batch,
            Err(ReadError::Unavailable(problem)) => {
                unavailable(source, &problem, &mut backoff).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if batch.next_offset <= whole.range.end {
            stalled += 1;
            if stalled == STALLED_READS_MAX {
                let ((topic, partition), end, found) = (source, range.end, whole.range.end);
                return Err(Error::LogWentBack { topic, partition, end, found });
            }
            continue;
        }
        stalled = 0;
        batch.records.retain(|stored| stored.offset < range.end);
        batch.next_offset = batch.next_offset.min(range.end);
        let next = decode(source, whole.range.end, &batch, now)?;
        whole.range.end = next.range.end;
        whole.bytes += next.bytes;
        whole.rows.append(next.rows);
    }
    Ok(whole)
}

async fn open(
    log: &dyn EventLog,
    source: Source,
    offset: Offset,
) -> Result<Box<dyn Reader>, Error> {
    let mut backoff = Backoff::default();
    loop {
        match log.read_from(source.0, source.1, offset).await {
            Ok(reader) => return Ok(reader),
            Err(ReadError::Unavailable(problem)) => {
                unavailable(source, &problem, &mut backoff).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn unavailable(source: Source, problem: &str, backoff: &mut Backoff) {
    metrics::counter!("gokart_sink_retries_total", "what" => "read").increment(1);
    tracing::warn!(topic = %source.0, partition = source.1, problem, "the event log cannot be read");
    backoff.wait().await;
}
