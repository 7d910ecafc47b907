//! "What would these rules have decided", asked of the real binary over the local log and the
//! engine: a renamed event counts in the replay's own tables, and nothing live changes.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use tests::kafka::Kafka;
use tests::process;
use tests::stack::{Stack, examples};

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
/// What the partner calls its install, which the configuration does not know.
const RENAMED: &str = "first_open";
const HOUR_MS: i64 = 3_600_000;
const USERS: u64 = 3;

/// `gokart replay` on this installation; on the local log while it is stopped.
fn replay(stack: &Stack, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let path = |name: &str| stack.directory_of(name).display().to_string();
    let (clock, warehouse) = (path("clock"), stack.warehouse.to_string());
    let own = ["--clock-file", &clock, "--partitions", "4"];
    let output = match stack.kafka() {
        None => {
            let (data, engine) = (path("data"), std::fs::read_to_string(path("engine"))?);
            let here = ["--data", &data, "--warehouse-listen", &warehouse];
            let engine = ["--engine-library", &engine];
            process::run(&[&["replay"], more, &own, &here, &engine].concat())?
        }
        Some((log, prefix)) => {
            let (data, keys) = (path("replay"), path("master-keys"));
            let token = stack.data().join("warehouse-write.token").display().to_string();
            let clickhouse = format!("http://{warehouse}");
            let log = ["--log", log, "--topic-prefix", prefix, "--replication", "1"];
            let there = ["--clickhouse", &clickhouse, "--clickhouse-token-file", &token];
            let here = ["--data", &data, "--master-key-file", &keys];
            process::run(&[&["replay"], more, &own, &log, &there, &here].concat())?
        }
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), said(&output.stdout), said(&output.stderr)))
}

fn replayed(stack: &Stack, more: &[&str]) -> Result<Vec<Value>> {
    let (code, out, err) = replay(stack, &[more, &["--format", "json"]].concat())?;
    ensure!(code == Some(0), "{code:?}: {out}{err}");
    Ok(serde_json::from_str(&out)?)
}

/// Rows and checksum of every live table, as its readers see it.
async fn contents(stack: &Stack) -> Result<BTreeMap<String, Value>> {
    let tables = "SELECT name FROM system.tables WHERE database = 'gokart' AND engine LIKE '%MergeTree' \
        ORDER BY name";
    let mut contents = BTreeMap::new();
    for row in stack.sql(tables, &[]).await? {
        let name = row["name"].as_str().context("no name")?.to_owned();
        // As text: the hash of a tuple with a null in it would be null.
        let sum = format!(
            "SELECT count() AS n, groupBitXor(cityHash64(toString(tuple(*)))) AS hash FROM {name} FINAL"
        );
        contents.insert(name, Value::from(stack.sql(&sum, &[]).await?));
    }
    ensure!(contents.len() > 8, "too few tables: {contents:?}");
    ensure!(contents.values().all(|sum| !sum[0]["hash"].is_null()), "no checksum: {contents:?}");
    Ok(contents)
}

async fn unchanged(stack: &Stack, before: &BTreeMap<String, Value>) -> Result<()> {
    for (table, now) in contents(stack).await? {
        let was = before.get(&table);
        ensure!(was == Some(&now), "the live table {table} has changed from {was:?} to {now}");
    }
    Ok(())
}

/// Postbacks with such an outcome live and replayed.
fn count(rows: &[Value], live: [&str; 3], replay: [&str; 3]) -> u64 {
    let is = |row: &&Value| {
        let at = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ["outcome", "status", "reason"].iter().enumerate().all(|(index, column)| {
            at(&format!("live_{column}")) == live[index]
                && at(&format!("replay_{column}")) == replay[index]
        })
    };
    rows.iter().filter(is).filter_map(|row| row["postbacks"].as_u64()).sum()
}

/// The example's offer, whose install has another name too.
fn with_alias(stack: &Stack) -> Result<String> {
    for entry in std::fs::read_dir(examples())? {
        let text = std::fs::read_to_string(entry?.path())?;
        if let Some((before, after)) = text.split_once("- id: Install\n")
            && text.contains(&format!("id: {OFFER}\n"))
        {
            let indent = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 2;
            let alias = format!("{}aliases: [{RENAMED}]\n", " ".repeat(indent));
            let file = stack.data().join("renamed.yaml");
            std::fs::write(&file, format!("{before}- id: Install\n{alias}{after}"))?;
            return Ok(file.display().to_string());
        }
    }
    anyhow::bail!("the offer is not among the examples")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_event_counts_in_tables_of_its_own() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    // One user long before; its sub-ids have no room in the click id.
    let long = format!("?sub1={}&sub2=b", "long-sub-id-".repeat(12));
    let early = stack.click(OFFER, PUBLISHER, &long).await?;
    stack.accepted(&path, &early, RENAMED).await?;
    stack.decided(&early, 1).await?;
    stack.advance_ms(2 * HOUR_MS)?;
    let from = time(&stack)?;
    let mut clicks = vec![early.clone()];
    for _ in 0..USERS {
        let click = stack.click(OFFER, PUBLISHER, "").await?;
        stack.accepted(&path, &click, RENAMED).await?;
        stack.accepted(&path, &click, "s2s_level+200").await?;
        stack.accepted(&path, &click, "nonsense").await?;
        stack.decided(&click, 3).await?;
        clicks.push(click);
    }
    stack.accepted(&path, &early, "s2s_level+200").await?;
    stack.decided(&early, 2).await?;
    stack.advance_ms(HOUR_MS)?;
    let to = time(&stack)?;
    let documents = with_alias(&stack)?;
    let before = contents(&stack).await?;

    let running = replay(&stack, &["--from", &from])?;
    ensure!(running.0 == Some(1) && running.2.contains("stop `gokart up`"), "{running:?}");
    stack.stop()?;

    // Under the configuration in force everything is decided as it was.
    let refused = ["rejected", "", "UNKNOWN_EVENT"];
    let waiting = ["waiting", "Pending", "WAITING_SEQUENCE"];
    let same = replayed(&stack, &["--from", &from, "--to", &to, "--into", "same"])?;
    ensure!(count(&same, refused, refused) == 2 * USERS, "{same:?}");
    ensure!(count(&same, waiting, waiting) == USERS + 1, "{same:?}");
    ensure!(same.len() == 2, "{same:?}");

    // Under the mended one the installs count, and so do those that waited for them; also for the
    // user whose install lies before the span.
    let mended = ["--from", &from, "--to", &to, "--into", "mended", "--documents", &documents];
    let rows = replayed(&stack, &mended)?;
    let success = ["accepted", "Success", ""];
    ensure!(count(&rows, refused, success) == USERS, "{rows:?}");
    ensure!(count(&rows, refused, refused) == USERS, "{rows:?}");
    let released: u64 = rows
        .iter()
        .filter(|row| row["live_outcome"] == "waiting" && row["replay_status"] == "Success")
        .filter_map(|row| row["postbacks"].as_u64())
        .sum();
    ensure!(released == USERS + 1, "{rows:?}");
    let install = rows
        .iter()
        .find(|row| row["live_reason"] == "UNKNOWN_EVENT" && row["replay_status"] == "Success");
    let install = install.context("no line")?;
    ensure!(install["currency"] == "USD" && install["live_revenue"] == "0.00", "{rows:?}");
    ensure!(install["replay_revenue"].as_str().is_some_and(|it| it != "0.00"), "{rows:?}");
    // A name is used once, and without the history the early click's details are not found.
    let again = replay(&stack, &mended)?;
    ensure!(again.0 == Some(78) && again.2.contains("--drop mended"), "{again:?}");
    let short = ["--from", &from, "--history", "0", "--documents", &documents, "--into", "short"];
    let (code, out, err) = replay(&stack, &short)?;
    ensure!(code == Some(0), "{out}{err}");
    ensure!(out.contains("1 conversions are of older") && out.contains("--drop short"), "{out}");
    ensure!(!stack.data().join("replay").join("short").exists(), "its state was left behind");

    stack.start_role("up").await?;
    unchanged(&stack, &before).await?;
    let subs =
        "SELECT sub2 FROM gokart_replay_mended.conversions_current WHERE click_id = {c:String}";
    let found = stack.sql(subs, &[("c", &early)]).await?;
    ensure!(found.len() == 2 && found.iter().all(|row| row["sub2"] == "b"), "{found:?}");
    let listed = replayed(&stack, &["--list"])?;
    let names: Vec<_> = listed.iter().filter_map(|row| row["replay"].as_str()).collect();
    ensure!(names == ["mended", "same", "short"], "{listed:?}");
    for name in names {
        let (code, out, err) = replay(&stack, &["--drop", name])?;
        ensure!(code == Some(0), "{out}{err}");
    }
    ensure!(replayed(&stack, &["--list"])?.is_empty());
    ensure!(replay(&stack, &["--drop", "same"])?.0 == Some(1));
    // Live goes on as if nothing had been: the event is still unknown.
    stack.accepted(&path, &clicks[1], RENAMED).await?;
    let rows = stack.decided(&clicks[1], 4).await?;
    ensure!(rows.iter().filter(|row| row.reason == "UNKNOWN_EVENT").count() == 3, "{rows:?}");
    stack.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_apache_kafka_it_runs_beside_the_roles() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    let Some(mut stack) = Stack::on_kafka(&kafka).await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let click = stack.click(OFFER, PUBLISHER, "").await?;
    for event in [RENAMED, "s2s_level+200"] {
        stack.accepted(&path, &click, event).await?;
    }
    stack.decided(&click, 2).await?;
    // Rows of one flush come into one table after the other.
    let arrived = "SELECT toUInt32((SELECT count() FROM clicks_unique) \
        + (SELECT count() FROM conversions_current)) AS n";
    stack
        .eventually("the click and its conversion", || async {
            Ok((stack.sql(arrived, &[]).await?[0]["n"] == 2).then_some(()))
        })
        .await?;
    let (before, documents) = (contents(&stack).await?, with_alias(&stack)?);
    let rows = replayed(&stack, &["--into", "mended", "--documents", &documents])?;
    let success = ["accepted", "Success", ""];
    ensure!(count(&rows, ["rejected", "", "UNKNOWN_EVENT"], success) == 1, "{rows:?}");
    unchanged(&stack, &before).await?;
    // The groups of the roles were left alone: they go on.
    stack.accepted(&path, &click, "Install").await?;
    stack.decided(&click, 3).await?;
    let (code, out, err) = replay(&stack, &["--drop", "mended"])?;
    ensure!(code == Some(0), "{out}{err}");
    stack.stop()
}

fn time(stack: &Stack) -> Result<String> {
    Ok(jiff::Timestamp::from_millisecond(stack.now())?.to_string())
}
