//! How the cost of a decision grows: with clicks in state, with offers, and with partitions, each
//! once, ten times and a hundred times as many, with the real binary on a real Apache Kafka.
//!
//! A processor has every partition and its whole input before anything is counted, so its start is
//! in no number. State is copied from a click that was really decided ([`crate::state`]), and the
//! postbacks of old clicks are accepted only if those clicks are found in it.

mod decider;
mod site;

use crate::context::Context;
use crate::measure::median;
use crate::postbacks::OFFERS;
use crate::results::{Line, Series};
use ::tests::kafka::Kafka;
use ::tests::stack::{PARTITIONS, Stack};
use anyhow::{Context as _, Result};
use decider::{Decider, Took};
use site::{Site, Size};

const CLICKS: u64 = 100_000;
/// Of a run; of old clicks fewer, if there are not as many for all runs.
const POSTBACKS: u64 = 30_000;

const BY_STATE: &str = "by clicks in state";
const BY_OFFERS: &str = "by offers";
const BY_PARTITIONS: &str = "by partitions";
const IDLE_LINE: &str = "CPU of a processor that has nothing to do, by partitions";
const START_LINE: &str = "from the start of a processor until it decides everywhere, by partitions";

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    for (dimension, kinds) in
        [(BY_STATE, &["new", "old"][..]), (BY_OFFERS, &["new"]), (BY_PARTITIONS, &["new"])]
    {
        for kind in kinds {
            context.plan([cpu_line(kind, dimension), second_line(kind, dimension)]);
        }
        context.plan([memory_line(dimension)]);
    }
    context.plan([IDLE_LINE, START_LINE]);

    let kafka = Kafka::start_as_shipped()?.context("there is no Apache Kafka")?;
    let mut stack = Stack::on_kafka_in_real_time(&kafka).await?.context("there is no engine")?;
    for role in ["ingest", "processor", "sink"] {
        stack.process(role)?.stop()?;
    }
    let clicks = context.sized(CLICKS);
    let size = Size { clicks, offers: OFFERS, partitions: PARTITIONS };
    let mut make = async |name: &str, size| Site::make(context, &mut stack, name, size).await;
    let mut base = make("base", size).await?;

    let mut ten = make("clicks-10", Size { clicks: 10 * clicks, ..size }).await?;
    let mut hundred = make("clicks-100", Size { clicks: 100 * clicks, ..size }).await?;
    by_state(context, [&mut base, &mut ten, &mut hundred]).await?;

    let mut ten = make("offers-10", Size { offers: 10 * OFFERS, ..size }).await?;
    let mut hundred = make("offers-100", Size { offers: 100 * OFFERS, ..size }).await?;
    by_offers(context, [&mut base, &mut ten, &mut hundred]).await?;

    // Of few offers, most partitions would have nothing to decide.
    let (size, mut base) = (hundred.size, hundred);
    let mut ten = make("partitions-10", Size { partitions: 10 * PARTITIONS, ..size }).await?;
    let mut hundred = make("partitions-100", Size { partitions: 100 * PARTITIONS, ..size }).await?;
    by_partitions(context, [&mut base, &mut ten, &mut hundred]).await?;
    Ok(Vec::new())
}

fn cpu_line(kind: &str, dimension: &str) -> String {
    format!("postbacks of {kind} clicks by CPU-second of the processor, {dimension}")
}

fn second_line(kind: &str, dimension: &str) -> String {
    format!("postbacks of {kind} clicks a second, {dimension}")
}

fn memory_line(dimension: &str) -> String {
    format!("resident memory of the processor, {dimension}")
}

async fn by_state(context: &Context, mut sites: [&mut Site; 3]) -> Result<()> {
    let names = [0, 1, 2].map(|at| format!("{} clicks", sites[at].size.clicks));
    let each = names.each_ref().map(String::as_str);
    let old_postbacks = postbacks(context).min(sites[0].size.clicks / context.runs() as u64);
    let (mut old, mut new) = (Measured::default(), Measured::default());
    let what = cpu_line("new", BY_STATE);
    context
        .interleave(&what, each, async |side, _| {
            let site = &mut *sites[side];
            let mut decider = Decider::start(site).await?;
            let portions = site.new_clicks(postbacks(context))?;
            let took = decider.decide(site, portions).await?;
            new.add(side, took);
            decider.becomes_quiet().await?;
            let portions = site.old_clicks(old_postbacks)?;
            old.add(side, decider.decide(site, portions).await?);
            decider.stop()?;
            Ok(took.per_cpu_second())
        })
        .await?;
    let size = sites[0].size;
    let beside = format!(
        "two events a click in state, {} offers and {} partitions",
        size.offers, size.partitions
    );
    new.keep(context, "new", BY_STATE, &names, &[
        &beside,
        &format!(
            "two events each of {} clicks a run that nobody has heard of; they stay in the state",
            postbacks(context) / 2
        ),
    ]);
    old.keep(context, "old", BY_STATE, &names, &[
        &beside,
        &format!(
            "the third event of {old_postbacks} clicks a run, all over the state, accepted only where the \
             other two are found; the files of the state are in the page cache as far as it goes"
        ),
    ]);
    old.keep_memory(context, BY_STATE, &names, "after both");
    Ok(())
}

async fn by_offers(context: &Context, mut sites: [&mut Site; 3]) -> Result<()> {
    let names = [0, 1, 2].map(|at| format!("{} offers", sites[at].size.offers));
    let each = names.each_ref().map(String::as_str);
    let mut new = Measured::default();
    context
        .interleave(&cpu_line("new", BY_OFFERS), each, async |side, _| {
            let (_, took) = decided(context, sites[side]).await?;
            new.add(side, took);
            Ok(took.per_cpu_second())
        })
        .await?;
    let size = sites[0].size;
    let beside =
        format!("{} clicks in state at first, {} partitions", size.clicks, size.partitions);
    new.keep(context, "new", BY_OFFERS, &names, &[&beside]);
    new.keep_memory(context, BY_OFFERS, &names, "afterwards");
    Ok(())
}

async fn by_partitions(context: &Context, mut sites: [&mut Site; 3]) -> Result<()> {
    let names = [0, 1, 2].map(|at| format!("{} partitions", sites[at].size.partitions));
    let each = names.each_ref().map(String::as_str);
    let mut new = Measured::default();
    let (mut idle, mut started): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    context
        .interleave(&cpu_line("new", BY_PARTITIONS), each, async |side, _| {
            let (seen, took) = decided(context, sites[side]).await?;
            new.add(side, took);
            idle[side].push(seen.idle * 1e3);
            started[side].push(seen.started_s);
            Ok(took.per_cpu_second())
        })
        .await?;
    let size = sites[0].size;
    let beside = format!(
        "{} offers, {} clicks in state at first; all partitions on one broker and in one processor",
        size.offers, size.clicks
    );
    new.keep(
        context,
        "new",
        BY_PARTITIONS,
        &names,
        &[
            &beside,
            "the same postbacks are more and smaller batches where there are more partitions",
        ],
    );
    new.keep_memory(context, BY_PARTITIONS, &names, "afterwards");
    context.keep(line(IDLE_LINE.into(), "ms/s", &names, idle, &[&beside]));
    let note = "with a copy of the state that is whole, joining the group included";
    context.keep(line(START_LINE.into(), "s", &names, started, &[&beside, note]));
    Ok(())
}

/// What was seen before anything was decided.
struct Seen {
    idle: f64,
    started_s: f64,
}

/// A run with new clicks alone.
async fn decided(context: &Context, site: &mut Site) -> Result<(Seen, Took)> {
    let portions = site.new_clicks(postbacks(context))?;
    let mut decider = Decider::start(site).await?;
    let seen = Seen { idle: decider.idle().await?, started_s: decider.started_s };
    let took = decider.decide(site, portions).await?;
    decider.stop()?;
    Ok((seen, took))
}

fn postbacks(context: &Context) -> u64 {
    // Two a click.
    context.sized(POSTBACKS).next_multiple_of(2)
}

/// Every run of a kind of postbacks, by side.
#[derive(Default)]
struct Measured {
    runs: [Vec<Took>; 3],
}

impl Measured {
    fn add(&mut self, side: usize, took: Took) {
        self.runs[side].push(took);
    }

    fn values(&self, of: impl Fn(&Took) -> f64) -> [Vec<f64>; 3] {
        self.runs.each_ref().map(|runs| runs.iter().map(&of).collect())
    }

    fn keep(
        &self,
        context: &Context,
        kind: &str,
        dimension: &str,
        names: &[String; 3],
        notes: &[&str],
    ) {
        let per_cpu = self.values(|it| it.per_cpu_second());
        let per_second = self.values(|it| it.per_second());
        let cpu = line(cpu_line(kind, dimension), "postbacks/CPU-s", names, per_cpu, notes);
        let note = "the broker shares the cores";
        let second = second_line(kind, dimension);
        context.keep(cpu);
        context.keep(line(second, "postbacks/s", names, per_second, &[note]));
    }

    fn keep_memory(&self, context: &Context, dimension: &str, names: &[String; 3], when: &str) {
        let megabytes = self.values(|it| it.resident_bytes as f64 / 1e6);
        context.keep(line(memory_line(dimension), "MB", names, megabytes, &[when]));
    }
}

/// A line of three decades, with what the further ones are of the first.
fn line(
    what: String,
    unit: &str,
    names: &[String; 3],
    values: [Vec<f64>; 3],
    notes: &[&str],
) -> Line {
    let medians = values.each_ref().map(|it| median(it));
    let of_first = |at: usize| medians[at] / medians[0];
    let mut notes: Vec<String> = notes.iter().map(|&it| it.to_owned()).collect();
    notes.push(format!(
        "ten times as many: {:.2} of the first; a hundred times: {:.2}",
        of_first(1),
        of_first(2)
    ));
    let series = names.iter().zip(values);
    let series = series.map(|(name, values)| Series { name: name.clone(), values }).collect();
    Line { what, unit: unit.to_owned(), series, target: None, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_are_told_by_the_first() {
        let names = ["1", "10", "100"].map(str::to_owned);
        let values = [vec![10.0, 20.0, 30.0], vec![10.0], vec![5.0]];
        let line = line("x".into(), "u", &names, values, &["n"]);
        assert_eq!(
            line.notes,
            ["n", "ten times as many: 0.50 of the first; a hundred times: 0.25"]
        );
        assert_eq!(line.series.len(), 3);
        assert_eq!(line.reached(), None);
    }
}
