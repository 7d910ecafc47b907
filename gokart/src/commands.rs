//! The commands that do one thing and end. Each asks, then prints; what goes wrong becomes one
//! message and an exit code here.

mod apply;
mod by_hand;
mod deliveries;
mod erase;
mod explain;
mod export;
mod funnel;
mod links;
mod list;
mod migrate;
mod output;
mod plot;
mod redecide;
mod tables;

pub use apply::{apply_at_start, read_documents};

use crate::cli::asking::{Ask, Format};
use crate::cli::reports::Report;
use admin::apply::Problem;
use hyper::StatusCode;
use serde_json::Value;
use service::ServiceError;
use std::fmt;
use std::process::ExitCode;

/// Exit codes (architecture, "Command line").
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const BAD_CONFIGURATION: u8 = 78;

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    message: String,
    hint: Option<String>,
    problems: Vec<Problem>,
}

impl Failure {
    pub fn failed(message: String) -> Self {
        Self { code: FAILED, message, hint: None, problems: Vec::new() }
    }

    pub fn usage(message: String) -> Self {
        Self { code: WRONG_USAGE, ..Self::failed(message) }
    }

    pub fn configuration(message: String) -> Self {
        Self { code: BAD_CONFIGURATION, ..Self::failed(message) }
    }

    /// What the admin API answered in place of what was asked for.
    pub fn answered(status: StatusCode, answer: &Value) -> Self {
        let error = &answer["error"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let problems = serde_json::from_value(error["problems"].clone()).unwrap_or_default();
        let message = text(&error["message"])
            .unwrap_or_else(|| format!("the admin API answered {status} without saying why"));
        let (code, hint) = match status {
            StatusCode::BAD_REQUEST => (WRONG_USAGE, None),
            StatusCode::UNPROCESSABLE_ENTITY => (BAD_CONFIGURATION, None),
            StatusCode::UNAUTHORIZED => (
                BAD_CONFIGURATION,
                Some("is --data the directory of that installation?".to_owned()),
            ),
            _ => (FAILED, None),
        };
        Self { code, message, hint: text(&error["hint"]).or(hint), problems }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Does what was asked; prints what came of it, or why it did not, and gives the exit code.
pub async fn run(ask: Box<Ask>) -> ExitCode {
    let done = match *ask {
        Ask::Apply(it) => apply::run(&it).await,
        Ask::PostbackUrl(it) => links::postback_url(&it).await,
        Ask::TrackingLink(it) => links::tracking_link(&it).await,
        Ask::Report(report) => show(&report).await,
        Ask::Export(it) => export::run(&it).await,
        Ask::Explain(it) => explain::run(&it).await,
        Ask::Approve(it) => by_hand::approve(&it).await,
        Ask::Reject(it) => by_hand::reject(&it).await,
        Ask::Deliveries(it) => deliveries::deliveries(&it).await,
        Ask::PublisherPostback(it) => deliveries::publisher_postback(&it).await,
        Ask::Redecide(it) => redecide::run(&it).await,
        Ask::Refused(it) => list::refused(&it).await,
        Ask::Erase(it) => erase::run(&it).await,
        Ask::Migrate(it) => migrate::run(&it).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gokart: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// Prints rows of text in the form that was asked for.
pub fn shown(
    format: Format,
    heading: &[&str],
    lines: &[Vec<String>],
    numbers: &[usize],
) -> Result<(), ServiceError> {
    let text = match format {
        Format::Table => Ok(output::table(heading, lines, numbers)),
        Format::Csv => output::csv(heading, lines),
        Format::Json => {
            let object = |line: &Vec<String>| {
                let cells = heading.iter().zip(line).enumerate().map(|(index, (name, cell))| {
                    let count = cell.parse::<u64>().ok().filter(|_| numbers.contains(&index));
                    ((*name).to_owned(), count.map_or(Value::from(cell.as_str()), Value::from))
                });
                cells.collect::<Value>()
            };
            Ok(output::json(&lines.iter().map(object).collect()))
        }
    };
    let printed = text.and_then(|text| output::print(&text));
    printed.map_err(|failure| ServiceError::Failed(failure.to_string()))
}

async fn show(report: &Report) -> Result<(), Failure> {
    match report {
        Report::Funnel(it) => funnel::run(it).await,
        Report::Reconciliation(it) => tables::reconciliation(it).await,
        Report::Clicks(it) => list::clicks(it).await,
        Report::Conversions(it) => list::conversions(it).await,
        Report::Postbacks(it) => list::postbacks(it).await,
        table => match table.table() {
            Some(ask) => tables::run(ask).await,
            None => Err(Failure::usage("this report cannot be shown".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_become_messages_and_exit_codes() {
        let check = |status: StatusCode, error: Value, code: u8, text: &str| {
            let failure = Failure::answered(status, &json!({ "error": error }));
            assert_eq!((failure.code, failure.to_string().as_str()), (code, text));
        };
        check(StatusCode::BAD_REQUEST, json!({"message": "no", "hint": "do"}), 2, "no; do");
        check(StatusCode::CONFLICT, json!({"message": "theirs"}), 1, "theirs");
        let problem = json!({"file": "f.yaml", "line": 3, "field": "id", "message": "is missing"});
        check(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({"message": "1 problem; nothing was changed", "problems": [problem]}),
            78,
            "f.yaml:3: id: is missing\n1 problem; nothing was changed",
        );
        check(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!(null),
            1,
            "the admin API answered 500 Internal Server Error without saying why",
        );
    }
}
