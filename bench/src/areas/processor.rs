//! The processor: postbacks decided with full rules, state, timers and invariants, against a
//! transactional copy loop that reads the same input and writes as many records and bytes.

use crate::bare;
use crate::context::Context;
use crate::deciding::{PATIENCE, POLL, Still, decide};
use crate::postbacks::{Extras, fill};
use crate::results::{Line, Series, Target};
use crate::topics::{Written, create, ends, written};
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;
use tests::kafka::Kafka;
use tests::process::Process;
use tests::stack::PARTITIONS;

/// Clicks of one run; each has two events.
const CLICKS: u64 = 200_000;
const EVENTS: u64 = 2;
const COPIED_DECISIONS: &str = "copied-decisions";
const COPIED_STATE: &str = "copied-state";

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let Still { mut stack, version, brokers } = Still::on(&kafka, context).await?;
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
        .interleave_warm("inputs a second", names, async |side, run| {
            let took = if side == 0 {
                from = ends(&brokers, &input, PARTITIONS)?;
                let before = [&decisions, &state].map(|it| ends(&brokers, it, PARTITIONS));
                let [decisions_from, state_from] = before;
                let begin = run as u64 * clicks;
                let clicks = begin..begin + clicks;
                fill(&stack, &brokers, version, clicks, Extras::default()).await?;
                let took = decide(&mut stack, inputs).await?;
                resident.push(took.resident_mb);
                per_input = Some([
                    written(&brokers, &decisions, &decisions_from?)?,
                    written(&brokers, &state, &state_from?)?,
                ]);
                (took.seconds, took.cpu_seconds)
            } else {
                let [decided, changed] = per_input.as_ref().context("nothing was decided")?;
                let outputs =
                    [(&copied_decisions, decided), (&copied_state, changed)].map(|(topic, it)| {
                        format!("{topic}:{}:{}", it.records * 1_000 / inputs, it.mean_bytes())
                    });
                copy(context, &brokers, &input, &from, inputs, &outputs, run)?
            };
            let (seconds, cpu_seconds) = took;
            cpu[side].push(inputs as f64 / cpu_seconds);
            Ok(inputs as f64 / seconds)
        })
        .await?;

    for series in cpu.iter_mut().chain([&mut resident]) {
        series.remove(0);
    }
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

/// Seconds, and CPU-seconds of the process.
fn copy(
    context: &Context,
    brokers: &str,
    input: &str,
    from: &[i64],
    inputs: u64,
    outputs: &[String],
    run: usize,
) -> Result<(f64, f64)> {
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
    Ok((seconds.parse()?, cpu.parse()?))
}
