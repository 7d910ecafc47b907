//! What a postback's story has to tell when it was put back for decision.

use super::facts::{PostbackRow, RedecisionRow};
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use schemas::{Outcome, Reason, RedecisionEffect};

#[derive(serde::Deserialize)]
struct Answer {
    id: String,
    decided_at_ms: i64,
    effect: String,
    outcome: String,
    reason: String,
    operator: String,
    note: String,
    first_outcome: String,
    first_reason: String,
}

const SQL: &str = "SELECT toString(r.postback_id) AS id, \
    toUnixTimestamp64Milli(r.decided_at) AS decided_at_ms, toString(r.effect) AS effect, \
    toString(r.outcome) AS outcome, toString(r.reason) AS reason, r.operator AS operator, \
    r.note AS note, toString(p.outcome) AS first_outcome, toString(p.reason) AS first_reason \
    FROM (SELECT * FROM redecisions_unique WHERE click_id = {id:String} AND NOT preview) AS r \
    LEFT JOIN (SELECT postback_id, outcome, reason FROM postbacks FINAL \
    WHERE click_id = {id:String}) AS p ON p.postback_id = r.postback_id \
    ORDER BY r.decided_at LIMIT 500";

/// Adds what became of each postback of a click when it was put back.
pub async fn add(
    warehouse: &Warehouse,
    click_id: &str,
    postbacks: &mut [PostbackRow],
) -> Result<(), Error> {
    if postbacks.is_empty() || click_id.is_empty() {
        return Ok(());
    }
    let found: Vec<Answer> = warehouse.rows(Question::new(SQL).bind("id", click_id)).await?;
    for it in found {
        if let Some(postback) = postbacks.iter_mut().find(|row| row.postback_id == it.id) {
            postback.redecisions.push(RedecisionRow {
                decided_at_ms: it.decided_at_ms,
                effect: it.effect,
                outcome: it.outcome,
                reason: it.reason,
                operator: it.operator,
                note: it.note,
                first_outcome: it.first_outcome,
                first_reason: it.first_reason,
            });
        }
    }
    Ok(())
}

/// In words; `time` writes a time as the story does.
pub fn lines(postback: &PostbackRow, time: impl Fn(i64) -> String) -> Vec<String> {
    let Some(first) = postback.redecisions.first() else { return Vec::new() };
    let at_first = words(&first.first_outcome, &first.first_reason);
    let mut lines = vec![format!("What became of it at first: {at_first}")];
    for it in &postback.redecisions {
        let by = match it.operator.as_str() {
            "" => String::new(),
            name => format!(" by {name:?}"),
        };
        let meaning = match it.effect.parse::<RedecisionEffect>() {
            Ok(effect) => effect.text().to_owned(),
            Err(()) => it.effect.clone(),
        };
        let said = words(&it.outcome, &it.reason);
        lines.push(format!(
            "{}  put back for decision{by}; the words given: {:?}: {said}; {meaning}",
            time(it.decided_at_ms),
            it.note
        ));
    }
    lines
}

fn words(outcome: &str, reason: &str) -> String {
    let meaning = outcome.parse::<Outcome>().map_or(outcome, |known| known.text());
    match reason.parse::<Reason>() {
        Ok(reason) => format!("{meaning}: {} ({reason})", reason.text()),
        Err(()) => meaning.to_owned(),
    }
}
