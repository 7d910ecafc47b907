//! TLS and SASL to a real broker: what is right works, and what is wrong is said in one line, in
//! bounded time, without the password.

use crate::support::secure_broker::{PASSWORD, SecureBroker, USER, secure_broker};
use crate::support::{Owner, PARTITIONS, Process, read_all, record, values};
use eventlog::kafka::security::{Mechanism, Protocol, Secret, Security};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{Commit, OpenError};
use schemas::Topic;
use std::path::Path;
use std::time::{Duration, Instant};

/// To hear that a setting is wrong; the brokers wait for a second or so before they say it.
const BOUND: Duration = Duration::from_secs(60);

fn sasl(broker: &SecureBroker, mechanism: Mechanism) -> Security {
    Security {
        protocol: Protocol::SaslSsl,
        mechanism: Some(mechanism),
        username: Some(USER.to_string()),
        password: Some(Secret::new(PASSWORD)),
        ca_file: Some(broker.file("ca.pem")),
        ..Security::default()
    }
}

fn config(address: &str, security: Security, dir: &Path, prefix: &str) -> KafkaConfig {
    let mut config = KafkaConfig::new(address, PARTITIONS, dir);
    config.security = security;
    config.topic_prefix = format!("{prefix}-");
    config
}

/// Appends, commits a transaction, and reads what came of it.
async fn works(address: &str, security: Security, prefix: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = KafkaLog::connect(config(address, security, dir.path(), prefix)).await.unwrap();
    let process = Process::on(log);
    process.log.append(Topic::Postbacks, 0, vec![record("", "in")]).await.unwrap();
    let mut owner = Owner::joined_with_all(&process).await;
    let commit = Commit {
        outputs: vec![(Topic::Decisions, 0, record("", prefix))],
        state_changes: vec![(b"k".to_vec(), Some(b"v".to_vec()))],
        next_offset: 1,
    };
    owner.owned.get_mut(&0).unwrap().commit(commit).await.unwrap();
    // The broker answers the commit before the other partitions' leaders have its mark.
    let begun = Instant::now();
    let mut seen = Vec::new();
    while seen.is_empty() && begun.elapsed() < BOUND {
        seen = values(&read_all(&*process.log, Topic::Decisions, 0, 0).await);
    }
    assert_eq!(seen, [prefix]);
}

async fn fails(address: &str, security: Security, words: &[&str]) -> OpenError {
    let begun = Instant::now();
    let error = KafkaLog::connect(config(address, security, Path::new("unused"), "x")).await;
    let error = error.err().expect("refused");
    assert!(begun.elapsed() < BOUND, "{:?}: {error}", begun.elapsed());
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    assert!(text.lines().count() == 1 && !text.contains(PASSWORD), "{text}");
    error
}

#[tokio::test]
async fn every_mechanism_works() {
    let Some(broker) = secure_broker() else { return };
    works(&broker.sasl, sasl(broker, Mechanism::Plain), "plain").await;
    works(&broker.sasl, sasl(broker, Mechanism::ScramSha256), "scram-256").await;
    works(&broker.sasl, sasl(broker, Mechanism::ScramSha512), "scram-512").await;
}

#[tokio::test]
async fn a_client_certificate_works_and_is_missed() {
    let Some(broker) = secure_broker() else { return };
    let without = Security {
        protocol: Protocol::Ssl,
        ca_file: Some(broker.file("ca.pem")),
        ..Security::default()
    };
    let with = Security {
        certificate_file: Some(broker.file("client.pem")),
        key_file: Some(broker.file("client.key")),
        ..without.clone()
    };
    works(&broker.mutual, with, "mutual").await;
    fails(&broker.mutual, without, &[&broker.mutual]).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_in_bounded_time() {
    let Some(broker) = secure_broker() else { return };
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let right = sasl(broker, mechanism);
        let wrong = Security { password: Some(Secret::new("wrong")), ..right.clone() };
        let error = fails(&broker.sasl, wrong, &["--kafka-password-file", &broker.sasl]).await;
        assert!(matches!(error, OpenError::Configuration(_)), "{error}");
        let nobody = Security { username: Some("nobody".to_string()), ..right };
        fails(&broker.sasl, nobody, &["--kafka-username"]).await;
    }
}

#[tokio::test]
async fn an_untrusted_authority_is_said_in_bounded_time() {
    let Some(broker) = secure_broker() else { return };
    let another = Some(broker.file("another-ca.pem"));
    let security = Security { ca_file: another, ..sasl(broker, Mechanism::Plain) };
    let error = fails(&broker.sasl, security, &["--kafka-ca-file", "certificate"]).await;
    assert!(matches!(error, OpenError::Configuration(_)), "{error}");
    // The system's authorities do not know ours either.
    let security = Security { ca_file: None, ..sasl(broker, Mechanism::Plain) };
    fails(&broker.sasl, security, &["--kafka-ca-file", "certificate"]).await;
}

#[tokio::test]
async fn a_protocol_that_is_not_the_listeners_is_said_in_bounded_time() {
    let Some(broker) = secure_broker() else { return };
    fails(&broker.sasl, Security::default(), &["--kafka-security-protocol"]).await;
    // TLS without SASL where SASL is wanted.
    let tls = Security {
        protocol: Protocol::Ssl,
        ca_file: Some(broker.file("ca.pem")),
        ..Security::default()
    };
    fails(&broker.sasl, tls, &["--kafka-security-protocol"]).await;
}
