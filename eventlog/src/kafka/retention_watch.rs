//! How near a group is to losing records that it has not read: brokers keep records for a time,
//! read or not.

use super::config::{KafkaConfig, REQUEST_TIMEOUT};
use super::context::explain;
use super::fetch::partition_number;
use super::membership::{MemberContext, Place};
use super::topics;
use crate::local::wall_clock;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use schemas::topic::Kind;
use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);
/// What the age of the oldest unread record is compared with, as parts of the retention time.
const STEPS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];

/// Watches a member's partitions until the member is gone.
pub fn start(consumer: Weak<BaseConsumer<MemberContext>>, config: KafkaConfig, group: String) {
    tokio::spawn(async move {
        let mut shown = HashSet::new();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(consumer) = consumer.upgrade() else { return };
            let (config, group, before) = (config.clone(), group.clone(), shown.clone());
            let look = move || {
                let owned = consumer.context().places_owned();
                // What another member has now is for it to show.
                for place in before.iter().filter(|place| !owned.contains(place)) {
                    show(&group, *place, 0, 0.0);
                }
                if let Err(error) = observe(&consumer, &config, &group, &owned) {
                    tracing::debug!("retention cannot be watched now: {}", explain(&error));
                }
                owned.into_iter().collect()
            };
            shown = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        }
    });
}

fn observe(
    consumer: &BaseConsumer<MemberContext>,
    config: &KafkaConfig,
    group: &str,
    owned: &[Place],
) -> Result<(), KafkaError> {
    let owned: Vec<Place> =
        owned.iter().filter(|place| place.0.kind() == Kind::Retention).copied().collect();
    if owned.is_empty() {
        return Ok(());
    }
    // For a time, the first offset that is not before it; None when all are.
    let ask = |at: Offset| -> Result<Vec<Option<u64>>, KafkaError> {
        let found = consumer.offsets_for_times(list(config, &owned, at)?, REQUEST_TIMEOUT)?;
        Ok(offsets(config, &owned, &found))
    };
    let committed =
        consumer.committed_offsets(list(config, &owned, Offset::Invalid)?, REQUEST_TIMEOUT)?;
    let committed = offsets(config, &owned, &committed);
    let (first, end) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    let mut used = vec![0.0; owned.len()];
    let next = |at: usize| committed[at].or(first[at]).unwrap_or(0);
    let is_behind = |at: usize| end[at].is_some_and(|end| next(at) < end);
    if let Some(retention_ms) = config.retention_ms.filter(|_| (0..owned.len()).any(is_behind)) {
        for step in STEPS {
            let since = wall_clock().0 - (retention_ms as f64 * step) as i64;
            let newer = ask(Offset::Offset(since.max(0)))?;
            for at in (0..owned.len()).filter(|at| is_behind(*at)) {
                if newer[at].is_none_or(|newer| newer > next(at)) {
                    used[at] = step;
                }
            }
        }
    }
    for (at, place) in owned.iter().enumerate() {
        let headroom = next(at).saturating_sub(first[at].unwrap_or(0));
        show(group, *place, headroom, used[at]);
    }
    Ok(())
}

fn show(group: &str, (topic, partition): Place, headroom: u64, used: f64) {
    let labels = [
        ("group", group.to_string()),
        ("topic", topic.name().to_string()),
        ("partition", partition.to_string()),
    ];
    metrics::gauge!("gokart_log_headroom_records", &labels).set(headroom as f64);
    metrics::gauge!("gokart_log_retention_used_ratio", &labels).set(used);
}

fn list(
    config: &KafkaConfig,
    places: &[Place],
    at: Offset,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        let name = topics::name(config, *topic);
        list.add_partition_offset(&name, partition_number(*partition), at)?;
    }
    Ok(list)
}

fn offsets(config: &KafkaConfig, places: &[Place], found: &TopicPartitionList) -> Vec<Option<u64>> {
    let offset = |(topic, partition): &Place| {
        let name = topics::name(config, *topic);
        match found.find_partition(&name, partition_number(*partition))?.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        }
    };
    places.iter().map(offset).collect()
}
