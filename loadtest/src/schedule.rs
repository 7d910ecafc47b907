//! When each request is to start. At a rate this is fixed before the first one is sent: an answer
//! that comes late moves nothing, so the requests that it delays are counted with their delay
//! (otherwise a stall would hide itself: "coordinated omission").

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Requests a second.
    Rate(u64),
    AsFastAsPossible,
}

/// One request's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub number: u64,
    /// When it is to start; none when that is "as soon as it can".
    pub intended: Option<Instant>,
}

/// Hands out the turns of a run, each once, in order.
#[derive(Debug)]
pub struct Schedule {
    start: Instant,
    pace: Pace,
    /// No turn begins after this.
    end: Instant,
    total: u64,
    next: AtomicU64,
}

impl Schedule {
    pub fn new(start: Instant, pace: Pace, duration: Duration, count: u64) -> Self {
        let total = match pace {
            Pace::Rate(rate) => {
                let fitting = duration.as_nanos() * u128::from(rate) / NANOS_PER_SECOND;
                count.min(u64::try_from(fitting).unwrap_or(u64::MAX))
            }
            Pace::AsFastAsPossible => count,
        };
        Self { start, pace, end: start + duration, total, next: AtomicU64::new(0) }
    }

    /// The next turn; none when the run is over.
    pub fn next(&self) -> Option<Turn> {
        if matches!(self.pace, Pace::AsFastAsPossible) && Instant::now() >= self.end {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.total).then(|| Turn { number, intended: self.intended(number) })
    }

    fn intended(&self, number: u64) -> Option<Instant> {
        match self.pace {
            Pace::Rate(rate) => {
                let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(rate);
                let offset = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                Some(self.start + offset)
            }
            Pace::AsFastAsPossible => None,
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    pub fn end(&self) -> Instant {
        self.end
    }

    /// Turns handed out so far.
    pub fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.total)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

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
