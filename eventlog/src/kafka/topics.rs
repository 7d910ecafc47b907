//! Topics are made at the start, or found to be what they must be.

use super::config::KafkaConfig;
use super::context::{QuietContext, explain};
use super::store::DELETIONS_KEPT_MS;
use crate::OpenError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::Topic;
use schemas::topic::Kind;
use std::time::{Duration, Instant};

/// How long a new topic may take until it has leaders.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_POLL: Duration = Duration::from_millis(50);

pub fn name(config: &KafkaConfig, topic: Topic) -> String {
    format!("{}{}", config.topic_prefix, topic.name())
}

const fn cleanup_policy(topic: Topic) -> &'static str {
    match topic.kind() {
        Kind::Compacted => "compact",
        Kind::Retention => "delete",
    }
}

/// An acknowledged record is on two brokers where there are three: on one alone it would be lost
/// with that one. With two copies, asking for both would stop everything when one is away.
const fn min_in_sync(replication_factor: u32) -> &'static str {
    if replication_factor >= 3 { "2" } else { "1" }
}

/// Makes the topics that are missing and compares the others with the settings.
pub async fn prepare(config: &KafkaConfig) -> Result<(), OpenError> {
    let admin = AdminClient::from_config_and_context(&config.client(), QuietContext)
        .map_err(|error| wrong_settings(config, &error))?;
    find_brokers(config).await?;
    create(config, &admin).await?;
    check_partitions(config).await?;
    check_policies(config, &admin).await
}

fn wrong_settings(config: &KafkaConfig, error: &KafkaError) -> OpenError {
    OpenError::Configuration(format!("Kafka at {}: {}", config.brokers, explain(error)))
}

fn unreachable(config: &KafkaConfig, why: &str) -> OpenError {
    OpenError::Unavailable(format!(
        "no Kafka broker answers at {} ({why}); check the address and that Kafka is running",
        config.brokers
    ))
}

/// Partition counts of our topics; `None` for one that is not there or not ready.
async fn partition_counts(
    config: &KafkaConfig,
    timeout: Duration,
) -> Result<Vec<(Topic, Option<usize>)>, OpenError> {
    let config = config.clone();
    let ask = move || {
        let consumer: BaseConsumer<QuietContext> =
            BaseConsumer::from_config_and_context(&config.client(), QuietContext)
                .map_err(|error| wrong_settings(&config, &error))?;
        let metadata = consumer
            .fetch_metadata(None, timeout)
            .map_err(|error| unreachable(&config, &explain(&error)))?;
        let count = |topic: Topic| {
            let name = name(&config, topic);
            let found = metadata.topics().iter().find(|found| found.name() == name)?;
            let ready = found.error().is_none()
                && found.partitions().iter().all(|partition| partition.leader() >= 0);
            (ready && !found.partitions().is_empty()).then(|| found.partitions().len())
        };
        Ok(Topic::ALL.map(|topic| (topic, count(topic))).to_vec())
    };
    match tokio::task::spawn_blocking(ask).await {
        Ok(result) => result,
        Err(error) => Err(OpenError::Unavailable(format!("connecting was cut short: {error}"))),
    }
}

async fn find_brokers(config: &KafkaConfig) -> Result<(), OpenError> {
    partition_counts(config, config.connect_timeout).await.map(drop)
}

async fn create(config: &KafkaConfig, admin: &AdminClient<QuietContext>) -> Result<(), OpenError> {
    let found = partition_counts(config, config.connect_timeout).await?;
    let missing: Vec<Topic> =
        found.iter().filter(|(_, count)| count.is_none()).map(|(topic, _)| *topic).collect();
    let names: Vec<String> = missing.iter().map(|topic| name(config, *topic)).collect();
    let deletions_kept_ms = DELETIONS_KEPT_MS.to_string();
    let retention_ms = config.retention_ms.map(|ms| ms.to_string());
    let new = missing.iter().zip(&names).map(|(topic, name)| {
        let partitions = i32::try_from(topic.partitions(config.partitions)).unwrap_or(i32::MAX);
        let copies = i32::try_from(config.replication_factor).unwrap_or(i32::MAX);
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
            .set("cleanup.policy", cleanup_policy(*topic))
            .set("min.insync.replicas", min_in_sync(config.replication_factor));
        let new = match topic {
            Topic::ProcessorState => new.set("delete.retention.ms", &deletions_kept_ms),
            _ => new,
        };
        match (topic.kind(), &retention_ms) {
            (Kind::Retention, Some(ms)) => new.set("retention.ms", ms),
            (Kind::Compacted, _) | (_, None) => new,
        }
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    if new.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().request_timeout(Some(config.connect_timeout));
    let results = admin
        .create_topics(&new, &options)
        .await
        .map_err(|error| unreachable(config, &explain(&error)))?;
    for result in results {
        match result {
            // Another process was quicker, or the topic has no leader for a moment.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                return Err(OpenError::Configuration(format!(
                    "Kafka has too few brokers for {} copies of topic {topic}; set a smaller \
                     replication factor",
                    config.replication_factor
                )));
            }
            Err((topic, code)) => {
                return Err(OpenError::Unavailable(format!(
                    "Kafka did not make topic {topic}: {code}"
                )));
            }
        }
    }
    Ok(())
}

async fn check_partitions(config: &KafkaConfig) -> Result<(), OpenError> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let counts = partition_counts(config, config.connect_timeout).await?;
        for (topic, count) in &counts {
            let expected = topic.partitions(config.partitions) as usize;
            if let Some(count) = count
                && *count != expected
            {
                return Err(OpenError::Configuration(format!(
                    "Kafka topic {} has {count} partitions, and the settings ask for {expected}; \
                     the count is fixed when topics are made: set it to what is there, or use \
                     another topic prefix",
                    name(config, *topic)
                )));
            }
        }
        let Some((topic, _)) = counts.iter().find(|(_, count)| count.is_none()) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            let name = name(config, *topic);
            return Err(OpenError::Unavailable(format!(
                "Kafka topic {name} has partitions without a leader; check the brokers"
            )));
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

async fn check_policies(
    config: &KafkaConfig,
    admin: &AdminClient<QuietContext>,
) -> Result<(), OpenError> {
    let names = Topic::ALL.map(|topic| (topic, name(config, topic)));
    let specifiers: Vec<_> = names.iter().map(|(_, name)| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(config.connect_timeout));
    let described = admin
        .describe_configs(&specifiers, &options)
        .await
        .map_err(|error| unreachable(config, &explain(&error)))?;
    for ((topic, name), result) in names.iter().zip(described) {
        let found = result.map_err(|code| {
            OpenError::Unavailable(format!("Kafka did not describe topic {name}: {code}"))
        })?;
        let policy = found.get("cleanup.policy").and_then(|entry| entry.value.clone());
        let (policy, expected) = (policy.unwrap_or_default(), cleanup_policy(*topic));
        if policy != expected {
            return Err(OpenError::Configuration(format!(
                "Kafka topic {name} has cleanup.policy={policy}, and it must be {expected}; \
                 change it with kafka-configs, or use another topic prefix"
            )));
        }
        let kept = found.get("delete.retention.ms").and_then(|entry| entry.value.as_deref());
        let kept: Option<i64> = kept.and_then(|ms| ms.parse().ok());
        if *topic == Topic::ProcessorState && kept.is_some_and(|ms| ms < DELETIONS_KEPT_MS) {
            return Err(OpenError::Configuration(format!(
                "Kafka topic {name} forgets deletions too soon (delete.retention.ms={}); set it to \
                 {DELETIONS_KEPT_MS} or more with kafka-configs",
                kept.unwrap_or_default()
            )));
        }
    }
    Ok(())
}
