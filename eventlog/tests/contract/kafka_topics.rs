//! Topics that somebody else made, or changed: each setting that something rests on is compared
//! with what a real broker has, and what does not fit is refused with what to do.

use crate::support::{PARTITIONS, World};
use eventlog::OpenError;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use schemas::Topic;

const DAY_MS: i64 = 86_400_000;

fn admin(config: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap()
}

async fn refused(config: KafkaConfig, words: &[&str]) {
    let error = KafkaLog::connect(config).await.err().expect("refused");
    let OpenError::Configuration(why) = &error else { panic!("{error}") };
    assert!(words.iter().all(|word| why.contains(word)), "{words:?}: {why}");
    assert_eq!(why.lines().count(), 1, "{why}");
}

/// A topic is made by hand with one setting that does not fit; the others get made and fit.
async fn check(topic: Topic, name: &str, found: &str, wanted: &str) {
    let Some(world) = World::kafka() else { return };
    let mut config = world.kafka_config("a");
    config.retention_ms = Some(7 * DAY_MS);
    let full = format!("{}{}", config.topic_prefix, topic.name());
    let partitions = i32::try_from(topic.partitions(PARTITIONS)).unwrap();
    // What fits, with what does not last.
    let compacted = matches!(topic, Topic::Config | Topic::Availability | Topic::ProcessorState);
    let new = NewTopic::new(&full, partitions, TopicReplication::Fixed(1))
        .set("cleanup.policy", if compacted { "compact" } else { "delete" })
        .set("retention.ms", "604800000")
        .set("delete.retention.ms", "86400000");
    let mut new = new;
    new.config.retain(|(key, _)| *key != name);
    let made = admin(&config).create_topics(&[new.set(name, found)], &AdminOptions::new()).await;
    assert!(made.unwrap().iter().all(Result::is_ok), "{topic} {name}={found}");
    refused(config, &[&full, &format!("{name}={found}"), wanted, "kafka-configs"]).await;
}

#[tokio::test]
async fn a_setting_that_does_not_fit_is_explained_and_refused() {
    check(Topic::Config, "cleanup.policy", "delete", "compact").await;
    check(Topic::Postbacks, "cleanup.policy", "compact", "delete").await;
    check(Topic::ProcessorState, "delete.retention.ms", "1000", "86400000").await;
    check(Topic::Postbacks, "retention.ms", "1000", "604800000").await;
    check(Topic::Decisions, "min.insync.replicas", "2", "at most 1").await;
    check(Topic::Decisions, "unclean.leader.election.enable", "true", "false").await;
    check(Topic::Clicks, "max.message.bytes", "1000", "1048588").await;
}

#[tokio::test]
async fn the_layout_that_does_not_fit_is_explained_and_refused() {
    let Some(world) = World::kafka() else { return };
    drop(world.start("a").await);
    let mut config = world.kafka_config("b");
    config.partitions += 1;
    refused(config.clone(), &["has 2 partitions", "asks for 3", "--partitions"]).await;
    config.partitions = PARTITIONS;
    config.replication_factor = 2;
    refused(config, &["has 1 copies", "asks for 2", "--replication"]).await;
    let mut config = world.kafka_config("c");
    (config.topic_prefix, config.replication_factor) = (config.topic_prefix + "another-", 2);
    refused(config, &["too few brokers", "--replication"]).await;
}

/// What was right when it was made is looked at again at every start.
#[tokio::test]
async fn a_setting_that_was_changed_later_is_found_and_mended() {
    let Some(world) = World::kafka() else { return };
    let mut config = world.kafka_config("a");
    config.retention_ms = Some(7 * DAY_MS);
    drop(KafkaLog::connect(config.clone()).await.unwrap());
    let name = format!("{}postbacks", config.topic_prefix);
    let alter = async |ms: &str| {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("retention.ms", ms);
        admin(&config).alter_configs(&[change], &AdminOptions::new()).await.unwrap();
    };
    alter("60000").await;
    refused(config.clone(), &[&name, "retention.ms=60000", "at least 604800000"]).await;
    // Longer than asked is no harm, and neither is for ever.
    for fitting in ["604800001", "-1"] {
        alter(fitting).await;
        drop(KafkaLog::connect(config.clone()).await.unwrap());
    }
}
