//! What the simulation has seen of the processors' commits: only those that the log really took,
//! whatever it answered.

use super::Broken;
use eventlog::Offset;
use schemas::{Catalog, Topic, UnixMillis};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub type StateChanges = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One output: topic, partition, key, value.
pub type Written = (Topic, u32, Vec<u8>, Vec<u8>);

/// A commit that the log took, and what its processor knew.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Input that was done with before and after.
    pub from: Offset,
    pub next: Offset,
    /// Nothing of the batch was left, and the batch was at the partition's end.
    pub batch_done: bool,
    pub batch_at_end: bool,
    /// That processor's wall clock when it decided, and when it asked for the batch.
    pub wall: UnixMillis,
    pub asked_at: UnixMillis,
    pub catalog: Arc<Catalog>,
    pub outputs: Vec<Written>,
}

/// One partition's past.
#[derive(Debug, Default)]
pub struct Past {
    pub taken: Vec<Taken>,
    /// State changes of every commit, in order: what Kafka's `processor-state` holds.
    pub changelog: Vec<StateChanges>,
    /// Handles whose commits were taken, in order; each has one stretch.
    pub owners: Vec<u64>,
    /// Every handle that somebody holds, and its wall clock when it last had nothing left to do.
    pub handles: BTreeMap<u64, Option<UnixMillis>>,
}

impl Past {
    /// The time up to which everybody who holds the partition has nothing left to do; none when
    /// nobody holds it.
    pub fn quiet_at(&self) -> Option<UnixMillis> {
        self.handles.values().copied().min().flatten()
    }
}

#[derive(Debug, Default)]
pub struct History {
    pub partitions: BTreeMap<u32, Past>,
    pub commits: u64,
    pub handles: u64,
    /// The first law that was broken on the way.
    pub broken: Option<Broken>,
}

impl History {
    pub fn past(&mut self, partition: u32) -> &mut Past {
        self.partitions.entry(partition).or_default()
    }

    pub fn breaks(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }
}

pub type SharedHistory = Arc<Mutex<History>>;

/// A lock that a panic elsewhere does not close.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
