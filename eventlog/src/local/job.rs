//! What the writer is asked to do.

use super::shared::Shared;
use crate::{AppendError, Commit, CommitError, Offset, Position, Record, Stage};
use schemas::Topic;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Whom a commit comes from; the writer knows who owns what now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub stage: Stage,
    pub partition: u32,
    /// Of the stage's members: a newer one takes everything at once.
    pub generation: u64,
    /// Of the partition: whoever opened it last.
    pub epoch: u64,
}

pub enum Job {
    Append {
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
        room: Room,
        reply: oneshot::Sender<Result<Offset, AppendError>>,
    },
    Commit {
        owner: Owner,
        commit: Commit,
        reply: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Makes the caller the owner of a partition of a stage's input; answers with its committed
    /// offset.
    Own {
        stage: Stage,
        partition: u32,
        generation: u64,
        reply: oneshot::Sender<Result<(Owner, Offset), CommitError>>,
    },
    /// Makes the caller the one member of a group; answers with its positions.
    Join {
        group: String,
        topics: Vec<Topic>,
        reply: oneshot::Sender<Result<(u64, Vec<Position>), CommitError>>,
    },
    Positions {
        group: String,
        generation: u64,
        positions: Vec<Position>,
        reply: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Forgets a partition's records from `from` to before `to`, which count for `bytes`.
    Forget {
        topic: Topic,
        partition: u32,
        from: Offset,
        to: Offset,
        bytes: u64,
        reply: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Where the slowest known consumer of a partition stands.
    Slowest {
        topic: Topic,
        partition: u32,
        reply: oneshot::Sender<Result<Option<Offset>, CommitError>>,
    },
    /// The last job: what came before it is written, then the writer ends.
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Room in the queue, given back when the job is done with.
pub struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Room {
    pub fn take(shared: &Arc<Shared>, bytes: usize) -> Option<Self> {
        let before = shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Self { shared: Arc::clone(shared), bytes };
        (before + bytes <= super::config::QUEUE_BYTES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.queued_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
