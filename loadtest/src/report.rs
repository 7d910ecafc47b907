//! The results, for people and as JSON.

use crate::mix::Kind;
use crate::record::{Ending, LATE_AFTER, PartRecord, Record, Recorder};
use crate::series::Interval;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What a run measured. Latencies are from the intended start of each request.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub duration_s: f64,
    /// Requests a second that were asked for; none when that was "as fast as possible".
    pub rate: Option<u64>,
    /// Answers a second that came.
    pub answered_per_s: f64,
    /// CPU time that this tool used for the run, in seconds.
    pub cpu_s: f64,
    pub late: u64,
    pub lag: Quantiles,
    /// From the actual start of each request.
    pub service: Quantiles,
    pub all: Line,
    pub kinds: BTreeMap<&'static str, Line>,
    pub statuses: BTreeMap<u16, u64>,
    pub resent: u64,
    pub resent_accepted: u64,
    pub given_up: u64,
    pub surprises: BTreeMap<String, u64>,
    /// How it went over time.
    pub series: Vec<Interval>,
    /// Each step, or part of a ramp, by itself.
    pub steps: Vec<Step>,
    /// The highest step that kept its rate with a p99.9 up to the bound.
    pub knee: Option<Step>,
    /// What p99.9 was to stay up to.
    pub knee_p999_ms: u64,
}

/// One rate that was tried.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Step {
    pub from_s: f64,
    pub until_s: f64,
    /// Requests a second that were asked for.
    pub asked_per_s: f64,
    /// Those that were answered as they should be before the step was over.
    pub achieved_per_s: f64,
    pub latency: Quantiles,
    pub keeps_up: bool,
}

/// A step that keeps up achieves this share of what was asked.
const ACHIEVED_MIN: f64 = 0.99;

impl Step {
    fn of(it: &PartRecord, bound: Duration) -> Self {
        let seconds = (it.part.until - it.part.from).as_secs_f64();
        let requests = it.record.total() as f64;
        let latency = Quantiles::from(&it.record.latency_micros);
        Self {
            from_s: it.part.from.as_secs_f64(),
            until_s: it.part.until.as_secs_f64(),
            asked_per_s: it.part.rate,
            achieved_per_s: it.in_time as f64 / seconds,
            latency,
            keeps_up: requests > 0.0
                && it.in_time as f64 >= ACHIEVED_MIN * requests
                && latency.p999_ms <= bound.as_secs_f64() * 1000.0,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub requests: u64,
    pub as_expected: u64,
    pub shed: u64,
    pub surprise: u64,
    pub failed: u64,
    pub unsent: u64,
    pub latency: Quantiles,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(micros: &Histogram<u64>) -> Self {
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: micros.max() as f64 / 1000.0,
        }
    }
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Self {
        Self {
            requests: record.total(),
            as_expected: record.ended(Ending::AsExpected),
            shed: record.ended(Ending::Shed),
            surprise: record.ended(Ending::Surprise),
            failed: record.ended(Ending::Failed),
            unsent: record.ended(Ending::Unsent),
            latency: Quantiles::from(&record.latency_micros),
        }
    }
}

impl Report {
    /// `bound` is what p99.9 of a step is to stay up to.
    pub fn of(
        recorder: &Recorder,
        rate: Option<u64>,
        duration: Duration,
        cpu: Duration,
        bound: Duration,
    ) -> Self {
        let steps: Vec<_> = recorder.parts.iter().map(|it| Step::of(it, bound)).collect();
        let by_rate = |a: &&Step, b: &&Step| a.asked_per_s.total_cmp(&b.asked_per_s);
        let knee = steps.iter().filter(|it| it.keeps_up).max_by(by_rate).copied();
        let all = Line::from(&recorder.all);
        let answered = all.as_expected + all.shed + all.surprise;
        let kinds = Kind::ALL.map(|kind| (kind.name(), Line::from(&recorder.kinds[kind.index()])));
        Self {
            duration_s: duration.as_secs_f64(),
            rate,
            answered_per_s: answered as f64 / duration.as_secs_f64().max(f64::MIN_POSITIVE),
            cpu_s: cpu.as_secs_f64(),
            late: recorder.late,
            lag: Quantiles::from(&recorder.lag_micros),
            service: Quantiles::from(&recorder.service_micros),
            all,
            kinds: kinds.into_iter().filter(|(_, line)| line.requests > 0).collect(),
            statuses: recorder.statuses.clone(),
            resent: recorder.resent,
            resent_accepted: recorder.resent_accepted,
            given_up: recorder.given_up,
            surprises: recorder.surprises.clone(),
            series: recorder.series.intervals(),
            steps,
            knee,
            knee_p999_ms: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether the target did what it should, as far as it answered, and answered at all; what was
    /// sent again must have been taken in the end.
    pub fn is_sound(&self) -> bool {
        self.all.surprise == 0 && self.given_up == 0 && self.all.as_expected > 0
    }

    /// The table that people read.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        let head = "kind|requests|as expected|shed|surprise|failed|unsent|p50 ms|p90|p99|p99.9|max";
        table.set_header(head.split('|'));
        let in_order = Kind::ALL.iter().filter_map(|kind| self.kinds.get_key_value(kind.name()));
        for (name, line) in in_order.chain([(&"all", &self.all)]) {
            table.add_row(line.cells(name));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.trim_fmt();
        let _ = write!(
            text,
            "\n\n{:.0} answers a second over {:.1} s{}; latency counts from the intended start",
            self.answered_per_s,
            self.duration_s,
            self.rate.map_or(String::new(), |rate| format!(" ({rate} asked for)")),
        );
        let _ = write!(
            text,
            "\nthis tool used {:.1} s of CPU, {:.1} µs a request",
            self.cpu_s,
            self.cpu_s * 1e6 / self.all.requests.max(1) as f64
        );
        if self.late > 0 {
            let _ = write!(
                text,
                "\n{} requests started more than {} ms after their time (p99 {:.1} ms, at most {:.1} ms)",
                self.late,
                LATE_AFTER.as_millis(),
                self.lag.p99_ms,
                self.lag.max_ms
            );
        }
        if self.resent + self.given_up > 0 {
            let _ = write!(
                text,
                "\n{} times a postback was sent again, {} of them accepted, {} given up",
                self.resent, self.resent_accepted, self.given_up
            );
        }
        for (what, count) in &self.surprises {
            let _ = write!(text, "\n{count} × {what}");
        }
        if !self.steps.is_empty() {
            let _ = write!(text, "\n\n{}\n\n{}", self.steps_table(), self.knee_in_words());
        }
        text
    }

    fn steps_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header("asked/s|achieved/s|p50 ms|p99|p99.9|max|keeps up".split('|'));
        for step in &self.steps {
            let it = &step.latency;
            let numbers = [step.asked_per_s, step.achieved_per_s].map(|it| format!("{it:.0}"));
            let times = [it.p50_ms, it.p99_ms, it.p999_ms, it.max_ms].map(|it| format!("{it:.1}"));
            let keeps_up = if step.keeps_up { "yes" } else { "no" }.to_owned();
            table.add_row(numbers.into_iter().chain(times).chain([keeps_up]));
        }
        for column in table.column_iter_mut().take(6) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }

    /// Where the target stops keeping up.
    pub fn knee_in_words(&self) -> String {
        let bound = self.knee_p999_ms;
        match (&self.knee, self.steps.iter().all(|it| it.keeps_up)) {
            (None, _) => format!(
                "no step kept 99 % of its rate with a p99.9 up to {bound} ms: the knee is below the first"
            ),
            (Some(knee), true) => format!(
                "every step kept up (p99.9 up to {bound} ms): the knee is above {:.0}/s",
                knee.asked_per_s
            ),
            (Some(knee), false) => format!(
                "the knee is at {:.0}/s: the highest step that kept 99 % of its rate with a p99.9 up to {bound} ms ({:.1} ms)",
                knee.asked_per_s, knee.latency.p999_ms
            ),
        }
    }
}

impl Line {
    fn cells(&self, name: &str) -> Vec<String> {
        let counts =
            [self.requests, self.as_expected, self.shed, self.surprise, self.failed, self.unsent];
        let it = &self.latency;
        let times = [it.p50_ms, it.p90_ms, it.p99_ms, it.p999_ms, it.max_ms];
        let counts = counts.iter().map(ToString::to_string);
        let times = times.iter().map(|ms| format!("{ms:.1}"));
        std::iter::once(name.to_owned()).chain(counts).chain(times).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Times;
    use crate::schedule::Part;

    const BOUND: Duration = Duration::from_millis(20);

    fn recorder(endings: &[(Kind, Ending, u16)]) -> Recorder {
        let mut recorder = Recorder::new(Duration::from_secs(1), &[]);
        let intended = Duration::ZERO;
        let times =
            Times { intended, lag: Duration::from_millis(5), service: Duration::from_millis(15) };
        for (kind, ending, status) in endings {
            recorder.sent(*kind, *ending, Some(*status), times);
        }
        recorder
    }

    #[test]
    fn the_table_tells_what_happened() {
        let mut recorder =
            recorder(&[(Kind::Click, Ending::AsExpected, 302), (Kind::Valid, Ending::Shed, 503)]);
        recorder.surprise("valid: something".to_owned());
        let report =
            Report::of(&recorder, Some(100), Duration::from_secs(1), Duration::ZERO, BOUND);
        let text = report.table();
        for expected in [
            "click",
            "valid",
            "all",
            "20.0",
            "2 answers a second",
            "(100 asked for)",
            "2 requests started",
            "1 × valid: something",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(!text.contains("forged"), "kinds that were not sent are left out:\n{text}");
    }

    #[test]
    fn a_run_is_sound_when_answers_are_right() {
        let sound = |endings: &[(Kind, Ending, u16)]| {
            Report::of(&recorder(endings), None, Duration::from_secs(1), Duration::ZERO, BOUND)
                .is_sound()
        };
        assert!(sound(&[(Kind::Valid, Ending::AsExpected, 200), (Kind::Valid, Ending::Shed, 503)]));
        assert!(!sound(&[
            (Kind::Valid, Ending::AsExpected, 200),
            (Kind::Forged, Ending::Surprise, 200)
        ]));
        assert!(!sound(&[(Kind::Valid, Ending::Failed, 0)]));
        assert!(!sound(&[]));
    }

    /// Steps of a second each with 100 requests, of which the last few take long.
    fn knee(steps: &[(f64, u32)]) -> (Option<f64>, String) {
        let second = Duration::from_secs(1);
        let part = |at: usize| Part {
            rate: steps[at].0,
            from: second * at as u32,
            until: second * (at as u32 + 1),
        };
        let parts: Vec<_> = (0..steps.len()).map(part).collect();
        let mut recorder = Recorder::new(second * steps.len() as u32, &parts);
        for (at, (_, slow)) in steps.iter().enumerate() {
            for request in 0..100 {
                let service = Duration::from_millis(if request < *slow { 500 } else { 1 });
                let intended = second * at as u32 + Duration::from_millis(9) * request;
                let times = Times { intended, lag: Duration::ZERO, service };
                recorder.sent(Kind::Valid, Ending::AsExpected, Some(200), times);
            }
        }
        let report = Report::of(&recorder, None, second, Duration::ZERO, BOUND);
        (report.knee.map(|it| it.asked_per_s), report.knee_in_words())
    }

    #[test]
    fn the_knee_is_the_highest_step_that_keeps_up() {
        let (at, words) = knee(&[(100.0, 0), (200.0, 0), (400.0, 3)]);
        assert_eq!(at, Some(200.0));
        assert!(words.starts_with("the knee is at 200/s"), "{words}");
        assert!(knee(&[(100.0, 0), (200.0, 0)]).1.contains("above 200/s"));
        assert_eq!(knee(&[(100.0, 100)]).0, None);
    }
}
