//! The event log of one machine and one process, on the embedded store fjall.
//!
//! # What is on the disk
//!
//! One fjall database in the data directory, locked against a second process. Numbers are
//! big-endian ([`layout`] encodes them).
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `meta` | `format`, `partitions` | the number: u32 |
//! | one a topic | partition u32, offset u64 | time i64 (Unix ms), key length u32, key, value |
//! | `extents` | topic u8, partition u32 | first offset u64, next offset u64, kept bytes u64 |
//! | `positions` | group, topic u8, partition u32 | next offset u64, note |
//! | `state`, `delivery-copy` (one a stage) | partition u32, key | value |
//!
//! # What it promises
//!
//! * An append answers `Ok` when its records are synced (`fsync`; without it: when the operating
//!   system has them). Readers see them only then. After a crash at any point every acknowledged
//!   record is there, at its offset.
//! * A processor's commit (outputs, state, next offset) is there as a whole or not at all.
//! * Offsets grow by one in topics with retention. In compacted topics the record that a newer one
//!   of its key replaces is deleted, which leaves gaps.
//! * Retention deletes from the beginning, and never what a known consumer has not committed: a
//!   group is known from when it first joined. Before a topic's quota or the disk overflows,
//!   appends answer `Full`.
//!
//! # How it works
//!
//! One thread writes ([`writer`]). It takes whatever jobs wait in a bounded queue, gives out
//! offsets, and makes *one* fjall batch of them with the batch's own durability: fjall writes the
//! batch to its journal, syncs that, and only then applies it to what readers see. Then the writer
//! announces the new ends and answers everyone. So the cost of a sync is shared by all that came
//! while the one before was running, and nothing is visible that could still be lost.
//!
//! Ownership is a number: taking a partition (or joining a group) is a job as well and gives out a
//! new one; a commit with an old number is refused. Being in the same queue, it cannot overtake a
//! commit, so the new owner sees everything the old one committed.
//!
//! A failed write poisons the database: nobody can know what the disk holds. Everything in that
//! batch answers `Unknown`, later appends `Unavailable`, until the process starts again and reads
//! what is really there.

mod config;
mod disk;
mod group;
mod group_commit;
mod job;
mod keeper;
mod layout;
mod processor;
mod reader;
mod requests;
mod shared;
mod store;
mod writer;

pub(crate) use disk::wall_clock;

pub use config::{Clock, LocalConfig, QUEUE_BYTES, QUEUE_JOBS, Retention, RetentionTable};

use crate::{
    AppendError, Bounds, EventLog, GroupMember, Offset, OpenError, ProcessorMember, ReadError,
    Reader, Record, Stage,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use job::Job;
use requests::Requests;
use schemas::Topic;
use shared::Shared;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use writer::Writer;

/// The log of one process, in one directory.
pub struct LocalLog {
    requests: Requests,
    stop_keeper: std::sync::mpsc::SyncSender<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl LocalLog {
    /// Opens the log, or makes it where there is none. Blocks while it reads its journal.
    ///
    /// # Errors
    /// [`OpenError::Configuration`] when the log was made with another partition count or format;
    /// [`OpenError::Unavailable`] when the directory is in use, not writable or damaged.
    pub fn open(config: LocalConfig) -> Result<Arc<Self>, OpenError> {
        let store = store::Store::open(&config)?;
        let loaded = store.load()?;
        let free = disk::free_bytes(&config.dir).map_err(|error| {
            OpenError::Unavailable(format!("{} cannot be used: {error}", config.dir.display()))
        })?;
        let shared = Arc::new(Shared::new(config, store, &loaded.extents, free));
        let (jobs, queue) = mpsc::channel(config::QUEUE_JOBS);
        let requests = Requests { shared: Arc::clone(&shared), jobs };
        let writer = Writer::new(shared, loaded);
        let (stop_keeper, stopped) = std::sync::mpsc::sync_channel(1);
        let keeper = requests.clone();
        let threads = vec![
            spawn("eventlog-writer", move || writer.run(queue))?,
            spawn("eventlog-keeper", move || keeper::run(keeper, stopped))?,
        ];
        Ok(Arc::new(Self { requests, stop_keeper, threads: Mutex::new(threads) }))
    }

    /// Takes nothing more, writes and syncs what was taken, and ends the threads.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        self.requests.shared.closing.store(true, Ordering::Release);
        // A full or disconnected channel means that the keeper has been told already.
        let _ = self.stop_keeper.try_send(());
        if self.requests.jobs.send(Job::Close { reply }).await.is_ok() {
            // The writer answers even when the last sync failed, and has logged that.
            let _ = closed.await;
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        // Only a runtime that is being torn down refuses; then the threads end by themselves.
        let _ = tokio::task::spawn_blocking(join).await;
    }

    /// Forgets what retention allows, now, and says how many records that were. The keeper does so
    /// every few seconds; blocks, and must not be called on a runtime's thread.
    pub fn forget_old(&self) -> u64 {
        keeper::forget_old(&self.requests)
    }

    /// Resolves, with the reason, when the log takes nothing more until the process starts again.
    pub async fn failed(&self) -> String {
        self.requests.shared.failed().await.to_string()
    }
}

impl Drop for LocalLog {
    /// Tells the threads to end without waiting for them; [`LocalLog::close`] waits.
    fn drop(&mut self) {
        self.requests.shared.closing.store(true, Ordering::Release);
        let (reply, _) = oneshot::channel();
        // A full queue: the writer ends when the last sender is gone instead.
        let _ = self.requests.jobs.try_send(Job::Close { reply });
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(work)
        .map_err(|error| OpenError::Unavailable(format!("no thread for the event log: {error}")))
}

#[async_trait]
impl EventLog for LocalLog {
    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions(self.requests.shared.config.partitions)
    }

    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        self.requests.append(topic, partition, records)
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        Ok(reader::view(&self.requests.shared, topic, partition)?.bounds())
    }

    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let reader = reader::LocalReader::open(&self.requests.shared, topic, partition, offset)?;
        Ok(Box::new(reader))
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError> {
        let member = group::LocalGroupMember::join(self.requests.clone(), group, topics).await?;
        Ok(Box::new(member))
    }

    async fn join_stage(&self, stage: Stage) -> Result<Box<dyn ProcessorMember>, ReadError> {
        Ok(Box::new(processor::LocalProcessorMember::join(self.requests.clone(), stage)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommitError, Position};
    use schemas::UnixMillis;

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_taken_and_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = LocalLog::open(LocalConfig::new(dir.path(), 1)).unwrap();
        let mut member = log.join("g", &[Topic::Clicks]).await.unwrap();
        member.next_event(std::time::Duration::ZERO).await.unwrap();
        log.requests.shared.fail("the disk is gone".to_string());
        assert_eq!(log.failed().await, "the disk is gone");

        let record = Record { key: "".into(), value: "v".into(), at: UnixMillis(1) };
        let appended = log.append(Topic::Clicks, 0, vec![record]).await;
        assert!(matches!(appended, Err(AppendError::Unavailable(_))), "{appended:?}");
        let position =
            Position { topic: Topic::Clicks, partition: 0, next_offset: 0, note: String::new() };
        let committed = member.commit(vec![position]).await;
        assert!(matches!(committed, Err(CommitError::Unavailable(_))), "{committed:?}");
        assert!(log.join("g", &[Topic::Clicks]).await.is_err(), "its positions may not be durable");
        for stage in Stage::ALL {
            assert!(log.join_stage(stage).await.unwrap().next_event(TICK).await.is_err());
        }
        log.close().await;
    }

    const TICK: std::time::Duration = std::time::Duration::from_millis(1);
}
