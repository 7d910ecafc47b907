//! Is the generated traffic such as the sink writes? A small history in the real tables of a real
//! installation: every column is filled, every value is one that the product knows, the same seed
//! gives the same rows, and the reports make sense of them.

use anyhow::{Result, ensure};
use bench::context::Context;
use bench::history::{CLICKS, EVENTS, History, ROOT, publisher};
use bench::installation::Installation;
use clickhouse::Client;
use indicatif::ProgressBar;
use schemas::{ConversionId, Flag, Outcome, Platform, Reason};
use std::collections::BTreeSet;
use tests::stack::engine_library;

const SMALL: u64 = CLICKS / 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_as_the_sink_would_have_written_it() -> Result<()> {
    if engine_library().is_none() {
        return Ok(());
    }
    let (scratch, history) = (tempfile::tempdir()?, History::new(7, SMALL));
    let installation = Installation::start(scratch.path(), &history.documents()).await?;
    let client = installation.client()?;
    columns(&client, &history).await?;
    let none = |_| ProgressBar::hidden();
    history.load(&client, scratch.path(), 0, none).await?;
    values(&client).await?;
    let before = counts(&client).await?;
    relations(&client, &history, &before).await?;

    // The same seed gives the same rows: they collapse with those that are there.
    history.load(&client, scratch.path(), 0, none).await?;
    ensure!(counts(&client).await? == before, "{:?} is not {before:?}", counts(&client).await?);

    let funnel = installation.ask(&format!("report/funnel?offer={ROOT}&clones=true"), None).await?;
    let funnel: serde_json::Value = serde_json::from_slice(&funnel)?;
    let mut below = funnel["groups"][0]["clicks"].as_u64().unwrap_or(0);
    let steps = funnel["groups"][0]["steps"].as_array().cloned().unwrap_or_default();
    ensure!(steps.len() == 4, "{funnel}");
    for step in &steps {
        let reached = step["reached"].as_u64().unwrap_or(u64::MAX);
        ensure!(reached > 0 && reached < below, "{funnel}");
        below = reached;
    }
    let path = format!("report/statement?publisher={}&month=2026-10", publisher(1));
    let statement: serde_json::Value =
        serde_json::from_slice(&installation.ask(&path, None).await?)?;
    ensure!(statement["rows"].as_array().is_some_and(|it| it.len() > 2), "{statement}");
    installation.stop()
}

/// The whole area, so that `make bench` does not end after ten minutes of making rows. Its numbers
/// mean nothing here.
#[tokio::test(flavor = "multi_thread")]
async fn every_report_and_export_can_be_measured() -> Result<()> {
    if engine_library().is_none() {
        return Ok(());
    }
    let context = Context::new("reports", 1, CLICKS / SMALL)?;
    let mut lines = bench::areas::measure("reports", &context).await?;
    let kept = context.take();
    lines.extend(kept.lines);
    ensure!(lines.len() > 20, "{} lines", lines.len());
    ensure!(
        kept.missing.is_empty() && kept.planned.is_empty(),
        "{:?} {:?}",
        kept.missing,
        kept.planned
    );
    for line in &lines {
        let values = line.series.iter().flat_map(|it| &it.values);
        ensure!(values.clone().count() > 0 && values.clone().all(|it| *it > 0.0), "{}", line.what);
        ensure!(!line.notes.concat().contains("REFUSED"), "{}: {:?}", line.what, line.notes);
    }
    Ok(())
}

/// Every column that the sink fills, and no other.
async fn columns(client: &Client, history: &History) -> Result<()> {
    for filled in history.statements() {
        let names: Vec<String> = client
            .query(
                "SELECT name FROM system.columns WHERE database = currentDatabase() \
                 AND table = ? AND default_kind = ''",
            )
            .bind(filled.table)
            .fetch_all()
            .await?;
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let filled_in: BTreeSet<&str> = filled.columns.iter().map(|(name, _)| *name).collect();
        ensure!(wanted == filled_in, "{}: {wanted:?} is not {filled_in:?}", filled.table);
    }
    Ok(())
}

/// Whatever is an enum or an id in the product.
async fn values(client: &Client) -> Result<()> {
    let distinct = async |expression: &str, from: &str| -> Result<Vec<String>> {
        let sql = format!("SELECT DISTINCT toString({expression}) FROM {from}");
        Ok(client.query(&sql).fetch_all::<String>().await?)
    };
    let known = |values: &[String], known: &dyn Fn(&str) -> bool| -> Result<()> {
        ensure!(!values.is_empty(), "no rows");
        let strange: Vec<&String> = values.iter().filter(|it| !known(it)).collect();
        ensure!(strange.is_empty(), "{strange:?}");
        Ok(())
    };
    let reason = |text: &str| text.is_empty() || text.parse::<Reason>().is_ok();
    known(&distinct("reason", "conversions").await?, &reason)?;
    known(&distinct("reason", "postbacks").await?, &reason)?;
    known(&distinct("outcome", "postbacks").await?, &|it| it.parse::<Outcome>().is_ok())?;
    known(&distinct("arrayJoin(flags)", "clicks").await?, &|it| it.parse::<Flag>().is_ok())?;
    let platform = |text: &str| text.is_empty() || text.parse::<Platform>().is_ok();
    known(&distinct("platform", "clicks").await?, &platform)?;
    let status = |text: &str| matches!(text, "Pending" | "Success" | "Rejected");
    known(&distinct("status", "conversions").await?, &status)?;
    known(&distinct("event_id", "conversions").await?, &|it| EVENTS.contains(&it))?;
    known(&distinct("conversion_id", "conversions").await?, &|it| ConversionId::new(it).is_ok())?;
    known(&distinct("currency", "conversions").await?, &|it| it.len() == 3)?;
    ensure!(distinct("currency", "conversions").await?.len() > 2, "one currency only");
    Ok(())
}

/// Clicks, conversions, revisions, postbacks: each once, as its views show them.
async fn counts(client: &Client) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for view in
        ["clicks_unique", "conversions_current", "conversions_revisions", "postbacks_unique"]
    {
        let sql = format!("SELECT count() FROM {view}");
        counts.push(client.query(&sql).fetch_one().await?);
    }
    Ok(counts)
}

async fn relations(client: &Client, history: &History, counts: &[u64]) -> Result<()> {
    let number = async |sql: &str| -> Result<u64> { Ok(client.query(sql).fetch_one().await?) };
    ensure!(counts[0] == history.clicks, "{counts:?}");
    // At full size, ten million below the root offer.
    let family = number(&format!(
        "SELECT count() FROM conversions_current WHERE root_offer_id = '{ROOT}' AND NOT test"
    ))
    .await?;
    let wanted = history.clicks / 10;
    ensure!(family.abs_diff(wanted) < wanted / 8, "{family} conversions, not about {wanted}");
    ensure!(counts[2] > counts[1] && counts[3] > counts[1], "{counts:?}");
    for (what, sql) in [
        (
            "of a click that is not there",
            "SELECT count() FROM conversions WHERE click_id NOT IN (SELECT click_id FROM clicks)",
        ),
        (
            "without its postback",
            "SELECT count() FROM conversions WHERE postback_id NOT IN \
             (SELECT toNullable(postback_id) FROM postbacks WHERE outcome != 'duplicate')",
        ),
        (
            "with a gap in its revisions",
            "SELECT count() FROM (SELECT conversion_id FROM conversions GROUP BY conversion_id \
             HAVING max(revision) != uniqExact(revision))",
        ),
        (
            "received before its click",
            "SELECT count() FROM conversions WHERE received_at < clicked_at OR decided_at < received_at",
        ),
    ] {
        let found = number(sql).await?;
        ensure!(found == 0, "{found} conversions {what}");
    }
    let repeated = number("SELECT toUInt64(count() - uniqExact(click_id)) FROM clicks").await?;
    ensure!(repeated > 0, "no row is there twice");
    Ok(())
}
