//! The processor: postbacks decided with full rules, state, timers and invariants, against a
//! transactional copy loop that reads the same input and writes as many records and bytes.

use crate::bare;
use crate::context::Context;
use crate::postbacks::{apply, fill};
use crate::process::{cpu_seconds, peak_resident_bytes};
use crate::results::{Line, Series, Target};
use crate::topics::{Written, create, ends, written};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use tests::kafka::Kafka;
use tests::process::Process;
use tests::stack::{PARTITIONS, Stack};

/// Clicks of one run; each has two events.
const CLICKS: u64 = 100_000;
const EVENTS: u64 = 2;
/// Each look is a request for all metrics, which the processor pays for.
const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(300);
const COPIED_DECISIONS: &str = "copied-decisions";
const COPIED_STATE: &str = "copied-state";

/// What one side of one run took.
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let kafka = Kafka::start()?.context("there is no Apache Kafka")?;
    let mut stack = Stack::on_kafka_in_real_time(&kafka).await?.context("there is no engine")?;
    let version = apply(&stack, context.scratch())?;
    for role in ["ingest", "sink", "processor", "warehouse", "admin"] {
        stack.process(role)?.kill()?;
    }
    let brokers = kafka.url.trim_start_matches("kafka://").to_owned();
    let topic = |name: &str| format!("{}{name}", stack.topic_prefix());
    let (input, decisions, state) =
        (topic("postbacks"), topic("decisions"), topic("processor-state"));
    let (copied_decisions, copied_state) = (topic(COPIED_DECISIONS), topic(COPIED_STATE));
    create(&brokers, &[&copied_decisions, &copied_state], PARTITIONS).await?;
    let clicks = context.sized(CLICKS);
    let inputs = clicks * EVENTS;

    let mut cpu: [Vec<f64>; 2] = Default::default();
    let mut resident = Vec::new();
    let mut per_input: Option<[Written; 2]> = None;
    let mut from = Vec::new();
    let names = ["gokart processor", "transactional copy loop"];
    let rates = context
        .interleave("inputs a second", names, async |side, run| {
            let took = if side == 0 {
                from = ends(&brokers, &input, PARTITIONS)?;
                let before = [&decisions, &state].map(|it| ends(&brokers, it, PARTITIONS));
                let [decisions_from, state_from] = before;
                let begin = run as u64 * clicks;
                fill(&stack, &brokers, version, begin..begin + clicks).await?;
                let (took, most) = decide(&mut stack, inputs).await?;
                resident.push(most);
                per_input = Some([
                    written(&brokers, &decisions, &decisions_from?)?,
                    written(&brokers, &state, &state_from?)?,
                ]);
                took
            } else {
                let [decided, changed] = per_input.as_ref().context("nothing was decided")?;
                let outputs =
                    [(&copied_decisions, decided), (&copied_state, changed)].map(|(topic, it)| {
                        format!("{topic}:{}:{}", it.records * 1_000 / inputs, it.mean_bytes())
                    });
                copy(context, &brokers, &input, &from, inputs, &outputs, run)?
            };
            cpu[side].push(inputs as f64 / took.cpu_seconds);
            Ok(inputs as f64 / took.seconds)
        })
        .await?;

    let [decided, changed] = per_input.context("nothing was decided")?;
    let sizes = format!(
        "{inputs} postbacks a run over 16 offers and {PARTITIONS} partitions; {:.2} decisions of {} \
         bytes and {:.2} changes of state of {} bytes for each",
        decided.records as f64 / inputs as f64,
        decided.mean_bytes(),
        changed.records as f64 / inputs as f64,
        changed.mean_bytes(),
    );
    let [ours, theirs] = cpu;
    Ok(vec![
        Line {
            what: "postbacks decided a second".into(),
            unit: "inputs/s".into(),
            series: rates.into(),
            target: Some(Target::RatioAtLeast(0.85)),
            notes: vec![sizes, "the broker shares the two cores".into()],
        },
        Line {
            what: "postbacks decided by CPU-second of the process".into(),
            unit: "inputs/CPU-s".into(),
            series: vec![
                Series { name: names[0].into(), values: ours },
                Series { name: names[1].into(), values: theirs },
            ],
            target: None,
            notes: vec!["from the process's start to its last commit".into()],
        },
        Line {
            what: "greatest resident memory of the processor".into(),
            unit: "MB".into(),
            series: vec![Series { name: names[0].into(), values: resident }],
            target: None,
            notes: vec![],
        },
    ])
}

/// Starts the processor, waits until it has decided so many, and kills it.
async fn decide(stack: &mut Stack, inputs: u64) -> Result<(Took, f64)> {
    stack.start_role("processor").await?;
    let pid = stack.process("processor")?.pid();
    let began = Instant::now();
    let mut first: Option<(Instant, u64)> = None;
    loop {
        let decided = decided(&stack.metrics("processor").await?);
        if decided > 0 && first.is_none() {
            first = Some((Instant::now(), decided));
        }
        if decided >= inputs {
            break;
        }
        stack.process("processor")?.check_alive()?;
        ensure!(began.elapsed() < PATIENCE, "{decided} of {inputs} were decided in {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
    let (at, already) = first.context("nothing was decided")?;
    let seconds = at.elapsed().as_secs_f64() * inputs as f64 / (inputs - already).max(1) as f64;
    let took = Took { seconds, cpu_seconds: cpu_seconds(pid)? };
    let most = peak_resident_bytes(pid)? as f64 / 1e6;
    stack.process("processor")?.stop()?;
    Ok((took, most))
}

/// Postbacks that the processor has counted as accepted: here all are.
fn decided(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("gokart_postbacks_decided_total") && line.contains("outcome=\"accepted\"")
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

fn copy(
    context: &Context,
    brokers: &str,
    input: &str,
    from: &[i64],
    inputs: u64,
    outputs: &[String],
    run: usize,
) -> Result<Took> {
    let offsets: Vec<String> = from.iter().map(ToString::to_string).collect();
    let (count, partitions) = (inputs.to_string(), PARTITIONS.to_string());
    let (offsets, id) = (offsets.join(","), format!("{input}-copy-{run}"));
    let mut arguments = vec!["copy", "--brokers", brokers, "--from", input, "--count", &count];
    arguments.extend(["--partitions", &partitions, "--offsets", &offsets]);
    arguments.extend(["--transactional-id", &id]);
    for output in outputs {
        arguments.extend(["--to", output]);
    }
    let mut process: Process = bare::start(&format!("copy-{run}"), context.scratch(), &arguments)?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = process.ended()? {
            break status;
        }
        ensure!(began.elapsed() < PATIENCE, "the copy loop does not end: {}", process.output());
        std::thread::sleep(POLL);
    };
    let said = process.output();
    ensure!(status.success(), "the copy loop ended with {status}: {said}");
    let last = said.lines().last().unwrap_or_default();
    let (seconds, cpu) = last.split_once(' ').with_context(|| format!("it said {said:?}"))?;
    Ok(Took { seconds: seconds.parse()?, cpu_seconds: cpu.parse()? })
}
