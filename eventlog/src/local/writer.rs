//! The one thread that writes: it collects jobs, gives out offsets, makes one batch of them, syncs
//! it, and only then shows it and answers.

use super::config::{GROUP_BYTES, GROUP_JOBS};
use super::disk;
use super::group_commit::GroupCommit;
use super::job::{Job, Owner, Room};
use super::layout::{Extent, PositionKey};
use super::shared::Shared;
use super::store::Loaded;
use crate::limits::{check_records, record_bytes};
use crate::{AppendError, Commit, CommitError, Offset, Position, Record, Stage};
use fjall::PersistMode;
use schemas::Topic;
use schemas::topic::Kind;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};

pub struct Writer {
    shared: Arc<Shared>,
    extents: HashMap<(Topic, u32), Extent>,
    positions: HashMap<PositionKey, (Offset, String)>,
    latest: HashMap<(Topic, u32, Vec<u8>), Offset>,
    owners: HashMap<(Stage, u32), u64>,
    last_epoch: u64,
}

/// An answer that waits for the batch to be durable.
type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// What is being collected.
#[derive(Default)]
struct Collected {
    group: GroupCommit,
    answers: Vec<Answer>,
    rooms: Vec<Room>,
    close: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, loaded: Loaded) -> Self {
        let Loaded { extents, positions, latest } = loaded;
        Self { shared, extents, positions, latest, owners: HashMap::new(), last_epoch: 0 }
    }

    /// Works until [`Job::Close`] or until nobody can send jobs any more.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let mut collected = Collected::default();
            self.collect(job, &mut collected);
            while collected.close.is_none()
                && collected.group.bytes < GROUP_BYTES
                && collected.answers.len() < GROUP_JOBS
            {
                match jobs.try_recv() {
                    Ok(job) => self.collect(job, &mut collected),
                    Err(_) => break,
                }
            }
            let close = collected.close.take();
            self.write(collected);
            if let Some(reply) = close {
                jobs.close();
                // Everything acknowledged is synced already; this covers `fsync` off.
                if let Err(error) = self.shared.store.db.persist(PersistMode::SyncAll) {
                    self.shared.fail(disk::explain(&self.shared.store.dir, &error));
                }
                let _ = reply.send(());
                return;
            }
        }
    }

    fn write(&self, mut collected: Collected) {
        let shared = &self.shared;
        // A reader that misses a record which is being deleted must find the new beginning.
        for (topic, partition, extent) in collected.group.extents() {
            if let Some(view) = shared.view(topic, partition) {
                view.publish_first(extent.first);
            }
        }
        let mode = if shared.config.fsync { PersistMode::SyncAll } else { PersistMode::Buffer };
        let written = collected.group.write(&shared.store, mode);
        let outcome = match written {
            Ok(()) => {
                for (topic, partition, extent) in collected.group.extents() {
                    if let Some(view) = shared.view(topic, partition) {
                        view.publish_end(extent.next);
                    }
                }
                Ok(())
            }
            Err(error) => {
                let why = disk::explain(&shared.store.dir, &error);
                shared.fail(why.clone());
                Err(why)
            }
        };
        let spent = collected.group.bytes as u64;
        let _ = shared.free_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            Some(free.saturating_sub(spent))
        });
        for answer in collected.answers {
            match &outcome {
                Ok(()) => answer(Ok(())),
                Err(why) => answer(Err(why)),
            }
        }
    }

    fn collect(&mut self, job: Job, into: &mut Collected) {
        // A reply that nobody waits for any more is dropped; what was asked for is done all the same.
        match job {
            Job::Append { topic, partition, records, room, reply } => {
                into.rooms.push(room);
                if let Some(why) = self.shared.failure() {
                    let _ = reply.send(Err(AppendError::Unavailable(why.to_string())));
                    return;
                }
                let first = self.add(topic, partition, &records, &mut into.group);
                into.answers.push(Box::new(move |outcome| {
                    let outcome = outcome.map_err(|why| AppendError::Unknown(why.to_string()));
                    let _ = reply.send(outcome.map(|()| first));
                }));
            }
            Job::Commit { owner, commit, reply } => match self.check_commit(owner, &commit) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(()) => {
                    self.add_commit(owner, commit, &mut into.group);
                    into.answers.push(answer_commit(reply, ()));
                }
            },
            Job::Own { stage, partition, generation, reply } => {
                if let Err(error) = self.check_working() {
                    return drop(reply.send(Err(error)));
                }
                if *self.shared.watch_generation(stage.group()).borrow() != generation {
                    let why = format!("another {} took over", stage.member());
                    let _ = reply.send(Err(CommitError::Fenced(why)));
                    return;
                }
                self.last_epoch += 1;
                let owner = Owner { stage, partition, generation, epoch: self.last_epoch };
                self.owners.insert((stage, partition), owner.epoch);
                let (group, topic) = (stage.group(), stage.input());
                let (next_offset, _) =
                    self.start_position(group, topic, partition, &mut into.group);
                into.answers.push(answer_commit(reply, (owner, next_offset)));
            }
            Job::Join { group, topics, reply } => {
                if let Err(error) = self.check_working() {
                    return drop(reply.send(Err(error)));
                }
                let generation = self.shared.next_generation(&group);
                let mut positions = Vec::new();
                for topic in topics {
                    for partition in 0..topic.partitions(self.shared.config.partitions) {
                        let (next_offset, note) =
                            self.start_position(&group, topic, partition, &mut into.group);
                        positions.push(Position { topic, partition, next_offset, note });
                    }
                }
                into.answers.push(answer_commit(reply, (generation, positions)));
            }
            Job::Positions { group, generation, positions, reply } => {
                if let Err(error) = self.check_working() {
                    return drop(reply.send(Err(error)));
                }
                if *self.shared.watch_generation(&group).borrow() != generation {
                    let why = format!("another member of the group {group} took over");
                    let _ = reply.send(Err(CommitError::Fenced(why)));
                    return;
                }
                for Position { topic, partition, next_offset, note } in positions {
                    let key = PositionKey { group: group.clone(), topic, partition };
                    self.set_position(key, next_offset, note, &mut into.group);
                }
                into.answers.push(answer_commit(reply, ()));
            }
            Job::Forget { topic, partition, from, to, bytes, reply } => {
                match self.check_forget(topic, partition, from, to) {
                    Err(error) => drop(reply.send(Err(error))),
                    Ok(()) => {
                        self.forget(topic, partition, (from, to), bytes, &mut into.group);
                        into.answers.push(answer_commit(reply, ()));
                    }
                }
            }
            Job::Slowest { topic, partition, reply } => {
                let _ = reply.send(Ok(self.slowest(topic, partition)));
            }
            Job::Close { reply } => into.close = Some(reply),
        }
    }

    /// Adds records to a partition; the offset of the first.
    fn add(
        &mut self,
        topic: Topic,
        partition: u32,
        records: &[Record],
        group: &mut GroupCommit,
    ) -> Offset {
        let mut extent = self.extents.get(&(topic, partition)).copied().unwrap_or_default();
        let first = extent.next;
        let mut bytes = 0;
        for record in records {
            if topic.kind() == Kind::Compacted {
                let key = (topic, partition, record.key.to_vec());
                if let Some(superseded) = self.latest.insert(key, extent.next) {
                    group.remove_record(topic, partition, superseded);
                }
            }
            group.add_record(topic, partition, extent.next, record);
            extent.next += 1;
            bytes += record_bytes(record) as u64;
        }
        extent.bytes += bytes;
        self.shared.topic_bytes(topic).fetch_add(bytes, Ordering::Relaxed);
        self.extents.insert((topic, partition), extent);
        group.set_extent(topic, partition, extent);
        first
    }

    /// After a failed write, what is in memory may not be what is on the disk.
    fn check_working(&self) -> Result<(), CommitError> {
        match self.shared.failure() {
            Some(why) => Err(CommitError::Unavailable(why.to_string())),
            None => Ok(()),
        }
    }

    fn check_commit(&self, owner: Owner, commit: &Commit) -> Result<(), CommitError> {
        let generation = *self.shared.watch_generation(owner.stage.group()).borrow();
        let newest = self.owners.get(&(owner.stage, owner.partition)) == Some(&owner.epoch);
        if !newest || owner.generation != generation {
            let why = format!("{}/{} was taken over", owner.stage.input(), owner.partition);
            return Err(CommitError::Fenced(why));
        }
        self.check_working()?;
        for (topic, partition, record) in &commit.outputs {
            let partitions = topic.partitions(self.shared.config.partitions);
            check_records(*topic, *partition, partitions, std::slice::from_ref(record))
                .map_err(|error| CommitError::Unavailable(error.to_string()))?;
            if let Some(why) = self.shared.full(*topic) {
                return Err(CommitError::Unavailable(why));
            }
        }
        Ok(())
    }

    fn add_commit(&mut self, owner: Owner, commit: Commit, group: &mut GroupCommit) {
        for (topic, partition, record) in &commit.outputs {
            self.add(*topic, *partition, std::slice::from_ref(record), group);
        }
        for (key, value) in commit.state_changes {
            group.change_state((owner.stage, owner.partition), &key, value);
        }
        let (group_name, topic) = (owner.stage.group().to_string(), owner.stage.input());
        let key = PositionKey { group: group_name, topic, partition: owner.partition };
        self.set_position(key, commit.next_offset, String::new(), group);
    }

    /// Where a consumer begins. It is written down at once: from now on retention waits for it.
    fn start_position(
        &mut self,
        name: &str,
        topic: Topic,
        partition: u32,
        group: &mut GroupCommit,
    ) -> (Offset, String) {
        let key = PositionKey { group: name.to_string(), topic, partition };
        if let Some(position) = self.positions.get(&key) {
            return position.clone();
        }
        let first = self.extents.get(&(topic, partition)).map_or(0, |extent| extent.first);
        self.set_position(key, first, String::new(), group);
        (first, String::new())
    }

    fn set_position(
        &mut self,
        key: PositionKey,
        next_offset: Offset,
        note: String,
        group: &mut GroupCommit,
    ) {
        self.positions.insert(key.clone(), (next_offset, note.clone()));
        group.set_position(key, next_offset, note);
    }

    /// Retention never passes the slowest known consumer.
    fn check_forget(
        &self,
        topic: Topic,
        partition: u32,
        from: Offset,
        to: Offset,
    ) -> Result<(), CommitError> {
        self.check_working()?;
        let extent = self.extents.get(&(topic, partition)).copied().unwrap_or_default();
        let slowest = self.slowest(topic, partition);
        if from != extent.first || to > extent.next || slowest.is_some_and(|slowest| to > slowest) {
            let why = format!("{topic}/{partition} has not been read up to {to}");
            return Err(CommitError::Unavailable(why));
        }
        Ok(())
    }

    fn slowest(&self, topic: Topic, partition: u32) -> Option<Offset> {
        let here = |key: &PositionKey| key.topic == topic && key.partition == partition;
        let offsets =
            self.positions.iter().filter(|(key, _)| here(key)).map(|(_, (next, _))| *next);
        offsets.min()
    }

    fn forget(
        &mut self,
        topic: Topic,
        partition: u32,
        (from, to): (Offset, Offset),
        bytes: u64,
        group: &mut GroupCommit,
    ) {
        let extent = self.extents.entry((topic, partition)).or_default();
        extent.first = to;
        extent.bytes = extent.bytes.saturating_sub(bytes);
        group.set_extent(topic, partition, *extent);
        for offset in from..to {
            group.remove_record(topic, partition, offset);
        }
        let _ = self.shared.topic_bytes(topic).fetch_update(
            Ordering::Relaxed,
            Ordering::Relaxed,
            |kept| Some(kept.saturating_sub(bytes)),
        );
    }
}

/// Answers a commit-like job: with `value` when durable, else with an unknown outcome.
fn answer_commit<T: Send + 'static>(
    reply: oneshot::Sender<Result<T, CommitError>>,
    value: T,
) -> Answer {
    Box::new(move |outcome| {
        let outcome = outcome.map_err(|why| CommitError::Unknown(why.to_string()));
        let _ = reply.send(outcome.map(|()| value));
    })
}
