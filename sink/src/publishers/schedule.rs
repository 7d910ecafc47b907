//! What an answer means, and when to try again. Pure: time and chance are arguments.

use schemas::time::{DAY_MS, HOUR_MS, SECOND_MS};
use schemas::{DeliveryKind, DeliveryOutcome, DeliveryProblem, UnixMillis};

/// How long a delivery is tried.
pub const RETRY_MS: i64 = 3 * DAY_MS;
const FIRST_WAIT_MS: i64 = 10 * SECOND_MS;
const WAIT_GROWTH: i64 = 3;
const WAIT_MS_LONGEST: i64 = 6 * HOUR_MS;

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// None when there was no answer.
    pub status: Option<u16>,
    pub problem: Option<DeliveryProblem>,
    /// The publisher's wish, from now.
    pub retry_after_ms: Option<i64>,
    pub latency_ms: u32,
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: DeliveryOutcome,
    /// With [`DeliveryOutcome::Retrying`].
    pub next_at: Option<UnixMillis>,
}

impl Verdict {
    const fn end(outcome: DeliveryOutcome) -> Self {
        Self { outcome, next_at: None }
    }
}

/// How an answer is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Delivered,
    Again,
    Never,
    Gone,
}

impl Answer {
    fn meaning(&self) -> Meaning {
        match (self.status, self.problem) {
            (Some(200..=299), _) => Meaning::Delivered,
            (Some(410), _) => Meaning::Gone,
            // A time-out that the receiver noticed, and its wish for less.
            (Some(408 | 429 | 500..=599), _) => Meaning::Again,
            (Some(_), Some(DeliveryProblem::Status) | None) => Meaning::Never,
            (_, Some(DeliveryProblem::Address | DeliveryProblem::Url)) => Meaning::Never,
            (_, _) => Meaning::Again,
        }
    }

    /// Whether somebody is there who takes requests: what the breaker goes by.
    #[must_use]
    pub fn shows_life(&self) -> bool {
        matches!(self.status, Some(status) if status < 500 && status != 408)
    }
}

/// Judges attempt number `attempt` (from 1) of a delivery that was created at `created_at`; `unit`
/// is chance, from 0 to 1.
#[must_use]
pub fn judge(
    answer: &Answer,
    kind: DeliveryKind,
    attempt: u32,
    created_at: UnixMillis,
    now: UnixMillis,
    unit: f64,
) -> Verdict {
    match answer.meaning() {
        Meaning::Delivered => Verdict::end(DeliveryOutcome::Delivered),
        Meaning::Never => Verdict::end(DeliveryOutcome::Failed),
        Meaning::Gone => Verdict::end(DeliveryOutcome::Disabled),
        // Whoever tries a postback wants to know now.
        Meaning::Again if kind == DeliveryKind::Sample => Verdict::end(DeliveryOutcome::Failed),
        Meaning::Again => {
            let wait = wait_ms(attempt, unit).max(answer.retry_after_ms.unwrap_or(0));
            let next_at = now.plus_ms(wait);
            if next_at >= created_at.plus_ms(RETRY_MS) {
                return Verdict::end(DeliveryOutcome::Expired);
            }
            Verdict { outcome: DeliveryOutcome::Retrying, next_at: Some(next_at) }
        }
    }
}

/// Before the attempt after number `attempt`: between half of the grown time and all of it.
#[must_use]
pub fn wait_ms(attempt: u32, unit: f64) -> i64 {
    let growth = WAIT_GROWTH.saturating_pow(attempt.saturating_sub(1));
    let full = FIRST_WAIT_MS.saturating_mul(growth).min(WAIT_MS_LONGEST);
    full / 2 + (full as f64 / 2.0 * unit.clamp(0.0, 1.0)) as i64
}

/// `Retry-After` in milliseconds from `now`: whole seconds, or an HTTP date.
#[must_use]
pub fn retry_after_ms(text: &str, now: UnixMillis) -> Option<i64> {
    let text = text.trim();
    let ms = match text.parse::<u64>() {
        Ok(seconds) => i64::try_from(seconds).ok()?.saturating_mul(SECOND_MS),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            date.timestamp().as_millisecond().saturating_sub(now.0)
        }
    };
    Some(ms.clamp(0, RETRY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn answer(status: u16) -> Answer {
        let problem = (!(200..300).contains(&status)).then_some(DeliveryProblem::Status);
        Answer { status: Some(status), problem, retry_after_ms: None, latency_ms: 1 }
    }

    fn silence(problem: DeliveryProblem) -> Answer {
        Answer { status: None, problem: Some(problem), retry_after_ms: None, latency_ms: 1 }
    }

    fn outcome(answer: &Answer) -> DeliveryOutcome {
        judge(answer, DeliveryKind::Conversion, 1, NOW, NOW, 0.5).outcome
    }

    #[test]
    fn what_answers_mean() {
        use DeliveryOutcome::{Delivered, Disabled, Failed, Retrying};
        for (status, expected) in [
            (200, Delivered),
            (204, Delivered),
            (299, Delivered),
            (301, Failed),
            (302, Failed),
            (307, Failed),
            (400, Failed),
            (401, Failed),
            (404, Failed),
            (408, Retrying),
            (410, Disabled),
            (418, Failed),
            (429, Retrying),
            (500, Retrying),
            (503, Retrying),
            (599, Retrying),
            (600, Failed),
        ] {
            assert_eq!(outcome(&answer(status)), expected, "{status}");
        }
        for problem in DeliveryProblem::ALL {
            let final_ones = [DeliveryProblem::Address, DeliveryProblem::Url];
            let expected = if final_ones.contains(problem) { Failed } else { Retrying };
            assert_eq!(outcome(&silence(*problem)), expected, "{problem}");
        }
        assert!(answer(404).shows_life() && answer(429).shows_life());
        assert!(!answer(503).shows_life() && !silence(DeliveryProblem::Timeout).shows_life());
    }

    #[test]
    fn a_wish_for_later_is_honoured_within_the_three_days() {
        let wish = |ms| Answer { retry_after_ms: Some(ms), ..answer(429) };
        let next = |answer| judge(&answer, DeliveryKind::Conversion, 1, NOW, NOW, 0.0).next_at;
        assert_eq!(next(wish(HOUR_MS)), Some(NOW.plus_ms(HOUR_MS)));
        assert_eq!(next(wish(1)), Some(NOW.plus_ms(FIRST_WAIT_MS / 2)), "never sooner than ours");
        assert_eq!(next(wish(RETRY_MS)), None);
        let sample = judge(&answer(503), DeliveryKind::Sample, 1, NOW, NOW, 0.0);
        assert_eq!(sample.outcome, DeliveryOutcome::Failed);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = UnixMillis(784_111_777_000);
        assert_eq!(retry_after_ms("120", now), Some(120_000));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60_000));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:40:37 GMT", now), Some(0));
        assert_eq!(retry_after_ms("99999999999999999999", now), None);
        assert_eq!(retry_after_ms("9999999999", now), Some(RETRY_MS));
        assert_eq!(retry_after_ms("soon", now), None);
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:49", now), None);
    }

    proptest! {
        /// Whatever fails and whatever chance says: attempts get rarer and end within three days.
        #[test]
        fn retries_end(units in prop::collection::vec(0.0f64..=1.0, 1..60)) {
            let (mut now, mut attempt) = (NOW, 0);
            for unit in units.iter().cycle() {
                attempt += 1;
                let kind = DeliveryKind::Conversion;
                let verdict = judge(&silence(DeliveryProblem::Timeout), kind, attempt, NOW, now, *unit);
                match verdict.next_at {
                    Some(next) => {
                        prop_assert!(next > now && next < NOW.plus_ms(RETRY_MS));
                        now = next;
                    }
                    None => {
                        prop_assert_eq!(verdict.outcome, DeliveryOutcome::Expired);
                        break;
                    }
                }
            }
            prop_assert!((14..50).contains(&attempt), "{attempt} attempts");
            prop_assert!(now.since(NOW) >= RETRY_MS - WAIT_MS_LONGEST);
        }
    }
}
