//! librdkafka's log lines and errors, as ours.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

pub fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::warn!(facility, "Kafka client: {line}"),
        // A broker that is away says so many times a second.
        _ => tracing::debug!(facility, "Kafka client: {line}"),
    }
}

pub fn client_error(error: &KafkaError, reason: &str) {
    tracing::warn!(%error, "Kafka client: {reason}");
}

/// One line about an error of librdkafka.
pub fn explain(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => error.string(),
        KafkaError::ClientCreation(why) | KafkaError::Subscription(why) => why.clone(),
        // Without the value, which may be a secret.
        KafkaError::ClientConfig(_, description, name, value) => {
            let description = match value.is_empty() {
                true => description.clone(),
                false => description.replace(value, "…"),
            };
            format!("{name}: {description}")
        }
        other => match other.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

/// For clients that only need their log lines kept.
pub struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&error, reason);
    }
}

impl ConsumerContext for QuietContext {}
