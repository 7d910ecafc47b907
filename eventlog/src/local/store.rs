//! The fjall database: its keyspaces, and what has to be in memory of it.

use super::config::LocalConfig;
use super::disk;
use super::layout::{self, Extent, FORMAT, PositionKey};
use crate::{Offset, OpenError, Record, Stage};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use schemas::Topic;
use schemas::topic::Kind;
use std::collections::HashMap;
use std::path::PathBuf;

/// Memory of one keyspace before it is flushed. There are a dozen keyspaces.
const MEMTABLE_BYTES: u64 = 16 << 20;
const CACHE_BYTES: u64 = 64 << 20;

pub struct Store {
    pub dir: PathBuf,
    pub db: Database,
    topics: Vec<(Topic, Keyspace)>,
    pub extents: Keyspace,
    pub positions: Keyspace,
    /// In the order of `Stage::ALL`.
    states: Vec<Keyspace>,
}

/// What the writer starts from.
#[derive(Default)]
pub struct Loaded {
    pub extents: HashMap<(Topic, u32), Extent>,
    pub positions: HashMap<PositionKey, (Offset, String)>,
    /// Where the last record of each key of the compacted topics stands.
    pub latest: HashMap<(Topic, u32, Vec<u8>), Offset>,
}

impl Store {
    pub fn open(config: &LocalConfig) -> Result<Self, OpenError> {
        disk::prepare(&config.dir)?;
        let dir = config.dir.clone();
        let say = |error: fjall::Error| OpenError::Unavailable(disk::explain(&config.dir, &error));
        let db = Database::builder(&dir).cache_size(CACHE_BYTES).open().map_err(say)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = |name: &str| db.keyspace(name, options).map_err(say);

        let meta = keyspace("meta")?;
        record_or_compare(&db, &meta, config)?;
        let mut topics = Vec::new();
        for topic in Topic::ALL {
            topics.push((topic, keyspace(topic.name())?));
        }
        let (extents, positions) = (keyspace("extents")?, keyspace("positions")?);
        let states = Stage::ALL.iter().map(|stage| keyspace(stage.state_name()));
        let states = states.collect::<Result<_, _>>()?;
        Ok(Self { dir, topics, extents, positions, states, db })
    }

    /// The records of a topic.
    pub fn records(&self, topic: Topic) -> &Keyspace {
        // The list is in the order of `Topic::ALL`, which is the order of the variants.
        &self.topics[topic as usize].1
    }

    /// The state of a stage's partitions.
    pub fn state(&self, stage: Stage) -> &Keyspace {
        &self.states[stage as usize]
    }

    pub fn load(&self) -> Result<Loaded, OpenError> {
        let say = |error: fjall::Error| OpenError::Unavailable(disk::explain(&self.dir, &error));
        let mut loaded = Loaded::default();
        for guard in self.extents.iter() {
            let (key, value) = guard.into_inner().map_err(say)?;
            let place =
                Topic::ALL.into_iter().find(|t| Some(&layout::topic_code(*t)) == key.first());
            let partition = key.get(1..5).and_then(|bytes| bytes.try_into().ok());
            match (place, partition, layout::decode_extent(&value)) {
                (Some(topic), Some(partition), Some(extent)) => {
                    loaded.extents.insert((topic, u32::from_be_bytes(partition)), extent);
                }
                _ => return Err(self.damaged("extents")),
            }
        }
        for guard in self.positions.iter() {
            let (key, value) = guard.into_inner().map_err(say)?;
            match (layout::decode_position_key(&key), layout::decode_position(&value)) {
                (Some(key), Some(position)) => loaded.positions.insert(key, position),
                _ => return Err(self.damaged("positions")),
            };
        }
        for topic in Topic::ALL.into_iter().filter(|topic| topic.kind() == Kind::Compacted) {
            for guard in self.records(topic).iter() {
                let (key, value) = guard.into_inner().map_err(say)?;
                let (Some((partition, offset)), Some(record)) =
                    (place_of(&key), layout::decode_record(&value))
                else {
                    return Err(self.damaged(topic.name()));
                };
                loaded.latest.insert((topic, partition, record.key.to_vec()), offset);
            }
        }
        Ok(loaded)
    }

    /// The records of a partition from `from` to before `to`, until `take` says enough.
    pub fn scan(
        &self,
        topic: Topic,
        partition: u32,
        (from, to): (Offset, Offset),
        mut take: impl FnMut(Offset, Record) -> Scan,
    ) -> Result<(), String> {
        let range = layout::record_key(partition, from)..layout::record_key(partition, to);
        for guard in self.records(topic).range(range) {
            let (key, value) =
                guard.into_inner().map_err(|error| disk::explain(&self.dir, &error))?;
            let (Some(offset), Some(record)) =
                (layout::offset_of(&key), layout::decode_record(&value))
            else {
                return Err(format!("{topic}/{partition} holds something that is no record"));
            };
            if take(offset, record) == Scan::Stop {
                break;
            }
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> OpenError {
        OpenError::Unavailable(format!(
            "the event log in {} is damaged ({what}); restore the directory from a copy",
            self.dir.display()
        ))
    }
}

/// Whether a scan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    Go,
    Stop,
}

fn place_of(record_key: &[u8]) -> Option<(u32, Offset)> {
    let partition = u32::from_be_bytes(record_key.get(..4)?.try_into().ok()?);
    Some((partition, layout::offset_of(record_key)?))
}

/// Records format and partition count in a new log; refuses another log than the settings say.
fn record_or_compare(
    db: &Database,
    meta: &Keyspace,
    config: &LocalConfig,
) -> Result<(), OpenError> {
    let say = |error: fjall::Error| OpenError::Unavailable(disk::explain(&config.dir, &error));
    let place = config.dir.display();
    if config.partitions == 0 {
        return Err(OpenError::Configuration("the event log needs at least one partition".into()));
    }
    let number = |name: &str| -> Result<Option<u32>, OpenError> {
        let bytes = meta.get(name).map_err(say)?;
        Ok(bytes.and_then(|bytes| Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))))
    };
    match (number("format")?, number("partitions")?) {
        (Some(FORMAT), Some(partitions)) if partitions == config.partitions => Ok(()),
        (Some(FORMAT), Some(partitions)) => Err(OpenError::Configuration(format!(
            "the event log in {place} was made with {partitions} partitions and cannot be opened \
             with {}; set {partitions}, or use a new data directory",
            config.partitions
        ))),
        (None, None) => {
            let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
            batch.insert(meta, "format", FORMAT.to_be_bytes());
            batch.insert(meta, "partitions", config.partitions.to_be_bytes());
            batch.commit().map_err(say)
        }
        (format, _) => Err(OpenError::Configuration(format!(
            "the event log in {place} has format {format:?}, and this program reads format \
             {FORMAT}; use the program that wrote it, or another data directory"
        ))),
    }
}
