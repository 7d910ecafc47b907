//! From being accepted to being visible to a query, with everything on one machine.

use crate::context::Context;
use crate::load::{Pace, load, without_rate};
use crate::results::{Line, Series, Target};
use ::tests::kafka::Kafka;
use ::tests::process::built;
use ::tests::stack::{Stack, examples};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// How long the most is looked for, and how long half of it is held, in seconds.
const MOST_S: u64 = 10;
const STEADY_S: u64 = 20;
const SETTLE: Duration = Duration::from_secs(5);
const VISIBLE_WITHIN_S: f64 = 1.0;

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let local = Stack::local_in_real_time().await?.context("there is no engine")?;
    let lines = of(context, local, "gokart up", ("up", "up")).await?;
    lines.into_iter().for_each(|line| context.keep(line));
    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let roles = Stack::on_kafka_in_real_time(&kafka).await?.context("there is no engine")?;
    of(context, roles, "a process for each role, on Kafka", ("ingest", "sink")).await
}

/// The example's budget is used up within seconds here, and then clicks are led elsewhere.
fn without_budget(context: &Context, stack: &Stack) -> Result<()> {
    const LINE: &str = "\nbudget: ";
    let files = std::fs::read_dir(examples())?;
    let texts = files.map(|file| Ok(std::fs::read_to_string(file?.path())?));
    let documents = texts.collect::<Result<Vec<String>>>()?.join("\n---\n");
    let (before, after) = documents.split_once(LINE).context("the examples have no budget")?;
    let after = after.split_once('\n').map_or("", |(_, after)| after);
    ensure!(!after.contains(LINE), "more than one of the examples has a budget");
    let file = context.scratch().join("without-budget.yaml");
    std::fs::write(&file, format!("{before}\n{after}"))?;
    stack.gokart(&["apply", &file.display().to_string()])?;
    Ok(())
}

async fn of(
    context: &Context,
    mut stack: Stack,
    name: &str,
    (listening, sink): (&'static str, &'static str),
) -> Result<Vec<Line>> {
    let (most_s, steady_s) = (context.sized(MOST_S).max(2), context.sized(STEADY_S).max(2));
    without_rate(&mut stack, listening).await?;
    without_budget(context, &stack)?;
    // Links answer once the configuration has come through everywhere.
    stack.click("pet-the-dogs-ios", "acme-rewards", "").await?;
    let found = load(context, &stack, Pace::AsFastAsPossible, most_s, 1_000, None)?;
    let most = found["answered_per_s"].as_f64().context("no rate")?;
    let rate = ((most / 2.0) as u64).max(1);
    tokio::time::sleep(SETTLE).await;
    let (mut visible, mut rates) = (Vec::new(), Vec::new());
    let progress = context.progress(name, context.runs() as u64);
    for run in 0..context.runs() {
        let ledger = context.scratch().join(format!("ledger-{sink}-{run}"));
        let before = freshness(&stack.metrics(sink).await?);
        let report = load(context, &stack, Pace::Rate(rate), steady_s, run, Some(&ledger))?;
        verify(&stack, &ledger)?;
        let after = freshness(&stack.metrics(sink).await?);
        visible.push(quantile(&before, &after, 0.99)?);
        rates.push(report["answered_per_s"].as_f64().context("no rate")?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let series = |values| vec![Series { name: name.to_owned(), values }];
    Ok(vec![
        Line {
            what: format!("accepted until visible, p99, at half of the most: {name}"),
            unit: "s".into(),
            series: series(visible),
            target: Some(Target::AtMost(VISIBLE_WITHIN_S)),
            notes: vec![
                format!(
                    "{rate} requests a second for {steady_s} s; by the buckets of gokart_sink_freshness_seconds"
                ),
                "every accepted postback of each run was then found in ClickHouse, once".into(),
            ],
        },
        Line {
            what: format!("answers a second at most, everything running: {name}"),
            unit: "requests/s".into(),
            series: series(vec![most]),
            target: None,
            notes: vec![format!(
                "one run of {most_s} s, 128 connections, the load tool on the same cores"
            )],
        },
    ])
}

/// Looks every accepted postback up; an error if one is not there once.
fn verify(stack: &Stack, ledger: &std::path::Path) -> Result<()> {
    let token = stack.data().join("warehouse-read.token");
    let output = Command::new(built("loadtest")?)
        .args(["verify", "--ledger"])
        .arg(ledger)
        .args(["--clickhouse", &format!("http://{}", stack.warehouse), "--user", "reader"])
        .arg("--token-file")
        .arg(token)
        .output()?;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    ensure!(output.status.success(), "loadtest verify: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Counts by upper bound, in milliseconds (Prometheus' cumulative buckets).
fn freshness(metrics: &str) -> BTreeMap<u64, f64> {
    let lines = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("gokart_sink_freshness_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        let bound_ms = if bound.is_finite() { (bound * 1_000.0) as u64 } else { u64::MAX };
        Some((bound_ms, count.parse().ok()?))
    });
    lines.collect()
}

/// A quantile of what came between, in seconds, evenly spread within a bucket.
fn quantile(before: &BTreeMap<u64, f64>, after: &BTreeMap<u64, f64>, quantile: f64) -> Result<f64> {
    let since = |bound: &u64, count: &f64| count - before.get(bound).copied().unwrap_or(0.0);
    let all = after.get(&u64::MAX).map(|count| since(&u64::MAX, count)).context("no histogram")?;
    ensure!(all > 0.0, "nothing became visible");
    let wanted = all * quantile;
    let (mut lower_ms, mut below) = (0.0, 0.0);
    for (bound, count) in after {
        let upto = since(bound, count);
        if upto >= wanted {
            ensure!(*bound != u64::MAX, "slower than the last bucket");
            let share = (wanted - below) / (upto - below).max(f64::MIN_POSITIVE);
            return Ok((lower_ms + share * (*bound as f64 - lower_ms)) / 1_000.0);
        }
        (lower_ms, below) = (*bound as f64, upto);
    }
    unreachable!("the last bucket holds all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_what_came_between() {
        let text = |fast: u32, all: u32| {
            format!(
                "gokart_sink_freshness_seconds_bucket{{le=\"0.5\"}} {fast}\n\
                 gokart_sink_freshness_seconds_bucket{{le=\"1\"}} {all}\n\
                 gokart_sink_freshness_seconds_bucket{{le=\"+Inf\"}} {all}\n"
            )
        };
        let (before, after) = (freshness(&text(1_000, 5_000)), freshness(&text(1_098, 5_100)));
        let seconds = quantile(&before, &after, 0.99).unwrap();
        assert!((seconds - 0.75).abs() < 1e-9, "{seconds}");
        assert!(quantile(&before, &before, 0.99).is_err());
    }
}
