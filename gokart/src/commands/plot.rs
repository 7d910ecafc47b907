//! Pictures of reports, as PNG or SVG. The font is part of the binary, so that a machine without
//! fonts draws the same.

use super::{Failure, output};
use admin::report::funnel::Group;
use plotters::prelude::*;
use plotters::style::register_font;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

const WIDTH: u32 = 1_200;
const HEIGHT: u32 = 720;
const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 30;
const LABEL_SIZE: i32 = 18;
/// Funnels and lines in one picture; more cannot be told apart.
const SERIES_MAX: usize = 8;
const COLOURS: [RGBColor; SERIES_MAX] = [
    RGBColor(38, 110, 173),
    RGBColor(222, 121, 33),
    RGBColor(60, 145, 70),
    RGBColor(190, 55, 60),
    RGBColor(125, 95, 170),
    RGBColor(130, 95, 70),
    RGBColor(200, 110, 165),
    RGBColor(100, 100, 100),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Png,
    Svg,
}

fn form(path: &Path) -> Result<Form, Failure> {
    match path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("png") => Ok(Form::Png),
        Some("svg") => Ok(Form::Svg),
        _ => Err(Failure::usage(format!(
            "--plot {}: the name ends neither in .png nor in .svg",
            path.display()
        ))),
    }
}

/// Says what is wrong with the file's name before anything is asked for.
pub fn check(path: &Path) -> Result<(), Failure> {
    form(path).map(drop)
}

/// What is drawn.
enum Picture {
    /// Names of steps, and for each series its share of the clicks at each step, in percent.
    Bars { steps: Vec<String>, series: Vec<(String, Vec<f64>)> },
    /// For each series its points: day, percent.
    Lines { last: f64, series: Vec<(String, Vec<(f64, f64)>)> },
}

/// A funnel: one bar a step, beside each other when there are several groups.
pub fn funnel(answer: &Value, groups: &[Group], path: &Path) -> Result<(), Failure> {
    let title = format!("{} · {}", output::cell(&answer["offer_name"]), zone(answer));
    let mut steps = vec!["Clicks".to_owned()];
    steps.extend(groups.iter().flat_map(|group| &group.steps).fold(
        Vec::new(),
        |mut names: Vec<String>, step| {
            if !names.contains(&step.name) {
                names.push(step.name.clone());
            }
            names
        },
    ));
    let series = groups.iter().take(SERIES_MAX).map(|group| {
        let rates = steps.iter().enumerate().map(|(index, name)| match index {
            0 if group.clicks > 0 => 100.0,
            0 => 0.0,
            _ => {
                let step = group.steps.iter().find(|step| step.name == *name);
                step.and_then(|step| step.overall_percent).unwrap_or(0.0)
            }
        });
        (label(&group.values), rates.collect())
    });
    let picture = Picture::Bars { series: series.collect(), steps: steps.clone() };
    draw(&title, &picture, path)
}

/// Cohorts: one line an event, over all cohorts whose day is over.
pub fn cohorts(answer: &Value, path: &Path) -> Result<(), Failure> {
    let mut sums: BTreeMap<String, BTreeMap<u64, (u64, u64)>> = BTreeMap::new();
    for row in answer["rows"].as_array().into_iter().flatten() {
        let (Some(day), Some(users), Some(clicks)) =
            (row["day"].as_u64(), row["users"].as_u64(), row["clicks"].as_u64())
        else {
            continue;
        };
        let days = sums.entry(output::cell(&row["event_id"])).or_default();
        let sum = days.entry(day).or_default();
        *sum = (sum.0 + users, sum.1 + clicks);
    }
    let series: Vec<(String, Vec<(f64, f64)>)> = sums
        .into_iter()
        .take(SERIES_MAX)
        .map(|(event, days)| {
            let points = days.into_iter().filter(|(_, (_, clicks))| *clicks > 0);
            let rate = |(day, (users, clicks)): (u64, (u64, u64))| {
                (day as f64, users as f64 * 100.0 / clicks as f64)
            };
            (event, points.map(rate).collect())
        })
        .collect();
    let last =
        series.iter().flat_map(|(_, points)| points).map(|(day, _)| *day).fold(1.0, f64::max);
    let title = format!("Users by days after the click · {}", zone(answer));
    draw(&title, &Picture::Lines { last, series }, path)
}

fn zone(answer: &Value) -> String {
    super::list::period(&answer["period"])
}

fn label(values: &[String]) -> String {
    let shown = values.iter().map(|it| if it.is_empty() { "not known" } else { it.as_str() });
    let text = shown.collect::<Vec<_>>().join(" / ");
    output::cell(&Value::from(text))
}

fn draw(title: &str, picture: &Picture, path: &Path) -> Result<(), Failure> {
    // Registering it again changes nothing.
    let font = epaint_default_fonts::UBUNTU_LIGHT;
    register_font(FONT, FontStyle::Normal, font)
        .map_err(|_| Failure::failed("the built-in font cannot be read".to_owned()))?;
    match form(path)? {
        Form::Svg => {
            let mut text = String::new();
            paint(SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)), title, picture)?;
            std::fs::write(path, text).map_err(|error| cannot_write(path, &error))
        }
        Form::Png => {
            let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
            paint(BitMapBackend::with_buffer(&mut pixels, (WIDTH, HEIGHT)), title, picture)?;
            write_png(&pixels, path)
        }
    }
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

fn write_png(pixels: &[u8], path: &Path) -> Result<(), Failure> {
    let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let wrong = |error: png::EncodingError| cannot_write(path, &error);
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(pixels).map_err(wrong)?;
    writer.finish().map_err(wrong)
}

fn paint<B: DrawingBackend>(backend: B, title: &str, picture: &Picture) -> Result<(), Failure> {
    painted(backend, title, picture)
        .map_err(|error| Failure::failed(format!("the picture cannot be drawn: {error}")))
}

fn painted<B: DrawingBackend>(
    backend: B,
    title: &str,
    picture: &Picture,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    let series: Vec<&String> = match picture {
        Picture::Bars { series, .. } => series.iter().map(|(name, _)| name).collect(),
        Picture::Lines { series, .. } => series.iter().map(|(name, _)| name).collect(),
    };
    let has_names = series.iter().any(|name| !name.is_empty());
    let (width, top) = match picture {
        // Room for the words above a whole bar.
        Picture::Bars { steps, .. } => (steps.len() as f64, 108.0),
        Picture::Lines { last, series } => {
            let rates = series.iter().flat_map(|(_, points)| points).map(|(_, rate)| *rate);
            (*last, rates.fold(1.0, f64::max) * 1.1)
        }
    };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, TITLE_SIZE))
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..width.max(1.0), 0.0..top)?;
    let step_at = |x: &f64| match picture {
        Picture::Bars { steps, .. } => steps.get(*x as usize).cloned().unwrap_or_default(),
        Picture::Lines { .. } => format!("{x:.0}"),
    };
    let percent = |y: &f64| format!("{y:.0} %");
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().label_style((FONT, LABEL_SIZE)).y_label_formatter(&percent);
    match picture {
        // The names of steps stand below their bars, drawn with them.
        Picture::Bars { .. } => mesh.x_labels(0).y_desc("of clicks").draw()?,
        Picture::Lines { .. } => mesh
            .x_label_formatter(&step_at)
            .x_desc("days after the click")
            .y_desc("of clicks")
            .draw()?,
    }
    match picture {
        Picture::Bars { steps, series } => {
            let slot = 0.8 / series.len().max(1) as f64;
            for (index, (name, rates)) in series.iter().enumerate() {
                let colour = COLOURS[index % SERIES_MAX];
                let bars = rates.iter().enumerate().map(|(step, rate)| {
                    let left = step as f64 + 0.1 + slot * index as f64;
                    Rectangle::new([(left, 0.0), (left + slot * 0.95, *rate)], colour.filled())
                });
                let drawn = chart.draw_series(bars)?;
                if has_names {
                    drawn.label(name).legend(move |(x, y)| {
                        Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour.filled())
                    });
                }
                let labels = rates.iter().enumerate().filter(|_| series.len() <= 3);
                chart.draw_series(labels.map(|(step, rate)| {
                    let left = step as f64 + 0.1 + slot * index as f64;
                    let above = (rate + 4.0).min(top - 1.0);
                    Text::new(format!("{rate:.1} %"), (left, above), (FONT, LABEL_SIZE))
                }))?;
            }
            let base = area.strip_coord_spec();
            let (plot_x, plot_y) = chart.plotting_area().get_pixel_range();
            for (index, step) in steps.iter().enumerate() {
                let width = f64::from(plot_x.end - plot_x.start) / steps.len() as f64;
                let x = f64::from(plot_x.start) + (index as f64 + 0.1) * width;
                let text = Text::new(step.clone(), (x as i32, plot_y.end + 14), (FONT, LABEL_SIZE));
                base.draw(&text)?;
            }
        }
        Picture::Lines { series, .. } => {
            for (index, (name, points)) in series.iter().enumerate() {
                let colour = COLOURS[index % SERIES_MAX];
                let line = LineSeries::new(points.iter().copied(), colour.stroke_width(3));
                chart.draw_series(line)?.label(name).legend(move |(x, y)| {
                    Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour.filled())
                });
            }
        }
    }
    if has_names {
        chart
            .configure_series_labels()
            .label_font((FONT, LABEL_SIZE))
            .background_style(WHITE.mix(0.8))
            .position(SeriesLabelPosition::UpperRight)
            .draw()?;
    }
    area.present()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        let row = |day: u64, users: Value| json!({ "event_id": "Install <b>", "day": day, "users": users, "clicks": 10 });
        json!({
            "offer_name": "Pet the Dogs", "period": {"from": null, "to": null, "time_zone": "UTC"},
            "rows": [row(0, json!(3)), row(7, json!(5)), row(30, json!(null))],
        })
    }

    fn groups() -> Vec<Group> {
        let step = |name: &str, percent: f64| {
            json!({
                "event_id": name, "name": name, "sequence": 1, "reached": 1, "step_percent": 1.0,
                "overall_percent": percent, "pending": 0, "success": 1, "rejected": 0,
                "amounts": [], "rewards": [], "sales": [], "times": null,
            })
        };
        let group = |value: &str| json!({"values": [value], "clicks": 9, "steps": [step("Install", 51.0), step("Level", 12.5)]});
        serde_json::from_value(json!([group("acme"), group("sunny")])).unwrap()
    }

    #[test]
    fn pictures_have_something_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let png = folder.path().join("funnel.png");
        funnel(&answer(), &groups(), &png).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(&png).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (WIDTH, HEIGHT));
        let of = |wanted: RGBColor| {
            pixels.chunks(3).filter(|it| **it == [wanted.0, wanted.1, wanted.2]).count()
        };
        // Both series are there, and text is drawn in black.
        assert!(of(COLOURS[0]) > 10_000 && of(COLOURS[1]) > 10_000);
        assert!(of(BLACK) > 100, "no text: {}", of(BLACK));
        let svg = folder.path().join("cohorts.SVG");
        cohorts(&answer(), &svg).unwrap();
        let text = std::fs::read_to_string(svg).unwrap();
        assert!(text.contains("Install &lt;b&gt;") && text.contains("<polyline"), "{text}");
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(check(Path::new("x.pdf")).unwrap_err().code, 2);
        assert_eq!(check(Path::new("png")).unwrap_err().code, 2);
    }
}
