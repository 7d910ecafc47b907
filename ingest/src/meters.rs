//! Counting requests. A metric's handle costs more to look up by its labels than to use, so each
//! is looked up once.

use crate::reply::Answer;
use arc_swap::ArcSwap;
use metrics::{Counter, Histogram};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

/// What is counted of requests; one for each route and kind of answer that has been seen.
#[derive(Default)]
pub struct Meters {
    seen: ArcSwap<Vec<Meter>>,
}

#[derive(Clone)]
struct Meter {
    route: &'static str,
    kind: Discriminant<Answer>,
    requests: Counter,
    seconds: Histogram,
}

impl Meters {
    /// Counts an answer and how long it took.
    pub fn count(&self, route: &'static str, answer: &Answer, took: Duration) {
        let kind = discriminant(answer);
        let is_it = |meter: &&Meter| meter.kind == kind && meter.route == route;
        if let Some(meter) = self.seen.load().iter().find(is_it) {
            return meter.count(took);
        }
        let requests = metrics::counter!(
            "gokart_ingest_requests_total", "route" => route, "outcome" => answer.label()
        );
        let seconds = metrics::histogram!("gokart_ingest_request_seconds", "route" => route);
        let meter = Meter { route, kind, requests, seconds };
        meter.count(took);
        self.seen.rcu(|seen| {
            let mut seen = Vec::clone(seen);
            if !seen.iter().any(|it| is_it(&it)) {
                seen.push(meter.clone());
            }
            Arc::new(seen)
        });
    }
}

impl Meter {
    fn count(&self, took: Duration) {
        self.requests.increment(1);
        self.seconds.record(took);
    }
}
