//! Which destinations may be called now. Shared by all partitions of a process, and in memory
//! only: after a start everything is tried anew, carefully.
//!
//! Each destination has a window of requests under way, which begins at one, grows with each
//! answer and falls back to one with each silence; a rate; and a breaker. Destinations that have
//! not answered lately may take half of all requests at most, so the others always have the rest.

use super::breaker::Breaker;
use super::config::DelivererConfig;
use super::schedule::Answer;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use schemas::time::HOUR_MS;
use schemas::{Destination, PublisherPostback, UnixMillis};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A wish for later holds for everything that goes there, for at most this long.
const PAUSE_MS_MAX: i64 = HOUR_MS;
/// One that was not called for so long is forgotten.
const FORGET_MS: i64 = 2 * HOUR_MS;
const FINGERPRINT_BYTES: usize = 8;

/// Whether a request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It counts as under way until [`Gates::finished`].
    Go,
    /// Not before this time.
    Later(UnixMillis),
    /// Not before something ends, or the machine's own time has passed: look again in a moment.
    Blocked,
    /// The destination answered 410 as it is configured now.
    Disabled,
}

/// What can be seen of all destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overview {
    pub in_flight: usize,
    pub closed: usize,
    pub open: usize,
    pub half_open: usize,
    pub disabled: usize,
}

struct Gate {
    in_flight: u32,
    window: u32,
    breaker: Breaker,
    /// It answered, and nothing has failed since.
    answers: bool,
    /// Requests of it that count against the half for those that do not answer.
    unproven_in_flight: u32,
    not_before: UnixMillis,
    disabled: Option<String>,
    per_second: u32,
    limiter: DefaultDirectRateLimiter,
    used_at: UnixMillis,
}

impl Gate {
    fn new(per_second: u32) -> Self {
        Self {
            in_flight: 0,
            window: 1,
            breaker: Breaker::default(),
            answers: false,
            unproven_in_flight: 0,
            not_before: UnixMillis(0),
            disabled: None,
            per_second,
            limiter: limiter(per_second),
            used_at: UnixMillis(0),
        }
    }
}

fn limiter(per_second: u32) -> DefaultDirectRateLimiter {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_second(rate))
}

/// A postback as it is configured, as a hash, so that a changed one is tried again after a 410.
#[must_use]
pub fn fingerprint(postback: &PublisherPostback) -> String {
    let json = serde_json::to_vec(postback).unwrap_or_default();
    let hash = Sha256::digest(&json);
    hash.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Default)]
struct Inner {
    gates: HashMap<Destination, Gate>,
    in_flight: usize,
    unproven: usize,
}

pub struct Gates {
    inner: Mutex<Inner>,
    in_flight_max: usize,
}

impl Gates {
    #[must_use]
    pub fn new(config: &DelivererConfig) -> Self {
        Self { inner: Mutex::default(), in_flight_max: config.in_flight }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one request.
    pub fn admit(
        &self,
        destination: &Destination,
        postback: &PublisherPostback,
        now: UnixMillis,
    ) -> Admission {
        let mut inner = self.lock();
        let Inner { gates, in_flight, unproven } = &mut *inner;
        if *in_flight >= self.in_flight_max {
            return Admission::Blocked;
        }
        let gate = match gates.get_mut(destination) {
            Some(gate) => gate,
            None => {
                gates.entry(destination.clone()).or_insert_with(|| Gate::new(postback.per_second))
            }
        };
        gate.used_at = now;
        if gate.per_second != postback.per_second {
            (gate.per_second, gate.limiter) = (postback.per_second, limiter(postback.per_second));
        }
        if let Some(before) = &gate.disabled {
            if *before == fingerprint(postback) {
                return Admission::Disabled;
            }
            gate.disabled = None;
        }
        if gate.not_before > now {
            return Admission::Later(gate.not_before);
        }
        match gate.breaker.may_begin(now) {
            Ok(()) => {}
            Err(Some(until)) => return Admission::Later(until),
            Err(None) => return Admission::Blocked,
        }
        let is_unproven = !gate.answers;
        if gate.in_flight >= gate.window.min(postback.in_flight)
            || (is_unproven && *unproven >= self.in_flight_max / 2)
        {
            return Admission::Blocked;
        }
        if gate.limiter.check().is_err() {
            return Admission::Blocked;
        }
        gate.breaker = gate.breaker.begin();
        gate.in_flight += 1;
        *in_flight += 1;
        if is_unproven {
            gate.unproven_in_flight += 1;
            *unproven += 1;
        }
        Admission::Go
    }

    /// A request that was admitted came to its end; `None`: it was never made, or cut short.
    pub fn finished(&self, destination: &Destination, answer: Option<&Answer>, now: UnixMillis) {
        let mut inner = self.lock();
        let Inner { gates, in_flight, unproven } = &mut *inner;
        let Some(gate) = gates.get_mut(destination) else { return };
        gate.in_flight = gate.in_flight.saturating_sub(1);
        *in_flight = in_flight.saturating_sub(1);
        if gate.unproven_in_flight > 0 {
            gate.unproven_in_flight -= 1;
            *unproven = unproven.saturating_sub(1);
        }
        let Some(answer) = answer else {
            if let Breaker::HalfOpen { times } = gate.breaker {
                gate.breaker = Breaker::Open { until: now, times };
            }
            return;
        };
        if answer.shows_life() {
            gate.breaker = gate.breaker.succeeded();
            gate.answers = true;
            gate.window = gate.window.saturating_add(1).min(1 << 10);
        } else {
            gate.breaker = gate.breaker.failed(now);
            gate.answers = false;
            gate.window = 1;
        }
        if let Some(ms) = answer.retry_after_ms {
            gate.not_before = gate.not_before.max(now.plus_ms(ms.min(PAUSE_MS_MAX)));
        }
    }

    /// People want it tried again.
    pub fn enable(&self, destination: &Destination) {
        if let Some(gate) = self.lock().gates.get_mut(destination) {
            gate.disabled = None;
        }
    }

    /// The destination said that it is gone.
    pub fn disable(&self, destination: &Destination, fingerprint: &str) {
        let mut inner = self.lock();
        let gate = inner.gates.entry(destination.clone()).or_insert_with(|| Gate::new(1));
        gate.disabled = Some(fingerprint.to_owned());
    }

    /// Counts, and forgets those that have not been used for long.
    pub fn overview(&self, now: UnixMillis) -> Overview {
        let mut inner = self.lock();
        inner.gates.retain(|_, gate| {
            gate.in_flight > 0 || gate.disabled.is_some() || now.since(gate.used_at) < FORGET_MS
        });
        let mut overview = Overview { in_flight: inner.in_flight, ..Overview::default() };
        for gate in inner.gates.values() {
            match gate.breaker {
                Breaker::Closed { .. } => overview.closed += 1,
                Breaker::Open { .. } => overview.open += 1,
                Breaker::HalfOpen { .. } => overview.half_open += 1,
            }
            overview.disabled += usize::from(gate.disabled.is_some());
        }
        overview
    }
}
