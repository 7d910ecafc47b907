//! `erase`: takes what is personal out of all tables.

use super::{Failure, output};
use crate::cli::asking::{Erase, Format};
use crate::client::{Client, Target};
use admin::erase::{ErasureReport, ErasureRequest};
use schemas::ErasureKind;
use serde_json::json;

const COUNTED: [&str; 6] =
    ["clicks", "postbacks", "conversions", "deliveries", "refused", "dead_letters"];

pub async fn run(ask: &Erase) -> Result<(), Failure> {
    let (kind, value) = match (&ask.click, ask.subs.given()) {
        (Some(click), _) => (ErasureKind::Click, click.clone()),
        (None, Some((number, value))) => (ErasureKind::Sub(number), value.to_owned()),
        (None, None) => {
            return Err(Failure::usage(
                "name what to erase with --click or --sub1 to --sub15".to_owned(),
            ));
        }
    };
    let (requested_by, reason) = (ask.by.clone(), ask.reason.clone());
    let request = ErasureRequest { kind, value, requested_by, reason };
    let answer =
        Client::connect(&ask.connection)?.post(Target::new(&["erase"]), &json!(request)).await?;
    let report: ErasureReport = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    let counts = [
        report.clicks,
        report.postbacks,
        report.conversions,
        report.deliveries,
        report.refused,
        report.dead_letters,
    ];
    let text = match ask.output.format {
        Format::Json => output::json(&answer),
        Format::Csv => {
            let heading =
                ["erasure_id", "completed_at"].into_iter().chain(COUNTED).collect::<Vec<_>>();
            let first =
                [report.erasure_id.clone(), report.completed_at.clone().unwrap_or_default()];
            output::csv(
                &heading,
                &[first.into_iter().chain(counts.map(|count| count.to_string())).collect()],
            )?
        }
        Format::Table => {
            let rows: Vec<_> = COUNTED
                .iter()
                .zip(counts)
                .map(|(name, count)| vec![(*name).to_owned(), count.to_string()])
                .collect();
            output::table(&["Table", "Rows"], &rows, &[1])
        }
    };
    output::print(&text)?;
    match report.completed_at {
        Some(at) if ask.output.format == Format::Table => output::print(&format!(
            "Erasure {} by {} was complete at {at}.\n",
            report.erasure_id, report.kind
        )),
        Some(_) => Ok(()),
        None => Err(Failure::failed(format!(
            "erasure {} is still under way; it goes on by itself, and the table erasures_unique has it when it is complete",
            report.erasure_id
        ))),
    }
}
