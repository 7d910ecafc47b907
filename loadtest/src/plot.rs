//! Plots as SVG texts: lines over a common x axis, with axes that people can read. Colours are classes,
//! so that the page says what they are in light and in dark.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 280.0;
/// Room for the numbers beside and below.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;
const TICKS: f64 = 6.0;
/// Lowest value of a logarithmic axis.
const LOG_MIN: f64 = 0.01;

/// One line: its name, which the legend shows, and its points.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// One picture.
pub struct Plot {
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub logarithmic: bool,
    pub curves: Vec<Curve>,
    /// Upright lines, such as the beginnings of steps.
    pub marks: Vec<f64>,
}

/// From values to places of the picture.
struct Axis {
    min: f64,
    max: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(LOG_MIN).log10() } else { value };
        let share = (scale(value) - scale(self.min)) / (scale(self.max) - scale(self.min));
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = self.min.log10().round() as i32..=self.max.log10().round() as i32;
            return powers.map(|power| 10_f64.powi(power)).collect();
        }
        let step = step(self.max - self.min);
        let first = (self.min / step).ceil() as i64;
        let last = (self.max / step + 1e-9).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }
}

/// A round distance that divides a range into a handful.
fn step(range: f64) -> f64 {
    let rough = (range / TICKS).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|it| it * power >= rough);
    round.unwrap_or(10.0) * power
}

impl Plot {
    pub fn svg(&self) -> String {
        let all = || self.curves.iter().flat_map(|it| &it.points);
        let greatest = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
        let (x_max, y_max) = (greatest(|it| it.0), greatest(|it| it.1));
        let x = Axis {
            min: 0.0,
            max: if x_max > 0.0 { x_max } else { 1.0 },
            logarithmic: false,
            from: LEFT,
            to: WIDTH - RIGHT,
        };
        let (min, max) = if self.logarithmic {
            let positive = all().map(|it| it.1).filter(|it| *it > 0.0).fold(f64::MAX, f64::min);
            let power = |value: f64| value.max(LOG_MIN).log10();
            let low = if positive < f64::MAX { power(positive).floor() } else { 0.0 };
            (10_f64.powf(low), 10_f64.powf(power(y_max).ceil().max(low + 1.0)))
        } else {
            let step = step(y_max.max(1.0));
            (0.0, (y_max.max(1.0) / step).ceil() * step)
        };
        let y = Axis { min, max, logarithmic: self.logarithmic, from: HEIGHT - BOTTOM, to: TOP };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            self.title
        );
        self.axes(&mut svg, &x, &y);
        for (number, curve) in self.curves.iter().enumerate() {
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x.of(*at), y.of(*value)))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline class=\"c{number}\" points=\"{}\"><title>{}</title></polyline>",
                points.join(" "),
                curve.name
            );
        }
        svg + "</svg>\n"
    }

    fn axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let bottom = HEIGHT - BOTTOM;
        for value in y.ticks() {
            let at = y.of(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                number(value)
            );
        }
        for value in x.ticks() {
            let at = x.of(value);
            let _ = writeln!(
                svg,
                "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text class=\"x\" x=\"{at:.1}\" y=\"{}\">{}</text>",
                bottom + 5.0,
                bottom + 19.0,
                number(value)
            );
        }
        for mark in &self.marks {
            let at = x.of(*mark);
            let _ = writeln!(
                svg,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            );
        }
        let middle = f64::midpoint(TOP, bottom);
        let _ = writeln!(
            svg,
            "<text class=\"x\" x=\"{}\" y=\"{}\">{}</text>\
             <text class=\"x\" transform=\"translate(14 {middle}) rotate(-90)\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 4.0,
            self.x,
            self.y
        );
    }
}

/// Short: thousands by k, and as many decimals as a small value needs.
fn number(value: f64) -> String {
    match value {
        it if it >= 10_000.0 => format!("{}k", trimmed(it / 1000.0)),
        it => trimmed(it),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (range, expected) in
            [(6.0, 1.0), (10.0, 2.0), (60.0, 10.0), (1234.0, 500.0), (0.5, 0.1)]
        {
            assert!((step(range) - expected).abs() < 1e-9, "{range}: {}", step(range));
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in
            [(0.0, "0"), (0.01, "0.01"), (2.5, "2.5"), (1000.0, "1000"), (12_500.0, "12.5k")]
        {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn every_point_is_inside_the_picture() {
        for logarithmic in [false, true] {
            for points in [vec![], vec![(0.0, 0.0)], vec![(0.0, 0.001), (7.0, 123_456.0)]] {
                let curves = vec![Curve { name: "a", points }];
                let plot =
                    Plot { title: "t", x: "s", y: "ms", logarithmic, curves, marks: vec![1.0] };
                let svg = plot.svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                let drawn = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
                for pair in drawn.split_whitespace() {
                    let (x, y) = pair.split_once(',').unwrap();
                    assert!((LEFT..=WIDTH - RIGHT).contains(&x.parse().unwrap()), "{pair}");
                    assert!((TOP..=HEIGHT - BOTTOM).contains(&y.parse().unwrap()), "{pair}");
                }
            }
        }
    }
}
