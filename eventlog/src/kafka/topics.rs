//! Topics are made at the start, or found to be what they must be.

use super::config::KafkaConfig;
use super::context::{QuietContext, explain};
use super::probe::{Probe, unreachable, wrong_settings};
use super::topic_settings::{self, Setting};
use crate::OpenError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use schemas::Topic;
use std::time::{Duration, Instant};

/// How long a new topic may take until it has leaders.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_POLL: Duration = Duration::from_millis(50);

pub fn name(config: &KafkaConfig, topic: Topic) -> String {
    format!("{}{}", config.topic_prefix, topic.name())
}

/// Makes the topics that are missing and compares the others with the settings.
pub async fn prepare(config: &KafkaConfig, probe: &Probe) -> Result<(), OpenError> {
    let admin = AdminClient::from_config_and_context(&config.client(), QuietContext)
        .map_err(|error| wrong_settings(config, &error))?;
    create(config, probe, &admin).await?;
    let copies = check_layout(config, probe).await?;
    check_settings(config, &admin, &copies).await
}

async fn create(
    config: &KafkaConfig,
    probe: &Probe,
    admin: &AdminClient<QuietContext>,
) -> Result<(), OpenError> {
    let found = probe.topics().await?;
    let missing: Vec<(String, Topic, Vec<Setting>)> = found
        .iter()
        .filter(|(_, found)| found.is_none())
        .map(|(topic, _)| {
            let settings = topic_settings::of(config, *topic, config.replication_factor);
            (name(config, *topic), *topic, settings)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let new = missing.iter().map(|(name, topic, settings)| {
        let partitions = i32::try_from(topic.partitions(config.partitions)).unwrap_or(i32::MAX);
        let copies = i32::try_from(config.replication_factor).unwrap_or(i32::MAX);
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        settings.iter().filter(|it| it.is_made).fold(new, |new, it| new.set(it.name, &it.wanted))
    });
    let new: Vec<NewTopic<'_>> = new.collect();
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
                     replication factor (--replication)",
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

/// Partitions and copies, once all topics have leaders; how many copies each topic has.
async fn check_layout(config: &KafkaConfig, probe: &Probe) -> Result<Vec<(Topic, u32)>, OpenError> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let topics = probe.topics().await?;
        for (topic, found) in &topics {
            let Some(found) = found else { continue };
            let (name, wanted) = (name(config, *topic), topic.partitions(config.partitions));
            if found.partitions != wanted as usize {
                return Err(OpenError::Configuration(format!(
                    "Kafka topic {name} has {} partitions, and --partitions asks for {wanted}; the \
                     count is fixed when topics are made: set it to what is there, or use another \
                     --topic-prefix",
                    found.partitions
                )));
            }
            if found.copies < config.replication_factor as usize {
                return Err(OpenError::Configuration(format!(
                    "Kafka topic {name} has {} copies of a partition, and --replication asks for \
                     {}; add copies with kafka-reassign-partitions, or set --replication to what \
                     is there",
                    found.copies, config.replication_factor
                )));
            }
        }
        let Some((topic, _)) = topics.iter().find(|(_, found)| found.is_none()) else {
            let copies = topics.iter().filter_map(|(topic, found)| Some((*topic, (*found)?)));
            let count = |copies: usize| u32::try_from(copies).unwrap_or(u32::MAX);
            return Ok(copies.map(|(topic, found)| (topic, count(found.copies))).collect());
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

async fn check_settings(
    config: &KafkaConfig,
    admin: &AdminClient<QuietContext>,
    topics: &[(Topic, u32)],
) -> Result<(), OpenError> {
    let names: Vec<String> = topics.iter().map(|(topic, _)| name(config, *topic)).collect();
    let specifiers: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(config.connect_timeout));
    let described = admin
        .describe_configs(&specifiers, &options)
        .await
        .map_err(|error| unreachable(config, &explain(&error)))?;
    for (((topic, copies), name), result) in topics.iter().zip(&names).zip(described) {
        let found = result.map_err(|code| {
            OpenError::Unavailable(format!("Kafka did not describe topic {name}: {code}"))
        })?;
        for setting in topic_settings::of(config, *topic, *copies) {
            let value = found.get(setting.name).and_then(|entry| entry.value.as_deref());
            setting.check(name, value.unwrap_or_default())?;
        }
    }
    Ok(())
}
