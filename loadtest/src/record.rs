//! What was measured.

use crate::mix::Kind;
use crate::schedule::Part;
use crate::series::Series;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Three digits: a value is right to one in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Longer than any run waits for an answer.
const LATENCY_MICROS_MAX: u64 = 24 * 60 * 60 * 1_000_000;
/// A request that starts later than this after its time was late; below is the timer's own grain.
pub const LATE_AFTER: Duration = Duration::from_millis(2);
/// An answer may come so much after the end of its part and still count as the part's.
const PART_GRACE: Duration = Duration::from_millis(100);
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

    fn merge(&mut self, other: &Self) {
        for (sum, count) in self.endings.iter_mut().zip(other.endings) {
            *sum += count;
        }
        add(&mut self.latency_micros, &other.latency_micros);
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
    /// How it went over time.
    pub series: Series,
    /// Each part of the run by itself.
    pub parts: Vec<PartRecord>,
}

/// Everything about the requests of one part of a run.
#[derive(Debug, Clone)]
pub struct PartRecord {
    pub part: Part,
    pub record: Record,
    /// Answered as they should be, within the part.
    pub in_time: u64,
}

/// One request's times.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it was to start, since the beginning of the run.
    pub intended: Duration,
    /// How much after its time it started.
    pub lag: Duration,
    /// From its actual start to its end.
    pub service: Duration,
}

impl Recorder {
    /// Of a run of this length with these parts.
    pub fn new(duration: Duration, parts: &[Part]) -> Self {
        let part = |part: &Part| PartRecord { part: *part, record: Record::new(), in_time: 0 };
        Self {
            series: Series::new(duration),
            parts: parts.iter().map(part).collect(),
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
        self.over_time(ending, times.intended, latency);
    }

    /// A turn that did not come before the run was over, `overdue` after its time.
    pub fn unsent(&mut self, kind: Kind, intended: Duration, overdue: Duration) {
        self.all.note(Ending::Unsent, overdue);
        self.kinds[kind.index()].note(Ending::Unsent, overdue);
        self.late += 1;
        self.over_time(Ending::Unsent, intended, overdue);
    }

    fn over_time(&mut self, ending: Ending, intended: Duration, latency: Duration) {
        let answered = !matches!(ending, Ending::Failed | Ending::Unsent);
        self.series.note(intended, latency, answered);
        let at = self.parts.partition_point(|it| it.part.until <= intended);
        if let Some(part) = self.parts.get_mut(at) {
            part.record.note(ending, latency);
            let within = intended + latency <= part.part.until + PART_GRACE;
            part.in_time += u64::from(within && ending == Ending::AsExpected);
        }
    }

    /// Adds what another one of the same run has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(sum, it)| sum.merge(it));
        add(&mut self.service_micros, &other.service_micros);
        add(&mut self.lag_micros, &other.lag_micros);
        self.late += other.late;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.resent += other.resent;
        self.resent_accepted += other.resent_accepted;
        self.given_up += other.given_up;
        for (what, count) in &other.surprises {
            self.surprised(what.clone(), *count);
        }
        self.series.merge(&other.series);
        for (sum, it) in self.parts.iter_mut().zip(&other.parts) {
            sum.record.merge(&it.record);
            sum.in_time += it.in_time;
        }
    }

    /// A request that was sent again.
    pub fn resent(&mut self, accepted: bool, given_up: bool) {
        self.resent += 1;
        self.resent_accepted += u64::from(accepted);
        self.given_up += u64::from(given_up);
    }

    /// Something to tell the user; the same is told once.
    pub fn surprise(&mut self, what: String) {
        self.surprised(what, 1);
    }

    fn surprised(&mut self, what: String, times: u64) {
        if self.surprises.len() < SURPRISES_MAX || self.surprises.contains_key(&what) {
            *self.surprises.entry(what).or_default() += times;
        }
    }
}

/// Adds a histogram with the same bounds.
fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).unwrap_or_else(|_| unreachable!("both have the bounds of histogram()"));
}

pub fn micros(duration: Duration) -> u64 {
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
        let mut recorder = Recorder::new(Duration::from_secs(1), &[]);
        let ms = Duration::from_millis;
        let intended = Duration::ZERO;
        let on_time = Times { intended, lag: ms(1), service: ms(4) };
        recorder.sent(Kind::Valid, Ending::AsExpected, Some(200), on_time);
        let late = Times { intended, lag: ms(100), service: ms(400) };
        recorder.sent(Kind::Valid, Ending::Failed, None, late);
        recorder.unsent(Kind::Click, intended, ms(900));
        // In two pieces it is the same.
        let mut merged = Recorder::new(Duration::from_secs(1), &[]);
        merged.merge(&recorder);
        let recorder = merged;
        assert!(recorder.all.latency_micros.equivalent(recorder.all.latency_micros.min(), 5_000));
        let valid = &recorder.kinds[Kind::Valid.index()];
        assert!(valid.latency_micros.equivalent(valid.latency_micros.max(), 500_000));
        assert_eq!((valid.total(), valid.ended(Ending::Failed)), (2, 1));
        assert_eq!((recorder.all.total(), recorder.late), (3, 2));
        assert_eq!(recorder.statuses, BTreeMap::from([(200, 1)]));
    }

    #[test]
    fn surprises_are_bounded_and_counted() {
        let mut recorder = Recorder::new(Duration::from_secs(1), &[]);
        for n in 0..100 {
            recorder.surprise(format!("surprise {}", n % 10));
        }
        assert_eq!(recorder.surprises.len(), SURPRISES_MAX);
        assert_eq!(recorder.surprises["surprise 0"], 10);
    }
}
