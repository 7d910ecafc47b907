//! One processor's machine: the log as the real code sees it, with a disk of its own, a process
//! that can freeze, and a record of every commit that the log took.
//!
//! The disk follows the design of the log on Kafka: changes are applied to it only after a commit
//! was confirmed, and whoever gets a partition reads the changelog from where its disk ends.

use super::history::{SharedHistory, StateChanges, Taken, lock};
use super::{Broken, Flaw};
use async_trait::async_trait;
use bytes::Bytes;
use eventlog::simulated::Random;
use eventlog::{
    AppendError, Batch, Bounds, Commit, CommitError, EventLog, GroupMember, Offset, OwnedPartition,
    PartitionState, ProcessorEvent, ProcessorMember, ReadError, ReadLimit, Reader, Record, Stage,
};
use futures_util::future::BoxFuture;
use schemas::{Catalog, CatalogReader, ConfigRecord, Topic, UnixMillis};
use service::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Where each commit leaves its number, so that it is known afterwards which were taken.
pub const MARK: &[u8] = b"\0simulation";

/// Turns that a changed configuration takes to a process.
const CONFIG_TURNS_MAX: u64 = 80;

/// A partition's state on a disk: a prefix of the changelog.
#[derive(Debug, Default)]
pub struct Disk {
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries of the changelog that are in it.
    pub applied: usize,
}

impl Disk {
    pub fn apply(&mut self, changes: &StateChanges) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.entries.insert(key.clone(), value.clone())),
                None => drop(self.entries.remove(key)),
            }
        }
        self.applied += 1;
    }
}

/// What of a machine outlives its process, and the switches that the story turns.
pub struct Machine {
    pub disks: BTreeMap<u32, Arc<Mutex<Disk>>>,
    pub is_frozen: bool,
    pub clock: Clock,
    /// Reads that fail, in a thousand.
    pub read_faults: u32,
    pub random: Random,
    pub flaw: Flaw,
    pub history: SharedHistory,
}

pub type SharedMachine = Arc<Mutex<Machine>>;

/// Lets everybody else run once, and for as long as the process is frozen.
async fn turn(machine: &SharedMachine) {
    loop {
        tokio::task::yield_now().await;
        if !lock(machine).is_frozen {
            return;
        }
    }
}

/// The log of one process.
pub struct ObservedLog {
    pub inner: Arc<dyn EventLog>,
    pub machine: SharedMachine,
    /// What this process has read of the configuration.
    pub catalog: Arc<Mutex<Arc<Catalog>>>,
}

#[async_trait]
impl EventLog for ObservedLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.inner.partitions(topic)
    }

    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        self.inner.append(topic, partition, records)
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        self.inner.bounds(topic, partition).await
    }

    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let inner = self.inner.read_from(topic, partition, offset).await?;
        let (machine, catalog) = (Arc::clone(&self.machine), Arc::clone(&self.catalog));
        let reader = CatalogReader::default();
        Ok(Box::new(ConfigTap { inner, machine, catalog, reader }))
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError> {
        self.inner.join(group, topics).await
    }

    async fn join_stage(&self, stage: Stage) -> Result<Box<dyn ProcessorMember>, ReadError> {
        let inner = self.inner.join_stage(stage).await?;
        let (machine, catalog) = (Arc::clone(&self.machine), Arc::clone(&self.catalog));
        Ok(Box::new(ObservedMember { inner, machine, catalog }))
    }
}

/// Reads along with the process what it reads of the configuration.
struct ConfigTap {
    inner: Box<dyn Reader>,
    machine: SharedMachine,
    catalog: Arc<Mutex<Arc<Catalog>>>,
    reader: CatalogReader,
}

#[async_trait]
impl Reader for ConfigTap {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        turn(&self.machine).await;
        let batch = self.inner.read(limit).await?;
        if !batch.records.is_empty() {
            // News travels slowly, and to each process at its own pace.
            let slowness = lock(&self.machine).random.below(CONFIG_TURNS_MAX);
            for _ in 0..slowness {
                turn(&self.machine).await;
            }
        }
        // From here to where the process takes it over nobody else runs.
        for stored in &batch.records {
            if let Ok(record) = ConfigRecord::decode(&stored.record.value)
                && let Some(catalog) = self.reader.read(record)
            {
                *lock(&self.catalog) = Arc::new(catalog.clone());
            }
        }
        Ok(batch)
    }
}

struct ObservedMember {
    inner: Box<dyn ProcessorMember>,
    machine: SharedMachine,
    catalog: Arc<Mutex<Arc<Catalog>>>,
}

#[async_trait]
impl ProcessorMember for ObservedMember {
    async fn next_event(
        &mut self,
        wait: std::time::Duration,
    ) -> Result<Option<ProcessorEvent>, ReadError> {
        turn(&self.machine).await;
        let event = self.inner.next_event(wait).await?;
        Ok(match event {
            Some(ProcessorEvent::Assigned(inner)) => Some(ProcessorEvent::Assigned(Box::new(
                ObservedPartition::open(inner, &self.machine, &self.catalog),
            ))),
            other => other,
        })
    }

    async fn reopen(&mut self, partition: u32) -> Result<(), ReadError> {
        turn(&self.machine).await;
        self.inner.reopen(partition).await
    }
}

struct ObservedPartition {
    inner: Box<dyn OwnedPartition>,
    machine: SharedMachine,
    history: SharedHistory,
    catalog: Arc<Mutex<Arc<Catalog>>>,
    clock: Clock,
    flaw: Flaw,
    handle: u64,
    local: LocalState,
    /// The end of the last batch, and whether it was the partition's.
    batch_end: Offset,
    batch_at_end: bool,
    asked_at: UnixMillis,
    /// The last read brought nothing, at this time, and nothing was committed since.
    idle_since: Option<UnixMillis>,
}

impl ObservedPartition {
    /// Brings the machine's disk up to the end of the changelog.
    fn open(
        inner: Box<dyn OwnedPartition>,
        machine: &SharedMachine,
        catalog: &Arc<Mutex<Arc<Catalog>>>,
    ) -> Self {
        let partition = inner.partition();
        let (disk, history, clock, flaw) = {
            let mut here = lock(machine);
            let disk = Arc::clone(here.disks.entry(partition).or_default());
            (disk, Arc::clone(&here.history), here.clock.clone(), here.flaw)
        };
        let handle = {
            let mut history = lock(&history);
            history.handles += 1;
            let handle = history.handles;
            let past = history.past(partition);
            past.handles.insert(handle, None);
            let mut disk = lock(&disk);
            if flaw == Flaw::StaleDisk && disk.applied > 0 {
                disk.applied = past.changelog.len();
            }
            for changes in past.changelog.iter().skip(disk.applied) {
                disk.apply(changes);
            }
            handle
        };
        let batch_end = inner.next_offset();
        Self {
            inner,
            machine: Arc::clone(machine),
            history,
            catalog: Arc::clone(catalog),
            clock,
            flaw,
            handle,
            local: LocalState(disk),
            batch_end,
            batch_at_end: false,
            asked_at: UnixMillis(0),
            idle_since: None,
        }
    }

    /// The commit as a wrongly built processor would make it.
    fn spoil(&self, commit: &mut Commit) {
        match self.flaw {
            Flaw::LosesAStateChange => drop(commit.state_changes.pop()),
            Flaw::OffsetTooFar => commit.next_offset += 1,
            Flaw::OffsetLeftBehind => commit.next_offset = self.inner.next_offset(),
            Flaw::OutputsTwice => commit.outputs.extend_from_within(..),
            Flaw::LosesAnOutput => drop(commit.outputs.pop()),
            _ => {}
        }
    }

    /// Notes a commit that the log took, and gives its place in the changelog.
    fn record(
        &self,
        taken: Taken,
        changes: StateChanges,
        answer: &Result<(), CommitError>,
    ) -> usize {
        let mut history = lock(&self.history);
        if matches!(answer, Err(CommitError::Fenced(_) | CommitError::Unavailable(_))) {
            let detail = format!("{answer:?}, but it was written");
            history.breaks(Broken::new("the log tells the truth about commits", detail));
        }
        let past = history.past(self.inner.partition());
        past.taken.push(taken);
        let forgets = self.flaw == Flaw::ForgetsUnknownCommits && answer.is_err();
        past.changelog.push(if forgets { Vec::new() } else { changes });
        let place = past.changelog.len() - 1;
        if past.owners.last() != Some(&self.handle) {
            let came_back = past.owners.contains(&self.handle);
            past.owners.push(self.handle);
            if came_back {
                let detail = format!("partition {}", self.inner.partition());
                history.breaks(Broken::new("who has lost a partition cannot commit", detail));
            }
        }
        place
    }

    fn note_quiet(&self, at: Option<UnixMillis>) {
        let mut history = lock(&self.history);
        history.past(self.inner.partition()).handles.insert(self.handle, at);
    }
}

#[async_trait]
impl OwnedPartition for ObservedPartition {
    fn partition(&self) -> u32 {
        self.inner.partition()
    }

    fn next_offset(&self) -> Offset {
        self.inner.next_offset()
    }

    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        self.asked_at = UnixMillis(self.clock.now());
        let idle_since = self.idle_since.take();
        self.note_quiet(idle_since);
        turn(&self.machine).await;
        {
            let mut machine = lock(&self.machine);
            let faults = u64::from(machine.read_faults);
            if machine.random.below(1_000) < faults {
                return Err(ReadError::Unavailable("out of order (simulated)".to_owned()));
            }
        }
        let batch = self.inner.read(limit).await?;
        // The process may be suspended between reading and deciding.
        turn(&self.machine).await;
        self.batch_end = batch.next_offset;
        self.batch_at_end = batch.at_end;
        self.idle_since =
            (batch.records.is_empty() && batch.at_end).then(|| UnixMillis(self.clock.now()));
        Ok(batch)
    }

    fn state(&self) -> &dyn PartitionState {
        &self.local
    }

    async fn commit(&mut self, mut commit: Commit) -> Result<(), CommitError> {
        self.idle_since = None;
        self.note_quiet(None);
        let number = {
            let mut history = lock(&self.history);
            history.commits += 1;
            history.commits.to_be_bytes()
        };
        self.spoil(&mut commit);
        commit.state_changes.push((MARK.to_vec(), Some(number.to_vec())));
        let changes = commit.state_changes.clone();
        let written = |(topic, partition, record): &(Topic, u32, Record)| {
            (*topic, *partition, record.key.to_vec(), record.value.to_vec())
        };
        let taken = Taken {
            from: self.inner.next_offset(),
            next: commit.next_offset,
            batch_done: commit.next_offset >= self.batch_end,
            batch_at_end: self.batch_at_end,
            wall: UnixMillis(self.clock.now()),
            asked_at: self.asked_at,
            catalog: Arc::clone(&lock(&self.catalog)),
            outputs: commit.outputs.iter().map(written).collect(),
        };
        turn(&self.machine).await;
        let answer = self.inner.commit(commit).await;
        // Nobody else ran since the log took it or not.
        let mut place = None;
        if matches!(self.inner.state().get(MARK), Ok(Some(mark)) if *mark == number) {
            place = Some(self.record(taken, changes.clone(), &answer));
        } else if answer.is_ok() {
            let broken = Broken::new("the log tells the truth about commits", "Ok, but not there");
            lock(&self.history).breaks(broken);
        }
        // The answer is on its way: time for a crash or a move.
        turn(&self.machine).await;
        let mut disk = lock(&self.local.0);
        // Unless the machine has got the partition anew and read it from the changelog.
        if answer.is_ok() && place == Some(disk.applied) {
            disk.apply(&changes);
        }
        drop(disk);
        answer
    }
}

impl Drop for ObservedPartition {
    fn drop(&mut self) {
        lock(&self.history).past(self.inner.partition()).handles.remove(&self.handle);
    }
}

/// The state on the machine's own disk.
struct LocalState(Arc<Mutex<Disk>>);

impl PartitionState for LocalState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(lock(&self.0).entries.get(key).map(|value| Bytes::copy_from_slice(value)))
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        if from >= end {
            return Ok(None);
        }
        let disk = lock(&self.0);
        let mut entries = disk.entries.range(from.to_vec()..end.to_vec());
        let copied = |bytes: &Vec<u8>| Bytes::copy_from_slice(bytes);
        Ok(entries.next().map(|(key, value)| (copied(key), copied(value))))
    }
}
