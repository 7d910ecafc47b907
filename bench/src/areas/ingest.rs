//! The ingester: postbacks checked and durable on Apache Kafka, against bare hyper that answers
//! the same requests, with and without one Kafka record for each.

use crate::bare;
use crate::context::Context;
use crate::load::{Pace, bare_location, load, load_bare, without_rate};
use crate::process::{cpu_seconds, peak_resident_bytes};
use crate::requests::as_fast_as_possible;
use crate::results::{Line, Series, Target};
use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tests::kafka::Kafka;
use tests::process::{Process, free_address};
use tests::stack::{Stack, TENANT_HOST};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
/// How long each side is driven in each run, in milliseconds.
const DRIVEN_MS: u64 = 8_000;
/// How long latency is measured, in seconds.
const STEADY_S: u64 = 20;
const BARE_UP_WITHIN: Duration = Duration::from_secs(10);
const RESIDENT_MAX_MB: f64 = 100.0;
const P999_MAX_MS: f64 = 20.0;
/// Of the most; what cannot be taken is shed.
const OVERLOAD: f64 = 2.0;
const SLOWEST_MAX_S: f64 = 2.0;
/// The load tool waits so long for an answer.
const GIVEN_UP_S: f64 = 5.0;

struct Side {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
}

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let mut stack = Stack::on_kafka_in_real_time(&kafka).await?.context("there is no engine")?;
    let click = stack.click("pet-the-dogs-ios", "acme-rewards", "").await?;
    let signed = stack.postback_path("brain-games")?;
    let path = format!("{signed}&gk_click_id={click}&cnv_event_id=Install&gaid=38400000-8cf0");
    without_rate(&mut stack, "ingest").await?;
    // Only the ingester is measured: nothing else has its records to work on.
    for role in ["sink", "processor", "warehouse"] {
        stack.process(role)?.kill()?;
    }
    let (bare, plain) = bare_side(context, "bare hyper, 204", &[]).await?;
    let topic = format!("{}clicks", stack.topic_prefix());
    let brokers = kafka.url.trim_start_matches("kafka://");
    let to_kafka = ["--brokers", brokers, "--topic", &topic];
    let (producing, produce) = bare_side(context, "bare hyper + Kafka produce", &to_kafka).await?;
    let gokart =
        Side { name: "gokart ingest", address: stack.ingest, pid: stack.process("ingest")?.pid() };
    let sides = [&gokart, &plain, &produce];

    let driven = Duration::from_millis(context.sized(DRIVEN_MS).max(500));
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut brokers_micros: [Vec<f64>; 3] = Default::default();
    let names = sides.map(|it| it.name);
    let per_cpu = context
        .interleave_warm("requests by CPU-second", names, async |side, _| {
            let it = sides[side];
            let before = cpu_seconds(it.pid)?;
            let broker_before = kafka.pid().map(cpu_seconds).transpose()?;
            let answered =
                as_fast_as_possible(it.address, TENANT_HOST, &path, CONNECTIONS, driven).await?;
            if let (Some(pid), Some(before)) = (kafka.pid(), broker_before) {
                let micros = (cpu_seconds(pid)? - before) * 1e6 / answered.count as f64;
                brokers_micros[side].push(micros);
            }
            rates[side].push(answered.count as f64 / answered.seconds);
            Ok(answered.count as f64 / (cpu_seconds(it.pid)? - before))
        })
        .await?;
    drop((bare, producing));
    for series in rates.iter_mut().chain(&mut brokers_micros).filter(|it| !it.is_empty()) {
        series.remove(0);
    }

    let [ours, plain, produce] = per_cpu;
    let [our_rates, plain_rates, produce_rates] = rates;
    let most = crate::measure::median(&our_rates);
    let wall = |name: &str, values: Vec<f64>| Series { name: name.to_owned(), values };
    let requests = format!("{CONNECTIONS} connections, the same signed GET, {driven:?} a run");
    let mut lines = vec![
        Line {
            what: "durable postbacks by CPU-second of the ingester".into(),
            unit: "requests/CPU-s".into(),
            series: vec![ours.clone(), plain],
            target: Some(Target::RatioAtLeast(0.80)),
            notes: vec![requests.clone()],
        },
        Line {
            what: "the same against hyper that writes to Kafka".into(),
            unit: "requests/CPU-s".into(),
            series: vec![ours, produce],
            target: None,
            notes: vec![],
        },
        Line {
            what: "durable postbacks a second, all on one machine".into(),
            unit: "requests/s".into(),
            series: vec![
                wall(names[0], our_rates),
                wall(names[2], produce_rates),
                wall(names[1], plain_rates),
            ],
            target: None,
            notes: vec!["the client and the broker share the two cores".into()],
        },
    ];
    let [ours, _, produce] = brokers_micros;
    if !ours.is_empty() {
        lines.push(Line {
            what: "CPU of the broker for each postback".into(),
            unit: "µs".into(),
            series: vec![wall(names[0], ours), wall(names[2], produce)],
            target: None,
            notes: vec!["a record each, in batches as they come; one copy of it".into()],
        });
    }
    // What there is is kept, whatever becomes of the rest.
    lines.into_iter().for_each(|line| context.keep(line));
    let location = bare_location();
    let redirecting = [&to_kafka[..], &["--location", &location]].concat();
    let (redirecting, redirects) =
        bare_side(context, "bare hyper + Kafka produce, clicks", &redirecting).await?;
    context.keep(latency(context, &stack, &redirects, most / 2.0).await?);
    drop(redirecting);
    context.keep(overload(context, &stack, most * OVERLOAD)?);
    let resident = peak_resident_bytes(stack.process("ingest")?.pid())? as f64 / 1e6;
    Ok(vec![Line {
        what: "greatest resident memory of the ingester".into(),
        unit: "MB".into(),
        series: vec![wall("gokart ingest", vec![resident])],
        target: Some(Target::AtMost(RESIDENT_MAX_MB)),
        notes: vec!["over all of the above".into()],
    }])
}

/// A bare server that answers.
async fn bare_side(
    context: &Context,
    name: &'static str,
    further: &[&str],
) -> Result<(Process, Side)> {
    let address = free_address()?;
    let listen = address.to_string();
    let arguments = [&["server", "--listen", listen.as_str()], further].concat();
    let mut process = bare::start(&name.replace(' ', "-"), context.scratch(), &arguments)?;
    let up = async {
        while TcpStream::connect(address).await.is_err() {
            process.check_alive()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(BARE_UP_WITHIN, up).await.context("a bare server does not listen")??;
    let pid = process.pid();
    Ok((process, Side { name, address, pid }))
}

/// p99.9 at a steady rate, from the intended starts, by the load tool; beside it what a server has that
/// only writes a record.
async fn latency(context: &Context, stack: &Stack, bare: &Side, rate: f64) -> Result<Line> {
    let seconds = context.sized(STEADY_S).max(2);
    let pace = (rate as u64).max(1);
    let series = context
        .interleave(
            "latency at half of the most",
            ["gokart ingest", bare.name],
            async |side, run| {
                let report = match side {
                    0 => load(context, stack, Pace::Rate(pace), seconds, run, None)?,
                    _ => load_bare(context, bare.address, Pace::Rate(pace), seconds, 1_000 + run)?,
                };
                let shed = report["all"]["shed"].as_u64().unwrap_or(0);
                ensure!(shed == 0, "{shed} requests were shed at half of the most");
                report["all"]["latency"]["p999_ms"].as_f64().context("no p99.9")
            },
        )
        .await?;
    Ok(Line {
        what: "answer to clicks and postbacks at half of the most, p99.9".into(),
        unit: "ms".into(),
        series: series.into(),
        target: Some(Target::AtMost(P999_MAX_MS)),
        notes: vec![
            format!(
                "{pace} requests a second for {seconds} s, open loop, from the intended start; durable on one broker"
            ),
            "the broker, the load tool and the server share the two cores; bare hyper redirects every request".into(),
        ],
    })
}

/// The slowest answer when more is sent than can be taken: from the moment when it is sent, for
/// nobody can answer what has not come yet.
fn overload(context: &Context, stack: &Stack, rate: f64) -> Result<Line> {
    let seconds = context.sized(STEADY_S / 2).max(2);
    let rate = (rate as u64).max(1);
    let (mut values, mut shed, mut failed) = (Vec::new(), 0, 0);
    let progress = context.progress("the slowest answer at twice the most", context.runs() as u64);
    for run in 0..context.runs() {
        let report = load(context, stack, Pace::Rate(rate), seconds, 100 + run, None)?;
        let answered_s = report["service"]["max_ms"].as_f64().context("no slowest answer")? / 1e3;
        let unanswered = report["all"]["failed"].as_u64().unwrap_or(0);
        values.push(if unanswered > 0 { GIVEN_UP_S.max(answered_s) } else { answered_s });
        shed += report["all"]["shed"].as_u64().unwrap_or(0);
        failed += unanswered;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(Line {
        what: "the slowest answer to clicks and postbacks at twice the most".into(),
        unit: "s".into(),
        series: vec![Series { name: "gokart ingest".into(), values }],
        target: Some(Target::AtMost(SLOWEST_MAX_S)),
        notes: vec![format!(
            "{rate} requests a second asked for, for {seconds} s, over 128 connections; from the moment of \
             sending; {shed} were answered 503 and {failed} not at all"
        )],
    })
}
