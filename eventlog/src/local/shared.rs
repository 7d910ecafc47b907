//! What the writer shows to everyone else.

use super::config::LocalConfig;
use super::layout::Extent;
use super::store::Store;
use crate::{Bounds, Offset};
use schemas::Topic;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{SetOnce, watch};

/// A partition as its readers see it: synced records only.
pub struct PartitionView {
    first: AtomicU64,
    end: watch::Sender<Offset>,
}

impl PartitionView {
    pub fn bounds(&self) -> Bounds {
        // `first` after `end`: `first` can only have grown meanwhile, and never past `end`.
        let end = *self.end.borrow();
        Bounds { first: self.first.load(Ordering::Acquire), end }
    }

    pub fn watch_end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    pub fn publish_end(&self, end: Offset) {
        self.end.send_replace(end);
    }

    /// Before the records below it are deleted, so that whoever misses one finds out why.
    pub fn publish_first(&self, first: Offset) {
        self.first.store(first, Ordering::Release);
    }
}

pub struct Shared {
    pub config: LocalConfig,
    pub store: Store,
    views: HashMap<(Topic, u32), PartitionView>,
    /// Bytes kept per topic, for the quotas; in the order of `Topic::ALL`.
    topic_bytes: Vec<AtomicU64>,
    /// As the keeper saw it last, less what has been written since.
    pub free_bytes: AtomicU64,
    pub queued_bytes: AtomicUsize,
    pub closing: AtomicBool,
    /// The first failure of the storage; nothing can be written after it.
    failure: SetOnce<String>,
    /// The present generation of each group; a member of an older one has lost its partitions.
    generations: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Shared {
    pub fn new(
        config: LocalConfig,
        store: Store,
        extents: &HashMap<(Topic, u32), Extent>,
        free_bytes: u64,
    ) -> Self {
        let mut views = HashMap::new();
        for topic in Topic::ALL {
            for partition in 0..topic.partitions(config.partitions) {
                let extent = extents.get(&(topic, partition)).copied().unwrap_or_default();
                let view = PartitionView {
                    first: AtomicU64::new(extent.first),
                    end: watch::Sender::new(extent.next),
                };
                views.insert((topic, partition), view);
            }
        }
        let bytes_of = |topic: Topic| {
            extents.iter().filter(|((t, _), _)| *t == topic).map(|(_, extent)| extent.bytes).sum()
        };
        Self {
            topic_bytes: Topic::ALL.iter().map(|topic| AtomicU64::new(bytes_of(*topic))).collect(),
            config,
            store,
            views,
            free_bytes: AtomicU64::new(free_bytes),
            queued_bytes: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            failure: SetOnce::new(),
            generations: Mutex::new(HashMap::new()),
        }
    }

    pub fn view(&self, topic: Topic, partition: u32) -> Option<&PartitionView> {
        self.views.get(&(topic, partition))
    }

    pub fn topic_bytes(&self, topic: Topic) -> &AtomicU64 {
        &self.topic_bytes[topic as usize]
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Resolves with the failure when there is one.
    pub async fn failed(&self) -> &str {
        self.failure.wait().await
    }

    pub fn fail(&self, why: String) {
        tracing::error!(error = %why, "the event log stopped taking records");
        // Only the first failure says what happened.
        let _ = self.failure.set(why);
    }

    /// Why nothing may be added to a topic now, if so: its quota or the disk.
    pub fn full(&self, topic: Topic) -> Option<String> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        if free < self.config.min_free_disk_bytes {
            return Some(format!(
                "{free} bytes are free in {}, {} must stay free",
                self.config.dir.display(),
                self.config.min_free_disk_bytes
            ));
        }
        let kept = self.topic_bytes(topic).load(Ordering::Relaxed);
        let quota = self.config.retention.of(topic)?.bytes;
        (kept >= quota).then(|| {
            format!(
                "{topic} holds {kept} of the {quota} bytes of its quota and its consumers have \
                 not read them"
            )
        })
    }

    /// The generation of a group, to be watched.
    pub fn watch_generation(&self, group: &str) -> watch::Receiver<u64> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.entry(group.to_string()).or_default().subscribe()
    }

    pub fn next_generation(&self, group: &str) -> u64 {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = generations.entry(group.to_string()).or_default();
        sender.send_modify(|generation| *generation += 1);
        *sender.borrow()
    }
}
