//! One fjall batch made of many jobs.
//!
//! All entries of a batch get the same sequence number in fjall, so no key may be in it twice:
//! everything is collected in maps first and the last write of a key wins.

use super::layout::{self, Extent, PositionKey};
use super::store::Store;
use crate::{Offset, Record, Stage};
use fjall::PersistMode;
use schemas::Topic;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub struct GroupCommit {
    records: BTreeMap<(Topic, u32, Offset), Vec<u8>>,
    removed: BTreeSet<(Topic, u32, Offset)>,
    state: HashMap<(Stage, Vec<u8>), Option<Vec<u8>>>,
    positions: HashMap<PositionKey, (Offset, String)>,
    extents: HashMap<(Topic, u32), Extent>,
    pub bytes: usize,
}

impl GroupCommit {
    pub fn add_record(&mut self, topic: Topic, partition: u32, offset: Offset, record: &Record) {
        self.bytes += crate::limits::record_bytes(record);
        self.records.insert((topic, partition, offset), layout::encode_record(record));
    }

    pub fn remove_record(&mut self, topic: Topic, partition: u32, offset: Offset) {
        if self.records.remove(&(topic, partition, offset)).is_none() {
            self.removed.insert((topic, partition, offset));
        }
    }

    pub fn change_state(
        &mut self,
        (stage, partition): (Stage, u32),
        key: &[u8],
        value: Option<Vec<u8>>,
    ) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.state.insert((stage, layout::state_key(partition, key)), value);
    }

    pub fn set_position(&mut self, key: PositionKey, next_offset: Offset, note: String) {
        self.bytes += note.len();
        self.positions.insert(key, (next_offset, note));
    }

    pub fn set_extent(&mut self, topic: Topic, partition: u32, extent: Extent) {
        self.extents.insert((topic, partition), extent);
    }

    /// The partitions that this batch touches, as they are after it.
    pub fn extents(&self) -> impl Iterator<Item = (Topic, u32, Extent)> + '_ {
        self.extents.iter().map(|((topic, partition), extent)| (*topic, *partition, *extent))
    }

    /// Writes all of it or none, and returns when it is as durable as `mode` says.
    pub fn write(&mut self, store: &Store, mode: PersistMode) -> fjall::Result<()> {
        let mut batch = store.db.batch().durability(Some(mode));
        for ((topic, partition, offset), value) in std::mem::take(&mut self.records) {
            batch.insert(store.records(topic), layout::record_key(partition, offset), value);
        }
        for (topic, partition, offset) in std::mem::take(&mut self.removed) {
            batch.remove(store.records(topic), layout::record_key(partition, offset));
        }
        for ((stage, key), value) in std::mem::take(&mut self.state) {
            match value {
                Some(value) => batch.insert(store.state(stage), key, value),
                None => batch.remove(store.state(stage), key),
            }
        }
        for (key, (offset, note)) in std::mem::take(&mut self.positions) {
            let key = layout::encode_position_key(&key);
            batch.insert(&store.positions, key, layout::encode_position(offset, &note));
        }
        for (topic, partition, extent) in self.extents() {
            let key = layout::extent_key(topic, partition);
            batch.insert(&store.extents, key, layout::encode_extent(extent));
        }
        batch.commit()
    }
}
