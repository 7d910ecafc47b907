//! A consumer group without state: its newest member owns everything.

use super::job::Job;
use super::requests::{Requests, unavailable};
use crate::{CommitError, GroupEvent, GroupMember, Position, ReadError};
use async_trait::async_trait;
use schemas::Topic;
use std::time::Duration;
use tokio::sync::watch;

pub struct LocalGroupMember {
    requests: Requests,
    group: String,
    generation: u64,
    newest: watch::Receiver<u64>,
    owned: Vec<(Topic, u32)>,
    assignment: Option<Vec<Position>>,
}

impl LocalGroupMember {
    pub async fn join(
        requests: Requests,
        group: &str,
        topics: &[Topic],
    ) -> Result<Self, ReadError> {
        // A prefix, so that no group can take the name under which the processors stand.
        let group = format!("group/{group}");
        let (name, topics) = (group.clone(), topics.to_vec());
        let joined = requests.ask(|reply| Job::Join { group: name, topics, reply }).await;
        let (generation, positions) = joined.map_err(unavailable)?;
        Ok(Self {
            newest: requests.shared.watch_generation(&group),
            requests,
            group,
            generation,
            owned: positions.iter().map(|p| (p.topic, p.partition)).collect(),
            assignment: Some(positions),
        })
    }
}

#[async_trait]
impl GroupMember for LocalGroupMember {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<GroupEvent>, ReadError> {
        if let Some(positions) = self.assignment.take() {
            return Ok(Some(GroupEvent::Assigned(positions)));
        }
        let generation = self.generation;
        let replaced = self.newest.wait_for(|newest| *newest != generation);
        if tokio::time::timeout(wait, replaced).await.is_err() {
            return Ok(None);
        }
        if self.owned.is_empty() {
            // Replaced for good: nothing will ever come.
            tokio::time::sleep(wait).await;
            return Ok(None);
        }
        Ok(Some(GroupEvent::Revoked(std::mem::take(&mut self.owned))))
    }

    async fn commit(&mut self, positions: Vec<Position>) -> Result<(), CommitError> {
        for position in &positions {
            if !self.owned.contains(&(position.topic, position.partition)) {
                let (topic, partition) = (position.topic, position.partition);
                return Err(CommitError::Fenced(format!("{topic}/{partition} is not ours")));
            }
            crate::limits::check_note(&position.note)?;
        }
        let (group, generation) = (self.group.clone(), self.generation);
        let job = |reply| Job::Positions { group, generation, positions, reply };
        self.requests.ask(job).await
    }
}
