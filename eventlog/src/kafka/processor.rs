//! A member of a stage: partitions of its input, each with its state caught up.

use super::committer::{Committer, Fence};
use super::ends::Ends;
use super::fetch::{FetchPool, KafkaReader};
use super::membership::{Change, Membership};
use super::restore;
use super::store::StateStore;
use crate::limits::check_records;
use crate::{
    Batch, Commit, CommitError, Offset, OwnedPartition, PartitionState, ProcessorEvent,
    ProcessorMember, ReadError, ReadLimit, Reader, Stage,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The group's dealings are looked at so often while a partition is being restored.
const POLL_SLICE: Duration = Duration::from_millis(100);
/// After a partition could not be restored.
const RESTORE_AGAIN: Duration = Duration::from_secs(1);
/// Restored partitions that nobody has taken yet.
const RESTORED: usize = 64;

/// The fences of what is ours now, by partition.
pub type Fences = Arc<Mutex<HashMap<u32, Fence>>>;

/// What partitions are opened with.
#[derive(Clone)]
pub struct Resources {
    pub stage: Stage,
    pub fetch: Arc<FetchPool>,
    pub store: Arc<StateStore>,
    pub committer: Committer,
    pub ends: Ends,
    /// Partitions of `postbacks`.
    pub partitions: u32,
}

pub struct KafkaProcessorMember {
    membership: Arc<Membership>,
    resources: Resources,
    fences: Fences,
    events: VecDeque<ProcessorEvent>,
    restored: mpsc::Receiver<(u32, Fence, Result<KafkaPartition, ReadError>)>,
    restoring: mpsc::Sender<(u32, Fence, Result<KafkaPartition, ReadError>)>,
}

impl KafkaProcessorMember {
    pub fn new(membership: Membership, resources: Resources, fences: Fences) -> Self {
        let (restoring, restored) = mpsc::channel(RESTORED);
        let membership = Arc::new(membership);
        Self { membership, resources, fences, events: VecDeque::new(), restored, restoring }
    }

    /// Begins to catch a partition up; earlier handles of it are fenced.
    fn restore(&self, partition: u32, pause: Duration) {
        let fence: Fence = Arc::new(AtomicBool::new(false));
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = fences.insert(partition, Arc::clone(&fence)) {
            older.store(true, Ordering::Release);
        }
        drop(fences);
        let (membership, resources) = (Arc::clone(&self.membership), self.resources.clone());
        let done = self.restoring.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            let opened = KafkaPartition::open(&membership, resources, partition, &fence).await;
            metrics::histogram!("gokart_log_takeover_seconds").record(began.elapsed());
            // The member is gone, and the partition with it.
            let _ = done.send((partition, fence, opened)).await;
        });
    }

    fn take_change(&mut self) {
        match self.membership.take_change() {
            None => {}
            Some(Change::Assigned(places)) => {
                for (_, partition) in places {
                    self.restore(partition, Duration::ZERO);
                }
            }
            Some(Change::Revoked(places)) => {
                let revoked = places.into_iter().map(|(_, it)| ProcessorEvent::Revoked(it));
                self.events.extend(revoked);
            }
        }
    }

    fn take_restored(
        &mut self,
        (partition, fence, opened): (u32, Fence, Result<KafkaPartition, ReadError>),
    ) -> Result<(), ReadError> {
        if fence.load(Ordering::Acquire) {
            // Revoked or opened once more meanwhile.
            return Ok(());
        }
        match opened {
            Ok(opened) => {
                self.events.push_back(ProcessorEvent::Assigned(Box::new(opened)));
                Ok(())
            }
            Err(ReadError::Unavailable(why)) => {
                tracing::warn!(partition, %why, "a partition could not be opened; again");
                self.restore(partition, RESTORE_AGAIN);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl ProcessorMember for KafkaProcessorMember {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<ProcessorEvent>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            self.take_change();
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let membership = Arc::clone(&self.membership);
            tokio::select! {
                biased;
                Some(restored) = self.restored.recv() => self.take_restored(restored)?,
                polled = membership.poll(left.min(POLL_SLICE)) => polled?,
            }
            if left.is_zero() {
                self.take_change();
                return Ok(self.events.pop_front());
            }
        }
    }

    async fn reopen(&mut self, partition: u32) -> Result<(), ReadError> {
        if self.membership.owns((self.resources.stage.input(), partition)) {
            self.restore(partition, Duration::ZERO);
        }
        Ok(())
    }
}

impl Drop for KafkaProcessorMember {
    fn drop(&mut self) {
        let fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        fences.values().for_each(|fence| fence.store(true, Ordering::Release));
    }
}

pub struct KafkaPartition {
    resources: Resources,
    partition: u32,
    fence: Fence,
    next_offset: Offset,
    reader: KafkaReader,
    state: KafkaState,
    /// The outcome of a commit is not known: this handle is of no more use.
    in_doubt: bool,
}

impl KafkaPartition {
    async fn open(
        membership: &Membership,
        resources: Resources,
        partition: u32,
        fence: &Fence,
    ) -> Result<Self, ReadError> {
        // What this process left in doubt must be decided before the state is read.
        resources.committer.settle().await?;
        let next_offset = restore::catch_up(membership, &resources, partition, fence).await?;
        let reader =
            resources.fetch.read_from(resources.stage.input(), partition, next_offset).await?;
        let state = KafkaState { store: Arc::clone(&resources.store), partition };
        let fence = Arc::clone(fence);
        Ok(Self { resources, partition, fence, next_offset, reader, state, in_doubt: false })
    }
}

#[async_trait]
impl OwnedPartition for KafkaPartition {
    fn partition(&self) -> u32 {
        self.partition
    }

    fn next_offset(&self) -> Offset {
        self.next_offset
    }

    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        let mut batch = self.reader.read(limit).await?;
        // With records there is no hurry: the next read meets the end.
        batch.at_end = batch.at_end
            && batch.records.is_empty()
            && self.resources.ends.is_end(self.partition, batch.next_offset).await;
        Ok(batch)
    }

    fn state(&self) -> &dyn PartitionState {
        &self.state
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        if self.fence.load(Ordering::Acquire) {
            let input = self.resources.stage.input();
            let why = format!("{input}/{} was revoked", self.partition);
            return Err(CommitError::Fenced(why));
        }
        if self.in_doubt {
            return Err(CommitError::Unknown("the partition must be reopened first".to_string()));
        }
        for (topic, partition, record) in &commit.outputs {
            let partitions = topic.partitions(self.resources.partitions);
            check_records(*topic, *partition, partitions, std::slice::from_ref(record))
                .map_err(|error| CommitError::Unavailable(error.to_string()))?;
        }
        let next_offset = commit.next_offset;
        // Also when this call is dropped before its answer comes.
        self.in_doubt = true;
        let result = self.resources.committer.commit(self.partition, &self.fence, commit).await;
        match &result {
            Ok(()) => (self.next_offset, self.in_doubt) = (next_offset, false),
            Err(error) => self.in_doubt = matches!(error, CommitError::Unknown(_)),
        }
        result
    }
}

/// Reads inline: a key takes microseconds from memory, and rules ask for a few at a time.
struct KafkaState {
    store: Arc<StateStore>,
    partition: u32,
}

impl PartitionState for KafkaState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.store.get(self.partition, key)
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        self.store.first_in(self.partition, from, end)
    }
}
