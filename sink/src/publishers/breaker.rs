//! A circuit breaker: a destination that does not answer is left alone for a while, then tried
//! with one request. Pure: the time is an argument.

use schemas::UnixMillis;
use schemas::time::{MINUTE_MS, SECOND_MS};

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 5;
const OPEN_MS_FIRST: i64 = 30 * SECOND_MS;
const OPEN_MS_LONGEST: i64 = 10 * MINUTE_MS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Requests go out.
    Closed { failures: u32 },
    /// None goes out before `until`, then one.
    Open { until: UnixMillis, times: u32 },
    /// The one is under way.
    HalfOpen { times: u32 },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// When a request may go out: now (`Ok`), or not before some time. Tell it with
    /// [`Self::begin`] when one does.
    pub fn may_begin(self, now: UnixMillis) -> Result<(), Option<UnixMillis>> {
        match self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until, .. } if until <= now => Ok(()),
            Self::Open { until, .. } => Err(Some(until)),
            Self::HalfOpen { .. } => Err(None),
        }
    }

    #[must_use]
    pub fn begin(self) -> Self {
        match self {
            Self::Open { times, .. } => Self::HalfOpen { times },
            other => other,
        }
    }

    /// After an answer of any kind that shows that somebody is there.
    #[must_use]
    pub fn succeeded(self) -> Self {
        Self::default()
    }

    /// After a request without an answer, or with one that says that nothing works there.
    #[must_use]
    pub fn failed(self, now: UnixMillis) -> Self {
        let open = |times: u32| {
            let ms = OPEN_MS_FIRST.saturating_mul(1 << times.min(10)).min(OPEN_MS_LONGEST);
            Self::Open { until: now.plus_ms(ms), times: times.saturating_add(1) }
        };
        match self {
            Self::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                Self::Closed { failures: failures + 1 }
            }
            Self::Closed { .. } => open(0),
            Self::HalfOpen { times } => open(times),
            // A request from before it opened.
            Self::Open { .. } => self,
        }
    }

    /// Its label in metrics.
    #[must_use]
    pub const fn state(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn opened() -> Breaker {
        (0..FAILURES_TO_OPEN).fold(Breaker::default(), |breaker, _| breaker.failed(NOW))
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..FAILURES_TO_OPEN {
                breaker = breaker.failed(NOW);
            }
            assert_eq!(breaker.may_begin(NOW), Ok(()));
            breaker = breaker.succeeded();
        }
        assert_eq!(opened().state(), "open");
    }

    #[test]
    fn lets_one_through_and_waits_longer_each_time() {
        let mut breaker = opened();
        let (mut now, mut waited) = (NOW, 0);
        for _ in 0..10 {
            let Err(Some(until)) = breaker.may_begin(now) else { panic!("{breaker:?}") };
            let wait = until.since(now);
            assert!(wait >= waited && wait <= OPEN_MS_LONGEST);
            (now, waited) = (until, wait);
            assert_eq!(breaker.may_begin(now), Ok(()));
            breaker = breaker.begin();
            assert_eq!(breaker.may_begin(now), Err(None), "only one at a time");
            breaker = breaker.failed(now);
        }
        assert_eq!(waited, OPEN_MS_LONGEST);
        breaker = breaker.begin().succeeded();
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn stragglers_do_not_prolong_it() {
        let breaker = opened();
        assert_eq!(breaker.failed(NOW.plus_ms(1)), breaker);
    }
}
