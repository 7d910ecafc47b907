//! When each request is to start. At a rate this is fixed before the first one is sent: an answer
//! that comes late moves nothing, so the requests that it delays are counted with their delay
//! (otherwise a stall would hide itself: "coordinated omission").

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How requests follow each other; rates are in requests a second.
#[derive(Debug, Clone)]
pub enum Pace {
    Rate(u64),
    /// Each for the same time, one after the other.
    Steps(Vec<u64>),
    /// From one rate to another, evenly.
    Ramp(u64, u64),
    AsFastAsPossible,
}

/// A ramp is reported in so many parts.
const RAMP_PARTS: u32 = 20;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// One request's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub number: u64,
    /// When it is to start; none when that is "as soon as it can".
    pub intended: Option<Instant>,
}

/// A part of a run with a rate of its own, which is reported by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Requests a second that are asked for, on average.
    pub rate: f64,
    /// Since the beginning of the run.
    pub from: Duration,
    pub until: Duration,
}

/// Hands out the turns of a run, each once, in order.
#[derive(Debug)]
pub struct Schedule {
    start: Instant,
    pace: Pace,
    duration: Duration,
    /// The number of each step's first turn.
    firsts: Vec<u64>,
    total: u64,
    next: AtomicU64,
}

impl Schedule {
    pub fn new(start: Instant, pace: Pace, duration: Duration, count: u64) -> Self {
        let fitting = |rate: u64, duration: Duration| {
            let turns = duration.as_nanos() * u128::from(rate) / NANOS_PER_SECOND;
            u64::try_from(turns).unwrap_or(u64::MAX)
        };
        let mut firsts = Vec::new();
        let all = match &pace {
            Pace::Rate(rate) => fitting(*rate, duration),
            Pace::Steps(rates) => rates.iter().fold(0, |first: u64, rate| {
                firsts.push(first);
                first.saturating_add(fitting(*rate, duration / rates.len() as u32))
            }),
            Pace::Ramp(from, to) => fitting(from + to, duration / 2),
            Pace::AsFastAsPossible => count,
        };
        Self { start, pace, duration, firsts, total: count.min(all), next: AtomicU64::new(0) }
    }

    /// The next turn; none when the run is over.
    pub fn next(&self) -> Option<Turn> {
        if matches!(self.pace, Pace::AsFastAsPossible) && Instant::now() >= self.end() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = || Turn { number, intended: self.offset(number).map(|it| self.start + it) };
        (number < self.total).then(turn)
    }

    fn offset(&self, number: u64) -> Option<Duration> {
        match &self.pace {
            Pace::Rate(rate) => Some(evenly(number, *rate)),
            Pace::Steps(rates) => {
                // Steps without a turn share their first number with the next one.
                let step = self.firsts.partition_point(|first| *first <= number) - 1;
                let begin = self.duration / rates.len() as u32 * step as u32;
                Some(begin + evenly(number - self.firsts[step], rates[step]))
            }
            Pace::Ramp(from, to) => Some(on_ramp(number, *from, *to, self.duration)),
            Pace::AsFastAsPossible => None,
        }
    }

    /// What is reported by itself; nothing at one rate only.
    pub fn parts(&self) -> Vec<Part> {
        let count = match &self.pace {
            Pace::Steps(rates) => rates.len() as u32,
            Pace::Ramp(..) => RAMP_PARTS,
            Pace::Rate(_) | Pace::AsFastAsPossible => 0,
        };
        let part = |number: u32| {
            let rate = match &self.pace {
                Pace::Steps(rates) => rates[number as usize] as f64,
                Pace::Ramp(from, to) => {
                    let middle = (f64::from(number) + 0.5) / f64::from(RAMP_PARTS);
                    *from as f64 + (*to as f64 - *from as f64) * middle
                }
                Pace::Rate(_) | Pace::AsFastAsPossible => 0.0,
            };
            let length = self.duration / count;
            Part { rate, from: length * number, until: length * (number + 1) }
        };
        (0..count).map(part).collect()
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    /// No turn begins after this.
    pub fn end(&self) -> Instant {
        self.start + self.duration
    }

    /// Turns handed out so far.
    pub fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.total)
    }
}

fn evenly(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When a rate that changes evenly has given so many turns: the sum up to t is
/// from · t + (to - from) · t² / (2 · duration).
fn on_ramp(number: u64, from: u64, to: u64, duration: Duration) -> Duration {
    let (number, from, to) = (number as f64, from as f64, to as f64);
    let slope = (to - from) / duration.as_secs_f64();
    let root = (from * from + 2.0 * slope * number).max(0.0).sqrt();
    // This form of the solution of the quadratic equation is exact for small slopes, too.
    Duration::from_secs_f64((2.0 * number / (from + root)).clamp(0.0, duration.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets_micros(pace: Pace, duration_ms: u64, count: u64) -> Vec<Option<u128>> {
        let start = Instant::now();
        let schedule = Schedule::new(start, pace, Duration::from_millis(duration_ms), count);
        std::iter::from_fn(|| schedule.next())
            .map(|turn| turn.intended.map(|at| (at - start).as_micros()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_evenly_spaced_and_never_drift() {
        assert_eq!(
            offsets_micros(Pace::Rate(4), 1000, 100),
            [0, 250_000, 500_000, 750_000].map(Some)
        );
        assert_eq!(
            offsets_micros(Pace::Rate(3), 10_000, 4),
            [0, 333_333, 666_666, 1_000_000].map(Some)
        );
        let many = offsets_micros(Pace::Rate(7), 3_600_000, u64::MAX);
        assert_eq!(many.len(), 7 * 3600);
        assert_eq!(many[7 * 3599], Some(3_599_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn steps_follow_each_other() {
        let expected = [0, 500_000, 1_000_000, 1_250_000, 1_500_000, 1_750_000].map(Some);
        assert_eq!(offsets_micros(Pace::Steps(vec![2, 4]), 2000, 100), expected);
        let schedule =
            Schedule::new(Instant::now(), Pace::Steps(vec![2, 4]), Duration::from_secs(2), 100);
        let seconds = |it: u64| Duration::from_secs(it);
        let part = |rate, from, until| Part { rate, from: seconds(from), until: seconds(until) };
        assert_eq!(schedule.parts(), [part(2.0, 0, 1), part(4.0, 1, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_has_its_rate_at_every_time() {
        for (from, to) in [(100, 900), (900, 100), (500, 500), (1, 999)] {
            let offsets = offsets_micros(Pace::Ramp(from, to), 10_000, u64::MAX);
            assert_eq!(offsets.len() as u64, (from + to) * 5);
            assert!(offsets.is_sorted());
            // In each second as many as the rate in its middle.
            for second in 0..10 {
                let within = |at: &&Option<u128>| at.is_some_and(|it| it / 1_000_000 == second);
                let middle = from as f64 + (to as f64 - from as f64) * (second as f64 + 0.5) / 10.0;
                let turns = offsets.iter().filter(within).count() as f64;
                assert!((turns - middle).abs() <= 2.0, "{from}..{to}, {second}: {turns} {middle}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_fast_as_possible_ends_by_count_and_by_time() {
        assert_eq!(offsets_micros(Pace::AsFastAsPossible, 1000, 3), [None; 3]);
        let schedule =
            Schedule::new(Instant::now(), Pace::AsFastAsPossible, Duration::from_secs(1), 1000);
        assert!(schedule.next().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.taken(), 1);
    }
}
