//! What this sink owns of the group `sink`, and how far it is there.

use crate::backoff::Backoff;
use crate::error::Error;
use crate::measure::Progress;
use crate::plan::Source;
use eventlog::{CommitError, GroupEvent, GroupMember, Position, ReadError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Yes,
    /// Something in it belongs to another member now: join again and start from what is there.
    Fenced,
}

/// This member of the group and the committed positions of what it owns.
pub struct Membership {
    member: Box<dyn GroupMember>,
    owned: BTreeMap<Source, Position>,
    /// Taken away, or given anew, since the last call of [`Self::settle`].
    disturbed: BTreeSet<Source>,
    changed: bool,
    progress: Progress,
}

impl Membership {
    /// `progress` follows what is owned and committed.
    #[must_use]
    pub fn new(member: Box<dyn GroupMember>, progress: Progress) -> Self {
        let (owned, disturbed) = (BTreeMap::new(), BTreeSet::new());
        let membership = Self { member, owned, disturbed, changed: false, progress };
        membership.show_progress();
        membership
    }

    fn show_progress(&self) {
        if let Ok(mut progress) = self.progress.lock() {
            let offsets = self.owned.iter().map(|(source, at)| (*source, at.next_offset));
            *progress = offsets.collect();
        }
    }

    /// The committed position of everything owned.
    #[must_use]
    pub fn owned(&self) -> &BTreeMap<Source, Position> {
        &self.owned
    }

    /// Takes in the changes that are pending, waiting up to `wait` for a first one.
    pub async fn poll(&mut self, mut wait: Duration) -> Result<(), Error> {
        loop {
            match self.member.next_event(wait).await {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => self.apply(event),
                Err(ReadError::Unavailable(problem)) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "group").increment(1);
                    tracing::warn!(problem, "the event log does not answer");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            wait = Duration::ZERO;
        }
    }

    fn apply(&mut self, event: GroupEvent) {
        self.changed = true;
        match event {
            GroupEvent::Assigned(positions) => {
                tracing::info!(partitions = positions.len(), "partitions assigned");
                for position in positions {
                    let source = (position.topic, position.partition);
                    if self.owned.insert(source, position).is_some() {
                        self.disturbed.insert(source);
                    }
                }
            }
            GroupEvent::Revoked(sources) => {
                tracing::info!(partitions = sources.len(), "partitions revoked");
                for source in sources {
                    self.owned.remove(&source);
                    self.disturbed.insert(source);
                }
            }
        }
        self.show_progress();
    }

    /// Whether anything changed since the last call of [`Self::settle`].
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Whether one of these was taken away, even if it has come back.
    pub fn lost<'a>(&self, mut sources: impl Iterator<Item = &'a Source>) -> bool {
        sources.any(|source| self.disturbed.contains(source) || !self.owned.contains_key(source))
    }

    /// What is owned now is what is worked on from here.
    pub fn settle(&mut self) {
        self.disturbed.clear();
        self.changed = false;
    }

    /// Stores positions, as often as it takes: storing the same twice changes nothing.
    pub async fn commit(&mut self, positions: Vec<Position>) -> Result<Committed, Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.member.commit(positions.clone()).await {
                Ok(()) => break,
                Err(CommitError::Fenced(problem)) => {
                    tracing::info!(problem, "partitions went to another sink");
                    return Ok(Committed::Fenced);
                }
                Err(CommitError::Unavailable(problem) | CommitError::Unknown(problem)) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "commit").increment(1);
                    tracing::warn!(problem, "offsets cannot be committed; trying again");
                    backoff.wait().await;
                }
            }
        }
        for position in positions {
            self.owned.insert((position.topic, position.partition), position);
        }
        self.show_progress();
        Ok(Committed::Yes)
    }
}
