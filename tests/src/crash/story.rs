//! What happens, and when: made from the seed alone, so that a seed can be told again.

use eventlog::simulated::Random;
use std::fmt;

pub const BROKERS: usize = 3;
pub const INGESTERS: usize = 2;
pub const PROCESSORS: usize = 2;
pub const SINKS: usize = 2;

/// Every process that something can happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    Broker(usize),
    Ingest(usize),
    Processor(usize),
    Sink(usize),
    Admin,
    Warehouse,
}

impl Member {
    /// All of them, in the order in which they are started.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = (0..BROKERS).map(Self::Broker).collect();
        all.push(Self::Warehouse);
        all.push(Self::Admin);
        all.extend((0..SINKS).map(Self::Sink));
        all.extend((0..PROCESSORS).map(Self::Processor));
        all.extend((0..INGESTERS).map(Self::Ingest));
        all
    }

    /// Whether it is one of ours, and not Kafka.
    #[must_use]
    pub fn is_gokart(self) -> bool {
        !matches!(self, Self::Broker(_))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(n) => write!(f, "broker-{n}"),
            Self::Ingest(n) => write!(f, "ingest-{n}"),
            Self::Processor(n) => write!(f, "processor-{n}"),
            Self::Sink(n) => write!(f, "sink-{n}"),
            Self::Admin => f.write_str("admin"),
            Self::Warehouse => f.write_str("warehouse"),
        }
    }
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again at the end.
    Kill(Member),
    /// `kill -9` while rows are being inserted.
    KillInserting,
    /// SIGTERM to a broker: its leaders move before it goes.
    StopBroker(usize),
    /// `kill -9`, and its state directory is deleted.
    LoseState(usize),
    /// SIGSTOP, and SIGCONT at the end.
    Pause(Member),
    /// Nobody can be reached.
    Cut(Member),
    /// These two do not reach each other.
    CutBetween(Member, Member),
    /// `kill -9` of every broker at once.
    NoBrokers,
    /// `kill -9` of everything that is ours.
    KillEverything,
    /// SIGTERM, and the other binary is started instead, before the next one's turn.
    Replace(Member),
}

impl Fault {
    /// What it is counted as.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(Member::Broker(_)) => "a broker killed",
            Self::Kill(_) => "a process killed",
            Self::KillInserting => "ClickHouse killed inside an insert",
            Self::StopBroker(_) => "a broker stopped",
            Self::LoseState(_) => "a processor killed and its state deleted",
            Self::Pause(_) => "suspended",
            Self::Cut(_) => "cut off from everybody",
            Self::CutBetween(..) => "cut off from one another",
            Self::NoBrokers => "all brokers killed",
            Self::KillEverything => "everything but the brokers killed",
            Self::Replace(_) => "replaced in good order",
        }
    }

    /// Who cannot have something else happen to them meanwhile.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        match self {
            Self::Kill(it) | Self::Pause(it) | Self::Cut(it) | Self::Replace(it) => vec![*it],
            Self::StopBroker(n) => vec![Member::Broker(*n)],
            Self::LoseState(n) => vec![Member::Processor(*n)],
            Self::KillInserting => vec![Member::Warehouse],
            Self::CutBetween(one, other) => vec![*one, *other],
            Self::NoBrokers => (0..BROKERS).map(Member::Broker).collect(),
            Self::KillEverything => Member::all().into_iter().filter(|it| it.is_gokart()).collect(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(it) => write!(f, "kill -9 {it}"),
            Self::KillInserting => f.write_str("kill -9 warehouse in the middle of an insert"),
            Self::StopBroker(n) => write!(f, "stop broker-{n}, its leaders move"),
            Self::LoseState(n) => write!(f, "kill -9 processor-{n} and delete its state"),
            Self::Pause(it) => write!(f, "suspend {it}"),
            Self::Cut(it) => write!(f, "cut {it} off from everybody"),
            Self::CutBetween(one, other) => write!(f, "cut {one} off from {other}"),
            Self::NoBrokers => f.write_str("kill -9 every broker"),
            Self::KillEverything => f.write_str("kill -9 everything but the brokers"),
            Self::Replace(it) => write!(f, "replace {it} in good order"),
        }
    }
}

/// A fault with its time, counted from the first postback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at_ms: u64,
    /// How long it lasts; a replacement as long as it takes.
    pub for_ms: u64,
    pub fault: Fault,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, span) = (self.at_ms as f64 / 1000.0, self.for_ms as f64 / 1000.0);
        write!(f, "{at:8.1} s  {}", self.fault)?;
        if self.for_ms > 0 { write!(f, ", for {span:.1} s") } else { Ok(()) }
    }
}

/// One part of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chapter {
    /// Anything, for so many seconds.
    Chaos(u64),
    /// No broker for so many seconds.
    Away(u64),
    /// Every process of ours is replaced, one by one.
    Rolling,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub seed: u64,
    pub events: Vec<Event>,
    /// When nothing goes wrong any more, and senders stop sending what is new.
    pub end_ms: u64,
}

/// Before the first fault of a chapter, and after its last.
const CALM_MS: u64 = 4_000;
/// The longest time that a process may take to be replaced, for the end of the load.
const REPLACE_MS: u64 = 4_500;

impl Story {
    #[must_use]
    pub fn of(seed: u64, chapters: &[Chapter]) -> Self {
        let mut random = Random::new(seed ^ 0xc4a5_4e55_0000_0000);
        let (mut events, mut now_ms) = (Vec::new(), 0);
        for chapter in chapters {
            let begin_ms = now_ms + CALM_MS;
            now_ms = match *chapter {
                Chapter::Chaos(seconds) => chaos(&mut random, &mut events, begin_ms, seconds),
                Chapter::Away(seconds) => {
                    let (at_ms, for_ms) = (begin_ms, seconds * 1000);
                    events.push(Event { at_ms, for_ms, fault: Fault::NoBrokers });
                    at_ms + for_ms + 2 * CALM_MS
                }
                Chapter::Rolling => rolling(&mut events, begin_ms),
            };
        }
        Self { seed, events, end_ms: now_ms + CALM_MS }
    }
}

fn chaos(random: &mut Random, events: &mut Vec<Event>, begin_ms: u64, seconds: u64) -> u64 {
    let end_ms = begin_ms + seconds * 1000;
    let mut now_ms = begin_ms;
    // Until when somebody is busy with a fault, and all brokers together.
    let mut busy: Vec<(Member, u64)> = Vec::new();
    while now_ms < end_ms {
        let (fault, for_ms) = draw(random);
        let is_busy = |member: &Member| busy.iter().any(|it| it.0 == *member && it.1 > now_ms);
        let of_brokers = |member: &Member| matches!(member, Member::Broker(_));
        let members = fault.members();
        // Two brokers away at once stop everything, which is a fault of its own.
        let brokers_busy = busy.iter().any(|it| of_brokers(&it.0) && it.1 > now_ms);
        let too_many = brokers_busy && members.iter().any(of_brokers);
        if !too_many && !members.iter().any(is_busy) {
            // A while to get well.
            let until_ms = now_ms + for_ms + 2_000;
            busy.extend(members.into_iter().map(|member| (member, until_ms)));
            events.push(Event { at_ms: now_ms, for_ms, fault });
            now_ms += 200 + random.below(3_500);
        }
        now_ms += 100;
    }
    let last_ms = events.iter().map(|it| it.at_ms + it.for_ms).max().unwrap_or(end_ms);
    last_ms.max(end_ms)
}

/// A fault and how long it lasts. Ten seconds is the session time-out of groups: what is away for
/// longer is replaced, and comes back as somebody who has lost everything without knowing it.
fn draw(random: &mut Random) -> (Fault, u64) {
    let roll = random.below(100);
    let mut pick = |end: usize| random.below(end as u64) as usize;
    let ours = |pick: &mut dyn FnMut(usize) -> usize| match pick(6) {
        0 | 1 => Member::Ingest(pick(INGESTERS)),
        2 | 3 => Member::Processor(pick(PROCESSORS)),
        _ => Member::Sink(pick(SINKS)),
    };
    let fault = match roll {
        0..22 => Fault::Kill(ours(&mut pick)),
        22..30 => Fault::KillInserting,
        30..32 => Fault::Kill(Member::Admin),
        32..42 => Fault::Kill(Member::Broker(pick(BROKERS))),
        42..46 => Fault::StopBroker(pick(BROKERS)),
        46..52 => Fault::LoseState(pick(PROCESSORS)),
        52..66 => Fault::Pause(ours(&mut pick)),
        66..70 => Fault::Pause(Member::Warehouse),
        70..75 => Fault::Pause(Member::Broker(pick(BROKERS))),
        75..84 => Fault::Cut(ours(&mut pick)),
        84..88 => Fault::Cut(Member::Broker(pick(BROKERS))),
        88..91 => Fault::Cut(Member::Warehouse),
        91..97 => Fault::CutBetween(ours(&mut pick), Member::Broker(pick(BROKERS))),
        97..98 => Fault::NoBrokers,
        _ => Fault::KillEverything,
    };
    let (short, long) = (300 + random.below(3_000), 11_000 + random.below(5_000));
    let is_long = match fault {
        Fault::Pause(_) | Fault::Cut(_) | Fault::CutBetween(..) => random.below(2) == 0,
        _ => random.below(8) == 0,
    };
    (fault, if is_long { long } else { short })
}

fn rolling(events: &mut Vec<Event>, begin_ms: u64) -> u64 {
    let ours = Member::all().into_iter().filter(|it| it.is_gokart());
    let mut now_ms = begin_ms;
    for member in ours {
        events.push(Event { at_ms: now_ms, for_ms: 0, fault: Fault::Replace(member) });
        now_ms += REPLACE_MS;
    }
    now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAPTERS: [Chapter; 3] = [Chapter::Chaos(300), Chapter::Away(20), Chapter::Rolling];

    #[test]
    fn a_seed_is_a_story() {
        assert_eq!(Story::of(7, &CHAPTERS), Story::of(7, &CHAPTERS));
        assert_ne!(Story::of(7, &CHAPTERS), Story::of(8, &CHAPTERS));
    }

    #[test]
    fn nobody_has_two_faults_at_once_and_two_brokers_stay() {
        for seed in 0..200 {
            let story = Story::of(seed, &CHAPTERS);
            for (number, event) in story.events.iter().enumerate() {
                let end_ms = event.at_ms + event.for_ms;
                assert!(end_ms <= story.end_ms, "seed {seed}: {event} is not over");
                for other in &story.events[number + 1..] {
                    if other.at_ms >= end_ms {
                        continue;
                    }
                    let members = other.fault.members();
                    let shared = event.fault.members().iter().any(|it| members.contains(it));
                    assert!(!shared, "seed {seed}: {event} and {other}");
                    let broker = |fault: &Fault| {
                        fault.members().iter().any(|it| matches!(it, Member::Broker(_)))
                    };
                    let both = broker(&event.fault) && broker(&other.fault);
                    assert!(!both, "seed {seed}: {event} and {other}");
                }
            }
        }
    }

    #[test]
    fn every_kind_of_fault_comes() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let events = Story::of(seed, &CHAPTERS).events;
            kinds.extend(events.iter().map(|it| {
                let text = format!("{:?}", it.fault);
                text.split('(').next().unwrap_or_default().to_owned()
            }));
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}
