//! What topics are set to when they are made, and what is wanted of those that are there.

use super::config::{KafkaConfig, MESSAGE_BYTES_MAX};
use super::store::DELETIONS_KEPT_MS;
use crate::OpenError;
use schemas::Topic;
use schemas::topic::Kind;

/// A setting of a topic.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub wanted: String,
    /// Whether new topics are given it; else the broker's own value is looked at.
    pub is_made: bool,
    rule: Rule,
    /// What happens when it is otherwise.
    why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Is,
    /// As a number.
    AtLeast,
    /// As a number, or -1, which is without end.
    AtLeastOrEndless,
    AtMost,
}

/// An acknowledged record is on two brokers where there are three: on one alone it would be lost
/// with that one. With two copies, asking for both would stop everything when one is away.
const fn min_in_sync(replication_factor: u32) -> u32 {
    if replication_factor >= 3 { 2 } else { 1 }
}

/// The settings that something rests on, of a topic with so many copies of each partition.
pub fn of(config: &KafkaConfig, topic: Topic, copies: u32) -> Vec<Setting> {
    let setting =
        |name, wanted: String, is_made, rule, why| Setting { name, wanted, is_made, rule, why };
    let policy = match topic.kind() {
        Kind::Compacted => "compact",
        Kind::Retention => "delete",
    };
    let mut settings = vec![
        setting(
            "cleanup.policy",
            policy.to_string(),
            true,
            Rule::Is,
            "what is needed would be forgotten, or nothing ever",
        ),
        setting(
            "min.insync.replicas",
            min_in_sync(config.replication_factor).to_string(),
            true,
            Rule::AtLeast,
            "an acknowledged record could be lost with one broker",
        ),
        setting(
            "min.insync.replicas",
            copies.saturating_sub(1).max(1).to_string(),
            false,
            Rule::AtMost,
            "nothing could be written while one broker is away",
        ),
        setting(
            "unclean.leader.election.enable",
            "false".to_string(),
            false,
            Rule::Is,
            "acknowledged records would be lost when a broker that missed them leads",
        ),
        setting(
            "max.message.bytes",
            MESSAGE_BYTES_MAX.to_string(),
            false,
            Rule::AtLeast,
            "large records would be refused",
        ),
    ];
    if matches!(topic, Topic::ProcessorState | Topic::DeliveryState) {
        settings.push(setting(
            "delete.retention.ms",
            DELETIONS_KEPT_MS.to_string(),
            true,
            Rule::AtLeast,
            "a processor that was away would keep what was deleted meanwhile",
        ));
    }
    if let (Kind::Retention, Some(ms)) = (topic.kind(), config.retention_ms) {
        settings.push(setting(
            "retention.ms",
            ms.to_string(),
            true,
            Rule::AtLeastOrEndless,
            "records would be forgotten sooner than --retention-age says",
        ));
    }
    settings
}

impl Setting {
    /// Compares with what topic `topic` has.
    pub fn check(&self, topic: &str, found: &str) -> Result<(), OpenError> {
        let number = |text: &str| text.parse::<i64>().ok();
        let (found_number, wanted) = (number(found), number(&self.wanted));
        let fits = match self.rule {
            Rule::Is => found == self.wanted,
            Rule::AtLeast => found_number >= wanted,
            Rule::AtLeastOrEndless => found_number == Some(-1) || found_number >= wanted,
            Rule::AtMost => found_number.is_some() && found_number <= wanted,
        };
        if fits {
            return Ok(());
        }
        let words = match self.rule {
            Rule::Is => "",
            Rule::AtLeast | Rule::AtLeastOrEndless => "at least ",
            Rule::AtMost => "at most ",
        };
        let (name, wanted) = (self.name, &self.wanted);
        Err(OpenError::Configuration(format!(
            "Kafka topic {topic} has {name}={found}, and {words}{wanted} is wanted: {}; run \
             kafka-configs --alter --entity-type topics --entity-name {topic} --add-config \
             {name}={wanted}, or use another --topic-prefix",
            self.why
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(copies: u32, topic: Topic, name: &str, found: &str, fits: bool) {
        let mut config = KafkaConfig::new("unused", 1, "unused");
        (config.replication_factor, config.retention_ms) = (copies, Some(1_000));
        let settings = of(&config, topic, copies);
        let mut settings = settings.iter().filter(|it| it.name == name).peekable();
        assert!(settings.peek().is_some(), "{topic} {name}");
        assert_eq!(settings.all(|it| it.check("t", found).is_ok()), fits, "{topic} {name}={found}");
    }

    #[test]
    fn what_fits_and_what_does_not() {
        check(3, Topic::Postbacks, "min.insync.replicas", "2", true);
        check(3, Topic::Postbacks, "min.insync.replicas", "1", false);
        check(3, Topic::Postbacks, "min.insync.replicas", "3", false);
        check(1, Topic::Postbacks, "min.insync.replicas", "1", true);
        check(2, Topic::Postbacks, "min.insync.replicas", "2", false);
        check(1, Topic::Postbacks, "retention.ms", "-1", true);
        check(1, Topic::Postbacks, "retention.ms", "1000", true);
        check(1, Topic::Postbacks, "retention.ms", "999", false);
        check(1, Topic::Postbacks, "retention.ms", "", false);
        check(1, Topic::Config, "cleanup.policy", "compact", true);
        check(1, Topic::Config, "cleanup.policy", "compact,delete", false);
        check(1, Topic::Clicks, "cleanup.policy", "compact", false);
        check(1, Topic::Clicks, "unclean.leader.election.enable", "true", false);
        check(1, Topic::ProcessorState, "delete.retention.ms", "1", false);
        check(1, Topic::DeliveryState, "delete.retention.ms", "1", false);
    }
}
