//! Reports that are tables, each by its columns: aligned and with bars on a terminal, whole as JSON
//! and CSV.

use super::list::period;
use super::{Failure, output, plot};
use crate::cli::asking::Format;
use crate::cli::reports::{Reconciliation, TableReport};
use crate::client::Client;
use admin::report::column::{Column, Kind};
use admin::report::reconcile;
use serde_json::Value;

/// `2026-11-01T00:00:00` of a time.
const TIME_CHARS: usize = 19;
/// The column that is drawn as a bar, too.
const BAR_OF: &str = "percent";

pub async fn run(ask: TableReport<'_>) -> Result<(), Failure> {
    if let Some(path) = ask.plot {
        plot::check(path)?;
    }
    let answer = Client::connect(ask.connection)?.get(ask.target).await?;
    if let Some(path) = ask.plot {
        plot::cohorts(&answer, path)?;
    }
    output::print_drawn(&text(&answer, ask.kind.definition().columns, ask.output.format)?)
}

pub async fn reconciliation(ask: &Reconciliation) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::usage(format!("{}: {error}", ask.file.display()));
    let size = std::fs::metadata(&ask.file).map_err(wrong)?.len();
    if size > reconcile::BODY_BYTES_MAX as u64 {
        return Err(Failure::usage(format!(
            "{}: is larger than {} bytes; send a shorter time at once",
            ask.file.display(),
            reconcile::BODY_BYTES_MAX
        )));
    }
    let file = std::fs::read(&ask.file).map_err(wrong)?;
    let answer = Client::connect(&ask.common.connection)?.post_file(ask.target(), file).await?;
    let columns = reconcile::DEFINITION.columns;
    output::print_drawn(&text(&answer, columns, ask.common.output.format)?)
}

fn text(answer: &Value, columns: &[Column], format: Format) -> Result<String, Failure> {
    let rows = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    match format {
        Format::Json => Ok(output::json(answer)),
        Format::Csv => {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            let cells = |row: &Value| names.iter().map(|name| row[*name].clone()).collect();
            let rows: Vec<Vec<Value>> = rows("rows").iter().map(cells).collect();
            String::from_utf8(admin::report::csv::document(&names, &rows))
                .map_err(|error| Failure::failed(format!("CSV: {error}")))
        }
        Format::Table => Ok(drawn(answer, columns, &rows("rows"), &rows("totals"))),
    }
}

fn drawn(answer: &Value, columns: &[Column], rows: &[Value], totals: &[Value]) -> String {
    if rows.is_empty() {
        return format!("Nothing found.\n{}", footer(answer, 0));
    }
    // A column that is empty all the way down says nothing.
    let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    let has_values = |column: &&Column| rows.iter().any(|row| !is_empty(&row[column.name]));
    let shown: Vec<&Column> =
        columns.iter().filter(|column| !column.is_wide).filter(has_values).collect();
    let mut heading = Vec::new();
    let mut numbers = Vec::new();
    for column in &shown {
        if column.kind.is_number() {
            numbers.push(heading.len());
        }
        heading.push(title(column));
        if column.name == BAR_OF {
            heading.push(String::new());
        }
    }
    let line = |row: &Value| -> Vec<String> {
        let mut cells = Vec::new();
        for column in &shown {
            let value = &row[column.name];
            cells.push(cell(column.kind, value));
            if column.name == BAR_OF {
                cells.push(output::bar(value.as_f64()));
            }
        }
        cells
    };
    let mut lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    for total in totals {
        let mut cells = line(total);
        if let Some(first) = cells.first_mut() {
            *first = "Total".to_owned();
        }
        lines.push(cells);
    }
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    let mut text = output::chart(&heading, &lines, &numbers);
    text.push_str(&footer(answer, rows.len()));
    text
}

/// `median_seconds` is `median` where its cells say their units.
fn title(column: &Column) -> String {
    let name = column.name;
    let short = match column.kind {
        Kind::Seconds => name.strip_suffix("_seconds").unwrap_or(name),
        Kind::Percent if name == BAR_OF => "%",
        Kind::Percent => name.strip_suffix("_percent").unwrap_or(name),
        Kind::Time => name.strip_suffix("_at").unwrap_or(name),
        Kind::Id => name.strip_suffix("_id").unwrap_or(name),
        _ => name.strip_suffix("_id").unwrap_or(name),
    };
    short.replace('_', " ")
}

fn cell(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Percent, Value::Null) => "–".to_owned(),
        (Kind::Percent, value) => {
            value.as_f64().map_or_else(String::new, |rate| format!("{rate:.1} %"))
        }
        (Kind::Rate, value) => value.as_f64().map_or_else(String::new, |rate| format!("{rate:.2}")),
        (Kind::Seconds, value) => value.as_i64().map_or_else(String::new, output::seconds),
        (Kind::Flag, Value::Bool(set)) => if *set { "yes" } else { "" }.to_owned(),
        (Kind::Time, value) => {
            output::cell(value).chars().take(TIME_CHARS).collect::<String>().replace('T', " ")
        }
        (_, value) => output::cell(value),
    }
}

/// What the reader has to know about the rows.
fn footer(answer: &Value, count: usize) -> String {
    let rows = if count == 1 { "row" } else { "rows" };
    let more = match answer["more"].as_bool() {
        Some(true) => " and more, which are not shown: ask for a shorter time or fewer dimensions",
        _ => "",
    };
    let tests = match answer["tests_included"].as_bool() {
        Some(true) => "; tests included",
        _ => "; without tests",
    };
    let mut text = format!("{count} {rows}{more}; {}{tests}\n", period(&answer["period"]));
    for note in answer["notes"].as_array().into_iter().flatten() {
        text.push_str(&format!("{}\n", output::cell(note)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: [Column; 6] = [
        Column::new("event_id", Kind::Text, ""),
        Column::new("percent", Kind::Percent, ""),
        Column::new("median_seconds", Kind::Seconds, ""),
        Column::new("last_at", Kind::Time, ""),
        Column::new("revenue", Kind::Amount, ""),
        Column::new("example", Kind::Id, "").wide(),
    ];

    fn answer() -> Value {
        let row = |event: &str, percent: Value, revenue: &str| {
            json!({
                "event_id": event, "percent": percent, "median_seconds": 90_061,
                "last_at": "2026-11-01T00:00:00.000-04:00", "revenue": revenue, "example": "x",
            })
        };
        json!({
            "rows": [row("Install", json!(50.0), "12.50"), row("=1+1", json!(null), "-3.00")],
            "totals": [{"revenue": "9.50"}],
            "more": false, "tests_included": false, "notes": ["A note."],
            "period": {"from": null, "to": null, "time_zone": "America/New_York"},
        })
    }

    #[test]
    fn a_table_is_aligned_and_says_what_it_is_of() {
        insta::assert_snapshot!(text(&answer(), &COLUMNS, Format::Table).unwrap());
    }

    #[test]
    fn csv_has_every_column_and_no_formula() {
        let text = text(&answer(), &COLUMNS, Format::Csv).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("event_id,percent,median_seconds,last_at,revenue,example"));
        assert_eq!(lines.next(), Some("Install,50.0,90061,2026-11-01T00:00:00.000-04:00,12.50,x"));
        assert!(lines.next().unwrap().starts_with("'=1+1,,90061,"), "{text}");
    }
}
