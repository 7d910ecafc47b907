//! Makes a story happen: turns its faults into single acts, and does each at its time.

use super::installation::Installation;
use super::story::{Fault, Member, Story};
use anyhow::Result;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(50);
/// How soon a supervisor starts again what ended by itself.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How long is waited for an insert to be under way.
const INSERT_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Kill(Member),
    KillInserting,
    Stop(Member),
    Start(Member),
    LoseState(Member),
    Signal(Member, Signal),
    Cut(Member, bool),
    CutBetween(Member, Member, bool),
    Replace(Member),
}

/// What it came to.
#[derive(Debug, Default)]
pub struct Told {
    /// Every act with its time, and whatever else was seen.
    pub lines: Vec<String>,
    pub faults: usize,
    /// Times that ClickHouse was killed while an insert was under way.
    pub killed_inserting: usize,
    /// Times that a process of ours ended without having been told to.
    pub ended_by_themselves: usize,
}

pub struct Director {
    began: Instant,
    acts: Vec<(u64, Act)>,
    next: usize,
    /// Who is meant to be running.
    running: BTreeSet<Member>,
    restarts: Vec<(Instant, Member)>,
    /// What processes are replaced with.
    other_binary: PathBuf,
    pub told: Told,
}

/// Whether ClickHouse is writing a part of a table: it has this name until it is whole.
fn is_inserted_into(table: &Path) -> bool {
    let parts = std::fs::read_dir(table).into_iter().flatten().flatten();
    parts.into_iter().any(|part| part.file_name().to_string_lossy().starts_with("tmp_insert_"))
}

fn acts(story: &Story, can_cut: bool) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    for event in &story.events {
        let (at, end) = (event.at_ms, event.at_ms + event.for_ms);
        let pause = |member| {
            [(at, Act::Signal(member, Signal::STOP)), (end, Act::Signal(member, Signal::CONT))]
        };
        match &event.fault {
            Fault::Kill(member) => {
                acts.extend([(at, Act::Kill(*member)), (end, Act::Start(*member))])
            }
            Fault::KillInserting => {
                acts.extend([(at, Act::KillInserting), (end, Act::Start(Member::Warehouse))]);
            }
            Fault::StopBroker(n) => {
                let broker = Member::Broker(*n);
                acts.extend([(at, Act::Stop(broker)), (end, Act::Start(broker))]);
            }
            Fault::LoseState(n) => {
                let member = Member::Processor(*n);
                let lost = [Act::Kill(member), Act::LoseState(member)];
                acts.extend(lost.map(|act| (at, act)));
                acts.push((end, Act::Start(member)));
            }
            Fault::Pause(member) => acts.extend(pause(*member)),
            Fault::Cut(member) if can_cut => {
                acts.extend([(at, Act::Cut(*member, true)), (end, Act::Cut(*member, false))]);
            }
            Fault::CutBetween(one, other) if can_cut => acts.extend([
                (at, Act::CutBetween(*one, *other, true)),
                (end, Act::CutBetween(*one, *other, false)),
            ]),
            Fault::Cut(member) | Fault::CutBetween(member, _) => acts.extend(pause(*member)),
            Fault::NoBrokers | Fault::KillEverything => {
                let members = event.fault.members();
                acts.extend(members.iter().map(|it| (at, Act::Kill(*it))));
                acts.extend(members.iter().map(|it| (end, Act::Start(*it))));
            }
            Fault::Replace(member) => acts.push((at, Act::Replace(*member))),
        }
    }
    // Stable: what belongs together stays in order.
    acts.sort_by_key(|(at, _)| *at);
    acts
}

impl Director {
    /// The story begins now.
    #[must_use]
    pub fn new(story: &Story, can_cut: bool, other_binary: PathBuf) -> Self {
        Self {
            began: Instant::now(),
            acts: acts(story, can_cut),
            next: 0,
            running: Member::all().into_iter().collect(),
            restarts: Vec::new(),
            other_binary,
            told: Told { faults: story.events.len(), ..Told::default() },
        }
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn note(&mut self, what: &str) {
        self.told.lines.push(format!("{:8.1} s  {what}", self.elapsed().as_secs_f64()));
    }

    /// Does what is due; true when nothing is left to do.
    pub async fn tick(&mut self, installation: &mut Installation) -> Result<bool> {
        tokio::time::sleep(TICK).await;
        while let Some((at_ms, act)) = self.acts.get(self.next).copied() {
            if self.elapsed() < Duration::from_millis(at_ms) {
                break;
            }
            self.next += 1;
            self.note(&format!("{act:?}"));
            self.act(act, installation).await?;
        }
        self.supervise(installation)?;
        Ok(self.next == self.acts.len())
    }

    async fn act(&mut self, act: Act, installation: &mut Installation) -> Result<()> {
        match act {
            Act::Kill(member) => {
                self.running.remove(&member);
                installation.kill(member)
            }
            Act::KillInserting => {
                self.wait_for_insert(installation).await;
                self.running.remove(&Member::Warehouse);
                installation.kill(Member::Warehouse)
            }
            Act::Stop(broker) => {
                self.running.remove(&broker);
                installation.signal(broker, Signal::TERM)
            }
            Act::Start(member) => {
                self.running.insert(member);
                installation.start(member)
            }
            Act::LoseState(member) => installation.lose_state(member),
            Act::Signal(member, signal) => installation.signal(member, signal),
            Act::Cut(member, cut) => installation.hosts.cut(installation.host(member), cut),
            Act::CutBetween(one, other, cut) => {
                let (one, other) = (installation.host(one), installation.host(other));
                installation.hosts.cut_between(one, other, cut)
            }
            Act::Replace(member) => {
                installation.stop(member).await?;
                installation.set_binary(member, &self.other_binary)?;
                installation.start(member)?;
                installation.wait_ready(member).await
            }
        }
    }

    /// Waits a moment for an insert to be under way, and counts when one is.
    async fn wait_for_insert(&mut self, installation: &Installation) {
        let tables = installation.tables();
        let began = Instant::now();
        while began.elapsed() < INSERT_WITHIN {
            if tables.iter().any(|table| is_inserted_into(table)) {
                self.told.killed_inserting += 1;
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Starts again what ended by itself, as whatever runs the processes would.
    fn supervise(&mut self, installation: &mut Installation) -> Result<()> {
        for member in self.running.clone() {
            let ended = installation.take_ended(member);
            let Some(how) = ended.inspect_err(|bug| self.note(&bug.to_string()))? else { continue };
            self.note(&how);
            self.told.ended_by_themselves += 1;
            self.restarts.push((Instant::now() + RESTART_AFTER, member));
        }
        let due = |it: &(Instant, Member)| it.0 <= Instant::now();
        let now: Vec<Member> = self.restarts.iter().filter(|it| due(it)).map(|it| it.1).collect();
        self.restarts.retain(|it| !due(it));
        for member in now {
            if self.running.contains(&member) && !installation.is_running(member) {
                installation.start(member)?;
            }
        }
        Ok(())
    }
}
