//! What the local log is opened with.

use super::disk;
use schemas::{Topic, UnixMillis};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_MS: i64 = schemas::time::DAY_MS;

/// Jobs (appends, commits) that may wait for the writer.
pub const QUEUE_JOBS: usize = 16_384;
/// Bytes of records that may wait for the writer.
pub const QUEUE_BYTES: usize = 64 << 20;
/// A group commit stops collecting at this size, so that its first append does not wait too long.
pub const GROUP_BYTES: usize = 8 << 20;
/// And at this many jobs.
pub const GROUP_JOBS: usize = 4_096;

const _: () = assert!(GROUP_BYTES < QUEUE_BYTES);
const _: () = assert!(GROUP_JOBS < QUEUE_JOBS);
const _: () = assert!(crate::limits::RECORD_BYTES_MAX < GROUP_BYTES);

/// How much of a topic is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Consumed records older than this are forgotten.
    pub age_ms: i64,
    /// The quota: at this size appends to the topic answer `Full`. Consumed records are forgotten
    /// from seven eighths of it on.
    pub bytes: u64,
}

/// Retention of each topic that has one; compacted topics keep the last record of each key.
#[derive(Debug, Clone, Copy)]
pub struct RetentionTable {
    /// A quota of its own, so that a flood of clicks cannot stop postbacks.
    pub clicks: Retention,
    pub postbacks: Retention,
    pub decisions: Retention,
    pub refused: Retention,
    pub dead_letters: Retention,
    pub deliveries: Retention,
}

impl Default for RetentionTable {
    fn default() -> Self {
        Self {
            clicks: Retention { age_ms: 3 * DAY_MS, bytes: 8 * GIB },
            postbacks: Retention { age_ms: 14 * DAY_MS, bytes: 16 * GIB },
            decisions: Retention { age_ms: 14 * DAY_MS, bytes: 16 * GIB },
            refused: Retention { age_ms: 14 * DAY_MS, bytes: 256 * MIB },
            dead_letters: Retention { age_ms: 90 * DAY_MS, bytes: 256 * MIB },
            deliveries: Retention { age_ms: 14 * DAY_MS, bytes: 4 * GIB },
        }
    }
}

impl RetentionTable {
    /// Forgets nothing and takes anything: for tools that read a log which is not theirs.
    #[must_use]
    pub const fn everything() -> Self {
        let all = Retention { age_ms: i64::MAX, bytes: u64::MAX };
        Self {
            clicks: all,
            postbacks: all,
            decisions: all,
            refused: all,
            dead_letters: all,
            deliveries: all,
        }
    }

    /// What holds for a topic; `None` for a compacted one.
    #[must_use]
    pub fn of(&self, topic: Topic) -> Option<Retention> {
        match topic {
            Topic::Clicks => Some(self.clicks),
            Topic::Postbacks => Some(self.postbacks),
            Topic::Decisions => Some(self.decisions),
            Topic::Refused => Some(self.refused),
            Topic::DeadLetters => Some(self.dead_letters),
            Topic::Deliveries => Some(self.deliveries),
            Topic::Config | Topic::Availability | Topic::ProcessorState | Topic::DeliveryState => {
                None
            }
            // A request is kept as long as what it is about.
            Topic::Erasures => Some(self.decisions),
        }
    }
}

/// Where time comes from (retention goes by it).
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Settings of a [`super::LocalLog`].
#[derive(Clone)]
pub struct LocalConfig {
    /// The directory of the log; made when missing.
    pub dir: PathBuf,
    /// Partitions of `postbacks`; recorded when the log is made, and the same ever after.
    pub partitions: u32,
    /// Every acknowledged record has been synced to the disk. Without it an acknowledged record
    /// survives the death of the process, but not of the machine.
    pub fsync: bool,
    pub retention: RetentionTable,
    /// Below this much free space appends answer `Full`.
    pub min_free_disk_bytes: u64,
    /// An append that takes longer answers `Unknown`.
    pub message_timeout: Duration,
    pub now: Clock,
}

impl LocalConfig {
    /// The defaults for a directory: synced, by the wall clock.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, partitions: u32) -> Self {
        Self {
            dir: dir.into(),
            partitions,
            fsync: true,
            retention: RetentionTable::default(),
            min_free_disk_bytes: 512 * MIB,
            message_timeout: Duration::from_secs(5),
            now: Arc::new(disk::wall_clock),
        }
    }
}
