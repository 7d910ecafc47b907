//! What can stop a partition, sorted by what to do about it.

use crate::overlay::StateError;
use eventlog::{CommitError, Offset, ReadError};
use schemas::DecodeError;

#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// Somebody else has the partition: let go of it, quietly.
    #[error("partition {partition} was taken over: {reason}")]
    Lost { partition: u32, reason: String },
    /// Passing: take the partition again, which finds out what was committed.
    #[error("partition {partition} is interrupted: {reason}")]
    Interrupted { partition: u32, reason: String },
    /// Going on would be guessing: stop the process and tell people.
    #[error("the processor stops at partition {partition}: {reason}")]
    Fatal { partition: u32, reason: String },
}

impl ProcessorError {
    pub(crate) fn from_read(partition: u32, error: ReadError) -> Self {
        let reason = error.to_string();
        match error {
            ReadError::Unavailable(_) => Self::Interrupted { partition, reason },
            ReadError::OutOfRange { .. } | ReadError::Damaged(_) | ReadError::Unusable(_) => {
                Self::Fatal { partition, reason }
            }
        }
    }

    pub(crate) fn from_state(partition: u32, error: StateError) -> Self {
        match error {
            StateError::Read(error) => Self::from_read(partition, error),
            StateError::Damaged(damaged) => Self::Fatal { partition, reason: damaged.to_string() },
        }
    }

    pub(crate) fn from_commit(partition: u32, error: CommitError) -> Self {
        let reason = error.to_string();
        match error {
            CommitError::Fenced(_) => Self::Lost { partition, reason },
            CommitError::Unavailable(_) | CommitError::Unknown(_) => {
                Self::Interrupted { partition, reason }
            }
        }
    }

    /// A record of a newer format: reading on would misunderstand it.
    pub(crate) fn newer_format(partition: u32, offset: Offset, error: &DecodeError) -> Self {
        Self::Fatal {
            partition,
            reason: format!("postbacks/{partition} at offset {offset}: {error}"),
        }
    }
}
