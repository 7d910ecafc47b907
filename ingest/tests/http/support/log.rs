//! An event log in memory whose appends can be told to fail or to hang, topic by topic. Not the
//! simulated one: that runs on virtual time, and connections do not.

use async_trait::async_trait;
use eventlog::{
    AppendError, Batch, Bounds, EventLog, GroupMember, Offset, ProcessorMember, ReadError,
    ReadLimit, Reader, Record, Stage, StoredRecord,
};
use schemas::Topic;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub const PARTITIONS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Unavailable,
    Full,
    Unknown,
    Refused,
    /// Appends wait until the mood changes to another.
    Hanging,
}

type Partitions = HashMap<(Topic, u32), Vec<Record>>;

#[derive(Clone, Default)]
pub struct MemoryLog {
    partitions: Arc<Mutex<Partitions>>,
    moods: watch::Sender<HashMap<Topic, Mood>>,
    written: watch::Sender<u64>,
}

impl MemoryLog {
    pub fn set_mood(&self, topic: Topic, mood: Mood) {
        self.moods.send_modify(|moods| {
            moods.insert(topic, mood);
        });
    }

    /// All records of a topic with their partitions.
    pub fn records(&self, topic: Topic) -> Vec<(u32, Record)> {
        let partitions = self.partitions.lock().unwrap();
        let mut all = Vec::new();
        for partition in 0..topic.partitions(PARTITIONS) {
            let records = partitions.get(&(topic, partition)).into_iter().flatten();
            all.extend(records.map(|record| (partition, record.clone())));
        }
        all
    }

    /// Waits until a topic holds so many records.
    pub async fn wait_for(&self, topic: Topic, count: usize) -> Vec<(u32, Record)> {
        let mut written = self.written.subscribe();
        loop {
            let records = self.records(topic);
            if records.len() >= count {
                return records;
            }
            written.changed().await.unwrap();
        }
    }

    fn write(&self, topic: Topic, partition: u32, records: Vec<Record>) -> Offset {
        let mut partitions = self.partitions.lock().unwrap();
        let stored = partitions.entry((topic, partition)).or_default();
        let first = stored.len() as Offset;
        stored.extend(records);
        drop(partitions);
        self.written.send_modify(|count| *count += 1);
        first
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions(PARTITIONS)
    }

    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> Pin<Box<dyn Future<Output = Result<Offset, AppendError>> + Send>> {
        let log = self.clone();
        let mut moods = self.moods.subscribe();
        Box::pin(async move {
            let mood = |moods: &HashMap<Topic, Mood>| *moods.get(&topic).unwrap_or(&Mood::Well);
            let moods = moods.wait_for(|moods| mood(moods) != Mood::Hanging).await.unwrap();
            let why = "the test says so".to_owned();
            match mood(&moods) {
                Mood::Well | Mood::Hanging => Ok(log.write(topic, partition, records)),
                Mood::Unavailable => Err(AppendError::Unavailable(why)),
                Mood::Full => Err(AppendError::Full(why)),
                Mood::Unknown => Err(AppendError::Unknown(why)),
                Mood::Refused => Err(AppendError::Refused(why)),
            }
        })
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        let partitions = self.partitions.lock().unwrap();
        let end = partitions.get(&(topic, partition)).map_or(0, Vec::len) as Offset;
        Ok(Bounds { first: 0, end })
    }

    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError> {
        Ok(Box::new(MemoryReader { log: self.clone(), place: (topic, partition), offset }))
    }

    async fn join(&self, _: &str, _: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError> {
        Err(ReadError::Unavailable("an ingester joins no group".to_owned()))
    }

    async fn join_stage(&self, _: Stage) -> Result<Box<dyn ProcessorMember>, ReadError> {
        Err(ReadError::Unavailable("an ingester processes nothing".to_owned()))
    }
}

struct MemoryReader {
    log: MemoryLog,
    place: (Topic, u32),
    offset: Offset,
}

#[async_trait]
impl Reader for MemoryReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch, ReadError> {
        let mut written = self.log.written.subscribe();
        let there = |log: &MemoryLog| {
            let partitions = log.partitions.lock().unwrap();
            let all = partitions.get(&self.place).map_or(&[][..], Vec::as_slice);
            all.iter().skip(self.offset as usize).take(limit.records).cloned().collect::<Vec<_>>()
        };
        let mut records = there(&self.log);
        if records.is_empty() {
            let _ = tokio::time::timeout(limit.wait, written.changed()).await;
            records = there(&self.log);
        }
        let first = self.offset;
        self.offset += records.len() as Offset;
        let stored = records.into_iter().zip(first..);
        Ok(Batch {
            records: stored.map(|(record, offset)| StoredRecord { offset, record }).collect(),
            next_offset: self.offset,
            at_end: true,
        })
    }
}
