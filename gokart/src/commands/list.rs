//! `report conversions`, `report postbacks` and `refused`: one line a thing.

use super::{Failure, output};
use crate::cli::asking::{Connection, Conversions, Format, Period, Postbacks, Refused};
use crate::cli::reports::Clicks;
use crate::client::{Client, Target};
use serde_json::Value;

/// What fits on a terminal; JSON and CSV have every column.
const CONVERSIONS: &[&str] = &[
    "received_at",
    "conversion_id",
    "event_id",
    "status",
    "reason",
    "revenue",
    "payout",
    "currency",
    "publisher_id",
];
const POSTBACKS: &[&str] =
    &["received_at", "postback_id", "event_id", "outcome", "reason", "conversion_id"];
const REFUSED: &[&str] = &["refused_at", "tenant", "mismatch", "address", "host", "parameters"];
/// `2026-11-01T00:00:00` of a time.
const TIME_CHARS: usize = 19;
/// Characters of all parameters together that a table shows.
const PARAMETERS_CHARS: usize = 80;
const NUMBERS: &[&str] = &["revenue", "payout"];

const CLICKS: &[&str] =
    &["clicked_at", "click_id", "offer_id", "publisher_id", "country", "platform", "sub1"];

pub async fn clicks(ask: &Clicks) -> Result<(), Failure> {
    let target = ask
        .whose
        .add(Target::new(&["report", "clicks"]))
        .with("click", ask.click.as_deref())
        .flag("include_test", ask.include_test);
    let common = &ask.common;
    let target = bounded(ask.traffic.add(target), &common.period, ask.limit);
    show(&common.connection, target, common.output.format, CLICKS).await
}

pub async fn conversions(ask: &Conversions) -> Result<(), Failure> {
    let target = ask
        .whose
        .add(Target::new(&["report", "conversions"]))
        .with("event", ask.event.as_deref())
        .with("status", ask.status.as_deref())
        .with("reason", ask.reason.as_deref())
        .with("click", ask.click.as_deref())
        .flag("include_test", ask.include_test);
    let target = bounded(ask.traffic.add(target), &ask.period, ask.limit);
    show(&ask.connection, target, ask.output.format, CONVERSIONS).await
}

pub async fn postbacks(ask: &Postbacks) -> Result<(), Failure> {
    let target = ask
        .whose
        .add(Target::new(&["report", "postbacks"]))
        .with("event", ask.event.as_deref())
        .with("outcome", ask.outcome.as_deref())
        .with("reason", ask.reason.as_deref())
        .with("click", ask.click.as_deref())
        .flag("include_test", ask.include_test);
    let target = bounded(target, &ask.period, ask.limit);
    show(&ask.connection, target, ask.output.format, POSTBACKS).await
}

pub async fn refused(ask: &Refused) -> Result<(), Failure> {
    let target = Target::new(&["refused"]).with("tenant", ask.tenant.as_deref());
    let target = bounded(target, &ask.period, ask.limit);
    show(&ask.connection, target, ask.output.format, REFUSED).await
}

pub fn bounded(target: Target, period: &Period, limit: u32) -> Target {
    period.add(target).with("limit", Some(&limit.to_string()))
}

pub async fn show(
    connection: &Connection,
    target: Target,
    format: Format,
    columns: &[&str],
) -> Result<(), Failure> {
    let client = Client::connect(connection)?;
    let target = match format {
        Format::Table => {
            let answer = client.get(target).await?;
            return output::print(&text(&answer, columns));
        }
        Format::Json => target,
        Format::Csv => target.with("format", Some("csv")),
    };
    // As it comes: a long list is not held.
    client.stream(target, &mut std::io::stdout().lock()).await.map(drop)
}

fn text(answer: &Value, shown: &[&str]) -> String {
    let empty = Vec::new();
    let rows = answer["rows"].as_array().unwrap_or(&empty);
    let row = |row: &Value| shown.iter().map(|name| shown_cell(name, &row[*name])).collect();
    let lines: Vec<Vec<String>> = rows.iter().map(row).collect();
    let numbers: Vec<usize> =
        (0..shown.len()).filter(|index| NUMBERS.contains(&shown[*index])).collect();
    let mut text = match rows.is_empty() {
        true => "Nothing found.\n".to_owned(),
        false => output::table(shown, &lines, &numbers),
    };
    text.push_str(&footer(answer, rows.len()));
    text
}

/// A cell of a table: times without their zone, which is stated below, and no more of the
/// parameters than fits.
fn shown_cell(name: &str, value: &Value) -> String {
    let text = output::cell(value);
    match name {
        "received_at" | "refused_at" | "clicked_at" | "created_at" | "attempted_at"
        | "next_attempt_at" => text.chars().take(TIME_CHARS).collect::<String>().replace('T', " "),
        "parameters" if text.chars().count() > PARAMETERS_CHARS => {
            text.chars().take(PARAMETERS_CHARS).chain(['…']).collect()
        }
        _ => text,
    }
}

/// What the reader has to know about the rows: how many, of what time, in which zone.
fn footer(answer: &Value, count: usize) -> String {
    let rows = if count == 1 { "row" } else { "rows" };
    let more = match answer["more"].as_bool() {
        Some(true) => "; there are more, see --limit",
        _ => "",
    };
    let tests = match answer["tests_included"].as_bool() {
        Some(false) => "; without tests",
        _ => "",
    };
    format!("{count} {rows}{more}; {}{tests}\n", period(&answer["period"]))
}

/// A period in words.
pub fn period(period: &Value) -> String {
    let zone = output::cell(&period["time_zone"]);
    match (period["from"].as_str(), period["to"].as_str()) {
        (None, None) => format!("of all time; times in {zone}"),
        (Some(from), None) => format!("from {from}; times in {zone}"),
        (None, Some(to)) => format!("before {to}; times in {zone}"),
        (Some(from), Some(to)) => format!("from {from} to before {to}; times in {zone}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        json!({
            "columns": ["received_at", "event_id", "revenue", "note"],
            "rows": [
                {"received_at": "2026-11-01T00:00:00.000-04:00", "event_id": "Install",
                 "revenue": "0.50", "note": null},
            ],
            "more": true,
            "tests_included": false,
            "period": {"from": "2026-11-01T00:00:00.000-04:00", "to": null,
                       "time_zone": "America/New_York"},
        })
    }

    #[test]
    fn a_table_says_what_it_is_of() {
        let text = text(&answer(), &["received_at", "event_id", "revenue"]);
        insta::assert_snapshot!(text);
    }
}
