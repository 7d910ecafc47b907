//! Prints results: tables for people, JSON and CSV for going on.

use super::Failure;
use crate::cli::asking::Format;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use serde_json::Value;
use std::io::{ErrorKind, Write};

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

/// The same as CSV (RFC 4180).
pub fn csv(heading: &[&str], rows: &[Vec<String>]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(heading).map_err(|error| failed(&error))?;
    for row in rows {
        writer.write_record(row).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
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
    fn cells_cannot_steer_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[31mb\n")), "a·[31mb·");
    }
}
