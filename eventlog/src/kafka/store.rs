//! The processor's copy of the state: fjall, and always a prefix of the committed changelog.
//!
//! Nothing is synced here: what a crash loses is read from the changelog again. But every batch
//! holds the changes together with the changelog offset after them, so what is left after a crash
//! is still a prefix.
//!
//! A changelog forgets deletions after a time (`delete.retention.ms`). A copy that was left behind
//! for longer would never hear of some, and would keep what was deleted; so each partition's copy
//! holds when it was last whole, and one that is too old is built anew ([`Progress::is_too_old`]).

use crate::{Offset, OpenError, ReadError};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use schemas::UnixMillis;
use schemas::time::HOUR_MS;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CACHE_BYTES: u64 = 128 << 20;
/// Changes in memory before they are written to a table. While a partition is taken over, up to four
/// more of these wait to be written.
const MEMTABLE_BYTES: u64 = 48 << 20;
/// Journals before their content is written to tables: they are disk that holds everything twice.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Threads that write memory to tables and merge those. After a table is written, as many jobs to merge
/// are handed out, and the first thread only hands them on, in a tight loop while all others are
/// busy: with two, fjall's choice on two cores, that was a sixth of a processor's CPU. One could come
/// to wait for itself.
const WORKERS: usize = 4;
/// Keys deleted in one batch when a partition is wiped.
const WIPE_KEYS: usize = 10_000;

/// A copy that was last whole this long ago is built anew.
const COPY_AGE_MAX_MS: i64 = 12 * HOUR_MS;
/// How long a changelog must remember a deletion: Kafka's default for new topics.
pub const DELETIONS_KEPT_MS: i64 = 24 * HOUR_MS;

// The difference is what a restore, and clocks that disagree, may take.
const _: () = assert!(2 * COPY_AGE_MAX_MS <= DELETIONS_KEPT_MS);

/// The layout of what is stored; a copy of another one is built anew.
const FORMAT: &str = "2";

/// How far the copy of a partition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Read on in the changelog from here.
    pub changelog_next: Offset,
    /// The input up to here is in the state; `None` before the first commit was seen.
    pub input_next: Option<Offset>,
    /// When the copy had everything that was in the changelog, or began to be built.
    pub whole_at: UnixMillis,
}

impl Progress {
    /// Whether the changelog may have forgotten deletions that this copy has not seen.
    #[must_use]
    pub fn is_too_old(&self, now: UnixMillis) -> bool {
        now.since(self.whole_at) > COPY_AGE_MAX_MS
    }
}

pub struct StateStore {
    dir: PathBuf,
    db: Database,
    state: Keyspace,
    progress: Keyspace,
}

impl StateStore {
    /// Opens the copy that belongs to the topics `identity` names. A copy of other topics is of no
    /// use and is wiped.
    pub fn open(dir: &Path, identity: &str) -> Result<Self, OpenError> {
        let say = |error: fjall::Error| OpenError::Unavailable(explain(dir, &error));
        let builder = Database::builder(dir).cache_size(CACHE_BYTES);
        let builder = builder.worker_threads(WORKERS);
        let db = builder.max_journaling_size(JOURNAL_BYTES).open().map_err(say)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = |name: &str| db.keyspace(name, options).map_err(say);
        let (meta, state, progress) =
            (keyspace("meta")?, keyspace("state")?, keyspace("progress")?);
        let identity = format!("{FORMAT} {identity}");
        if meta.get("identity").map_err(say)?.as_deref() != Some(identity.as_bytes()) {
            state.clear().and_then(|()| progress.clear()).map_err(say)?;
            meta.insert("identity", identity.as_bytes()).map_err(say)?;
            db.persist(PersistMode::SyncAll).map_err(say)?;
        }
        Ok(Self { dir: dir.to_path_buf(), db, state, progress })
    }

    fn damaged(&self, error: &fjall::Error) -> ReadError {
        ReadError::Damaged(explain(&self.dir, error))
    }

    pub fn progress(&self, partition: u32) -> Result<Option<Progress>, ReadError> {
        let bytes = self.progress.get(partition.to_be_bytes()).map_err(|e| self.damaged(&e))?;
        let number = |bytes: &[u8], at: usize| {
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        Ok(bytes.and_then(|bytes| {
            Some(Progress {
                changelog_next: number(&bytes, 0)?,
                whole_at: UnixMillis(number(&bytes, 8)?.cast_signed()),
                input_next: number(&bytes, 16),
            })
        }))
    }

    /// Applies committed changes in their order, with how far the copy goes after them.
    pub fn apply<'a>(
        &self,
        partition: u32,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
        progress: Progress,
    ) -> Result<(), ReadError> {
        let mut changes: Vec<_> = changes.collect();
        // One sequence number for the whole batch: no key may be in it twice, and the last wins. In
        // the order of keys they are cheapest to store, and a commit's are in it already.
        if !changes.is_sorted_by(|(one, _), (next, _)| one < next) {
            let last: BTreeMap<_, _> = changes.into_iter().collect();
            changes = last.into_iter().collect();
        }
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        for (key, value) in changes {
            let key = state_key(partition, key);
            match value {
                Some(value) => batch.insert(&self.state, key, value),
                None => batch.remove(&self.state, key),
            }
        }
        let mut bytes = progress.changelog_next.to_be_bytes().to_vec();
        bytes.extend_from_slice(&progress.whole_at.0.to_be_bytes());
        if let Some(input_next) = progress.input_next {
            bytes.extend_from_slice(&input_next.to_be_bytes());
        }
        batch.insert(&self.progress, partition.to_be_bytes(), bytes);
        batch.commit().map_err(|error| self.damaged(&error))
    }

    /// Forgets a partition's copy, so that it is built anew. The progress goes first: a crash in
    /// between starts the wiping again.
    pub fn wipe(&self, partition: u32) -> Result<(), ReadError> {
        let say = |error: fjall::Error| self.damaged(&error);
        self.progress.remove(partition.to_be_bytes()).map_err(say)?;
        loop {
            let mut batch = self.db.batch();
            for guard in self.state.prefix(partition.to_be_bytes()).take(WIPE_KEYS) {
                batch.remove(&self.state, guard.key().map_err(say)?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit().map_err(say)?;
        }
    }

    pub fn get(&self, partition: u32, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let value = self.state.get(state_key(partition, key)).map_err(|e| self.damaged(&e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub fn first_in(
        &self,
        partition: u32,
        from: &[u8],
        end: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        if from >= end {
            return Ok(None);
        }
        let range = state_key(partition, from)..state_key(partition, end);
        let Some(guard) = self.state.range(range).next() else { return Ok(None) };
        let (key, value) = guard.into_inner().map_err(|error| self.damaged(&error))?;
        let key = key.get(size_of::<u32>()..).unwrap_or_default();
        Ok(Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(&value))))
    }
}

fn state_key(partition: u32, key: &[u8]) -> Vec<u8> {
    let mut bytes = partition.to_be_bytes().to_vec();
    bytes.extend_from_slice(key);
    bytes
}

fn explain(dir: &Path, error: &fjall::Error) -> String {
    let place = dir.display();
    match error {
        fjall::Error::Locked => format!(
            "the processor's state in {place} is in use by another process; give each its own \
             directory"
        ),
        other => format!(
            "the processor's state in {place} cannot be used ({other}); check the disk; the \
             directory may be deleted, it is then built anew from Kafka"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_a_prefix_and_wipes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::open(dir.path(), "a").unwrap();
        let at = |changelog_next, input_next| Progress {
            changelog_next,
            input_next,
            whole_at: UnixMillis(changelog_next.cast_signed()),
        };
        for partition in [1, 2] {
            let changes = [(&b"k"[..], Some(&b"old"[..])), (b"k", Some(b"new")), (b"x", None)];
            store.apply(partition, changes.into_iter(), at(7, Some(3))).unwrap();
        }
        assert_eq!(store.get(1, b"k").unwrap().unwrap(), "new");
        assert_eq!(store.progress(1).unwrap(), Some(at(7, Some(3))));
        store.wipe(1).unwrap();
        assert_eq!((store.get(1, b"k").unwrap(), store.progress(1).unwrap()), (None, None));
        assert_eq!(store.first_in(2, b"a", b"z").unwrap().unwrap().1, "new");
        store.apply(1, std::iter::empty(), at(9, None)).unwrap();
        assert_eq!(store.progress(1).unwrap(), Some(at(9, None)));
        drop(store);
        // The same topics find their state, others do not.
        assert!(StateStore::open(dir.path(), "a").unwrap().get(2, b"k").unwrap().is_some());
        assert!(StateStore::open(dir.path(), "b").unwrap().get(2, b"k").unwrap().is_none());
    }

    #[test]
    fn a_copy_that_was_left_behind_is_too_old() {
        let check = |whole_at, now, expected| {
            let progress =
                Progress { changelog_next: 1, input_next: None, whole_at: UnixMillis(whole_at) };
            assert_eq!(progress.is_too_old(UnixMillis(now)), expected, "{whole_at} at {now}");
        };
        check(1_000, 1_000, false);
        check(1_000, 1_000 + COPY_AGE_MAX_MS, false);
        check(1_000, 1_001 + COPY_AGE_MAX_MS, true);
        check(1_000, 0, false);
    }
}
