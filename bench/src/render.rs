//! `bench/results.md`: what people read.

use crate::areas;
use crate::measure::{median, spread};
use crate::results::{self, Area, Line, Target};
use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "# Benchmarks\n\nWritten by `make bench`; `results/` beside it has every raw number. \
    The sides of a line run in turn in one run on one machine. Median of all runs; the spread is \
    greatest less smallest by the median. The ratio is the first line by the second.\n";

/// Draws the page from all results that are there, in the order of the areas.
pub fn write(directory: &Path) -> Result<()> {
    let mut page = HEAD.to_owned();
    for area in areas::ALL {
        match results::read(directory, area.name)? {
            Some(found) => page += &section(&found, area.about)?,
            None => write!(page, "\n## {}: {}\n\nNot measured.\n", area.name, area.about)?,
        }
    }
    let path = directory.join("results.md");
    std::fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn section(area: &Area, about: &str) -> Result<String> {
    let mut text = format!("\n## {}: {about}\n\n", area.name);
    let machine = &area.machine;
    let version = |what: &str, version: &str| match version {
        "" => String::new(),
        version => format!(", {what} {version}"),
    };
    writeln!(
        text,
        "{} at {}; {}, {} cores, {} GiB, {}, {}{}{}.\n",
        area.measured_at,
        area.commit,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.rustc,
        version("Apache Kafka", &machine.kafka),
        version("ClickHouse (chdb)", &machine.clickhouse),
    )?;
    writeln!(text, "{}", table(&area.lines))?;
    for note in area.lines.iter().flat_map(|line| line.notes.iter().map(move |it| (line, it))) {
        write!(text, "\n* {}: {}", note.0.what, note.1)?;
    }
    for what in &area.not_measured {
        write!(text, "\n* **Not measured:** {what}")?;
    }
    text.push('\n');
    Ok(text)
}

/// One table of an area's lines.
pub fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(["what", "side", "median", "unit", "spread", "runs", "ratio", "target", ""]);
    for line in lines {
        for (at, series) in line.series.iter().enumerate() {
            let first = |text: String| if at == 0 { text } else { String::new() };
            table.add_row([
                first(line.what.clone()),
                series.name.clone(),
                value(line, median(&series.values)),
                line.unit.clone(),
                format!("{:.0} %", spread(&series.values) * 100.0),
                series.values.len().to_string(),
                first(line.ratio().map(|it| format!("{it:.3}")).unwrap_or_default()),
                first(line.target.map(target).unwrap_or_default()),
                first(line.reached().map(verdict).unwrap_or_default()),
            ]);
        }
    }
    for column in [2, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn target(target: Target) -> String {
    match target {
        Target::RatioAtLeast(least) => format!("≥ {least:.2} ×"),
        Target::RatioAtMost(most) => format!("≤ {most:.2} ×"),
        Target::P95RatioAtMost(most) => format!("p95 ≤ {most:.2} ×"),
        Target::AtMost(most) => format!("≤ {}", number(most)),
        Target::Exactly(wanted) => format!("= {}", cut(wanted)),
    }
}

fn verdict(reached: bool) -> String {
    if reached { "reached" } else { "**missed**" }.to_owned()
}

fn value(line: &Line, value: f64) -> String {
    match line.target {
        Some(Target::Exactly(_)) => cut(value),
        _ => number(value),
    }
}

/// Six decimals, cut and not rounded: nothing short of one reads as one.
fn cut(value: f64) -> String {
    format!("{:.6}", (value * 1e6).floor() / 1e6)
}

/// Three figures of a number below a tenth, without zeros at its end.
fn small(value: f64) -> String {
    let decimals = (2.0 - value.abs().log10().floor()).clamp(3.0, 12.0) as usize;
    format!("{value:.decimals$}").trim_end_matches('0').to_owned()
}

/// Four figures of small numbers, groups of three digits of large ones.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "—".to_owned();
    }
    if value.abs() < 0.1 && value != 0.0 {
        return small(value);
    }
    if value.abs() < 1000.0 {
        let decimals = match value.abs() {
            it if it >= 100.0 => 1,
            it if it >= 10.0 => 2,
            _ => 3,
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{:.0}", value.abs());
    let grouped: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Series;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.1234, "0.123"),
            (12.345, "12.35"),
            (123.45, "123.5"),
            (1234.5, "1 234"),
            (-9_876_543.0, "-9 876 543"),
            (f64::NAN, "—"),
            (0.0, "0.000"),
            (0.05, "0.05"),
            (0.0001, "0.0001"),
            (0.000_034_56, "0.0000346"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_target_is_judged_by_medians() {
        let series =
            |name: &str, values: &[f64]| Series { name: name.into(), values: values.into() };
        let mut line = Line {
            what: "x".into(),
            unit: "rows/s".into(),
            series: vec![series("ours", &[80.0, 85.0, 10.0]), series("theirs", &[100.0])],
            target: Some(Target::RatioAtLeast(0.8)),
            notes: Vec::new(),
        };
        assert_eq!(line.reached(), Some(true));
        line.target = Some(Target::RatioAtLeast(0.81));
        assert_eq!(line.reached(), Some(false));
        line.target = Some(Target::RatioAtMost(0.8));
        assert_eq!(line.reached(), Some(true));
        line.target = Some(Target::P95RatioAtMost(0.84));
        assert_eq!(line.reached(), Some(false));
        line.target = Some(Target::AtMost(80.0));
        assert_eq!(line.reached(), Some(true));
        assert!(table(&[line]).to_string().contains("reached"));
    }

    #[test]
    fn exactly_is_exactly_and_never_rounded_up() {
        let check = |values: &[f64], reached: bool, shown: &str| {
            let line = Line {
                what: "x".into(),
                unit: "share".into(),
                series: vec![Series { name: "ours".into(), values: values.into() }],
                target: Some(Target::Exactly(1.0)),
                notes: Vec::new(),
            };
            assert_eq!(line.reached(), Some(reached), "{values:?}");
            let table = table(&[line]).to_string();
            assert!(table.contains(shown) && table.contains("= 1.000000"), "{table}");
        };
        check(&[1.0], true, " 1.000000 |");
        check(&[9_999_999.0 / 1e7], false, " 0.999999 |");
        check(&[1.0, 1.0, 0.5], false, " 1.000000 |");
        check(&[], false, "missed");
    }

    #[test]
    fn what_is_not_measured_stands_on_the_page() {
        let area = Area::new("x", Vec::new(), vec!["the half of it: no time".into()]).unwrap();
        let page = section(&area, "y").unwrap();
        assert!(page.contains("\n* **Not measured:** the half of it: no time\n"), "{page}");
    }
}
