//! The event log on Apache Kafka.
//!
//! # Appending
//!
//! An idempotent producer with `acks=all` and lz4 ([`producer`]). The delivery callback of the last
//! record of an append wakes the one request that waits for it. What may be on its way is bounded;
//! beyond that the answer is `Unavailable` at once. When a record is given up, librdkafka says
//! whether it can have been persisted: `Unavailable` if not, else `Unknown`.
//!
//! # Reading
//!
//! Committed records only, from offsets of our choice, never with an automatic reset ([`fetch`]).
//! Ends are last stable offsets.
//!
//! # Owning a partition
//!
//! Groups tell what is ours ([`membership`], cooperative-sticky); group members fetch nothing.
//!
//! A stage (processors, deliverers) has its own group, changelog and copy of the state. A member's
//! **commit is a Kafka transaction** ([`transaction`]) holding, for each of its
//! partitions: the outputs; the state changes as records of `processor-state` (key: the state key;
//! value: the new value or a tombstone); as the last one a *position record* with the next input
//! offset; and the same offset as the group's. Commits that come together share a transaction
//! ([`committer`]). One transactional producer a process (KIP-447); its id comes from the instance
//! id, so that a restarted process fences its predecessor at once.
//!
//! The state is read from a copy in an embedded store ([`store`]). A transaction's changes are
//! applied to it only **after** the transaction was committed, in one batch with the changelog's
//! offset after them. Nothing else writes it, so the copy is always a prefix of the committed
//! changelog.
//!
//! Whoever gets a partition ([`restore`]) asks for the group's committed input offset (a stable
//! one: the answer waits for transactions under way), and reads the changelog from the copy's own
//! offset to its end, and on until the position record has reached the committed offset: the marker
//! that ends a transaction may come to the changelog later than to the offsets. A copy whose offset
//! the changelog does not have any more is wiped and built anew from the beginning. The position in
//! the changelog is where input is read on from.
//!
//! # Why nobody else can commit
//!
//! The transaction carries the group's generation. The committer takes the generation *first* and
//! then looks at the partition's fence, which a revocation sets before the group hears of it. If
//! the fence was not set, that generation is one in which the partition was ours; should it be lost
//! a moment later, the group moves on to the next generation and the broker refuses the old one. A
//! process that is no member at that moment has no generation, and commits nothing (ADR 19).
//!
//! # Unknown outcomes
//!
//! When it is not certain whether a transaction was committed, the producer is dropped and its
//! commits answer `Unknown`. Opening a partition again first starts a new producer of the same id:
//! `init_transactions` returns after what was under way has been committed or aborted, and bars the
//! old producer from anything more, even if its thread still hangs in a call. Then the changelog is
//! read as above, and tells. A producer whose connection broke is replaced in the same way, for a
//! request of its last transaction may still be on its way (ADR 18).

mod changelog;
mod committer;
mod config;
mod context;
mod ends;
mod fetch;
mod ffi;
mod group;
mod instance;
mod membership;
mod probe;
mod processor;
mod producer;
mod properties;
mod restore;
mod retention_watch;
pub mod security;
mod store;
mod topic_settings;
mod topics;
mod transaction;
mod watched_producer;

pub use config::KafkaConfig;

use crate::limits::check_records;
use crate::{
    AppendError, Bounds, EventLog, GroupMember, Offset, OpenError, ProcessorMember, ReadError,
    Reader, Record, Stage,
};
use async_trait::async_trait;
use committer::Committer;
use ends::Ends;
use fetch::FetchPool;
use futures_util::future::BoxFuture;
use membership::{Leaving, Membership};
use probe::Probe;
use processor::{Fences, KafkaProcessorMember, Resources};
use producer::Appender;
use schemas::Topic;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::StateStore;
use tokio::sync::mpsc;

/// How long `close` waits for members to leave their groups.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The log of one process, on a Kafka cluster.
pub struct KafkaLog {
    config: KafkaConfig,
    appender: Appender,
    fetch: Arc<FetchPool>,
    cluster: String,
    /// A stage's state is opened when the process becomes a member of it.
    stores: tokio::sync::Mutex<HashMap<Stage, Arc<StateStore>>>,
    leaving: Mutex<Option<Leaving>>,
    left: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl KafkaLog {
    /// Connects, and makes or checks the topics. Takes [`KafkaConfig::connect_timeout`] or so when
    /// no broker can be reached.
    ///
    /// # Errors
    /// [`OpenError::Configuration`] when settings are wrong or topics are other than they ask for;
    /// [`OpenError::Unavailable`] when no broker answers.
    pub async fn connect(config: KafkaConfig) -> Result<Arc<Self>, OpenError> {
        config.check()?;
        let probe = Probe::new(&config)?;
        topics::prepare(&config, &probe).await?;
        let cluster = probe.cluster().await?;
        let (leaving, left) = mpsc::channel(1);
        Ok(Arc::new(Self {
            appender: Appender::new(&config)?,
            fetch: Arc::new(FetchPool::new(&config)),
            cluster,
            stores: tokio::sync::Mutex::default(),
            leaving: Mutex::new(Some(leaving)),
            left: tokio::sync::Mutex::new(left),
            config,
        }))
    }

    /// Delivers what was taken, and waits a moment for members that were dropped to leave their
    /// groups, so that others get their partitions at once.
    pub async fn close(&self) {
        self.appender.flush().await;
        drop(self.leaving.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut left = self.left.lock().await;
        if tokio::time::timeout(LEAVE_TIMEOUT, left.recv()).await.is_err() {
            tracing::warn!("a member did not leave its group in time");
        }
    }

    fn leaving(&self) -> Result<Leaving, ReadError> {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        leaving.ok_or_else(|| ReadError::Unavailable("the event log is closing".to_string()))
    }

    async fn open_store(&self, stage: Stage) -> Result<Arc<StateStore>, ReadError> {
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(&stage) {
            return Ok(Arc::clone(store));
        }
        let dir = self.config.state_dir.join(stage.state_name());
        let identity = format!("{} {}", self.cluster, self.config.topic_prefix);
        let opened = fetch::blocking(move || {
            StateStore::open(&dir, &identity)
                .map_err(|error| ReadError::Unusable(error.to_string()))
        });
        let store = Arc::new(opened.await?);
        stores.insert(stage, Arc::clone(&store));
        Ok(store)
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions(self.config.partitions)
    }

    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let bytes = match check_records(topic, partition, self.partitions(topic), &records) {
            Ok(bytes) => bytes,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        if records.is_empty() {
            let fetch = Arc::clone(&self.fetch);
            return Box::pin(async move {
                let bounds = fetch.bounds(topic, partition).await;
                let bounds = bounds.map_err(|error| AppendError::Unavailable(error.to_string()))?;
                Ok(bounds.end)
            });
        }
        Box::pin(self.appender.append(topic, partition, &records, bytes))
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        self.fetch.bounds(topic, partition).await
    }

    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError> {
        Ok(Box::new(self.fetch.read_from(topic, partition, offset).await?))
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError> {
        // A prefix, so that no group can take the name under which the processors stand.
        let group = format!("group-{group}");
        let leaving = self.leaving()?;
        let nothing = Box::new(|_: &[(Topic, u32)]| {});
        let membership = Membership::join(&self.config, &group, topics, leaving, nothing)?;
        Ok(Box::new(group::KafkaGroupMember::new(membership, Arc::clone(&self.fetch))))
    }

    async fn join_stage(&self, stage: Stage) -> Result<Box<dyn ProcessorMember>, ReadError> {
        let instance = instance::id(&self.config)
            .map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let store = self.open_store(stage).await?;
        // Before the group gives us anything: a predecessor's transaction is settled here.
        let (committer, generation) =
            Committer::start(&self.config, stage, &instance, Arc::clone(&store)).await?;
        let fences = Fences::default();
        let to_fence = Arc::clone(&fences);
        let fence = move |places: &[(Topic, u32)]| {
            let fences = to_fence.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = places.iter().filter_map(|(_, partition)| fences.get(partition));
            lost.for_each(|fence| fence.store(true, Ordering::Release));
        };
        let (topics, leaving) = ([stage.input()], self.leaving()?);
        let membership =
            Membership::join(&self.config, stage.group(), &topics, leaving, Box::new(fence))?;
        // The committer ends only with its senders, and one of them is here.
        let _ = generation.send(membership.generation_source());
        let (fetch, partitions) = (Arc::clone(&self.fetch), self.config.partitions);
        let ends = Ends::start(&self.config, stage.input())?;
        let resources = Resources { stage, fetch, store, committer, ends, partitions };
        Ok(Box::new(KafkaProcessorMember::new(membership, resources, fences)))
    }
}
