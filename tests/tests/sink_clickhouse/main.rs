//! The sink from the event log into a real ClickHouse: the embedded one, over HTTP.
//!
//! One test, because a process can hold one engine; every part has a database of its own.

mod bring;
mod columns;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clickhouse::Client;
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::simulated::{Faults, SimulatedLog};
use eventlog::{EventLog, Record};
use schemas::{Decision, Topic, codec};
use service::{Clock, Readiness, Shutdown};
use sink::client::{insert_client, statement_client};
use sink::columns::Tables;
use sink::decode::{Place, Placed};
use sink::meaning::{AWAY_CODES, ROW_CODES, SETUP_CODES};
use sink::{ClickHouseConfig, Error, SinkConfig, TableRetention, migrate};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tests::faulty_proxy::FaultyProxy;
use tests::messages::{RECEIVED_AT, click, command, conversion, postback, refusal};
use tokio::task::JoinHandle;
use warehouse::{Limits, WarehouseConfig};

const WRITE_TOKEN: &str = "write-token-of-this-test";
const KEEP_ALL: &str = "clicks=forever,postbacks=forever,refused=forever,dead_letters=forever";
/// A click of the offer `odd` is refused for a reason that is in no list.
const NOTHING_ODD: &str =
    "ALTER TABLE clicks ADD CONSTRAINT odd CHECK throwIf(offer_id = 'odd') = 0";
/// Tries, 20 ms apart, before something counts as never going to happen.
const TRIES: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn rows_reach_clickhouse_exactly_once() -> Result<()> {
    let Some(library) = engine_library() else {
        eprintln!("SKIPPED: no libchdb.so below target/chdb; fetch it with deploy/chdb/fetch.sh");
        return Ok(());
    };
    let directory = tempfile::tempdir()?;
    let server = Server::start(library, directory.path()).await?;
    let done = all_parts(&server, directory.path()).await;
    // The engine must be closed before the process ends, whatever happened.
    server.stop().await?;
    done
}

async fn all_parts(server: &Server, directory: &Path) -> Result<()> {
    migrations_are_applied_once_and_never_changed(server).await?;
    an_insert_is_one_block_and_its_token_counts(server).await?;
    every_kind_of_row_arrives_as_it_was_sent(server, directory).await?;
    columns::rows_as_columns_are_the_same_rows(server).await?;
    error_codes_are_what_the_engine_calls_them(server).await?;
    rows_that_are_refused_become_dead_letters(server, directory).await?;
    what_nobody_can_explain_is_the_row_only_if_others_are_taken(server, directory).await?;
    a_set_up_that_is_wrong_is_waited_out(server, directory).await?;
    many_parts_and_many_months_are_no_end(server, directory).await?;
    the_cluster_form_is_what_the_engine_can_parse(server).await?;
    crashes_and_lost_answers_repeat_nothing(server, directory).await?;
    sinks_that_come_and_go_lose_nothing(server).await?;
    bring::a_part_of_a_plan_repeats_nothing(server).await?;
    bring::a_token_without_its_rows_is_noticed(server).await?;
    bring::a_refused_row_is_found_beside_those_that_are_there(server).await?;
    a_newer_record_stops_the_sink(server, directory).await
}

async fn migrations_are_applied_once_and_never_changed(server: &Server) -> Result<()> {
    let config = server.database("migrations");
    let files = schemas::sql::FILES.len();
    ensure!(migrate(&config).await?.applied.len() == files);
    let again = migrate(&config).await?;
    ensure!((again.applied.len(), again.present) == (0, files), "{again:?}");
    let client = insert_client(&config);
    rows_are_kept_as_long_as_is_said(&config).await?;
    execute(
        &client,
        "INSERT INTO migrations (number, name, sha256) VALUES (99, '0099_new.sql', 'x')",
    )
    .await?;
    let unknown = migrate(&config).await;
    ensure!(matches!(unknown, Err(Error::MigrationUnknown { number: 99, .. })), "{unknown:?}");
    execute(&client, "INSERT INTO migrations (number, name, sha256) VALUES (1, 'x', 'other')")
        .await?;
    let changed = migrate(&config).await;
    ensure!(matches!(changed, Err(Error::MigrationChanged { .. })), "{changed:?}");
    Ok(())
}

/// A retention is applied when it differs, only then, and old rows really go.
async fn rows_are_kept_as_long_as_is_said(config: &ClickHouseConfig) -> Result<()> {
    let client = &insert_client(config);
    let config = ClickHouseConfig { retention: TableRetention::default(), ..config.clone() };
    ensure!(migrate(&config).await?.retention.len() == 9);
    let ttls = "SELECT extract(engine_full, ' TTL (.*?) SETTINGS') FROM system.tables WHERE database = 'migrations' AND name IN ('clicks', 'conversions', 'conversions_latest') AND engine_full LIKE '% TTL %' ORDER BY name";
    check(client, ttls, "toDateTime(clicked_at) + toIntervalDay(400)").await?;
    let mut shorter = config.clone();
    shorter.retention =
        TableRetention::parse("clicks=30d,conversions=500d").map_err(anyhow::Error::msg)?;
    ensure!(migrate(&shorter).await?.retention.len() == 6);
    ensure!(migrate(&shorter).await?.retention.is_empty());
    let days = "toDateTime(clicked_at) + toIntervalDay(30)\ntoDateTime(received_at) + toIntervalDay(500)\ntoDateTime(received_at) + toIntervalDay(500)";
    check(client, ttls, days).await?;
    let rows = "INSERT INTO clicks (click_id, clicked_at) SELECT toString(number), now() - toIntervalDay(number * 100) FROM numbers(2)";
    execute(client, rows).await?;
    execute(client, "OPTIMIZE TABLE clicks FINAL").await?;
    eventually(client, "SELECT click_id FROM clicks", "0").await?;
    ensure!(migrate(&config).await?.retention.len() == 4);
    check(client, ttls, "toDateTime(clicked_at) + toIntervalDay(400)").await
}

/// What the plan's token relies on: one insert is one part a partition, whatever its size, and
/// the same token again changes neither the table nor what is fed from it.
async fn an_insert_is_one_block_and_its_token_counts(server: &Server) -> Result<()> {
    let config = server.database("blocks");
    migrate(&config).await?;
    let client = insert_client(&config);
    let tables = Tables::new(client.clone());
    let place = |offset| Place { source: (Topic::Clicks, 0), offset };
    let rows: Vec<_> = (0..120_000)
        .map(|n| Placed { place: place(n), message: click(n, "pet-the-dogs") })
        .collect();
    for _ in 0..2 {
        ensure!(sink::insert::insert(&tables, "clicks-1", &rows).await.refused.is_empty());
    }
    check(&client, "SELECT count(), uniqExact(click_id) FROM clicks", "120000\t120000").await?;
    let parts = "SELECT count(), sum(rows) FROM system.parts WHERE table = 'clicks' AND database = 'blocks'";
    check(&client, parts, "1\t120000").await?;
    let rows: Vec<_> = (1..=2)
        .map(|revision| Placed {
            place: place(0),
            message: conversion(0, revision, "pet-the-dogs"),
        })
        .collect();
    for token in ["a", "a", "b"] {
        ensure!(sink::insert::insert(&tables, token, &rows).await.refused.is_empty());
    }
    // The third one is a physical repeat: the views show it once.
    check(&client, "SELECT count() FROM conversions", "4").await?;
    check(&client, "SELECT count() FROM conversions_revisions", "2").await?;
    check(&client, "SELECT count(), max(revision) FROM conversions_current", "1\t2").await
}

async fn every_kind_of_row_arrives_as_it_was_sent(server: &Server, directory: &Path) -> Result<()> {
    let config = server.database("rows");
    let log = open_log(&directory.join("rows"))?;
    append(&log, Topic::Clicks, 0, &[codec::encode(&click(7, "pet-the-dogs"))]).await?;
    let decision = Decision {
        postback: Some(postback(1)),
        command: Some(command()),
        redecision: None,
        conversions: vec![conversion(0, 1, "pet-the-dogs"), conversion(0, 2, "pet-the-dogs")],
        ..Decision::default()
    };
    append(&log, Topic::Decisions, 1, &[codec::encode(&decision)]).await?;
    append(&log, Topic::Refused, 0, &[codec::encode(&refusal())]).await?;
    append(&log, Topic::Clicks, 1, &[b"not a record".to_vec()]).await?;
    let sink = Sink::start(&config, &log);
    let client = insert_client(&config);
    let dead = "SELECT topic, partition, offset, unhex(value_hex) FROM dead_letters_unique";
    eventually(&client, dead, "clicks\t1\t0\tnot a record").await?;
    for (query, expected) in [
        (
            "SELECT click_id, clicked_at, country, platform, sub1, sub2, sub15, flags, test FROM clicks_unique",
            "click-7\t2026-01-31 23:59:59.999\tDE\tios\tä\\tb\t\tlast\t['UNKNOWN_COUNTRY']\tfalse",
        ),
        (
            "SELECT postback_id, outcome, reason, parameters.2, parameter['a'], conversion_id FROM postbacks_unique",
            "01890000-0000-7000-8000-000000000001\taccepted\t\t['1','2','x']\t1\tpet-the-dogs.00000000000000000000000000",
        ),
        (
            "SELECT revision, status, reason, sequence, due_at, revenue, payout, sale_amount, sale_currency, currency, event_id FROM conversions_current",
            "2\tSuccess\t\t\\N\t\\N\t1.25\t-0.000001\t\\N\t\tUSD\ts2s_level 200",
        ),
        (
            "SELECT revision, status, postback_id FROM conversions_revisions ORDER BY revision",
            "1\tPending\t01890000-0000-7000-8000-000000000001\n2\tSuccess\t01890000-0000-7000-8000-000000000001",
        ),
        (
            "SELECT tenant, address, mismatch, parameters.1 FROM refused_unique",
            "\t203.0.113.9\tsegments\t['cnv_event_id']",
        ),
        ("SELECT effect, conversion_id LIKE 'pet-the-dogs.%' FROM commands_unique", "applied\t1"),
    ] {
        eventually(&client, query, expected).await?;
    }
    sink.stop().await
}

async fn rows_that_are_refused_become_dead_letters(
    server: &Server,
    directory: &Path,
) -> Result<()> {
    let config = server.database("refused");
    migrate(&config).await?;
    let client = insert_client(&config);
    execute(&client, "ALTER TABLE clicks ADD CONSTRAINT fine CHECK offer_id != 'bad'").await?;
    let log = open_log(&directory.join("refused"))?;
    let clicks: Vec<_> = (0..500)
        .map(|n| codec::encode(&click(n, if n == 17 || n == 400 { "bad" } else { "good" })))
        .collect();
    append(&log, Topic::Clicks, 0, &clicks).await?;
    let sink = Sink::start(&config, &log);
    eventually(&client, "SELECT count() FROM dead_letters_unique", "2").await?;
    check(&client, "SELECT count(), uniqExact(click_id) FROM clicks", "498\t498").await?;
    let dead = "SELECT offset, position(unhex(value_hex), 'click-') > 0, position(error, 'VIOLATED_CONSTRAINT') > 0 FROM dead_letters_unique ORDER BY offset";
    check(&client, dead, "17\t1\t1\n400\t1\t1").await?;
    sink.stop().await
}

async fn error_codes_are_what_the_engine_calls_them(server: &Server) -> Result<()> {
    let client = insert_client(&server.database("default"));
    for (code, name) in [AWAY_CODES, ROW_CODES, SETUP_CODES].concat() {
        check(&client, &format!("SELECT errorCodeToName({code})"), name).await?;
    }
    Ok(())
}

/// An error of a kind that is in no list: FUNCTION_THROW_IF_VALUE_IS_NON_ZERO.
async fn what_nobody_can_explain_is_the_row_only_if_others_are_taken(
    server: &Server,
    directory: &Path,
) -> Result<()> {
    let config = server.database("unclear");
    migrate(&config).await?;
    let client = insert_client(&config);
    execute(&client, NOTHING_ODD).await?;
    let log = open_log(&directory.join("unclear"))?;
    let clicks: Vec<_> =
        (0..4).map(|n| codec::encode(&click(n, if n == 2 { "odd" } else { "good" }))).collect();
    append(&log, Topic::Clicks, 0, &clicks).await?;
    let sink = Sink::start(&config, &log);
    eventually(&client, "SELECT offset FROM dead_letters_unique", "2").await?;
    check(&client, "SELECT count() FROM clicks", "3").await?;
    // Alone, it may as well be ClickHouse: it waits.
    append(&log, Topic::Clicks, 0, &[codec::encode(&click(9, "odd"))]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    check(&client, "SELECT count() FROM dead_letters_unique", "1").await?;
    execute(&client, "ALTER TABLE clicks DROP CONSTRAINT odd").await?;
    eventually(&client, "SELECT count() FROM clicks", "4").await?;
    sink.stop().await
}

/// ClickHouse with too many parts is waited for, and rows of more months than ClickHouse takes by
/// default in one insert (100) are taken.
async fn many_parts_and_many_months_are_no_end(server: &Server, directory: &Path) -> Result<()> {
    const MONTHS: i64 = 130;
    const MONTH_MS: i64 = 31 * 86_400_000;
    let config = server.database("crowded");
    migrate(&config).await?;
    let client = insert_client(&config);
    let log = open_log(&directory.join("crowded"))?;
    let clicks: Vec<_> = (0..MONTHS)
        .map(|n| {
            let mut click = click(n.unsigned_abs(), "good");
            click.clicked_at = RECEIVED_AT.plus_ms(-n * MONTH_MS);
            codec::encode(&click)
        })
        .collect();
    append(&log, Topic::Clicks, 0, &clicks).await?;
    let sink = Sink::start(&config, &log);
    let months = "SELECT count(), uniqExact(toYYYYMM(clicked_at)) FROM clicks";
    eventually(&client, months, &format!("{MONTHS}\t{MONTHS}")).await?;

    let limit = |parts: u32| {
        format!(
            "ALTER TABLE clicks MODIFY SETTING parts_to_delay_insert = {parts}, parts_to_throw_insert = {parts}"
        )
    };
    execute(&client, &limit(1)).await?;
    append(&log, Topic::Clicks, 0, &[codec::encode(&click(1_000, "good"))]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    check(&client, "SELECT count() FROM clicks", &MONTHS.to_string()).await?;
    execute(&client, &limit(3_000)).await?;
    eventually(&client, "SELECT count() FROM clicks", &(MONTHS + 1).to_string()).await?;
    check(&client, "SELECT count() FROM dead_letters", "0").await?;
    sink.stop().await
}

/// No cluster is at hand for tests, but its statements go through the same engine's parser.
async fn the_cluster_form_is_what_the_engine_can_parse(server: &Server) -> Result<()> {
    let client = insert_client(&server.database("default"));
    for file in schemas::sql::FILES.iter().chain([&schemas::sql::MIGRATIONS]) {
        for statement in sink::ddl::statements(file.text, Some("main")) {
            let formatted: String = client
                .query("SELECT formatQuerySingleLine(?)")
                .bind(&statement)
                .fetch_one()
                .await
                .with_context(|| format!("{}: {statement}", file.name))?;
            ensure!(formatted.contains("ON CLUSTER main"), "{}: {formatted}", file.name);
            let replicated = formatted.contains("ENGINE = Replicated");
            ensure!(replicated == statement.contains("TABLE IF NOT EXISTS"), "{formatted}");
        }
    }
    let broken = client.query("SELECT formatQuerySingleLine('CREATE TABLE x ON CLUSTER')");
    ensure!(broken.fetch_one::<String>().await.is_err(), "the parser takes anything");
    Ok(())
}

/// A table that is away, and one that lost a column, keep the sink waiting and nothing else.
async fn a_set_up_that_is_wrong_is_waited_out(server: &Server, directory: &Path) -> Result<()> {
    let config = server.database("setup");
    migrate(&config).await?;
    let client = insert_client(&config);
    let log = open_log(&directory.join("setup"))?;
    let sink = Sink::start(&config, &log);
    sink.wait_until_ready().await?;
    execute(&client, "RENAME TABLE clicks TO elsewhere").await?;
    append(&log, Topic::Clicks, 0, &[codec::encode(&click(1, "good"))]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(!sink.task.is_finished(), "the sink gave up");
    execute(&client, "RENAME TABLE elsewhere TO clicks").await?;
    eventually(&client, "SELECT count() FROM clicks", "1").await?;
    execute(&client, "ALTER TABLE clicks DROP COLUMN sub9").await?;
    append(&log, Topic::Clicks, 0, &[codec::encode(&click(2, "good"))]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(!sink.task.is_finished(), "the sink gave up");
    execute(&client, "ALTER TABLE clicks ADD COLUMN sub9 String AFTER sub8").await?;
    eventually(&client, "SELECT count() FROM clicks", "2").await?;
    check(&client, "SELECT count() FROM dead_letters_unique", "0").await?;
    sink.stop().await
}

/// The sink is dropped in the middle of its work again and again, while connections break before,
/// in and after an insert, so that answers get lost. Not one row may be there twice, even
/// physically: the local log has one owner.
async fn crashes_and_lost_answers_repeat_nothing(server: &Server, directory: &Path) -> Result<()> {
    const ROUNDS: u64 = 12;
    const RECORDS_PER_ROUND: u64 = 400;
    let direct = server.database("crashes");
    migrate(&direct).await?;
    let client = insert_client(&direct);
    // Merging collapses repeats: without it, what is counted is what was written.
    execute(&client, "SYSTEM STOP MERGES clicks").await?;
    execute(&client, "SYSTEM STOP MERGES postbacks").await?;
    let proxy = FaultyProxy::start(&direct.url, 42).await?;
    let faulty = ClickHouseConfig { url: proxy.url(), ..direct.clone() };
    let log = open_log(&directory.join("crashes"))?;
    for round in 0..ROUNDS {
        let numbers = round * RECORDS_PER_ROUND..(round + 1) * RECORDS_PER_ROUND;
        let clicks: Vec<_> =
            numbers.clone().map(|n| codec::encode(&click(n, "pet-the-dogs"))).collect();
        let decisions: Vec<_> = numbers
            .map(|n| Decision { postback: Some(postback(n)), ..Decision::default() })
            .map(|decision| codec::encode(&decision))
            .collect();
        append(&log, Topic::Clicks, (round % 2) as u32, &clicks).await?;
        append(&log, Topic::Decisions, (round % 2) as u32, &decisions).await?;
        proxy.set_faulty(false);
        let sink = Sink::start(&faulty, &log);
        sink.wait_until_ready().await?;
        proxy.set_faulty(true);
        // Until a fault, or the work itself, has come to a point that differs each time.
        proxy.wait_for_connections(1 + round % 4).await;
        sink.crash().await;
    }
    proxy.set_faulty(false);
    let sink = Sink::start(&faulty, &log);
    let all = ROUNDS * RECORDS_PER_ROUND;
    eventually(&client, "SELECT uniqExact(click_id) FROM clicks", &all.to_string()).await?;
    eventually(&client, "SELECT uniqExact(postback_id) FROM postbacks", &all.to_string()).await?;
    sink.stop().await?;
    check(&client, "SELECT count() FROM clicks", &all.to_string()).await?;
    check(&client, "SELECT count() FROM postbacks", &all.to_string()).await?;
    ensure!(proxy.faults() > 0, "no connection was broken");
    Ok(())
}

/// Partitions move between sinks in the middle of plans, and commits fail, get lost or are kept
/// although they answer that they failed. Rows may be there twice then, but are read once.
async fn sinks_that_come_and_go_lose_nothing(server: &Server) -> Result<()> {
    const ROUNDS: u64 = 6;
    const RECORDS_PER_ROUND: u64 = 300;
    let config = server.database("moving");
    migrate(&config).await?;
    let client = insert_client(&config);
    let simulated = SimulatedLog::new(4, 7);
    let log: Arc<dyn EventLog> = Arc::clone(&simulated) as _;
    simulated.set_faults(Faults {
        commit_unavailable: 100,
        commit_ack_lost: 100,
        commit_lost: 100,
        ..Faults::default()
    });
    let staying = Sink::start(&config, &log);
    for round in 0..ROUNDS {
        for partition in 0..4 {
            let first = (round * 4 + u64::from(partition)) * RECORDS_PER_ROUND;
            let clicks: Vec<_> = (first..first + RECORDS_PER_ROUND)
                .map(|n| codec::encode(&click(n, "pet-the-dogs")))
                .collect();
            append(&log, Topic::Clicks, partition, &clicks).await?;
        }
        let passing = Sink::start(&config, &log);
        passing.wait_until_ready().await?;
        // From right after the start to in the middle of an insert.
        tokio::time::sleep(Duration::from_millis(60 * round)).await;
        passing.crash().await;
    }
    let all = ROUNDS * 4 * RECORDS_PER_ROUND;
    eventually(&client, "SELECT uniqExact(click_id) FROM clicks", &all.to_string()).await?;
    check(&client, "SELECT count() FROM clicks_unique", &all.to_string()).await?;
    staying.stop().await
}

async fn a_newer_record_stops_the_sink(server: &Server, directory: &Path) -> Result<()> {
    let config = server.database("newer");
    let log = open_log(&directory.join("newer"))?;
    append(&log, Topic::Clicks, 1, &[br#"{"v":99,"click":{}}"#.to_vec()]).await?;
    let ended = Sink::start(&config, &log).task.await?;
    ensure!(
        matches!(ended, Err(Error::UnknownRecord { partition: 1, offset: 0, .. })),
        "{ended:?}"
    );
    Ok(())
}

/// The embedded ClickHouse in this process.
struct Server {
    url: String,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), warehouse::WarehouseError>>,
}

impl Server {
    async fn start(library: PathBuf, directory: &Path) -> Result<Self> {
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let listen = tests::process::free_address()?;
        let config = WarehouseConfig {
            library,
            data_dir: directory.join("warehouse"),
            listen,
            host_names: Vec::new(),
            read_token: "read-token-of-this-test".to_owned(),
            write_token: WRITE_TOKEN.to_owned(),
            tokens_chosen: false,
            exit_with_stdin: false,
            limits: Limits::default(),
            readiness: readiness.clone(),
        };
        let starting = readiness.condition("test: started");
        let task = tokio::spawn(warehouse::run(config, shutdown.clone()));
        starting.set(true);
        let server = Self { url: format!("http://{listen}"), shutdown, task };
        let probe = statement_client(&server.database("default"));
        eventually(&probe, "SELECT 1", "1").await?;
        Ok(server)
    }

    fn database(&self, name: &str) -> ClickHouseConfig {
        ClickHouseConfig {
            user: Some("default".to_owned()),
            password: Some(WRITE_TOKEN.to_owned()),
            database: name.to_owned(),
            // What the tests insert is old, and gets older.
            retention: TableRetention::parse(KEEP_ALL).expect("a retention"),
            ..ClickHouseConfig::new(&self.url)
        }
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        Ok(self.task.await??)
    }
}

/// A sink in this process.
struct Sink {
    shutdown: Shutdown,
    readiness: Readiness,
    task: JoinHandle<Result<(), Error>>,
}

impl Sink {
    fn start(config: &ClickHouseConfig, log: &Arc<dyn EventLog>) -> Self {
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let log = Arc::clone(log);
        let clock = Clock::manual(RECEIVED_AT.0);
        let config = SinkConfig::new(config.clone());
        let ready = readiness.condition("sink");
        let task = tokio::spawn(sink::run(config, log, clock, shutdown.clone(), ready));
        Self { shutdown, readiness, task }
    }

    async fn wait_until_ready(&self) -> Result<()> {
        for _ in 0..TRIES {
            if self.readiness.waiting_for().is_empty() {
                return Ok(());
            }
            ensure!(!self.task.is_finished(), "the sink ended before it was ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("the sink does not get ready")
    }

    /// Ends it wherever it is, without a word to anybody.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        Ok(self.task.await??)
    }
}

fn engine_library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GOKART_TEST_CHDB_LIBRARY") {
        return Some(path.into());
    }
    let versions = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/chdb");
    let libraries = std::fs::read_dir(versions).ok()?.filter_map(Result::ok);
    libraries.map(|version| version.path().join("libchdb.so")).find(|library| library.is_file())
}

fn open_log(directory: &Path) -> Result<Arc<dyn EventLog>> {
    Ok(LocalLog::open(LocalConfig::new(directory, 2))?)
}

async fn append(
    log: &Arc<dyn EventLog>,
    topic: Topic,
    partition: u32,
    values: &[Vec<u8>],
) -> Result<()> {
    let record = |value: &Vec<u8>| Record {
        key: Bytes::new(),
        value: value.clone().into(),
        at: RECEIVED_AT,
    };
    log.append(topic, partition, values.iter().map(record).collect()).await?;
    Ok(())
}

async fn execute(client: &Client, statement: &str) -> Result<()> {
    client.query_raw(statement).execute().await.with_context(|| statement.to_owned())
}

async fn ask(client: &Client, query: &str) -> Result<String> {
    let mut cursor = client.query_raw(query).fetch_bytes("TabSeparated")?;
    let answer = cursor.collect().await.with_context(|| query.to_owned())?;
    Ok(String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned())
}

async fn check(client: &Client, query: &str, expected: &str) -> Result<()> {
    let answer = ask(client, query).await?;
    ensure!(answer == expected, "{query}\n  answers {answer:?}\n  not     {expected:?}");
    Ok(())
}

/// Asks until the answer is as expected; the last other answer is the error.
async fn eventually(client: &Client, query: &str, expected: &str) -> Result<()> {
    for _ in 0..TRIES {
        if ask(client, query).await.is_ok_and(|answer| answer == expected) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check(client, query, expected).await
}
