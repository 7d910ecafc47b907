//! The page of a run: the tables that the terminal shows, and plots. One file that needs no network and no
//! script, light or dark as the reader likes it.

use crate::plot::{Curve, Plot};
use crate::report::{Report, Step};
use crate::series::Interval;
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #8888; --grid: #8883;
  --c0: #2563eb; --c1: #d97706; --c2: #c02626; --c3: #7c3aed; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #15181c; --c0: #6ea8fe;
  --c1: #f0b35a; --c2: #f27878; --c3: #b794f6; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .2rem; }
pre { overflow-x: auto; font-size: 12.5px; line-height: 1.4; }
svg { width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; } .x { text-anchor: middle; } .y { text-anchor: end; }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.grid { stroke: var(--grid); } .tick { stroke: var(--faint); }
.mark { stroke: var(--faint); stroke-dasharray: 3 4; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); }
.legend span { margin-right: 1.2rem; } .legend i { display: inline-block; width: 1.2rem; height: 0;
  border-top: 3px solid; margin-right: .4rem; vertical-align: middle; }
i.c0 { color: var(--c0); } i.c1 { color: var(--c1); } i.c2 { color: var(--c2); } i.c3 { color: var(--c3); }
";

/// Draws the page.
pub fn page(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>loadtest</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <style>{STYLE}</style></head><body>\n<h1>Load test</h1>\n<p>{}</p>\n",
        escaped(&headline(report))
    );
    for plot in plots(report) {
        let _ = writeln!(page, "<h2>{}</h2>\n<div class=\"legend\">", plot.title);
        for (number, curve) in plot.curves.iter().enumerate() {
            let _ = write!(page, "<span><i class=\"c{number}\"></i>{}</span>", curve.name);
        }
        let _ = write!(page, "</div>\n{}", plot.svg());
    }
    let _ = write!(
        page,
        "<h2>In numbers</h2>\n<pre>{}</pre>\n</body></html>\n",
        escaped(&report.table())
    );
    page
}

fn headline(report: &Report) -> String {
    let all = &report.all;
    let mut text = format!(
        "{} requests in {:.0} s, {:.0} answered a second; p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, \
         greatest {:.1} ms from the intended start.",
        all.requests,
        report.duration_s,
        report.answered_per_s,
        all.latency.p50_ms,
        all.latency.p99_ms,
        all.latency.p999_ms,
        all.latency.max_ms
    );
    if !report.steps.is_empty() {
        let _ = write!(text, " {}.", report.knee_in_words());
    }
    text
}

fn plots(report: &Report) -> Vec<Plot> {
    let over_time = |name, of: fn(&Interval) -> f64| Curve {
        name,
        points: report.series.iter().map(|it| (it.at_s, of(it))).collect(),
    };
    // An interval in which nothing was to start has no latency.
    let latency = |name, of: fn(&Interval) -> f64| Curve {
        name,
        points: report
            .series
            .iter()
            .filter(|it| it.intended_per_s > 0.0)
            .map(|it| (it.at_s, of(it)))
            .collect(),
    };
    let marks: Vec<f64> = report.steps.iter().skip(1).map(|it| it.from_s).collect();
    let mut plots = vec![
        Plot {
            title: "Throughput",
            x: "seconds since the beginning",
            y: "requests a second",
            logarithmic: false,
            curves: vec![
                over_time("answered", |it| it.answered_per_s),
                over_time("intended", |it| it.intended_per_s),
            ],
            marks: marks.clone(),
        },
        Plot {
            title: "Latency from the intended start",
            x: "seconds since the beginning, when the request was to start",
            y: "ms",
            logarithmic: true,
            curves: vec![
                latency("p50", |it| it.p50_ms),
                latency("p99", |it| it.p99_ms),
                latency("p99.9", |it| it.p999_ms),
                latency("greatest", |it| it.max_ms),
            ],
            marks,
        },
    ];
    if !report.steps.is_empty() {
        let by_step = |name, of: fn(&Step) -> f64| {
            let mut points: Vec<_> =
                report.steps.iter().map(|it| (it.asked_per_s, of(it))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Curve { name, points }
        };
        plots.push(Plot {
            title: "Latency by rate; the upright line is the knee",
            x: "requests a second that were asked for",
            y: "ms",
            logarithmic: true,
            curves: vec![
                by_step("p50", |it| it.latency.p50_ms),
                by_step("p99", |it| it.latency.p99_ms),
                by_step("p99.9", |it| it.latency.p999_ms),
                by_step("greatest", |it| it.latency.max_ms),
            ],
            marks: report.knee.iter().map(|it| it.asked_per_s).collect(),
        });
    }
    plots
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Kind;
    use crate::record::{Ending, Recorder, Times};
    use crate::schedule::Part;
    use std::time::Duration;

    #[test]
    fn the_page_stands_alone() {
        let second = Duration::from_secs(1);
        let part = |at: u32| Part { rate: 10.0, from: second * at, until: second * (at + 1) };
        let mut recorder = Recorder::new(second * 2, &[part(0), part(1)]);
        for at in 0..20 {
            let intended = second * at / 10;
            let times = Times { intended, lag: Duration::ZERO, service: Duration::from_millis(3) };
            recorder.sent(Kind::Valid, Ending::AsExpected, Some(200), times);
        }
        recorder.surprise("<script>alert(1)</script>".to_owned());
        let bound = Duration::from_millis(20);
        let report = Report::of(&recorder, None, second * 2, Duration::ZERO, bound);
        let page = page(&report);
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<polyline").count(), 10);
        for foreign in ["<script", "http://", "https://", "url(", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("the knee is above 10/s"), "{page}");
    }
}
