//! Why the sink cannot start or go on. What can mend itself (ClickHouse away, the log not
//! answering) is not here: it is waited for.

use eventlog::{Offset, ReadError};
use schemas::{DecodeError, Topic};
use service::ServiceError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting is wrong: change it.
    #[error("{0}")]
    Configuration(String),
    /// ClickHouse could not be used when the sink started.
    #[error(
        "ClickHouse at {url} cannot be used: {problem}; start it or choose another with --clickhouse"
    )]
    Unreachable { url: String, problem: String },
    /// ClickHouse refused a statement of ours that sets up the tables.
    #[error("ClickHouse refused {file}: {problem}")]
    Migration { file: String, problem: String },
    /// A file that the database already has says something else now.
    #[error(
        "{file} was changed after it had been applied to this database (it was {applied}, it is {now}); put it back and add a new file instead"
    )]
    MigrationChanged { file: String, applied: String, now: String },
    /// Somebody newer set the database up.
    #[error(
        "the database has file {number} ({name}), which this build does not know; run a build that does"
    )]
    MigrationUnknown { number: u32, name: String },
    /// A newer writer's record: stop, upgrade.
    #[error("{topic}/{partition} at {offset}: {source}")]
    UnknownRecord { topic: Topic, partition: u32, offset: Offset, source: DecodeError },
    /// What stands beside a committed position is not a plan of ours.
    #[error(
        "{topic}/{partition}: the note beside the committed offset {next_offset} cannot be read ({problem}); run the build that wrote it, or reset the group's offset by hand"
    )]
    Note { topic: Topic, partition: u32, next_offset: Offset, problem: String },
    /// Records that were read before are not there any more.
    #[error(
        "{topic}/{partition}: records up to {end} had been read, but the log ends at {found}; restore the log, or reset the group's offset by hand"
    )]
    LogWentBack { topic: Topic, partition: u32, end: Offset, found: Offset },
    #[error(transparent)]
    Log(#[from] ReadError),
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        match error {
            Error::Configuration(text) => Self::Configuration(text),
            other => Self::Failed(other.to_string()),
        }
    }
}
