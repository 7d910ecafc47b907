//! The sink, ClickHouse, or both killed with SIGKILL in the middle of large inserts, on Apache Kafka
//! and on the local log of `gokart up`: afterwards every row is there, once through the views, and
//! the rows that are there twice on the disk are counted.
//!
//! `GOKART_SINK_CRASH_SEED`, `_KILLS` and `_RECORDS` make it longer or replay a run.

use anyhow::{Context, Result, ensure};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{EventLog, GroupEvent, Record};
use schemas::{Decision, Topic, codec};
use serde_json::Value;
use sink::TableRetention;
use sink::client::insert_client;
use sink::columns::Tables;
use sink::decode::{Place, Placed};
use sink::plan::{OffsetRange, Plan};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::http;
use tests::kafka::Kafka;
use tests::messages::{RECEIVED_AT, click, conversion, postback};
use tests::process::{Process, free_address};
use tests::random::Random;
use tests::stack::engine_library;

const PARTITIONS: u32 = 4;
/// Clicks, and as many decisions, each of a postback and a conversion.
const RECORDS: u64 = 40_000;
const KILLS: u64 = 8;
const KEEP_ALL: &str = "clicks=forever,postbacks=forever";
/// Records of one append.
const APPEND: u64 = 2_000;
/// Small enough for a kill to hit an insert, large enough for an insert to take a while.
const FLUSH_ROWS: &str = "30000";
/// From having seen rows to the kill: somewhere in the inserts that follow.
const KILL_WITHIN_MS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// One in so many rows may be there twice on the disk.
const REPEATS_ONE_IN: u64 = 10_000;

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// The sink is part of `gokart up`, ClickHouse its child.
    Up,
    Kafka {
        url: String,
        prefix: String,
    },
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_kills_on_kafka() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let prefix = format!("sink-crash-{}-{unique}-", std::process::id());
    killed_again_and_again(Shape::Kafka { url: kafka.url.clone(), prefix }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_kills_on_the_local_log() -> Result<()> {
    killed_again_and_again(Shape::Up).await
}

async fn killed_again_and_again(shape: Shape) -> Result<()> {
    let Some(library) = engine_library() else { return Ok(()) };
    let number = |name: &str, default| -> Result<u64> {
        match std::env::var(format!("GOKART_SINK_CRASH_{name}")) {
            Ok(text) if !text.is_empty() => {
                text.parse().with_context(|| format!("{name}: {text:?}"))
            }
            _ => Ok(default),
        }
    };
    let seed = number("SEED", 1)?;
    let (kills, records) = (number("KILLS", KILLS)?, number("RECORDS", RECORDS)?);
    let mut random = Random(seed);
    let mut world = World::new(shape, library)?;
    world.fill_the_log(records).await?;
    world.make_tables_that_never_merge().await?;
    world.start().await?;
    let rows = 3 * records;
    let mut hit = 0;
    for kill in 0..kills {
        // So that there is something to interrupt until the last one.
        let before = world.wait_for_rows(rows * kill / (kills + 1)).await?;
        hit += u64::from(before < rows);
        tokio::time::sleep(Duration::from_millis(random.below(KILL_WITHIN_MS))).await;
        world.kill(random.below(3)).await?;
    }
    world.wait_for_rows(rows).await?;
    world.check_views(records).await?;
    let repeats = world.physical_rows().await? - rows;
    println!(
        "{:?}, seed {seed}: {rows} rows, {kills} kills, {hit} of them before the last row was in; \
         {repeats} rows there twice on the disk",
        world.shape
    );
    ensure!(hit > kills / 2, "the rows were in too soon: give more of them");
    ensure!(repeats * REPEATS_ONE_IN <= rows, "{repeats} rows of {rows} are there twice");
    world.stop()
}

/// ClickHouse notes a token before the part that came with it is in place, and a kill between the two leaves
/// the note alone: trying again under the same token then brings nothing. The sink must notice.
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_token_outlived_them_come_again() -> Result<()> {
    const ROWS: u64 = 1_000;
    let Some(library) = engine_library() else { return Ok(()) };
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let prefix = format!("sink-token-{}-{unique}-", std::process::id());
    let mut world = World::new(Shape::Kafka { url: kafka.url.clone(), prefix }, library)?;
    world.make_tables_that_never_merge().await?;
    let log = world.log().await?;
    let rows: Vec<_> = (0..ROWS)
        .map(|n| Placed {
            place: Place { source: (Topic::Clicks, 0), offset: n },
            message: click(n, "pet-the-dogs"),
        })
        .collect();
    let records = rows.iter().map(|row| record(codec::encode(&row.message))).collect();
    log.append(Topic::Clicks, 0, records).await?;
    // A sink's life up to just before its last commit.
    let ranges = BTreeMap::from([((Topic::Clicks, 0), OffsetRange { from: 0, end: ROWS })]);
    let plan = Plan { id: uuid::Uuid::now_v7().simple().to_string(), ranges };
    let mut member = log.join(sink::GROUP, &sink::decode::TOPICS).await?;
    let began = Instant::now();
    loop {
        let event = member.next_event(POLL).await?;
        if matches!(event, Some(GroupEvent::Assigned(_))) {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "nothing is assigned");
    }
    member.commit(plan.written_down()).await?;
    world.start_warehouse().await?;
    let tables = Tables::new(insert_client(&world.clickhouse()?));
    ensure!(sink::insert::insert(&tables, &plan.token("clicks"), &rows).await.refused.is_empty());
    drop(member);
    drop(log);
    let parts = world.parts("clicks").await?;
    world.processes.get_mut("warehouse").context("not running")?.kill()?;
    ensure!(!parts.is_empty(), "there is no part to lose");
    for part in parts {
        std::fs::remove_dir_all(part)?;
    }
    world.start().await?;
    world.wait_for_rows(ROWS).await?;
    let rows = world.sql("SELECT count() AS n FROM clicks").await?;
    ensure!(rows[0]["n"] == ROWS, "{rows:?}");
    world.stop()
}

struct World {
    shape: Shape,
    directory: tempfile::TempDir,
    library: PathBuf,
    warehouse: SocketAddr,
    metrics: BTreeMap<&'static str, SocketAddr>,
    processes: BTreeMap<&'static str, Process>,
}

impl World {
    fn new(shape: Shape, library: PathBuf) -> Result<Self> {
        let mut metrics = BTreeMap::new();
        for role in ["up", "sink", "warehouse"] {
            metrics.insert(role, free_address()?);
        }
        Ok(Self {
            shape,
            directory: tempfile::tempdir()?,
            library: library.canonicalize()?,
            warehouse: free_address()?,
            metrics,
            processes: BTreeMap::new(),
        })
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    async fn log(&self) -> Result<Arc<dyn EventLog>> {
        Ok(match &self.shape {
            Shape::Up => LocalLog::open(LocalConfig::new(self.data().join("log"), PARTITIONS))?,
            Shape::Kafka { url, prefix } => {
                let brokers = url.strip_prefix("kafka://").context("not Kafka")?;
                let state = self.directory.path().join("state");
                let mut config = KafkaConfig::new(brokers, PARTITIONS, state);
                config.topic_prefix.clone_from(prefix);
                KafkaLog::connect(config).await?
            }
        })
    }

    async fn fill_the_log(&self, records: u64) -> Result<()> {
        let log = self.log().await?;
        for first in (0..records).step_by(APPEND as usize) {
            let numbers = first..(first + APPEND).min(records);
            let partition = (first / APPEND) as u32 % PARTITIONS;
            let clicks =
                numbers.clone().map(|n| record(codec::encode(&click(n, "pet-the-dogs")))).collect();
            log.append(Topic::Clicks, partition, clicks).await?;
            let decisions = numbers.map(|n| {
                record(codec::encode(&Decision {
                    postback: Some(postback(n)),
                    conversions: vec![conversion(n, 1, "pet-the-dogs")],
                    ..Decision::default()
                }))
            });
            log.append(Topic::Decisions, partition, decisions.collect()).await?;
        }
        Ok(())
    }

    fn clickhouse(&self) -> Result<sink::ClickHouseConfig> {
        let mut config = sink::ClickHouseConfig::new(&format!("http://{}", self.warehouse));
        config.user = Some("default".to_owned());
        config.password = Some(self.token("write")?);
        Ok(config)
    }

    fn token(&self, kind: &str) -> Result<String> {
        let path = self.data().join(format!("warehouse-{kind}.token"));
        Ok(std::fs::read_to_string(path)?.trim().to_owned())
    }

    /// Merging collapses repeats: without it, what is counted is what was written.
    async fn make_tables_that_never_merge(&mut self) -> Result<()> {
        self.start_warehouse().await?;
        let mut config = self.clickhouse()?;
        config.retention = TableRetention::parse(KEEP_ALL).map_err(anyhow::Error::msg)?;
        sink::migrate(&config).await?;
        let client = insert_client(&config);
        for table in ["clicks", "postbacks", "conversions", "conversions_latest"] {
            let never = format!(
                "ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, \
                 max_bytes_to_merge_at_min_space_in_pool = 1, min_age_to_force_merge_seconds = 0"
            );
            client.query_raw(&never).execute().await?;
        }
        let mut warehouse = self.processes.remove("warehouse").context("not running")?;
        ensure!(warehouse.stop()?.success(), "{}", warehouse.output());
        Ok(())
    }

    async fn start(&mut self) -> Result<()> {
        match self.shape {
            Shape::Up => self.start_role("up").await,
            Shape::Kafka { .. } => {
                self.start_warehouse().await?;
                self.start_role("sink").await
            }
        }
    }

    async fn start_warehouse(&mut self) -> Result<()> {
        self.start_role("warehouse").await
    }

    fn arguments(&self, role: &str) -> Result<Vec<String>> {
        let mut arguments = vec![role.to_owned()];
        let mut push = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        push(
            "--data",
            self.directory
                .path()
                .join(if role == "sink" { role } else { "data" })
                .display()
                .to_string(),
        );
        push("--metrics-listen", self.metrics[role].to_string());
        if role != "sink" {
            push("--warehouse-listen", self.warehouse.to_string());
            push("--engine-library", self.library.display().to_string());
        }
        if role != "warehouse" {
            push("--flush-rows", FLUSH_ROWS.to_owned());
            push("--partitions", PARTITIONS.to_string());
            // What is inserted is old, and gets older.
            push("--table-retention", KEEP_ALL.to_owned());
        }
        match (&self.shape, role) {
            (_, "up") => {
                push("--listen", free_address()?.to_string());
                push("--admin-listen", free_address()?.to_string());
            }
            (Shape::Kafka { url, prefix }, "sink") => {
                push("--log", url.clone());
                push("--topic-prefix", prefix.clone());
                push("--replication", "1".to_owned());
                push("--clickhouse", format!("http://{}", self.warehouse));
                let token = self.data().join("warehouse-write.token");
                push("--clickhouse-token-file", token.display().to_string());
            }
            _ => {}
        }
        Ok(arguments)
    }

    async fn start_role(&mut self, role: &'static str) -> Result<()> {
        let mut process = Process::start(role, self.directory.path(), &self.arguments(role)?)?;
        let began = Instant::now();
        loop {
            process.check_alive()?;
            let ready = http::get(self.metrics[role], "localhost", "/readyz").await;
            // A sink that waits for ClickHouse does its work without being asked.
            if role == "sink" || ready.is_ok_and(|answer| answer.status.is_success()) {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "{role} is not ready: {}", process.output());
            tokio::time::sleep(POLL).await;
        }
        self.processes.insert(role, process);
        Ok(())
    }

    /// 0: the sink, 1: ClickHouse, 2: both at once; and starts what was killed.
    async fn kill(&mut self, what: u64) -> Result<()> {
        match self.shape {
            Shape::Up => {
                let up = self.processes.get_mut("up").context("not running")?;
                let children = format!("/proc/{0}/task/{0}/children", up.pid());
                let engine = std::fs::read_to_string(children)?.trim().to_owned();
                if what != 0 && !engine.is_empty() {
                    ensure!(Command::new("kill").args(["-9", &engine]).status()?.success());
                }
                if what != 1 {
                    up.kill()?;
                    // Left alone, the engine finishes what it has begun and ends.
                    let began = Instant::now();
                    while Path::new("/proc").join(&engine).exists() && !engine.is_empty() {
                        ensure!(began.elapsed() < PATIENCE, "the engine outlives its parent");
                        tokio::time::sleep(POLL).await;
                    }
                    self.start_role("up").await?;
                }
            }
            Shape::Kafka { .. } => {
                let dead: &[&'static str] =
                    [&["sink"] as &[_], &["warehouse"], &["warehouse", "sink"]][what as usize % 3];
                for role in dead {
                    self.processes.get_mut(role).context("not running")?.kill()?;
                }
                for role in dead {
                    self.start_role(role).await?;
                }
            }
        }
        Ok(())
    }

    async fn sql(&self, query: &str) -> Result<Vec<Value>> {
        let path = "/?default_format=JSONEachRow&database=gokart&output_format_json_quote_64bit_integers=0";
        let request = hyper::Request::post(path)
            .header("x-clickhouse-key", self.token("read")?)
            .body(query.to_owned())?;
        let answer = http::send(self.warehouse, &self.warehouse.to_string(), request).await?;
        ensure!(answer.status.is_success(), "{query}: {answer:?}");
        answer.body.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Rows of the three tables as they lie on the disk.
    async fn physical_rows(&self) -> Result<u64> {
        let rows = self
            .sql(
                "SELECT (SELECT count() FROM clicks) + (SELECT count() FROM postbacks) + (SELECT count() FROM conversions) AS n",
            )
            .await?;
        rows[0]["n"].as_u64().context("no number")
    }

    /// Waits until at least so many rows are there.
    async fn wait_for_rows(&mut self, at_least: u64) -> Result<u64> {
        let began = Instant::now();
        loop {
            // Not answering right after a kill is part of it.
            let rows = self.physical_rows().await;
            if let Ok(rows) = rows
                && rows >= at_least
            {
                return Ok(rows);
            }
            for process in self.processes.values_mut() {
                process.check_alive()?;
            }
            ensure!(began.elapsed() < PATIENCE, "not in time: {at_least} rows; there are {rows:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn check_views(&self, records: u64) -> Result<()> {
        for (view, identity) in [
            ("clicks_unique", "click_id"),
            ("postbacks_unique", "postback_id"),
            ("conversions_revisions", "(conversion_id, revision)"),
            ("conversions_current", "conversion_id"),
        ] {
            let query = format!("SELECT count() AS rows, uniqExact({identity}) AS ids FROM {view}");
            // The tables of one flush become visible one after the other.
            let began = Instant::now();
            loop {
                let found = self.sql(&query).await?;
                if found[0]["rows"] == records && found[0]["ids"] == records {
                    break;
                }
                ensure!(began.elapsed() < PATIENCE, "{view}: {found:?}, not {records}");
                tokio::time::sleep(POLL).await;
            }
        }
        let merged = "SELECT count() AS parts FROM system.parts WHERE active AND min_block_number != max_block_number \
            AND table IN ('clicks', 'postbacks', 'conversions') AND database = 'gokart'";
        let merged = self.sql(merged).await?;
        ensure!(merged[0]["parts"] == 0, "parts were merged, so repeats cannot be counted");
        Ok(())
    }

    /// Where the parts of a table lie.
    async fn parts(&self, table: &str) -> Result<Vec<PathBuf>> {
        let query = format!("SELECT path FROM system.parts WHERE active AND table = '{table}'");
        let rows = self.sql(&query).await?;
        Ok(rows.iter().filter_map(|row| row["path"].as_str().map(PathBuf::from)).collect())
    }

    fn stop(&mut self) -> Result<()> {
        for role in ["up", "sink", "warehouse"] {
            if let Some(mut process) = self.processes.remove(role) {
                let status = process.stop()?;
                ensure!(status.success(), "{role} ended with {status}:\n{}", process.output());
            }
        }
        Ok(())
    }
}

fn record(value: Vec<u8>) -> Record {
    Record { key: bytes::Bytes::new(), value: value.into(), at: RECEIVED_AT }
}
