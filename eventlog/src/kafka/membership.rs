//! Membership in a consumer group: which partitions are ours. A member fetches nothing; readers do
//! that ([`super::fetch`]), from offsets that we choose.

use super::config::{KafkaConfig, REQUEST_TIMEOUT};
use super::context::{client_error, explain, log_line};
use super::fetch::{blocking, unavailable};
use super::ffi::group::{self, Committed, Generation};
use super::{retention_watch, topics};
use crate::{CommitError, Offset, Position, ReadError};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use schemas::Topic;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub type Place = (Topic, u32);

/// A change of what is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Assigned(Vec<Place>),
    Revoked(Vec<Place>),
}

type OnRevoked = Box<dyn Fn(&[Place]) + Send + Sync>;

pub struct MemberContext {
    prefix: String,
    /// As metrics name it.
    group: String,
    changes: Mutex<VecDeque<Change>>,
    owned: Mutex<HashSet<Place>>,
    /// Called before the group hears that we let go: whoever gets the partition comes after.
    on_revoked: OnRevoked,
}

impl MemberContext {
    fn places(&self, list: &TopicPartitionList) -> Vec<Place> {
        let place = |name: &str, partition: i32| {
            let name = name.strip_prefix(&self.prefix)?;
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name)?;
            Some((topic, u32::try_from(partition).ok()?))
        };
        let elements = list.elements();
        elements.iter().filter_map(|element| place(element.topic(), element.partition())).collect()
    }

    /// What is this member's now.
    pub fn places_owned(&self) -> Vec<Place> {
        self.owned().iter().copied().collect()
    }

    fn owned(&self) -> std::sync::MutexGuard<'_, HashSet<Place>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let places = self.places(list);
        let is_assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let change = match (is_assigned, consumer.assignment_lost()) {
            (true, _) => "assigned",
            (false, false) => "revoked",
            (false, true) => "lost",
        };
        let labels = [("group", self.group.clone()), ("change", change.to_string())];
        metrics::counter!("gokart_log_rebalances_total", &labels).increment(1);
        let done = if is_assigned {
            self.owned().extend(&places);
            self.changes().push_back(Change::Assigned(places));
            // Paused at an offset that is there or not: this consumer never reads.
            list.set_all_offsets(rdkafka::Offset::Offset(0))
                .and_then(|()| consumer.incremental_assign(list))
                .and_then(|()| consumer.pause(list))
        } else {
            (self.on_revoked)(&places);
            self.owned().retain(|place| !places.contains(place));
            self.changes().push_back(Change::Revoked(places));
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            tracing::error!("a rebalance failed: {}", explain(&error));
        }
    }
}

/// A member of a group. Leaves when it is dropped, on a thread of its own.
pub struct Membership {
    consumer: Option<Arc<BaseConsumer<MemberContext>>>,
    config: KafkaConfig,
    /// Held while the process has members that have not left yet.
    leaving: Leaving,
}

/// Counts the members that have not left yet.
pub type Leaving = tokio::sync::mpsc::Sender<()>;

impl Membership {
    pub fn join(
        config: &KafkaConfig,
        group: &str,
        topics: &[Topic],
        leaving: Leaving,
        on_revoked: OnRevoked,
    ) -> Result<Self, ReadError> {
        let context = MemberContext {
            prefix: config.topic_prefix.clone(),
            group: group.to_string(),
            changes: Mutex::default(),
            owned: Mutex::default(),
            on_revoked,
        };
        let consumer = BaseConsumer::from_config_and_context(&config.member(group), context)
            .map_err(|error| unavailable(&error))?;
        let names: Vec<String> = topics.iter().map(|topic| topics::name(config, *topic)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| unavailable(&error))?;
        let consumer = Arc::new(consumer);
        retention_watch::start(Arc::downgrade(&consumer), config.clone(), group.to_string());
        let consumer = Some(consumer);
        Ok(Self { consumer, config: config.clone(), leaving })
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<MemberContext>>, ReadError> {
        let ended = || ReadError::Unavailable("the member has left".to_string());
        self.consumer.as_ref().map(Arc::clone).ok_or_else(ended)
    }

    /// A way to the group's generation that outlives a borrow of the member.
    pub fn generation_source(&self) -> GenerationSource {
        GenerationSource(self.consumer.as_ref().map(Arc::downgrade).unwrap_or_default())
    }

    pub fn owns(&self, place: Place) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| consumer.context().owned().contains(&place))
    }

    pub fn take_change(&self) -> Option<Change> {
        self.consumer.as_ref()?.context().changes().pop_front()
    }

    pub fn put_back(&self, change: Change) {
        if let Some(consumer) = &self.consumer {
            consumer.context().changes().push_front(change);
        }
    }

    /// Takes part in the group's doings for up to `wait`, or until something changes. This is what
    /// shows the group that we are alive: it wants to be called every few seconds.
    pub async fn poll(&self, wait: Duration) -> Result<(), ReadError> {
        let consumer = self.consumer()?;
        blocking(move || match consumer.poll(wait) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => Err(unavailable(&error)),
            // Of a partition that this consumer does not read, or passing.
            Some(Err(error)) => {
                tracing::debug!("group member: {}", explain(&error));
                Ok(())
            }
        })
        .await
    }

    /// The committed positions; `None` where there is none. Stable ones only: the answer waits
    /// until transactions under way have ended.
    pub async fn committed(
        &self,
        places: Vec<Place>,
    ) -> Result<Vec<(Place, Option<(Offset, String)>)>, ReadError> {
        let (consumer, config) = (self.consumer()?, self.config.clone());
        blocking(move || {
            let list = list_of(&config, &places);
            let found = consumer
                .committed_offsets(list, REQUEST_TIMEOUT)
                .map_err(|error| unavailable(&error))?;
            let mut positions = Vec::new();
            for place in places {
                let name = topics::name(&config, place.0);
                let element = found.find_partition(&name, super::fetch::partition_number(place.1));
                let Some(element) = element else { continue };
                element.error().map_err(|error| unavailable(&error))?;
                let position = match element.offset() {
                    rdkafka::Offset::Offset(offset) => {
                        let offset = u64::try_from(offset).unwrap_or(0);
                        Some((offset, element.metadata().to_string()))
                    }
                    _ => None,
                };
                positions.push((place, position));
            }
            Ok(positions)
        })
        .await
    }

    /// Commits positions outside of any transaction.
    pub async fn commit(&self, positions: Vec<Position>) -> Result<(), CommitError> {
        let consumer =
            self.consumer().map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let (config, within) = (self.config.clone(), REQUEST_TIMEOUT);
        let commit = move || {
            let mut list = TopicPartitionList::new();
            for position in &positions {
                let name = topics::name(&config, position.topic);
                let number = super::fetch::partition_number(position.partition);
                let offset = i64::try_from(position.next_offset).unwrap_or(i64::MAX);
                let mut element = list.add_partition(&name, number);
                element.set_offset(rdkafka::Offset::Offset(offset))?;
                element.set_metadata(&position.note);
            }
            // SAFETY: the consumer is held by this closure.
            Ok(unsafe { group::commit_offsets(consumer.client().native_ptr(), &list, within) })
        };
        match tokio::task::spawn_blocking(commit).await {
            Ok(Ok(Committed::Answered(codes))) => verdict(&codes),
            Ok(Ok(Committed::Failed(code))) => verdict(&[code]),
            Ok(Ok(Committed::TimedOut)) => {
                Err(CommitError::Unknown("Kafka did not confirm in time".to_string()))
            }
            Ok(Err(error)) => {
                let error: KafkaError = error;
                Err(CommitError::Unavailable(explain(&error)))
            }
            Err(error) => Err(CommitError::Unknown(error.to_string())),
        }
    }
}

/// What the answers for several partitions come to: the worst of them, for a commit is all or none
/// to whoever asked for it.
fn verdict(codes: &[RDKafkaRespErr]) -> Result<(), CommitError> {
    let outcomes = codes.iter().map(|code| outcome((*code).into()));
    let severity = |outcome: &Result<(), CommitError>| match outcome {
        Ok(()) => 0,
        Err(CommitError::Unavailable(_)) => 1,
        Err(CommitError::Unknown(_)) => 2,
        Err(CommitError::Fenced(_)) => 3,
    };
    outcomes.max_by_key(severity).unwrap_or(Ok(()))
}

fn outcome(code: RDKafkaErrorCode) -> Result<(), CommitError> {
    use RDKafkaErrorCode as Code;
    let why = code.to_string();
    match code {
        Code::NoError => Ok(()),
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::AssignmentLost => Err(CommitError::Fenced(why)),
        Code::RebalanceInProgress | Code::OffsetMetadataTooLarge => {
            Err(CommitError::Unavailable(why))
        }
        _ => Err(CommitError::Unknown(why)),
    }
}

fn list_of(config: &KafkaConfig, places: &[Place]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        let name = topics::name(config, *topic);
        list.add_partition(&name, super::fetch::partition_number(*partition));
    }
    list
}

impl Drop for Membership {
    fn drop(&mut self) {
        let (consumer, leaving) = (self.consumer.take(), self.leaving.clone());
        std::thread::spawn(move || {
            drop(consumer);
            drop(leaving);
        });
    }
}

/// Gives the group's generation for a transaction.
#[derive(Clone)]
pub struct GenerationSource(std::sync::Weak<BaseConsumer<MemberContext>>);

impl GenerationSource {
    /// `None` when the consumer is gone or is no member just now.
    pub fn get(&self) -> Option<Generation> {
        let consumer = self.0.upgrade()?;
        // SAFETY: the consumer is held here.
        unsafe { Generation::of(consumer.client().native_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_that_failed_is_not_committed() {
        use RDKafkaRespErr as Code;
        let check = |codes: &[Code], expected: &str| {
            let told = format!("{:?}", verdict(codes));
            assert!(told.starts_with(expected), "{codes:?}: {told}");
        };
        let fine = Code::RD_KAFKA_RESP_ERR_NO_ERROR;
        let fenced = Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
        let later = Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
        let strange = Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
        check(&[], "Ok");
        check(&[fine, fine], "Ok");
        check(&[later, fine], "Err(Unavailable");
        check(&[fine, strange, later], "Err(Unknown");
        check(&[strange, fenced, fine], "Err(Fenced");
    }
}
