//! Publisher postbacks: what healthy publishers get while half of all publishers are black holes,
//! against what the same publishers get while all are well; and what millions that wait cost.

use crate::context::Context;
use crate::counter::Counter;
use crate::process::{cpu_seconds, peak_resident_bytes, resident_bytes};
use crate::results::{Line, Series, Target};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Record};
use schemas::topic::partition_of;
use schemas::{Conversion, Decision, OfferId, Topic, UnixMillis, codec};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::kafka::Kafka;
use tests::stack::{PARTITIONS, Stack};

const PUBLISHERS: u64 = 200;
const OFFERS: u64 = 16;
/// Conversions of each publisher in one run.
const EACH: u64 = 200;
/// Deliveries that wait, for the measure of what that costs.
const WAITING: u64 = 1_000_000;
/// Decisions in one append.
const PORTION: usize = 2_000;
const PER_SECOND: u32 = 10_000;
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(240);
const TARGET: Target = Target::RatioAtLeast(0.95);
const ALLOW: &[&str] = &["--publisher-allow-address", "127.0.0.0/8"];

/// Decisions as a processor writes them, straight into the log.
struct Source {
    log: std::sync::Arc<KafkaLog>,
    config_version: u64,
    next: u64,
    _state: TempDir,
}

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let mut stack =
        Stack::on_kafka_telling_in_real_time(&kafka, ALLOW).await?.context("there is no engine")?;
    let healthy = Counter::start().await?;
    let others = Counter::start().await?;
    let publishers = (context.sized(PUBLISHERS).max(4) / 2) * 2;
    let config_version = configure(&stack, context.scratch(), publishers, &healthy, &others)?;
    for role in ["ingest", "processor"] {
        stack.process(role)?.kill()?;
    }
    let mut source = Source::connect(&kafka, &stack, config_version).await?;
    let each = context.sized(EACH).max(10);
    let wanted = publishers / 2 * each;
    let (mut cpu, mut sent_elsewhere): ([Vec<f64>; 2], u64) = Default::default();
    let names = ["half of the publishers are black holes", "all publishers answer"];
    let rates = context
        .interleave("deliveries to the healthy half", names, async |side, _| {
            // A new start: no breaker is open, and what is left of the run before goes out.
            stack.process("sink")?.stop()?;
            others.set_silent(false);
            stack.start_role("sink").await?;
            others.until(sent_elsewhere, PATIENCE).await?;
            warm_up(&mut source, &healthy, publishers / 2).await?;
            others.set_silent(side == 0);
            sent_elsewhere += wanted;
            let pid = stack.process("sink")?.pid();
            let (before, used) = (healthy.count(), cpu_seconds(pid)?);
            let began = Instant::now();
            source.decide(publishers, each, |publisher| publisher).await?;
            healthy.until(before + wanted, PATIENCE).await?;
            let seconds = began.elapsed().as_secs_f64();
            cpu[side].push((cpu_seconds(pid)? - used) / wanted as f64 * 1e6);
            Ok(wanted as f64 / seconds)
        })
        .await?;
    let peak = peak_resident_bytes(stack.process("sink")?.pid())?;
    others.until(sent_elsewhere, PATIENCE).await?;
    let waiting =
        waiting(context, &mut stack, &mut source, (&healthy, &others), publishers).await?;
    let mut lines = vec![
        Line {
            what: "deliveries to the healthy half of the publishers".into(),
            unit: "deliveries/s".into(),
            series: rates.into(),
            target: Some(TARGET),
            notes: vec![format!(
                "{publishers} publishers, {each} conversions each, in turn; from the first \
                 decision written to Kafka to the last request at the healthy half's receiver; \
                 8 requests at once for each, {PER_SECOND} a second"
            )],
        },
        Line {
            what: "CPU of the sink for each delivery to a healthy publisher".into(),
            unit: "µs".into(),
            series: names
                .iter()
                .zip(cpu)
                .map(|(name, values)| Series { name: (*name).into(), values })
                .collect(),
            target: None,
            notes: vec![
                "with storing the same deliveries in ClickHouse; when all answer, the \
                         other half's deliveries are in it too"
                    .into(),
            ],
        },
        Line {
            what: "greatest resident memory of the sink".into(),
            unit: "MB".into(),
            series: vec![Series { name: "gokart sink".into(), values: vec![peak as f64 / 1e6] }],
            target: None,
            notes: vec!["in the last run of all".into()],
        },
    ];
    lines.extend(waiting);
    Ok(lines)
}

/// Waits until every partition is delivered, to every healthy publisher.
async fn warm_up(source: &mut Source, healthy: &Counter, publishers: u64) -> Result<()> {
    let each = OFFERS.div_ceil(publishers);
    let before = healthy.count();
    source.decide(publishers, each, |publisher| publisher).await?;
    healthy.until(before + publishers * each, PATIENCE).await
}

/// Fills the queue with deliveries that cannot go out, and starts anew.
async fn waiting(
    context: &Context,
    stack: &mut Stack,
    source: &mut Source,
    (healthy, others): (&Counter, &Counter),
    publishers: u64,
) -> Result<Vec<Line>> {
    let count = context.sized(WAITING).max(1_000);
    let half = publishers / 2;
    others.set_silent(true);
    let already = queued(stack).await?;
    let disk_before = bytes_below(&stack.role_data("sink"))?;
    let began = Instant::now();
    source.decide(half, count / half, |publisher| half + publisher).await?;
    let until = already + count / half * half;
    let taken = loop {
        let waits = queued(stack).await?;
        if waits >= until {
            break began.elapsed().as_secs_f64();
        }
        ensure!(began.elapsed() < PATIENCE, "{waits} of {until} wait");
        tokio::time::sleep(POLL * 10).await;
    };
    let pid = stack.process("sink")?.pid();
    let peak = peak_resident_bytes(pid)? as f64 / 1e6;
    let disk = bytes_below(&stack.role_data("sink"))?.saturating_sub(disk_before);
    stored(stack).await?;
    stack.process("sink")?.kill()?;
    let before = healthy.count();
    source.decide(1, 1, |_| 0).await?;
    let restarted = Instant::now();
    stack.start_role("sink").await?;
    healthy.until(before + 1, PATIENCE).await?;
    let restart = restarted.elapsed().as_secs_f64();
    let pid = stack.process("sink")?.pid();
    let peak_after = peak_resident_bytes(pid)? as f64 / 1e6;
    let resident = resident_bytes(pid)? as f64 / 1e6;
    let line = |what: &str, unit: &str, value: f64, note: &str| Line {
        what: format!("{what} with {count} deliveries waiting"),
        unit: unit.into(),
        series: vec![Series { name: "gokart sink".into(), values: vec![value] }],
        target: None,
        notes: if note.is_empty() { vec![] } else { vec![note.into()] },
    };
    Ok(vec![
        line(
            "put into the queue",
            "deliveries/s",
            count as f64 / taken,
            "while it stores them too",
        ),
        line("greatest resident memory while they came in", "MB", peak, "with storing them"),
        line("greatest resident memory after a restart", "MB", peak_after, ""),
        line("resident memory once it delivers again", "MB", resident, ""),
        line("disk", "bytes/delivery", disk as f64 / count as f64, "the local copy of the state"),
        line(
            "from a start after kill -9 to a new delivery",
            "s",
            restart,
            "Apache Kafka gives the partitions of a process that vanished away after 10 s",
        ),
    ])
}

/// Publishers `p0`…, the first half with a receiver that is always well.
fn configure(
    stack: &Stack,
    scratch: &Path,
    publishers: u64,
    healthy: &Counter,
    others: &Counter,
) -> Result<u64> {
    let mut text = String::new();
    for number in 0..OFFERS {
        write!(
            text,
            "---\nkind: Offer\nid: told-{number}\nadvertiser: brain-games\nname: Told {number}\n\
             integration: adjust\nlink: https://app.adjust.com/t{number}\nlaunch: 2025-11-01\n\
             currency: USD\nevents:\n  - {{id: Install, name: Install, sequence: 1, revenue: 0.50}}\n"
        )?;
    }
    for number in 0..publishers {
        let receiver = if number < publishers / 2 { healthy } else { others };
        let url = receiver.url(&format!("/{number}?c={{conversion_id}}&p={{payout}}"));
        write!(
            text,
            "---\nkind: Publisher\nid: p{number}\ntenant: brownboots\nname: P {number}\n\
             postbacks:\n  - {{url: '{url}', per_second: {PER_SECOND}}}\n"
        )?;
    }
    let path = scratch.join("told.yaml");
    std::fs::write(&path, text)?;
    let applied = stack.gokart_json(&["apply", &path.display().to_string()])?;
    applied["version"].as_u64().with_context(|| format!("no version in {applied}"))
}

impl Source {
    async fn connect(kafka: &Kafka, stack: &Stack, config_version: u64) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let brokers = kafka.url.trim_start_matches("kafka://");
        let mut config = KafkaConfig::new(brokers, PARTITIONS, state.path());
        config.topic_prefix = stack.topic_prefix().to_owned();
        let log = KafkaLog::connect(config).await?;
        Ok(Self { log, config_version, next: 0, _state: state })
    }

    /// Writes `each` Successes for so many publishers, one publisher after the other in turn.
    async fn decide(
        &mut self,
        publishers: u64,
        each: u64,
        publisher: impl Fn(u64) -> u64,
    ) -> Result<()> {
        let mut portions: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
        let now = jiff::Timestamp::now().as_millisecond();
        for number in 0..publishers * each {
            let nth = self.next;
            self.next += 1;
            let offer = format!("told-{}", nth % OFFERS);
            let conversion = conversion(nth, &offer, publisher(number % publishers), now)?;
            let mut decision = Decision { conversions: vec![conversion], ..Decision::default() };
            decision.postback = Some(postback(self.config_version, now)?);
            let record = Record {
                key: Bytes::new(),
                value: codec::encode(&decision).into(),
                at: UnixMillis(now),
            };
            let partition = partition_of(&OfferId::new(&offer)?, PARTITIONS);
            let portion = &mut portions[partition as usize];
            portion.push(record);
            if portion.len() == PORTION {
                self.log.append(Topic::Decisions, partition, std::mem::take(portion)).await?;
            }
        }
        for (partition, portion) in (0..PARTITIONS).zip(portions) {
            if !portion.is_empty() {
                self.log.append(Topic::Decisions, partition, portion).await?;
            }
        }
        Ok(())
    }
}

fn postback(config_version: u64, now: i64) -> Result<schemas::PostbackOutcome> {
    Ok(serde_json::from_value(json!({
        "postback_id": uuid::Uuid::now_v7(), "tenant": "brownboots",
        "advertiser_id": "brain-games", "received_at": now, "click_id": "click", "event_id":
        "Install", "outcome": "accepted", "parameters": [], "test": false,
        "config_version": config_version
    }))?)
}

fn conversion(nth: u64, offer: &str, publisher: u64, now: i64) -> Result<Conversion> {
    Ok(serde_json::from_value(json!({
        "conversion_id": format!("{offer}.{nth:0>26}"), "revision": 1,
        "click_id": format!("click-{nth}"), "clicked_at": now - 5_000, "tenant": "brownboots",
        "advertiser_id": "brain-games", "offer_id": offer, "root_offer_id": offer,
        "share_id": "ptd-acme", "publisher_id": format!("p{publisher}"), "event_id": "Install",
        "event_name": "Install", "sequence": 1, "status": "Success", "received_at": now - 1_000,
        "decided_at": now, "revenue": 500_000, "payout": 500_000, "currency": "USD", "reward": 0,
        "offer_version": 1, "test": false,
        "subs": ["a sub-id of a common length", null, null, null, null, null, null, null, null,
                 null, null, null, null, null, null],
    }))?)
}

/// Deliveries that the sink has put into its queue since its start.
async fn queued(stack: &Stack) -> Result<u64> {
    const QUEUED: &str = "gokart_deliveries_total{outcome=\"waiting\"} ";
    let metrics = stack.metrics("sink").await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(QUEUED));
    Ok(value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default() as u64)
}

/// Waits until everything is in ClickHouse too, so that what is measured afterwards is what waits.
async fn stored(stack: &Stack) -> Result<()> {
    let began = Instant::now();
    loop {
        let metrics = stack.metrics("sink").await?;
        let lags = metrics.lines().filter(|line| line.starts_with("gokart_sink_lag_records{"));
        let lag: f64 = lags.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if lag == 0.0 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{lag} records are not in ClickHouse");
        tokio::time::sleep(POLL * 10).await;
    }
}

fn bytes_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // Files come and go while the store is open.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
