//! The promise, on a cluster that is broken under load from a seed (ADR 80): rows that are there
//! exactly once for what was accepted, and rows that lie there more than once.
//!
//! The harness is a process a story, so that each has a network of its own and what it checks in
//! memory is bounded by one story. Lines are kept after each.

use crate::context::Context;
use crate::results::{Line, Series, Target};
use ::tests::crash::run::Outcome;
use ::tests::process::{built, without_settings};
use anyhow::{Context as _, Result, anyhow};
use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Of the first story; each has the next one.
const SEED: u64 = 1;
/// How long faults come in a story, in seconds: everything of it is checked in memory, again and
/// again until it has settled.
const STORY_S: u64 = 75;
const STORY_MIN_S: u64 = 15;
/// Requests a second, clicks among them; more than the machine takes under faults is sent later.
const RATE: u64 = 1_000;
const EXACTLY_ONCE: Target = Target::Exactly(1.0);
/// Rows that lie there again, of all.
const REPEATS: Target = Target::AtMost(0.0001);
/// What the target asks for (`targets.md`): a run of ten minutes is a part of it.
const AIMED_POSTBACKS: u64 = 10_000_000;
const AIMED_FAULTS: usize = 500;

const LINES: [&str; 2] =
    ["rows present exactly once, of accepted postbacks", "rows that lie there more than once"];

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    context.plan(LINES);
    let lasting = context.stories_for();
    let began = Instant::now();
    let mut totals = Totals::default();
    let bar = context.progress("seconds of stories", lasting.as_secs());
    while totals.stories == 0 || began.elapsed() < lasting {
        let seed = SEED + totals.stories;
        bar.set_message(format!("seed {seed}"));
        let seconds = lasting.as_secs().clamp(STORY_MIN_S, STORY_S);
        let told = tell(context, seed, seconds).await;
        totals.stories += 1;
        match told {
            Ok((outcome, well)) => {
                totals.add(&outcome);
                if let Err(error) = well {
                    context.fails(&format!("all of seed {seed}"), &error);
                }
            }
            Err(error) => context.fails(&format!("seed {seed}"), &error),
        }
        bar.set_position(began.elapsed().as_secs());
        if totals.accepted > 0 {
            totals.lines(began.elapsed()).into_iter().for_each(|line| context.keep(line));
        }
    }
    bar.finish_and_clear();
    Ok(Vec::new())
}

/// One story; what it came to, and whether it ended well.
async fn tell(context: &Context, seed: u64, seconds: u64) -> Result<(Outcome, Result<()>)> {
    let path = |kind: &str| context.scratch().join(format!("story-{seed}.{kind}"));
    let (json, log) = (path("json"), path("log"));
    let output = File::create(&log)?;
    let mut command = Command::new(built("crash")?);
    without_settings(command.as_std_mut());
    command
        .args(["--story", "chaos", "--keep-repeats", "--minutes", "0"])
        .args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()])
        .args(["--rate", &RATE.to_string(), "--json"])
        .arg(&json)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Everything of a story ends with its process.
        .kill_on_drop(true);
    let status = command.status().await.context("the crash harness cannot be run")?;
    let said = std::fs::read_to_string(&log)?;
    eprintln!("{}", said.trim());
    let text = std::fs::read_to_string(&json).with_context(|| {
        format!("the story ended with {status} and left nothing: {}", end(&said))
    })?;
    let outcome: Outcome = serde_json::from_str(&text)?;
    let well = if outcome.ended_well && status.success() {
        Ok(())
    } else {
        Err(anyhow!("it ended badly ({status}): {}", first_failure(&said)))
    };
    Ok((outcome, well))
}

/// The last line.
fn end(said: &str) -> &str {
    said.trim().lines().last().unwrap_or_default()
}

/// The line that says what was wrong.
fn first_failure(said: &str) -> &str {
    said.lines().find(|line| line.starts_with("crash: ")).unwrap_or_else(|| end(said))
}

/// All stories together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    /// Begun, whatever became of them.
    stories: u64,
    /// Those whose rows could be counted.
    counted: u64,
    accepted: u64,
    there_once: u64,
    rows: usize,
    repeated_rows: usize,
    repeated_inputs: usize,
    sent_again: u64,
    faults: usize,
    by_kind: BTreeMap<String, usize>,
    killed_inserting: usize,
    could_cut: bool,
}

impl Totals {
    fn add(&mut self, it: &Outcome) {
        self.could_cut = it.could_cut;
        self.faults += it.faults;
        self.killed_inserting += it.killed_inserting;
        for (kind, count) in &it.faults_by_kind {
            *self.by_kind.entry(kind.clone()).or_default() += count;
        }
        self.counted += u64::from(it.accepted > 0);
        self.accepted += it.accepted;
        self.there_once += it.there_once;
        self.rows += it.rows;
        self.repeated_rows += it.repeated_rows;
        self.repeated_inputs += it.repeated_inputs;
        self.sent_again += it.sent_again;
    }

    fn lines(&self, took: Duration) -> Vec<Line> {
        let line = |what: &str, value: f64, target, notes| Line {
            what: what.to_owned(),
            unit: "share".into(),
            series: vec![Series { name: "gokart on a cluster".into(), values: vec![value] }],
            target: Some(target),
            notes,
        };
        let kinds = self.by_kind.iter().map(|(kind, count)| format!("{count} × {kind}"));
        let hosts = if self.could_cut {
            "each process on a host of its own"
        } else {
            "hosts could NOT be cut off here, and were suspended instead"
        };
        let exactly = vec![
            format!(
                "{} of {} accepted postbacks, through the views, and {} faults, in {} stories within {} s; \
                 aimed at are {AIMED_POSTBACKS} and {AIMED_FAULTS}, which is {:.1} % and {:.1} % of them",
                self.there_once,
                self.accepted,
                self.faults,
                self.counted,
                took.as_secs(),
                100.0 * self.accepted as f64 / AIMED_POSTBACKS as f64,
                100.0 * self.faults as f64 / AIMED_FAULTS as f64,
            ),
            format!("faults: {}; {hosts}", kinds.collect::<Vec<_>>().join(", ")),
            format!(
                "{} times ClickHouse was killed while a part of a table was being written; {} times a \
                 postback was sent again because its answer was a 5xx or did not come; {} records \
                 were written to the log again by a producer",
                self.killed_inserting, self.sent_again, self.repeated_inputs
            ),
            format!(
                "seeds from {SEED}, {RATE} requests a second; three nodes of Kafka, two ingesters, \
                 processors and sinks; each story was held against the naive rules too"
            ),
        ];
        let mut lines = vec![line(
            LINES[0],
            self.there_once as f64 / self.accepted.max(1) as f64,
            EXACTLY_ONCE,
            exactly,
        )];
        if self.rows > 0 {
            let note = format!(
                "{} of {} rows of postbacks and conversions as they lie in the tables, {:.1} for each fault; \
                 nothing was merged, so none was collapsed before it was counted; a fault came for every {} \
                 accepted postbacks, and the target is about one for every {}",
                self.repeated_rows,
                self.rows,
                self.repeated_rows as f64 / self.faults.max(1) as f64,
                self.accepted / self.faults.max(1) as u64,
                AIMED_POSTBACKS / AIMED_FAULTS as u64,
            );
            let share = self.repeated_rows as f64 / self.rows as f64;
            lines.push(line(LINES[1], share, REPEATS, vec![note]));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(accepted: u64, there_once: u64) -> Outcome {
        let faults_by_kind = BTreeMap::from([("suspended".to_owned(), 2)]);
        let (rows, repeated_rows) = (20_000, 1);
        let ended_well = accepted == there_once;
        Outcome {
            ended_well,
            faults: 2,
            faults_by_kind,
            accepted,
            there_once,
            rows,
            repeated_rows,
            ..Outcome::default()
        }
    }

    #[test]
    fn stories_add_up() {
        let mut totals = Totals::default();
        totals.add(&outcome(1_000, 1_000));
        totals.add(&outcome(0, 0));
        totals.add(&outcome(3_000, 3_000));
        let lines = totals.lines(Duration::from_secs(60));
        assert_eq!(lines.iter().map(Line::reached).collect::<Vec<_>>(), [Some(true), Some(true)]);
        assert!(lines[0].notes[0].starts_with("4000 of 4000 accepted postbacks"), "{lines:?}");
        assert!(lines[0].notes[1].starts_with("faults: 6 × suspended; hosts could NOT"));
        assert!(lines[1].notes[0].starts_with("3 of 60000 rows"), "{lines:?}");
        totals.add(&outcome(1_000, 999));
        assert_eq!(totals.lines(Duration::ZERO)[0].reached(), Some(false));
    }

    #[test]
    fn what_a_story_leaves_is_read() {
        let told = outcome(5, 4);
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), told);
        assert_eq!(first_failure("x\ncrash: seed 1: lost\nmore"), "crash: seed 1: lost");
        assert_eq!(first_failure("x\ny\n"), "y");
    }
}
