//! The results, for people and as JSON.

use crate::mix::Kind;
use crate::record::{Ending, LATE_AFTER, Record, Recorder};
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
    pub fn of(recorder: &Recorder, rate: Option<u64>, duration: Duration) -> Self {
        let all = Line::from(&recorder.all);
        let answered = all.as_expected + all.shed + all.surprise;
        let kinds = Kind::ALL.map(|kind| (kind.name(), Line::from(&recorder.kinds[kind.index()])));
        Self {
            duration_s: duration.as_secs_f64(),
            rate,
            answered_per_s: answered as f64 / duration.as_secs_f64().max(f64::MIN_POSITIVE),
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
        text
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

    fn recorder(endings: &[(Kind, Ending, u16)]) -> Recorder {
        let mut recorder = Recorder::new();
        let times = Times { lag: Duration::from_millis(5), service: Duration::from_millis(15) };
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
        let report = Report::of(&recorder, Some(100), Duration::from_secs(1));
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
            Report::of(&recorder(endings), None, Duration::from_secs(1)).is_sound()
        };
        assert!(sound(&[(Kind::Valid, Ending::AsExpected, 200), (Kind::Valid, Ending::Shed, 503)]));
        assert!(!sound(&[
            (Kind::Valid, Ending::AsExpected, 200),
            (Kind::Forged, Ending::Surprise, 200)
        ]));
        assert!(!sound(&[(Kind::Valid, Ending::Failed, 0)]));
        assert!(!sound(&[]));
    }
}
