//! Group members and processors of the simulation.

use super::Handle;
use super::faults::Fate;
use super::groups::{Change, Grant, Group};
use super::reader::SimulatedReader;
use crate::{
    Batch, Commit, CommitError, GroupEvent, GroupMember, Offset, OwnedPartition, PartitionState,
    Position, ProcessorEvent, ProcessorMember, ReadError, ReadLimit, Reader, Stage,
};
use async_trait::async_trait;
use bytes::Bytes;
use schemas::Topic;
use std::time::Duration;

/// A membership; leaving is dropping it.
pub struct Membership {
    handle: Handle,
    group: String,
    member: u64,
}

impl Membership {
    pub fn join(handle: Handle, group: &str, topics: &[Topic]) -> Result<Self, ReadError> {
        let member = handle.with(|world| {
            let partitions = world.partitions;
            let all = topics.iter().flat_map(|topic| {
                (0..topic.partitions(partitions)).map(|partition| (*topic, partition))
            });
            world.version += 1;
            world.groups.entry(group.to_string()).or_default().join(all)
        })?;
        Ok(Self { handle, group: group.to_string(), member })
    }

    fn in_group<T>(&self, act: impl FnOnce(&mut Group) -> T) -> Result<T, ReadError> {
        self.handle.with(|world| act(world.groups.entry(self.group.clone()).or_default()))
    }

    async fn next_change(&self, wait: Duration) -> Result<Option<Change>, ReadError> {
        let look = || self.in_group(|group| group.next_change(self.member));
        self.handle.wait_for(wait, look).await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // After a crash there is no group to leave.
        let _ = self.in_group(|group| group.leave(self.member));
        let _ = self.handle.with(|world| world.version += 1);
    }
}

pub struct SimulatedMember(pub Membership);

#[async_trait]
impl GroupMember for SimulatedMember {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<GroupEvent>, ReadError> {
        let grants = match self.0.next_change(wait).await? {
            None => return Ok(None),
            Some(Change::Revoked(places)) => return Ok(Some(GroupEvent::Revoked(places))),
            Some(Change::Assigned(grants)) => grants,
        };
        let group = self.0.group.clone();
        let position = |Grant { place: (topic, partition), .. }| {
            self.0.handle.with(|world| {
                let (next_offset, note) = world.position(&group, topic, partition);
                Position { topic, partition, next_offset, note }
            })
        };
        let positions = grants.into_iter().map(position).collect::<Result<_, _>>()?;
        Ok(Some(GroupEvent::Assigned(positions)))
    }

    async fn commit(&mut self, positions: Vec<Position>) -> Result<(), CommitError> {
        tokio::task::yield_now().await;
        for position in &positions {
            crate::limits::check_note(&position.note)?;
            let place = (position.topic, position.partition);
            let owns = self.0.in_group(|group| group.owns(self.0.member, place)).map_err(fenced)?;
            if !owns {
                return Err(CommitError::Fenced(format!("{}/{} is not ours", place.0, place.1)));
            }
        }
        let fate = self.0.handle.with(|world| world.faults.of_commit(&mut world.random));
        let group = self.0.group.clone();
        self.0.handle.commit(fate.map_err(fenced)?, |world| {
            for Position { topic, partition, next_offset, note } in positions {
                world.positions.insert((group.clone(), topic, partition), (next_offset, note));
            }
        })
    }
}

pub struct SimulatedProcessor {
    pub membership: Membership,
    pub stage: Stage,
}

impl SimulatedProcessor {
    fn put_back(&self, is_empty: bool, rest: Change) -> Result<(), ReadError> {
        if is_empty {
            return Ok(());
        }
        self.membership.in_group(|group| group.put_back(self.membership.member, rest))
    }
}

#[async_trait]
impl ProcessorMember for SimulatedProcessor {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<ProcessorEvent>, ReadError> {
        // One partition at a time: the rest of a change is put back.
        match self.membership.next_change(wait).await? {
            None => Ok(None),
            Some(Change::Revoked(mut places)) => {
                let Some((_, partition)) = places.pop() else { return Ok(None) };
                self.put_back(places.is_empty(), Change::Revoked(places))?;
                Ok(Some(ProcessorEvent::Revoked(partition)))
            }
            Some(Change::Assigned(mut grants)) => {
                let Some(Grant { place, epoch }) = grants.pop() else { return Ok(None) };
                self.put_back(grants.is_empty(), Change::Assigned(grants))?;
                let owned = SimulatedPartition::open(
                    self.membership.handle.clone(),
                    (self.stage, place.1),
                    epoch,
                )?;
                Ok(Some(ProcessorEvent::Assigned(Box::new(owned))))
            }
        }
    }

    async fn reopen(&mut self, partition: u32) -> Result<(), ReadError> {
        let place = (self.stage.input(), partition);
        self.membership.in_group(|group| group.reopen(self.membership.member, place))
    }
}

struct SimulatedPartition {
    stage: Stage,
    partition: u32,
    epoch: u64,
    next_offset: Offset,
    reader: SimulatedReader,
    state: SimulatedState,
    /// The outcome of a commit is not known: this handle is of no more use.
    in_doubt: bool,
}

impl SimulatedPartition {
    fn open(
        handle: Handle,
        (stage, partition): (Stage, u32),
        epoch: u64,
    ) -> Result<Self, ReadError> {
        let (next_offset, _) =
            handle.with(|world| world.position(stage.group(), stage.input(), partition))?;
        let reader = SimulatedReader::open(handle.clone(), stage.input(), partition, next_offset)?;
        let state = SimulatedState { handle, stage, partition };
        Ok(Self { stage, partition, epoch, next_offset, reader, state, in_doubt: false })
    }
}

#[async_trait]
impl OwnedPartition for SimulatedPartition {
    fn partition(&self) -> u32 {
        self.partition
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
        tokio::task::yield_now().await;
        let (stage, partition, epoch) = (self.stage, self.partition, self.epoch);
        let handle = &self.state.handle;
        let place = (stage.input(), partition);
        let (present, fate) = handle
            .with(|world| {
                let group = world.groups.entry(stage.group().to_string()).or_default();
                let present = group.epoch(place) == epoch;
                (present, world.faults.of_commit(&mut world.random))
            })
            .map_err(fenced)?;
        if !present {
            return Err(CommitError::Fenced(format!(
                "{}/{partition} was taken over",
                stage.input()
            )));
        }
        if self.in_doubt {
            return Err(CommitError::Unknown("the partition must be reopened first".to_string()));
        }
        let next_offset = commit.next_offset;
        let result = handle.commit(fate, |world| world.apply(stage, partition, commit));
        match &result {
            Ok(()) => self.next_offset = next_offset,
            Err(error) => self.in_doubt = matches!(error, CommitError::Unknown(_)),
        }
        result
    }
}

struct SimulatedState {
    handle: Handle,
    stage: Stage,
    partition: u32,
}

impl PartitionState for SimulatedState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.handle.with(|world| world.state.get(&(self.stage, self.partition))?.get(key).cloned())
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        if from >= end {
            return Ok(None);
        }
        self.handle.with(|world| {
            let state = world.state.get(&(self.stage, self.partition))?;
            let mut entries = state.range(from.to_vec()..end.to_vec());
            entries.next().map(|(key, value)| (Bytes::from(key.clone()), value.clone()))
        })
    }
}

fn fenced(error: ReadError) -> CommitError {
    CommitError::Fenced(error.to_string())
}

impl Handle {
    fn commit(
        &self,
        fate: Fate,
        act: impl FnOnce(&mut super::world::World),
    ) -> Result<(), CommitError> {
        let lost = || CommitError::Unknown("the answer got lost (simulated)".to_string());
        match fate {
            Fate::Unavailable => {
                return Err(CommitError::Unavailable("out of order (simulated)".to_string()));
            }
            Fate::Lost => return Err(lost()),
            Fate::Succeeds | Fate::AckLost | Fate::AckDelayed => {}
        }
        self.with(act).map_err(fenced)?;
        if fate == Fate::AckLost { Err(lost()) } else { Ok(()) }
    }
}
