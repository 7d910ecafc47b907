//! `deliveries` and `publisher-postback`.

use super::{Failure, list, output};
use crate::cli::asking::{Deliveries, Format, PublisherPostback};
use crate::client::{Client, Target};
use serde_json::{Value, json};

/// What fits on a terminal; JSON and CSV have every column.
const SHOWN: &[&str] = &[
    "created_at",
    "delivery_id",
    "destination",
    "event_id",
    "status",
    "outcome",
    "problem",
    "http_status",
    "attempt",
    "next_attempt_at",
];
const POSTBACKS: [&str; 5] = ["destination", "method", "url", "statuses", "test"];
const OUTCOMES: [&str; 6] =
    ["destination", "request", "outcome", "problem", "http_status", "latency_ms"];

pub async fn deliveries(ask: &Deliveries) -> Result<(), Failure> {
    let path: &[&str] = if ask.resend { &["deliveries", "resend"] } else { &["deliveries"] };
    let target = Target::new(path)
        .with("tenant", ask.tenant.as_deref())
        .with("offer", ask.offer.as_deref())
        .with("publisher", ask.publisher.as_deref())
        .with("event", ask.event.as_deref())
        .with("outcome", ask.outcome.as_deref())
        .with("delivery", ask.delivery.as_deref())
        .with("conversion", ask.conversion.as_deref())
        .with("click", ask.click.as_deref())
        .flag("include_test", ask.include_test);
    let target = list::bounded(target, &ask.period, ask.limit);
    if !ask.resend {
        return list::show(&ask.connection, target, ask.output.format, SHOWN).await;
    }
    let answer = Client::connect(&ask.connection)?.post(target, &json!({})).await?;
    let names = [
        ("resent", "Sent again"),
        ("more", "There are more"),
        ("without_conversion", "Without a conversion"),
    ];
    output::print(&output::fields(ask.output.format, &answer, &names)?)
}

pub async fn publisher_postback(ask: &PublisherPostback) -> Result<(), Failure> {
    let client = Client::connect(&ask.connection)?;
    let target = Target::new(&["publisher-postback"])
        .with("publisher", Some(&ask.publisher))
        .flag("reveal", ask.reveal);
    let answer = client.get(target).await?;
    let mut shown = answer.clone();
    if ask.test {
        let target =
            Target::new(&["publisher-postback", "test"]).with("publisher", Some(&ask.publisher));
        let outcomes = client.post(target, &json!({})).await?;
        shown["sample"] = outcomes["rows"].clone();
    }
    let text = match ask.output.format {
        Format::Json => output::json(&shown),
        Format::Csv => match ask.test {
            true => output::csv(&OUTCOMES, &rows(&shown["sample"], &OUTCOMES))?,
            false => output::csv(&POSTBACKS, &rows(&shown["postbacks"], &POSTBACKS))?,
        },
        Format::Table => {
            let names = [
                ("publisher_name", "Publisher"),
                ("secret", "Secret"),
                ("secret_version", "Secret version"),
            ];
            let mut text = output::fields(Format::Table, &answer, &names)?;
            text.push('\n');
            text.push_str(&output::table(&POSTBACKS, &rows(&shown["postbacks"], &POSTBACKS), &[]));
            if ask.test {
                text.push_str("\nWhat came of the sample:\n");
                text.push_str(&output::table(&OUTCOMES, &rows(&shown["sample"], &OUTCOMES), &[]));
            }
            if !ask.reveal {
                text.push_str("\nThe secret is masked; show it with --reveal.\n");
            }
            text
        }
    };
    output::print(&text)?;
    let failed = |row: &Value| row["outcome"] != "delivered";
    match shown["sample"].as_array().is_some_and(|rows| rows.iter().any(failed)) {
        true => Err(Failure::failed("a test URL did not take the sample".to_owned())),
        false => Ok(()),
    }
}

fn rows(of: &Value, columns: &[&str]) -> Vec<Vec<String>> {
    let row = |row: &Value| columns.iter().map(|name| output::cell(&row[*name])).collect();
    of.as_array().map(|rows| rows.iter().map(row).collect()).unwrap_or_default()
}
