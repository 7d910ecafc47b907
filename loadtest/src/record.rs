//! What was measured.

use crate::mix::Kind;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Three digits: a value is right to one in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Longer than any run waits for an answer.
const LATENCY_MICROS_MAX: u64 = 24 * 60 * 60 * 1_000_000;
/// A request that starts later than this after its time was late; below is the timer's own grain.
pub const LATE_AFTER: Duration = Duration::from_millis(2);
/// Different surprises kept to be shown.
const SURPRISES_MAX: usize = 5;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The status that its kind is to be answered with.
    AsExpected,
    /// 503 or 429: the target said that it has too much to do.
    Shed,
    /// Any other status, or an answer without what it should hold.
    Surprise,
    /// No answer: lost, or not in time.
    Failed,
    /// The run was over before its turn came; its latency is at least what is recorded.
    Unsent,
}

impl Ending {
    pub const COUNT: usize = 5;
}

/// Everything about the requests of one kind.
#[derive(Debug, Clone)]
pub struct Record {
    pub endings: [u64; Ending::COUNT],
    /// From the intended start to the end, in microseconds, however it ended.
    pub latency_micros: Histogram<u64>,
}

impl Record {
    fn new() -> Self {
        Self { endings: [0; Ending::COUNT], latency_micros: histogram() }
    }

    pub fn ended(&self, ending: Ending) -> u64 {
        self.endings[ending as usize]
    }

    pub fn total(&self) -> u64 {
        self.endings.iter().sum()
    }

    fn note(&mut self, ending: Ending, latency: Duration) {
        self.endings[ending as usize] += 1;
        self.latency_micros.saturating_record(micros(latency));
    }
}

/// Everything about a run.
#[derive(Debug, Clone)]
pub struct Recorder {
    pub all: Record,
    pub kinds: [Record; Kind::ALL.len()],
    /// From the actual start of each request to its answer: what a tool that forgets its schedule
    /// would report as latency.
    pub service_micros: Histogram<u64>,
    /// How much after its time each request started.
    pub lag_micros: Histogram<u64>,
    pub late: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that were sent again; how many of these were accepted; and how many requests were
    /// not accepted in the end.
    pub resent: u64,
    pub resent_accepted: u64,
    pub given_up: u64,
    /// What was wrong, and how often.
    pub surprises: BTreeMap<String, u64>,
}

/// One request's times.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How much after its time it started.
    pub lag: Duration,
    /// From its actual start to its end.
    pub service: Duration,
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            all: Record::new(),
            kinds: std::array::from_fn(|_| Record::new()),
            service_micros: histogram(),
            lag_micros: histogram(),
            late: 0,
            statuses: BTreeMap::new(),
            resent: 0,
            resent_accepted: 0,
            given_up: 0,
            surprises: BTreeMap::new(),
        }
    }

    /// A request that was sent.
    pub fn sent(&mut self, kind: Kind, ending: Ending, status: Option<u16>, times: Times) {
        let latency = times.lag + times.service;
        self.all.note(ending, latency);
        self.kinds[kind.index()].note(ending, latency);
        self.service_micros.saturating_record(micros(times.service));
        self.lag_micros.saturating_record(micros(times.lag));
        self.late += u64::from(times.lag > LATE_AFTER);
        if let Some(status) = status {
            *self.statuses.entry(status).or_default() += 1;
        }
    }

    /// A turn that did not come before the run was over, `overdue` after its time.
    pub fn unsent(&mut self, kind: Kind, overdue: Duration) {
        self.all.note(Ending::Unsent, overdue);
        self.kinds[kind.index()].note(Ending::Unsent, overdue);
        self.late += 1;
    }

    /// A request that was sent again.
    pub fn resent(&mut self, accepted: bool, given_up: bool) {
        self.resent += 1;
        self.resent_accepted += u64::from(accepted);
        self.given_up += u64::from(given_up);
    }

    /// Something to tell the user; the same is told once.
    pub fn surprise(&mut self, what: String) {
        if self.surprises.len() < SURPRISES_MAX || self.surprises.contains_key(&what) {
            *self.surprises.entry(what).or_default() += 1;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, SIGNIFICANT_DIGITS)
        .unwrap_or_else(|_| unreachable!("the bounds are constants that fit each other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_start() {
        let mut recorder = Recorder::new();
        let ms = Duration::from_millis;
        let on_time = Times { lag: ms(1), service: ms(4) };
        recorder.sent(Kind::Valid, Ending::AsExpected, Some(200), on_time);
        recorder.sent(Kind::Valid, Ending::Failed, None, Times { lag: ms(100), service: ms(400) });
        recorder.unsent(Kind::Click, ms(900));
        assert!(recorder.all.latency_micros.equivalent(recorder.all.latency_micros.min(), 5_000));
        let valid = &recorder.kinds[Kind::Valid.index()];
        assert!(valid.latency_micros.equivalent(valid.latency_micros.max(), 500_000));
        assert_eq!((valid.total(), valid.ended(Ending::Failed)), (2, 1));
        assert_eq!((recorder.all.total(), recorder.late), (3, 2));
        assert_eq!(recorder.statuses, BTreeMap::from([(200, 1)]));
    }

    #[test]
    fn surprises_are_bounded_and_counted() {
        let mut recorder = Recorder::new();
        for n in 0..100 {
            recorder.surprise(format!("surprise {}", n % 10));
        }
        assert_eq!(recorder.surprises.len(), SURPRISES_MAX);
        assert_eq!(recorder.surprises["surprise 0"], 10);
    }
}
