//! `approve` and `reject`.

use super::{Failure, output};
use crate::cli::asking::{Approve, Connection, Format, Reject};
use crate::client::{Client, Target};
use admin::by_hand::{DecisionReport, DecisionRequest};
use schemas::CommandEffect;
use serde_json::json;

pub async fn approve(ask: &Approve) -> Result<(), Failure> {
    let request = DecisionRequest { reason: ask.reason.clone(), over_limit: ask.over_limit };
    decide(&ask.connection, ask.output.format, &ask.conversion, "approve", &request).await
}

pub async fn reject(ask: &Reject) -> Result<(), Failure> {
    let request = DecisionRequest { reason: ask.reason.clone(), over_limit: false };
    decide(&ask.connection, ask.output.format, &ask.conversion, "reject", &request).await
}

async fn decide(
    connection: &Connection,
    format: Format,
    conversion: &str,
    verb: &str,
    request: &DecisionRequest,
) -> Result<(), Failure> {
    let target = Target::new(&["conversions", conversion, verb]);
    let answer = Client::connect(connection)?.post(target, &json!(request)).await?;
    let report: DecisionReport = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    let text = match format {
        Format::Json => output::json(&answer),
        Format::Table => in_words(&report),
        Format::Csv => output::csv(
            &["conversion_id", "effect", "status", "reason", "revision"],
            &[vec![
                report.conversion_id.clone(),
                report.effect.clone(),
                report.after.status.clone(),
                report.after.reason.clone(),
                report.after.revision.to_string(),
            ]],
        )?,
    };
    output::print(&text)?;
    match report.effect.parse() {
        Ok(CommandEffect::Applied | CommandEffect::AlreadySo) => Ok(()),
        _ => Err(Failure::failed(report.meaning)),
    }
}

fn in_words(report: &DecisionReport) -> String {
    let standing = |it: &admin::by_hand::Standing| {
        format!("{} {} (revision {})", it.status, it.reason, it.revision).replace("  ", " ")
    };
    format!(
        "{} ({:?}): {}\n  before: {}\n  now:    {}\n",
        report.conversion_id,
        report.event_id,
        report.meaning,
        standing(&report.before),
        standing(&report.after)
    )
}
