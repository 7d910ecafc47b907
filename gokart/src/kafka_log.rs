//! The event log on Kafka, from what was typed.

use crate::cli::{flags, kafka};
use crate::data_dir::{DataDir, read_secret_file};
use crate::roles::Base;
use crate::settings;
use eventlog::kafka::security::{Secret, Security};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::patience::retried;
use eventlog::{EventLog, OpenError};
use service::ServiceError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Secrets that have no file may be in the environment; never on the command line, which every
/// user of the machine can read.
const PASSWORD: &str = "GOKART_KAFKA_PASSWORD";
const KEY_PASSWORD: &str = "GOKART_KAFKA_KEY_PASSWORD";

/// An opening error as the process's own.
pub fn open_error(error: OpenError) -> ServiceError {
    match error {
        OpenError::Configuration(reason) => ServiceError::Configuration(reason),
        OpenError::Unavailable(reason) => ServiceError::Failed(reason),
    }
}

/// The brokers in `kafka://host:port,…`.
pub fn brokers(log: &flags::EventLog) -> Result<&str, ServiceError> {
    let wrong = |why: &str| Err(ServiceError::Configuration(why.to_owned()));
    match log.log.strip_prefix("kafka://") {
        // Not repeated: it may hold a password.
        Some(brokers) if brokers.contains('@') => wrong(
            "--log wants kafka://host:port[,host:port…] alone; give name and password with --kafka-username and --kafka-password-file",
        ),
        Some(brokers) => Ok(brokers.trim_end_matches('/')),
        None if log.log == "local" => wrong(
            "the local log belongs to one process: run `gokart up` for everything on one machine, or name a cluster with --log kafka://host:port",
        ),
        None => wrong("--log wants kafka://host:port[,host:port…] or local"),
    }
}

fn secret(file: Option<&Path>, flag: &str, variable: &str) -> Result<Option<Secret>, ServiceError> {
    match (file, std::env::var(variable)) {
        (Some(path), _) => read_secret_file(path, flag).map(|text| Some(Secret::new(text))),
        (None, Ok(text)) if !text.is_empty() => Ok(Some(Secret::new(text))),
        (None, _) => Ok(None),
    }
}

fn security(kafka: &kafka::Kafka) -> Result<Security, ServiceError> {
    Ok(Security {
        protocol: kafka.kafka_security_protocol.into(),
        mechanism: kafka.kafka_sasl_mechanism.map(Into::into),
        username: kafka.kafka_username.clone(),
        password: secret(kafka.kafka_password_file.as_deref(), "--kafka-password-file", PASSWORD)?,
        ca_file: kafka.kafka_ca_file.clone(),
        certificate_file: kafka.kafka_certificate_file.clone(),
        key_file: kafka.kafka_key_file.clone(),
        key_password: secret(
            kafka.kafka_key_password_file.as_deref(),
            "--kafka-key-password-file",
            KEY_PASSWORD,
        )?,
    })
}

/// `answer_wait` is how long a sender waits: what is not written by then must not be later, for
/// the sender has been told to send again.
fn config(
    log: &flags::EventLog,
    data: &DataDir,
    answer_wait: Option<Duration>,
) -> Result<KafkaConfig, ServiceError> {
    let state_dir = data.join("state");
    let mut config = KafkaConfig::new(brokers(log)?, log.topics.partitions, state_dir);
    config.topic_prefix = log.topic_prefix.clone();
    config.replication_factor = u32::from(log.replication);
    config.security = security(&log.kafka)?;
    config.properties = log.kafka.kafka_properties.clone();
    config.retention_ms = Some(settings::ms(log.retention.retention_age));
    if let Some(wait) = answer_wait {
        config.message_timeout = wait;
    }
    Ok(config)
}

/// Connects, runs `role` on the log, and closes the log however the role ended: what was taken is
/// delivered, and the group hears at once that its partitions are free. Gives up when no broker answers.
pub async fn with_log<F>(
    log: &flags::EventLog,
    data: &DataDir,
    role: impl FnOnce(Arc<dyn EventLog>) -> F,
) -> Result<(), ServiceError>
where
    F: Future<Output = Result<(), ServiceError>>,
{
    run_on(connect_once(log, data).await?, role).await
}

/// Connects; gives up when no broker answers.
pub async fn connect_once(
    log: &flags::EventLog,
    data: &DataDir,
) -> Result<Arc<KafkaLog>, ServiceError> {
    KafkaLog::connect(config(log, data, None)?).await.map_err(open_error)
}

/// The same for a process that is to run for ever: brokers that do not answer are waited for, and
/// meanwhile it is not ready. Wrong settings end it at once.
pub async fn with_log_when_there<F>(
    log: &flags::EventLog,
    base: &Base,
    answer_wait: Option<Duration>,
    role: impl FnOnce(Arc<dyn EventLog>) -> F,
) -> Result<(), ServiceError>
where
    F: Future<Output = Result<(), ServiceError>>,
{
    let connected = base.readiness.condition("Kafka: connected");
    let config = config(log, &base.data, answer_wait)?;
    let connect = || KafkaLog::connect(config.clone());
    let log = tokio::select! {
        () = base.shutdown.wait() => return Ok(()),
        log = retried("Kafka cannot be used", connect) => log.map_err(open_error)?,
    };
    connected.set(true);
    run_on(log, role).await
}

async fn run_on<F>(
    log: Arc<KafkaLog>,
    role: impl FnOnce(Arc<dyn EventLog>) -> F,
) -> Result<(), ServiceError>
where
    F: Future<Output = Result<(), ServiceError>>,
{
    let outcome = role(log.clone()).await;
    log.close().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::roles;
    use clap::{Args, FromArgMatches};

    fn flags(arguments: &[&str]) -> flags::EventLog {
        let command = roles::Sink::augment_args(clap::Command::new("sink"));
        let matches = command.get_matches_from([&["sink"], arguments].concat());
        roles::Sink::from_arg_matches(&matches).unwrap().log
    }

    #[test]
    fn credentials_in_the_address_are_refused_and_not_repeated() {
        let error = brokers(&flags(&["--log", "kafka://me:hunter2@host:1"])).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(brokers(&flags(&["--log", "kafka://a:1,b:2/"])).unwrap(), "a:1,b:2");
    }

    #[test]
    fn a_password_comes_from_a_file_and_is_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let path = file.path().display().to_string();
        let flags = flags(&[
            "--kafka-security-protocol",
            "sasl_ssl",
            "--kafka-sasl-mechanism",
            "scram-sha-512",
            "--kafka-username",
            "me",
            "--kafka-password-file",
            &path,
        ]);
        let security = security(&flags.kafka).unwrap();
        assert_eq!(security.password, Some(Secret::new("hunter2")));
        assert!(!format!("{flags:?} {security:?}").contains("hunter2"));
    }
}
