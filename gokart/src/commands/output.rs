//! Prints results: tables for people, JSON and CSV for going on.

use super::Failure;
use crate::cli::asking::Format;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};

/// Characters of a whole bar.
const BAR_CHARS: usize = 16;
/// Green, and back.
const BAR_COLOUR: &str = "\u{1b}[32m";
const PLAIN: &str = "\u{1b}[0m";

/// Prints a report: its bars in colour on a terminal.
pub fn print_drawn(text: &str) -> Result<(), Failure> {
    if wants_colour() { print(&coloured(text)) } else { print(text) }
}

/// Writes to standard output. A reader that has gone (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A cell as people read it; nothing for null.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            // What came from outside must not steer the terminal.
            text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
        }
        other => other.to_string(),
    }
}

/// Rows of text under a heading. `numbers` are columns that are aligned to the right. Nothing is
/// wrapped: ids are there to be copied.
pub fn table(heading: &[&str], rows: &[Vec<String>], numbers: &[usize]) -> String {
    draw(presets::UTF8_FULL_CONDENSED, heading, rows, numbers)
}

/// The same with no lines but the one below the heading, for columns that are pictures.
pub fn chart(heading: &[&str], rows: &[Vec<String>], numbers: &[usize]) -> String {
    let style = TableStyle::new()
        .header_separator(LineStyle::none().fill('─').junction('─').left('─').right('─'));
    draw(style, heading, rows, numbers)
}

fn draw(style: TableStyle, heading: &[&str], rows: &[Vec<String>], numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(style);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    for index in numbers {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The same as CSV, for spreadsheets too.
pub fn csv(heading: &[&str], rows: &[Vec<String>]) -> Result<String, Failure> {
    let cells = |row: &Vec<String>| row.iter().map(|text| Value::from(text.as_str())).collect();
    let rows: Vec<Vec<Value>> = rows.iter().map(cells).collect();
    String::from_utf8(admin::report::csv::document(heading, &rows))
        .map_err(|error| Failure::failed(format!("CSV: {error}")))
}

/// A bar for a share of a hundred; anything above nothing shows.
pub fn bar(percent: Option<f64>) -> String {
    let Some(rate) = percent else { return String::new() };
    let eighths = (rate.clamp(0.0, 100.0) / 100.0 * (BAR_CHARS * 8) as f64).round() as usize;
    let eighths = if rate > 0.0 { eighths.max(1) } else { eighths };
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8) {
        bar.push_str(part);
    }
    bar
}

/// A stretch of time in its two largest units: `1d 1h`.
pub fn seconds(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (size, unit) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count}{unit}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Colours what is drawn with blocks, when the reader can see colours.
fn coloured(text: &str) -> String {
    let is_block = |c: char| ('\u{2588}'..='\u{258f}').contains(&c);
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if is_block(character) != inside {
            inside = !inside;
            out.push_str(if inside { BAR_COLOUR } else { PLAIN });
        }
        out.push(character);
    }
    out
}

/// <https://no-color.org>: any value but an empty one switches colour off.
fn wants_colour() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// One thing with its fields: names and values.
pub fn fields(format: Format, value: &Value, names: &[(&str, &str)]) -> Result<String, Failure> {
    let shown: Vec<(&str, String)> =
        names.iter().map(|(field, title)| (*title, cell(&value[*field]))).collect();
    Ok(match format {
        Format::Json => json(value),
        Format::Csv => {
            let heading: Vec<&str> = names.iter().map(|(field, _)| *field).collect();
            csv(&heading, &[shown.into_iter().map(|(_, text)| text).collect()])?
        }
        Format::Table => {
            let width = shown.iter().map(|(title, _)| title.chars().count()).max().unwrap_or(0);
            shown.iter().map(|(title, text)| format!("{title:<width$}  {text}\n")).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_thing_in_three_forms() {
        let value = json!({"a": "x,\"y\"", "b": null, "c": 3});
        let names = [("a", "The A"), ("c", "C")];
        assert_eq!(fields(Format::Table, &value, &names).unwrap(), "The A  x,\"y\"\nC      3\n");
        assert_eq!(fields(Format::Csv, &value, &names).unwrap(), "a,c\n\"x,\"\"y\"\"\",3\n");
        assert!(fields(Format::Json, &value, &names).unwrap().contains("\"b\": null"));
    }

    #[test]
    fn bars() {
        let check = |rate: Option<f64>, expected: &str| assert_eq!(bar(rate), expected);
        check(None, "");
        check(Some(0.0), "");
        check(Some(0.01), "▏");
        check(Some(50.0), &"█".repeat(BAR_CHARS / 2));
        check(Some(140.0), &"█".repeat(BAR_CHARS));
        assert_eq!(coloured("a █▏ b"), "a \u{1b}[32m█▏\u{1b}[0m b");
        assert_eq!(coloured("─ a"), "─ a");
    }

    #[test]
    fn stretches_of_time() {
        for (s, text) in
            [(0, "0s"), (59, "59s"), (61, "1min 1s"), (90_061, "1d 1h"), (86_405, "1d")]
        {
            assert_eq!(seconds(s), text);
        }
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[31mb\n")), "a·[31mb·");
    }
}
