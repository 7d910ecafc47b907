//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// What is away mostly comes back soon.
const SOON: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// What somebody has to mend takes longer.
const SLOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Doubling waits with jitter, so that many sinks do not come back to a ClickHouse that has just
/// started at the same moment.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        let (first, longest) = SOON;
        Self { first, longest, failures: 0 }
    }
}

impl Backoff {
    /// Waits for what does not mend itself.
    #[must_use]
    pub fn slow() -> Self {
        let (first, longest) = SLOW;
        Self { first, longest, failures: 0 }
    }

    /// The wait after one more failure: between half of the doubled time and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(10)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full / 2 + full.mul_f64(unit() / 2.0)
    }

    /// Sleeps for [`Self::next_wait`].
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }
}

/// Chance, between 0 and 1; each `RandomState` hashes with keys of its own.
pub(crate) fn unit() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        for (mut backoff, (first, longest)) in [(Backoff::default(), SOON), (Backoff::slow(), SLOW)]
        {
            for failures in 0..40 {
                let wait = backoff.next_wait();
                let full = first.saturating_mul(1 << failures.min(10)).min(longest);
                assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
            }
        }
    }
}
