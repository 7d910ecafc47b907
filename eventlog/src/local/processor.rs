//! The members of a stage on the local log: the newest one owns every partition.

use super::job::{Job, Owner};
use super::reader::LocalReader;
use super::requests::{Requests, unavailable};
use super::shared::Shared;
use super::{disk, layout};
use crate::{
    Batch, Commit, CommitError, Offset, OwnedPartition, PartitionState, ProcessorEvent,
    ProcessorMember, ReadError, ReadLimit, Reader, Stage,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub struct LocalProcessorMember {
    requests: Requests,
    stage: Stage,
    generation: u64,
    newest: watch::Receiver<u64>,
    /// Partitions to be handed out.
    due: VecDeque<u32>,
    owned: Vec<u32>,
}

impl LocalProcessorMember {
    pub fn join(requests: Requests, stage: Stage) -> Self {
        let generation = requests.shared.next_generation(stage.group());
        Self {
            newest: requests.shared.watch_generation(stage.group()),
            stage,
            generation,
            due: (0..requests.shared.config.partitions).collect(),
            owned: Vec::new(),
            requests,
        }
    }
}

#[async_trait]
impl ProcessorMember for LocalProcessorMember {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<ProcessorEvent>, ReadError> {
        let generation = self.generation;
        let newest = *self.newest.borrow();
        if newest == generation
            && let Some(partition) = self.due.front().copied()
        {
            let owned =
                LocalPartition::own(&self.requests, (self.stage, partition), generation).await?;
            self.due.pop_front();
            if !self.owned.contains(&partition) {
                self.owned.push(partition);
            }
            return Ok(Some(ProcessorEvent::Assigned(Box::new(owned))));
        }
        let replaced = self.newest.wait_for(|newest| *newest != generation);
        if tokio::time::timeout(wait, replaced).await.is_err() {
            return Ok(None);
        }
        match self.owned.pop() {
            Some(partition) => Ok(Some(ProcessorEvent::Revoked(partition))),
            None => {
                // Replaced for good: nothing will ever come.
                tokio::time::sleep(wait).await;
                Ok(None)
            }
        }
    }

    async fn reopen(&mut self, partition: u32) -> Result<(), ReadError> {
        if self.owned.contains(&partition) && !self.due.contains(&partition) {
            self.due.push_back(partition);
        }
        Ok(())
    }
}

struct LocalPartition {
    requests: Requests,
    owner: Owner,
    next_offset: Offset,
    reader: LocalReader,
    state: LocalState,
}

impl LocalPartition {
    /// Takes a partition over: whoever had it cannot commit any more, and what it had committed
    /// before is in what is read here.
    async fn own(
        requests: &Requests,
        (stage, partition): (Stage, u32),
        generation: u64,
    ) -> Result<Self, ReadError> {
        let job = |reply| Job::Own { stage, partition, generation, reply };
        let (owner, next_offset) = requests.ask(job).await.map_err(unavailable)?;
        let reader = LocalReader::open(&requests.shared, stage.input(), partition, next_offset)?;
        let state = LocalState { shared: Arc::clone(&requests.shared), stage, partition };
        Ok(Self { requests: requests.clone(), owner, next_offset, reader, state })
    }
}

#[async_trait]
impl OwnedPartition for LocalPartition {
    fn partition(&self) -> u32 {
        self.owner.partition
    }

    fn next_offset(&self) -> Offset {
        self.next_offset
    }

    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        self.reader.read(limit).await
    }

    fn state(&self) -> &dyn PartitionState {
        &self.state
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let (owner, next_offset) = (self.owner, commit.next_offset);
        self.requests.ask(|reply| Job::Commit { owner, commit, reply }).await?;
        self.next_offset = next_offset;
        Ok(())
    }
}

/// Reads inline: a key takes microseconds from memory, and rules ask for a few at a time.
struct LocalState {
    shared: Arc<Shared>,
    stage: Stage,
    partition: u32,
}

impl LocalState {
    fn damaged(&self, error: &fjall::Error) -> ReadError {
        ReadError::Damaged(disk::explain(&self.shared.store.dir, error))
    }
}

impl PartitionState for LocalState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let key = layout::state_key(self.partition, key);
        let state = self.shared.store.state(self.stage);
        let value = state.get(key).map_err(|error| self.damaged(&error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        if from >= end {
            return Ok(None);
        }
        let range = layout::state_key(self.partition, from)..layout::state_key(self.partition, end);
        let Some(guard) = self.shared.store.state(self.stage).range(range).next() else {
            return Ok(None);
        };
        let (key, value) = guard.into_inner().map_err(|error| self.damaged(&error))?;
        let key = key.get(size_of::<u32>()..).unwrap_or_default();
        Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(&value))))
    }
}
