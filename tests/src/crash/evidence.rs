//! What is left when the dust has settled: the committed records as Kafka has them, and what
//! ClickHouse shows of them.

use super::installation::{Installation, PARTITIONS};
use anyhow::{Context, Result, bail};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, ReadLimit, StoredRecord};
use schemas::codec::{parse_body, split};
use schemas::{Catalog, CatalogReader, ConfigRecord, Decision, Input, Topic, UnixMillis};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

const READ: ReadLimit =
    ReadLimit { records: 10_000, bytes: 16 << 20, wait: Duration::from_secs(2) };
/// Reads that bring nothing before the end of a partition.
const EMPTY_READS_MAX: usize = 20;

/// A row of `postbacks_unique`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct PostbackRow {
    pub postback_id: String,
    pub outcome: String,
    pub reason: String,
    pub conversion_id: String,
}

/// A revision of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct ConversionRow {
    pub conversion_id: String,
    pub revision: u32,
    pub status: String,
    pub reason: String,
    pub decided_at_ms: i64,
    pub due_at_ms: Option<i64>,
    pub revenue_micros: i64,
}

/// Everything that is held against everything.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// By partition, in the committed order.
    pub inputs: Vec<Vec<Input>>,
    pub decisions: Vec<Vec<Decision>>,
    pub catalog: Catalog,
    pub dead_letters: usize,
    pub postbacks: Vec<PostbackRow>,
    /// Every revision, as the table shows it when repeats are collapsed.
    pub conversions: Vec<ConversionRow>,
    /// The last revision of each.
    pub current: Vec<ConversionRow>,
    /// Rows as they lie there, of postbacks and of conversions.
    pub physical: (usize, usize),
    /// What the clock of the installation has passed.
    pub now: UnixMillis,
}

/// A reader of the topics that outlives what happens to the brokers.
pub struct Witness {
    log: Arc<KafkaLog>,
}

impl Witness {
    pub async fn connect(installation: &Installation) -> Result<Self> {
        let state = installation.directory.join("witness");
        let mut config = KafkaConfig::new(installation.brokers(), PARTITIONS, state);
        config.replication_factor = 3;
        Ok(Self { log: KafkaLog::connect(config).await? })
    }

    /// Reads everything there is now.
    pub async fn collect(&self, installation: &Installation) -> Result<Evidence> {
        let mut evidence = Evidence {
            // Timers this near the present may or may not have fired.
            now: UnixMillis(installation.clock.now_ms() - 60_000),
            ..Evidence::default()
        };
        let mut reader = CatalogReader::default();
        for stored in self.whole(Topic::Config, 0).await? {
            let record = ConfigRecord::decode(&stored.record.value)?;
            if let Some(catalog) = reader.read(record) {
                evidence.catalog = catalog.clone();
            }
        }
        for partition in 0..PARTITIONS {
            let inputs = self.whole(Topic::Postbacks, partition).await?;
            let decode = |it: &StoredRecord| Input::decode(&it.record.value);
            evidence.inputs.push(inputs.iter().map(decode).collect::<Result<_, _>>()?);
            let decisions = self.whole(Topic::Decisions, partition).await?;
            evidence.decisions.push(decisions.iter().map(decision).collect::<Result<_>>()?);
        }
        evidence.dead_letters = self.whole(Topic::DeadLetters, 0).await?.len();
        evidence.postbacks = rows(
            installation,
            "SELECT toString(postback_id) AS postback_id, toString(outcome) AS outcome,
                 toString(reason) AS reason, conversion_id FROM postbacks_unique",
        )
        .await?;
        evidence.conversions = rows(installation, &revisions("conversions FINAL")).await?;
        evidence.current = rows(installation, &revisions("conversions_current")).await?;
        let count = |table| async move {
            let text = installation.sql(&format!("SELECT count() FROM {table}")).await?;
            text.trim().parse::<usize>().with_context(|| format!("{text:?} is no count"))
        };
        evidence.physical = (count("postbacks").await?, count("conversions").await?);
        Ok(evidence)
    }

    /// A whole partition of a topic.
    async fn whole(&self, topic: Topic, partition: u32) -> Result<Vec<StoredRecord>> {
        let bounds = self.log.bounds(topic, partition).await?;
        let mut records = Vec::new();
        if bounds.first >= bounds.end {
            return Ok(records);
        }
        let mut reader = self.log.read_from(topic, partition, bounds.first).await?;
        let (mut next, mut empty) = (bounds.first, 0);
        while next < bounds.end {
            let batch = reader.read(READ).await?;
            next = batch.next_offset;
            empty = if batch.records.is_empty() { empty + 1 } else { 0 };
            records.extend(batch.records);
            if empty > EMPTY_READS_MAX {
                bail!("{topic}/{partition} cannot be read from {next} to {}", bounds.end);
            }
        }
        Ok(records)
    }
}

fn decision(stored: &StoredRecord) -> Result<Decision> {
    let (version, _, body) = split(&stored.record.value)?;
    Ok(parse_body(version, body)?)
}

fn revisions(table: &str) -> String {
    format!(
        "SELECT conversion_id, revision, toString(status) AS status, toString(reason) AS reason,
             toUnixTimestamp64Milli(decided_at) AS decided_at_ms,
             toUnixTimestamp64Milli(due_at) AS due_at_ms,
             toInt64(revenue * 1000000) AS revenue_micros FROM {table}"
    )
}

async fn rows<T: DeserializeOwned>(installation: &Installation, query: &str) -> Result<Vec<T>> {
    let quoted = "SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSONEachRow";
    let answer = installation.sql(&format!("{query} {quoted}")).await?;
    answer.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
