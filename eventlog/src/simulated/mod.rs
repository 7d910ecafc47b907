//! An event log in memory, for tests: seeded faults, crashes, partitions that move, virtual time.
//!
//! It keeps the promises of the interface and uses every liberty that they leave: an `Unknown`
//! append or commit may or may not be there, answers come late, a crash forgets what was not
//! acknowledged, and ownership moves at any moment. The same seed and the same calls give the same
//! history on a runtime of one thread.
//!
//! Time is virtual and nothing sleeps. A call that waits lets the other tasks run; when nothing has
//! happened after [`IDLE_YIELDS`] rounds of that, everybody is waiting for time to pass, and the
//! clock moves to the end of the wait.

mod faults;
mod groups;
mod members;
mod reader;
mod world;

pub use faults::{ACK_DELAY_MS, Faults, Random};

use crate::limits::check_records;
use crate::{
    AppendError, Bounds, EventLog, GroupMember, Offset, ProcessorMember, ReadError, Reader, Record,
    Stage,
};
use async_trait::async_trait;
use faults::Fate;
use futures_util::future::BoxFuture;
use members::{Membership, SimulatedMember, SimulatedProcessor};
use reader::SimulatedReader;
use schemas::{Topic, UnixMillis};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use world::World;

/// Rounds of letting others run before a waiting call moves the clock.
pub const IDLE_YIELDS: u32 = 64;

/// One incarnation of the log, between two crashes.
pub struct SimulatedLog {
    handle: Handle,
    partitions: u32,
}

/// Access to the world for as long as no crash comes between.
#[derive(Clone)]
struct Handle {
    world: Arc<Mutex<World>>,
    incarnation: u64,
}

impl SimulatedLog {
    /// An empty log without faults.
    #[must_use]
    pub fn new(partitions: u32, seed: u64) -> Arc<Self> {
        let world = Arc::new(Mutex::new(World::new(partitions, seed)));
        Arc::new(Self { handle: Handle { world, incarnation: 0 }, partitions })
    }

    pub fn set_faults(&self, faults: Faults) {
        self.handle.lock().faults = faults;
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.handle.lock().now
    }

    /// Moves the virtual time on.
    pub fn advance(&self, ms: i64) {
        let mut world = self.handle.lock();
        world.now = world.now.plus_ms(ms.max(0));
        world.version += 1;
    }

    /// Forgets everything that was not acknowledged (or keeps it, as the seed has it) and kills
    /// every handle; the log as it is after the restart.
    #[must_use]
    pub fn crash(&self) -> Arc<Self> {
        let mut world = self.handle.lock();
        world.crash();
        let incarnation = world.incarnation;
        drop(world);
        let handle = Handle { world: Arc::clone(&self.handle.world), incarnation };
        Arc::new(Self { handle, partitions: self.partitions })
    }

    /// Gives a partition of `postbacks` to the processor that joined `nth` of those present; the
    /// one that had it is fenced at once. Nothing happens when there is no such member.
    pub fn move_partition(&self, partition: u32, nth: usize) {
        self.move_stage_partition(Stage::Processor, partition, nth);
    }

    /// The same for any stage and a partition of its input.
    pub fn move_stage_partition(&self, stage: Stage, partition: u32, nth: usize) {
        let mut world = self.handle.lock();
        let group = world.groups.entry(stage.group().to_string()).or_default();
        if let Some(member) = group.members().get(nth) {
            group.hand_over(vec![((stage.input(), partition), *member)]);
        }
        world.version += 1;
    }

    /// Forgets a partition's records below an offset, read or not: for testing what consumers do.
    pub fn forget(&self, topic: Topic, partition: u32, before: Offset) {
        self.handle.lock().forget(topic, partition, before);
    }
}

impl Handle {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T, ReadError> {
        let mut world = self.lock();
        if world.incarnation != self.incarnation {
            return Err(ReadError::Unavailable("the process has crashed (simulated)".to_string()));
        }
        Ok(act(&mut world))
    }

    /// What `look` finds, as soon as it finds something within `wait` of virtual time.
    async fn wait_for<T>(
        &self,
        wait: Duration,
        look: impl Fn() -> Result<Option<T>, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let deadline = self.with(|world| world.now.plus_ms(wait_ms))?;
        let (mut idle, mut seen) = (0, self.lock().version);
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            tokio::task::yield_now().await;
            let mut world = self.lock();
            if world.version != seen {
                (idle, seen) = (0, world.version);
                continue;
            }
            idle += 1;
            if world.now >= deadline {
                return Ok(None);
            }
            if idle >= IDLE_YIELDS {
                world.now = deadline;
            }
        }
    }
}

#[async_trait]
impl EventLog for SimulatedLog {
    fn partitions(&self, topic: Topic) -> u32 {
        topic.partitions(self.partitions)
    }

    fn append(
        &self,
        topic: Topic,
        partition: u32,
        records: Vec<Record>,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        let handle = self.handle.clone();
        let unavailable = |error: ReadError| AppendError::Unavailable(error.to_string());
        let lost = || AppendError::Unknown("the answer got lost (simulated)".to_string());
        let called =
            check_records(topic, partition, self.partitions(topic), &records).and_then(|_| {
                let called = handle.with(|world| {
                    let fate = world.faults.of_append(&mut world.random);
                    let written = !matches!(fate, Fate::Unavailable | Fate::Lost);
                    (fate, written.then(|| world.enqueue(topic, partition, records)))
                });
                called.map_err(unavailable)
            });
        Box::pin(async move {
            let (fate, id) = called?;
            // A crash may come between the call and its being durable.
            tokio::task::yield_now().await;
            let Some(id) = id else {
                let out_of_order = AppendError::Unavailable("out of order (simulated)".to_string());
                return Err(if fate == Fate::Lost { lost() } else { out_of_order });
            };
            let settled = handle.with(|world| world.settle(id)).map_err(|_| lost())?;
            if fate == Fate::AckDelayed {
                let delay = Duration::from_millis(ACK_DELAY_MS.unsigned_abs());
                // Only a crash ends this wait early, and then the answer is lost.
                handle.wait_for::<()>(delay, || handle.with(|_| None)).await.map_err(|_| lost())?;
            }
            match settled {
                Some(offset) if fate != Fate::AckLost => Ok(offset),
                _ => Err(lost()),
            }
        })
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, ReadError> {
        self.handle.with(|world| world.bounds(topic, partition))
    }

    async fn read_from(
        &self,
        topic: Topic,
        partition: u32,
        offset: Offset,
    ) -> Result<Box<dyn Reader>, ReadError> {
        Ok(Box::new(SimulatedReader::open(self.handle.clone(), topic, partition, offset)?))
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn GroupMember>, ReadError> {
        let group = format!("group/{group}");
        let membership = Membership::join(self.handle.clone(), &group, topics)?;
        Ok(Box::new(SimulatedMember(membership)))
    }

    async fn join_stage(&self, stage: Stage) -> Result<Box<dyn ProcessorMember>, ReadError> {
        let membership = Membership::join(self.handle.clone(), stage.group(), &[stage.input()])?;
        Ok(Box::new(SimulatedProcessor { membership, stage }))
    }
}
