//! What happens in one simulation: a list of steps made from a seed, so that a failing one can be
//! shortened by leaving steps out.

use super::offers::{CLICKS, EVENTS};
use eventlog::simulated::Random;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use std::fmt;

pub const WORKERS: usize = 3;
pub const SINKS: usize = 2;
pub const INGESTERS: usize = 3;
/// Ingesters and processors whose clocks are further apart do not start.
const SKEW_MS_MAX: i64 = 90 * SECOND_MS;

/// How often something is wrong, in a thousand calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub append: u32,
    pub commit: u32,
    pub read: u32,
    pub insert: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Send {
        click: usize,
        event: usize,
        transaction: u64,
        rejects: bool,
    },
    /// The newest record but `back`, appended again as it is.
    Repeat {
        back: u64,
    },
    Unreadable {
        partition: u32,
    },
    Details {
        click: usize,
    },
    Command {
        nth: u64,
        approve: bool,
        over_limit: bool,
    },
    /// The newest postback but `back` is put back for decision, whatever became of it.
    Redecide {
        back: u64,
        preview: bool,
    },
    Apply,
    Advance {
        ms: i64,
    },
    IngesterClock {
        ingester: usize,
        skew_ms: i64,
    },
    WorkerClock {
        worker: usize,
        skew_ms: i64,
    },
    Weather(Weather),
    StartWorker(usize),
    CrashWorker(usize),
    PauseWorker(usize),
    ResumeWorker(usize),
    LoseDisk(usize),
    Move {
        partition: u32,
        nth: usize,
    },
    StartSink(usize),
    CrashSink(usize),
    CrashEverything,
    Run {
        rounds: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub seed: u64,
    pub steps: Vec<Step>,
}

impl Story {
    /// About `length` steps; the same seed always gives the same ones.
    pub fn of(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_5eed_5eed_5eed);
        let mut redecides = Random::new(seed ^ 0x4ede_c1de);
        let mut steps = Vec::with_capacity(length + length / 2);
        while steps.len() < length {
            steps.push(step(&mut random));
            if redecides.below(25) == 0 {
                let (back, preview) = (redecides.below(12), redecides.below(6) == 0);
                steps.push(Step::Redecide { back, preview });
            }
            // How far everybody gets before the next thing happens.
            if random.below(3) > 0 {
                let rounds = [1, 2, 3, 5, 8, 20, 90][random.below(7) as usize];
                steps.push(Step::Run { rounds });
            }
        }
        Self { seed, steps }
    }
}

fn step(random: &mut Random) -> Step {
    let roll = random.below(1_000);
    let mut number = |end: usize| random.below(end as u64) as usize;
    match roll {
        0..430 => Step::Send {
            click: number(CLICKS),
            event: number(EVENTS),
            transaction: number(4) as u64,
            rejects: number(12) == 0,
        },
        430..490 => Step::Repeat { back: number(5) as u64 },
        490..500 => Step::Unreadable { partition: number(3) as u32 },
        500..515 => Step::Details { click: number(CLICKS) },
        515..545 => Step::Command {
            nth: number(64) as u64,
            approve: number(2) == 0,
            over_limit: number(3) == 0,
        },
        545..560 => Step::Apply,
        560..700 => Step::Advance { ms: advance(number(40)) },
        700..715 => Step::IngesterClock { ingester: number(INGESTERS), skew_ms: skew(random) },
        715..730 => Step::WorkerClock { worker: number(WORKERS), skew_ms: skew(random) },
        730..760 => Step::Weather(weather(number(4))),
        760..800 => Step::StartWorker(number(WORKERS)),
        800..830 => Step::CrashWorker(number(WORKERS)),
        830..850 => Step::PauseWorker(number(WORKERS)),
        850..890 => Step::ResumeWorker(number(WORKERS)),
        890..905 => Step::LoseDisk(number(WORKERS)),
        905..940 => Step::Move { partition: number(3) as u32, nth: number(WORKERS) },
        940..965 => Step::StartSink(number(SINKS)),
        965..985 => Step::CrashSink(number(SINKS)),
        985..990 => Step::CrashEverything,
        _ => Step::Run { rounds: 200 },
    }
}

fn skew(random: &mut Random) -> i64 {
    random.below(2 * SKEW_MS_MAX as u64) as i64 - SKEW_MS_MAX
}

/// From seconds, which is where most things happen, to beyond every window.
fn advance(roll: usize) -> i64 {
    const STEPS: [i64; 12] = [
        1,
        100,
        SECOND_MS,
        2 * SECOND_MS,
        10 * SECOND_MS,
        MINUTE_MS,
        10 * MINUTE_MS,
        HOUR_MS,
        12 * HOUR_MS,
        DAY_MS,
        7 * DAY_MS,
        31 * DAY_MS,
    ];
    match roll {
        0..10 => STEPS[roll],
        // The two long ones are rare: after them most clicks are too old.
        10 => STEPS[10],
        11 => STEPS[11],
        _ => STEPS[roll % 8],
    }
}

fn weather(roll: usize) -> Weather {
    match roll {
        0 => Weather { append: 0, commit: 0, read: 0, insert: 0 },
        1 => Weather { append: 200, commit: 50, read: 10, insert: 100 },
        2 => Weather { append: 50, commit: 400, read: 50, insert: 0 },
        _ => Weather { append: 100, commit: 100, read: 0, insert: 600 },
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { click, event, transaction, rejects } => {
                let word = if *rejects { "rejecting " } else { "" };
                write!(
                    f,
                    "a postback {word}event {event} of click {click}, transaction {transaction}"
                )
            }
            Self::Repeat { back } => write!(f, "the newest record but {back} is appended again"),
            Self::Unreadable { partition } => {
                write!(f, "a record that cannot be read comes into partition {partition}")
            }
            Self::Details { click } => write!(f, "the details of click {click} are written"),
            Self::Command { nth, approve, over_limit } => {
                let word = if *approve { "approves" } else { "rejects" };
                let limit = if *over_limit { ", past any limit" } else { "" };
                write!(f, "somebody {word} conversion {nth} of those there are{limit}")
            }
            Self::Redecide { back, preview } => {
                let word = if *preview { "asked what would become of it" } else { "put back" };
                write!(f, "the newest postback but {back} is {word}")
            }
            Self::Apply => write!(f, "a changed configuration is applied"),
            Self::Advance { ms } => write!(f, "{ms} ms pass"),
            Self::IngesterClock { ingester, skew_ms } => {
                write!(f, "ingester {ingester}'s clock is {skew_ms} ms off")
            }
            Self::WorkerClock { worker, skew_ms } => {
                write!(f, "processor {worker}'s clock is {skew_ms} ms off")
            }
            Self::Weather(weather) => write!(
                f,
                "from now on of 1000 calls go wrong: {} appends, {} commits, {} reads, {} inserts",
                weather.append, weather.commit, weather.read, weather.insert
            ),
            Self::StartWorker(n) => write!(f, "processor {n} starts, if it is down"),
            Self::CrashWorker(n) => write!(f, "processor {n} crashes"),
            Self::PauseWorker(n) => write!(f, "processor {n} freezes"),
            Self::ResumeWorker(n) => write!(f, "processor {n} goes on"),
            Self::LoseDisk(n) => write!(f, "processor {n} crashes and loses its disk"),
            Self::Move { partition, nth } => {
                write!(f, "partition {partition} moves to the group's member {nth}")
            }
            Self::StartSink(n) => write!(f, "sink {n} starts, if it is down"),
            Self::CrashSink(n) => write!(f, "sink {n} crashes"),
            Self::CrashEverything => write!(f, "every process crashes at once"),
            Self::Run { rounds } => write!(f, "everybody takes {rounds} turns"),
        }
    }
}
