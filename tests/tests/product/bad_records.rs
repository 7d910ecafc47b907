//! Records on Apache Kafka that cannot be read: broken ones are put aside and counted, and block
//! nothing; one of a newer version stops its reader, which says what to do.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, ReadLimit, Record};
use schemas::{
    AdvertiserId, DeadLetter, Decision, Postback, PostbackId, TenantId, Topic, UnixMillis, codec,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::http;
use tests::kafka::Kafka;
use tests::process::{Process, free_address};
use tests::stack::engine_library;

const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(100);
const AT: UnixMillis = UnixMillis(1_700_000_000_000);
const FAILED: i32 = 1;
/// What every kind of record looks like to a build that is too old for it.
const NEWER: &str = r#"{"v":99,"postback":{}}"#;

struct World {
    _kafka: Kafka,
    url: String,
    prefix: String,
    log: Arc<KafkaLog>,
    dir: TempDir,
}

impl World {
    async fn start(name: &str) -> Result<Option<Self>> {
        let Some(kafka) = Kafka::start()? else { return Ok(None) };
        let dir = tempfile::tempdir()?;
        let url = kafka.url.clone();
        let unique = uuid::Uuid::now_v7().simple();
        let brokers = url.trim_start_matches("kafka://");
        let mut config = KafkaConfig::new(brokers, 1, dir.path().join("sender"));
        config.topic_prefix = format!("{name}-{unique}-");
        config.retention_ms = Some(30 * 86_400_000);
        let prefix = config.topic_prefix.clone();
        let log = KafkaLog::connect(config).await?;
        std::fs::write(dir.path().join("keys"), "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n")?;
        Ok(Some(Self { _kafka: kafka, url, prefix, log, dir }))
    }

    /// Starts a role; where its metrics are.
    fn role(&self, role: &str, further: &[(&str, String)]) -> Result<(Process, SocketAddr)> {
        let metrics = free_address()?;
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut arguments = vec![
            ("--log", self.url.clone()),
            ("--topic-prefix", self.prefix.clone()),
            ("--partitions", "1".to_owned()),
            ("--replication", "1".to_owned()),
            ("--data", path(role)),
            ("--metrics-listen", metrics.to_string()),
        ];
        if role != "sink" {
            arguments.push(("--master-key-file", path("keys")));
        }
        arguments.extend(further.iter().cloned());
        let flags = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let all: Vec<String> = std::iter::once(role.to_owned()).chain(flags).collect();
        Ok((Process::start(role, self.dir.path(), &all)?, metrics))
    }

    async fn append(&self, topic: Topic, key: &str, value: impl Into<Bytes>) -> Result<()> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        self.log.append(topic, 0, vec![Record { key, value: value.into(), at: AT }]).await?;
        Ok(())
    }

    /// The first record of a topic that only processes write.
    async fn first(&self, topic: Topic) -> Result<Bytes> {
        let began = Instant::now();
        let mut reader = self.log.read_from(topic, 0, 0).await?;
        let limit = ReadLimit { records: 1, bytes: 1 << 20, wait: PAUSE };
        loop {
            if let Some(stored) = reader.read(limit).await?.records.into_iter().next() {
                return Ok(stored.record.value);
            }
            ensure!(began.elapsed() < PATIENCE, "nothing came to {topic}");
        }
    }
}

/// It ends by itself, as failed, and one line says where, what and what to do.
fn stops(mut process: Process, place: &str) -> Result<()> {
    let status = process.wait_for_end()?;
    let said = process.output();
    ensure!(status.code() == Some(FAILED), "{status}: {said}");
    let words = [place, "version 99", "run a build"];
    let explained = said.lines().any(|line| words.iter().all(|word| line.contains(word)));
    ensure!(explained && !said.contains("panicked"), "it does not say {words:?}: {said}");
    Ok(())
}

/// Waits until the sum over a metric's labels is at least `expected`. What a reader counts, it
/// counts after it is durable: whoever sees the record first may come before the count.
async fn counts(metrics: SocketAddr, name: &str, expected: f64) -> Result<f64> {
    let began = Instant::now();
    loop {
        let text = http::get(metrics, "localhost", "/metrics").await?.body;
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.map(|line| {
            line.rsplit(' ').next().context("no value")?.parse::<f64>().context("no number")
        });
        let sum = values.sum::<Result<f64>>()?;
        if sum >= expected {
            return Ok(sum);
        }
        ensure!(began.elapsed() < PATIENCE, "{name} is {sum}, and not {expected}:\n{text}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn postback(id: u128) -> Vec<u8> {
    codec::encode(&Postback {
        postback_id: PostbackId(uuid::Uuid::from_u128(id)),
        tenant: TenantId::new("t").unwrap(),
        advertiser: AdvertiserId::new("a").unwrap(),
        received_at: AT,
        parameters: Vec::new(),
        flags: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_puts_broken_records_aside_and_stops_at_newer_ones() -> Result<()> {
    let Some(world) = World::start("bad-postbacks").await? else { return Ok(()) };
    world.append(Topic::Postbacks, "", "{\"v\":1,\"postback\":{").await?;
    world.append(Topic::Postbacks, "", vec![0xff, 0x00]).await?;
    world.append(Topic::Postbacks, "", postback(1)).await?;
    let (mut processor, metrics) = world.role("processor", &[])?;
    let decision: Decision = codec::decode(&world.first(Topic::Decisions).await?)?;
    ensure!(decision.postback.is_some_and(|it| it.postback_id.0.as_u128() == 1));
    let letter: DeadLetter = codec::decode(&world.first(Topic::DeadLetters).await?)?;
    ensure!((letter.topic.as_str(), letter.partition, letter.offset) == ("postbacks", 0, 0));
    ensure!(letter.error.contains("not a readable record") && letter.value_hex.starts_with("7b22"));
    ensure!(counts(metrics, "gokart_dead_letters_total", 2.0).await? == 2.0);
    processor.check_alive()?;
    world.append(Topic::Postbacks, "", NEWER).await?;
    stops(processor, "postbacks/0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_the_configuration_stops_at_a_newer_one() -> Result<()> {
    let Some(world) = World::start("bad-config").await? else { return Ok(()) };
    let listen = |flag: &'static str| Ok::<_, anyhow::Error>((flag, free_address()?.to_string()));
    let roles: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::from([
        ("processor", vec![]),
        ("ingest", vec![listen("--listen")?]),
        ("admin", vec![listen("--admin-listen")?]),
    ]);
    let mut running = Vec::new();
    for (role, further) in &roles {
        let (mut process, metrics) = world.role(role, further)?;
        let began = Instant::now();
        while !http::get(metrics, "localhost", "/readyz").await.is_ok_and(|it| it.status == 200) {
            process.check_alive()?;
            ensure!(began.elapsed() < PATIENCE, "{role} is not ready: {}", process.output());
            tokio::time::sleep(PAUSE).await;
        }
        running.push(process);
    }
    world.append(Topic::Config, "offer/x@9", r#"{"v":99,"config-document":{}}"#).await?;
    for process in running {
        stops(process, "topic config")?;
    }
    // And at its start, for it is still there.
    for (role, further) in &roles {
        stops(world.role(role, further)?.0, "topic config")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_puts_broken_records_aside_and_stops_at_newer_ones() -> Result<()> {
    let Some(engine) = engine_library() else { return Ok(()) };
    let Some(world) = World::start("bad-decisions").await? else { return Ok(()) };
    let (clickhouse, data) = (free_address()?, world.dir.path().join("warehouse"));
    let arguments = [
        "warehouse".to_owned(),
        "--data".to_owned(),
        data.display().to_string(),
        "--metrics-listen".to_owned(),
        free_address()?.to_string(),
        "--warehouse-listen".to_owned(),
        clickhouse.to_string(),
        "--engine-library".to_owned(),
        engine.canonicalize()?.display().to_string(),
    ];
    let mut warehouse = Process::start("warehouse", world.dir.path(), &arguments)?;
    let began = Instant::now();
    while !http::get(clickhouse, "localhost", "/ping").await.is_ok_and(|it| it.status == 200) {
        warehouse.check_alive()?;
        ensure!(began.elapsed() < PATIENCE, "{}", warehouse.output());
        tokio::time::sleep(PAUSE).await;
    }
    world.append(Topic::Decisions, "", "{\"v\":1,\"decision\":[").await?;
    let token = data.join("warehouse-write.token").display().to_string();
    let settings =
        [("--clickhouse", format!("http://{clickhouse}")), ("--clickhouse-token-file", token)];
    let (mut sink, metrics) = world.role("sink", &settings)?;
    let letter: DeadLetter = codec::decode(&world.first(Topic::DeadLetters).await?)?;
    ensure!((letter.topic.as_str(), letter.partition, letter.offset) == ("decisions", 0, 0));
    counts(metrics, "gokart_sink_dead_letters_total", 1.0).await?;
    sink.check_alive()?;
    world.append(Topic::Decisions, "", r#"{"v":99,"decision":{}}"#).await?;
    stops(sink, "decisions/0")
}
