//! Peers: the same postbacks in our processor, in Kafka Streams and in Benthos, on one broker.
//!
//! All sides read the same records, join them with the configuration of their event, let each event
//! of a click through once and write decisions of one form. Ours does more: it opens click ids and
//! applies all rules.

use crate::context::Context;
use crate::deciding::{Still, Took, decide};
use crate::peers::outcomes::Outcomes;
use crate::peers::{Kind, Peer, Place, events, table};
use crate::postbacks::{EVENTS, Extras, fill};
use crate::results::{Line, Series};
use crate::topics::{Written, create, create_table, ends};
use anyhow::{Context as _, Result, ensure};
use tests::kafka::Kafka;
use tests::stack::PARTITIONS;

/// Clicks of one run; each has two events.
const CLICKS: u64 = 90_000;
/// With two events a click, one postback in ten is a repeat.
const EXTRAS: Extras = Extras { offer_is_told: true, repeated_every: Some(9) };
const OURS: &str = "gokart processor";

/// What the peers do and promise, beside what ours does and promises.
const NOTES: [&str; 4] = [
    "gokart opens sealed click ids and applies caps, budgets, sequence, pending times and money, \
     exactly once; its state is in its changelog; it tells repeats as decisions of their own",
    "Kafka Streams joins a global table and drops repeats with a RocksDB store and its changelog, \
     exactly once (v2), commit interval 100 ms, a thread a core, G1, 1 GB of heap at most",
    "Benthos joins a table in its mapping and drops repeats with a cache in memory: at least once, \
     and a restart forgets what was seen; it has no exactly once",
    "REDPANDA CONNECT ITSELF IS NOT MEASURED: its module is not under an open-source licence; this \
     is its engine (Benthos 4.60, MIT) with a Kafka input and output of our own over franz-go",
];

/// What was measured of one side.
#[derive(Default)]
struct Side {
    took: Vec<Took>,
    written: Written,
}

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let (mut peers, mut left_out) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        match kind.build()? {
            Ok(peer) => peers.push(peer),
            Err(missing) => left_out.push(format!("{} IS LEFT OUT: {missing}", kind.name())),
        }
    }
    for note in &left_out {
        eprintln!("peers: {note}");
    }
    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let Still { mut stack, version, brokers } = Still::on(&kafka, context).await?;
    let prefix = stack.topic_prefix().to_owned();
    let (input, decisions) = (format!("{prefix}postbacks"), format!("{prefix}decisions"));
    let place =
        Place { brokers: &brokers, prefix: &prefix, input: &input, scratch: context.scratch() };
    let rows = events(version).into_iter().map(|(key, row)| (key, row.to_string()));
    create_table(&brokers, &table(&place), rows).await?;
    let outputs: Vec<String> = peers.iter().map(|peer| peer.output(&place)).collect();
    let made: Vec<&str> = outputs.iter().map(String::as_str).collect();
    create(&brokers, &made, PARTITIONS).await?;

    let clicks = context.sized(CLICKS);
    let names: Vec<&str> =
        std::iter::once(OURS).chain(peers.iter().map(|peer| peer.kind().name())).collect();
    let mut sides: Vec<Side> = names.iter().map(|_| Side::default()).collect();
    let (mut from, mut inputs) = (Vec::new(), 0);
    let rates = context
        .interleave_all_warm("inputs a second", &names, async |side, run| {
            let begin = run as u64 * clicks;
            let clicks = begin..begin + clicks;
            let distinct = (clicks.end - clicks.start) * EVENTS.len() as u64;
            let repeated = EXTRAS.repeated(clicks.clone());
            if side == 0 {
                from = ends(&brokers, &input, PARTITIONS)?;
                fill(&stack, &brokers, version, clicks, EXTRAS).await?;
                let now = ends(&brokers, &input, PARTITIONS)?;
                inputs = now.iter().zip(&from).map(|(now, from)| (now - from) as u64).sum();
                ensure!(inputs == distinct + repeated, "{inputs} records came to {input}");
            }
            let peer: Option<&Peer> = side.checked_sub(1).map(|at| &peers[at]);
            let output = side.checked_sub(1).map_or(&decisions, |at| &outputs[at]);
            let output_from = ends(&brokers, output, PARTITIONS)?;
            let took = match peer {
                None => decide(&mut stack, inputs).await?,
                Some(peer) => peer.decide(&place, version, &from, inputs, run).await?,
            };
            let (outcomes, written) = Outcomes::of(&brokers, output, &output_from)?;
            // A peer writes nothing of a repeat.
            let told = if peer.is_none() { repeated } else { 0 };
            outcomes.check(distinct, told).with_context(|| names[side].to_owned())?;
            sides[side].took.push(took);
            sides[side].written = written;
            Ok(inputs as f64 / took.seconds)
        })
        .await?;

    for side in &mut sides {
        side.took.remove(0);
    }
    let mut notes = left_out;
    notes.extend(NOTES.map(Into::into));
    notes.push(sizes(inputs, &names, &sides));
    notes.push("every side has dropped every repeat, or there would be no result".into());
    let line = |what: &str, unit: &str, notes: Vec<String>, value: &dyn Fn(&Took) -> f64| Line {
        what: what.into(),
        unit: unit.into(),
        series: series(&names, &sides, value),
        target: None,
        notes,
    };
    let by_cpu = |cpu_seconds: f64| inputs as f64 / cpu_seconds;
    Ok(vec![
        Line {
            what: "postbacks decided a second".into(),
            unit: "inputs/s".into(),
            series: rates,
            target: None,
            notes,
        },
        line(
            "postbacks decided by CPU-second, start-up and all",
            "inputs/CPU-s",
            vec!["from the process's start to its last commit".into()],
            &|took| by_cpu(took.cpu_seconds),
        ),
        line(
            "postbacks decided by CPU-second from the first output on",
            "inputs/CPU-s",
            vec!["without starting; the JVM goes on compiling what it runs most".into()],
            &|took| by_cpu(took.warm_cpu_seconds),
        ),
        line(
            "postbacks decided by CPU-second in the second half",
            "inputs/CPU-s",
            vec!["the JVM has compiled most by then; a longer run would show a little more".into()],
            &|took| by_cpu(took.late_cpu_seconds),
        ),
        line("greatest resident memory", "MB", Vec::new(), &|took| took.resident_mb),
    ])
}

fn series(names: &[&str], sides: &[Side], value: &dyn Fn(&Took) -> f64) -> Vec<Series> {
    let each = names.iter().zip(sides);
    let values = each.map(|(name, side)| Series {
        name: (*name).to_owned(),
        values: side.took.iter().map(value).collect(),
    });
    values.collect()
}

fn sizes(inputs: u64, names: &[&str], sides: &[Side]) -> String {
    let each = names.iter().zip(sides).map(|(name, side)| {
        format!("{name} {} of {} bytes", side.written.records, side.written.mean_bytes())
    });
    let written: Vec<String> = each.collect();
    format!(
        "{inputs} postbacks a run over 16 offers and {PARTITIONS} partitions, one in ten a repeat; \
         decisions written: {}",
        written.join(", ")
    )
}
