//! Every report over two months of traffic (ten million conversions of one root offer, a hundred
//! million clicks), asked over HTTP as people ask; the funnel beside a bare count of the same rows;
//! and the memory of the largest exports.

use crate::context::Context;
use crate::history::load::KEEP_FREE_BYTES;
use crate::history::{BEGIN_MS, CLICKS, END_MS, History, ROOT};
use crate::installation::Installation;
use crate::results::{Line, Series, Target};
use anyhow::{Result, ensure};
use hyper::StatusCode;
use std::time::Instant;

const SEED: u64 = 20_261_101;
const FUNNEL_TARGET: Target = Target::P95RatioAtMost(1.5);
/// An export may need no more memory for all rows than for a part of them.
const MEMORY_TARGET: Target = Target::RatioAtMost(1.25);

/// Each report as it is asked for, and what to call it.
const REPORTS: &[(&str, &str)] = &[
    ("funnel, root offer and clones", "report/funnel?offer=star-miner&clones=true"),
    ("funnel, one offer", "report/funnel?offer=star-miner-3"),
    (
        "funnel, one offer, by publisher and day",
        "report/funnel?offer=star-miner-3&by=publisher,day",
    ),
    ("funnel, one offer, with times", "report/funnel?offer=star-miner-3&times=true"),
    ("cohorts, one offer", "report/cohorts?offer=star-miner-3"),
    ("time to convert, one offer", "report/time-to-convert?offer=star-miner-3"),
    ("time to convert", "report/time-to-convert?tenant=bench"),
    ("rejections", "report/rejections?tenant=bench"),
    ("on hold", "report/on-hold?tenant=bench"),
    ("performance, a week", "report/performance?from=2026-10-01&to=2026-10-07"),
    ("performance", "report/performance?tenant=bench"),
    ("silence", "report/silence?tenant=bench"),
    ("caps", "report/caps?tenant=bench"),
    ("statement", "report/statement?publisher=pub-3&month=2026-10"),
    ("invoice", "report/invoice?advertiser=adv-0&month=2026-10"),
    ("margin", "report/margin?tenant=bench&month=2026-10"),
    ("newest 100 conversions, one offer", "report/conversions?offer=star-miner-3&limit=100"),
    ("newest 100 postbacks", "report/postbacks?limit=100"),
    (
        "newest 100 clicks, one offer, a day",
        "report/clicks?offer=star-miner-3&from=2026-10-31&limit=100",
    ),
    ("refused credentials", "refused?limit=100"),
];
/// The same export of a week and of everything.
const EXPORTS: [&str; 2] = [
    "export/conversions?format=parquet&from=2026-10-05&to=2026-10-11",
    "export/conversions?format=parquet",
];

/// The largest export takes minutes, so it is not repeated as often as the reports.
const EXPORT_RUNS_MAX: usize = 2;

const FUNNELS: [&str; 2] =
    ["the funnel's conversions, as written", "the funnel's conversions, merged"];
const RECONCILED: &str = "reconciliation, a week";
const EXPORTED: [&str; 2] = ["export: peak memory of gokart", "export"];
const RECONCILIATION: &str = "report/reconciliation?advertiser=adv-3&from=2026-10-05&to=2026-10-11";

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    context.plan(planned());
    let history = History::new(SEED, context.sized(CLICKS));
    let installation = Installation::start(context.scratch(), &history.documents()).await?;
    let client = installation.client()?;
    let began = Instant::now();
    let progress = |steps| context.progress("rows", steps);
    let keep_free = context.sized(KEEP_FREE_BYTES);
    history.load(&client, context.scratch(), keep_free, progress).await?;
    let loaded = began.elapsed().as_secs();
    let size = installation.size(&client).await?;
    let note = format!("{} to {}: {size}; made in {loaded} s", day(BEGIN_MS), day(END_MS - 1));

    context.part(FUNNELS[0], funnel(context, &installation, FUNNELS[0], note.clone())).await;
    for month in ["202609", "202610"] {
        let merge = format!("OPTIMIZE TABLE conversions_latest PARTITION {month} FINAL");
        client.query(&merge).with_setting("max_execution_time", "300").execute().await?;
    }
    context.part(FUNNELS[1], funnel(context, &installation, FUNNELS[1], note)).await;
    for (what, path) in REPORTS {
        context.part(what, latency(context, &installation, what, path, None)).await;
    }
    let reconciliation = async {
        let theirs = theirs(&installation).await?;
        latency(context, &installation, RECONCILED, RECONCILIATION, Some(&theirs)).await
    };
    context.part(RECONCILED, reconciliation).await;
    exports(context, &installation).await?;
    installation.stop()?;
    Ok(Vec::new())
}

/// Every line, so that it can be said which there is not.
fn planned() -> impl Iterator<Item = &'static str> {
    let reports = REPORTS.iter().map(|(what, _)| *what);
    FUNNELS.into_iter().chain(reports).chain([RECONCILED]).chain(EXPORTED)
}

/// The standard funnel, as the report asks ClickHouse, against counting the same rows.
async fn funnel(
    context: &Context,
    installation: &Installation,
    what: &str,
    note: String,
) -> Result<Line> {
    let client = installation.client()?;
    let parts: u64 = client
        .query(
            "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() \
             AND table = 'conversions_latest'",
        )
        .fetch_one()
        .await?;
    let scope = format!("root_offer_id = '{ROOT}' AND NOT test");
    let ours = admin::report::funnel::statement(false, &[], "received_at", &scope);
    let baseline = format!(
        "SELECT offer_id, event_id, count() FROM conversions_current WHERE {scope} \
         GROUP BY offer_id, event_id"
    );
    let rows: u64 = client
        .query(&format!("SELECT count() FROM conversions_current WHERE {scope}"))
        .fetch_one()
        .await?;
    let statements = [ours, baseline];
    let sides = ["funnel's statement", "count() GROUP BY offer, event"];
    let series = context
        .interleave(what, sides, async |side, _| {
            let began = Instant::now();
            let mut answer = client.query(&statements[side]).fetch_bytes("JSONEachRow")?;
            let bytes = answer.collect().await?.len();
            ensure!(bytes > 0, "an empty answer");
            Ok(began.elapsed().as_secs_f64())
        })
        .await?;
    let p95 = series
        .iter()
        .map(|it| format!("{:.3} s ({})", crate::measure::quantile(&it.values, 0.95), it.name))
        .collect::<Vec<_>>()
        .join(", ");
    Ok(Line {
        what: what.to_owned(),
        unit: "s".into(),
        series: series.into(),
        target: Some(FUNNEL_TARGET),
        notes: vec![
            note,
            format!(
                "{rows} conversions of one root offer and its clones; {parts} parts; p95 {p95}"
            ),
        ],
    })
}

async fn latency(
    context: &Context,
    installation: &Installation,
    what: &str,
    path: &str,
    body: Option<&str>,
) -> Result<Line> {
    let mut refusals = Vec::new();
    let [series] = context
        .interleave(what, ["over HTTP"], async |_, _| {
            let began = Instant::now();
            let (status, answer) = installation.answer(path, body).await?;
            // What is too much for one report is a result, too.
            if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::GATEWAY_TIMEOUT) {
                refusals.push(status);
            } else {
                let shown = String::from_utf8_lossy(&answer[..answer.len().min(500)]);
                ensure!(status.is_success(), "{path}: {status} {shown}");
            }
            Ok(began.elapsed().as_secs_f64())
        })
        .await?;
    let p95 = crate::measure::quantile(&series.values, 0.95);
    let refused = match refusals.first() {
        Some(status) => format!("; {} of them REFUSED with {status}", refusals.len()),
        None => String::new(),
    };
    Ok(Line {
        what: what.to_owned(),
        unit: "s".into(),
        series: vec![series],
        target: None,
        notes: vec![format!("p95 {p95:.2} s: {path}{refused}")],
    })
}

/// What the advertiser counted: what we have of a week, a hundredth of it missing.
async fn theirs(installation: &Installation) -> Result<String> {
    let client = installation.client()?;
    let mut rows = client
        .query(
            "SELECT click_id, toString(event_id) AS event_id, toString(revenue) AS revenue, \
             toString(currency) AS currency FROM conversions_current \
             WHERE advertiser_id = 'adv-3' AND toDate(received_at) >= '2026-10-05' \
             AND toDate(received_at) <= '2026-10-11' AND cityHash64(conversion_id) % 100 > 0 \
             LIMIT 400000",
        )
        .fetch_bytes("CSVWithNames")?;
    Ok(String::from_utf8(rows.collect().await?.to_vec())?)
}

/// Kept after each run, for the next one takes minutes.
async fn exports(context: &Context, installation: &Installation) -> Result<()> {
    let mut peak = [const { Vec::new() }; 2];
    let mut rate = [const { Vec::new() }; 2];
    let mut rows = [0; 2];
    let runs = context.runs().min(EXPORT_RUNS_MAX);
    let progress = context.progress("exports", 2 * runs as u64);
    for _ in 0..runs {
        for (side, path) in EXPORTS.into_iter().enumerate().rev() {
            installation.forget_peak()?;
            let began = Instant::now();
            rows[side] = installation.drain(path).await?;
            rate[side].push(rows[side] as f64 / began.elapsed().as_secs_f64());
            peak[side].push(installation.peak_resident_bytes()? as f64 / f64::from(1 << 20));
            progress.inc(1);
        }
        let note = format!(
            "conversions as Parquet, read as fast as they come: {} and {} rows; not more than \
             {EXPORT_RUNS_MAX} runs, for the larger one takes minutes",
            rows[1], rows[0]
        );
        let line = |what: &str, unit: &str, [week, all]: &[Vec<f64>; 2], target| Line {
            what: what.to_owned(),
            unit: unit.to_owned(),
            series: [("everything", all), ("a week", week)]
                .map(|(name, values)| Series { name: name.to_owned(), values: values.clone() })
                .into(),
            target,
            notes: vec![note.clone()],
        };
        context.keep(line(EXPORTED[0], "MiB", &peak, Some(MEMORY_TARGET)));
        context.keep(line(EXPORTED[1], "rows/s", &rate, None));
    }
    progress.finish_and_clear();
    Ok(())
}

fn day(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| at.strftime("%Y-%m-%d").to_string())
        .unwrap_or_default()
}
