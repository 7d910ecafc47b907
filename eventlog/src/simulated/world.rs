//! The state of the simulation, behind one lock.

use super::faults::{Faults, Random};
use super::groups::Group;
use crate::{Bounds, Commit, Offset, Record, Stage};
use bytes::Bytes;
use schemas::topic::Kind;
use schemas::{Topic, UnixMillis};
use std::collections::{BTreeMap, HashMap, VecDeque};

#[derive(Default)]
pub struct Part {
    pub first: Offset,
    pub next: Offset,
    pub records: BTreeMap<Offset, Record>,
    latest: HashMap<Bytes, Offset>,
}

impl Part {
    fn add(&mut self, topic: Topic, record: Record) -> Offset {
        let offset = self.next;
        if topic.kind() == Kind::Compacted
            && let Some(superseded) = self.latest.insert(record.key.clone(), offset)
        {
            self.records.remove(&superseded);
        }
        self.records.insert(offset, record);
        self.next += 1;
        offset
    }
}

/// An append that is under way: not readable, and forgotten by a crash or not, as chance has it.
pub struct Pending {
    pub id: u64,
    pub topic: Topic,
    pub partition: u32,
    pub records: Vec<Record>,
}

pub struct World {
    pub partitions: u32,
    pub now: UnixMillis,
    pub random: Random,
    pub faults: Faults,
    /// Grows with every crash; handles of an older one are dead.
    pub incarnation: u64,
    /// Grows with everything that somebody may be waiting for.
    pub version: u64,
    pub parts: HashMap<(Topic, u32), Part>,
    pub pending: VecDeque<Pending>,
    /// Appends that became durable and whose caller has not asked yet.
    pub durable: HashMap<u64, Offset>,
    pub last_id: u64,
    pub positions: HashMap<(String, Topic, u32), (Offset, String)>,
    pub state: HashMap<(Stage, u32), BTreeMap<Vec<u8>, Bytes>>,
    pub groups: HashMap<String, Group>,
}

impl World {
    pub fn new(partitions: u32, seed: u64) -> Self {
        Self {
            partitions,
            now: UnixMillis(0),
            random: Random::new(seed),
            faults: Faults::default(),
            incarnation: 0,
            version: 0,
            parts: HashMap::new(),
            pending: VecDeque::new(),
            durable: HashMap::new(),
            last_id: 0,
            positions: HashMap::new(),
            state: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    pub fn bounds(&self, topic: Topic, partition: u32) -> Bounds {
        let part = self.parts.get(&(topic, partition));
        part.map_or(Bounds { first: 0, end: 0 }, |p| Bounds { first: p.first, end: p.next })
    }

    pub fn enqueue(&mut self, topic: Topic, partition: u32, records: Vec<Record>) -> u64 {
        self.last_id += 1;
        self.pending.push_back(Pending { id: self.last_id, topic, partition, records });
        self.last_id
    }

    /// Makes an append durable, and before it all those of its partition that were called before.
    /// `None` when a crash forgot it.
    pub fn settle(&mut self, id: u64) -> Option<Offset> {
        if let Some(pending) = self.pending.iter().find(|pending| pending.id == id) {
            let (topic, partition) = (pending.topic, pending.partition);
            self.write_pending(topic, partition, id);
        }
        self.durable.remove(&id)
    }

    /// Writes the pending appends of a partition up to `id`.
    pub fn write_pending(&mut self, topic: Topic, partition: u32, id: u64) {
        let mut kept = VecDeque::new();
        for pending in std::mem::take(&mut self.pending) {
            let here = pending.topic == topic && pending.partition == partition;
            if !here || pending.id > id {
                kept.push_back(pending);
                continue;
            }
            let part = self.parts.entry((topic, partition)).or_default();
            self.durable.insert(pending.id, part.next);
            for record in pending.records {
                part.add(topic, record);
            }
            self.version += 1;
        }
        self.pending = kept;
    }

    /// Everything of one commit.
    pub fn apply(&mut self, stage: Stage, partition: u32, commit: Commit) {
        for (topic, output_partition, record) in commit.outputs {
            self.parts.entry((topic, output_partition)).or_default().add(topic, record);
        }
        let state = self.state.entry((stage, partition)).or_default();
        for (key, value) in commit.state_changes {
            match value {
                Some(value) => drop(state.insert(key, Bytes::from(value))),
                None => drop(state.remove(&key)),
            }
        }
        let place = (stage.group().to_string(), stage.input(), partition);
        self.positions.insert(place, (commit.next_offset, String::new()));
        self.version += 1;
    }

    pub fn position(&self, group: &str, topic: Topic, partition: u32) -> (Offset, String) {
        let place = (group.to_string(), topic, partition);
        let first = self.bounds(topic, partition).first;
        self.positions.get(&place).cloned().unwrap_or((first, String::new()))
    }

    /// Forgets the records below an offset.
    pub fn forget(&mut self, topic: Topic, partition: u32, before: Offset) {
        let part = self.parts.entry((topic, partition)).or_default();
        part.first = part.first.max(before.min(part.next));
        part.records = part.records.split_off(&part.first);
        self.version += 1;
    }

    /// Of the appends under way chance keeps some, in their order; all handles are dead.
    pub fn crash(&mut self) {
        let mut ends: BTreeMap<(Topic, u32), u64> = BTreeMap::new();
        let under_way: Vec<_> = self
            .pending
            .iter()
            .map(|pending| (pending.topic, pending.partition, pending.id))
            .collect();
        let mut cut: BTreeMap<(Topic, u32), ()> = BTreeMap::new();
        for (topic, partition, id) in under_way {
            if self.random.below(2) == 0 {
                cut.insert((topic, partition), ());
            } else if !cut.contains_key(&(topic, partition)) {
                ends.insert((topic, partition), id);
            }
        }
        for ((topic, partition), id) in ends {
            self.write_pending(topic, partition, id);
        }
        self.pending.clear();
        self.durable.clear();
        self.groups.clear();
        self.incarnation += 1;
        self.version += 1;
    }
}
