//! Coming back: a processor that was killed, a fresh node that takes over, and what clicks take
//! meanwhile, on a real Apache Kafka with the real binary.
//!
//! The state is what the rules wrote about real clicks (through the ingester and the processor),
//! copied under other clicks' keys and times into the changelog until there are enough.

use crate::context::Context;
use crate::process::peak_resident_bytes;
use crate::results::{Line, Series, Target};
use crate::state::{self, Copied, Template};
use anyhow::{Context as _, Result, bail, ensure};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Offset, ReadLimit};
use schemas::{Topic, topic::partition_of};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::crash::offers;
use tests::kafka::Kafka;
use tests::random::Random;
use tests::stack::Stack;

const CLICKS: u64 = 10_000_000;
/// Of the state, relative to none; a process that is back within [`SOON_S`] needs no ratio.
const RESTART: Target = Target::RatioAtMost(1.5);
const SOON_S: f64 = 2.0;
/// Resident memory of a processor with that many clicks.
const MEMORY: Target = Target::AtMost(500.0);
/// Disk of the copy of the state for a click with two events.
const DISK: Target = Target::AtMost(120.0);
/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(20);
const READ: ReadLimit =
    ReadLimit { records: 10_000, bytes: 8 << 20, wait: Duration::from_millis(100) };

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let clicks = context.sized(CLICKS);
    let Some(kafka) = Kafka::start_as_shipped()? else { bail!("no Apache Kafka can be run here") };
    let mut empty = Node::start(&kafka, context.scratch(), "empty").await?;
    let mut full = Node::start(&kafka, context.scratch(), "full").await?;
    full.stack.process("processor")?.stop()?;
    let bar = context.progress("clicks into the changelog", clicks);
    for (partition, template) in full.templates().await?.iter().enumerate() {
        let parts = PARTITIONS as u64;
        let share = clicks / parts + u64::from((partition as u64) < clicks % parts);
        let mut random = Random(partition as u64);
        let copies = (0..share).map(|_| Copied {
            earlier_ms: random.below(state::SPREAD_MS),
            random: random.number().to_be_bytes(),
        });
        state::write(&full.log, partition as u32, template, copies, &bar).await?;
    }
    bar.finish_and_clear();

    let mut took_over = Vec::new();
    let mut memory = Vec::new();
    let mut disk = Vec::new();
    let bar = context.progress("take-over by a fresh node", context.runs() as u64);
    for run in 0..context.runs() {
        if run > 0 {
            full.stack.process("processor")?.stop()?;
        }
        std::fs::remove_dir_all(full.stack.directory_of("processor"))?;
        let began = Instant::now();
        full.stack.start_role("processor").await?;
        full.owns_everything().await?;
        took_over.push(clicks as f64 / began.elapsed().as_secs_f64());
        let bytes = disk_bytes(&full.stack.directory_of("processor").join("state"))?;
        disk.push(bytes as f64 / clicks as f64);
        memory.push(peak_mb(&mut full)?);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let sides = [format!("{clicks} clicks of state"), "no state".to_owned()];
    let [with, without] = context
        .interleave("kill -9 to the first decision", [&sides[0], &sides[1]], async |side, _| {
            let node = if side == 0 { &mut full } else { &mut empty };
            let (seconds, peak) = node.killed_to_decision().await?;
            if side == 0 {
                memory.push(peak);
            }
            Ok(seconds)
        })
        .await?;
    let soon = match crate::measure::median(&with.values) <= SOON_S {
        true => format!("within {SOON_S} s, which is soon enough whatever the ratio"),
        false => format!("not within {SOON_S} s, so the ratio counts"),
    };
    let size = format!(
        "{clicks} clicks with two events each over {PARTITIONS} partitions and one node of Kafka on \
         this machine"
    );
    let alone = |name: &str, values| vec![Series { name: name.to_owned(), values }];
    Ok(vec![
        Line {
            what: "kill -9 to the first decision".into(),
            unit: "s".into(),
            series: vec![with, without],
            target: Some(RESTART),
            notes: vec![
                format!("{size}; {soon}"),
                "from the death of the process, restarted at once; the postback lies in the log by \
                 then, and the group has to find out that its member is gone"
                    .into(),
            ],
        },
        Line {
            what: "take-over by a fresh node".into(),
            unit: "clicks/s".into(),
            series: alone("from the changelog", took_over),
            target: None,
            notes: vec![format!(
                "{size}; from the start of a process without a data directory until it decides \
                 every partition, joining the group included"
            )],
        },
        Line {
            what: "memory of a processor".into(),
            unit: "MB".into(),
            series: alone("greatest resident, taking over and after kill -9", memory),
            target: Some(MEMORY),
            notes: vec![size.clone()],
        },
        Line {
            what: "disk of the state".into(),
            unit: "bytes/click".into(),
            series: alone("allocated, as taken over", disk),
            target: Some(DISK),
            notes: vec![size],
        },
    ])
}

const PARTITIONS: u32 = tests::stack::PARTITIONS;

/// An installation on Kafka with an offer in every partition.
struct Node {
    stack: Stack,
    log: Arc<KafkaLog>,
    /// Of the advertiser's postback URL.
    path: String,
    /// One for each partition.
    clicks: Vec<String>,
}

impl Node {
    async fn start(kafka: &Kafka, scratch: &Path, name: &str) -> Result<Self> {
        let Some(mut stack) = Stack::on_kafka_in_real_time(kafka).await? else {
            bail!("no ClickHouse engine: run `make engine`");
        };
        let (url, prefix) = stack.kafka().context("not on Kafka")?;
        let state = scratch.join(name);
        let brokers = url.trim_start_matches("kafka://");
        let mut config = KafkaConfig::new(brokers, PARTITIONS, state);
        config.topic_prefix = prefix.to_owned();
        let log = KafkaLog::connect(config).await?;
        let documents = scratch.join(format!("{name}.yaml"));
        // Of the tenant and the others there are those of the examples already.
        let text = offers::documents();
        let is_new = |it: &&str| it.starts_with("kind: Offer") || it.starts_with("kind: Share");
        let new: Vec<&str> = text.split("---\n").filter(is_new).collect();
        std::fs::write(&documents, new.join("---\n"))?;
        stack.gokart(&["apply", &documents.display().to_string()])?;
        let path = stack.postback_path(offers::ADVERTISER)?;
        let mut clicks = Vec::new();
        for partition in 0..PARTITIONS {
            let mut plain = offers::ids().filter(|id| id.starts_with("plain"));
            let is_here = |id: &&str| {
                schemas::OfferId::new(id).is_ok_and(|it| partition_of(&it, PARTITIONS) == partition)
            };
            let offer = plain.find(is_here).or_else(|| offers::ids().find(is_here));
            let offer = offer.with_context(|| format!("no offer in partition {partition}"))?;
            let click = stack.click(offer, offers::PUBLISHER, "").await?;
            clicks.push(click);
        }
        // Not measured, and not in the way of what is.
        for role in ["sink", "warehouse", "admin"] {
            stack.process(role)?.stop()?;
        }
        let mut node = Self { stack, log, path, clicks };
        for event in ["Install", "s2s_level+200"] {
            for partition in 0..PARTITIONS {
                node.decide(partition, event).await?;
            }
        }
        Ok(node)
    }

    /// Sends a postback; its id.
    async fn send(&self, partition: u32, event: &str) -> Result<String> {
        let click = &self.clicks[partition as usize];
        let parameters = format!("cnv_event_id={event}&gk_click_id={click}");
        let answer = self.stack.postback(&self.path, &parameters).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let json = answer.json()?;
        Ok(json["postback_id"].as_str().context("no id")?.to_owned())
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<Offset> {
        Ok(self.log.bounds(topic, partition).await?.end)
    }

    async fn decide(&mut self, partition: u32, event: &str) -> Result<()> {
        let from = self.end(Topic::Decisions, partition).await?;
        let id = self.send(partition, event).await?;
        self.decided(partition, from, &id).await
    }

    /// Waits until a postback's decision is committed.
    async fn decided(&mut self, partition: u32, from: Offset, id: &str) -> Result<()> {
        let began = Instant::now();
        let mut reader = self.log.read_from(Topic::Decisions, partition, from).await?;
        while began.elapsed() < PATIENCE {
            let batch = reader.read(READ).await?;
            let is_it = |value: &[u8]| value.windows(id.len()).any(|it| it == id.as_bytes());
            if batch.records.iter().any(|stored| is_it(&stored.record.value)) {
                return Ok(());
            }
            self.stack.process("processor")?.check_alive()?;
        }
        bail!("no decision within {PATIENCE:?}")
    }

    /// Waits until the processor decides every partition.
    async fn owns_everything(&mut self) -> Result<()> {
        let began = Instant::now();
        let wanted = format!("gokart_processor_partitions {PARTITIONS}");
        while began.elapsed() < PATIENCE {
            if self.stack.metrics("processor").await?.lines().any(|line| line == wanted) {
                return Ok(());
            }
            self.stack.process("processor")?.check_alive()?;
            tokio::time::sleep(POLL).await;
        }
        bail!("the processor does not own every partition within {PATIENCE:?}")
    }

    /// Seconds from the death of the processor to its first decision after a restart, and the
    /// greatest memory of the one that died, in MB.
    async fn killed_to_decision(&mut self) -> Result<(f64, f64)> {
        self.owns_everything().await?;
        self.decide(0, "Install").await?;
        let from = self.end(Topic::Decisions, 0).await?;
        let peak = peak_mb(self)?;
        self.stack.process("processor")?.kill()?;
        let began = Instant::now();
        let id = self.send(0, "Install").await?;
        self.stack.start_role("processor").await?;
        self.decided(0, from, &id).await?;
        Ok((began.elapsed().as_secs_f64(), peak))
    }

    /// What each partition's changelog says of its click.
    async fn templates(&self) -> Result<Vec<Template>> {
        let mut templates = Vec::new();
        for partition in 0..PARTITIONS {
            templates.push(Template::of(&self.log, partition).await?);
        }
        Ok(templates)
    }
}

fn peak_mb(node: &mut Node) -> Result<f64> {
    let pid = node.stack.process("processor")?.pid();
    Ok(peak_resident_bytes(pid)? as f64 / 1e6)
}

/// Bytes that a directory takes of the disk.
fn disk_bytes(directory: &Path) -> Result<u64> {
    /// `stat` counts in these, whatever the file system.
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let (entry, metadata) =
            entry.and_then(|it| it.metadata().map(|metadata| (it, metadata)))?;
        bytes += match metadata.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => metadata.blocks() * BLOCK,
        };
    }
    Ok(bytes)
}
