//! A consumer group without state.

use super::fetch::FetchPool;
use super::membership::{Change, Membership};
use crate::{CommitError, GroupEvent, GroupMember, Position, ReadError};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct KafkaGroupMember {
    membership: Membership,
    fetch: Arc<FetchPool>,
}

impl KafkaGroupMember {
    pub fn new(membership: Membership, fetch: Arc<FetchPool>) -> Self {
        Self { membership, fetch }
    }

    /// A partition that nobody committed for yet starts at its beginning.
    async fn positions(
        &self,
        places: Vec<(schemas::Topic, u32)>,
    ) -> Result<Vec<Position>, ReadError> {
        let mut positions = Vec::new();
        for ((topic, partition), committed) in self.membership.committed(places).await? {
            let (next_offset, note) = match committed {
                Some(position) => position,
                None => (self.fetch.bounds(topic, partition).await?.first, String::new()),
            };
            positions.push(Position { topic, partition, next_offset, note });
        }
        Ok(positions)
    }
}

#[async_trait]
impl GroupMember for KafkaGroupMember {
    async fn next_event(&mut self, wait: Duration) -> Result<Option<GroupEvent>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.membership.take_change() {
                Some(Change::Revoked(places)) => return Ok(Some(GroupEvent::Revoked(places))),
                Some(Change::Assigned(places)) if places.is_empty() => {}
                Some(Change::Assigned(places)) => {
                    let found = self.positions(places.clone()).await;
                    if found.is_err() {
                        self.membership.put_back(Change::Assigned(places));
                    }
                    return found.map(|positions| Some(GroupEvent::Assigned(positions)));
                }
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.membership.poll(left).await?;
                    let after = self.membership.take_change();
                    match after {
                        Some(change) => self.membership.put_back(change),
                        None if Instant::now() >= deadline => return Ok(None),
                        None => {}
                    }
                }
            }
        }
    }

    async fn commit(&mut self, positions: Vec<Position>) -> Result<(), CommitError> {
        for position in &positions {
            crate::limits::check_note(&position.note)?;
            let place = (position.topic, position.partition);
            if !self.membership.owns(place) {
                return Err(CommitError::Fenced(format!("{}/{} is not ours", place.0, place.1)));
            }
        }
        if positions.is_empty() {
            return Ok(());
        }
        self.membership.commit(positions).await
    }
}
