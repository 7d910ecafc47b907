//! What the publisher was told of a click's conversions, attempt by attempt.

use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemas::{DeliveryOutcome, DeliveryProblem};
use serde::{Deserialize, Serialize};

/// Attempts that are told of one click.
const ATTEMPTS_MAX: usize = 200;

const ATTEMPTS: &str = "SELECT delivery_id AS id, attempt AS number, \
    toUnixTimestamp64Milli(d.attempted_at) AS at_ms, event_id AS event, status AS standing, \
    destination AS place, outcome AS result, problem AS trouble, http_status AS answer, \
    toUnixTimestamp64Milli(d.next_attempt_at) AS next_ms FROM deliveries_unique AS d \
    WHERE click_id = {id:String} ORDER BY attempted_at, attempt LIMIT {rows:UInt32}";

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    pub id: String,
    pub number: u32,
    pub at_ms: i64,
    pub event: String,
    pub standing: String,
    pub place: String,
    pub result: String,
    pub trouble: String,
    pub answer: u16,
    pub next_ms: Option<i64>,
}

/// The attempts for a click, the oldest first.
pub async fn fetch(warehouse: &Warehouse, click_id: &str) -> Result<Vec<AttemptRow>, Error> {
    let question = Question::new(ATTEMPTS).bind("id", click_id).bind("rows", ATTEMPTS_MAX);
    warehouse.rows(question).await
}

/// The attempts in words; none when nobody was told.
#[must_use]
pub fn paragraph(attempts: &[AttemptRow], time_zone: &str) -> Option<Vec<String>> {
    if attempts.is_empty() {
        return None;
    }
    let zone = TimeZone::get(time_zone).unwrap_or(TimeZone::UTC);
    let time = |ms: i64| match Timestamp::from_millisecond(ms) {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{ms} ms"),
    };
    let line = |it: &AttemptRow| {
        let outcome = it.result.parse::<DeliveryOutcome>();
        let meaning =
            outcome.map_or("an outcome that this build does not know", DeliveryOutcome::text);
        let why = match (it.answer, it.trouble.parse::<DeliveryProblem>()) {
            (0, Err(())) => String::new(),
            (0, Ok(problem)) => format!(" ({})", problem.text()),
            (status, _) => format!(" (HTTP {status})"),
        };
        let next = it.next_ms.map(|ms| format!("; again at {}", time(ms))).unwrap_or_default();
        format!(
            "{} {:?} {} to {}: {meaning}{why}{next} [{}]",
            time(it.at_ms),
            it.event,
            it.standing,
            it.place,
            it.id
        )
    };
    let mut lines = vec!["What the publisher was told:".to_owned()];
    lines.extend(attempts.iter().map(line));
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_in_words() {
        let attempt = AttemptRow {
            id: "dlv_1".to_owned(),
            number: 1,
            at_ms: 0,
            event: "Install".to_owned(),
            standing: "Success".to_owned(),
            place: "publisher/acme/default".to_owned(),
            result: "retrying".to_owned(),
            trouble: "timeout".to_owned(),
            answer: 0,
            next_ms: Some(10_000),
        };
        assert_eq!(paragraph(&[], "UTC"), None);
        let lines = paragraph(&[attempt], "UTC").unwrap();
        assert_eq!(
            lines[1],
            "1970-01-01 00:00:00 \"Install\" Success to publisher/acme/default: the attempt failed \
             and will be repeated (no whole answer came in time); again at 1970-01-01 00:00:10 \
             [dlv_1]"
        );
    }
}
