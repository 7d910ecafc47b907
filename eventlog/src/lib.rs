//! The durable, partitioned log between the services, behind one small interface with three
//! implementations: [`local`] (fjall, one process), [`kafka`] (rdkafka) and [`simulated`] (memory,
//! faults, virtual time). No Kafka or fjall type leaks out of here.
//!
//! The promises, which `tests/contract.rs` holds all three to:
//!
//! * [`EventLog::append`] returns when the records are durable, and readers see a record only
//!   then. After [`AppendError::Unknown`] they may or may not be there.
//! * Offsets of a partition grow; readers see records in their order and never skip one. An offset
//!   that has been forgotten is [`ReadError::OutOfRange`], not a jump.
//! * [`OwnedPartition::commit`] is one atomic act: outputs, state changes and the next input
//!   offset are all there or none is, and a process that has lost the partition cannot commit.
//! * Retention never passes the slowest known consumer of a topic (local).

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{Topic, UnixMillis};
use std::time::Duration;

pub mod follow;
pub mod kafka;
pub mod limits;
pub mod local;
pub mod overlay;
pub mod patience;
pub mod simulated;
pub mod stage;

pub use stage::Stage;

/// A record's place in its partition; the next one is greater, not always by one (Kafka's
/// transaction markers take offsets too).
pub type Offset = u64;

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// For compacted topics: the last record of a key is kept. Empty: no key.
    pub key: Bytes,
    /// Empty: the key is deleted (compacted topics).
    pub value: Bytes,
    /// When it happened; retention goes by it.
    pub at: UnixMillis,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub offset: Offset,
    pub record: Record,
}

/// Some records of one partition, in order, and where to read on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub records: Vec<StoredRecord>,
    /// Read on from here; past the last record, and past anything that is not a record.
    pub next_offset: Offset,
    /// The partition had no more when this was read.
    pub at_end: bool,
}

/// The readable part of a partition: `first` is the oldest kept, `end` is where the next record
/// that is not visible yet will stand or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub first: Offset,
    pub end: Offset,
}

/// How much one read brings. The first record always comes, however large it is.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    pub records: usize,
    pub bytes: usize,
    /// How long to wait when there is nothing.
    pub wait: Duration,
}

/// A consumer's place in one partition, with a word of its own beside it (the sink's plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub topic: Topic,
    pub partition: u32,
    /// The next offset to read.
    pub next_offset: Offset,
    /// At most [`NOTE_BYTES_MAX`] bytes.
    pub note: String,
}

/// Kafka keeps 4096 bytes of metadata beside a committed offset.
pub const NOTE_BYTES_MAX: usize = 4096;

/// What to do about an append that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Not written; try again later (the sender's turn: answer 503).
    #[error("the event log cannot take records now: {0}")]
    Unavailable(String),
    /// Not written: no room for more.
    #[error("the event log is full: {0}")]
    Full(String),
    /// It may or may not have been written. Sending again is safe for the sender.
    #[error("the event log did not confirm the write: {0}")]
    Unknown(String),
    /// Never going to be taken as it is.
    #[error("the event log refuses this record: {0}")]
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the event log cannot be read now: {0}")]
    Unavailable(String),
    /// Records that nobody read are gone. Never skipped over: an operator must decide.
    #[error(
        "{topic}/{partition}: offset {asked} is gone (the log holds {first}..{end}); records were forgotten before they were read"
    )]
    OutOfRange { topic: Topic, partition: u32, asked: Offset, first: Offset, end: Offset },
    #[error("the event log is damaged: {0}")]
    Damaged(String),
    /// This process's own place for state cannot be had: taken, unwritable, full. Waiting does not
    /// help; whoever started it has to.
    #[error("{0}")]
    Unusable(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another process owns the partition now. Nothing was written; let go of it.
    #[error("the partition belongs to another process now: {0}")]
    Fenced(String),
    /// Nothing was written; the same commit may be tried again.
    #[error("the commit cannot be taken now: {0}")]
    Unavailable(String),
    /// Nobody knows. The partition must be given up and taken again, which finds out.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
}

/// Opening a log. `blame` tells the exit code: a wrong setting is the user's (78).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The settings do not fit what is there (partition count, format, address).
    #[error("{0}")]
    Configuration(String),
    /// The place cannot be used now (taken, unwritable, unreachable, full).
    #[error("{0}")]
    Unavailable(String),
}

/// One atomic step of an owned partition.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Records to write, with their topic and partition.
    pub outputs: Vec<(Topic, u32, Record)>,
    /// Keys of the partition's state; `None` deletes.
    pub state_changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Input up to here is done with.
    pub next_offset: Offset,
}

/// An event log. Cheap to share (`Arc<dyn EventLog>`).
#[async_trait]
pub trait EventLog: Send + Sync {
    /// How many partitions a topic has.
    fn partitions(&self, topic: Topic) -> u32;

    /// Appends records to a partition, in order, and resolves when they are durable, with the
    /// offset of the first. Never waits for longer than the log's own message time-out, and holds
    /// a bounded amount: when that is full the answer is [`AppendError::Unavailable`] at once.
    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>>;

    /// What a partition holds that is committed.
    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError>;

    /// A reader of one partition from an offset on.
    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError>;

    /// Joins a group whose members share the partitions of `topics` among them, each with its
    /// committed positions. For consumers that keep no state here (the sink). On the local log one
    /// member owns everything.
    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError>;

    /// Joins the members of a stage, who own partitions of its input, each with its state.
    async fn join_stage(&self, stage: Stage) -> Result<Box<dyn ProcessorMember>, ReadError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait Reader: Send {
    /// The next records; an empty batch when nothing came within `limit.wait`.
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError>;
}

/// What happens to a group member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These are yours now: start at their positions.
    Assigned(Vec<Position>),
    /// These are no longer yours: stop, forget what is not committed.
    Revoked(Vec<(Topic, u32)>),
}

/// A member of a consumer group without state.
#[async_trait]
pub trait GroupMember: Send {
    /// A pending change of what this member owns, if there is one; waits up to `wait`.
    async fn next_event(&mut self, wait: Duration) -> Result<Option<GroupEvent>, ReadError>;

    /// Stores positions with their notes, all or none where the log allows it, and never for a
    /// partition that is not this member's ([`CommitError::Fenced`]).
    async fn commit(&mut self, positions: Vec<Position>) -> Result<(), CommitError>;
}

/// What happens to a processor.
pub enum ProcessorEvent {
    /// A partition is this processor's, with its state caught up to its committed offset.
    Assigned(Box<dyn OwnedPartition>),
    /// It is no longer; its `OwnedPartition` answers `Fenced` from now on.
    Revoked(u32),
}

#[async_trait]
pub trait ProcessorMember: Send {
    /// A pending change of what this processor owns, if there is one; waits up to `wait`.
    async fn next_event(&mut self, wait: Duration) -> Result<Option<ProcessorEvent>, ReadError>;

    /// Asks for a partition again after [`CommitError::Unknown`] or an error in reading: it comes
    /// back as a new [`ProcessorEvent::Assigned`] once its state is what was really committed.
    async fn reopen(&mut self, partition: u32) -> Result<(), ReadError>;
}

/// A partition of a stage's input, owned by this process alone.
#[async_trait]
pub trait OwnedPartition: Send {
    fn partition(&self) -> u32;

    /// The committed input offset at which [`Self::read`] starts.
    fn next_offset(&self) -> Offset;

    /// The next input records after the last ones read.
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError>;

    /// The committed state of this partition.
    fn state(&self) -> &dyn PartitionState;

    /// Commits one step. After `Ok`, [`Self::state`] shows the changes.
    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError>;
}

/// The committed state of a partition: a sorted map of bytes.
pub trait PartitionState: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// The first entry with `from <= key < end`.
    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError>;
}
