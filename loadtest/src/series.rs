//! How a run went over time: points of a second, or longer in a long run.

use crate::record::micros;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Points of a run; more would not be seen.
const POINTS_MAX: u32 = 600;
/// Two digits: a value is right to one in a hundred, which is what a plot shows.
const SIGNIFICANT_DIGITS: u8 = 2;
const LATENCY_MICROS_MAX: u64 = 60 * 60 * 1_000_000;

/// What happened in each interval of a run.
#[derive(Debug, Clone)]
pub struct Series {
    every: Duration,
    points: Vec<Point>,
}

#[derive(Debug, Clone, Default)]
struct Point {
    /// Answers that came in it.
    answered: u64,
    /// Requests that were to start in it.
    intended: u64,
    /// Latencies of these.
    latency_micros: Option<Box<Histogram<u64>>>,
}

/// One interval, for people and as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Its beginning, since that of the run.
    pub at_s: f64,
    /// Requests a second that were to start in it.
    pub intended_per_s: f64,
    /// Answers a second that came in it.
    pub answered_per_s: f64,
    /// Of the requests that were to start in it.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Series {
    pub fn new(duration: Duration) -> Self {
        let every = (duration / POINTS_MAX).max(Duration::from_secs(1));
        Self { every, points: Vec::new() }
    }

    /// A request that was to start then, and how long it took from there.
    pub fn note(&mut self, intended: Duration, latency: Duration, answered: bool) {
        let every = micros(self.every);
        let at = |time: Duration| (micros(time) / every) as usize;
        // Answers come for a while after the last start; what is later still is not drawn.
        let most = 2 * POINTS_MAX as usize;
        if answered && let Some(point) = self.point(at(intended + latency), most) {
            point.answered += 1;
        }
        if let Some(point) = self.point(at(intended), most) {
            point.intended += 1;
            let latencies = point.latency_micros.get_or_insert_with(|| Box::new(histogram()));
            latencies.saturating_record(micros(latency));
        }
    }

    fn point(&mut self, at: usize, most: usize) -> Option<&mut Point> {
        if at >= most {
            return None;
        }
        if self.points.len() <= at {
            self.points.resize_with(at + 1, Point::default);
        }
        self.points.get_mut(at)
    }

    /// Adds another one of the same run.
    pub fn merge(&mut self, other: &Self) {
        if self.points.len() < other.points.len() {
            self.points.resize_with(other.points.len(), Point::default);
        }
        for (sum, point) in self.points.iter_mut().zip(&other.points) {
            sum.answered += point.answered;
            sum.intended += point.intended;
            if let Some(latencies) = &point.latency_micros {
                let all = sum.latency_micros.get_or_insert_with(|| Box::new(histogram()));
                let added = all.add(&**latencies);
                added.unwrap_or_else(|_| unreachable!("both have the bounds of histogram()"));
            }
        }
    }

    /// All intervals from the beginning to the last one in which anything happened.
    pub fn intervals(&self) -> Vec<Interval> {
        let seconds = self.every.as_secs_f64();
        let interval = |(at, point): (usize, &Point)| {
            let ms = |quantile: f64| {
                let latencies = point.latency_micros.as_ref();
                latencies.map_or(0.0, |it| it.value_at_quantile(quantile) as f64 / 1000.0)
            };
            Interval {
                at_s: at as f64 * seconds,
                intended_per_s: point.intended as f64 / seconds,
                answered_per_s: point.answered as f64 / seconds,
                p50_ms: ms(0.5),
                p99_ms: ms(0.99),
                p999_ms: ms(0.999),
                max_ms: ms(1.0),
            }
        };
        self.points.iter().enumerate().map(interval).collect()
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, SIGNIFICANT_DIGITS)
        .unwrap_or_else(|_| unreachable!("the bounds are constants that fit each other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_where_it_was_meant_to_start_and_answers_are_where_they_came() {
        let ms = Duration::from_millis;
        let mut series = Series::new(ms(10_000));
        series.note(ms(100), ms(10), true);
        series.note(ms(900), ms(1_500), true);
        let mut other = Series::new(ms(10_000));
        other.note(ms(950), ms(5_000), false);
        series.merge(&other);
        let got = series.intervals();
        let counts: Vec<_> = got.iter().map(|it| (it.intended_per_s, it.answered_per_s)).collect();
        assert_eq!(counts, [(3.0, 1.0), (0.0, 0.0), (0.0, 1.0)]);
        assert!((4_900.0..5_100.0).contains(&got[0].max_ms), "{got:?}");
    }

    #[test]
    fn a_long_run_has_few_points() {
        let hours = Duration::from_secs(24 * 3600);
        let mut series = Series::new(hours);
        series.note(hours - Duration::from_secs(1), Duration::from_millis(1), true);
        assert_eq!(series.intervals().len(), POINTS_MAX as usize);
        series.note(hours * 100, Duration::ZERO, true);
        assert_eq!(series.intervals().len(), POINTS_MAX as usize);
    }
}
