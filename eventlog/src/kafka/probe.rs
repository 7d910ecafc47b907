//! The first words with the brokers: whether they answer, whether they take us for who we are, and
//! what topics there are. What is wrong is said in one line, in bounded time.

use super::config::KafkaConfig;
use super::context::{explain, log_line};
use super::topics;
use crate::OpenError;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::Topic;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One question; between questions librdkafka tells why there is no answer.
const QUESTION: Duration = Duration::from_millis(500);

/// A topic as the brokers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub partitions: usize,
    /// Copies of the partition that has the fewest.
    pub copies: usize,
}

/// Remembers what went wrong last.
#[derive(Default)]
struct Listener(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are down says less than why one of them is.
        if code != RDKafkaErrorCode::AllBrokersDown || last.is_none() {
            *last = Some((code, reason.replace('\n', " ")));
        }
    }
}

impl ConsumerContext for Listener {}

/// A client for questions. Cheap to clone.
#[derive(Clone)]
pub struct Probe {
    config: KafkaConfig,
    consumer: Arc<BaseConsumer<Listener>>,
}

impl Probe {
    pub fn new(config: &KafkaConfig) -> Result<Self, OpenError> {
        let consumer = BaseConsumer::from_config_and_context(&config.client(), Listener::default())
            .map_err(|error| wrong_settings(config, &error))?;
        Ok(Self { config: config.clone(), consumer: Arc::new(consumer) })
    }

    /// Our topics; `None` for one that is not there or has no leader everywhere.
    pub async fn topics(&self) -> Result<Vec<(Topic, Option<Found>)>, OpenError> {
        let probe = self.clone();
        blocking(move || probe.ask()).await?
    }

    fn ask(&self) -> Result<Vec<(Topic, Option<Found>)>, OpenError> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let metadata = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.fetch_metadata(None, QUESTION.min(left)) {
                Ok(metadata) => break metadata,
                Err(error) => self.consider(&explain(&error), left.is_zero())?,
            }
        };
        let found = |topic: Topic| {
            let name = topics::name(&self.config, topic);
            let found = metadata.topics().iter().find(|found| found.name() == name)?;
            let has_leaders = found.partitions().iter().all(|partition| partition.leader() >= 0);
            let copies = found.partitions().iter().map(|it| it.replicas().len()).min()?;
            let partitions = found.partitions().len();
            (found.error().is_none() && has_leaders).then_some(Found { partitions, copies })
        };
        Ok(Topic::ALL.map(|topic| (topic, found(topic))).to_vec())
    }

    /// Whether it is worth asking on after `why`; that some settings are wrong is certain at once.
    fn consider(&self, why: &str, is_last: bool) -> Result<(), OpenError> {
        // Errors come to the listener by this.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let last = self.consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner);
        let brokers = &self.config.brokers;
        use RDKafkaErrorCode as Code;
        match &*last {
            Some((
                Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism,
                why,
            )) => Err(OpenError::Configuration(format!(
                "Kafka at {brokers} does not take us for who we say we are ({why}); check \
                 --kafka-username, --kafka-password-file and --kafka-sasl-mechanism"
            ))),
            Some((Code::SSL, why)) => Err(OpenError::Configuration(format!(
                "no TLS connection to Kafka at {brokers} ({why}); check --kafka-security-protocol, \
                 --kafka-ca-file, --kafka-certificate-file and the brokers' own certificates"
            ))),
            _ if !is_last => Ok(()),
            Some((_, why)) => Err(unreachable(&self.config, why)),
            None => Err(unreachable(&self.config, why)),
        }
    }

    /// The cluster's id; empty for one that does not tell.
    pub async fn cluster(&self) -> Result<String, OpenError> {
        let probe = self.clone();
        let timeout = self.config.connect_timeout;
        let ask = move || probe.consumer.client().fetch_cluster_id(timeout).unwrap_or_default();
        blocking(ask).await
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OpenError> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| OpenError::Unavailable(format!("connecting was cut short: {error}")))
}

pub fn wrong_settings(config: &KafkaConfig, error: &KafkaError) -> OpenError {
    OpenError::Configuration(format!("Kafka at {}: {}", config.brokers, explain(error)))
}

pub fn unreachable(config: &KafkaConfig, why: &str) -> OpenError {
    OpenError::Unavailable(format!(
        "no Kafka broker answers at {} ({why}); check the address, --kafka-security-protocol, and \
         that Kafka is running",
        config.brokers
    ))
}
